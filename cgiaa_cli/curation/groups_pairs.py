"""Which pairs of photos are worth a closer look: the first stage of `groups`, and no step of it is quadratic.

Four nets, because each lets something through that another one catches:

* perceptual hashes by multi-index hashing (Norouzi, Punjani, Fleet, 2012): two hashes that differ in 3 bits or fewer
  are equal in one of four chunks of 16 bits, so equal chunks are found by sorting; once more for turned and mirrored
  copies, whose hashes follow from the hash;
* capture times: the next photos of the same camera within a window;
* equal capture times, whatever the camera: an edited copy keeps its time but may lose the camera's name;
* embeddings: crops without a time. An inverted file (Jégou, Douze, Schmid, 2011): about sqrt(n) cells by k-means, each
  photo in its few nearest ones, exact similarities within a cell, block by block.

A bucket, however large (a clear sky's hash, 3,000 identical frames), gives each of its photos at most `WIDTH` partners:
its neighbours in an order that puts like ones side by side. The chain still connects them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.imaging.look import turned

__all__ = ["NO_TIME", "by_embedding", "by_hash", "by_time", "unique_pairs"]

Ints = NDArray[np.int64]
Pairs = NDArray[np.int64]  # (m, 2), the lower index first

NO_TIME = np.int64(np.iinfo(np.int64).min)
WIDTH = 24
CHUNKS = 4
CELLS_EACH = 3  # of an embedding; with one, two like photos on the two sides of a border never meet
BLOCK = 2048
SAMPLE = 64  # photos a cell that k-means learns from
ROUNDS = 8


def unique_pairs(parts: list[Pairs]) -> Pairs:
    """All the pairs of several (m, 2) arrays, each once, the lower index first, in order."""
    pairs = np.concatenate([np.empty((0, 2), np.int64), *parts])
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    keys = np.unique((low << 32 | high)[low != high])
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)


def by_hash(hashes: NDArray[np.uint64], usable: NDArray[np.bool_], order: Ints) -> Pairs:
    """Pairs whose hashes are alike, also after a turn or a mirror.

    Args:
        hashes: (n,) uint64.
        usable: (n,) False: the hash says nothing, so it has no partner here.
        order: (n,) a rank of the photos, e.g. by time: of a crowded bucket, neighbours in it are paired.
    """
    there = np.flatnonzero(usable)
    parts = [_in_buckets(there, chunk, order[there]) for chunk in _chunks(hashes[there])]
    for variant in turned(hashes[there]):
        # the turned hashes look into the buckets of the others; a bucket is again limited by its neighbours
        for plain, other in zip(_chunks(hashes[there]), _chunks(variant), strict=True):
            parts.append(_across(there, plain, other))
    return unique_pairs(parts)


def _chunks(hashes: NDArray[np.uint64]) -> Iterator[Ints]:
    bits = 64 // CHUNKS
    for i in range(CHUNKS):
        yield ((hashes >> np.uint64(i * bits)) & np.uint64((1 << bits) - 1)).astype(np.int64)


def _in_buckets(photos: Ints, buckets: Ints, order: Ints) -> Pairs:
    """Each photo with the next `WIDTH` of its bucket."""
    places = np.lexsort((order, buckets))
    photos, buckets = photos[places], buckets[places]
    parts = []
    for step in range(1, WIDTH + 1):
        same = np.flatnonzero(buckets[:-step] == buckets[step:]) if step < len(photos) else np.empty(0, np.int64)
        if not same.size:
            break
        parts.append(np.stack([photos[same], photos[same + step]], axis=1))
    return unique_pairs(parts)


def _across(photos: Ints, buckets: Ints, wanted: Ints) -> Pairs:
    """Each photo with at most `WIDTH` of the bucket that it asks for."""
    places = np.argsort(buckets, kind="stable")
    ordered = buckets[places]
    first = np.searchsorted(ordered, wanted, "left")
    count = np.minimum(np.searchsorted(ordered, wanted, "right") - first, WIDTH)
    asking = np.repeat(np.arange(len(photos)), count)
    offset = np.arange(len(asking)) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([photos[asking], photos[places[first[asking] + offset]]], axis=1)


def by_time(seconds: Ints, windows: Ints, cameras: Ints) -> Pairs:
    """Pairs taken shortly after each other, by one camera or with the very same time.

    Args:
        seconds: (n,) local time in seconds; `NO_TIME` where there is none.
        windows: (n,) the longest gap in seconds that counts for this photo.
        cameras: (n,) a number for each camera.
    """
    there = np.flatnonzero(seconds != NO_TIME)
    parts = []
    for key, same_time in ((cameras[there], False), (np.zeros(len(there), np.int64), True)):
        places = np.lexsort((there, seconds[there], key))
        photos, camera = there[places], key[places]
        time, window = seconds[photos], windows[photos]
        for step in range(1, min(WIDTH + 1, len(photos))):
            gap = time[step:] - time[:-step]
            limit = 0 if same_time else np.maximum(window[step:], window[:-step])
            near = np.flatnonzero((camera[:-step] == camera[step:]) & (gap <= limit))
            if not near.size:
                break
            parts.append(np.stack([photos[near], photos[near + step]], axis=1))
    return unique_pairs(parts)


def by_embedding(vectors: NDArray[np.float32], least: float) -> Pairs:
    """Pairs whose embeddings have at least this similarity; of each photo its `WIDTH` nearest within a cell.

    Args:
        vectors: (n, D) of length 1, or 0 for what is like nothing.
        least: cosine similarity.
    """
    there = np.flatnonzero(vectors.any(axis=1)) if vectors.size else np.empty(0, np.int64)
    if len(there) < 2:
        return unique_pairs([])
    if len(there) <= BLOCK:
        return unique_pairs([_alike(vectors, there, there, least)])
    count = max(1, round(len(there) ** 0.5))
    cells = _cells(vectors[there], count)
    photos = np.repeat(there, cells.shape[1])
    places = np.argsort(cells.ravel(), kind="stable")
    photos, bounds = photos[places], np.searchsorted(np.sort(cells.ravel()), np.arange(count + 1))
    parts = []
    for start, end in pairwise(bounds):
        cell = photos[start:end]
        if len(cell) > BLOCK:  # a library of one scene: along its largest difference, like ones lie side by side
            cell = cell[np.argsort(_along(vectors[cell]), kind="stable")]
        blocks = [cell[at : at + BLOCK] for at in range(0, len(cell), BLOCK)]
        parts += [_alike(vectors, block, block, least) for block in blocks]
        for one, other in pairwise(blocks):
            parts.append(_alike(vectors, one[-BLOCK // 2 :], other[: BLOCK // 2], least))
    return unique_pairs(parts)


def _alike(vectors: NDArray[np.float32], left: Ints, right: Ints, least: float) -> Pairs:
    likeness = vectors[left] @ vectors[right].T
    likeness[left[:, None] == right[None]] = -1
    wide = min(WIDTH, likeness.shape[1])
    nearest = np.argpartition(likeness, -wide, axis=1)[:, -wide:]
    rows, columns = np.nonzero(np.take_along_axis(likeness, nearest, axis=1) >= least)
    return np.stack([left[rows], right[nearest[rows, columns]]], axis=1)


def _cells(vectors: NDArray[np.float32], count: int) -> Ints:
    """(n, CELLS_EACH): the nearest of `count` centres, found by spherical k-means on a sample."""
    random = np.random.default_rng(0)
    sample = vectors[random.choice(len(vectors), min(len(vectors), count * SAMPLE), replace=False)]
    centres = sample[random.choice(len(sample), count, replace=False)].copy()
    for _ in range(ROUNDS):
        nearest = np.concatenate([(part @ centres.T).argmax(axis=1) for part in _parts(sample)])
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, sample)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    few = min(CELLS_EACH, count)
    return np.concatenate([np.argpartition(-(part @ centres.T), few - 1, axis=1)[:, :few] for part in _parts(vectors)])


def _parts(vectors: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(vectors), BLOCK):
        yield vectors[start : start + BLOCK]


def _along(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) where each lies along the direction in which the vectors differ most, by power iteration."""
    centred = vectors - vectors.mean(axis=0)
    axis = centred[int(np.abs(centred).sum(axis=1).argmax())]
    for _ in range(10):
        axis = centred.T @ (centred @ axis)
        axis /= max(float(np.linalg.norm(axis)), 1e-12)
    return np.asarray(centred @ axis, np.float32)
