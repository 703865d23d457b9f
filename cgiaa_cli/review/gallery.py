"""The photos of the page: few numbers of each in memory, the rest is read from the cache for those that are shown."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation.select import Hit
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.report.library import common_root, photo_rows, short
from cgiaa_cli.report.weakest import Floats, focal_range, standing, weakest, weakest_of

__all__ = ["KINDS", "ORDERS", "Gallery", "View", "as_shown"]

SCORES = ("score", *ATTRIBUTES, "technical", "spread", "complexity")
ORDERS = ("value", *SCORES, "taken_at", "path")
"""What the page can order by; `value` is what the command line asked for."""

KINDS = ("camera", "lens", "focal", "month", "weakest")
"""What photos can be filtered by, as on the page of `report`."""

CHUNK = 500  # SQLite takes 999 parameters at least

_COLUMNS = (
    f"SELECT c.id, c.camera, c.lens, c.taken_at, c.focal_length, {', '.join(f's.{name}' for name in SCORES)} "
    "FROM contents c JOIN scores s ON s.scorer_id = ? AND s.content_id = c.id WHERE c.id IN "
)
# the index has all of it, and by itself SQLite would walk through the texts
_CRITIQUED = "SELECT content_id FROM critiques INDEXED BY critiques_content WHERE scorer_id = ? AND settings = ?"
_CRITIQUES = "SELECT content_id, body FROM critiques WHERE scorer_id = ? AND settings = ? AND content_id IN "


@dataclass(frozen=True)
class View:
    """Which photos to show, in which order.

    Attributes:
        order: one of `ORDERS`.
        find: words that all have to be in a photo's names, camera, lens, time or critique.
        among: numbers of the photos to look at; None: all.
        critiqued: only those of which a critique is kept.
        kinds: of some of `KINDS` the one that a photo has to be of.
        least, most: of the score that is ordered by, overall for other orders, as the page shows it.
    """

    order: str = "value"
    turned: bool = False
    find: str = ""
    among: frozenset[int] | None = None
    critiqued: bool = False
    kinds: Mapping[str, str] = field(default_factory=dict)
    least: float = -math.inf
    most: float = math.inf


@dataclass
class Gallery:
    """n contents in the order of the command line; the place in it is a photo's number.

    Attributes:
        ids: of the contents.
        paths: escaped, all that a content lies at, the shortest first: mostly the original.
        values: what the command line orders by.
        settings: what critiques are kept under; see `kept.key_of`.
    """

    cache: Cache
    scorer: int
    settings: str
    ids: list[int] = field(default_factory=list)
    paths: list[tuple[str, ...]] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    _said: dict[int, str] = field(default_factory=dict, init=False)

    @classmethod
    def of(cls, cache: Cache, scorer: int, settings: str, hits: Iterable[Hit]) -> Gallery:
        """The gallery of a selection."""
        paths: dict[int, list[str]] = {}
        values: dict[int, float] = {}
        for hit in hits:
            paths.setdefault(hit.content_id, []).append(hit.path)
            values.setdefault(hit.content_id, hit.value)
        ordered = [tuple(sorted(some, key=lambda path: (len(path), path))) for some in paths.values()]
        return cls(cache, scorer, settings, list(paths), ordered, list(values.values()))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def numbers(self) -> dict[int, int]:
        """Of each content its number."""
        return {content: number for number, content in enumerate(self.ids)}

    @cached_property
    def root(self) -> str:
        """The folder that all photos lie in, with a separator at its end."""
        return common_root([path for paths in self.paths for path in paths])

    def hits(self) -> list[Hit]:
        """Every file, as a selection gives it."""
        return [Hit(path, self.ids[i], self.values[i]) for i, paths in enumerate(self.paths) for path in paths]

    def rows(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """What the page shows of some photos.

        Raises:
            CacheError: the cache cannot be read.
        """
        first = [Hit(self.paths[i][0], self.ids[i], self.values[i]) for i in numbers]
        rows = photo_rows(self.cache, self.scorer, first, [self.paths[i][1:] for i in numbers], self.root)
        return [{"number": number, **row} for number, row in zip(numbers, rows, strict=True)]

    def _rows(self, query: str, given: tuple[Any, ...], contents: Iterable[int]) -> Iterator[tuple[Any, ...]]:
        """What a query that ends in `IN` finds of contents."""
        wanted = iter(contents)
        while part := list(islice(wanted, CHUNK)):
            with self.cache.guard():
                rows = self.cache.conn.execute(f"{query}({','.join('?' * len(part))})", (*given, *part)).fetchall()
            yield from rows

    @cached_property
    def _columns(self) -> list[tuple[Any, ...]]:
        """camera, lens, taken_at, focal_length and `SCORES` of each photo; read when the page first asks for them."""
        found = {row[0]: row[1:] for row in self._rows(_COLUMNS, (self.scorer,), self.ids)}
        unknown = (None,) * (4 + len(SCORES))  # another process may have forgotten it meanwhile
        return [found.get(content, unknown) for content in self.ids]

    @cached_property
    def _texts(self) -> list[str]:
        """Of each photo all that can be found but its critique, in lower case."""
        texts = []
        for paths, (camera, lens, taken_at, *_) in zip(self.paths, self._columns, strict=True):
            said = [camera, lens, (taken_at or "").replace("T", " ")]
            texts.append("\n".join([*(path.removeprefix(self.root) for path in paths), *filter(None, said)]).lower())
        return texts

    def critiqued(self) -> set[int]:
        """The photos of which a critique is kept, whoever made it.

        Raises:
            CacheError: the cache cannot be read.
        """
        with self.cache.guard():
            found = self.cache.conn.execute(_CRITIQUED, (self.scorer, self.settings)).fetchall()
        return {self.numbers[content] for (content,) in found if content in self.numbers}

    def _critiques(self) -> Mapping[int, str]:
        """Of each photo with a critique what can be found in it, as `report` does; they are made while we look on."""
        new = [self.ids[i] for i in self.critiqued() - self._said.keys()]
        for content, body in self._rows(_CRITIQUES, (self.scorer, self.settings), new):
            critique = json.loads(body)
            texts = [found["text"] for found in critique["attributes"].values()]
            self._said[self.numbers[content]] = "\n".join([*texts, *critique["kinds"]]).lower()
        return self._said

    def _column(self, name: str) -> list[Any]:
        """Of each photo its `taken_at` or one of `SCORES`."""
        at = 2 if name == "taken_at" else 4 + SCORES.index(name)
        return [row[at] for row in self._columns]

    @cached_property
    def _attributes(self) -> tuple[Floats, Floats]:
        """(n, 4) scores and how they stand; a photo that is not known stands nowhere."""
        scores = np.array([self._column(name) for name in ATTRIBUTES], np.float64).T.reshape(-1, len(ATTRIBUTES))
        known, stands = ~np.isnan(scores).any(1), np.zeros_like(scores)
        stands[known] = standing(scores[known])
        return scores, stands

    @cached_property
    def _kinds(self) -> dict[str, list[str | None]]:
        """Of each of `KINDS` that of each photo, None where it is not known."""
        camera, lens, taken_at, focal, *_ = zip(*self._columns, strict=True)
        return {
            "camera": [name or None for name in camera],
            "lens": [name or None for name in lens],
            "focal": [focal_range(length) for length in focal],
            "month": [time[:7] if time else None for time in taken_at],
            "weakest": weakest(self._attributes[1]),
        }

    def kinds(self) -> dict[str, list[tuple[str, int]]]:
        """Of each of `KINDS` how many photos are of which.

        Raises:
            CacheError: the cache cannot be read.
        """
        return {name: list(Counter(filter(None, kinds)).items()) for name, kinds in self._kinds.items()}

    def scores(self) -> dict[str, list[float | None]]:
        """Of each of `SCORES` that of each photo.

        Raises:
            CacheError: the cache cannot be read.
        """
        return {name: [short(score) for score in self._column(name)] for name in SCORES}

    def weak(self) -> dict[str, Any]:
        """The tables of weak attributes; see `weakest_of`.

        Raises:
            CacheError: the cache cannot be read.
        """
        return weakest_of(self._kinds, *self._attributes)

    def show(self, view: View) -> list[int]:
        """The numbers of the photos of a view, in its order; what is not known comes last.

        Raises:
            CacheError: the cache cannot be read.
        """
        found = [i for i in range(len(self)) if view.among is None or i in view.among]
        words = view.find.lower().split()
        if words:
            said = self._critiques()
            found = [i for i in found if all(word in self._texts[i] or word in said.get(i, "") for word in words)]
        if view.critiqued:
            kept = self.critiqued()
            found = [i for i in found if i in kept]
        for name, value in view.kinds.items():
            kinds = self._kinds[name]
            found = [i for i in found if kinds[i] == value]
        if (view.least, view.most) != (-math.inf, math.inf):
            scores = self._column(view.order if view.order in SCORES else "score")
            known = [i for i in found if scores[i] is not None]
            found = [i for i in known if view.least <= as_shown(scores[i]) <= view.most]
        if view.order == "value":
            return found[::-1] if view.turned else found
        if view.order == "path":
            return sorted(found, key=lambda i: self.paths[i][0], reverse=view.turned)
        keys = self._column(view.order)
        known = [i for i in found if keys[i] is not None]
        best_first = view.order != "taken_at"
        known.sort(key=lambda i: keys[i], reverse=best_first != view.turned)
        return known + [i for i in found if keys[i] is None]


def as_shown(score: float) -> float:
    """The number that the page writes for it: who types that as a limit means this photo, too."""
    digits = Decimal(1) if score >= 10.5 else Decimal("0.01")
    return float(Decimal(short(score) or 0).quantize(digits, ROUND_HALF_UP))
