"""The crops of a photo that a network may choose from, and the one it would make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["CELLS", "FEWEST", "Crop", "best_crop", "candidates"]

CELLS = 15  # a side of the grid that crops are cut on: the map of the embedded default's frozen tower
FEWEST = 9  # cells a side of the smallest crop


@dataclass(frozen=True)
class Crop:
    """A crop that people would likely prefer to the whole frame.

    Attributes:
        box: x, y, w, h in shares of the frame, 0..1.
        gain: by how much its predicted overlap with people's crop exceeds the whole frame's, 0..1.
    """

    box: tuple[float, float, float, float]
    gain: float


@cache
def candidates() -> NDArray[np.int64]:
    """(N, 4) boxes x, y, w, h in cells; the first is the whole frame, and a mirror image of each is among them."""
    sides = range(CELLS, FEWEST - 1, -1)
    found = [(x, y, w, h) for w in sides for h in sides for y in range(CELLS - h + 1) for x in range(CELLS - w + 1)]
    boxes = np.array(found)
    boxes.flags.writeable = False
    return boxes


def best_crop(overlaps: NDArray[np.float32]) -> Crop:
    """The candidate of the largest predicted overlap.

    Args:
        overlaps: (N,) predicted IoU of each candidate with people's crop, the output `crop` of a network.
    """
    best = int(np.argmax(overlaps))
    x, y, w, h = (float(v) / CELLS for v in candidates()[best])
    return Crop((x, y, w, h), float(overlaps[best] - overlaps[0]))
