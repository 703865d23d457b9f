"""Photos for the `export` stage: held-out ones to measure a network on, training ones to calibrate it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cgiaa_training.data import read_photo
from cgiaa_training.evaluate import QUANTITIES
from cgiaa_training.manifest import Sample, load_set
from cgiaa_training.precision import Inputs
from numpy.typing import NDArray

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.imaging.preprocess import batch, prepare

__all__ = ["Check", "calibration", "check", "held_out", "inputs", "together"]

Array = NDArray[Any]
BATCH = 8


@dataclass(frozen=True)
class Check:
    """Held-out photos.

    Attributes:
        batches: what the network reads of them, N in all.
        ratings: (N,) by name of the result and of the quantity (see `evaluate.QUANTITIES`); NaN: not rated.
    """

    batches: list[Inputs]
    ratings: dict[tuple[str, str], Array]


def held_out(name: str, data: Path | str) -> list[Sample]:
    """The rated photos of a set's test split; of a set without one, all. Raises CgiaaError when there are none."""
    found = load_set(name, data)
    chosen = [s for s in found.of("test") or found.samples if s.image and set(s.labels) & set(QUANTITIES)]
    if not chosen:
        raise CgiaaError(
            f"the set {name} has no photos with ratings", mend=f"name one that rates {', '.join(QUANTITIES)}"
        )
    return chosen


def check(name: str, data: Path | str, most: int, learned: Collection[str] = ()) -> Check:
    """At most `most` held-out photos of a set, always the same.

    Args:
        learned: sets that were learned from: what such a set without a test split has is called `learned from`.
    """
    held = held_out(name, data)
    order = np.random.default_rng(0).permutation(len(held))[:most]
    samples = [held[i] for i in sorted(order)]
    where = f"{name} {samples[0].split}".strip()
    if samples[0].split != "test" and os.path.normpath(name) in map(os.path.normpath, learned):
        where = f"{name} (learned from)"
    quantities = sorted({label for s in samples for label in s.labels if label in QUANTITIES})
    ratings = {(f"{where} {q}", q): np.array([s.labels.get(q, np.nan) for s in samples]) for q in quantities}
    return Check(inputs([str(s.image) for s in samples]), ratings)


def together(checks: Sequence[Check]) -> Check:
    """Several as one; what one has rated is NaN for the photos of the others."""
    counts = [sum(len(b["photo"]) for b in one.batches) for one in checks]
    ratings = {}
    for number, one in enumerate(checks):
        for key, values in one.ratings.items():
            ratings[key] = np.full(sum(counts), np.nan)
            ratings[key][sum(counts[:number]) :][: counts[number]] = values
    return Check([b for one in checks for b in one.batches], ratings)


def calibration(name: str, data: Path | str, most: int) -> list[Inputs]:
    """At most `most` photos of a set that are not held out. Raises CgiaaError when there are none."""
    photos = [s for s in load_set(name, data).samples if s.image and s.split != "test"]
    if not photos:
        raise CgiaaError(f"the set {name} has no training photos", mend="name another in export.calibration")
    order = np.random.default_rng(0).permutation(len(photos))[:most]
    return inputs([str(photos[i].image) for i in order])


def inputs(places: Sequence[str | Path]) -> list[Inputs]:
    """What the network reads of photos, in batches. Raises CgiaaError where one is missing or damaged."""
    ready = [prepare(read_photo(place)) for place in places]
    return [batch(ready[i : i + BATCH]) for i in range(0, len(ready), BATCH)]
