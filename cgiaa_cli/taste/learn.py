"""Learning a taste: ridge regression of ratings and choices, shrunk toward the default score, and its worth.

    rating  ~  a  +  b * score  +  w * (embedding, scores)

`a` and `b` are free, `w` has a penalty. The larger that is, the more the order is the default's, and the candidates end
with an endless one, which is the default itself; cross-validation (leaving one out) chooses among them, so few ratings,
or ratings that nothing explains, change little or nothing. How good that is, is measured on
ratings that neither the weights nor the penalty have seen: nested, repeated cross-validation, in which photos that look
alike (a burst) are always on one side.

A choice between two photos is a row of differences, in which `a` falls away:

    step - b * (score of the better - score of the worse)  ~  w * (the better - the worse)

Choices are made between photos that score alike, so they say nothing of `b`: it is what the ratings say, or, where
there are none, one step for a standard deviation of the scores. A choice is tested where both of its photos were held
out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.errors import UsageError
from cgiaa_cli.inference.scores import SCORES

__all__ = ["FEWEST", "FEWEST_CHOICES", "SCORES", "Head", "Learnt", "Rated", "learn", "ranks", "srcc"]

FEWEST = 10  # ratings; with fewer, an interval of a gain says nothing
FEWEST_CHOICES = 100  # the interval of a gain from fewer errs too often
STRENGTHS = (*(10.0 ** np.arange(-4, 1.01, 0.5)), np.inf)
FOLDS, REPEATS = 5, 5
ALIKE = 0.9  # cosine from which on two photos are never on two sides of a fold
UNITS = 10  # of photos that are held out together at least
MOST_ALIKE = 30  # photos of one group that are learnt from
TINY = 1e-9
RESAMPLES = 2000

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def _no_pairs() -> Indices:
    return np.zeros((0, 2), np.intp)


@dataclass(frozen=True)
class Rated:
    """Photos with ratings, or between which somebody chose.

    Attributes:
        vectors: embeddings (N, D).
        scores: `SCORES` (N, 8).
        ratings: (N,), NaN where there is none.
        pairs: (P, 2) which photo was liked better than which.

    Raises:
        UsageError: too few of both, or all ratings are the same.
    """

    vectors: Floats
    scores: Floats
    ratings: Floats
    pairs: Indices = field(default_factory=_no_pairs)

    def __post_init__(self) -> None:
        given = self.ratings[~np.isnan(self.ratings)]
        if len(self.pairs) >= FEWEST_CHOICES:
            return
        if len(given) < FEWEST:
            photos = f"{len(given)} rated {'photo' if len(given) == 1 else 'photos'}"
            choices = f" and {len(self.pairs)} {'choice' if len(self.pairs) == 1 else 'choices'}"
            are = "is" if len(given) == 1 and not len(self.pairs) else "are"
            raise UsageError(
                f"{photos}{choices if len(self.pairs) else ''} {are} too few to learn from",
                mend=f"rate at least {FEWEST}, better a hundred"
                + (f", or choose {FEWEST_CHOICES} times" if len(self.pairs) else ""),
            )
        if (given == given[0]).all():
            raise UsageError(
                f"all {len(given)} ratings are {given[0]:g}: they say nothing about what is liked better",
                mend="rate some photos lower and some higher",
            )

    def __len__(self) -> int:
        return len(self.ratings)

    @property
    def default(self) -> Floats:
        """The default score."""
        return self.scores[:, 0]

    @cached_property
    def rated(self) -> Indices:
        """The photos with ratings; none where those are too few, or all the same, to count beside choices."""
        given = np.flatnonzero(~np.isnan(self.ratings))
        enough = len(given) >= FEWEST and np.ptp(self.ratings[given]) > 0
        return given if enough else given[:0]

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

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """`groups`, joined by choices while they are not too large: so most choices have both photos on one side."""
        found = self.groups.copy()
        for left, right in self.pairs:
            one, other = found[left], found[right]
            both = (found == one) | (found == other)
            if one != other and both.sum() * UNITS <= len(self):
                found[both] = min(one, other)
        return found

    def thinned(self) -> NDArray[np.intp]:
        """Which photos to learn from: of a thousand frames of one thing, some say as much as all."""
        order = np.argsort(self.groups, kind="stable")
        groups = self.groups[order]
        place = np.arange(len(self)) - np.searchsorted(groups, groups)  # which of its group each is
        return np.union1d(order[place < MOST_ALIKE], self.pairs.ravel())


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
class Choices:
    """Choices that were held out: how many, and which share of them the default score and the taste got right."""

    count: int
    default: float
    taste: float


@dataclass(frozen=True)
class Learnt:
    """What came of it.

    Attributes:
        strength: the penalty; infinity: the default order.
        held_out: (N,) predictions for photos that were held out.
        default: SRCC of the default score with the ratings; `taste`: of `held_out`; both 0 without ratings.
        gain: their difference, and the limits of its 95 % interval (bootstrap over the photos). With choices, the
            mean over ratings and choices, of which a choice that is right counts 1 and one that is wrong -1.
        choices: None where there are none.
    """

    head: Head
    strength: float
    held_out: Floats
    default: float
    taste: float
    gain: tuple[float, float, float]
    choices: Choices | None = None

    @property
    def kept(self) -> bool:
        """Whether it is beyond doubt better than the default."""
        return self.gain[1] > 0


def learn(rated: Rated, seed: int = 0) -> Learnt:
    """Learn from ratings and choices, and measure what that is worth."""
    random = np.random.default_rng(seed)
    design = _Design(rated)
    held_out = np.zeros(len(rated))
    margins, tested = np.zeros(len(rated.pairs)), np.zeros(len(rated.pairs), bool)
    for _ in range(REPEATS):
        for train, test in _folds(rated.units, random):
            rows = design.rows_of(train)
            fit = design.fit(rows)
            predicted = np.zeros(len(rated))
            predicted[test] = design.predict(fit, fit.choose(design.labels[rows]), test)
            held_out += predicted / REPEATS
            both = np.isin(rated.pairs, test).all(1)
            margins[both] += predicted[rated.pairs[both, 0]] - predicted[rated.pairs[both, 1]]
            tested |= both
    fit = design.fit(np.arange(len(design.labels)))
    strength = fit.choose(design.labels)
    judged = _Judged(rated, held_out, margins, tested)
    gain = (judged.gain(), *judged.interval(random))
    default, taste = (srcc(values[rated.rated], rated.ratings[rated.rated]) for values in (rated.default, held_out))
    return Learnt(design.head(fit, strength), strength, held_out, default, taste, gain, judged.choices())


class _Design:
    """Ratings, then choices, as rows of the regression.

    The photos are standardised over all of them, which tells nothing of ratings.

    Attributes:
        labels: of each row; rows with the same are left out together where the penalty is chosen.
    """

    def __init__(self, rated: Rated) -> None:
        self.ratings, self.rated, self.pairs = rated.ratings[rated.rated], rated.rated, rated.pairs
        self.centre, self.middle = rated.vectors.mean(0), rated.scores.mean(0)
        self.spread = _above_zero(rated.scores.std(0)) * np.sqrt(len(SCORES))
        # both kinds of features have a variance of 1 in all, however many they are
        self.size = float(_above_zero(np.sqrt(((rated.vectors - self.centre) ** 2).sum(1).mean())))
        vectors, scores = (rated.vectors - self.centre) / self.size, (rated.scores - self.middle) / self.spread
        self.features = np.hstack([vectors, scores])
        self.plain = np.column_stack([np.ones(len(rated)), scores[:, 0]])
        one, other = (rated.units[self.pairs[:, side]] for side in (0, 1))
        between = len(rated) * (1 + np.minimum(one, other)) + np.maximum(one, other)
        every = np.concatenate([rated.units[self.rated], np.where(one == other, one, between)])
        self.labels = np.unique(every, return_inverse=True)[1]

    def rows_of(self, photos: Indices) -> Indices:
        """The rows that are about no other photos."""
        rated, pairs = np.isin(self.rated, photos), np.isin(self.pairs, photos).all(1)
        return np.flatnonzero(np.concatenate([rated, pairs]))

    def fit(self, rows: Indices) -> _Fit:
        """What there is to know of some rows, whatever the penalty."""
        rated = self.rated[rows[rows < len(self.rated)]]
        pairs = self.pairs[rows[rows >= len(self.rated)] - len(self.rated)]
        ratings = self.ratings[rows[: len(rated)]]
        # what a choice and the default score count for
        step, slope = 1.0, float(np.sqrt(len(SCORES)))
        if len(rated):
            step = float(_above_zero(ratings.std()))
            slope = max(float((np.linalg.pinv(self.plain[rated]) @ ratings)[1]), 0.0)
        better, worse = pairs[:, 0], pairs[:, 1]
        features = np.vstack([self.features[rated], self.features[better] - self.features[worse]])
        targets = np.concatenate([ratings, step - slope * (self.plain[better, 1] - self.plain[worse, 1])])
        plain = np.vstack([self.plain[rated], np.zeros((len(pairs), 2))])
        return _Fit.of(features, targets, plain, np.array([0.0, slope]) if not len(rated) else np.zeros(2))

    def predict(self, fit: _Fit, strength: float, photos: Indices) -> Floats:
        """Ratings of photos."""
        weights, plain = fit.weights(strength)
        return np.asarray(self.plain[photos] @ plain + self.features[photos] @ weights)

    def head(self, fit: _Fit, strength: float) -> Head:
        """What `predict` does, of photos as they are."""
        weights, plain = fit.weights(strength)
        dim = len(self.centre)
        weights[dim] += plain[1]
        vector, scores = weights[:dim] / self.size, weights[dim:] / self.spread
        return Head(vector, scores, float(plain[0] - vector @ self.centre - scores @ self.middle))


@dataclass(frozen=True)
class _Fit:
    """Ridge regression of what mean and default score leave of the targets, on what they leave of the features.

    Attributes:
        whole: (N, F) features; `features`: what is left of them, with left singular vectors `basis` and squared
            singular values `values`.
        targets: (N,); `rest`: what is left of them.
        plain, explain: (N, 2) each; 1 - plain explain' is what leaves it.
        given: (2,) what is known of the weights of mean and default score beforehand.
    """

    whole: Floats
    features: Floats
    targets: Floats
    rest: Floats
    plain: Floats
    explain: Floats
    values: Floats
    basis: Floats
    given: Floats

    @classmethod
    def of(cls, features: Floats, targets: Floats, plain: Floats, given: Floats) -> _Fit:
        """The fit of these rows."""
        explain = np.asarray(np.linalg.pinv(plain), np.float64)
        x = features - plain @ (explain @ features)
        wide = x.shape[1] > len(targets)
        values, basis = np.linalg.eigh(x @ x.T if wide else x.T @ x)
        values = np.maximum(values, 0)
        left = basis if wide else x @ basis / np.sqrt(_above_zero(values))
        rest = targets - plain @ (explain @ targets)
        return cls(features, x, targets, rest, plain, explain.T, values, left, given)

    def weights(self, strength: float) -> tuple[Floats, Floats]:
        """(F,) of the features, (2,) of mean and default score."""
        penalised = self.values + strength * max(len(self.rest), 1)
        found = np.asarray(self.features.T @ (self.basis @ (self.basis.T @ self.rest / penalised)))
        return found, np.asarray(self.given + self.explain.T @ (self.targets - self.whole @ found))

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


@dataclass(frozen=True)
class _Judged:
    """Predictions for what was held out, against what people said.

    Attributes:
        margins: (P,) by how much the better photo of each choice is predicted to be better; sum over `tested` folds.
    """

    rated: Rated
    held_out: Floats
    margins: Floats
    tested: NDArray[np.bool_]

    @cached_property
    def signs(self) -> tuple[Floats, Floats]:
        """Of the choices that were tested, 1 where the default score, and where the taste, is right; -1 wrong."""
        better, worse = self.rated.pairs[self.tested].T
        return np.sign(self.rated.default[better] - self.rated.default[worse]), np.sign(self.margins[self.tested])

    def choices(self) -> Choices | None:
        """How many were tested, and how they came out; None where nobody chose."""
        if not len(self.rated.pairs):
            return None
        default, taste = (float((1 + signs.mean()) / 2) if len(signs) else 0.5 for signs in self.signs)
        return Choices(int(self.tested.sum()), default, taste)

    def gain(self) -> float:
        """What the taste agrees better than the default score does: mean over ratings and choices."""
        rated, ratings = self.rated.rated, self.rated.ratings[self.rated.rated]
        ordered = srcc(self.held_out[rated], ratings) - srcc(self.rated.default[rated], ratings)
        default, taste = self.signs
        count = len(rated) + len(taste)
        return (len(rated) * ordered + float((taste - default).sum())) / count if count else 0.0

    def interval(self, random: np.random.Generator) -> tuple[float, float]:
        """95 % of the gain, by drawing anew the photos, or, with choices, those that are held out together."""
        n, rated = len(self.rated), self.rated.rated
        default, taste = self.signs
        count = len(rated) + len(taste)
        if not count:
            return 0.0, 0.0
        names, unit = np.unique(self.rated.units if len(self.rated.pairs) else np.arange(n), return_inverse=True)
        drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES).astype(np.float32)
        gains = np.zeros(RESAMPLES)
        if len(rated):
            counts = drawn[:, unit[rated]]
            values = (self.held_out[rated], self.rated.default[rated], self.rated.ratings[rated])
            a, b, c = (_drawn_ranks(v, counts) for v in values)
            gains += len(rated) / count * (_correlation(a, c, counts) - _correlation(b, c, counts))
        if len(taste):
            one, other = unit[self.rated.pairs[self.tested]].T
            # a choice within a unit is drawn with it, one between two where both are
            weights = drawn[:, one] * np.where(one == other, 1.0, drawn[:, other])
            sums = weights.sum(1)
            gains += len(taste) / count * (weights @ (taste - default)) / np.where(sums > 0, sums, 1)
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
    middle = (weights.sum(1, keepdims=True) + 1) / 2
    a, b = a - middle, b - middle
    sums = [(weights * left * right).sum(1, dtype=np.float64) for left, right in ((a, b), (a, a), (b, b))]
    size = np.sqrt(sums[1] * sums[2])
    return np.asarray(sums[0] / np.where(size > 0, size, 1), np.float64)
