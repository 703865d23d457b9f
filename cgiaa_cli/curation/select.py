"""Which photos, in which order: SQL over the cache, for libraries of a million photos and more.

A selection is one condition on the three tables and one value to order by. What makes it quick is where the
search begins, and `_Plans` chooses that:

* few files below the asked-for folders: at those files;
* otherwise at the best scores along the index that the default order has, whatever the conditions;
* if those did not do, or the order has no index: at all the scores, in the order in which they lie, of which
  the best that meet the conditions on scores are kept;
* if those did not do, because the conditions on the rest are rare: at the contents, as they lie.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from cgiaa_cli.cache.store import Cache, bounds
from cgiaa_cli.curation.expressions import Sql, compile_where, contains, period, prepare
from cgiaa_cli.curation.names import known, parse_numbers
from cgiaa_cli.errors import UsageError
from cgiaa_cli.inference.scores import ATTRIBUTES, SCORES
from cgiaa_cli.paths import absolute, escape, unescape

__all__ = [
    "LIMITED",
    "RANKED_BY",
    "Hit",
    "Selection",
    "among",
    "excluder",
    "failures",
    "few_files",
    "is_scored",
    "known",
    "parse_numbers",
    "ranges",
    "records",
    "select",
    "unknown",
    "unscored",
]

RANKED_BY = ("overall", *ATTRIBUTES, "technical")
LIMITED = SCORES

FEW_FILES = 20_000  # below this, looking at every file below the folders is the quickest of all
MANY_FILES = 300_000  # below this, it is quicker than looking at all the scores
FIRST = 1_000  # scores to look at for a top 50, where most of them meet the conditions
CHUNK = 500  # rows read in full at a time; SQLite takes 999 parameters at least

# Left alone, SQLite takes the index for `score > 5` and then looks up each of half a million rows in the table;
# reading the whole table, which its primary key orders, is ten times quicker.
_BY_SCORE = "scores s INDEXED BY scores_rank "
_AS_THEY_LIE = "scores s INDEXED BY sqlite_autoindex_scores_1 "

_RECORDS = """
SELECT f.path, f.companions, f.error_kind, f.error, f.size, coalesce(c.bytes, f.size) AS bytes, c.format,
       c.width, c.height, c.taken_at, c.camera, c.lens, c.focal_length, c.aperture, c.shutter, c.iso,
       c.latitude, c.longitude, s.score, s.spread, s.color_light, s.composition, s.depth_focus, s.general,
       s.technical, s.complexity
