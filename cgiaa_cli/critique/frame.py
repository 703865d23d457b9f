"""The frame of a photo, measured: where the subject is, how it is placed, balance, symmetry, lines, tilt, clutter.

There is no subject model in the bundle yet. `subject` is a measured stand-in: what differs in colour from the rest
and is sharp, gathered to the largest region. It says how sure it is, and what rests on it should not be claimed
where that is little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cgiaa_cli.critique.focus import box_of, largest_region

__all__ = ["Frame", "Subject", "measure_frame", "tilt"]

Floats = NDArray[np.float32]

WORK = 192  # px of the long side on which the frame is judged
TILT_LIMIT = 12.0  # degrees; a line that leans more is meant to
MOST_APART = 2.5  # degrees between the verticals of both halves that still are one lean
THIRDS = ((1 / 3, 1 / 3), (2 / 3, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 2 / 3))


@dataclass(frozen=True)
class Subject:
    """What the eye goes to, by colour contrast and sharpness.

    Attributes:
        box: (x, y, w, h), shares of the frame.
        centre: (x, y) of its weight, shares of the frame.
        area: share of the frame, 0..1.
        certainty: how much it stands out, 0..1; below 0.4 the photo has no clear single subject.
    """

    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    area: float
    certainty: float


@dataclass(frozen=True)
class Frame:
    """The frame.

    Attributes:
        subject: what the eye goes to.
        to_third, to_centre: distance of its centre from the nearest crossing of the thirds, and from the middle, as
            shares of the diagonal (0 is on it; between them at most 0.5).
        balance: visual weight to the right minus to the left, -1..1; 0 is balanced.
        symmetry: correlation of the picture with its mirror image, -1..1.
        lines: share of the edges that lie on long straight lines, 0..1.
        converging: share of those lines' weight that leads to one point within the frame, 0..1.
        diagonals: share of their weight at 25 to 65 degrees, 0..1.
        tilt: degrees by which verticals and horizon lean clockwise; None where nothing tells.
        clutter: share of the frame outside the subject that is busy with edges, 0..1.
        empty: share of the frame without texture, 0..1.
        separation: difference of subject and surroundings in lightness and colour, CIE76 units, 0..100.
        cut: sides of the frame that the subject touches, of `left`, `top`, `right`, `bottom`.
    """

    subject: Subject
    to_third: float
    to_centre: float
    balance: float
    symmetry: float
    lines: float
    converging: float
    diagonals: float
    tilt: float | None
    clutter: float
    empty: float
    separation: float
    cut: tuple[str, ...]


def measure_frame(picture: Floats, sharpness: Floats) -> Frame:
    """Measure the frame of an L*a*b* picture (h, w, 3), given the sharpness by cell of `focus.sharpness_map`."""
    small = _resize(picture, WORK)
    mask, found = _subject(small, sharpness)
    dx, dy = _gradient(small[..., 0])
    strength = np.hypot(dx, dy)
    edges = strength > max(6.0, float(np.percentile(strength, 80)) * 0.5)
    lines = _lines(dx, dy, strength)
    height, width = mask.shape
    busy = _blur(edges.astype(np.float32), 4) > 0.35
    empty = _blur((strength > 3.0).astype(np.float32), 4) < 0.05
    x, y = found.centre
    diagonal = float(np.hypot(width, height))
    thirds = [np.hypot((x - u) * width, (y - v) * height) / diagonal for u, v in THIRDS]
    return Frame(
        subject=found,
        to_third=float(min(thirds)),
        to_centre=float(np.hypot((x - 0.5) * width, (y - 0.5) * height) / diagonal),
        balance=_balance(strength),
        symmetry=_symmetry(small[..., 0]),
        lines=lines.share,
        converging=lines.converging,
        diagonals=lines.diagonals,
        tilt=tilt(picture[..., 0]),
        clutter=float(busy[~mask].mean()) if (~mask).any() else 0.0,
        empty=float(empty.mean()),
        separation=_separation(small, mask),
        cut=_cut(mask),
    )


def _resize(picture: Floats, longest: int) -> Floats:
    height, width = picture.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    channels = [
        np.asarray(Image.fromarray(picture[..., i]).resize(size, Image.Resampling.BOX)) for i in range(picture.shape[2])
    ]
    return np.stack(channels, -1)


def _gradient(values: Floats) -> tuple[Floats, Floats]:
    """Sobel, in units of the values per pixel."""
    p = np.pad(values, 1, mode="edge")
    dx = (p[:-2, 2:] + 2 * p[1:-1, 2:] + p[2:, 2:] - p[:-2, :-2] - 2 * p[1:-1, :-2] - p[2:, :-2]) / 8
    dy = (p[2:, :-2] + 2 * p[2:, 1:-1] + p[2:, 2:] - p[:-2, :-2] - 2 * p[:-2, 1:-1] - p[:-2, 2:]) / 8
    return np.asarray(dx, np.float32), np.asarray(dy, np.float32)


# --- subject -----------------------------------------------------------------------------------------------------


def _subject(small: Floats, sharpness: Floats) -> tuple[NDArray[np.bool_], Subject]:
    """Mask and description of what stands out.

    Saliency after Achanta et al., "Frequency-tuned salient region detection", 2009 (distance of the blurred colour
    from the mean colour), here from the mean of the border, times sharpness, with a mild preference for the middle.
    """
    height, width = small.shape[:2]
    soft = np.stack([_blur(small[..., i], 2) for i in range(3)], -1)
    edge = max(2, min(height, width) // 12)
    border = np.concatenate(
        [
            soft[:edge].reshape(-1, 3),
            soft[-edge:].reshape(-1, 3),
            soft[:, :edge].reshape(-1, 3),
            soft[:, -edge:].reshape(-1, 3),
        ]
    )
    # the border has several colours (sky, ground): what is like any of them does not stand out
    seeds = np.percentile(border[:, 0], (10, 35, 65, 90))
    kinds = np.stack([border[np.abs(border[:, 0] - s) <= 8].mean(0) for s in seeds])
    distance = np.sqrt(((soft[:, :, None] - kinds[None, None]) ** 2).sum(-1)).min(-1)
    known = np.nan_to_num(sharpness, nan=0.15)
    focus = np.asarray(Image.fromarray(known).resize((width, height), Image.Resampling.BILINEAR))
    v, u = np.mgrid[0:height, 0:width]
    middle = np.exp(-(((u / width - 0.5) / 0.45) ** 2 + ((v / height - 0.5) / 0.45) ** 2))
    saliency = np.asarray(distance * (0.25 + focus) * (0.4 + 0.6 * middle), np.float32)
    saliency = _blur(saliency, 2)
    threshold = max(float(saliency.mean()) * 1.6, float(np.percentile(saliency, 75)))
    mask = saliency >= threshold
    region = largest_region(mask)
    if region is None or float(saliency.max()) < 1e-3:
        whole = np.ones_like(mask)
        return whole, Subject((0.0, 0.0, 1.0, 1.0), (0.5, 0.5), 1.0, 0.0)
    weight = saliency * region
    total = float(weight.sum())
    inside = total / max(float((saliency * mask).sum()), 1e-6)  # one region, or many?
    contrast = float(saliency[region].mean() / max(float(saliency[~region].mean()), 1e-6))
    certainty = inside * float(np.clip((contrast - 1.5) / 3.5, 0, 1))
    centre = (float((weight * (u + 0.5)).sum() / total / width), float((weight * (v + 0.5)).sum() / total / height))
    return region, Subject(box_of(region), centre, float(region.mean()), certainty)


def _blur(values: Floats, radius: int) -> Floats:
    """Two box blurs of 2 * radius + 1, nearly a Gaussian; edges are repeated outward."""
    width = 2 * radius + 1
    for axis in (0, 0, 1, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(values, pad, mode="edge"), axis=axis, dtype=np.float64)
        sums = (np.roll(total, -width, axis) - total)[: values.shape[0], : values.shape[1]]
        values = np.asarray(sums / width, np.float32)
    return values


def _separation(small: Floats, mask: NDArray[np.bool_]) -> float:
    """Distance of the subject's mean colour from that of a ring around it, CIE76."""
    ring = (_blur(mask.astype(np.float32), 6) > 0.02) & ~mask
    if not ring.any() or not mask.any():
        return 0.0
    return float(np.linalg.norm(small[mask].mean(0) - small[ring].mean(0)))


