"""Picks and rejects into sidecars: what would be written, and, where the command line allows it, writing it."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from cgiaa_cli.annotate.annotator import Outcome
from cgiaa_cli.annotate.verdict import Verdicts
from cgiaa_cli.paths import escape, unescape
from cgiaa_cli.review.state import Review

__all__ = ["Sidecars"]

SHOWN = 500  # files that are named; all are counted


class Sidecars:
    """Of one review.

    Attributes:
        write: whether it may.
    """

    def __init__(self, review: Review, *, write: bool) -> None:
        self.write = write
        self._review = review
        self._busy = threading.Lock()

    def plan(self) -> dict[str, Any]:
        """What would be done: `counts` by action, and the first `files`."""
        return self._run(write=False)

    def do(self) -> dict[str, Any]:
        """Do it."""
        assert self.write
        return self._run(write=True)

    def _run(self, *, write: bool) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        shown: list[dict[str, Any]] = []
        verdicts = Verdicts(write=write)
        with self._busy:  # of two pages that write, the second one finds it done
            for verdict, files in self._review.decided():
                for outcome in verdicts.decide([unescape(path) for path in files], verdict):
                    counts[outcome.action] += 1
                    if outcome.action != "same" or outcome.kept:
                        shown.append(self._row(outcome, verdict))
        # what went wrong, then what somebody else's word keeps from being written
        shown.sort(key=lambda row: (row["error"] is None, not row["kept"]))
        return {"counts": dict(counts), "files": shown[:SHOWN], "more": len(shown[SHOWN:]), "written": write}

    def _row(self, outcome: Outcome, verdict: str | None) -> dict[str, Any]:
        root = self._review.gallery.root
        return {
            "target": escape(outcome.target).removeprefix(root),
            "verdict": verdict,
            "action": outcome.action,
            "kept": "; ".join(f"{one.field} {one.value} ({one.reason})" for one in outcome.kept),
            "error": outcome.error,
        }
