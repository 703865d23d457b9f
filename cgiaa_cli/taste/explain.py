"""A taste in words: what of a photo goes along with how much more, or less, it is liked than the default score says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.taste.learn import ranks

__all__ = ["FACTS", "Liking", "likings", "sentence"]

MOST = 4
LEAST = 0.2  # correlation with the taste
SURE = 2.0  # standard errors of the correlation with the ratings themselves

# fact: (what having little of it is called, what having much is called, family); one of a family is said
FACTS: dict[str, tuple[str, str, str]] = {
    "luminance": ("darker", "brighter", "light"),
    "contrast": ("softer-contrast", "higher-contrast", "contrast"),
    "colorfulness": ("less colourful", "more colourful", "colour"),
    "saturation": ("less saturated", "more saturated", "colour"),
    "cast_b": ("cooler", "warmer", "warmth"),
    "cast_a": ("greener", "redder", "tint"),
    "sharpness": ("softer", "sharper", "sharpness"),
    "softness_gap": ("evenly sharp", "shallow-focus", "focus"),
    "noise": ("cleaner", "grainier", "noise"),
    "complexity": ("emptier", "busier", "clutter"),
    "aspect": ("taller", "wider", "shape"),
    "color_light": ("colour and light count less", "colour and light count more", "light score"),
    "composition": ("composition counts less", "composition counts more", "composition score"),
    "depth_focus": ("depth and focus count less", "depth and focus count more", "depth score"),
    "technical": ("technical quality counts less", "technical quality counts more", "technical score"),
}
_SCORES = ("color_light", "composition", "depth_focus", "technical")  # a low one is nothing that a photo looks like


@dataclass(frozen=True)
class Liking:
    """One fact that a taste goes along with.

    Attributes:
        words: as a comparative, or what counts more or less.
        taste, ratings: partial rank correlations, the default score held constant, with what is predicted for photos
            that were held out, and with the ratings.
    """

    fact: str
    words: str
    taste: float
    ratings: float


def likings(
    facts: Mapping[str, NDArray[np.float64]],
    held_out: NDArray[np.float64],
    ratings: NDArray[np.float64],
    default: NDArray[np.float64],
) -> list[Liking]:
    """What a taste goes along with, the strongest first.

    Args:
        facts: name of `FACTS` -> (N,), NaN where it is not known.
    """
    found = []
    for name, (little, much, _) in FACTS.items():
        values = facts.get(name)
        if values is None:
            continue
        known = np.isfinite(values)
        count = int(known.sum())
        if count < 10 or np.ptp(values[known]) == 0:
            continue
        taste = _partial(values[known], held_out[known], default[known])
        said = _partial(values[known], ratings[known], default[known])
        # what the head believes has to be what the ratings say, or it is a habit of the head
        if abs(taste) >= LEAST and taste * said > 0 and abs(said) * np.sqrt(count) >= SURE:
            found.append(Liking(name, much if taste > 0 else little, taste, said))
    found.sort(key=lambda liking: -abs(liking.ratings))
    first: dict[str, Liking] = {}
    for liking in found:
        first.setdefault(FACTS[liking.fact][2], liking)
    return list(first.values())[:MOST]


def _partial(one: NDArray[np.float64], other: NDArray[np.float64], given: NDArray[np.float64]) -> float:
    """Rank correlation of two, a third held constant."""
    base = ranks(given) - (len(given) + 1) / 2
    left = []
    for values in (one, other):
        centred = ranks(values) - (len(values) + 1) / 2
        left.append(centred - base * float(centred @ base) / max(float(base @ base), 1e-9))
    size = float(np.linalg.norm(left[0]) * np.linalg.norm(left[1]))
    return float(left[0] @ left[1]) / size if size > 1e-6 else 0.0


def sentence(words: Sequence[str]) -> str:
    """What is liked, for people."""
    counting = {word for name in _SCORES for word in FACTS[name][:2]}
    looks = [word for word in words if word not in counting]
    parts = [f"you like {', '.join(looks)} frames more than the default score does"] if looks else []
    parts += [f"{word} for you" for word in words if word in counting]
    return "; ".join(parts) or "no single property says what you like more than the default score does"
