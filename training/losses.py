"""Losses of the stages, and gradient caching for contrastive batches larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["cached_step", "emd_loss", "gathered", "infonce", "rank_loss", "slices"]


def infonce(image: Tensor, text: Tensor, scale: Tensor, group: Tensor | None = None) -> Tensor:
    """Symmetric contrastive loss over a batch (InfoNCE, van den Oord et al. 2018; as CLIP's, Radford et al. 2021).

    Args:
        image, text: (B, D), normalised, row by row a pair.
        scale: (), what cosines are multiplied with.
        group: (B,) whole numbers; texts on the same photo share one and count as each other's match (as UniCL's,
            Yang et al. 2022), because calling them wrong would teach the towers to tell equals apart.
    """
    logits = scale * image @ text.T
    if group is None:
        target = torch.arange(len(logits), device=logits.device)
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
    same = (group[:, None] == group[None, :]).to(logits.dtype)
    wanted = same / same.sum(1, keepdim=True)  # `same` is symmetric, so this holds for both ways
    return (functional.cross_entropy(logits, wanted) + functional.cross_entropy(logits.T, wanted)) / 2


def emd_loss(predicted: Tensor, truth: Tensor, r: int = 2) -> Tensor:
    """Mean earth mover's distance between distributions (N, K) of ordered classes (NIMA, Talebi and Milanfar 2018).

    Its gradient is zero, not undefined, where both are the same.
    """
    difference = (predicted.cumsum(1) - truth.cumsum(1)).abs()
    mean = difference.pow(r).mean(1)
    far = mean > 1e-12
    return torch.where(far, torch.where(far, mean, torch.ones_like(mean)).pow(1 / r), torch.zeros_like(mean)).mean()


def rank_loss(predicted: Tensor, truth: Tensor, least: float = 0.0) -> Tensor:
    """Mean logistic loss of all pairs of a batch in the wrong order (RankNet, Burges et al. 2005).

    Args:
        predicted, truth: (N,) scores.
        least: pairs whose truths differ by no more than this have no order.

    Returns:
        () ; zero, with a zero gradient, for a batch without ordered pairs.
    """
    above = truth[:, None] - truth[None, :] > least
    difference = predicted[:, None] - predicted[None, :]
    return (functional.softplus(-difference) * above).sum() / above.sum().clamp_min(1)


def gathered(tensor: Tensor) -> Tensor:
    """The rows of all processes, this one's own with their gradient; the tensor itself where there is one process.

    Every process then has the loss of the whole batch. A process's rows get their gradient from its own copy of that
    loss alone; the processes' gradients are averaged afterwards, so it is multiplied by their number here.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    parts = [torch.empty_like(tensor) for _ in range(world)]
    torch.distributed.all_gather(parts, tensor.detach().contiguous())
    # each process's loss is the same function of all rows, so this one's copy has the whole gradient of its rows
    parts[rank] = _Scaled.apply(tensor, float(world)) if tensor.requires_grad else tensor
    return torch.cat(parts)


class _Scaled(torch.autograd.Function):
    """The same forwards; the gradient times a number backwards."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        return grad[0] * ctx.factor, None


def slices(batch: Mapping[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    """A batch in parts of at most `size` samples."""
    count = len(next(iter(batch.values())))
    return [{key: value[i : i + size] for key, value in batch.items()} for i in range(0, count, size)]


def cached_step(
    size: int, loss: Callable[[tuple[Tensor, ...], Mapping[str, Tensor]], Tensor]
) -> Callable[[nn.Module, Mapping[str, Tensor], Callable[[Tensor], None]], Tensor]:
    """A step for `loop.fit` with the gradient of a whole batch in the memory of a part (GradCache, Gao et al. 2021).

    1. Each part goes forward without a graph; 2. the loss of all outputs gives the gradient of each output; 3. each
    part goes forward again, with the same random numbers, and its outputs' gradients go backward. The result is the
    plain gradient (tested), except for layers that mix samples while they learn: batch normalisation must be locked.

    Args:
        size: samples of a part.
        loss: of the outputs of the model for the whole batch (rows put together; outputs without rows, such as the
            scale, as they are) and the batch.
    """

    def step(model: nn.Module, batch: Mapping[str, Tensor], backward: Callable[[Tensor], None]) -> Tensor:
        parts = slices(batch, size)
        states, found = [], []
        for part in parts:
            states.append(_random_state())
            with torch.no_grad():
                found.append(model(part))
        outputs = tuple(
            (torch.cat(columns) if columns[0].ndim else columns[0]).detach().requires_grad_()
            for columns in zip(*found, strict=True)
        )
        value = loss(outputs, batch)
        gradients = torch.autograd.grad(value, outputs, allow_unused=True)
        after = _random_state()
        start = 0
        for part, state in zip(parts, states, strict=True):
            _set_random_state(state)
            count = len(next(iter(part.values())))
            terms = []
            for output, gradient in zip(model(part), gradients, strict=True):
                if gradient is None:
                    continue
                own = gradient[start : start + count] if output.ndim else gradient / len(parts)
                wide = torch.promote_types(output.dtype, torch.float32)  # a long sum in half precision is no sum
                terms.append((output.to(wide) * own.to(wide)).sum())
            backward(torch.stack(terms).sum())
            start += count
        _set_random_state(after)
        return value.detach()

    return step


def _random_state() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_random_state(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
