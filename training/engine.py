"""What the training loop runs on: Lightning Fabric, told of the processes there are; and what its faults mean."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from cgiaa_training.processes import launcher

from cgiaa_cli.errors import CgiaaError, DeviceError
from cgiaa_cli.paths import escape

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["PRECISIONS", "engine", "memory_guard", "take_gpu"]

PRECISIONS: Mapping[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed",
}  # fmt: skip
# torch has no class of its own for these
MEMORY_FULL = ("out of memory", "can't allocate memory", "not enough memory", "_ALLOC_FAILED")


def engine(device: str, precision: str) -> Fabric:
    """Fabric, launched, for this process alone, or as one of those that `torchrun` or `fabric run` started.

    Args:
        device: `auto`, `cpu` or `cuda`.
        precision: one of `PRECISIONS`.

    Raises:
        DeviceError: more processes than GPUs.
    """
    from lightning_fabric import Fabric

    kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    here: int | str = 1
    machines = 1
    told = launcher() == "fabric"  # and Fabric bears to be told neither again nor to launch
    if told:
        here = "auto"
    elif launcher():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        machines = int(os.environ["WORLD_SIZE"]) // here
        if kind == "cuda" and here > (count := torch.cuda.device_count()):
            raise DeviceError(
                f"{here} processes, but {count} GPU(s) on this machine", mend=f"use torchrun --nproc-per-node {count}"
            )
    accelerator = "cuda" if kind == "cuda" else "cpu"
    fabric = Fabric(accelerator=accelerator, devices=here, num_nodes=machines, precision=PRECISIONS[precision])
    if not told:
        fabric.launch()
    return fabric


def take_gpu(device: str) -> None:
    """Give this process, where it is one of several, a GPU of its own for what it does without the engine, too."""
    if launcher() and device == "cuda":  # too many processes are the engine's to refuse
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())


@contextmanager
def memory_guard(name: str, folder: Path) -> Iterator[None]:
    """Turns what Python, torch and CUDA raise when memory is full into a CgiaaError that names the run and a mend."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or any(words in str(error) for words in MEMORY_FULL)):
            raise
        raise CgiaaError(
            f"{name}: memory is full",
            path=escape(folder),
            mend="lower loop.batch_size and raise loop.accumulate as much (vlap: set or lower part)",
        ) from error
