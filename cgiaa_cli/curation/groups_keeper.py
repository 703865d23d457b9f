"""Which photo of a group to keep, and why each of the others gives way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cgiaa_cli.curation.groups_photos import SCORES, Photos
from cgiaa_cli.inference.scores import ATTRIBUTES

__all__ = ["keeper_of", "keeper_reason", "reason_for"]

LEVEL = 0.1
"""Values nearer than this are as good as equal: of those photos the technically best one is kept."""

EYES = 0.5
"""A photo in which eyes are closed gives way to one that ranks this much lower at most and has them open."""

CLOSE = 0.05  # of a score: not worth a word
_NAMES = {"color_light": "colour and light", "depth_focus": "depth and focus"}


def keeper_of(photos: Photos, kind: str, members: Sequence[int]) -> int:
    """The photo to keep: of copies the most complete file, of shots the one that ranks highest.

    Copies are one picture, so their scores differ by what saving did to them. A RAW comes before its developments, more
    pixels before fewer, more bytes before fewer.
    """
    if kind == "duplicate":
        return min(
            members,
            key=lambda i: (
                photos.format[i] != "raw",
                -photos.pixels[i],
                -photos.bytes[i],
                len(photos.paths[i][0]),
                photos.paths[i],
            ),
        )
    first = _best(photos, members)
    closed = _closed(photos, first)
    if not closed:
        return first
    near = [i for i in members if i in photos.eyes and photos.values[i] >= photos.values[first] - EYES]
    # a face that is not found in a frame is no face with open eyes
    near = [i for i in near if photos.eyes[i].faces >= photos.eyes[first].faces and _closed(photos, i) < closed]
    fewest = min((_closed(photos, i) for i in near), default=0)
    return _best(photos, [i for i in near if _closed(photos, i) == fewest] or [first])


def _best(photos: Photos, members: Sequence[int]) -> int:
    best = max(photos.values[i] for i in members)
    technical = SCORES.index("technical")
    level = [i for i in members if photos.values[i] >= best - LEVEL]
    return min(level, key=lambda i: (-photos.scores[i, technical], -photos.pixels[i], photos.paths[i]))


def keeper_reason(photos: Photos, kind: str, members: Sequence[int], kept: int) -> str:
    """Why a photo is kept, one clause.

    Args:
        kept: the keeper, or any frame of a bracket or panorama, which are all kept.
    """
    if kind == "bracket":
        middle = float(np.nanmedian(photos.exposure[list(members)]))
        step = photos.exposure[kept] - middle
        return f"a frame of a bracket, {step:+.1f} EV: all are kept" if np.isfinite(step) else "a copy of a frame: kept"
    if kind == "panorama":
        return "a frame of a panorama: all are kept"
    if kind == "duplicate":
        return f"the most complete file ({photos.width[kept]} x {photos.height[kept]}, {photos.bytes[kept]} bytes)"
    above = [i for i in members if photos.values[i] > photos.values[kept]]
    closed = [i for i in above if _closed(photos, i) > _closed(photos, kept)]
    of = "the group"
    if closed:
        of = "those with the fewest closed eyes" if _closed(photos, kept) else "those with open eyes"
    if len(above) == len(closed):
        said = f"ranks highest of {of}"
    else:
        said = f"ranks as high as the best of {of}, with more technical quality or a more complete file"
    return f"{said}, though {_eyes(photos, kept)}" if _closed(photos, kept) else said


def reason_for(photos: Photos, kind: str, keeper: int, other: int, measured: str | None = None) -> str:
    """Why `keeper` is kept rather than `other`, one clause.

    Args:
        measured: what is measurably better in the keeper, a clause that begins with "it".
    """
    if kind == "duplicate":
        return _copy(photos, keeper, other)
    ahead = dict(zip(SCORES, photos.scores[keeper] - photos.scores[other], strict=True))
    gap = ahead["score"]
    if gap >= CLOSE:
        said = f"scores {gap:.2f} lower"
    elif gap <= -CLOSE:
        said = f"scores {-gap:.2f} higher, as good as equal"
    else:
        said = "scores the same"
    name = max((n for n in ATTRIBUTES if n != "general"), key=lambda n: ahead[n])
    if ahead[name] >= CLOSE:
        said += f", {_NAMES.get(name, name)} {ahead[name]:.2f} lower"
    if ahead["technical"] >= CLOSE:
        said += f", technical quality {ahead['technical']:.2f} lower"
    if _closed(photos, other):
        said = f"{_eyes(photos, other)}, {said}"
    return f"{said}; of the keeper: {measured}" if measured else said


def _closed(photos: Photos, i: int) -> int:
    return photos.eyes[i].closed if i in photos.eyes else 0


def _eyes(photos: Photos, i: int) -> str:
    """How many have their eyes closed in a photo in which somebody has."""
    faces, closed = photos.eyes[i].faces, photos.eyes[i].closed
    if faces == 1:
        return "eyes closed"
    return f"{closed} of {faces} {'has' if closed == 1 else 'have'} the eyes closed"


def _copy(photos: Photos, keeper: int, other: int) -> str:
    if photos.format[keeper] == "raw" != photos.format[other]:
        return "the same picture, developed from the RAW that is kept"
    mine, theirs = (photos.width[i] * photos.height[i] for i in (keeper, other))
    if theirs < mine:
        size = f"{photos.width[other]} x {photos.height[other]}"
        return f"the same picture with fewer pixels ({size} against {photos.width[keeper]} x {photos.height[keeper]})"
    if photos.bytes[other] < photos.bytes[keeper]:
        return f"the same picture in a smaller file ({photos.bytes[other]} against {photos.bytes[keeper]} bytes)"
    return "the same picture"
