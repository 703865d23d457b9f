"""The closer look at a pair of photos: the second stage of `groups`.

Two measures have to agree, because each alone is wrong about something: the likeness of the embeddings takes any two
portraits of one dog for alike, and the correlation of the thumbnails any two horizons. Their sum parts copies, edits
and neighbouring frames from other photos far better than either.

The thumbnails are laid over each other whole, as a crop of one another, or as frames of a camera that moved a little.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.curation.groups_pairs import NO_TIME, Pairs
from cgiaa_cli.curation.groups_photos import Photos
from cgiaa_cli.imaging.look import SIDE, differing_bits, turned, without_plane

__all__ = ["LEAST_LIKENESS", "Links", "aligned", "link"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

LEAST_LIKENESS = 0.75
"""Of two embeddings, where no capture time speaks for the pair."""

ALIKE = 1.66  # likeness + overlay
SHOT_LIKENESS, SHOT_ALIKE = 0.6, 1.5  # taken by the same camera shortly after each other
SAME_HASH, SAME_OVERLAY, SAME_LIKENESS = 6, 0.985, 0.7  # one picture, saved again
TURNED_HASH, TURNED_OVERLAY = 4, 0.97
FLAT = 6.0  # levels of detail; below, hash and overlay say nothing
FLAT_DIFFERENCE, FLAT_LIKENESS = 1.0, 0.9  # of thumbnails (levels) and embeddings: a flat picture only goes with itself
FLAT_STRUCTURE = 0.7  # levels of detail; below, not even that can be told
BLOCK = 1024
OUT = 12
CROPS = ((0.93, (0.0, 0.035, 0.07)), (0.86, (0.0, 0.07, 0.14)), (0.78, (0.0, 0.11, 0.22)))  # size, places


@dataclass(frozen=True)
class Links:
    """Pairs that belong together.

    Attributes:
        pairs: (m, 2) indices.
        strength: (m,) likeness + overlay, 0..2.
        same: (m,) one picture, saved again or turned.
        shot: (m,) two shots by one camera shortly after each other, and neither an edit of the other.
    """

    pairs: Pairs
    strength: Floats
    same: Bools
    shot: Bools


def link(photos: Photos, pairs: Pairs, windows: Ints) -> Links:
    """Those of the candidate pairs that belong together.

    Args:
        windows: (n,) the longest gap between two shots of a burst, in seconds.
    """
    parts = [_link(photos, pairs[at : at + BLOCK], windows) for at in range(0, len(pairs), BLOCK)]
    if not parts:
        nothing = np.empty(0, bool)
        return Links(np.empty((0, 2), np.int64), np.empty(0, np.float32), nothing, nothing)
    return Links(
        np.concatenate([p.pairs for p in parts]),
        np.concatenate([p.strength for p in parts]),
        np.concatenate([p.same for p in parts]),
        np.concatenate([p.shot for p in parts]),
    )


def _link(photos: Photos, pairs: Pairs, windows: Ints) -> Links:
    left, right = pairs[:, 0], pairs[:, 1]
    both_times = (photos.seconds[left] != NO_TIME) & (photos.seconds[right] != NO_TIME)
    gap = np.where(both_times, np.abs(photos.seconds[left] - photos.seconds[right]), -1)
    near = both_times & (photos.cameras[left] == photos.cameras[right])
    near &= gap <= np.maximum(windows[left], windows[right])
    likeness = (photos.vectors[left] * photos.vectors[right]).sum(axis=1)
    seen = photos.seen[left] & photos.seen[right]
    close = seen & (likeness >= np.where(near | (gap == 0), SHOT_LIKENESS, LEAST_LIKENESS))
    overlay = np.full(len(pairs), -1.0, np.float32)
    distance = differing_bits(photos.hash[left], photos.hash[right])
    # one picture may have unlike embeddings: a small copy lacks the detail
    look_at = close | (seen & (distance <= SAME_HASH) & (likeness >= SAME_LIKENESS))
    overlay[look_at] = _overlay(photos.thumbs[left[look_at]], photos.thumbs[right[look_at]])
    # thousands of frames from a tripod need no search for the best place
    moved = np.flatnonzero(look_at & (overlay < SAME_OVERLAY))
    plain = overlay.copy()
    overlay[moved] = aligned(photos.thumbs[left[moved]], photos.thumbs[right[moved]])
    strength = np.where(look_at, likeness + overlay, 0).astype(np.float32)
    alike = look_at & (strength >= np.where(near | (gap == 0), SHOT_ALIKE, ALIKE))
    same = look_at & (distance <= SAME_HASH) & (likeness >= SAME_LIKENESS) & (plain >= SAME_OVERLAY)
    flat = np.minimum(photos.detail[left], photos.detail[right]) < FLAT
    alike &= ~flat | near
    same &= ~flat
    if flat.any():
        same |= flat & seen & (likeness >= FLAT_LIKENESS) & _same_flat(photos, left, right, gap == 0)
    over = _turned(photos, left, right, ~flat & seen)
    same |= over
    strength[over] = 2.0

    # two frames of a tripod look the same, but a copy has the time of its original, or none
    same &= (gap <= 0) & ~_numbered(photos, left, right, same & (gap == 0))
    # an edit has the very time of its original and, cropped or turned, another size; frames of a burst have one size
    edit = (gap == 0) & ((photos.width[left] != photos.width[right]) | (photos.height[left] != photos.height[right]))
    keep = alike | same
    return Links(pairs[keep], strength[keep], same[keep], (near & ~same & ~edit)[keep])


def _same_flat(photos: Photos, left: Ints, right: Ints, same_time: Bools) -> Bools:
    """Whether two flat pictures are one: by the little structure that they have, or else by their time."""
    a, b = photos.thumbs[left].astype(np.float32), photos.thumbs[right].astype(np.float32)
    close = np.abs(a - b).mean(axis=1) <= FLAT_DIFFERENCE
    rest = [_centred(without_plane(values.reshape(-1, SIDE, SIDE)).reshape(len(values), -1)) for values in (a, b)]
    structure = np.minimum(photos.detail[left], photos.detail[right]) >= FLAT_STRUCTURE
    alike = structure & ((rest[0] * rest[1]).sum(axis=1) >= SAME_OVERLAY)
    return np.asarray(close & (alike | same_time), bool)


def _turned(photos: Photos, left: Ints, right: Ints, wanted: Bools) -> Bools:
    """Whether one photo is the other one turned or mirrored."""
    found = np.zeros(len(left), bool)
    side = photos.thumbs.reshape(-1, SIDE, SIDE)
    for number, variant in enumerate(turned(photos.hash[right])):
        near = np.flatnonzero(wanted & (differing_bits(photos.hash[left], variant) <= TURNED_HASH))
        if near.size:
            other = _turn(side[right[near]], number).reshape(len(near), -1)
            found[near] |= _overlay(photos.thumbs[left[near]], other) >= TURNED_OVERLAY
    return found


def _turn(pictures: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """(m, h, w), turned as the variant of this number of `look.turned`."""
    if number >= 3:
        pictures, number = pictures.swapaxes(1, 2), number - 4
    if number in (0, 2):
        pictures = pictures[:, :, ::-1]
    if number in (1, 2):
        pictures = pictures[:, ::-1]
    return pictures


_LAST_NUMBER = re.compile(r"(\d+)(?=\D*$)")


def _numbered(photos: Photos, left: Ints, right: Ints, wanted: Bools) -> Bools:
    """Whether a camera numbered the two as shots of their own, e.g. IMG_0001 and IMG_0002 of the same second.

    Only where camera and size are the same, too: an edited copy mostly keeps the number.
    """
    wanted = wanted & (photos.cameras[left] == photos.cameras[right]) & (photos.cameras[left] > 0)
    wanted &= (photos.width[left] == photos.width[right]) & (photos.height[left] == photos.height[right])
    found = np.zeros(len(left), bool)
    for i in np.flatnonzero(wanted):
        a, b = photos.paths[left[i]][0], photos.paths[right[i]][0]
        found[i] = a != b and _LAST_NUMBER.sub("#", a, count=1) == _LAST_NUMBER.sub("#", b, count=1)
    return found


def _overlay(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Floats:
    """(m,) correlation of thumbnails as they are."""
    a, b = _centred(left.astype(np.float32)), _centred(right.astype(np.float32))
    return np.asarray((a * b).sum(axis=1), np.float32)


def _centred(values: Floats) -> Floats:
    """Last axis without its mean, of length 1."""
    values = values - values.mean(axis=-1, keepdims=True)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-3), np.float32)


def aligned(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Floats:
    """The best correlation of two photos, laid over each other whole, as a crop, or shifted a little.

    Args:
        left, right: (m, 1024) thumbnails.

    Returns:
        (m,) -1..1.
    """
    best = [np.empty(0, np.float32)]
    for at in range(0, len(left), BLOCK):
        a, b = _crops(left[at : at + BLOCK]), _crops(right[at : at + BLOCK])
        here = np.maximum((a @ b[:, 0, :, None]).max(axis=(1, 2)), (b @ a[:, 0, :, None]).max(axis=(1, 2)))
        for first in (1, 10):  # crops of one size with one another; not the smallest, which share too little
            between = a[:, first : first + 9] @ b[:, first : first + 9].swapaxes(1, 2)
            here = np.maximum(here, between.max(axis=(1, 2)))
        best.append(here)
    return np.concatenate(best)


def _crops(thumbs: NDArray[np.uint8]) -> Floats:
    """(m, 28, 144): the whole and nine crops of each of three sizes, centred and of length 1."""
    pictures = thumbs.reshape(-1, SIDE, SIDE).astype(np.float32)
    found = []
    for bank in _BANKS:
        rows = np.einsum("koi,mij->mkoj", bank, pictures, optimize=True)
        both = np.einsum("mkoj,lpj->mklop", rows, bank, optimize=True)
        found.append(both.reshape(len(pictures), -1, OUT * OUT))
    return _centred(np.concatenate(found, axis=1))


def _averaging(start: float, size: float) -> Floats:
    """(OUT, SIDE) weights that average a stretch of the side into `OUT` parts."""
    edges = np.linspace(start * SIDE, (start + size) * SIDE, OUT + 1)
    cells = np.arange(SIDE)
    shares = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    shares = np.maximum(shares, 0)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


_BANKS = [_averaging(0, 1)[None]] + [np.stack([_averaging(at, size) for at in places]) for size, places in CROPS]
