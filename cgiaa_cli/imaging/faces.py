"""Faces, and whose eyes are closed in some frames of a burst but open in others.

OpenCV's Haar cascades (Viola and Jones, 2001) find upright faces that look into the camera, and eyes in them. What a
cascade says of one frame is not sure enough to speak of: it finds eyes that are shut, too. So the frames of a group
are compared: the same face is laid over itself, and an open eye has an iris, which is dark across as well as up and
down, while lashes are dark in one direction only. Where anything is in doubt, the eyes are not called closed.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Eyes", "Face", "available", "closed_eyes", "find_faces"]

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]
Point = tuple[float, float]

_FACES = "frontalface_alt2"
_EYES = ("eye_tree_eyeglasses", "eye")
SEARCHED = 800  # px of the long side in which faces are looked for
SMALLEST = 48  # px of a face in that
SIDE = 160  # px of a face as it is compared, whatever its size in the photo
MARGIN = 40  # px around it, as the box of a cascade is not exact
WHOLE = SIDE + 2 * MARGIN
EYES = ((0.31, 0.375), (0.69, 0.375))  # where they mostly are, shares of the box; 0.03 is their standard deviation

SAME_FACE = 0.9  # correlation of two frames of one face without its eyes; below it is turned, covered or another
LEAST_OPEN = 0.06  # openness of eyes that surely are open
CLOSED = 0.62  # of the openness of the same eyes where they are open, both together ...
CLOSED_EACH = 0.9  # ... and each of them
CHANGED = 0.85  # correlation of the same eyes, open and closed, at most


@dataclass(frozen=True)
class Face:
    """A face in one frame.

    Attributes:
        x, y, size: its middle and the side of its box, shares of the frame's long side.
        patch: (WHOLE, WHOLE) the face with `MARGIN` around it.
        eyes: left and right of the picture, px of the patch; None where a pair was not found.
    """

    x: float
    y: float
    size: float
    patch: Grey
    eyes: tuple[Point, Point] | None


@dataclass(frozen=True)
class Eyes:
    """What is known of a frame.

    Attributes:
        faces: in it that are in most frames of its group.
        closed: of them whose eyes are closed in it, but open in another frame.
    """

    faces: int
    closed: int


@functools.cache
def available() -> bool:
    """Whether the extra 'faces' is installed: OpenCV with its cascades, which version 5 has no more.

    To be asked before any thread looks for faces: OpenCV cannot be imported by two at once.
    """
    try:
        import cv2
    except ImportError:  # also where a library of the system is missing
        return False
    cv2.setNumThreads(1)  # photos are looked at in threads already, and one thread always answers the same
    return all(_file(name).is_file() for name in (_FACES, *_EYES))


def _file(name: str) -> Path:
    import cv2

    return Path(cv2.__file__).parent / "data" / f"haarcascade_{name}.xml"


class _Cascades(threading.local):
    """A thread's own: a cascade is changed by its use."""

    def __init__(self) -> None:
        import cv2

        self.faces = cv2.CascadeClassifier(str(_file(_FACES)))
        self.eyes = [cv2.CascadeClassifier(str(_file(name))) for name in _EYES]


@functools.cache
def _cascades() -> _Cascades:
    return _Cascades()


def find_faces(luma: Grey) -> list[Face]:
    """The faces in a frame, the largest first.

    Args:
        luma: (H, W) of any size.
    """
    import cv2

    height, width = luma.shape
    scale = min(1.0, SEARCHED / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA) if scale < 1 else luma
    if min(small.shape) < SMALLEST:
        return []
    found = []
    for left, top, side, _ in _cascades().faces.detectMultiScale(small, 1.1, 4, 0, (SMALLEST, SMALLEST)):
        box = [float(v) / scale for v in (left, top, side)]
        patch = _patch(luma, *box)
        x, y, side = ((box[0] + box[2] / 2), (box[1] + box[2] / 2), box[2])
        longest = max(height, width)
        found.append(Face(x / longest, y / longest, side / longest, patch, _find_eyes(patch)))
    return sorted(found, key=lambda face: (-face.size, face.x, face.y))


