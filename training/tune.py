"""Late, gentle tuning of the semantic tower's tail on what larger teachers say of all photos.

A linear head over frozen ImageNet features loses part of a teacher's judgement; the tail (two stages and the last
convolution) takes it up when it also learns to give the teacher's features, not its opinions alone (feature
distillation, Romero et al. 2015). Batch statistics stay frozen: batches are small and sets differ.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from cgiaa_models.student import LATE, SEMANTIC, Towers
from cgiaa_training.loop import Run, fit
from cgiaa_training.metrics import srcc
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Learner", "Lesson", "tune"]

Array = NDArray[Any]
HELD_OUT = 0.1  # share of the photos that only check


@dataclass(frozen=True)
class Lesson:
    """What the tail learns from N photos.

    Attributes:
        stems: (n, 1 or 2, 120, h, w) float16 each, N in all, see `features.extract`; one of the views is drawn.
        beside: (N, J) what the opinions see besides the tail, standardised.
        opinions: (N, T) of the teachers, each of zero mean and unit deviation.
        features: (N, K) of the teacher, the same; K may be 0.
        feature_weight: of the loss on `features` beside that on `opinions`.
    """

    stems: Sequence[Array]
    beside: Array
    opinions: Array
    features: Array
    feature_weight: float


def tune(towers: Towers, lesson: Lesson, run: Run) -> dict[str, float]:
    """Tune `towers.late` in place.

    Returns:
        Agreement (SRCC) with each opinion on the photos held out, by its number.
    """
    where = [(part, row) for part, stems in enumerate(lesson.stems) for row in range(len(stems))]
    order = np.random.default_rng(run.seed).permutation(len(where))
    held, train = np.split(order, [max(2, round(len(where) * HELD_OUT))])
    data = _Photos(lesson, where, train, run.seed)
    torch.manual_seed(run.seed)
    learner = Learner(towers, lesson.beside.shape[1], lesson.opinions.shape[1], lesson.features.shape[1])
    learner.measure(lesson.stems)

    def loss(model: nn.Module, batch: Any) -> Tensor:
        stems, beside, opinions, features = batch
        said, seen = model(stems, beside)
        value: Tensor = (said - opinions).square().mean()
        if features.shape[1]:
            value = value + lesson.feature_weight * (seen - features).square().mean()
        return value

    def agreement(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device  # the loop asks where it trains
        batches = [_batch(lesson, where, part, 0)[:2] for part in _parts(np.sort(held))]
        said = [model(*(part.to(device) for part in batch))[0].cpu().numpy() for batch in batches]
        truth = lesson.opinions[np.sort(held)]
        return {str(i): srcc(column, truth[:, i]) for i, column in enumerate(np.concatenate(said).T)}

    kept = fit(learner, data, data.collate, loss, run, groups=Learner.groups, evaluate=agreement)
    towers.load_state_dict(kept.towers.state_dict())
    towers.eval().requires_grad_(False)
    with torch.inference_mode():
        return agreement(kept)


class Learner(nn.Module):
    """The tail, linear heads for the opinions (which see the judge's features, too) and for the teacher's features."""

    mean: Tensor
    scale: Tensor

    def __init__(self, towers: Towers, beside: int, opinions: int, features: int) -> None:
        super().__init__()
        self.towers = copy.deepcopy(towers).requires_grad_(False)
        for parameter in self.towers.tail_parameters():
            parameter.requires_grad_(True)
        self.register_buffer("mean", torch.zeros(LATE))
        self.register_buffer("scale", torch.ones(LATE))
        self.opinions = nn.Linear(LATE + beside, opinions)
        self.features = nn.Linear(SEMANTIC, features)
        for head in (self.opinions, self.features):
            nn.init.normal_(head.weight, std=1e-3)
            nn.init.zeros_(head.bias)

    def train(self, mode: bool = True) -> Learner:
        """The towers stay in eval mode: batch statistics are frozen."""
        super().train(mode)
        self.towers.eval()
        return self

    def measure(self, stems: Sequence[Array], most: int = 512) -> None:
        """Take the scale of the untuned features from some photos, so that all of them weigh the same."""
        some = np.concatenate([part[:: max(1, len(part) * len(stems) // most), 0] for part in stems])
        with torch.inference_mode():
            late = torch.cat([self.towers.late(_tensor(part)) for part in np.array_split(some, len(some) // 64 + 1)])
        self.mean.copy_(late.mean(0))
        self.scale.copy_(late.std(0) + 1e-3)

    def groups(self) -> list[tuple[int, list[nn.Parameter]]]:
        """The heads, which start from nothing, at depth 0; the tail below them."""
        return [
            (0, [*self.opinions.parameters(), *self.features.parameters()]),
            (1, list(self.towers.tail_parameters())),
        ]

    def forward(self, stems: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        late = ((self.towers.late(stems) - self.mean) / self.scale).clamp(-6, 6)
        return self.opinions(torch.cat([late, beside], 1)), self.features(late[:, :SEMANTIC])


class _Photos:
    """Photos to learn from, as (index, view); which view is drawn follows from seed, epoch and index."""

    def __init__(self, lesson: Lesson, where: list[tuple[int, int]], train: Array, seed: int) -> None:
        self.lesson, self.where, self.indices, self.seed = lesson, where, train, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        self.draws = np.random.default_rng([self.seed, epoch]).integers(0, 2, len(self.indices))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[int, int]:
        return int(self.indices[index]), int(self.draws[index])

    def collate(self, chosen: list[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return _batch(self.lesson, self.where, np.array([i for i, _ in chosen]), np.array([v for _, v in chosen]))


def _batch(
    lesson: Lesson, where: list[tuple[int, int]], chosen: Array, views: Array | int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    views = np.broadcast_to(views, len(chosen))
    stems = []
    for index, view in zip(chosen, views, strict=True):
        part, row = where[index]
        photo = lesson.stems[part][row]
        stems.append(photo[view % len(photo)])
    beside, opinions, features = (
        torch.from_numpy(a[chosen].astype(np.float32)) for a in (lesson.beside, lesson.opinions, lesson.features)
    )
    return _tensor(np.stack(stems)), beside, opinions, features


def _tensor(stems: Array) -> Tensor:
    whole = torch.from_numpy(np.asarray(stems, np.float32))
    return whole.contiguous(memory_format=torch.channels_last)  # 1.7 times as fast on a CPU


def _parts(indices: Array, size: int = 64) -> list[Array]:
    return np.array_split(indices, len(indices) // size + 1)
