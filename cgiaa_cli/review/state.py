"""What the page asks for and does, without HTTP: decisions with their history, pairs, groups, critiques."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.critique.session import Session, critique_rows, overlay
from cgiaa_cli.errors import PhotoError, UsageError
from cgiaa_cli.report.library import critique_of
from cgiaa_cli.review import decisions
from cgiaa_cli.review.gallery import Gallery, View
from cgiaa_cli.review.grouping import Grouping
from cgiaa_cli.review.pairs import Asked, next_pair
from cgiaa_cli.review.pictures import QUALITY, jpeg

__all__ = ["ANSWERS", "SHOWS", "Review"]

ANSWERS = ("left", "right", "skip")
CHUNK = 500  # paths that are looked up at a time
SHOWS = ("all", "undecided", "picks", "rejects")
"""Which photos to show."""


@dataclass
class Review:
    """One review; all its methods may be called from any thread.

    Attributes:
        cache: the page's own connection.
        session: makes critiques, with a connection of its own.
        title: of the page.
        failed: escaped paths of files that could not be read, with the error.
    """

    cache: Cache
    gallery: Gallery
    grouping: Grouping
    session: Session
    title: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()  # around the cache and the history
        self._critiques = threading.Lock()  # around the session, which may take seconds
        self._history: list[Callable[[], dict[str, Any]]] = []

    def state(self) -> dict[str, Any]:
        """What is decided, whoever did it: picks and rejects as numbers, how many choices, how many steps to undo;
        and the photos of which a critique is kept.
        """
        with self._lock:
            found = self._verdicts()
            made = decisions.choices(self.cache)
            steps = len(self._history)
            critiqued = self.gallery.critiqued()
        return {
            "picks": sorted(i for i, verdict in found.items() if verdict == decisions.PICK),
            "rejects": sorted(i for i, verdict in found.items() if verdict == decisions.REJECT),
            "choices": sum(better is not None for better in made.values()),
            "steps": steps,
            "critiqued": sorted(critiqued),
        }

    def counts(self) -> Counter[str]:
        """How many picks, rejects and choices there are."""
        state = self.state()
        return Counter(picks=len(state["picks"]), rejects=len(state["rejects"]), choices=state["choices"])

    def _verdicts(self) -> dict[int, str | None]:
        numbers = self.gallery.numbers
        return {numbers[c]: v for c, v in decisions.verdicts(self.cache).items() if c in numbers}

    def decided(self) -> list[tuple[str | None, list[str]]]:
        """Each verdict, None where one was taken back, with the escaped paths of a photo and its companions."""
        with self._lock:
            found = self._verdicts()
            paths = {path: verdict for i, verdict in found.items() for path in self.gallery.paths[i]}
            names, files = sorted(paths), []
            for start in range(0, len(names), CHUNK):
                records = self.cache.records(self.gallery.scorer, names[start : start + CHUNK])
                files += [(paths[name], [name, *json.loads(records[name]["companions"] or "[]")]) for name in records]
        return files

    def show(self, view: View, show: str, *, one: bool) -> list[int]:
        """The numbers of a view's photos.

        Args:
            show: one of `SHOWS`.
            one: without those that give way to the keeper of their group.
        """
        with self._lock:
            among = set(range(len(self.gallery)))
            if one:
                among -= self._giving_way()
            if show != "all":
                found = self._verdicts()
                wanted = {"undecided": None, "picks": decisions.PICK, "rejects": decisions.REJECT}[show]
                among = {i for i in among if found.get(i) == wanted}
            return self.gallery.show(replace(view, among=frozenset(among)))

    def kinds(self) -> dict[str, Any]:
        """What the photos can be filtered by."""
        with self._lock:
            return self.gallery.kinds()

    def scores(self) -> dict[str, Any]:
        """Of each score that of each photo."""
        with self._lock:
            return self.gallery.scores()

    def weak(self) -> dict[str, Any]:
        """The tables of weak attributes."""
        with self._lock:
            return self.gallery.weak()

    def _giving_way(self) -> set[int]:
        members = [member for row in self.grouping.rows for member in row["members"]]
        return {m["photo"] for m in members} - {m["photo"] for m in members if m["kept"]}

    def rows(self, numbers: list[int]) -> list[dict[str, Any]]:
        """What is shown of some photos, with the group that each is in."""
        with self._lock:
            rows = self.gallery.rows(numbers)
        for row in rows:
            at = self.grouping.family.get(row["number"])
            row["group"] = at
        return rows

    def decide(self, wanted: Mapping[int, str | None]) -> dict[str, Any]:
        """Give photos these verdicts, as one step to undo; those that are not known are a UsageError."""
        if not wanted or any(not self._is_photo(i) for i in wanted):
            raise UsageError("there is no such photo")
        if any(verdict not in (*decisions.VERDICTS, None) for verdict in wanted.values()):
            raise UsageError("a verdict is pick, reject or null")
        with self._lock:
            before = decisions.decide(self.cache, {self.gallery.ids[i]: verdict for i, verdict in wanted.items()})
            if before:
                self._history.append(lambda: self._take_back(before))
            return self.state()

    def _take_back(self, before: Mapping[int, str | None]) -> dict[str, Any]:
        decisions.decide(self.cache, before)
        return {"photos": [self.gallery.numbers[content] for content in before]}

    def _is_photo(self, number: object) -> bool:
        return isinstance(number, int) and 0 <= number < len(self.gallery)

    def undo(self) -> dict[str, Any]:
        """Take the last step back; `undone` says what it was about, null where there is none."""
        with self._lock:
            undone = self._history[-1]() if self._history else None
            if undone:
                self._history.pop()  # only now: a cache that is locked must not cost the step
            return self.state() | {"undone": undone}

    def pair(self) -> dict[str, Any]:
        """Two photos to choose between; `pair` is null where none is left."""
        with self._lock:
            numbers = self.gallery.numbers
            rejected = {i for i, verdict in self._verdicts().items() if verdict == decisions.REJECT}
            made = [p for p in decisions.choices(self.cache) if p[0] in numbers and p[1] in numbers]
            asked = {tuple(sorted((numbers[one], numbers[other]))) for one, other in made}
            known = Asked(
                values=self.gallery.values,
                groups=self.grouping.shots(),
                family=self.grouping.family if self.grouping.done.is_set() else {},
                out=rejected,
                asked={(one, other) for one, other in asked},
            )
            found = next_pair(known, self.chance)
            rows = self.rows(list(found[0])) if found else []
        return {"pair": rows or None, "group": bool(found and found[1]), "asked": len(made)}

    def choose(self, left: int, right: int, answer: str) -> dict[str, Any]:
        """Note which of two photos is better."""
        if not (self._is_photo(left) and self._is_photo(right)) or left == right:
            raise UsageError("there is no such pair")
        if answer not in ANSWERS:
            raise UsageError("an answer is left, right or skip")
        ids = self.gallery.ids
        pair = (min(ids[left], ids[right]), max(ids[left], ids[right]))
        better = {"left": ids[left], "right": ids[right], "skip": None}[answer]
        with self._lock:
            made = decisions.choices(self.cache)
            known, before = pair in made, made.get(pair)
            decisions.choose(self.cache, pair, better)

            def take_back() -> dict[str, Any]:
                decisions.choose(self.cache, pair, before, forget=not known)
                return {"pair": [left, right]}

            self._history.append(take_back)
            return self.state()

    def groups(self, start: int, count: int, kind: str) -> dict[str, Any]:
        """Some groups, or that they are not found yet."""
        if not self.grouping.done.is_set():
            return {"ready": False}
        with self._lock:
            rows = [{"at": at, **row} for at, row in enumerate(self.grouping.rows) if not kind or row["kind"] == kind]
            kinds = Counter(row["kind"] for row in self.grouping.rows)
        shown = rows[start : start + count]
        return {
            "ready": True,
            "error": self.grouping.error,
            "total": len(rows),
            "kinds": dict(kinds),
            "groups": shown,
        }

    def keep(self, at: int, keep: bool) -> dict[str, Any]:
        """Decide that all of a group is wanted, or take that back; returns the group."""
        if not self.grouping.done.is_set() or not 0 <= at < len(self.grouping.rows):
            raise UsageError("there is no such group")
        with self._lock:
            before = self.grouping.keep(self.cache, at, keep=keep)

            def take_back() -> dict[str, Any]:
                self.grouping.keep(self.cache, at, keep=before)
                return {"group": at}

            if before != keep:
                self._history.append(take_back)
            return self.state() | {"group": {"at": at, **self.grouping.rows[at]}}

    def critique(self, number: int) -> dict[str, Any]:
        """What is said of a photo, kept or made now.

        Raises:
            PhotoError: it cannot be read.
        """
        row, _ = self._critique(number)
        return critique_of(row)

    def evidence(self, number: int) -> bytes:
        """A JPEG of a photo with the evidence of its critique drawn on it.

        Raises:
            PhotoError: it cannot be read.
        """
        row, load = self._critique(number)
        try:
            return jpeg(overlay(row, load()), QUALITY["view"])
        except OSError as error:
            raise PhotoError("unreadable", error.strerror or str(error)) from error

    def _critique(self, number: int) -> tuple[dict[str, Any], Callable[[], Any]]:
        failed: dict[str, str] = {}
        with self._critiques:
            for row, load in critique_rows(self.session, [self.gallery.paths[number][0]], failed.__setitem__):
                return row, load
        raise PhotoError("unreadable", next(iter(failed.values()), "the cache has no scores of it any more"))
