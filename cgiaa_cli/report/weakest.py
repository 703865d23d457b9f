"""Which attribute is weak: of one photo, and of all photos of a lens, a focal length or a month.

The four attributes have different scales, so their scores cannot be compared as they are. Each is taken as the
distance from its mean over the photos of the gallery, in standard deviations; the weakest is the one furthest below.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.inference.scores import ATTRIBUTES

__all__ = ["Floats", "focal_range", "standing", "weakest", "weakest_by", "weakest_of"]

FEWEST = 3
"""Photos below which a mean says next to nothing."""

CHANCE = 2.0  # standard errors

_FOCAL_STARTS = (0, 24, 35, 50, 85, 135, 300)
FOCAL_RANGES = ("under 24 mm", "24-34 mm", "35-49 mm", "50-84 mm", "85-134 mm", "135-299 mm", "300 mm and more")

Floats = NDArray[np.float64]


def standing(scores: Floats) -> Floats:
    """(n, 4) distances from the mean in standard deviations; 0 where all photos have the same score.

    Args:
        scores: (n, 4) in the order of `ATTRIBUTES`.
    """
    if not len(scores):
        return np.zeros((0, len(ATTRIBUTES)))
    spread = scores.std(0)
    # rounding alone must not make one of a thousand equal scores the weak one
    usable = spread > 1e-6
    return np.asarray((scores - scores.mean(0)) / np.where(usable, spread, 1.0) * usable)


def weakest(stands: Floats) -> list[str | None]:
    """Of each photo the attribute that is furthest below the mean; None where none is below it."""
    lowest = zip(stands.argmin(1).tolist(), stands.min(1).tolist(), strict=True)
    return [ATTRIBUTES[i] if stand < 0 else None for i, stand in lowest]


def focal_range(focal_length: float | None) -> str | None:
    """The one of `FOCAL_RANGES` that a focal length in mm lies in; None where it is not known."""
    if focal_length is None or not focal_length > 0:
        return None
    return FOCAL_RANGES[bisect.bisect_right(_FOCAL_STARTS, focal_length) - 1]


def weakest_by(keys: Sequence[str | None], scores: Floats, stands: Floats) -> list[dict[str, Any]]:
    """A row for each key (a lens, a month, ...), the key with the most photos first.

    Args:
        keys: of each photo; those without one are left out.
        scores, stands: (n, 4), see `standing`.

    Returns:
        Of each key `name`, `photos`, `means` and `stands` (four numbers each), `weakest` (the attribute furthest
        below the mean of the gallery; None with fewer than `FEWEST` photos or where none is below) and `sure`
        (it lies below by more than chance would explain).
    """
    members: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        if key is not None:
            members.setdefault(key, []).append(i)
    rows = []
    for name, of_key in members.items():
        stand = stands[of_key].mean(0)
        counted = len(of_key) >= FEWEST and bool(stand.min() < 0)
        rows.append(
            {
                "name": name,
                "photos": len(of_key),
                "means": [round(float(v), 3) for v in scores[of_key].mean(0)],
                "stands": [round(float(v), 3) for v in stand],
                "weakest": ATTRIBUTES[int(stand.argmin())] if counted else None,
                "sure": counted and bool(stand.min() * len(of_key) ** 0.5 < -CHANCE),
            }
        )
    return sorted(rows, key=lambda row: (-row["photos"], row["name"]))


def weakest_of(keys: Mapping[str, Sequence[str | None]], scores: Floats, stands: Floats) -> dict[str, Any]:
    """The rows of `weakest_by` for each of `lens`, `focal` (the shortest first) and `month` (the last first)."""
    found = {name: weakest_by(keys[name], scores, stands) for name in ("lens", "focal", "month")}
    found["focal"].sort(key=lambda row: FOCAL_RANGES.index(row["name"]))
    found["month"].sort(key=lambda row: str(row["name"]), reverse=True)
    return found
