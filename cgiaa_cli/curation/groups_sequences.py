"""Shots that belong together and are all wanted: exposure brackets and the frames of a panorama.

Both are found among consecutive photos of one camera, from what the camera wrote (time, exposure, focal length) and
what the thumbnails show: a bracket grows lighter as the exposure does, and each frame of a panorama continues where the
one before leaves off. Without a capture time nothing is found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.curation.groups_pairs import NO_TIME
from cgiaa_cli.curation.groups_photos import Photos
from cgiaa_cli.imaging.look import SIDE

__all__ = ["BRACKET_GAP", "brackets", "panoramas", "shifts", "windows"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

BURST_GAP = 30  # seconds between two shots of a burst in the wide sense: tries of one picture
BRACKET_GAP = 4  # beside the exposure time itself
PANORAMA_GAP = 20
NO_SECONDS = 90  # where a camera's times have none, two shots of the same moment are a minute apart at most
BRACKET_SPAN = 0.9  # stops between the darkest and the lightest frame
BRACKET_STEP = 0.25
LIGHTER = 6.0  # levels of the thumbnail's mean from the darkest to the lightest frame, at least
PANORAMA_LIKENESS = 0.5  # of the embeddings
PANORAMA_MATCH = 0.86  # correlation of what two frames share
PANORAMA_GAIN = 0.15  # more than unshifted
PANORAMA_DETAIL = 5.0  # levels; less in what is shared is a sky that matches any other
LEAST_PAIRS = 2
GRID = 16
SHIFTS = range(2, 13)  # of 16 columns: frames that share 25 to 88 %
SIDEWAYS = range(-2, 3)
BATCH = 512


def windows(photos: Photos, gap: int) -> Ints:
    """(n,) longest gap in seconds to the next shot, wider for cameras whose times have no seconds."""
    return np.where(_coarse_times(photos), max(gap, NO_SECONDS), gap)


def _coarse_times(photos: Photos) -> NDArray[np.bool_]:
    """(n,) whether the photo's camera leaves the seconds out of its times."""
    found = np.zeros(len(photos), bool)
    timed = photos.seconds != NO_TIME
    count = np.bincount(photos.cameras[timed], minlength=1)
    odd = np.bincount(photos.cameras[timed & (photos.seconds % 60 != 0)], minlength=len(count))
    # of one photo in sixty the seconds are 0 by chance, of three one in 216,000
    coarse = (count >= 3) & (odd == 0)
    found[timed] = coarse[photos.cameras[timed]]
    return found


@dataclass(frozen=True)
class _Runs:
    """Consecutive shots of one camera, one size and one focal length, near each other in time.

    Attributes:
        before, after: (m,) each shot and the next one; the runs one after the other.
    """

    before: Ints
    after: Ints

    @classmethod
    def of(cls, photos: Photos, gaps: Ints) -> _Runs:
        there = np.flatnonzero(photos.seconds != NO_TIME)
        # by size, too: cropped or reduced copies must not come between the shots
        keys = (photos.seconds, photos.height, photos.width, photos.cameras)
        order = there[np.lexsort((_names(photos, there), *(key[there] for key in keys)))]
        before, after = order[:-1], order[1:]
        joined = (photos.cameras[before] == photos.cameras[after]) & (
            photos.seconds[after] - photos.seconds[before] <= np.maximum(gaps[before], gaps[after])
        )
        joined &= (photos.width[before] == photos.width[after]) & (photos.height[before] == photos.height[after])
        joined &= ~(np.abs(photos.focal[before] - photos.focal[after]) > 0.02 * photos.focal[before])
        return cls(before[joined], after[joined])

    def parts(self, labels: Ints, least: int) -> Iterator[Ints]:
        """Stretches of shots between which the label is the same and not 0, of `least` steps or more."""
        start = 0
        for end in range(1, len(labels) + 1):
            going_on = end < len(labels) and labels[end] == labels[start] and self.before[end] == self.after[end - 1]
            if going_on:
                continue
            if labels[start] and end - start >= least:
                yield np.append(self.before[start:end], self.after[end - 1])
            start = end


def _names(photos: Photos, there: Ints) -> Ints:
    """(n,) the place of each photo's first path: cameras count, so it orders shots of the same second."""
    names = [photos.paths[i][0] for i in there]
    places = np.empty(len(there), np.int64)
    places[sorted(range(len(there)), key=names.__getitem__)] = np.arange(len(there))
    return places


def brackets(photos: Photos) -> list[Ints]:
    """The exposure brackets, each in the order in which it was taken.

    Two frames or more that show the same, each exposed differently from the one before, at least `BRACKET_SPAN` stops
    in all, and lighter where more light was let in; an automatic exposure that follows a cloud is no bracket.
    """
    found = []
    exposed = np.where(np.isfinite(photos.exposure), 2.0 ** np.clip(photos.exposure, 0, 5), 1)
    runs = _Runs.of(photos, windows(photos, BRACKET_GAP) + exposed.astype(np.int64))
    going_on = np.abs(photos.exposure[runs.before] - photos.exposure[runs.after]) >= BRACKET_STEP
    going_on &= photos.seen[runs.before] & photos.seen[runs.after]
    going_on[going_on] = _same_scene(photos, runs.before[going_on], runs.after[going_on])
    for part in runs.parts(going_on.astype(np.int64), 1):
        exposure, light = photos.exposure[part], photos.thumbs[part].mean(axis=1)
        if np.ptp(exposure) < BRACKET_SPAN or np.ptp(light) < LIGHTER:
            continue
        if np.corrcoef(exposure, light)[0, 1] > 0.8:
            found.append(part)
    return found


