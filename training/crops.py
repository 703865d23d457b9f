"""Learning to crop from FCDB: part of the stage `distill`, on the frozen maps that it has at hand anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from cgiaa_models.crop import CHANNELS, CropHead
from cgiaa_training.loop import LoopConfig, Run, fit
from cgiaa_training.manifest import Sample
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from cgiaa_cli.inference.crops import CELLS, candidates

__all__ = ["FEWEST", "LOOP", "CropLesson", "fit_crops", "learn_crops", "least_gain", "overlaps"]

Array = NDArray[Any]
LOOP = LoopConfig(epochs=24, batch_size=48, rate=1e-3, weight_decay=0.01, ema=0.99, save_every=200)
WORTH = 0.05  # IoU that a crop must bring on the average, at the lower end of the interval (95 %)
ENOUGH = 20  # photos that such a share is worth something on
FEWEST = 50  # photos with a crop: fewer teach nothing
PIXELS = 30_000  # of maps that the components come from


class CropLesson:
    """Photos with the crop that people made, as (index, view).

    Args:
        stems: (N, 1 or 2, 120, 15, 15), the photo and its mirror image, see `features.Frozen`.
        best: (N, 4) people's crops: x, y, w, h in shares of the frame.
        aspect: (N,) log2 of width over height.
        chosen: which of the N to learn from.
    """

    def __init__(self, stems: Array, best: Array, aspect: Array, chosen: Array, seed: int) -> None:
        self.stems, self.aspect, self.chosen, self.seed = stems, aspect, chosen, seed
        mirrored = best.copy()
        mirrored[:, 0] = 1 - best[:, 0] - best[:, 2]
        self.targets = np.stack([overlaps(best), overlaps(mirrored)], 1).astype(np.float32)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw which photos are mirrored."""
        views = self.stems.shape[1]
        self.views = np.random.default_rng([self.seed, epoch]).integers(0, views, len(self.chosen))

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> tuple[int, int]:
        return int(self.chosen[index]), int(self.views[index])

    def collate(self, drawn: list[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps, aspects, and the overlap of every candidate."""
        stems = np.stack([self.stems[i, view] for i, view in drawn]).astype(np.float32)
        aspect = np.array([self.aspect[i] for i, _ in drawn], np.float32)
        return (
            torch.from_numpy(stems),
            torch.from_numpy(aspect),
            torch.from_numpy(np.stack([self.targets[i, view] for i, view in drawn])),
        )


def learn_crops(
    samples: Sequence[Sample],
    stems: Array,
    run: Run,
) -> tuple[CropHead, dict[str, Any]]:
    """A crop head from photos in FCDB's layout, and what it is worth on a fifth of them that a first fit did not see.

    Args:
        samples: at least `FEWEST`; `extra` has `best_crop_xywh`, `width` and `height`.
        stems: of these, see `CropLesson`.

    Returns:
        The head, learned from all of them; `least_gain` (see there), and `held_out`: mean IoU with people's crops of
        the chosen ones, of the whole frames, and of the one box that is best for all.
    """
    sizes = np.array([[s.extra["width"], s.extra["height"]] for s in samples], float)
    best = np.array([s.extra["best_crop_xywh"] for s in samples], float) / np.tile(sizes, 2)
    aspect = np.log2(sizes[:, 0] / sizes[:, 1])
    every = np.arange(len(samples))
    held, rest = every[::5], np.delete(every, every[::5])
    first = fit_crops(stems, best, aspect, rest, replace(run, folder=run.folder / "trial"))
    with torch.inference_mode():
        seen = (
            torch.from_numpy(np.asarray(stems[held, 0], np.float32)),
            torch.from_numpy(aspect[held].astype(np.float32)),
        )
        predicted = first(*seen).numpy()
    true = overlaps(best[held])
    found = {
        "photos": len(samples),
        "least_gain": least_gain(predicted, true),
        "held_out": {
            "chosen": round(float(true[np.arange(len(held)), predicted.argmax(1)].mean()), 4),
            "whole frame": round(float(true[:, 0].mean()), 4),
            "one box": round(float(true[:, int(overlaps(best[rest]).mean(0).argmax())].mean()), 4),
        },
    }
    return fit_crops(stems, best, aspect, every, run), found


def fit_crops(
    stems: Array,
    best: Array,
    aspect: Array,
    chosen: Array,
    run: Run,
) -> CropHead:
    """A crop head learned from the photos `chosen`; see `CropLesson` for the others."""
    lesson = CropLesson(stems, best, aspect, chosen, run.seed)
    torch.manual_seed(run.seed)
    head = CropHead()
    pixels = np.concatenate([stems[i, 0].reshape(CHANNELS, -1).T for i in chosen]).astype(np.float32)
    dice = np.random.default_rng(run.seed)
    pixels = pixels[dice.choice(len(pixels), min(PIXELS, len(pixels)), replace=False)]
    components = PCA(head.project.shape[1], random_state=0).fit(pixels)
    scale = np.sqrt(components.explained_variance_) + 1e-6
    head.mean.copy_(torch.from_numpy(components.mean_))
    head.project.copy_(torch.from_numpy((components.components_ / scale[:, None]).T))
    head.prior.copy_(torch.from_numpy(lesson.targets[chosen].mean((0, 1))))

    def loss(model: torch.nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        found: Tensor = (model(batch[0], batch[1]) - batch[2]) ** 2
        return found.mean()

    fitted = fit(head, lesson, lesson.collate, loss, run)
    return fitted.requires_grad_(False)


def overlaps(best: Array) -> Array:
    """(M, 4) boxes in shares of the frame -> (M, N) IoU of every candidate with each."""
    boxes = candidates()[None] / CELLS
    first, second = best[:, None, :2], best[:, None, 2:]
    low = np.maximum(boxes[..., :2], first)
    high = np.minimum(boxes[..., :2] + boxes[..., 2:], first + second)
    shared = np.clip(high - low, 0, None).prod(-1)
    return np.asarray(shared / (boxes[..., 2:].prod(-1) + second.prod(-1) - shared))


def least_gain(predicted: Array, true: Array) -> float | None:
    """The smallest predicted gain from which on crops surely bring `WORTH` on the average.

    Args:
        predicted, true: (M, N) overlaps of held-out photos; the first candidate is the whole frame.

    Returns:
        In IoU; None where no gain is sure enough, so that no crop should be offered.

    The share of crops that are better does not rise with the predicted gain beyond four in five, so that it can be no
    measure: people do not agree on crops any better.
    """
    rows = np.arange(len(predicted))
    chosen = predicted.argmax(1)
    promised = predicted[rows, chosen] - predicted[:, 0]
    real = true[rows, chosen] - true[:, 0]
    for gain in np.arange(0.02, 0.5, 0.01):
        above = promised >= gain
        if above.sum() < ENOUGH:
            return None
        if real[above].mean() - 1.96 * real[above].std() / np.sqrt(above.sum()) >= WORTH:
            return round(float(gain), 2)
    return None
