"""What a photo looks like, in little: a 64-bit perceptual hash and a grey thumbnail of 32 x 32.

`groups` finds photos of the same thing with them. Both come from the squeezed picture that the network reads, so they
cost a scan a fifth of a millisecond a photo.

The hash is that of the discrete cosine transform (pHash, Zauner 2010), with two changes. A bit is the sign of a
coefficient and not its place above the median, because then the hash of a photo that was turned or mirrored follows
from the hash alone (`turned`): a mirror flips the sign of the odd coefficients, a transposition swaps rows and columns.
And beside it stands how much there is to see (`detail`), because the hash of a clear sky is noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SIDE", "Look", "differing_bits", "look", "turned", "without_plane"]

SIDE = 32
_LOW = 8  # coefficients a side that become bits; the first of the 64 is the mean and always 0

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Look:
    """What a photo looks like.

    Attributes:
        hash: 64 bits; of similar photos few differ.
        detail: standard deviation of the thumbnail without what the eye sees as a plain gradient, in levels 0..127; a
            clear sky has less than 4.
        thumb: (32, 32) uint8 luma, the whole frame squeezed to a square.
    """

    hash: int
    detail: float
    thumb: NDArray[np.uint8]


def _cosines() -> NDArray[np.float32]:
    """(8, 32): the lowest basis vectors of the DCT-II."""
    places = (2 * np.arange(SIDE) + 1) * np.pi / (2 * SIDE)
    return np.asarray(np.cos(np.outer(np.arange(_LOW), places)), np.float32)


_DCT = _cosines()
_WEIGHTS = np.uint64(1) << np.arange(64, dtype=np.uint64)
_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)
_PLANE = np.linspace(-1, 1, SIDE, dtype=np.float32)
_PLANE_LENGTH = float((_PLANE**2).mean())


def look(squeezed: NDArray[np.uint8]) -> Look:
    """Describe a photo.

    Args:
        squeezed: (S, S, 3) uint8 sRGB, `imaging.preprocess.Inputs.photo`.
    """
    small = Image.fromarray(squeezed).resize((SIDE, SIDE), Image.Resampling.BOX).convert("L")
    thumb = np.asarray(small)
    luma = thumb.astype(np.float32)
    bits = (_DCT @ luma @ _DCT.T).ravel() > 0
    bits[0] = False
    return Look(int(_WEIGHTS[bits].sum(dtype=np.uint64)), float(without_plane(luma[None]).std()), thumb)


def without_plane(thumbs: NDArray[np.float32]) -> NDArray[np.float32]:
    """(m, 32, 32) without the plane that fits each best: of a sky that only grows lighter upward nothing is left."""
    rest = thumbs - thumbs.mean(axis=(1, 2), keepdims=True)
    down = (rest * _PLANE[:, None]).mean(axis=(1, 2), keepdims=True) / _PLANE_LENGTH
    along = (rest * _PLANE[None]).mean(axis=(1, 2), keepdims=True) / _PLANE_LENGTH
    return np.asarray(rest - down * _PLANE[:, None] - along * _PLANE[None], np.float32)


def _masks() -> tuple[np.uint64, np.uint64]:
    """The bits that a mirror from left to right and one from top to bottom flip: those of odd coefficients."""
    grid = np.arange(64).reshape(_LOW, _LOW)
    return (
        np.uint64(_WEIGHTS[grid[:, 1::2].ravel()].sum(dtype=np.uint64)),
        np.uint64(_WEIGHTS[grid[1::2].ravel()].sum(dtype=np.uint64)),
    )


_LEFT_RIGHT, _TOP_BOTTOM = _masks()


def differing_bits(left: Hashes, right: Hashes) -> NDArray[np.uint8]:
    """(n,) in how many of their 64 bits two hashes differ."""
    parts = (left ^ right)[..., None].view(np.uint16)
    return np.asarray(_ONES[parts].sum(axis=-1), np.uint8)


def turned(hashes: Hashes) -> list[Hashes]:
    """The hashes that the photos would have if they were turned or mirrored.

    Args:
        hashes: (n,) uint64.

    Returns:
        Seven arrays of (n,) uint64: the three mirrors and turns that keep the frame's shape, then the four that
        swap its sides.
    """
    swapped = np.zeros_like(hashes)
    for row in range(_LOW):
        for column in range(_LOW):
            bit = (hashes >> np.uint64(row * _LOW + column)) & np.uint64(1)
            swapped |= bit << np.uint64(column * _LOW + row)
    flips = (_LEFT_RIGHT, _TOP_BOTTOM, _LEFT_RIGHT ^ _TOP_BOTTOM)
    return [hashes ^ flip for flip in flips] + [swapped ^ flip for flip in (np.uint64(0), *flips)]
