"""Printing a selection: a table, JSON, JSON lines, CSV or paths, row by row as it comes from the cache."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any

from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import escape, printable, unescape

__all__ = ["CSV_COLUMNS", "EXTRA", "Format", "Row", "write_rows"]

Row = dict[str, Any]  # `cache.rows.row_json`, with `rank` and `value` in front where the photo has scores


class Format(StrEnum):
    """How to print the photos."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    paths = "paths"


_EXIF = "taken_at camera lens focal_length aperture shutter iso latitude longitude width height format bytes"
CSV_COLUMNS = (
    *("rank", "value", "path", "score", "spread", *ATTRIBUTES, "technical", "complexity"),
    *_EXIF.split(),
    "companions",
)


@dataclass(frozen=True)
class _Column:
    """One column of numbers; `key` is what --by calls it."""

    key: str
    title: str
    width: int
    show: Callable[[Row], str]


def _attribute(key: str, title: str) -> _Column:
    return _Column(key, title, len(title), lambda row: _number((row["attributes"] or {}).get(key)))


_RANK = _Column("rank", "rank", 4, lambda row: str(row["rank"]))
_VALUE = _Column("value", "value", 5, lambda row: _number(row["value"]))
_TABLE = (
    _Column("score", "score", 5, lambda row: _number(row["score"])),
    _Column("spread", "±", 4, lambda row: _number(row["spread"])),
    *(map(_attribute, ATTRIBUTES, ("color", "comp.", "depth", "general"))),
    _Column("technical", "tech.", 5, lambda row: _number(row["technical"])),
)
EXTRA = ("similarity", "taste")  # what the cache does not keep, and rows have where they are ordered by it
PATH_ROOM = 24  # a terminal with less room for the path than this gets it on a line of its own


def write_rows(
    rows: Iterable[Row],
    failed: Iterable[Row],
    format: Format,
    *,
    null: bool = False,
    ranked_by: str = "score",
    after_row: Callable[[Row], None] | None = None,
) -> int:
    """Print rows on stdout.

    Args:
        rows: in order; taken one by one, so a million of them need no memory.
        failed: photos without scores; they follow the others in JSON and JSON lines and are nowhere else.
        null: end each path with NUL instead of a newline (for `xargs -0`).
        ranked_by: `score`, an attribute, `technical`, one of `EXTRA`, or `value` where several are weighted; that
            column of the table comes first.
        after_row: called after each row of a table, for what is to stand below it.

    Returns:
        How many of `rows` there were.
    """
    counted = _Counted(rows)
    if format is Format.table:
        _write_table(counted, sys.stdout, ranked_by, after_row)
    elif format is Format.json:
        _write_json(counted, failed, sys.stdout)
    elif format is Format.jsonl:
        for row in _chain(counted, failed):
            sys.stdout.write(_json(row) + "\n")
    elif format is Format.csv:
        _write_csv(counted, sys.stdout, ranked_by)
    else:
        _write_paths(counted, null)
    return counted.count


class _Counted:
    """An iterable that knows how many items it has given."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self.rows:
            self.count += 1
            yield row


def _chain(rows: Iterable[Row], failed: Iterable[Row]) -> Iterator[Row]:
    yield from rows
    yield from failed


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _write_table(rows: Iterable[Row], stream: IO[str], ranked_by: str, after_row: Callable[[Row], None] | None) -> None:
    # what it is ordered by comes first; nothing is cut, because a cut path cannot be copied
    value = _Column(ranked_by, ranked_by, len(ranked_by), _VALUE.show) if ranked_by in EXTRA else _VALUE
    columns = [_RANK, *sorted((value, *_TABLE), key=lambda column: column.key != ranked_by)]
    if ranked_by not in ("value", *EXTRA):
        columns.remove(_VALUE)
    header = "  ".join(column.title.rjust(column.width) for column in columns)
    narrow = stream.isatty() and shutil.get_terminal_size().columns < len(header) + 20 + PATH_ROOM
    here = _folder_prefix()
    for number, row in enumerate(rows):
        if not number:
            stream.write(_bold(header if narrow else f"{header}  {'taken':16}  path", stream) + "\n")
        cells = "  ".join(column.show(row).rjust(column.width) for column in columns)
        taken = printable((row["taken_at"] or "").replace("T", " ")[:16])
        path = printable(row["path"].removeprefix(here))
        raws = f"  +{len(row['companions'])}" if row["companions"] else ""
        rest = f"  {taken or '-':16}  {path}{raws}"
        if narrow:
            rest = "\n      " + (f"{taken}  " if taken else "") + path + raws
        stream.write(cells + rest + "\n")
        if after_row:
            stream.flush()
            after_row(row)


def _folder_prefix() -> str:
    """What paths below the current folder begin with: the table leaves it out."""
    here = os.getcwd()
    return "" if os.path.dirname(here) == here else escape(here + os.sep)


def _bold(text: str, stream: IO[str]) -> str:
    return f"\x1b[1m{text}\x1b[0m" if has_colour(stream) else text


def has_colour(stream: IO[str]) -> bool:
    """Whether a stream is a terminal on which colour is wanted (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _json(row: Row) -> str:
    # JSON is UTF-8; where stdout is something else, escapes keep it valid
    utf8 = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    return json.dumps(row, ensure_ascii=not utf8)


def _write_json(rows: Iterable[Row], failed: Iterable[Row], stream: IO[str]) -> None:
    before = "[\n"
    for row in _chain(rows, failed):
        stream.write(f"{before}  {_json(row)}")
        before = ",\n"
    stream.write("[]\n" if before == "[\n" else "\n]\n")


def _write_csv(rows: Iterable[Row], stream: IO[str], ranked_by: str) -> None:
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")

    def write(cells: Iterable[object]) -> None:
        writer.writerow(cells)
        stream.write(line.getvalue())
        line.seek(0)
        line.truncate()

    columns = (*CSV_COLUMNS, ranked_by) if ranked_by in EXTRA else CSV_COLUMNS
    write(columns)
    for row in rows:
        flat = row | (row["attributes"] or {}) | {"companions": json.dumps(row["companions"])}
        write(flat.get(name) for name in columns)


def _write_paths(rows: Iterable[Row], null: bool) -> None:
    """The real names, byte for byte, except on a terminal, which could take them for commands."""
    stream = sys.stdout
    if stream.isatty() and not null:
        for row in rows:
            stream.write(printable(row["path"]) + "\n")
        return
    stream.flush()
    end = b"\0" if null else b"\n"
    for row in rows:
        stream.buffer.write(os.fsencode(unescape(row["path"])) + end)
