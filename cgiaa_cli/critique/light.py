"""Light and colour of a photo, measured: exposure, clipping, contrast, cast, saturation, palette, hue harmony.

All functions take the upright sRGB view, (h, w, 3) uint8, or the CIE L*a*b* picture that `lab` makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ZONES",
    "Colour",
    "Light",
    "Swatch",
    "cast",
    "clipping_after",
    "colourfulness",
    "hue_harmony",
    "lab",
    "linear",
    "measure_colour",
    "measure_light",
    "palette",
]

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

ZONES = (3, 3)  # rows and columns of the zones that clipping is told by
BLOWN, BLOCKED = 252, 3  # levels from which on a channel is taken as clipped; JPEG moves them by one or two
SHADOW, HIGHLIGHT = 20.0, 85.0  # L*
GREY_CHROMA = 12.0  # C*ab up to which a colour may be a grey under a cast
_D65 = np.array([0.95047, 1.0, 1.08883], np.float32)
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    np.float32,
)
_levels = np.arange(256, dtype=np.float64) / 255
_LINEAR = np.where(_levels <= 0.04045, _levels / 12.92, ((_levels + 0.055) / 1.055) ** 2.4).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """Exposure and contrast.

    Attributes:
        median, mean: L*, 0..100; 50 is middle grey.
        shadows, highlights: shares of the picture below L* 20 and above L* 85, 0..1.
        blown: share of pixels with all three channels clipped at the top, 0..1.
        blown_any: share with at least one channel clipped at the top, 0..1.
        blocked: share of pixels with all three channels at the bottom, 0..1.
        blown_zones, blocked_zones: the same in 3 x 3 zones, row by row from the top left, 0..1 each.
        zones: mean L* of the same zones, 0..100 each.
        range_ev: stops between the 1st and the 99th percentile of linear light, at most 10.
        contrast: standard deviation of L*, 0..50.
    """

    median: float
    mean: float
    shadows: float
    highlights: float
    blown: float
    blown_any: float
    blocked: float
    blown_zones: tuple[float, ...]
    blocked_zones: tuple[float, ...]
    zones: tuple[float, ...]
    range_ev: float
    contrast: float


@dataclass(frozen=True)
class Swatch:
    """One colour of the palette: sRGB bytes, its share of the picture (0..1) and its plain name."""

    rgb: tuple[int, int, int]
    share: float
    name: str


@dataclass(frozen=True)
class Colour:
    """Colour.

    Attributes:
        cast_a, cast_b: mean a* and b* of what is nearly grey: green to magenta, blue to yellow; 0 is neutral.
        cast_share: share of the picture that they were taken from, 0..1; little of it tells little.
        saturation: mean chroma C*ab, 0..about 100.
        colourfulness: M3 of Hasler and Suesstrunk 2003; below 15 hardly coloured, above 60 very.
        clipped: share of pixels of high chroma with a channel at its end: colours that have lost their detail.
        palette: up to five colours, the most frequent first.
        harmony: name of the nearest hue template of Cohen-Or et al. 2006; `none` for what is nearly grey.
        harmony_error: mean distance of the hues from it, degrees, weighted by chroma.
    """

    cast_a: float
    cast_b: float
    cast_share: float
    saturation: float
    colourfulness: float
    clipped: float
    palette: tuple[Swatch, ...]
    harmony: str
    harmony_error: float


def linear(view: Pixels) -> Floats:
    """sRGB bytes -> linear light, 0..1, of the same shape (IEC 61966-2-1)."""
    return np.asarray(_LINEAR[view])


def lab(view: Pixels) -> Floats:
    """(h, w, 3) sRGB bytes -> CIE 1976 L*a*b* under D65: L* 0..100, a* and b* about -128..128."""
    xyz = linear(view) @ _TO_XYZ.T / _D65
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def measure_light(view: Pixels, picture: Floats) -> Light:
    """Exposure and contrast of a view and its L*a*b* picture."""
    lightness = picture[..., 0]
    blown, blocked = (view >= BLOWN).all(-1), (view <= BLOCKED).all(-1)
    luminance = linear(view) @ _TO_XYZ[1]
    low, high = np.percentile(luminance, (1, 99))
    return Light(
        median=float(np.median(lightness)),
        mean=float(lightness.mean()),
        shadows=float((lightness < SHADOW).mean()),
        highlights=float((lightness > HIGHLIGHT).mean()),
        blown=float(blown.mean()),
        blown_any=float((view >= BLOWN).any(-1).mean()),
        blocked=float(blocked.mean()),
        blown_zones=_zones(blown),
        blocked_zones=_zones(blocked),
        zones=_zones(lightness),
        range_ev=float(min(10.0, np.log2((high + 1e-3) / (low + 1e-3)))),
        contrast=float(lightness.std()),
    )


def _zones(mask: Any) -> tuple[float, ...]:
    rows, columns = ZONES
    return tuple(
        float(part.mean()) if part.size else 0.0
        for band in np.array_split(mask, rows)
        for part in np.array_split(band, columns, axis=1)
    )


def clipping_after(view: Pixels, ev: float) -> float:
    """Share of pixels (0..1) with a channel clipped at the top once the photo is made `ev` stops brighter."""
    return float((linear(view) * 2.0**ev >= _LINEAR[BLOWN]).any(-1).mean())


def measure_colour(view: Pixels, picture: Floats) -> Colour:
    """Colour of a view and its L*a*b* picture."""
    a, b, share = cast(picture)
    chroma = np.hypot(picture[..., 1], picture[..., 2])
    ends = (view >= BLOWN).any(-1) | (view <= BLOCKED).any(-1)
    name, error = hue_harmony(picture)
    return Colour(
        cast_a=a,
        cast_b=b,
        cast_share=share,
        saturation=float(chroma.mean()),
        colourfulness=colourfulness(view),
        clipped=float((ends & (chroma > 60)).mean()),
        palette=palette(view, picture),
        harmony=name,
        harmony_error=error,
    )


def cast(picture: Floats) -> tuple[float, float, float]:
    """Mean a* and b* of what may be grey (little chroma, neither dark nor bright), and its share (0..1).

    A picture of one strong colour has none of it, so it is not called a cast; a grey wall under tungsten light is
    all of it.
    """
    lightness = picture[..., 0]
    chroma = np.hypot(picture[..., 1], picture[..., 2])
    grey = (chroma < GREY_CHROMA) & (lightness > SHADOW) & (lightness < 95)
    share = float(grey.mean())
    if share < 0.005:
        return 0.0, 0.0, share
    return float(picture[..., 1][grey].mean()), float(picture[..., 2][grey].mean()), share


def colourfulness(view: Pixels) -> float:
    """M3 of Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003; 0..about 150."""
    r, g, b = (view[..., i].astype(np.float32) for i in range(3))
    rg, yb = r - g, 0.5 * (r + g) - b
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


# --- palette -----------------------------------------------------------------------------------------------------

_HUES = (
    (20, "pink"), (48, "red"), (75, "orange"), (105, "yellow"), (160, "green"),
    (215, "teal"), (308, "blue"), (335, "purple"), (361, "pink"),
)  # fmt: skip  # upper ends of the hue angle in L*a*b*, degrees


def palette(view: Pixels, picture: Floats, count: int = 5, rounds: int = 8) -> tuple[Swatch, ...]:
    """The leading colours: k-means in L*a*b* from evenly spread starts, so the same photo gives the same palette."""
    step = max(1, round(max(picture.shape[:2]) / 80))
    points = picture[::step, ::step].reshape(-1, 3)
    colours = view[::step, ::step].reshape(-1, 3)
    centres = points[[int(np.argmin(points[:, 0]))]]
    while len(centres) < count:  # the point farthest from all so far
        far = ((points[:, None] - centres[None]) ** 2).sum(-1).min(1)
        centres = np.concatenate([centres, points[[int(far.argmax())]]])
    for _ in range(rounds):
        nearest = ((points[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
        centres = np.stack([points[nearest == i].mean(0) if (nearest == i).any() else centres[i] for i in range(count)])
    swatches = []
    for i in np.argsort(-np.bincount(nearest, minlength=count), kind="stable"):
        members = nearest == i
        if members.mean() >= 0.02:
            red, green, blue = (int(v) for v in np.median(colours[members], axis=0))
            swatches.append(Swatch((red, green, blue), float(members.mean()), _name(centres[i])))
    return tuple(swatches)


def _name(colour: Floats) -> str:
    lightness, chroma = float(colour[0]), float(np.hypot(colour[1], colour[2]))
    if lightness < 12:
        return "black"
    if chroma < 9:
        return "white" if lightness > 88 else "grey"
    hue = float(np.degrees(np.arctan2(colour[2], colour[1])) % 360)
    name = next(name for end, name in _HUES if hue < end)
    if name in ("orange", "yellow") and chroma < 25:
        return "beige" if lightness >= 50 else "brown" if name == "orange" else "olive"
    if name == "orange" or (name == "red" and (hue > 38 or chroma < 25)):
        return "brown" if lightness < 55 and chroma < 45 else name
    return "olive" if name == "yellow" and lightness < 50 else name


# --- harmony -----------------------------------------------------------------------------------------------------

# sectors (centre, width) in degrees, of Cohen-Or et al., "Color harmonization", 2006, figure 4
TEMPLATES: dict[str, tuple[tuple[float, float], ...]] = {
    "one hue": ((0, 18),),  # i
    "neighbouring hues": ((0, 93.6),),  # V
    "right-angled hues": ((0, 18), (90, 79.2)),  # L
    "complementary hues": ((0, 18), (180, 18)),  # I
    "split complementary hues": ((0, 93.6), (180, 18)),  # Y
    "two broad opposite hues": ((0, 93.6), (180, 93.6)),  # X
}
_COST = {name: sum(width for _, width in sectors) * 0.1 for name, sectors in TEMPLATES.items()}


def hue_harmony(picture: Floats) -> tuple[str, float]:
    """The hue template that fits best, and the mean distance of the hues from it in degrees.

    Every template is turned in steps of 5 degrees; a wide one fits more and pays a tenth of its width for that, or
    the widest would win always.
    """
    step = max(1, round(max(picture.shape[:2]) / 120))
    a, b = picture[::step, ::step, 1].ravel(), picture[::step, ::step, 2].ravel()
    chroma = np.hypot(a, b)
    coloured = chroma > GREY_CHROMA
    if coloured.mean() < 0.05:
        return "none", 0.0
    hue = np.degrees(np.arctan2(b[coloured], a[coloured])) % 360
    weight, _ = np.histogram(hue, bins=72, range=(0, 360), weights=chroma[coloured])
    weight = weight / weight.sum()
    bins = np.arange(72) * 5 + 2.5
    best = ("none", 0.0, np.inf)
    for name, sectors in TEMPLATES.items():
        for turn in range(0, 360, 5):
            distance = np.full(72, 360.0)
            for centre, width in sectors:
                away = np.abs((bins - centre - turn + 180) % 360 - 180)
                distance = np.minimum(distance, np.maximum(0, away - width / 2))
            error = float((weight * distance).sum())
            if error + _COST[name] < best[2]:
                best = (name, error, error + _COST[name])
    return best[0], best[1]