FROM files f LEFT JOIN contents c ON c.id = f.content_id
LEFT JOIN scores s ON s.scorer_id = ? AND s.content_id = f.content_id
WHERE f.path IN ({marks})"""

# the folders' ranges do not overlap, so only the last one that begins before the path can hold it
_BELOW = Sql(
    "f.path < (SELECT high FROM temp.asked WHERE low <= f.path ORDER BY low DESC LIMIT 1)",
    (),
    frozenset("f"),
)


@dataclass(frozen=True)
class Hit:
    """One photo of a selection: escaped path, id of its content, and the value it was ordered by."""

    path: str
    content_id: int
    value: float


@dataclass(frozen=True)
class Selection:
    """What to select and how to order it; checked when it is made.

    Attributes:
        paths: folders and photos; they need not exist (any more).
        weights: name of `RANKED_BY` -> weight; the value of a photo is the weighted mean.
        minimum, maximum: name of `LIMITED` -> limit, inclusive.
        since, until: as `expressions.period` reads them; `until` includes its whole period.
        camera, lens: parts of the names, upper or lower case.
        where: see `expressions`.
        exclude: patterns as `library.walk.walk` has them.
        worst_first: lowest value first. Equal values are ordered by path either way.

    Raises:
        UsageError: a name, date or condition that cannot be.
    """

    paths: Sequence[Path]
    weights: Mapping[str, float] = field(default_factory=lambda: {"overall": 1.0})
    minimum: Mapping[str, float] = field(default_factory=dict)
    maximum: Mapping[str, float] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None
    camera: str | None = None
    lens: str | None = None
    where: str | None = None
    exclude: Sequence[str] = ()
    worst_first: bool = False

    def __post_init__(self) -> None:
        if not self.paths:
            raise UsageError("no folder is named", mend="name a folder or a photo")
        known(self.weights, RANKED_BY, "--by and --weight")
        known(self.minimum, LIMITED, "--min")
        known(self.maximum, LIMITED, "--max")
        weights = self.weights.values()
        if any(w < 0 or not math.isfinite(w) for w in weights) or not sum(weights):
            raise UsageError("weights must be 0 or more, and one of them more than 0")
        object.__setattr__(self, "conditions", self._conditions())

    conditions: tuple[Sql, ...] = field(init=False, repr=False, compare=False, default=())

    @property
    def value(self) -> Sql:
        """The number to order by."""
        weights = {name: weight for name, weight in self.weights.items() if weight}
        if len(weights) == 1:
            return Sql(_column(next(iter(weights))), (), frozenset("s"))
        total = sum(weights.values())
        terms = " + ".join(f"? * {_column(name)}" for name in weights)
        return Sql(f"({terms})", tuple(w / total for w in weights.values()), frozenset("s"))

    @property
    def has_index(self) -> bool:
        """Whether an index of the cache has the scores in the order of `value`."""
        return self.value.text == "s.score"

    def _conditions(self) -> tuple[Sql, ...]:
        made = [Sql(f"s.{name} >= ?", (limit,), frozenset("s")) for name, limit in self.minimum.items()]
        made += [Sql(f"s.{name} <= ?", (limit,), frozenset("s")) for name, limit in self.maximum.items()]
        for option, text, sign, end in (("--since", self.since, ">=", 0), ("--until", self.until, "<=", 1)):
            if text is not None:
                made.append(Sql(f"c.taken_at {sign} ?", (_period(option, text)[end],), frozenset("c")))
        for name, part in (("camera", self.camera), ("lens", self.lens)):
            if part is not None:
                made.append(contains(Sql(f"c.{name}", (), frozenset("c")), part))
        if self.where is not None:
            made.append(compile_where(self.where))
        return tuple(made)


def _column(name: str) -> str:
    return "s.score" if name == "overall" else f"s.{name}"


def _period(option: str, text: str) -> tuple[str, str]:
    try:
        return period(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def select(cache: Cache, scorer: int, selection: Selection, limit: int | None = None) -> Iterator[Hit]:
    """The photos of a selection in order, without those whose files are gone; at most `limit`.

    The rows come from the cache while they are asked for: memory does not grow with the selection.

    Raises:
        CacheError: the cache cannot be read.
    """
    _begin(cache, selection.paths)
    with cache.guard():
        prepare(cache.conn)
        plans = _Plans(cache.conn, scorer, selection)
        if limit is None:
            yield from plans.everything()
        else:
            yield from plans.best(limit)


def among(
    cache: Cache, scorer: int, selection: Selection, values: Iterable[tuple[int, float]], limit: int | None
) -> list[Hit]:
    """The photos of a selection that have one of some contents, with the values given, highest first.

    Args:
        values: (content id, value).
        limit: how many at most; None: all.

    Raises:
        CacheError: the cache cannot be read.
    """
    _begin(cache, selection.paths)
    with cache.guard():
        prepare(cache.conn)
        plans = _Plans(cache.conn, scorer, replace(selection, worst_first=False))
        return plans.among(values, -1 if limit is None else limit)


def few_files(cache: Cache, paths: Sequence[Path]) -> bool:
    """Whether so few files lie below these paths that it is quickest to look at each."""
    _begin(cache, paths)
    with cache.guard():
        return fewer_files_than(cache.conn, FEW_FILES)


def ranges(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Half-open ranges of escaped paths, sorted and apart: each path itself and all that is below it."""
    found: list[tuple[str, str]] = []
    for path in paths:
        name = escape(absolute(path))
        found += [(name, name + "\x01"), bounds(name)]  # no name goes on with a byte below 1
    apart: list[tuple[str, str]] = []
    for low, high in sorted(found):
        if not apart or low >= apart[-1][1]:
            apart.append((low, high))
        elif high > apart[-1][1]:
            apart[-1] = (apart[-1][0], high)
    return apart


