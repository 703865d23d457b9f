"""From scores to stars and colour labels: limits that the user sets, by rank in his own library or absolute.

A score says little to a person; "better than nine in ten of my photos" does. So a limit is, by default, a
percentile of the photos that the cache has scores of: the share, in percent, of those that score lower, those that
score the same counted half (the usual percentile rank). `score:` in front makes the limits absolute, 1..10.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.errors import UsageError

__all__ = ["DEFAULT_STARS", "FEW", "Labels", "Library", "Stars", "library", "parse_labels", "parse_stars"]

DEFAULT_STARS = "50,75,90,97,99"
FEW = 100
"""Below this many photos, one of them moves a percentile by a whole point and more."""

_PREFIX = "score:"
_PERCENTILE, _SCORE = (0.0, 100.0), (1.0, 10.0)


@dataclass(frozen=True)
class Library:
    """The scores of all photos in the cache by one scorer, ascending; photos of the same bytes count once."""

    scores: Sequence[float]

    def percentile(self, score: float) -> float:
        """Percentile rank, 0..100; 50 where there is no other photo."""
        if not self.scores:
            return 50.0
        below, up_to = bisect_left(self.scores, score), bisect_right(self.scores, score)
        return 100.0 * (below + up_to) / 2 / len(self.scores)


def library(cache: Cache, scorer: int) -> Library:
    """Read the scores of the photos whose files are still there.

    Raises:
        CacheError: the cache cannot be read.
    """
    query = (
        "SELECT s.score FROM scores s INDEXED BY scores_rank WHERE s.scorer_id = ? AND s.score IS NOT NULL AND EXISTS("
        "SELECT 1 FROM files f WHERE f.content_id = s.content_id AND f.missing_at IS NULL) ORDER BY s.score"
    )
    with cache.guard():
        return Library(array("d", (row[0] for row in cache.conn.execute(query, (scorer,)))))


@dataclass(frozen=True)
class Stars:
    """Five ascending limits, of which a photo has as many stars as it reaches.

    Attributes:
        limits: percentiles (0..100) or scores (1..10).
        absolute: whether they are scores.
    """

    limits: tuple[float, ...]
    absolute: bool = False

    def rating(self, score: float, percentile: float) -> int | None:
        """1..5; None below the first limit: no star is no rating."""
        return bisect_right(self.limits, score if self.absolute else percentile) or None


@dataclass(frozen=True)
class Labels:
    """Colour labels from some limit on; the highest that is reached counts."""

    limits: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    absolute: bool = False

    def label(self, score: float, percentile: float) -> str | None:
        """The label; None below the first limit."""
        reached = bisect_right(self.limits, score if self.absolute else percentile)
        return self.names[reached - 1] if reached else None


def parse_stars(text: str) -> Stars:
    """Read `50,75,90,97,99` or `score:4.5,5,5.5,6,6.5`.

    Raises:
        UsageError: it is not five ascending numbers, or one is out of range.
    """
    absolute = text.strip().startswith(_PREFIX)
    limits = _limits(text, text.strip().removeprefix(_PREFIX).split(","), absolute)
    if len(limits) != 5 or any(a >= b for a, b in pairwise(limits)):
        raise UsageError(
            f"stars '{text}': these are not five ascending limits", mend=f"write for example --stars {DEFAULT_STARS}"
        )
    return Stars(limits, absolute)


def parse_labels(texts: Iterable[str]) -> Labels:
    """Read `Green=97` or `Green=score:6`, several of them.

    Raises:
        UsageError: a name or number is missing or out of range, or percentiles and scores are mixed.
    """
    parts = [text.rpartition("=") for text in texts]
    kinds = {number.strip().startswith(_PREFIX) for _, _, number in parts}
    if len(kinds) > 1:
        raise UsageError("--label: percentiles and scores do not go together", mend="write all limits in one way")
    if any(not name.strip() for name, _, _ in parts):
        raise UsageError("--label needs a name and a limit", mend="write for example --label Green=97")
    absolute = True in kinds
    found = []
    for name, _, number in parts:
        limit = _limits(f"{name}={number}", [number.strip().removeprefix(_PREFIX)], absolute)[0]
        found.append((limit, name.strip()))
    found.sort()
    return Labels(tuple(limit for limit, _ in found), tuple(name for _, name in found), absolute)


def _limits(text: str, numbers: Sequence[str], absolute: bool) -> tuple[float, ...]:
    low, high = _SCORE if absolute else _PERCENTILE
    limits = []
    for number in numbers:
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not low <= limit <= high:
            what = "scores from 1 to 10" if absolute else f"percentiles from 0 to 100 (or scores: {_PREFIX}5)"
            raise UsageError(f"'{text}': '{number.strip()}' is not a limit", mend=f"limits are {what}")
        limits.append(limit)
    return tuple(limits)
