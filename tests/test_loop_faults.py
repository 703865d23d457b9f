"""What can go wrong while a model learns: gradients, full memory, full disks, other data. All that is kept is sound."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cgiaa_training.loop import LoopConfig, Run, fit
from lightning_fabric.connector import _Connector
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from cgiaa_cli.errors import CgiaaError

CONFIG = LoopConfig(epochs=3, batch_size=4, save_every=1, warmup=0)  # 2 steps in each epoch
Loss = Callable[[nn.Module, Tensor], Tensor]


def plain(model: nn.Module, batch: Tensor) -> Tensor:
    return (model(batch) - 1).square().mean()


def learn(folder: Path, loss: Loss = plain, config: LoopConfig = CONFIG, key: str = "") -> nn.Module:
    torch.manual_seed(0)
    rows = [torch.randn(4) for _ in range(8)]
    return fit(nn.Linear(4, 1), rows, torch.stack, loss, Run(folder, config, name="toy", device="cpu", key=key))


def undefined_at(*steps: int) -> Loss:
    """A loss that is always finite, but whose gradient is 0 / 0 at some steps."""
    done = 0

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        nonlocal done
        value = plain(model, batch)
        done += 1
        return value + torch.sqrt(0 * value) if done - 1 in steps else value

    return loss


def saved(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").iterdir())


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("step", [3, 5])
def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(
    tmp_path: Path, step: int, clip: float
) -> None:
    config = replace(CONFIG, clip=clip)
    with pytest.raises(CgiaaError, match=f"the gradient is not finite at step {step};.*loop.rate.*delete this folder"):
        learn(tmp_path / "a", undefined_at(step), config)
    last = torch.load(saved(tmp_path / "a")[-1], weights_only=True)
    assert last["step"] == step and all(torch.isfinite(t).all() for t in last["model"].values())
    # the checkpoint is sound: with the fault gone the run ends as one that never had it
    mended, whole = learn(tmp_path / "a", config=config), learn(tmp_path / "b", config=config)
    assert torch.equal(mended.weight, whole.weight)


@pytest.mark.parametrize("step", [3, 5])
def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path, step: int) -> None:
    """However they came to be so: here the gradient is sound."""
    done = 0

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        nonlocal done
        value = plain(model, batch)
        if done == step:
            next(model.parameters()).data.fill_(torch.inf)
        done += 1
        return value

    with pytest.raises(CgiaaError, match=f"a weight is not finite at step {step + 1}"):
        learn(tmp_path, loss)
    assert saved(tmp_path)[-1].name == f"{step:08}.pt"


@pytest.fixture
def half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 with a scaled loss, which Fabric has for GPUs only, on the CPU."""
    monkeypatch.setattr(_Connector, "_check_and_init_precision", lambda _: MixedPrecision("16-mixed", "cpu"))


@pytest.mark.usefixtures("half_precision")
def test_a_step_that_overflows_in_fp16_is_left_out(tmp_path: Path) -> None:
    model = learn(tmp_path / "a", undefined_at(1, 4))
    learn(tmp_path / "b")
    assert torch.isfinite(model.weight).all()
    scales = [torch.load(saved(tmp_path / x)[-1], weights_only=True)["precision"]["scale"] for x in "ab"]
    assert 4 * scales[0] == scales[1]
    torch.manual_seed(0)
    assert not torch.equal(model.weight, nn.Linear(4, 1).weight)


@pytest.mark.usefixtures("half_precision")
def test_fp16_that_only_overflows_stops(tmp_path: Path) -> None:
    with pytest.raises(CgiaaError, match="the gradient is not finite at step 33"):
        learn(tmp_path, undefined_at(*range(100)), replace(CONFIG, epochs=50))


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    with pytest.raises(CgiaaError):
        learn(tmp_path, undefined_at(3), key="these")
    with pytest.raises(CgiaaError, match="another recipe, seed or data; use another --out, or delete"):
        learn(tmp_path, key="those")
    learn(tmp_path, key="these")


def allocate(_model: nn.Module, _batch: Tensor) -> Tensor:
    return torch.empty(1 << 60, dtype=torch.uint8)


def raises(error: Exception) -> Loss:
    def loss(_model: nn.Module, _batch: Tensor) -> Tensor:
        raise error

    return loss


@pytest.mark.parametrize(
    "loss",
    [
        allocate,
        raises(MemoryError()),
        raises(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")),
        raises(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
        raises(RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried")),
    ],
)
def test_full_memory_names_the_run_and_the_mend(tmp_path: Path, loss: Loss) -> None:
    with pytest.raises(CgiaaError, match=r"toy: memory is full; lower loop\.batch_size") as caught:
        learn(tmp_path, loss)
    assert caught.value.path == str(tmp_path)


def test_other_errors_are_not_called_full_memory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        learn(tmp_path, raises(RuntimeError("shapes do not fit")))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_a_checkpoint_that_does_not_fit_says_so(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(CgiaaError, match=r"00000001\.pt: could not be written \(full disk\?\); free some"):
            learn(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert saved(tmp_path) == []
    learn(tmp_path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), r"\(full disk\?\)"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), r"\(full disk\?\)"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EFBIG, "File too large"), "too large for the file system or a limit .*; raise the limit"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
        (RuntimeError("Parent directory does not exist"), "Parent directory"),
    ],
)
def test_only_a_full_disk_is_called_that_and_what_was_kept_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    save, count = torch.save, 0

    def failing(state: object, path: Path) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise error
        save(state, path)

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(type(error) if said[0] == "P" else CgiaaError, match=said):
        learn(tmp_path)
    assert [path.name for path in saved(tmp_path)] == ["00000001.pt", "00000002.pt"]
