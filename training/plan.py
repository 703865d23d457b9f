"""What a stage would cost, before it is paid: for `--dry-run`.

A stage's `plan(context)` is a few lines::

    def plan(context: Context) -> Plan:
        samples = load_set(...).samples
        batch = collate(samples[:4])
        return estimate("vlap", build(config), batch, len(samples), config.loop, context.device, loss=loss)

A large model can be built under `torch.device("meta")` with a batch that is there too: no weights, no arithmetic, and
the operations and the kept activations are still counted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from cgiaa_training.loop import LoopConfig, Loss
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Plan", "estimate", "passes", "throughput", "together"]

FLOAT = 4  # bytes of a weight, a gradient, and each of AdamW's two moments
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Plan:
    """What a stage would do.

    Attributes:
        stage: its name.
        samples: that it reads.
        steps: of the optimiser, 0 where nothing is learnt by gradient.
        parameters, trained: how many numbers its networks have, and how many of them change.
        memory_bytes: at the peak, on the device: weights, gradients, optimiser, moving average, activations.
        seconds: on this machine's device.
    """

    stage: str
    samples: int
    steps: int
    parameters: int
    trained: int
    memory_bytes: int
    seconds: float


def estimate(
    stage: str,
    model: nn.Module,
    batch: Any,
    samples: int,
    loop: LoopConfig,
    device: str = "cpu",
    *,
    loss: Loss | None = None,
) -> Plan:
    """The cost of `fit(model, ...)` on `samples` samples, from one forward and backward pass of a small batch.

    Args:
        model: on the CPU or on `meta`; it is left as it was, without gradients.
        batch: of a few samples, as `loss` takes it; without `loss`, the arguments of `model` (one tensor, a tuple of
            them, or a mapping by name), whose outputs then stand for the loss. Its first tensor (or list) says how
            many samples it has.
        device: where the training is to run: its matmul throughput is measured, see `throughput`.

    Returns:
        `seconds` is the larger of two: operations over throughput, and, where the model has weights and trains on the
        CPU, the time of the small batch scaled up; the first alone forgets what is bound by memory.
    """
    count = _count(batch)
    step = loss if loss is not None else _sum_of_outputs
    flops, kept = _watch(model, batch, step)
    seconds = flops / throughput(device, loop.precision)
    if device == "cpu" and loop.precision == "fp32" and not _is_meta(model):
        seconds = max(seconds, _timed(lambda: _backward(model, batch, step)))
    size = min(loop.batch_size, max(1, samples))
    steps = max(1, samples // (size * loop.accumulate)) * loop.epochs
    every = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    half = 1 if loop.precision == "fp32" else 2  # activations are of half the size in mixed precision
    memory = FLOAT * (every + 3 * trained + (every if loop.ema else 0)) + kept * size // count // half
    return Plan(stage, samples, steps, every, trained, memory, seconds / count * size * loop.accumulate * steps)


def passes(
    stage: str,
    model: nn.Module,
    batch: Any,
    samples: int,
    device: str = "cpu",
    *,
    call: Callable[[nn.Module, Any], Any] | None = None,
) -> Plan:
    """The cost of running a frozen model over `samples` samples once, e.g. to keep its features.

    Args:
        call: how the model is run on `batch`; None: as in `estimate`.
    """
    run = call or _outputs

    def forward() -> None:
        with torch.no_grad():
            run(model, batch)

    with FlopCounterMode(display=False) as counter:
        forward()
    count = _count(batch)
    seconds = counter.get_total_flops() / throughput(device)
    if device == "cpu" and not _is_meta(model):
        seconds = max(seconds, _timed(forward))
    every = sum(p.numel() for p in model.parameters())
    return Plan(stage, samples, 0, every, 0, FLOAT * every, seconds / count * samples)


def together(stage: str, *plans: Plan) -> Plan:
    """One stage that does several things one after the other: times and steps add up, memory is the largest."""
    first = max(plans, key=lambda p: p.parameters)
    return replace(
        first,
        stage=stage,
        samples=max(p.samples for p in plans),
        steps=sum(p.steps for p in plans),
        trained=max(p.trained for p in plans),
        memory_bytes=max(p.memory_bytes for p in plans),
        seconds=sum(p.seconds for p in plans),
    )


@cache
def throughput(device: str = "cpu", precision: str = "fp32") -> float:
    """Operations a second of this machine in a product of two square matrices: an upper bound of what training gets.

    Args:
        device: `cpu` or `cuda`.
        precision: a key of the loop's; mixed precision multiplies in the smaller type.
    """
    side = 8192 if device == "cuda" else 1024
    a = torch.ones(side, side, device=device, dtype=_DTYPES[precision])

    def multiply() -> None:
        torch.mm(a, a)
        if device == "cuda":
            torch.cuda.synchronize()

    multiply()  # the first one also loads the library
    return 2 * side**3 / _timed(multiply)


def _watch(model: nn.Module, batch: Any, loss: Loss) -> tuple[int, int]:
    """Operations of a forward and backward pass, and bytes of the activations kept between the two."""
    weights = {_storage(p) for p in itertools.chain(model.parameters(), model.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        _backward(model, batch, loss)
    return counter.get_total_flops(), sum(kept.values())


def _backward(model: nn.Module, batch: Any, loss: Loss) -> None:
    """A pass in training mode that leaves no trace: no gradient, no batch statistics, no random numbers used up."""
    training = {module: module.training for module in model.modules()}
    buffers = [(b, b.clone()) for b in model.buffers()]
    with torch.random.fork_rng(devices=[]):
        try:
            model.train()
            found = loss(model, batch)
            value = found[0] if isinstance(found, tuple) else found
            trained = [p for p in model.parameters() if p.requires_grad]
            torch.autograd.grad(value, trained, allow_unused=True)
        finally:
            for module, was in training.items():
                module.training = was
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


def _outputs(model: nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def _sum_of_outputs(model: nn.Module, batch: Any) -> Tensor:
    return torch.stack([t.float().sum() for t in _tensors(_outputs(model, batch))]).sum()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from _tensors(part)


def _count(batch: Any) -> int:
    """How many samples a batch has: the length of the first tensor, or list of things that are no tensors, in it."""
    if isinstance(batch, Mapping):
        return _count(next(iter(batch.values())))
    if isinstance(batch, Sequence) and len(batch) and isinstance(batch[0], Tensor | Mapping | list | tuple):
        return _count(batch[0])
    return len(batch)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _is_meta(model: nn.Module) -> bool:
    return any(p.is_meta for p in model.parameters())


def _timed(work: Callable[[], None]) -> float:
    """Seconds, the least of three times, since others use the machine too."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return min(took)
