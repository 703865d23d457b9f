"""Measurements of a photo that the scorer reads beside the pixels: exposure, colour, detail.

All of them are computed on the *view* (upright sRGB, long side at most 768 px, see `decode.Photo`) or on
the native-scale tiles, so they cost a few milliseconds whatever the photo's size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MEASURES", "laplacian_energy", "measure"]

MEASURES = (
    "luminance",  # mean luma, 0..1
    "contrast",  # standard deviation of luma, 0..0.5
    "dynamic_range",  # 99th minus 1st percentile of luma, 0..1
    "clipped_high",  # share of pixels with a channel >= 253, 0..1
    "clipped_low",  # share of pixels with every channel <= 2, 0..1
    "colorfulness",  # Hasler and Suesstrunk 2003, M3 / 100, 0..about 1.5
    "saturation",  # mean HSV saturation, 0..1
    "cast_a",  # mean red-green opponent, -1..1
    "cast_b",  # mean yellow-blue opponent, -1..1
    "sharpness",  # log2 of the sharpest tile's Laplacian energy relative to its contrast
    "softness_gap",  # sharpest minus median tile, octaves; large: shallow depth of field
    "noise",  # robust noise level of the flattest tile, in luma levels / 255
    "log2_size",  # log2 of the native long side / 512
    "aspect",  # log2 of width / height
)


def laplacian_energy(tile: NDArray[np.uint8]) -> float:
    """log2 of (Laplacian RMS / (contrast + 2 levels)) of one luma tile; higher is sharper.

    Dividing by the contrast makes a sharp tile of low contrast comparable with one of high contrast.
    """
    t = tile.astype(np.float32)
    lap = 4 * t[1:-1, 1:-1] - t[:-2, 1:-1] - t[2:, 1:-1] - t[1:-1, :-2] - t[1:-1, 2:]
    return float(np.log2((np.sqrt(np.mean(lap**2)) + 0.5) / (t.std() + 2.0)))


def _noise(tile: NDArray[np.uint8]) -> float:
    """Immerkaer's fast noise estimate (1996) with the median, so that edges count little."""
    t = tile.astype(np.float32)
    mask = (
        t[:-2, :-2] - 2 * t[:-2, 1:-1] + t[:-2, 2:]
        - 2 * t[1:-1, :-2] + 4 * t[1:-1, 1:-1] - 2 * t[1:-1, 2:]
        + t[2:, :-2] - 2 * t[2:, 1:-1] + t[2:, 2:]
    )  # fmt: skip
    return float(np.median(np.abs(mask)) / 0.6745 / 6.0 / 255.0)


def measure(view: NDArray[np.uint8], tiles: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float32]:
    """The numbers of `MEASURES`, in that order.

    Args:
        view: (H, W, 3) upright sRGB.
        tiles: (T, S, S) luma at native scale.
        width, height: of the upright photo, native pixels.

    Returns:
        (len(MEASURES),) float32, finite for every input.
    """
    rgb = view[::2, ::2].astype(np.float32)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    low, high = np.percentile(luma, (1, 99))
    brightest, darkest = rgb.max(-1), rgb.min(-1)
    rg, yb = r - g, 0.5 * (r + g) - b
    # Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003, equation for M3
    colorfulness = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    sharp = sorted(laplacian_energy(t) for t in tiles)
    return np.array(
        [
            luma.mean() / 255,
            luma.std() / 255,
            (high - low) / 255,
            np.mean(brightest >= 253),
            np.mean(brightest <= 2),
            colorfulness / 100,
            np.mean((brightest - darkest) / np.maximum(brightest, 1)),
            rg.mean() / 255,
            yb.mean() / 255,
            sharp[-1],
            sharp[-1] - sharp[len(sharp) // 2],
            min(_noise(t) for t in tiles),
            np.log2(max(width, height) / 512),
            np.log2(width / height),
        ],
        dtype=np.float32,
    )
