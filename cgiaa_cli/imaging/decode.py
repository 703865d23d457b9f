"""Bytes of a photo -> upright sRGB pixels, at the two scales that scoring needs."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["VIEW_LONG_SIDE", "Photo", "decode"]

VIEW_LONG_SIDE = 768


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        view: (h, w, 3) uint8, upright sRGB, long side at most 768 px (smaller photos are not enlarged).
        luma: (H, W) uint8, upright, native scale: for sharpness and noise.
        width, height: native size, upright.
        format: as `formats.sniff` names it.
    """

    view: NDArray[np.uint8]
    luma: NDArray[np.uint8]
    width: int
    height: int
    format: str


def decode(data: bytes) -> Photo:
    """First draft used for feature extraction; formats, profiles and errors follow."""
    image = Image.open(io.BytesIO(data))
    width, height = image.size
    scale = VIEW_LONG_SIDE / max(width, height)
    luma = None
    if image.format == "JPEG" and scale < 0.5:
        native = Image.open(io.BytesIO(data))
        native.draft("L", native.size)
        luma = native.convert("L")
        image.draft("RGB", (round(width * scale), round(height * scale)))
    rgb = ImageOps.exif_transpose(image).convert("RGB")
    if luma is None:
        luma = rgb.convert("L")
    if max(rgb.size) > VIEW_LONG_SIDE:
        rgb.thumbnail((VIEW_LONG_SIDE, VIEW_LONG_SIDE), Image.Resampling.BILINEAR)
    array = np.asarray(luma)
    return Photo(np.asarray(rgb), array, array.shape[1], array.shape[0], "jpeg")
