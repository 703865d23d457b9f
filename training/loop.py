"""The only training loop: every stage that learns by gradient calls `fit`.

The engine below is Lightning Fabric (docs/training.md says why): the same call runs on one CPU, on one GPU with
bf16 or fp16, and on many GPUs and machines under `torchrun`. What is ours is what Fabric leaves open: the order of
the photos, the schedule, checkpoints from which a killed run goes on to the same loss curve, and the guards against
what is not finite and what does not fit into memory or on the disk.
"""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
import torch
from cgiaa_training.engine import PRECISIONS, engine, memory_guard
from cgiaa_training.files import appearing
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["LoopConfig", "Loss", "Run", "fit"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
M = TypeVar("M", bound=nn.Module)
LEAST_SCALE = 2.0**-16  # of the loss in fp16; it starts at 2**16
Loss = Callable[[nn.Module, Any], "Tensor | tuple[Tensor, dict[str, float]]"]
Groups = Callable[[M], "list[tuple[int, list[nn.Parameter]]]"]


class Samples(Protocol[T_co]):
    """Samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> T_co: ...


class Step(Protocol):
    """A forward and backward pass of its own making, e.g. gradient caching.

    It must call `backward` on what it differentiates, once or more, and return the loss of the whole batch.
    """

    def __call__(self, model: nn.Module, batch: Any, backward: Callable[[Tensor], None], /) -> Tensor: ...


@dataclass(frozen=True)
class LoopConfig:
    """How a model is trained.

    Attributes:
        epochs: passes over the samples; 0 trains nothing.
        batch_size: samples of one forward pass on one device.
        accumulate: forward passes for one step of the optimiser.
        rate: peak learning rate of AdamW; warm-up is linear, then a cosine goes to zero.
        weight_decay: of parameters with two axes or more; biases, scales and temperatures have none.
        warmup: share of the steps, 0..1.
        layer_decay: the rate of depth d (see `fit`'s `groups`) is `rate * layer_decay ** d`.
        clip: largest norm of the gradient; 0: any.
        ema: decay of the moving average of the weights, which is then what `fit` returns; 0: none.
        precision: `fp32`, `bf16` or `fp16` (the last two: mixed).
        compile: with `torch.compile`.
        channels_last: memory format of the weights; faster for convolutions.
        save_every: steps between checkpoints.
        keep: how many checkpoints are kept, the last ones.
        workers: processes that load samples; 0: this one.
    """

    epochs: int = 4
    batch_size: int = 32
    accumulate: int = 1
    rate: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.1
    layer_decay: float = 1.0
    clip: float = 1.0
    ema: float = 0.0
    precision: str = "fp32"
    compile: bool = False
    channels_last: bool = False
    save_every: int = 200
    keep: int = 2
    workers: int = 0

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = [
            f"{name} must be {least} or more"
            for name, least in (
                ("epochs", 0),
                ("batch_size", 1),
                ("accumulate", 1),
                ("save_every", 1),
                ("keep", 1),
                ("workers", 0),
                ("clip", 0),
                ("weight_decay", 0),
            )
            if getattr(self, name) < least
        ]
        faults += [f"{name} must lie in 0..1" for name in ("warmup", "ema") if not 0 <= getattr(self, name) <= 1]
        if not 0 < self.layer_decay <= 1:
            faults.append("layer_decay must be above 0 and at most 1")
        if self.rate <= 0:
            faults.append("rate must be above 0")
        if self.precision not in PRECISIONS:
            faults.append(f"precision must be one of {', '.join(PRECISIONS)}")
        return faults


@dataclass(frozen=True)
class Run:
    """One run of the loop.

    Attributes:
        folder: `log.csv` and `checkpoints/`; a run that was killed goes on from the last one.
        name: what the line of progress says.
        device: `auto`, `cpu` or `cuda`.
        key: stands for the samples, e.g. a digest of them: a run does not go on with others.
    """

    folder: Path
    config: LoopConfig
    seed: int = 0
    name: str = "train"
    device: str = "auto"
    key: str = ""


def fit(
    model: M,
    data: Samples[T],
    collate: Callable[[list[T]], Any],
    loss: Loss,
    run: Run,
    *,
    groups: Groups[M] | None = None,
    evaluate: Callable[[M], dict[str, float]] | None = None,
    step: Step | None = None,
) -> M:
    """Train `model` and return it (its moving average, where there is one), in eval mode on the CPU.

    Args:
        data: samples by index; with a method `set_epoch(epoch)`, told of each epoch, so that augmentation can be
            drawn from (seed, epoch, index) and a resumed run sees the same.
        collate: samples -> batch of tensors (nested dicts, lists, tuples; other things are left alone).
        loss: of a batch: a scalar, or a scalar and further numbers for the log.
        groups: parameters by depth, 0 at the top; those it leaves out are not trained. None: all that require a
            gradient, at depth 0.
        evaluate: numbers for the log after every epoch.
        step: replaces forward and backward of one batch; `loss` is then not called.

    Raises:
        CgiaaError: loss, gradient or weights are not finite (the last checkpoint stays); a checkpoint was made with
            another configuration, seed, `run.key`, number of samples or of processes; memory or disk are full.
        DeviceError: more processes than GPUs.
    """
    with ExitStack() as stack:
        stack.enter_context(memory_guard(run.name, run.folder))
        state = _State(model, data, run, groups)
        progress = stack.enter_context(_progress(run.name, state))
        try:
            for epoch in range(state.step // max(1, state.per_epoch), run.config.epochs):
                if hasattr(data, "set_epoch"):
                    data.set_epoch(epoch)
                first = state.step - epoch * state.per_epoch
                batches = iter(_loader(data, collate, state.batches(epoch, first), run.config))
                for _ in range(first, state.per_epoch):
                    value, extra = state.advance(batches, loss, step)
                    progress(state.step, value)
                    state.log(epoch, value, extra)
                    if state.step % run.config.save_every == 0 and state.step < state.total:
                        state.save()
                state.log_epoch(epoch, evaluate)
                state.save()
        except KeyboardInterrupt:
            if state.between_steps:
                state.write()  # without waiting for other processes, which are being interrupted, too
            raise
        return state.finished()


class _State(Generic[M]):
    """State of one call of `fit`: all that a checkpoint holds, and where it stands."""

    def __init__(self, model: M, data: Samples[Any], run: Run, groups: Groups[M] | None) -> None:
        config = run.config
        self.config, self.seed, self.folder, self.key = config, run.seed, run.folder, run.key
        self.count = len(data)
        torch.manual_seed(run.seed)
        self.fabric = engine(run.device, config.precision)
        if config.channels_last:
            model.to(memory_format=torch.channels_last)
        self.plain = model
        self.average = copy.deepcopy(model).eval().requires_grad_(False) if config.ema else None
        optimiser = torch.optim.AdamW(_parameter_groups(model, groups, config), lr=config.rate)
        compiled = cast(nn.Module, torch.compile(model)) if config.compile else model
        self.model, self.optimiser = self.fabric.setup(compiled, optimiser)
        if self.average is not None:
            self.average.to(self.fabric.device)
            self.average.load_state_dict(model.state_dict())  # of several processes all have the first one's by now
        self.batch = min(config.batch_size, max(1, self.count // self.fabric.world_size))
        self.per_epoch = max(1, self.count // (self.batch * self.fabric.world_size * config.accumulate))
        self.total = self.per_epoch * config.epochs
        self.base_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.checkpoints = run.folder / "checkpoints"
        self.step = self._resume()
        self.between_steps = True  # False while the weights are neither those before a step nor after it
        self._random = _random_state(self.fabric.device)

    @property
    def _fingerprint(self) -> str:
        shape = [(k, tuple(v.shape)) for k, v in self.plain.state_dict().items()]
        settings = {k: v for k, v in asdict(self.config).items() if k not in ("save_every", "keep", "workers")}
        text = json.dumps([settings, self.seed, self.key, self.count, shape])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def batches(self, epoch: int, first: int) -> list[list[int]]:
        """Indices of each batch of this process, from the `first`th step of an epoch on."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        world, rank, accumulate = self.fabric.world_size, self.fabric.global_rank, self.config.accumulate
        wide = self.batch * world
        chosen = []
        for number in range(first * accumulate, self.per_epoch * accumulate):
            start = number * wide + rank * self.batch
            # fewer samples than one accumulated step asks for: they come round again
            chosen.append([int(order[i % self.count]) for i in range(start, start + self.batch)])
        return chosen

    def advance(self, batches: Iterator[Any], loss: Loss, step: Step | None) -> tuple[float, dict[str, float]]:
        """One step of the optimiser; returns the mean loss of its batches and the last batch's further numbers."""
        self.model.train()
        self._set_rate()
        values: list[float] = []
        extra: dict[str, float] = {}
        for part in range(self.config.accumulate):
            batch = self.fabric.to_device(next(batches))
            waits = part < self.config.accumulate - 1
            with self.fabric.no_backward_sync(self.model, enabled=waits):
                if step is not None:
                    value = step(self.model, batch, lambda t: self.fabric.backward(t / self.config.accumulate))
                else:
                    found = loss(self.model, batch)
                    value, extra = found if isinstance(found, tuple) else (found, {})
                    self._require_finite(value)
                    self.fabric.backward(value / self.config.accumulate)
            self._require_finite(value)
            values.append(float(value.detach()))
        self._clip()
        self.between_steps = False
        self.optimiser.step()
        self.optimiser.zero_grad()
        self._update_average()
        self.step += 1
        self._random = _random_state(self.fabric.device)
        self.between_steps = True
        return float(np.mean(values)), extra

    def _set_rate(self) -> None:
        warm = max(1, round(self.config.warmup * self.total))
        if self.step < warm:
            share = (self.step + 1) / warm
        else:
            share = 0.5 * (1 + math.cos(math.pi * (self.step - warm) / max(1, self.total - warm)))
        for group, base in zip(self.optimiser.param_groups, self.base_rates, strict=True):
            group["lr"] = base * share

    def _clip(self) -> None:
        """Clip the gradient, which must be finite."""
        # without a limit the norm is computed all the same: one bad step would spoil all weights
        norm = self.fabric.clip_gradients(
            self.model, self.optimiser, max_norm=self.config.clip or math.inf, error_if_nonfinite=False
        )
        assert norm is not None
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        if scaler is None:
            self._require_finite(norm, "the gradient")
        elif scaler.get_scale() < LEAST_SCALE:
            # in fp16 a step that overflows is left out and the scale halved; so often, it is no overflow
            self._require_finite(torch.tensor(math.nan), "the gradient")

    def _require_finite(self, value: Tensor, what: str = "the loss") -> None:
        if not torch.isfinite(value).all():
            raise CgiaaError(
                f"{what} is not finite at step {self.step}",
                path=escape(self.folder),
                mend="lower loop.rate or use loop.precision fp32, and delete this folder to begin anew",
            )

    def _update_average(self) -> None:
        if self.average is None:
            return
        # few steps: the average would still remember the untrained weights
        decay = min(self.config.ema, (2 + self.step) / (11 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.plain.parameters(), strict=True):
                mean.lerp_(now.detach().to(mean.dtype), 1 - decay)
            for old, new in zip(self.average.buffers(), self.plain.buffers(), strict=True):
                old.copy_(new)

    # --- log -----------------------------------------------------------------------------------------------------

    def log(self, epoch: int, loss: float, extra: dict[str, float]) -> None:
        """Append a step to log.csv."""
        row = {
            "step": self.step,
            "epoch": epoch,
            "loss": f"{loss:.6g}",
            "rate": f"{self.optimiser.param_groups[0]['lr']:.6g}",
        }
        self._append(row, {key: float(value) for key, value in extra.items()})

    def log_epoch(self, epoch: int, evaluate: Callable[[M], dict[str, float]] | None) -> None:
        """Append what `evaluate` says after an epoch to log.csv."""
        if evaluate is not None and self.fabric.is_global_zero:
            kept = (self.average if self.average is not None else self.plain).eval()
            with torch.inference_mode():
                found = evaluate(kept)
            self._append({"step": self.step, "epoch": epoch, "loss": "", "rate": ""}, found)
        self.fabric.barrier()

    def _append(self, row: dict[str, Any], extra: dict[str, float]) -> None:
        if not self.fabric.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow([*row, "more"])
            writer.writerow([*row.values(), json.dumps(extra) if extra else ""])

    def _forget_after(self, step: int) -> None:
        """Drop the lines of log.csv that a killed run wrote after its last checkpoint: they will come again."""
        path = self.folder / "log.csv"
        if not (self.fabric.is_global_zero and path.exists()):
            return
        with path.open(newline="") as file:
            head, *rows = list(csv.reader(file)) or [[]]
        with appearing(path) as partial, partial.open("w", newline="") as file:
            csv.writer(file).writerows([head, *(row for row in rows if row and int(row[0]) <= step)])

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint; every process waits until it is there."""
        self.write()
        self.fabric.barrier()

    def write(self) -> None:
        """Write a checkpoint of finite weights, whole or not at all, and drop the oldest beyond `keep`."""
        for group in self.optimiser.param_groups:
            for parameter in group["params"]:
                self._require_finite(parameter, "a weight")
        if not self.fabric.is_global_zero:
            return
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        state = {
            "fingerprint": self._fingerprint,
            "processes": self.fabric.world_size,
            "step": self.step,
            "model": self.plain.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimiser": self.optimiser.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "random": self._random,
        }
        path = self.checkpoints / f"{self.step:08}.pt"
        with appearing(path) as partial:
            torch.save(state, partial)
        for old in self._saved()[: -self.config.keep]:
            old.unlink()

    def _saved(self) -> list[Path]:
        return sorted(self.checkpoints.glob("[0-9]*.pt"))

    def _resume(self) -> int:
        saved = self._saved()
        last = self.fabric.broadcast(saved[-1] if saved else None)  # else the processes might start at other steps
        if last is None:
            self._forget_after(0)
            return 0
        if not last.exists():
            cause = "the first process has this checkpoint, another one cannot see it"
            raise CgiaaError(cause, path=escape(last), mend="name an --out that all machines share")
        state = torch.load(last, map_location="cpu", weights_only=True)
        anew = "delete the stage's folder to begin anew"
        if state["fingerprint"] != self._fingerprint:
            cause = "this checkpoint was made with another recipe, seed or data"
            raise CgiaaError(cause, path=escape(last), mend=f"use another --out, or {anew}")
        before, now = state["processes"], self.fabric.world_size
        if before != now:
            cause = f"this checkpoint was made by {before} process(es), now there are {now}"
            raise CgiaaError(cause, path=escape(last), mend=f"start {before}, or {anew}")
        self.plain.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        cpu, gpu = state["random"]
        torch.set_rng_state(cpu)
        if gpu is not None and self.fabric.device.type == "cuda":
            torch.cuda.set_rng_state(gpu, self.fabric.device)
        self._forget_after(state["step"])
        return int(state["step"])

    def finished(self) -> M:
        """The trained model."""
        kept = self.average if self.average is not None else self.plain
        return kept.to("cpu").eval()


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Of the CPU and of this process's GPU."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _parameter_groups(model: M, groups: Groups[M] | None, config: LoopConfig) -> list[dict[str, Any]]:
    chosen = groups(model) if groups else [(0, [p for p in model.parameters() if p.requires_grad])]
    found = []
    for depth, parameters in chosen:
        rate = config.rate * config.layer_decay**depth
        for decays in (True, False):
            part = [p for p in parameters if p.requires_grad and (p.ndim >= 2) == decays]
            if part:
                found.append({"params": part, "lr": rate, "weight_decay": config.weight_decay if decays else 0.0})
    if not found:
        raise CgiaaError("nothing of the model is to be trained", mend="unlock a tower in the recipe")
    return found


def _loader(
    data: Samples[T], collate: Callable[[list[T]], Any], batches: list[list[int]], config: LoopConfig
) -> DataLoader[Any]:
    return DataLoader(
        data,  # type: ignore[arg-type]  # torch asks for its own class, but only calls these two methods
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=config.workers,
        generator=torch.Generator(),  # else every start of it would draw from the one that dropout draws from
    )


class _progress:
    """Loss and time left on stderr, if that is a terminal."""

    def __init__(self, name: str, state: _State[Any]) -> None:
        self._bar: Any = None
        if sys.stderr.isatty() and state.fabric.is_global_zero:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"))
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(name, total=state.total, completed=state.step, loss="")

    def __enter__(self) -> Callable[[int, float], None]:
        if self._bar is not None:
            self._bar.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self, step: int, loss: float) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step, loss=f"{loss:.4f}")
