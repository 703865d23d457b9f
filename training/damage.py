"""Ways to spoil a photo in one respect only, so that an attribute can be taught and checked by itself."""

from __future__ import annotations

import numpy as np
from cgiaa_training.data import Edit
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

__all__ = ["DAMAGES"]

Picture = NDArray[np.uint8]


def _colour(picture: Picture) -> Picture:
    """A wrong white balance, too much light and too little saturation: what no one would publish."""
    warm = picture.astype(np.float32) * np.array([1.35, 1.15, 0.95], np.float32)
    faded = ImageEnhance.Color(Image.fromarray(np.clip(warm, 0, 255).astype(np.uint8))).enhance(0.6)
    return np.asarray(faded)


def _darken(picture: Picture) -> Picture:
    """A third of the light and less contrast."""
    dim = Image.fromarray((picture * 0.35).astype(np.uint8))
    return np.asarray(ImageEnhance.Contrast(dim).enhance(0.7))


def _blur(picture: Picture) -> Picture:
    """A missed focus."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2.5)))


DAMAGES: dict[str, Edit] = {"colour": _colour, "dark": _darken, "blur": _blur}
