"""The field's metrics, with bootstrap intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

__all__ = ["correlations", "emd"]

Array = NDArray[Any]


def emd(p: Array, q: Array, r: int = 2) -> Array:
    """Earth mover's distance of NIMA (Talebi and Milanfar 2018) between distributions (N, 10); (N,) >= 0."""
    difference = np.abs(np.cumsum(p, axis=1) - np.cumsum(q, axis=1))
    return np.asarray((difference**r).mean(axis=1) ** (1 / r))


def correlations(predicted: Array, truth: Array, resamples: int = 1000) -> dict[str, Any]:
    """SRCC and PLCC of two (N,) arrays, with the SRCC's 95 % bootstrap interval (seeded)."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(truth), (resamples, len(truth)))
    spread = [float(spearmanr(predicted[d], truth[d])[0]) for d in draws]
    return {
        "srcc": round(float(spearmanr(predicted, truth)[0]), 4),
        "srcc_95": [round(float(v), 4) for v in np.percentile(spread, (2.5, 97.5))],
        "plcc": round(float(pearsonr(predicted, truth)[0]), 4),
        "n": len(truth),
    }
