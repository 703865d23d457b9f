"""The training loop in several processes, as torchrun starts them: real ones, on the CPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cgiaa_training.engine import engine
from cgiaa_training.loop import LoopConfig, Run, fit
from lightning_fabric import Fabric
from torch import Tensor, nn

from cgiaa_cli.errors import CgiaaError, DeviceError

COUNT = 32
CONFIG = LoopConfig(epochs=2, batch_size=4, rate=1e-2, ema=0.5, save_every=3)


class Rows:
    """Each row is its index and four numbers that follow from it; notes which were asked for."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Tensor:
        self.given.append(index)
        return torch.from_numpy(np.random.default_rng(index).normal(size=4).astype(np.float32))


def loss(model: nn.Module, batch: Tensor) -> Tensor:
    return (model(batch).squeeze(1) - batch.sum(1)).square().mean()


def learn(folder: Path, config: LoopConfig = CONFIG, start: int = 0) -> tuple[nn.Module, list[int]]:
    rows = Rows()
    torch.manual_seed(start)
    return fit(nn.Linear(4, 1), rows, torch.stack, loss, Run(folder, config, device="cpu")), rows.given


def worker(folder: Path) -> None:
    """What each process runs: two fits, as two stages would; each process begins with weights of its own."""
    rank = int(os.environ["RANK"])
    found: dict[str, Any] = {}
    for name in ("first", "second"):
        model, given = learn(folder / name, start=rank)
        found[name] = {"weights": model.state_dict(), "given": given}
    torch.save(found, folder / f"{rank}.pt")


if __name__ == "__main__":
    worker(Path(sys.argv[1]))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(*commands: list[str]) -> None:
    """Run commands side by side and expect all to end well."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, "-m", *c], stderr=subprocess.PIPE, text=True, env=environment)
        for c in commands
    ]
    try:
        said = [process.communicate(timeout=120)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * len(commands), "\n".join(said)


def torchrun(folder: Path, machines: int, here: int) -> None:
    common = ["--nnodes", str(machines), "--nproc-per-node", str(here), "--master-addr", "127.0.0.1"]
    common += ["--master-port", str(free_port())]
    ranks = ([*common, "--node-rank", str(n), __file__, str(folder)] for n in range(machines))
    launch(*(["torch.distributed.run", *arguments] for arguments in ranks))


def check(folder: Path) -> None:
    """Both processes took part, saw other samples, and have the weights that one process has with all samples."""
    one, two = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    # with half the batch in each of two processes a step is that of one process with the whole
    alone, _ = learn(folder / "alone", replace(CONFIG, batch_size=2 * CONFIG.batch_size))
    for name in ("first", "second"):
        for epoch in (slice(0, COUNT // 2), slice(COUNT // 2, COUNT)):
            mine, others = one[name]["given"][epoch], two[name]["given"][epoch]
            assert len(mine) == len(others) == COUNT // 2
            assert sorted(mine + others) == list(range(COUNT))
        for key, expected in alone.state_dict().items():
            assert torch.equal(one[name]["weights"][key], two[name]["weights"][key])
            torch.testing.assert_close(one[name]["weights"][key], expected)
        assert len(list((folder / name / "checkpoints").iterdir())) == CONFIG.keep


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's way there is not torchrun's")
def test_torchrun_on_two_machines_is_one_run(tmp_path: Path) -> None:
    torchrun(tmp_path, machines=2, here=1)
    check(tmp_path)
    with pytest.raises(CgiaaError, match=r"made by 2 process\(es\), now there are 1; start 2, or delete"):
        learn(tmp_path / "first")


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's way there is not torchrun's")
def test_fabric_run_with_two_processes_is_one_run(tmp_path: Path) -> None:
    arguments = ["--accelerator", "cpu", "--devices", "2", "--main-port", str(free_port())]
    launch(["lightning_fabric.cli", *arguments, __file__, str(tmp_path)])
    check(tmp_path)


def test_two_machines_with_two_processes_each_are_told_to_fabric(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "GROUP_RANK": "1"}
    for name, value in (told | {"LOCAL_WORLD_SIZE": "2"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Fabric, "launch", lambda _: None)  # it would wait for the other three
    fabric = engine("cpu", "fp32")
    assert (fabric.world_size, fabric.global_rank, fabric.local_rank, fabric.node_rank) == (4, 3, 1, 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match=r"2 processes, but 1 GPU.*nproc-per-node 1"):
        engine("cuda", "fp32")
