"""The training loop: it learns, resumes to the same curve, and refuses what cannot go well."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cgiaa_training.loop import LoopConfig, Run, fit
from torch import Tensor, nn

from cgiaa_cli.errors import CgiaaError

CONFIG = LoopConfig(epochs=3, batch_size=8, accumulate=2, rate=3e-2, save_every=2, ema=0.8)


class Points:
    """y = 2 x0 - x1, with an epoch's own noise, as augmentation would add."""

    def __init__(self, count: int = 80, broken_at: int | None = None) -> None:
        self.x = np.random.default_rng(1).normal(size=(count, 2)).astype(np.float32)
        self.epoch = 0
        self.broken_at = broken_at
        self.given = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[np.ndarray, float]:
        self.given += 1
        if self.broken_at is not None and self.given > self.broken_at:
            raise KeyboardInterrupt
        noise = np.random.default_rng([self.epoch, i]).normal(0, 0.01)
        return self.x[i], float(2 * self.x[i, 0] - self.x[i, 1] + noise)


def collate(items: list[tuple[np.ndarray, float]]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.stack([x for x, _ in items])), torch.tensor([y for _, y in items])


def make() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 1))


def squared(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
    x, y = batch
    return (model(x).squeeze(1) - y).square().mean(), {"y": float(y.mean())}


def curve(folder: Path) -> list[list[str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.reader(file))


def train(folder: Path, data: Points, config: LoopConfig = CONFIG, seed: int = 3) -> nn.Module:
    return fit(make(), data, collate, squared, Run(folder, config, seed, device="cpu"), evaluate=lambda m: {"e": 1.0})


def test_it_learns_and_logs(tmp_path: Path) -> None:
    model = train(tmp_path, Points(), replace(CONFIG, epochs=20))
    rows = curve(tmp_path)
    losses = [float(row[2]) for row in rows[1:] if row[2]]
    assert rows[0] == ["step", "epoch", "loss", "rate", "more"]
    assert len(losses) == 100 and np.mean(losses[-5:]) < 0.1 * np.mean(losses[:5])
    assert not model.training
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert model(x)[0] > 1 and model(x)[1] < 0


@pytest.mark.parametrize("broken_at", [1, 37, 40, 95, 200])
def test_a_killed_run_goes_on_to_the_same_curve_and_weights(tmp_path: Path, broken_at: int) -> None:
    whole = train(tmp_path / "whole", Points())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Points(broken_at=broken_at))
    resumed = train(tmp_path / "cut", Points())
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_last_checkpoints_are_kept_and_no_partial_ones(tmp_path: Path) -> None:
    train(tmp_path, Points())
    assert [p.name for p in sorted((tmp_path / "checkpoints").iterdir())] == ["00000014.pt", "00000015.pt"]


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    train(tmp_path, Points())
    for config, seed, count in ((replace(CONFIG, rate=1e-3), 3, 80), (CONFIG, 4, 80), (CONFIG, 3, 79)):
        with pytest.raises(CgiaaError, match="another recipe"):
            train(tmp_path, Points(count), config, seed)


def test_a_loss_that_is_not_finite_stops_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    def grows(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        value, _ = squared(model, batch)
        return value if batch[0].abs().max() < 2.2 else value * float("nan")

    with pytest.raises(CgiaaError, match=r"not finite at step \d+.*loop.rate"):
        fit(make(), Points(), collate, grows, Run(tmp_path, CONFIG, device="cpu"))


def test_few_samples_and_groups(tmp_path: Path) -> None:
    model = make()
    before = model[0].weight.detach().clone()
    trained = fit(
        model,
        Points(3),
        collate,
        squared,
        Run(tmp_path, LoopConfig(epochs=2), device="cpu"),
        groups=lambda m: [(0, list(m[3].parameters()))],
    )
    assert torch.equal(trained[0].weight, before)
    assert not torch.equal(trained[3].weight, make()[3].weight)


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    class Plain(Points):
        def set_epoch(self, epoch: int) -> None:
            pass

    def linear() -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(2, 1)

    results = []
    for name, size, accumulate in (("one", 16, 1), ("four", 4, 4)):
        config = LoopConfig(epochs=1, batch_size=size, accumulate=accumulate, clip=0)
        run = Run(tmp_path / name, config, device="cpu")
        results.append(fit(linear(), Plain(64), collate, squared, run).weight)
    assert torch.allclose(*results, atol=1e-6)


def test_impossible_settings_are_all_named() -> None:
    faults = LoopConfig(epochs=-1, batch_size=0, rate=0, precision="fp8", layer_decay=2, ema=1.5).faults()
    for word in ("epochs", "batch_size", "rate", "precision", "layer_decay", "ema"):
        assert any(word in fault for fault in faults)
    assert LoopConfig().faults() == []
