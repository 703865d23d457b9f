"""The field's metrics, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = ["correlations", "distributions", "emd", "interval", "mean", "plcc", "share", "srcc"]

Array = NDArray[Any]
SCORES = np.arange(1, 11)


def emd(p: Array, q: Array, r: int = 2) -> Array:
    """Earth mover's distance of NIMA (Talebi and Milanfar 2018) between distributions (N, 10); (N,) >= 0."""
    difference = np.abs(np.cumsum(p, axis=1) - np.cumsum(q, axis=1))
    return np.asarray((difference**r).mean(axis=1) ** (1 / r))


def interval(statistic: Callable[[Array], float], count: int, resamples: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval (seeded) of a statistic of `count` items, given the indices of a resample.

    A resample for which the statistic is not defined (NaN: all items the same) is left out; NaN if none is left.
    """
    return _percentiles(np.array([statistic(draw) for draw in _draws(count, resamples)]))


def _draws(count: int, resamples: int = 1000) -> Array:
    return np.random.default_rng(0).integers(0, count, (resamples, count))


def _percentiles(found: Array) -> tuple[float, float]:
    defined = found[~np.isnan(found)]
    low, high = np.percentile(defined, (2.5, 97.5)) if len(defined) else (np.nan, np.nan)
    return round(float(low), 4), round(float(high), 4)


def _correlated(predicted: Array, truth: Array) -> Array:
    """Pearson's correlation row by row, (R, N) each -> (R,); NaN where a row is constant."""
    constant = (np.ptp(predicted, axis=1) == 0) | (np.ptp(truth, axis=1) == 0)
    a, b = (rows - rows.mean(1, keepdims=True) for rows in (predicted, truth))
    size = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    found = (a * b).sum(1) / np.where(constant | (size == 0), 1, size)
    return np.where(constant | (size == 0), np.nan, np.clip(found, -1, 1))


def correlations(predicted: Array, truth: Array) -> dict[str, Any]:
    """SRCC and PLCC of two (N,) arrays, each with its 95 % bootstrap interval."""
    ranked, plain = [], []
    for part in np.array_split(_draws(len(truth)), 20):  # bounds the memory
        ours, theirs = predicted[part], truth[part]
        plain.append(_correlated(ours, theirs))
        ranked.append(_correlated(rankdata(ours, axis=1), rankdata(theirs, axis=1)))
    return {
        "srcc": round(srcc(predicted, truth), 4),
        "srcc_95": list(_percentiles(np.concatenate(ranked))),
        "plcc": round(plcc(predicted, truth), 4),
        "plcc_95": list(_percentiles(np.concatenate(plain))),
        "n": len(truth),
    }


def distributions(predicted: Array, truth: Array, middle: float = 5.0) -> dict[str, Any]:
    """What AVA is reported by, each with its 95 % bootstrap interval.

    Args:
        predicted: (N, 10) distributions over the scores 1..10.
        truth: the same of the raters.
        middle: a photo is good when its mean lies above; AVA's 5 (Murray et al. 2012).

    Returns:
        `srcc`, `plcc` and `accuracy` (share of photos on the right side of the middle) of the means, `emd` (r = 1, as
        NIMA reports it) of the distributions, and `n`.
    """
    ours, theirs = predicted @ SCORES, truth @ SCORES
    found = correlations(ours, theirs)
    right = share((ours > middle) == (theirs > middle))
    distance = mean(emd(predicted, truth, r=1))
    found |= {"accuracy": right["accuracy"], "accuracy_95": right["accuracy_95"]}
    found |= {"emd": distance["mean"], "emd_95": distance["mean_95"]}
    return {**{key: value for key, value in found.items() if key != "n"}, "n": len(truth)}


def share(right: Array) -> dict[str, Any]:
    """A share of yes among (N,) answers, with its 95 % bootstrap interval."""
    low, high = interval(lambda i: float(right[i].mean()), len(right))
    return {"accuracy": round(float(right.mean()), 4), "accuracy_95": [low, high], "n": len(right)}


def mean(values: Sequence[float] | Array) -> dict[str, Any]:
    """A mean of N values, with its 95 % bootstrap interval."""
    array = np.array(values)
    low, high = interval(lambda i: float(array[i].mean()), len(array))
    return {"mean": round(float(array.mean()), 4), "mean_95": [low, high], "n": len(array)}


def srcc(predicted: Array, truth: Array) -> float:
    """Spearman's rank correlation; NaN where one of both is constant."""
    return plcc(rankdata(predicted), rankdata(truth))  # as scipy's spearmanr, without the p-value's time


def plcc(predicted: Array, truth: Array) -> float:
    """Pearson's linear correlation; NaN where one of both is constant."""
    return float(_correlated(np.asarray(predicted)[None], np.asarray(truth)[None])[0])
