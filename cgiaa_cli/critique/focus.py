"""Sharpness of a photo, measured: a map of it, what is in focus, what kind of blur, noise.

Sharpness is judged at native scale, where a missed focus shows, in cells of the photo; a cell without texture (sky,
a wall) says nothing about focus and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHARP", "Focus", "box_of", "largest_region", "measure_focus", "sharpness_map"]

Floats = NDArray[np.float32]

CELLS = 24  # along the longer side
PATCH = 64  # px of the middle of a cell that are looked at, at native scale: enough, and it bounds the cost
TEXTURE = 6.0  # levels of standard deviation from which on a cell has texture
SHARP = 0.5
"""Sharpness (see `sharpness_map`) from which on a cell is in focus: edges of about 2 px."""

# steps (down, right) in whose direction detail is looked for, and the angle of each, degrees
_DIRECTIONS = (((0, 1), 0.0), ((1, -1), 45.0), ((1, 0), 90.0), ((1, 1), -45.0))


@dataclass(frozen=True)
class Focus:
    """Sharpness and noise.

    Attributes:
        map: (rows, columns) sharpness by cell, 0 soft..1 sharp, NaN where there is no texture.
        textured: share of cells with texture, 0..1.
        peak: sharpness of the sharpest tenth of the textured cells, 0..1; 0 where there is none.
        in_focus: share of the textured cells that are sharp, 0..1.
        region: box (x, y, w, h), shares of the frame, around the largest sharp region; None if nothing is sharp.
        blur: `none`, `motion` or `defocus`: what made the photo soft, where it is.
        motion_angle: direction of the motion, degrees, 0 is horizontal, in steps of 45; 0 without motion.
        anisotropy: how much less detail there is in one direction than across it, 0..1.
        noise: standard deviation of the noise in the flattest cells, 8-bit levels.
    """

    map: Floats
    textured: float
    peak: float
    in_focus: float
    region: tuple[float, float, float, float] | None
    blur: str
    motion_angle: float
    anisotropy: float
    noise: float


def measure_focus(luma: NDArray[np.uint8]) -> Focus:
    """Focus of the native luma, (H, W) uint8."""
    cells, shape = _cells(luma)
    losses = _losses(cells)
    found = sharpness_map(losses, shape)
    known = found[np.isfinite(found)]
    peak = float(np.sort(known)[-max(1, known.size // 10) :].mean()) if known.size else 0.0
    region = largest_region(np.nan_to_num(found) >= SHARP)
    anisotropy, angle, least = _direction(losses)
    blur = "none"
    if known.size >= 6:
        if anisotropy > 0.35 and least < SHARP:
            blur = "motion"
        elif peak < SHARP:
            blur = "defocus"
    return Focus(
        map=found,
        textured=known.size / found.size,
        peak=peak,
        in_focus=float((known >= SHARP).mean()) if known.size else 0.0,
        region=box_of(region) if region is not None else None,
        blur=blur,
        motion_angle=angle if blur == "motion" else 0.0,
        anisotropy=anisotropy,
        noise=_noise(cells),
    )


def _cells(luma: NDArray[np.uint8]) -> tuple[Floats, tuple[int, int]]:
    """Patches (rows * columns, S, S) of the middle of each cell, and (rows, columns)."""
    height, width = luma.shape
    side = max(12, max(height, width) // CELLS)
    rows, columns = max(1, height // side), max(1, width // side)
    size = min(PATCH, side, height, width)
    tops = ((np.arange(rows) + 0.5) * height / rows - size / 2).astype(int).clip(0, height - size)
    lefts = ((np.arange(columns) + 0.5) * width / columns - size / 2).astype(int).clip(0, width - size)
    patches = [luma[top : top + size, left : left + size] for top in tops for left in lefts]
    return np.stack(patches).astype(np.float32), (rows, columns)


def _losses(cells: Floats) -> Floats:
    """Share of the neighbour differences that a 5 px blur takes away, by cell and direction: (N, 4), 0..1.

    After Crete et al., "The blur effect", 2007: a sharp picture loses much of them, a soft one little. Only strong
    differences count, since noise is in all of them and edges are in few. NaN: no edge, or no texture.
    """
    found = np.full((len(cells), len(_DIRECTIONS)), np.nan, np.float32)
    textured = np.flatnonzero(cells.std((1, 2)) >= TEXTURE)
    cells = cells[textured]
    if cells.shape[1] < 10 or not len(cells):
        return found
    for number, (step, _) in enumerate(_DIRECTIONS):
        blurred = sum(np.roll(cells, (k * step[0], k * step[1]), (1, 2)) for k in range(-2, 3)) / np.float32(5)
        before = np.abs(cells - np.roll(cells, step, (1, 2)))[:, 3:-3, 3:-3]
        after = np.abs(blurred - np.roll(blurred, step, (1, 2)))[:, 3:-3, 3:-3]
        strong = before >= np.maximum(4.0, 1.8 * before.mean((1, 2), keepdims=True))
        all_, lost = (before * strong).sum((1, 2)), (np.maximum(0, before - after) * strong).sum((1, 2))
        edges = strong.mean((1, 2)) >= 0.01
        found[textured, number] = np.where(edges, lost / np.maximum(all_, 1e-6), np.nan)
    return found


def sharpness_map(losses: Floats, shape: tuple[int, int]) -> Floats:
    """Sharpness by cell, (rows, columns), 0..1, NaN without texture: that of its sharpest direction.

    An edge has detail across it only, so the directions are not averaged. 0.5 is an edge of about two pixels.
    """
    highest = np.nan_to_num(losses, nan=-1.0).max(1)
    return np.where(highest < 0, np.nan, highest).reshape(shape).astype(np.float32)


def _direction(losses: Floats) -> tuple[float, float, float]:
    """How one-sided the detail is (0..1), the direction in which it is missing, and the detail left there (0..1).

    Only cells with edges both in a direction and across it can tell motion from a picture of stripes.
    """
    best = (0.0, 0.0, 1.0)
    for number, (_, angle) in enumerate(_DIRECTIONS):
        along, across = losses[:, number], losses[:, (number + 2) % 4]
        both = np.isfinite(along) & np.isfinite(across)
        if both.sum() < 6:
            continue
        here, there = float(np.median(along[both])), float(np.median(across[both]))
        if 1 - here / max(there, 1e-6) > best[0]:
            best = (1 - here / max(there, 1e-6), angle, here)
    return best


def _noise(cells: Floats) -> float:
    """Immerkaer's estimate (1996) in the flattest quarter of the cells that are not clipped."""
    means = cells.mean((1, 2))
    t = cells[(means > 8) & (means < 247)]
    if not len(t) or t.shape[1] < 5:
        return 0.0
    rows = t[:, :-2] - 2 * t[:, 1:-1] + t[:, 2:]
    mask = rows[:, :, :-2] - 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    estimates = np.sort(np.abs(mask).mean((1, 2))) * np.sqrt(np.pi / 2) / 6
    return float(estimates[: max(1, len(estimates) // 4)].mean())


def largest_region(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The largest 4-connected region of a small mask; None if it is empty."""
    left = mask.copy()
    best: NDArray[np.bool_] | None = None
    while left.any():
        region = np.zeros_like(left)
        region[np.unravel_index(int(left.argmax()), left.shape)] = True
        while True:
            grown = region.copy()
            grown[1:] |= region[:-1]
            grown[:-1] |= region[1:]
            grown[:, 1:] |= region[:, :-1]
            grown[:, :-1] |= region[:, 1:]
            grown &= left
            if (grown == region).all():
                break
            region = grown
        left &= ~region
        if best is None or region.sum() > best.sum():
            best = region
    return best


def box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The box (x, y, w, h) around a mask, as shares of its size."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    left, top = columns[0] / width, rows[0] / height
    return float(left), float(top), float((columns[-1] + 1) / width - left), float((rows[-1] + 1) / height - top)