def _same_scene(photos: Photos, left: Ints, right: Ints) -> NDArray[np.bool_]:
    """Whether two photos show the same, whatever the exposure: by the order of their greys, not by the greys."""
    found = [np.empty(0, bool)]
    for at in range(0, len(left), BATCH):
        here = slice(at, at + BATCH)
        ranks = [np.argsort(np.argsort(photos.thumbs[i[here]], axis=1, kind="stable"), axis=1) for i in (left, right)]
        a, b = (r - r.mean(axis=1, keepdims=True) for r in ranks)
        found.append((a * b).sum(axis=1) > 0.85 * (a**2).sum(axis=1))
    return np.concatenate(found)


def panoramas(photos: Photos) -> list[Ints]:
    """The panoramas, each of three frames or more in the order in which it was taken.

    Consecutive frames of like exposure that share a part, each shifted against the one before in the same direction.
    """
    runs = _Runs.of(photos, windows(photos, PANORAMA_GAP))
    before, after = runs.before, runs.after
    # a burst that follows a runner is shifted, too, but nobody turns a tripod several times a second
    possible = (photos.seconds[after] > photos.seconds[before]) | _coarse_times(photos)[before]
    possible &= photos.seen[before] & photos.seen[after]
    possible &= ~(np.abs(photos.exposure[before] - photos.exposure[after]) > 0.7)
    if photos.vectors.size:
        possible[possible] = _likeness(photos, before[possible], after[possible]) >= PANORAMA_LIKENESS
    direction = np.zeros(len(before), np.int64)
    direction[possible] = shifts(photos.thumbs[before[possible]], photos.thumbs[after[possible]])
    return list(runs.parts(direction, LEAST_PAIRS))


def _likeness(photos: Photos, left: Ints, right: Ints) -> Floats:
    parts = [np.empty(0, np.float32)]
    for at in range(0, len(left), BATCH):
        here = slice(at, at + BATCH)
        parts.append((photos.vectors[left[here]] * photos.vectors[right[here]]).sum(axis=1))
    return np.concatenate(parts)


def shifts(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Ints:
    """In which direction the second of two frames goes on from the first.

    Args:
        left, right: (m, 1024) thumbnails.

    Returns:
        (m,) 1 to the right, -1 to the left, 2 downward, -2 upward, 0: they do not continue each other.
    """
    found = np.zeros(len(left), np.int64)
    for start in range(0, len(left), BATCH):
        here = slice(start, start + BATCH)
        a, b = _coarse(left[here]), _coarse(right[here])
        at_rest, _ = _match(a, b)
        moved = np.flatnonzero(at_rest < 1 - PANORAMA_GAIN)  # the others cannot gain enough
        a, b, at_rest = a[moved], b[moved], at_rest[moved]
        best, direction = np.full(len(a), -1.0, np.float32), np.zeros(len(a), np.int64)
        turned = a.swapaxes(1, 2), b.swapaxes(1, 2)
        for sign, (first, second) in ((1, (a, b)), (-1, (b, a)), (2, turned), (-2, turned[::-1])):
            for along in SHIFTS:
                for across in SIDEWAYS:
                    one, other = _shared(first, second, along, across)
                    match, detail = _match(one, other)
                    better = (match > best) & (detail > PANORAMA_DETAIL)
                    best[better], direction[better] = match[better], sign
        sure = (best >= PANORAMA_MATCH) & (best >= at_rest + PANORAMA_GAIN)
        found[start + moved] = np.where(sure, direction, 0)
    return found


def _coarse(thumbs: NDArray[np.uint8]) -> Floats:
    """(m, 16, 16)"""
    step = SIDE // GRID
    return np.asarray(thumbs.reshape(-1, GRID, step, GRID, step).mean(axis=(2, 4)), np.float32)


def _shared(first: Floats, second: Floats, along: int, across: int) -> tuple[Floats, Floats]:
    """What the two frames share if the second lies `along` columns to the right and `across` rows down."""
    one, other = first[:, :, along:], second[:, :, : GRID - along]
    if across > 0:
        return one[:, across:], other[:, :-across]
    if across < 0:
        return one[:, :across], other[:, -across:]
    return one, other


def _match(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Correlation of two batches of pictures, and the standard deviation of the flatter one of each two."""
    size = one.shape[1] * one.shape[2]
    a, b = one.reshape(-1, size), other.reshape(-1, size)
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a**2).mean(axis=1)), np.sqrt((b**2).mean(axis=1))
    both = spread[0] * spread[1]
    match = (a * b).mean(axis=1) / np.maximum(both, 1e-6)
    return match, np.minimum(*spread)
