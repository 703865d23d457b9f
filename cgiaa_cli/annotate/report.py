"""Printing what is or would be written: a table, JSON or JSON lines, and the counts."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import TracebackType
from typing import Any

from cgiaa_cli.annotate.annotator import Outcome
from cgiaa_cli.curation.output import _folder_prefix, _json
from cgiaa_cli.paths import escape, printable

__all__ = ["Format", "Report"]

_DONE = {
    "create": "created",
    "update": "updated",
    "remove": "cleaned of what cgiaa wrote",
    "delete": "deleted",
}


class Format(StrEnum):
    """How to print."""

    table = "table"
    json = "json"
    jsonl = "jsonl"


class Report:
    """Prints outcomes as they come, and counts them.

    Attributes:
        photos: how many there were.
        failed: photos and files that failed.
    """

    def __init__(self, format: Format, *, write: bool, undo: bool) -> None:
        self.format = format
        self.write = write
        self.undo = undo
        self.photos = 0
        self.failed = 0
        self.counts: Counter[str] = Counter()
        self._score: float | None = None
        self._path = ""
        self._rows = 0
        self._here = _folder_prefix()

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.format is Format.json:
            sys.stdout.write("[]\n" if not self._rows else "\n]\n")
        if kind is None:
            sys.stdout.flush()

    def photo(self, path: str, score: float | None) -> None:
        """The next outcomes are about this photo."""
        self.photos += 1
        self._path, self._score = path, score

    def failed_photo(self, row: Mapping[str, Any]) -> None:
        """A photo without scores: in JSON a row like `rank`'s."""
        self.failed += 1
        if self.format is not Format.table:
            self._print_json({"path": row["path"], "error": row["error"], "error_kind": row["error_kind"]})

    def add(self, outcome: Outcome) -> None:
        """Print what became of one file."""
        self.counts[outcome.action] += 1
        self.failed += outcome.action == "failed"
        if self.format is Format.table:
            self._print_line(outcome)
            return
        target = escape(outcome.target)
        self._print_json(
            {
                "path": self._path,
                "target": target,
                "embedded": outcome.target == outcome.photo or not target.lower().endswith(".xmp"),
                "action": outcome.action,
                "written": self.write and outcome.action in _DONE,
                "score": self._score,
                "changes": {c.field: {"before": c.before, "after": c.after} for c in outcome.changes},
                "kept": {k.field: {"value": k.value, "reason": k.reason} for k in outcome.kept},
                **({"error": outcome.error} if outcome.error else {}),
            }
        )

    def say_counts(self, say: Callable[[str], None]) -> None:
        """Say how many files there were of each kind."""
        would = "" if self.write else "would be "
        parts = [f"{self.counts[action]} {would}{done}" for action, done in _DONE.items() if self.counts[action]]
        if self.counts["same"]:
            parts.append(f"{self.counts['same']} as they should be")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.counts["inside"]:
            some = "1 photo has" if self.counts["inside"] == 1 else f"{self.counts['inside']} photos have"
            say(f"{some} annotations inside; add --embed to take them out")
        line = ", ".join(parts) or ("there is nothing of annotate's here" if self.undo else "no files")
        changes = any(self.counts[action] for action in _DONE)
        say(line + ("; nothing was written: add --write to do it" if changes and not self.write else ""))

    def _print_json(self, row: dict[str, Any]) -> None:
        if self.format is Format.jsonl:
            sys.stdout.write(_json(row) + "\n")
        else:
            sys.stdout.write(("[\n  " if not self._rows else ",\n  ") + _json(row))
        self._rows += 1

    def _print_line(self, outcome: Outcome) -> None:
        if not self._rows:
            sys.stdout.write("action  score  file\n")
        self._rows += 1
        score = "-" if self._score is None else f"{self._score:.2f}"
        name = printable(escape(outcome.target).removeprefix(self._here))
        notes = [_change(c.field, c.before, c.after) for c in outcome.changes if c.field in _SHOWN]
        more = sum(c.field not in _SHOWN for c in outcome.changes)
        notes += [f"{more} scores"] if more else []
        notes += [_kept(k.field, k.value, k.reason) for k in outcome.kept]
        tail = f"  {'; '.join(notes)}" if notes else ""
        sys.stdout.write(f"{outcome.action:6}  {score:>5}  {name}{printable(tail)}\n")


_SHOWN = ("rating", "pick", "label", "description", "keywords", "subjects")
_SHORT = ("rating", "pick", "label")


def _change(field: str, before: str | None, after: str | None) -> str:
    if field not in _SHORT:
        return field
    return f"{field} {before or 'none'} -> {after or 'none'}"


def _kept(field: str, value: str | None, reason: str) -> str:
    return f"kept {field} {value} ({reason})" if field in _SHORT and value else f"kept {field} ({reason})"