def _begin(cache: Cache, paths: Sequence[Path]) -> None:
    """Write the asked-for ranges to a temporary table: a shell's `*` may name more than SQL text can hold."""
    with cache.guard():
        conn = cache.conn
        conn.execute("CREATE TEMP TABLE IF NOT EXISTS asked(low TEXT PRIMARY KEY, high TEXT) WITHOUT ROWID")
        conn.execute("BEGIN")
        conn.execute("DELETE FROM temp.asked")
        conn.executemany("INSERT INTO temp.asked VALUES (?, ?)", ranges(paths))
        conn.execute("COMMIT")


_ALWAYS = Sql("1")


class _Plans:
    """The ways to answer one selection; all of them give the same rows in the same order."""

    def __init__(self, conn: sqlite3.Connection, scorer: int, selection: Selection) -> None:
        self.conn = conn
        self.scorer = scorer
        self.selection = selection
        self.value = selection.value
        self.direction = "ASC" if selection.worst_first else "DESC"
        conditions = [
            *selection.conditions,
            Sql("f.missing_at IS NULL", (), frozenset("f")),
            Sql(f"{self.value.text} IS NOT NULL", self.value.parameters, frozenset("s")),
        ]
        if selection.exclude:
            excluded = excluder(selection.paths, selection.exclude)
            conn.create_function("excluded", 1, excluded, deterministic=True)
            conditions.append(Sql("NOT excluded(f.path)", (), frozenset("f")))
        self.conditions = _all(conditions)
        on_scores = [c for c in conditions if c.tables == frozenset("s")]
        self.on_scores = _all(on_scores)
        self.asks_scores = len(on_scores) > 1  # more than that there is a value
        self.asks_contents = any("c" in c.tables for c in conditions)

    def best(self, limit: int) -> Iterator[Hit]:
        """The first `limit` photos."""
        if fewer_files_than(self.conn, FEW_FILES):
            return self._from_files(limit)
        first = max(FIRST, 8 * limit)
        looks: list[tuple[int, str, Sql]] = []
        if self.selection.has_index:
            looks += [(look_at, _BY_SCORE, Sql("s.score IS NOT NULL")) for look_at in (first, 16 * first)]
        if self.asks_scores or not self.selection.has_index:
            looks.append((16 * first, _AS_THEY_LIE, self.on_scores))
        for look_at, scores, conditions in looks:
            hits = self._from_scores(look_at, scores, conditions, limit)
            if hits is not None:
                return iter(hits)
        few = fewer_files_than(self.conn, MANY_FILES)
        return self._from_files(limit) if few else self._from_contents(limit)

    def everything(self) -> Iterator[Hit]:
        """All photos; without conditions the index has them in order, so the first one comes at once."""
        if fewer_files_than(self.conn, FEW_FILES):
            return self._from_files(-1)
        along = self.selection.has_index and not self.asks_scores and not self.asks_contents
        return self._along_index() if along else self._from_contents(-1)

    def _from_scores(self, look_at: int, scores: str, conditions: Sql, limit: int) -> list[Hit] | None:
        """The answer, if it lies within the `look_at` best scores that meet `conditions`; None if it may not."""
        conn, value = self.conn, self.value
        conn.execute("CREATE TEMP TABLE IF NOT EXISTS best(content_id INTEGER PRIMARY KEY, value REAL)")
        conn.execute("BEGIN")
        conn.execute("DELETE FROM temp.best")
        conn.execute(
            f"INSERT INTO temp.best SELECT s.content_id, {value.text} AS value FROM {scores}"
            f"WHERE s.scorer_id = ? AND {conditions.text} ORDER BY value {self.direction} LIMIT ?",
            (*value.parameters, self.scorer, *conditions.parameters, look_at),
        )
        conn.execute("COMMIT")
        count, low, high = conn.execute("SELECT count(*), min(value), max(value) FROM temp.best").fetchone()
        whole = count < look_at
        # the last value may go on beyond what was looked at, and equal values are ordered by path
        sign, edge = ("<", high) if self.selection.worst_first else (">", low)
        within = _ALWAYS if whole else Sql(f"b.value {sign} ?", (edge,))
        hits = self._of_best(limit, within)
        return hits if whole or len(hits) == limit else None

    def among(self, values: Iterable[tuple[int, float]], limit: int) -> list[Hit]:
        """The first `limit` photos that have one of some contents, by the values given."""
        self.conn.execute("CREATE TEMP TABLE IF NOT EXISTS best(content_id INTEGER PRIMARY KEY, value REAL)")
        self.conn.execute("BEGIN")
        self.conn.execute("DELETE FROM temp.best")
        self.conn.executemany("INSERT OR IGNORE INTO temp.best VALUES (?, ?)", values)
        self.conn.execute("COMMIT")
        return self._of_best(limit)

    def _of_best(self, limit: int, within: Sql = _ALWAYS) -> list[Hit]:
        tables = (
            "temp.best b CROSS JOIN scores s ON s.scorer_id = ? AND s.content_id = b.content_id "
            f"{self._contents('s.content_id')}"
            "CROSS JOIN files f INDEXED BY files_content ON f.content_id = b.content_id"
        )
        return list(self._run(tables, limit, within, _BELOW, value="b.value"))

    def _from_files(self, limit: int) -> Iterator[Hit]:
        tables = (
            "temp.asked a CROSS JOIN files f ON f.path >= a.low AND f.path < a.high "
            f"{self._contents('f.content_id')}"
            "CROSS JOIN scores s ON s.scorer_id = ? AND s.content_id = f.content_id"
        )
        return self._run(tables, limit)

    def _from_contents(self, limit: int) -> Iterator[Hit]:
        tables = _AS_THEY_LIE
        joined = Sql("s.scorer_id = ?", (self.scorer,))
        if self.asks_contents:
            tables = "contents c CROSS JOIN scores s ON s.content_id = c.id "
        tables += "CROSS JOIN files f INDEXED BY files_content ON f.content_id = s.content_id"
        return self._run(tables, limit, joined, _BELOW)

    def _along_index(self) -> Iterator[Hit]:
        tables = (
            f"{_BY_SCORE}{self._contents('s.content_id')}"
            "CROSS JOIN files f INDEXED BY files_content ON f.content_id = s.content_id"
        )
        return self._run(tables, -1, Sql("s.scorer_id = ?", (self.scorer,)), _BELOW)

    def _contents(self, key: str) -> str:
        return f"CROSS JOIN contents c ON c.id = {key} " if self.asks_contents else ""

    def _run(self, tables: str, limit: int, *more: Sql, value: str = "") -> Iterator[Hit]:
        """The query over `tables`, in the selection's order; a `?` in `tables` is the scorer."""
        shown = Sql(value) if value else self.value
        where = _all([*more, self.conditions])
        text = (
            f"SELECT f.path, s.content_id, {shown.text} AS value FROM {tables} "
            f"WHERE {where.text} ORDER BY value {self.direction}, f.path LIMIT ?"
        )
        scorer = (self.scorer,) * tables.count("?")
        rows = self.conn.execute(text, (*shown.parameters, *scorer, *where.parameters, limit))
        return (Hit(*row) for row in rows)


