"""Learning a taste: ridge regression of the ratings, shrunk toward the default score, and whether it is worth keeping.

    rating  ~  a  +  b * score  +  w * (embedding, scores)

`a` and `b` are free, `w` has a penalty. The larger that is, the more the order is the default's, and the candidates end
with an endless one, which is the default itself; cross-validation (leaving one out) chooses among them, so few ratings,
or ratings that nothing explains, change little or nothing. How good that is, is measured on
ratings that neither the weights nor the penalty have seen: nested, repeated cross-validation, in which photos that look
alike (a burst) are always on one side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.errors import UsageError
from cgiaa_cli.inference.scores import ATTRIBUTES

__all__ = ["FEWEST", "SCORES", "Head", "Learnt", "Rated", "learn", "ranks", "srcc"]

SCORES = ("score", "spread", *ATTRIBUTES, "technical", "complexity")
FEWEST = 10  # ratings; with fewer, an interval of a gain says nothing
STRENGTHS = (*(10.0 ** np.arange(-4, 1.01, 0.5)), np.inf)
FOLDS, REPEATS = 5, 5
ALIKE = 0.9  # cosine from which on two photos are never on two sides of a fold
MOST_ALIKE = 30  # photos of one group that are learnt from
TINY = 1e-9
RESAMPLES = 2000

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Rated:
    """Photos with ratings: embeddings (N, D), `SCORES` (N, 8) and ratings (N,)."""

    vectors: Floats
    scores: Floats
    ratings: Floats

    def __post_init__(self) -> None:
        count, first = len(self.ratings), float(self.ratings[0]) if len(self.ratings) else 0.0
        if count < FEWEST:
            raise UsageError(
                f"{count} rated {'photo is' if count == 1 else 'photos are'} too few to learn from",
                mend=f"rate at least {FEWEST}, better a hundred",
            )
        if (self.ratings == first).all():
            raise UsageError(
                f"all {count} ratings are {first:g}: they say nothing about what is liked better",
                mend="rate some photos lower and some higher",
            )

    def __len__(self) -> int:
        return len(self.ratings)

    @property
    def default(self) -> Floats:
        """The default score."""
        return self.scores[:, 0]

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """A number for each photo; photos that look alike have the same."""
        vectors = self.vectors.astype(np.float32)
        near = vectors @ vectors.T >= ALIKE
        found = np.full(len(self), -1, np.int64)
        for i in range(len(self)):
            todo = [i] if found[i] < 0 else []
            while todo:
                j = todo.pop()
                if found[j] < 0:
                    found[j] = i
                    todo += np.flatnonzero(near[j] & (found < 0)).tolist()
        return found

    def thinned(self) -> NDArray[np.intp]:
        """Which photos to learn from: of a thousand frames of one thing, some say as much as all."""
        order = np.argsort(self.groups, kind="stable")
        groups = self.groups[order]
        place = np.arange(len(self)) - np.searchsorted(groups, groups)  # which of its group each is
        return np.sort(order[place < MOST_ALIKE])


@dataclass(frozen=True)
class Head:
    """A linear function of a photo's embedding and scores: the rating that the user would give.

    Attributes:
        vector: (D,).
        scores: in the order of `SCORES`.
    """

    vector: Floats
    scores: Floats
    intercept: float

    def __call__(self, vectors: NDArray[np.floating], scores: NDArray[np.floating]) -> Floats:
        """Ratings (N,) of photos."""
        return np.asarray(vectors @ self.vector + scores @ self.scores + self.intercept, np.float64)


@dataclass(frozen=True)
class Learnt:
    """What came of it.

    Attributes:
        strength: the penalty; infinity: the default order.
        held_out: (N,) predictions for photos that were held out.
        default: SRCC of the default score with the ratings; `taste`: of `held_out`.
        gain: their difference, and the limits of its 95 % interval (bootstrap over the photos).
    """

    head: Head
    strength: float
    held_out: Floats
    default: float
    taste: float
    gain: tuple[float, float, float]

    @property
    def kept(self) -> bool:
        """Whether it is beyond doubt better than the default."""
        return self.gain[1] > 0


def learn(rated: Rated, seed: int = 0) -> Learnt:
    """Learn from ratings, and measure what that is worth."""
    random = np.random.default_rng(seed)
    design = _Design(rated)
    held_out = np.zeros(len(rated))
    for _ in range(REPEATS):
        for train, test in _folds(rated.groups, random):
            fit = design.fit(train)
            strength = fit.choose(rated.groups[train])
            held_out[test] += design.predict(train, fit, strength, test) / REPEATS
    every = np.arange(len(rated))
    fit = design.fit(every)
    strength = fit.choose(rated.groups)
    gain = _interval(held_out, rated.default, rated.ratings, random)
    default, taste = srcc(rated.default, rated.ratings), srcc(held_out, rated.ratings)
    return Learnt(design.head(every, fit, strength), strength, held_out, default, taste, (taste - default, *gain))


class _Design:
    """The photos as the regression sees them: standardised over all that are rated, which tells nothing of ratings."""

    def __init__(self, rated: Rated) -> None:
        self.ratings = rated.ratings
        self.groups = rated.groups
        self.centre, self.middle = rated.vectors.mean(0), rated.scores.mean(0)
        self.spread = _above_zero(rated.scores.std(0)) * np.sqrt(len(SCORES))
        # both kinds of features have a variance of 1 in all, however many they are
        self.size = float(_above_zero(np.sqrt(((rated.vectors - self.centre) ** 2).sum(1).mean())))
        vectors, scores = (rated.vectors - self.centre) / self.size, (rated.scores - self.middle) / self.spread
        self.features = np.hstack([vectors, scores])
        self.plain = np.column_stack([np.ones(len(rated)), scores[:, 0]])

    def fit(self, train: Indices) -> _Fit:
        """What there is to know of some photos, whatever the penalty."""
        y, plain = self.ratings[train], self.plain[train]
        explain = np.linalg.pinv(plain)
        x = self.features[train] - plain @ (explain @ self.features[train])
        wide = x.shape[1] > len(train)
        values, basis = np.linalg.eigh(x @ x.T if wide else x.T @ x)
        values = np.maximum(values, 0)
        left = basis if wide else x @ basis / np.sqrt(_above_zero(values))
        return _Fit(x, y - plain @ (explain @ y), plain, explain.T, values, left)

    def predict(self, train: Indices, fit: _Fit, strength: float, photos: Indices) -> Floats:
        """Ratings of photos."""
        weights, plain = self._weights(train, fit, strength)
        return np.asarray(self.plain[photos] @ plain + self.features[photos] @ weights)

    def head(self, train: Indices, fit: _Fit, strength: float) -> Head:
        """What `predict` does, of photos as they are."""
        weights, plain = self._weights(train, fit, strength)
        dim = len(self.centre)
        weights[dim] += plain[1]
        vector, scores = weights[:dim] / self.size, weights[dim:] / self.spread
        return Head(vector, scores, float(plain[0] - vector @ self.centre - scores @ self.middle))

    def _weights(self, train: Indices, fit: _Fit, strength: float) -> tuple[Floats, Floats]:
        weights = fit.weights(strength)
        left = self.ratings[train] - self.features[train] @ weights
        return weights, np.asarray(np.linalg.pinv(self.plain[train]) @ left)


@dataclass(frozen=True)
class _Fit:
    """Ridge regression of what mean and default score leave of the ratings, on what they leave of the features.

    Attributes:
        features: (N, F) with left singular vectors `basis` and squared singular values `values`.
        rest: (N,) what is left of the ratings.
        plain, explain: (N, 2) each; 1 - plain explain' is what leaves it.
    """

    features: Floats
    rest: Floats
    plain: Floats
    explain: Floats
    values: Floats
    basis: Floats

    def weights(self, strength: float) -> Floats:
        """(F,)"""
        penalised = self.values + strength * len(self.rest)
        return np.asarray(self.features.T @ (self.basis @ (self.basis.T @ self.rest / penalised)))

    def choose(self, groups: NDArray[np.int64]) -> float:
        """The penalty with the least squared error where each group is left out once; of equals the strongest.

        Leaving photos g out needs no other fit: where the whole fit leaves A y of the ratings y, they would have an
        error of A_gg^-1 (A y)_g (Golub, Heath and Wahba, 1979; Cook, 1977).
        """
        alone = np.bincount(groups)[groups] == 1
        together = [np.flatnonzero(groups == group) for group in np.unique(groups[~alone])]
        errors = []
        for strength in STRENGTHS:
            kept = self.values / (self.values + strength * len(self.rest))
            left = self.rest - self.basis @ (kept * (self.basis.T @ self.rest))
            own = 1 - (self.plain * self.explain).sum(1) - self.basis**2 @ kept
            error = float(((left[alone] / np.maximum(own[alone], TINY)) ** 2).sum())
            for photos in together:
                part = self.basis[photos]
                block = np.eye(len(photos)) - self.plain[photos] @ self.explain[photos].T - (part * kept) @ part.T
                error += float((np.linalg.lstsq(block, left[photos], rcond=TINY)[0] ** 2).sum())
            errors.append(error)
        return float(STRENGTHS[len(STRENGTHS) - 1 - int(np.argmin(errors[::-1]))])


def _folds(groups: NDArray[np.int64], random: np.random.Generator) -> list[tuple[Indices, Indices]]:
    """(train, test) of each fold; whole groups, spread evenly by their sizes."""
    names, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = random.permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    room, fold = np.zeros(FOLDS), np.zeros(len(names), np.int64)
    for name in order:
        fold[name] = int(np.argmin(room))
        room[fold[name]] += sizes[name]
    of = fold[place]
    parts = [(np.flatnonzero(of != k), np.flatnonzero(of == k)) for k in range(FOLDS)]
    return [(train, test) for train, test in parts if len(train) and len(test)]


def _above_zero(values: NDArray[np.floating] | np.floating) -> Floats:
    return np.where(np.asarray(values) > TINY, values, 1.0)


def ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place], np.float64)


def srcc(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation; 0 where one of them is constant."""
    a, b = (ranks(v) - (len(v) + 1) / 2 for v in (one, other))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def _interval(predicted: Floats, default: Floats, ratings: Floats, random: np.random.Generator) -> tuple[float, float]:
    """95 % of the difference in SRCC between two predictions, by drawing the photos anew."""
    n = len(ratings)
    drawn = random.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float32)  # how often each was drawn
    a, b, c = (_drawn_ranks(v, drawn) for v in (predicted, default, ratings))
    gains = _correlation(a, c, drawn) - _correlation(b, c, drawn)
    low, high = np.percentile(gains, (2.5, 97.5))
    return float(low), float(high)


def _drawn_ranks(values: Floats, drawn: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rank of each value among those that were drawn, a row for each drawing."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) > 0])
    sizes = np.add.reduceat(drawn[:, order], starts, axis=1)
    mean = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    place = np.zeros(len(values), np.int64)
    place[order] = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(values)]))
    return np.asarray(mean[:, place], np.float32)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32], weights: NDArray[np.float32]) -> Floats:
    middle = (weights.shape[1] + 1) / 2
    a, b = a - middle, b - middle
    sums = [(weights * left * right).sum(1, dtype=np.float64) for left, right in ((a, b), (a, a), (b, b))]
    size = np.sqrt(sums[1] * sums[2])
    return np.asarray(sums[0] / np.where(size > 0, size, 1), np.float64)
