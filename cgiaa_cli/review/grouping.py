"""The groups of the page: found beside it, because a hundred thousand photos take half a minute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation.groups import Group, by_eyes, find_groups
from cgiaa_cli.curation.groups_kept import decide, remember
from cgiaa_cli.curation.groups_photos import Photos, fill_looks, read_photos
from cgiaa_cli.curation.groups_reasons import group_rows
from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.review.gallery import Gallery

__all__ = ["Grouping"]

SHOTS = ("burst", "near_duplicate")
"""Kinds of which one frame may be better than another."""

Note = Callable[[str, str], None]


class Grouping:
    """The groups of a gallery, once they are found.

    Attributes:
        rows: of each group `id`, `kind`, `protected`, `keep_all` and `members` (`photo`: a number, `path`, `reason`,
            `score`, `kept`), the keeper first, as `report` has them.
        family: of a photo the group that it is in.
        error: why they could not be found.
    """

    def __init__(self, gallery: Gallery, db: Path, note: Note, *, look: bool) -> None:
        self.gallery = gallery
        self.rows: list[dict[str, Any]] = []
        self.family: dict[int, int] = {}
        self.error: str | None = None
        self.done = threading.Event()
        self._db, self._note, self._look = db, note, look
        self._found: list[Group] = []
        self._photos: Photos | None = None
        self._thread = threading.Thread(target=self._run, name="cgiaa-groups", daemon=True)

    def start(self) -> None:
        """Begin to find them."""
        self._thread.start()

    def _run(self) -> None:
        try:
            with Cache.open(self._db) as cache:  # one of its own: the page's is busy with the page
                self._find(cache)
        except CgiaaError as error:
            self.error = str(error)
        except Exception as error:  # our own mistake: it costs the groups, not the page
            self.error = f"internal error: {type(error).__name__}: {error}"
        finally:
            self.done.set()

    def _find(self, cache: Cache) -> None:
        hits = self.gallery.hits()
        if self._look:
            fill_looks(cache, hits, self._note)
        photos = read_photos(cache, self.gallery.scorer, hits)
        found = by_eyes(cache, photos, find_groups(photos), self._note)
        # so that `cgiaa groups --keep-all ID` knows the groups that the page shows
        remember(cache, [(group.id, [int(photos.ids[i]) for i in group.members]) for group in found])
        photos.vectors, photos.thumbs = photos.vectors[:0], photos.thumbs[:0]  # the largest part, needed no more
        self._photos, self._found = photos, found
        self._contents = {path: int(photos.ids[i]) for i, paths in enumerate(photos.paths) for path in paths}
        self.rows = [self._row(row) for row in group_rows(photos, found, self._note)]
        self.family = {member["photo"]: at for at, row in enumerate(self.rows) for member in row["members"]}

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        """A group as the page knows it."""
        root = self.gallery.root
        members = [
            member
            | {"photo": self.gallery.numbers[self._contents[member["path"]]]}
            | {"path": member["path"].removeprefix(root)}
            | {"reason": member["reason"].replace(root, "") if root else member["reason"]}
            for member in row["members"]
        ]
        return {key: row[key] for key in ("id", "kind", "protected", "keep_all")} | {"members": members}

    def shots(self) -> list[list[int]]:
        """The photos of each group whose frames may be compared, by their numbers."""
        rows = self.rows if self.done.is_set() else []
        return [list({m["photo"]: None for m in row["members"]}) for row in rows if row["kind"] in SHOTS]

    def keep(self, cache: Cache, at: int, *, keep: bool) -> bool:
        """Decide to keep a whole group, or take that back; whether it was so before.

        Raises:
            CacheError: the cache cannot be written.
        """
        assert self._photos is not None
        group, before = self._found[at], bool(self.rows[at]["keep_all"])
        decide(cache, [int(self._photos.ids[i]) for i in group.members], keep=keep)
        self._photos.kept[list(group.members)] = keep
        self.rows[at] = self._row(next(group_rows(self._photos, [group], self._note)))
        return before