def fewer_files_than(conn: sqlite3.Connection, count: int) -> bool:
    """Whether there are fewer files (scored or not) than this below the asked-for paths."""
    text = (
        "SELECT count(*) FROM (SELECT 1 FROM temp.asked a "
        "CROSS JOIN files f ON f.path >= a.low AND f.path < a.high LIMIT ?)"
    )
    return bool(conn.execute(text, (count,)).fetchone()[0] < count)


def _all(conditions: Iterable[Sql]) -> Sql:
    kept = list(conditions)
    parameters = tuple(p for c in kept for p in c.parameters)
    return Sql(" AND ".join(f"({c.text})" for c in kept) or "1", parameters)


def excluder(paths: Sequence[Path], patterns: Sequence[str]) -> Callable[[str], bool]:
    """A function of an escaped path: does the scan's --exclude leave it, or a folder of it, out?"""
    from cgiaa_cli.library.walk import _excluder  # one implementation: scan and rank must agree

    matches = _excluder(patterns)
    roots = sorted({str(absolute(path)) for path in paths}, key=len)
    if matches is None:
        return lambda name: False

    def excluded(name: str) -> bool:
        path = str(unescape(name))
        # of nested roots the outermost is the one that the scan walks
        root = next((r for r in roots if path == r or path.startswith(r.rstrip(os.sep) + os.sep)), None)
        if root is None or path == root:
            base = os.path.basename(path)
            return matches(base, base, path)
        parts = path[len(root) :].strip(os.sep).split(os.sep)
        return any(
            matches(parts[i], "/".join(parts[: i + 1]), os.path.join(root, *parts[: i + 1])) for i in range(len(parts))
        )

    return excluded