def _patch(luma: Grey, left: float, top: float, side: float) -> Grey:
    import cv2

    scale = SIDE / side
    if scale < 0.5:  # averages first: a warp alone would take single pixels
        factor = int(1 / scale)
        margin = side * MARGIN / SIDE
        x0, y0 = max(0, int(left - margin)), max(0, int(top - margin))
        cut = luma[y0 : int(top + side + margin) + 1, x0 : int(left + side + margin) + 1]
        size = max(1, cut.shape[1] // factor), max(1, cut.shape[0] // factor)
        across, down = size[0] / cut.shape[1], size[1] / cut.shape[0]
        luma = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)
        left, top, scale = (left - x0) * across, (top - y0) * down, scale / across
    moved = np.array([[scale, 0, MARGIN - left * scale], [0, scale, MARGIN - top * scale]], np.float32)
    return _warped(luma, moved, 0)


def _warped(picture: Grey, moved: NDArray[Any], flags: int) -> Grey:
    import cv2

    how = cv2.INTER_LINEAR | flags
    return np.asarray(
        cv2.warpAffine(picture, moved, (WHOLE, WHOLE), flags=how, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _find_eyes(patch: Grey) -> tuple[Point, Point] | None:
    """The pair of eyes that lies most as eyes do, of all that the cascades take for eyes."""
    top = MARGIN + SIDE // 8
    band = patch[top : MARGIN + SIDE * 5 // 8, MARGIN : MARGIN + SIDE]
    spots = [
        (x + wide / 2, y + tall / 2 + top - MARGIN)
        for cascade in _cascades().eyes
        for x, y, wide, tall in cascade.detectMultiScale(band, 1.05, 3, 0, (22, 22), (64, 64))
    ]
    best, pair = 0.3, None  # as far off as a pair may be
    for one in spots:
        for other in spots:
            apart, level = (other[0] - one[0]) / SIDE, abs(other[1] - one[1]) / SIDE
            if not (0.26 < apart < 0.6 and level < 0.35 * apart and one[0] < SIDE / 2 < other[0]):
                continue
            off = level / 2 + sum(
                float(np.hypot(spot[0] / SIDE - x, spot[1] / SIDE - y))
                for spot, (x, y) in zip((one, other), EYES, strict=True)
            )
            if off < best:
                best, pair = off, (one, other)
    if pair is None:
        return None
    left, right = ((float(x) + MARGIN, float(y) + MARGIN) for x, y in pair)
    return left, right


def closed_eyes(frames: Sequence[Sequence[Face]]) -> list[Eyes]:
    """Whose eyes are closed in which frames of a burst.

    Args:
        frames: the faces of each frame.
    """
    faces, closed = [0] * len(frames), [0] * len(frames)
    for track in _tracks(frames):
        if 2 * len(track) <= len(frames) or len(track) < 2:
            continue
        shut = _closed(list(track.values()))
        for number, is_shut in zip(track, shut, strict=True):
            faces[number] += 1
            closed[number] += is_shut
    return [Eyes(n, m) for n, m in zip(faces, closed, strict=True)]


def _tracks(frames: Sequence[Sequence[Face]]) -> Iterator[dict[int, Face]]:
    """The same face in several frames, by its place and size."""
    tracks: list[dict[int, Face]] = []
    for number, faces in enumerate(frames):
        for face in faces:
            last = [(track, list(track.values())[-1]) for track in tracks if number not in track]
            near = [(np.hypot(one.x - face.x, one.y - face.y) / one.size, track) for track, one in last
                    if 0.7 < one.size / face.size < 1.4]  # fmt: skip
            off, track = min(near, key=lambda n: n[0], default=(1.0, {}))
            if off > 0.6:
                track = {}
            if not track:
                tracks.append(track)
            track[number] = face
    yield from tracks


def _closed(faces: Sequence[Face]) -> list[bool]:
    """In which of some frames of one face its eyes are surely closed."""
    known = [(sum(_open(face.patch, face.eyes)), i, face.eyes) for i, face in enumerate(faces) if face.eyes]
    if not known:
        return [False] * len(faces)
    _, base, eyes = max(known)
    views = [
        face.patch if i == base else _laid_over(faces[base].patch, eyes, face.patch) for i, face in enumerate(faces)
    ]
    opened = [(0.0, 0.0) if view is None else _open(view, eyes) for view in views]
    best = max(range(len(faces)), key=lambda i: sum(opened[i]))
    most, there = opened[best], views[best]
    if there is None or sum(most) < 2 * LEAST_OPEN:
        return [False] * len(faces)
    return [
        view is not None
        and sum(now) < CLOSED * sum(most)
        and all(a < CLOSED_EACH * b for a, b in zip(now, most, strict=True))
        and max(_alike(there, view, eyes)) < CHANGED
        for now, view in zip(opened, views, strict=True)
    ]


def _laid_over(base: Grey, eyes: tuple[Point, Point], patch: Grey) -> Grey | None:
    """The patch moved so that the face, its eyes aside, lies where it does in `base`; None if it is not as there."""
    import cv2

    mask = np.zeros((WHOLE, WHOLE), np.uint8)
    mask[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE] = 1
    around = round(0.3 * _apart(eyes)), round(0.18 * _apart(eyes))
    for x, y in eyes:
        cv2.ellipse(mask, (round(x), round(y)), around, 0, 0, 360, 0, -1)
    ends = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    moved = np.eye(2, 3, dtype=np.float32)
    alike = 0.0
    try:
        for step, soft in ((4, 3), (1, 5)):  # roughly first
            size = WHOLE // step, WHOLE // step
            one, other, where = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (base, patch, mask))
            scale = np.array([1, 1, step], np.float32)
            alike, found = cv2.findTransformECC(one, other, moved / scale, cv2.MOTION_AFFINE, ends, where, soft)
            moved = np.asarray(found, np.float32) * scale
    except cv2.error:  # nothing to lay over was found
        return None
    return _warped(patch, moved, cv2.WARP_INVERSE_MAP) if alike >= SAME_FACE else None


def _apart(eyes: tuple[Point, Point]) -> float:
    return float(np.hypot(eyes[1][0] - eyes[0][0], eyes[1][1] - eyes[0][1]))


def _open(patch: Grey, eyes: tuple[Point, Point]) -> tuple[float, float]:
    """How much of an iris is to be seen in each eye: the lesser curvature of a dark spot, as a share of the light."""
    import cv2

    apart = _apart(eyes)
    light = patch.astype(np.float32) + 8  # as noise and reflections are most of what is in deep shadow
    soft = cv2.GaussianBlur(light, (0, 0), 0.06 * apart)
    xx, yy, xy = (
        np.asarray(cv2.Sobel(soft, cv2.CV_32F, *order, ksize=3), np.float32) / 4 for order in ((2, 0), (0, 2), (1, 1))
    )
    least = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    least *= (0.06 * apart) ** 2 / np.asarray(cv2.GaussianBlur(light, (0, 0), 0.2 * apart), np.float32)
    left, right = (max(0.0, float(_around(least, eye, 0.14 * apart, 0.1 * apart).max())) for eye in eyes)
    return left, right


def _alike(one: Grey, other: Grey, eyes: tuple[Point, Point]) -> tuple[float, float]:
    """Correlation of each eye in two patches."""
    import cv2

    apart = _apart(eyes)
    soft = [cv2.GaussianBlur(patch.astype(np.float32), (0, 0), 0.03 * apart) for patch in (one, other)]
    found = []
    for eye in eyes:
        a, b = (_around(picture, eye, 0.26 * apart, 0.16 * apart) for picture in soft)
        a, b = a - a.mean(), b - b.mean()
        found.append(float((a * b).sum() / max(1e-6, np.sqrt((a * a).sum() * (b * b).sum()))))
    return found[0], found[1]


def _around(picture: Any, eye: Point, wide: float, tall: float) -> Floats:
    x, y = eye
    return np.asarray(picture[round(y - tall) : round(y + tall) + 1, round(x - wide) : round(x + wide) + 1])
