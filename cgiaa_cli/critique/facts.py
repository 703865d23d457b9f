"""All that is measured of one photo for its critique, what kind of photo it is, and what that says in words.

`measure_facts` calls the measurements of `light`, `focus` and `frame`; `words` puts numbers into the vocabulary of
`claims.MEASUREMENTS`, with a margin: where a number lies near a border both words hold, so that only a clear
contradiction is one. `KINDS` are photos to which a rule does not apply: a night is dark and a silhouette has no
detail in its shadows, and neither is a fault.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.critique.focus import SHARP, Focus, measure_focus
from cgiaa_cli.critique.frame import Frame, measure_frame
from cgiaa_cli.critique.light import Colour, Light, lab, measure_colour, measure_light
from cgiaa_cli.imaging.decode import Photo

__all__ = ["KINDS", "NOT_PHOTOGRAPHS", "SURE", "Facts", "measure_facts", "words"]

KINDS = (
    "black_and_white",  # no colour at all, or a tone
    "night",  # dark, with lights in it
    "silhouette",  # a dark shape before a bright ground
    "high_key",  # nearly all of it bright, on purpose
    "low_key",  # nearly all of it dark, with a lit subject
    "bokeh",  # a sharp subject before a soft ground
    "panning",  # a sharp subject before a ground that is blurred in one direction
    "white_ground",  # cut out, or standing before nothing but white
    "framed",  # with a border of one colour around it, which is no part of what was photographed
    "panorama",  # 2.2 times as wide as high, or more
    "tiny",  # 160 px or less on its long side
    "blank",  # next to nothing in it
    "screenshot",  # flat areas and hard edges as no lens makes them
    "document",  # text on paper
)
NOT_PHOTOGRAPHS = frozenset(["tiny", "blank", "screenshot", "document"])
"""Kinds of which nothing should be said about aesthetics."""

SURE = 0.4
"""Certainty of the subject from which on something may be said about it."""

PLAIN = 0.8
"""Share of cells with texture up to which noise can be told: without a plain area, fine texture passes for noise."""


@dataclass(frozen=True)
class Facts:
    """What was measured of one photo; units stand in the classes of the parts.

    Attributes:
        width, height: native pixels, upright.
        kinds: those of `KINDS` that it is.
    """

    width: int
    height: int
    light: Light
    colour: Colour
    focus: Focus
    frame: Frame
    kinds: frozenset[str]


def measure_facts(photo: Photo) -> Facts:
    """Measure a decoded photo; about 0.1 s, whatever its size."""
    picture = lab(photo.view)
    light, colour = measure_light(photo.view, picture), measure_colour(photo.view, picture)
    focus = measure_focus(photo.luma)
    frame = measure_frame(picture, focus.map)
    kinds = _kinds(photo, picture, light, colour, focus, frame)
    return Facts(photo.width, photo.height, light, colour, focus, frame, frozenset(kinds))


def _kinds(
    photo: Photo, picture: NDArray[np.float32], light: Light, colour: Colour, focus: Focus, frame: Frame
) -> set[str]:
    flat = _flat_share(photo.view)
    paper = _is_paper(light, colour)
    subject = frame.subject
    split = _split(focus, subject.box)
    tests = {
        "black_and_white": _is_monochrome(picture),
        "night": light.median < 22 and light.shadows > 0.5 and 0.0005 < light.highlights < 0.15,
        "silhouette": _is_silhouette(picture),
        "high_key": light.median > 84 and light.mean > 78 and light.shadows < 0.04 and light.blown < 0.6,
        "low_key": light.median < 18 and light.shadows > 0.6 and light.highlights > 0.0005,
        "bokeh": subject.certainty >= SURE and split.shallow and not _is_silhouette(picture),
        # cameras follow what moves sideways: grass that stands is no movement
        "panning": focus.blur == "motion" and focus.motion_angle == 0 and focus.peak >= SHARP and split.inside >= SHARP,
        "white_ground": light.blown > 0.3 and _edge_share(photo.view >= 250) > 0.7,
        "framed": _is_framed(picture[..., 0]),
        "panorama": max(photo.width, photo.height) >= 2.2 * min(photo.width, photo.height),
        "tiny": max(photo.width, photo.height) <= 160,
        "blank": light.contrast < 1.5 and frame.empty > 0.97,
        "screenshot": flat > 0.55 and frame.clutter > 0.02 and light.contrast > 4 and not paper,
        "document": paper
        and _is_text(_flat_share(photo.view, clipped=True), frame)
        and _one_tone(picture[..., 0]) > 0.6,
    }
    found = {kind for kind, is_so in tests.items() if is_so}
    return found & {"blank", "tiny"} or found


def _is_monochrome(picture: NDArray[np.float32]) -> bool:
    """No chroma, or all of it on one hue that goes with lightness, as a toned print's."""
    a, b = picture[..., 1], picture[..., 2]
    chroma = np.hypot(a, b)
    if float(np.percentile(chroma, 99)) < 5:
        return True
    lightness = picture[..., 0]
    middle = (lightness > 15) & (lightness < 90)
    if not middle.any() or float(np.percentile(chroma[middle], 95)) > 25 or float(lightness.std()) < 9:
        return False  # a wall of one colour is no toned print
    # a tone: a* and b* are nearly a function of L*
    bins = np.clip(lightness[middle] // 5, 0, 19).astype(int)
    counts = np.maximum(np.bincount(bins, minlength=20), 1)
    left = 0.0
    for values in (a[middle], b[middle]):
        means = np.bincount(bins, values, 20) / counts
        left += float(((values - means[bins]) ** 2).mean())
    return bool(left**0.5 < 1.2)


def _is_silhouette(picture: NDArray[np.float32]) -> bool:
    """A large dark shape without detail or colour in it, much that is bright behind it, and little between.

    It stands on the bottom of the frame and the light is above it, or a black car on white would be one.
    """
    lightness = picture[..., 0]
    dark, bright = lightness < 12, lightness > 50
    if dark[-2:].mean() < 0.25 or bright[:2].mean() < 0.5:
        return False
    if _edge_share(bright[..., None]) < 0.3:  # the moon is bright before a dark ground
        return False
    if not 0.1 < float(dark.mean()) < 0.75 or float(bright.mean()) < 0.2:
        return False
    between = 1 - float(dark.mean()) - float(bright.mean())
    inside = picture[dark]
    return between < 0.18 and float(inside[:, 0].std()) < 3.5 and float(np.hypot(inside[:, 1], inside[:, 2]).mean()) < 6


def _edge_share(mask: NDArray[np.bool_]) -> float:
    """Share of the outermost two rows and columns of (h, w, C) that hold in all C."""
    whole = np.asarray(mask.all(-1))
    ring = [part.ravel() for part in (whole[:2], whole[-2:], whole[:, :2], whole[:, -2:])]
    return float(np.concatenate(ring).mean())


def _is_framed(lightness: NDArray[np.float32]) -> bool:
    """Outermost lines of one lightness on all four sides, and nearly none of it a tenth further in."""
    height, width = lightness.shape
    deep = max(2, min(height, width) // 10)
    if min(height, width) < 40:
        return False
    outer = [lightness[0], lightness[-1], lightness[:, 0], lightness[:, -1]]
    inner = [lightness[deep], lightness[-1 - deep], lightness[:, deep], lightness[:, -1 - deep]]
    border = float(np.mean([line.mean() for line in outer]))
    one = max(line.std() for line in outer) < 2.5 and max(abs(float(line.mean()) - border) for line in outer) < 3
    return bool(one and min(float((np.abs(line - border) > 6).mean()) for line in inner) > 0.7)


def _flat_share(view: NDArray[np.uint8], clipped: bool = False) -> float:
    """Share of pixels equal to their right and lower neighbours: noise and lenses leave few, drawing programs many.

    Args:
        clipped: count clipped pixels too, which are flat in photos as well.
    """
    same = (view[:-1, :-1] == view[:-1, 1:]).all(-1) & (view[:-1, :-1] == view[1:, :-1]).all(-1)
    if clipped:
        return float(same.mean()) if same.size else 0.0
    ends = (view[:-1, :-1] >= 254).all(-1) | (view[:-1, :-1] <= 1).all(-1)
    return float((same & ~ends).sum() / max(1, (~ends).sum()))


def _is_paper(light: Light, colour: Colour) -> bool:
    """White with little ink on it."""
    return light.median > 85 and light.mean > 75 and colour.saturation < 8


def _is_text(flat: float, frame: Frame) -> bool:
    """Fine marks on flat ground: on much of a scan, or on some of a page that was drawn; things on white have fewer."""
    return (flat > 0.2 and frame.clutter > 0.25) or (flat > 0.7 and frame.clutter > 0.15)


def _one_tone(lightness: NDArray[np.float32]) -> float:
    """Share of the picture within 4 L* of its median, 0..1: paper is of one tone, a white building is not."""
    return float((np.abs(lightness - np.median(lightness)) < 4).mean())


@dataclass(frozen=True)
class _Split:
    """Focus within and without the subject's box.

    Attributes:
        inside: sharpness of its sharper cells, 0..1.
        sharp, soft: shares of the cells outside that are about as sharp as that, and clearly softer; the rest has no
            texture: a wall or a sky as often as a ground out of focus, so it counts for neither.
    """

    inside: float
    sharp: float
    soft: float

    @property
    def shallow(self) -> bool:
        """A sharp subject before a soft ground."""
        return self.inside >= SHARP and self.sharp < 0.25 and self.soft > 0.08

    @property
    def deep(self) -> bool:
        """Sharp on and off the subject."""
        return self.inside >= SHARP and self.sharp > 0.5 and self.soft < 0.08


def _split(focus: Focus, box: tuple[float, float, float, float]) -> _Split:
    rows, columns = focus.map.shape
    x, y, w, h = box
    inside = np.zeros(focus.map.shape, bool)
    top, left = int(y * rows), int(x * columns)
    inside[top : max(top + 1, round((y + h) * rows)), left : max(left + 1, round((x + w) * columns))] = True
    within, around = focus.map[inside], focus.map[~inside]
    within = within[np.isfinite(within)]
    peak = float(np.percentile(within, 75)) if within.size else 0.0
    if not around.size:
        return _Split(peak, 0.0, 0.0)
    return _Split(peak, float((around >= 0.8 * peak).mean()), float((around < 0.7 * peak).mean()))


def words(facts: Facts) -> dict[str, set[str]]:
    """By measurement of `claims.MEASUREMENTS` the values that hold; a measurement that nothing tells is left out."""
    light, colour, focus, frame, kinds = facts.light, facts.colour, facts.focus, facts.frame, facts.kinds
    found: dict[str, set[str]] = {
        "exposure": _levels(light.median, (30, 42), (68, 78), ("dark", "normal", "bright")),
        "contrast": _levels(light.contrast, (11, 15), (24, 28), ("low", "normal", "high")),
        "saturation": _levels(colour.colourfulness, (15, 28), (48, 62), ("muted", "normal", "vivid")),
        "clutter": _border(frame.clutter, 0.25, 0.5, "simple", "busy"),
        "space": _levels(frame.empty, (0.15, 0.3), (0.45, 0.6), ("filled", "balanced", "empty")),
        "symmetry": _border(frame.symmetry, 0.4, 0.65, "absent", "present"),
        "leading_lines": _border(frame.converging * min(1.0, frame.lines * 8), 0.2, 0.9, "absent", "present"),
        "diagonals": _border(frame.diagonals * min(1.0, frame.lines * 8), 0.15, 0.4, "absent", "present"),
        "palette": {"monochrome"} if "black_and_white" in kinds else {"colour"},
        "motion_blur": {"present" if focus.blur == "motion" else "absent"},
        "silhouette": {"present" if "silhouette" in kinds else "absent"},
        "high_key": {"present"} if "high_key" in kinds else _border(light.median, 70, 82, "absent", "present"),
        "low_key": {"present"} if "low_key" in kinds else _border(-light.median, -38, -20, "absent", "present"),
    }
    if "framed" not in kinds:  # a border is as white or black as it was meant to be
        found["highlights"] = _border(max(light.blown, max(light.blown_zones) / 6), 0.004, 0.02, "kept", "clipped")
        found["shadows"] = _border(light.blocked, 0.01, 0.06, "open", "blocked")
    if focus.textured < PLAIN:
        found["noise"] = _border(focus.noise, 2.5, 5.0, "clean", "noisy")
    if focus.textured > 0.1:
        found["sharpness"] = _border(focus.peak, 0.45, 0.65, "soft", "sharp")
    if colour.cast_share > 0.08 and "black_and_white" not in kinds:
        found["cast"] = _cast(colour)
    if frame.tilt is not None:
        found["tilt"] = _border(abs(frame.tilt), 0.7, 1.5, "level", "tilted")
    if frame.subject.certainty >= SURE:
        found["placement"] = _placement(frame)
        if "bokeh" in kinds or _split(focus, frame.subject.box).deep:
            found["depth"] = {"shallow" if "bokeh" in kinds else "deep"}
    return found


def _levels(value: float, low: tuple[float, float], high: tuple[float, float], names: tuple[str, str, str]) -> set[str]:
    """Of three names in rising order those that may be said of `value`; between the ends of a pair both may."""
    found = set()
    if value < low[1]:
        found.add(names[0])
    if low[0] <= value <= high[1]:
        found.add(names[1])
    if value > high[0]:
        found.add(names[2])
    return found


def _border(value: float, low: float, high: float, below: str, above: str) -> set[str]:
    return ({below} if value < high else set()) | ({above} if value > low else set())


def _cast(colour: Colour) -> set[str]:
    a, b = colour.cast_a, colour.cast_b
    strength = float(np.hypot(a, b))
    found = {"neutral"} if strength < 5.0 else set()
    if strength > 2.0:
        found |= {name for name, amount in (("warm", b), ("cool", -b), ("magenta", a), ("green", -a)) if amount > 1.5}
    return found or {"neutral"}


def _placement(frame: Frame) -> set[str]:
    found = set()
    if frame.to_centre < 0.12:
        found.add("centred")
    if frame.to_third < 0.1:
        found |= {"thirds", "off_centre"}
    if frame.to_centre > 0.08:
        found.add("off_centre")
    return found
