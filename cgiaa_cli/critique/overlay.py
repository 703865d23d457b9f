"""The evidence of a critique, drawn on the photo: for people who want to see what was measured where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cgiaa_cli.critique.facts import SURE, Facts

__all__ = ["draw"]

FOCUS, SUBJECT, CROP, LEVEL = (0, 200, 255), (90, 230, 90), (255, 210, 0), (255, 90, 200)
BLOWN, BLOCKED = (255, 40, 40), (60, 90, 255)
STRIP = 26  # px of height of the palette and of the legend


def draw(view: NDArray[np.uint8], facts: Facts, crop: Sequence[float] | None = None) -> Image.Image:
    """The view (h, w, 3) with focus map, clipped areas, subject box, level line and crop, and the palette below.

    Args:
        crop: (x, y, w, h) in shares of the frame; None: none is proposed.
    """
    picture = _clipped(view)
    picture = _focus(picture, facts)
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    legend = ["in focus", "blown", "blocked"]
    colours = [FOCUS, BLOWN, BLOCKED]
    if facts.frame.subject.certainty >= SURE:
        _box(pen, facts.frame.subject.box, (width, height), SUBJECT)
        legend.append("subject")
        colours.append(SUBJECT)
    if crop is not None:
        _box(pen, crop, (width, height), CROP)
        legend.append("crop")
        colours.append(CROP)
    if facts.frame.tilt is not None and abs(facts.frame.tilt) >= 0.7:
        rise = np.tan(np.radians(facts.frame.tilt)) * width / 2
        pen.line((0, height / 2 - rise, width, height / 2 + rise), fill=LEVEL, width=2)
        legend.append(f"tilt {facts.frame.tilt:+.1f}°")
        colours.append(LEVEL)
    return _with_strips(picture, facts, legend, colours)


def _clipped(view: NDArray[np.uint8]) -> Image.Image:
    pixels = view.copy()
    pixels[(view >= 252).all(-1)] = BLOWN
    pixels[(view <= 3).all(-1)] = BLOCKED
    return Image.fromarray(pixels)


def _focus(picture: Image.Image, facts: Facts) -> Image.Image:
    """Cells in focus get a tint, as strong as they are sharp."""
    strength = np.nan_to_num(facts.focus.map)
    mask = Image.fromarray(np.uint8(np.clip((strength - 0.5) * 2, 0, 1) * 70))
    mask = mask.resize(picture.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", picture.size, FOCUS), picture, mask)


def _box(pen: ImageDraw.ImageDraw, box: Sequence[float], size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    x, y, w, h = box
    corners = (x * size[0], y * size[1], (x + w) * size[0] - 1, (y + h) * size[1] - 1)
    pen.rectangle(corners, outline=colour, width=max(2, max(size) // 250))


def _with_strips(
    picture: Image.Image, facts: Facts, legend: Sequence[str], colours: Sequence[tuple[int, int, int]]
) -> Image.Image:
    width, height = picture.size
    sheet = Image.new("RGB", (width, height + 2 * STRIP), (24, 24, 24))
    sheet.paste(picture, (0, 0))
    pen = ImageDraw.Draw(sheet)
    left = 0.0
    total = sum(swatch.share for swatch in facts.colour.palette) or 1.0
    for swatch in facts.colour.palette:
        right = left + width * swatch.share / total
        pen.rectangle((left, height, right, height + STRIP - 1), fill=swatch.rgb)
        left = right
    at = 8.0
    for text, colour in zip(legend, colours, strict=True):
        pen.rectangle((at, height + STRIP + 8, at + 10, height + STRIP + 18), fill=colour)
        pen.text((at + 15, height + STRIP + 6), text, fill=(230, 230, 230))
        at += 30 + pen.textlength(text)
    return sheet