def records(cache: Cache, scorer: int, hits: Iterable[Hit]) -> Iterator[dict[str, Any]]:
    """All that the cache has of each hit, as `cache.rows.row_json` reads it, with `rank` and `value`.

    Raises:
        CacheError: the cache cannot be read.
    """
    remaining = iter(hits)
    rank = 0
    while chunk := list(islice(remaining, CHUNK)):
        found = _read(cache, scorer, [hit.path for hit in chunk])
        for hit in chunk:
            rank += 1
            # another process may have forgotten a photo since it was selected
            if record := found.get(hit.path):
                yield record | {"rank": rank, "value": hit.value}


def failures(cache: Cache, scorer: int, selection: Selection) -> list[dict[str, Any]]:
    """The photos below the selection's paths that could not be scored, by path, as `row_json` reads them.

    Raises:
        CacheError: the cache cannot be read.
    """
    _begin(cache, selection.paths)
    with cache.guard():
        # failed photos have no content, which an index finds without reading the other million
        text = (
            "SELECT f.path FROM files f INDEXED BY files_content WHERE f.content_id IS NULL "
            f"AND f.error_kind IS NOT NULL AND f.missing_at IS NULL AND {_BELOW.text} ORDER BY f.path"
        )
        paths = [row[0] for row in cache.conn.execute(text)]
    if selection.exclude:
        excluded = excluder(selection.paths, selection.exclude)
        paths = [path for path in paths if not excluded(path)]
    rows: list[dict[str, Any]] = []
    for start in range(0, len(paths), CHUNK):
        rows += _read(cache, scorer, paths[start : start + CHUNK]).values()
    return sorted(rows, key=lambda row: str(row["path"]))


def unknown(cache: Cache, paths: Sequence[Path]) -> list[Path]:
    """Those of the paths that the cache knows no file of, in the order given."""
    query = "SELECT 1 FROM files WHERE path >= ? AND path < ? LIMIT 1"
    with cache.guard():
        return [
            path for path in paths if not any(cache.conn.execute(query, span).fetchone() for span in ranges([path]))
        ]


def unscored(cache: Cache, scorer: int, selection: Selection) -> int:
    """How many photos below the selection's paths the cache has contents of, but no scores of this scorer.

    Raises:
        CacheError: the cache cannot be read.
    """
    _begin(cache, selection.paths)
    excluded = excluder(selection.paths, selection.exclude) if selection.exclude else None
    with cache.guard():
        # two counts along an index tell at once that every content has scores, which is the rule
        counts = cache.conn.execute(
            "SELECT (SELECT count(*) FROM contents), (SELECT count(*) FROM scores WHERE scorer_id = ?)", (scorer,)
        ).fetchone()
        if counts[0] == counts[1]:
            return 0
        rows = cache.conn.execute(
            "SELECT f.path FROM files f WHERE f.content_id IS NOT NULL AND f.missing_at IS NULL AND NOT EXISTS "
            "(SELECT 1 FROM scores s WHERE s.scorer_id = ? AND s.content_id = f.content_id) "
            f"AND {_BELOW.text}",
            (scorer,),
        )
        return sum(1 for (path,) in rows if excluded is None or not excluded(path))


def _read(cache: Cache, scorer: int, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    with cache.guard():
        cursor = cache.conn.execute(_RECORDS.format(marks=",".join("?" * len(paths))), (scorer, *paths))
        names = [column[0] for column in cursor.description]
        return {row[0]: dict(zip(names, row, strict=True)) for row in cursor}


def is_scored(cache: Cache, scorer: int) -> bool:
    """Whether the cache has any scores of this scorer."""
    with cache.guard():
        row = cache.conn.execute("SELECT 1 FROM scores WHERE scorer_id = ? LIMIT 1", (scorer,)).fetchone()
    return row is not None
