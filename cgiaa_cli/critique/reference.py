"""Where a score stands: its percentile among reference photos that the bundle names, and in the user's own library."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import Any

from cgiaa_cli.inference.scores import ATTRIBUTES, Scores

__all__ = ["NAMES", "standing", "values"]

NAMES = ("score", *ATTRIBUTES, "technical", "complexity")
AVA_MEAN, AVA_SD = 5.4, 0.74  # of the mean opinion scores in AVA (Murray et al. 2012)


def values(scores: Scores) -> dict[str, float]:
    """The numbers of `NAMES`."""
    return {"score": scores.score, **scores.attributes, "technical": scores.technical, "complexity": scores.complexity}


def standing(reference: Mapping[str, Any] | None, name: str, value: float) -> tuple[float, bool]:
    """Share of the reference photos that lie below `value`, 0..1, and whether that was measured.

    Args:
        reference: the bundle's section "reference": `quantiles`, by name 101 numbers, the 0th to the 100th percentile.
            None, or without this name: the share is taken from AVA's mean and deviation, which is a guess.
    """
    quantiles = (reference or {}).get("quantiles", {}).get(name)
    if not quantiles:
        return 0.5 * (1 + math.erf((value - AVA_MEAN) / AVA_SD / math.sqrt(2))), False
    below = bisect.bisect_left(quantiles, value)
    if below in (0, len(quantiles)):
        return (0.0 if below == 0 else 1.0), True
    low, high = quantiles[below - 1], quantiles[below]
    return (below - 1 + (value - low) / max(high - low, 1e-9)) / (len(quantiles) - 1), True
