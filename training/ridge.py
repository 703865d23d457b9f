"""Ridge regression, for more features than photos or more photos than features; its strength depends on neither."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ridge", "columns", "out_of_fold", "unit"]

Array = NDArray[Any]
PART = 16384  # rows that are read at a time


class Ridge:
    """Linear regression with a penalty on the size of its weights (Hoerl and Kennard 1970).

    Args:
        strength: the penalty, in mean squared lengths of the (centred) rows; 0.01 is weak, 10 is strong.
        intercept: False: the line goes through the origin, and rows are not centred.
    """

    def __init__(self, strength: float, *, intercept: bool = True) -> None:
        self.strength, self.intercept = strength, intercept

    def fit(self, x: Array, y: Array) -> Ridge:
        """Learn `y` (N,) or (N, T) from `x` (N, F); sets `weight` (F,) or (F, T) and `bias`."""
        centre = x.mean(0) if self.intercept else np.zeros(x.shape[1], x.dtype)
        level = y.mean(0) if self.intercept else np.zeros(y.shape[1:])
        wanted = np.asarray(y - level, np.float64)
        if len(x) > x.shape[1]:  # the same weights from the smaller system
            gram, right = np.zeros((x.shape[1], x.shape[1])), np.zeros((x.shape[1], *y.shape[1:]))
            for start in range(0, len(x), PART):
                rows = np.asarray(x[start : start + PART] - centre, np.float32)
                gram += rows.T @ rows
                right += rows.T.astype(np.float64) @ wanted[start : start + PART]
            gram[np.diag_indices(len(gram))] += self.strength * np.trace(gram) / len(x)
            self.weight: Array = np.linalg.solve(gram, right)
        else:
            rows = np.asarray(x - centre, np.float32)
            kernel = (rows @ rows.T).astype(np.float64)
            kernel[np.diag_indices(len(kernel))] += self.strength * np.trace(kernel) / len(kernel)
            self.weight = rows.T.astype(np.float64) @ np.linalg.solve(kernel, wanted)
        self.bias: Array = level - centre @ self.weight
        return self

    def predict(self, x: Array) -> Array:
        """(M, F) -> (M,) or (M, T)."""
        return np.asarray(x @ self.weight + self.bias)


def out_of_fold(x: Array, y: Array, strength: float, folds: int = 5) -> Array:
    """What a ridge says of each row of `x` (N, F), learned from the others.

    Args:
        y: (N,) with NaN where it is unknown. An unknown row is judged by the fit to all known ones, a known row by the
            fit to the known rows of the other folds (drawn with a fixed seed).
    """
    known = np.flatnonzero(np.isfinite(y))
    said = Ridge(strength).fit(x[known], y[known]).predict(x)
    drawn = np.random.default_rng(0).permutation(len(known)) % folds
    for fold in range(min(folds, len(known) - 1)):
        own, others = known[drawn == fold], known[drawn != fold]
        said[own] = Ridge(strength).fit(x[others], y[others]).predict(x[own])
    return said


def unit(values: Array) -> Array:
    """Zero mean and unit deviation."""
    return np.asarray((values - values.mean()) / (values.std() + 1e-9))


def columns(values: Array) -> Array:
    """Each column with zero mean and unit deviation, limited so that one odd number cannot rule."""
    return np.asarray(np.clip((values - values.mean(0)) / (values.std(0) + 1e-3), -6, 6))