def _cut(mask: NDArray[np.bool_]) -> tuple[str, ...]:
    sides = {"left": mask[:, 0], "top": mask[0], "right": mask[:, -1], "bottom": mask[-1]}
    return tuple(name for name, side in sides.items() if side.mean() > 0.05)


# --- balance, symmetry, lines ------------------------------------------------------------------------------------


def _balance(strength: Floats) -> float:
    """Edge weight on the right minus on the left, each by its lever arm, over the sum."""
    arm = np.linspace(-1, 1, strength.shape[1], dtype=np.float32)
    columns = strength.sum(0)
    return float((columns * arm).sum() / max(float((columns * np.abs(arm)).sum()), 1e-6))


def _symmetry(lightness: Floats) -> float:
    """Correlation with the mirror image, of detail only: a vignette, a sky or a horizon is symmetric in any photo."""
    detail = lightness - _blur(lightness, 12)
    detail = detail - detail.mean(1, keepdims=True)
    if detail.std() < 1.0:
        return 0.0
    mirrored = _blur(detail, 1)[:, ::-1]
    return float(np.corrcoef(_blur(detail, 1).ravel(), mirrored.ravel())[0, 1])


@dataclass(frozen=True)
class _Lines:
    share: float
    converging: float
    diagonals: float


def _lines(dx: Floats, dy: Floats, strength: Floats) -> _Lines:
    """Long straight lines by a Hough transform in which a pixel votes near its own direction only."""
    height, width = strength.shape
    v, u = np.nonzero(strength > max(6.0, float(np.percentile(strength, 85))))
    if len(v) < 40:
        return _Lines(0.0, 0.0, 0.0)
    normal = np.degrees(np.arctan2(dy[v, u], dx[v, u])) % 180
    diagonal = int(np.hypot(height, width)) + 1
    votes = np.zeros((90, 2 * diagonal // 2 + 1), np.int32)  # 2 degrees by 2 pixels
    for off in (-2, 0, 2):
        bins = (np.round((normal + off) / 2).astype(int)) % 90
        angle = np.radians(bins * 2.0)
        rho = np.round((u * np.cos(angle) + v * np.sin(angle) + diagonal) / 2).astype(int)
        np.add.at(votes, (bins, np.clip(rho, 0, votes.shape[1] - 1)), 1)
    least = 0.22 * min(height, width)
    peaks: list[tuple[float, float, float]] = []
    left = votes.copy()
    while len(peaks) < 24 and left.max() >= least:
        t, r = np.unravel_index(int(left.argmax()), left.shape)
        peaks.append((2.0 * t, 2.0 * r - diagonal, float(left[t, r])))
        for away in range(-2, 3):
            left[(t + away) % 90, max(0, r - 3) : r + 4] = 0
    if not peaks:
        return _Lines(0.0, 0.0, 0.0)
    angles, rhos, weights = (np.array(values) for values in zip(*peaks, strict=True))
    lean = np.abs((angles + 90) % 180 - 90)  # of the normal from horizontal
    slanted = (lean > 25) & (lean < 65)
    return _Lines(
        share=float(min(1.0, weights.sum() / len(v))),
        converging=_converging(angles, rhos, weights, (width, height)),
        diagonals=float(weights[slanted].sum() / weights.sum()),
    )


def _converging(angles: Floats, rhos: Floats, weights: Floats, size: tuple[int, int]) -> float:
    """Largest share of the weight of lines, of three directions or more, that meet in one point of the frame."""
    c, s = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    best = 0.0
    for i in range(len(angles)):
        for j in range(i + 1, len(angles)):
            det = c[i] * s[j] - c[j] * s[i]
            if abs(det) < 0.17:  # nearly parallel
                continue
            x, y = (rhos[i] * s[j] - rhos[j] * s[i]) / det, (c[i] * rhos[j] - c[j] * rhos[i]) / det
            if not (0 <= x <= size[0] and 0 <= y <= size[1]):
                continue
            near = np.abs(c * x + s * y - rhos) < 0.02 * max(size)
            if len(np.unique(np.round(angles[near] / 15))) >= 3:
                best = max(best, float(weights[near].sum() / weights.sum()))
    return best


# --- tilt --------------------------------------------------------------------------------------------------------


def tilt(lightness: Floats) -> float | None:
    """Degrees by which the photo leans clockwise, within 12; None where nothing tells, or what tells disagrees.

    Edges that run nearly level are projected along each candidate angle: where the projection is most peaked,
    they line up. The same for those nearly upright, in the left and the right half apart, since verticals converge
    when a camera looks up; their mean is the lean. Halves that differ by more are a tree or a wall seen from aside. A
    lone line counts only if it is long and level: one that leans is perspective or a ridge more often than tilt.

    Args:
        lightness: (h, w) L*, long side 300 px or more for half a degree of precision.
    """
    dx, dy = _gradient(_resize(lightness[..., None], 400)[..., 0])
    strength = np.hypot(dx, dy)
    v, u = np.nonzero(strength > max(4.0, float(np.percentile(strength, 80))))
    if len(v) < 60:
        return None
    lean = np.degrees(np.arctan2(dy[v, u], dx[v, u]))
    width = strength.shape[1]
    level = np.abs(np.abs(lean) - 90) < TILT_LIMIT + 6
    upright = np.minimum(np.abs(lean), 180 - np.abs(lean)) < TILT_LIMIT + 6
    flat = _line_up(v[level], u[level], width)
    sides = [_line_up(-u[upright & half], v[upright & half], len(strength)) for half in (u < width / 2, u >= width / 2)]
    agree = all(s[1] for s in sides) and abs(sides[0][0] - sides[1][0]) <= MOST_APART
    standing = float(np.mean([s[0] for s in sides])) if agree else None
    if flat[1] and standing is not None:
        return float((flat[0] + standing) / 2) if abs(flat[0] - standing) <= 0.75 else None
    if flat[1] and flat[2] > 0.5 and abs(flat[0]) <= 1:
        return flat[0]
    return standing


def _line_up(across: NDArray[np.intp], along: NDArray[np.intp], length: int) -> tuple[float, bool, float]:
    """The lean (degrees) at which edges line up, whether they clearly do, and the longest line's share of `length`."""
    if len(across) < 40:
        return 0.0, False, 0.0
    angles = np.arange(-TILT_LIMIT, TILT_LIMIT + 0.01, 0.25)
    scores, longest = np.zeros(len(angles)), np.zeros(len(angles))
    for i, angle in enumerate(np.radians(angles)):
        rho = across * np.cos(angle) - along * np.sin(angle)
        counts = np.bincount((np.round(rho) - np.floor(rho.min())).astype(int)).astype(np.float64)
        scores[i], longest[i] = (counts**2).sum(), counts.max()
    best = int(scores.argmax())
    inside = 2 <= best < len(angles) - 2
    clear = inside and scores[best] > 1.35 * float(np.median(scores)) and longest[best] > 0.2 * length
    return float(angles[best]), bool(clear), float(longest[best] / length)
