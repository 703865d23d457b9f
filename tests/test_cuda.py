"""What only a GPU can prove; skipped where there is none. `pytest tests/test_cuda.py` on a machine that has one."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cgiaa_training.loop import LoopConfig, Run, fit
from cgiaa_training.recipe import load_recipe
from cgiaa_training.run import make_context, run_stages
from torch import Tensor, nn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Digits:
    """Eight numbers that follow from the index."""

    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng(index).normal(size=8).astype(np.float32))


class Killed(Exception):
    """The machine went down."""


def learn(folder: Path, config: LoopConfig, most: int | None = None) -> tuple[nn.Module, list[str]]:
    """A network that learns to repeat what it sees, killed after `most` steps; and its losses."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Dropout(0.2), nn.Linear(32, 8))
    steps = 0

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        if most is not None and steps > most:
            raise Killed
        value: Tensor = (model(batch).float() - batch).square().mean()
        return value

    found = fit(network, Digits(), torch.stack, loss, Run(folder, config, seed=3, device="cuda"))
    with (folder / "log.csv").open(newline="") as file:
        return found, [row["loss"] for row in csv.DictReader(file) if row["loss"]]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_killed_run_goes_on_to_the_same_curve(tmp_path: Path, precision: str) -> None:
    config = LoopConfig(epochs=3, batch_size=16, precision=precision, save_every=4, ema=0.9)
    whole, losses = learn(tmp_path / "whole", config)
    with pytest.raises(Killed):
        learn(tmp_path / "killed", config, most=11)
    again, resumed = learn(tmp_path / "killed", config)
    assert resumed == losses and len(losses) == 18 and float(losses[-1]) < float(losses[0])
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_compiled_and_channels_last_it_learns_the_same(tmp_path: Path) -> None:
    config = LoopConfig(epochs=2, batch_size=16)
    _, plain = learn(tmp_path / "plain", config)
    _, compiled = learn(tmp_path / "compiled", replace(config, compile=True, channels_last=True))
    # another order of additions, another dropout
    assert float(compiled[-1]) == pytest.approx(float(plain[-1]), rel=0.2)


def test_every_stage_that_learns_does_so_there(tmp_path: Path) -> None:
    context = make_context(load_recipe("tiny"), None, tmp_path / "run", "cuda")
    learning = [stage for stage in context.recipe.stages if stage != "export"]  # which works on the CPU everywhere
    run_stages(context, learning)
    assert all(context.record(stage)["device"] == "cuda" for stage in learning)  # type: ignore[index]
