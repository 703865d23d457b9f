"""What the page is told: of each photo what the cache knows, the groups, the top picks, the weak attributes.

A row is a content: of a photo that lies at several paths there is one, under the path that most likely is the
original's. Places (GPS) are left out: a gallery is made to be shown to others.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cgiaa_cli.cache.rows import row_json
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation import select as selecting
from cgiaa_cli.curation.groups import by_eyes, culled, find_groups
from cgiaa_cli.curation.groups_kept import remember
from cgiaa_cli.curation.groups_photos import Photos, read_photos
from cgiaa_cli.curation.groups_reasons import group_rows
from cgiaa_cli.curation.select import Hit
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import printable, unescape
from cgiaa_cli.report.weakest import focal_range, standing, weakest, weakest_of

__all__ = ["Library", "common_root", "critique_of", "photo_rows", "read_library", "short"]

_SHOWN = ("score", "spread", "technical", "complexity", "focal_length", "aperture", "shutter", "iso", "width", "height")
_SAID = ("score", "percentile", "library_percentile", "text", "source")

Note = Callable[[str, str], None]


@dataclass
class Library:
    """All of the page but its pictures and critiques.

    Attributes:
        rows: of the photos, in the order of the selection.
        paths, keys: of each row its escaped path and the hash of its content.
        best: rows without those that give way to the keeper of their group.
        groups: each `id`, `kind`, `protected`, `keep_all` and `members` (`photo`: a row's number, `path`, `reason`,
            `kept`), the keeper first.
        root: the folder that all photos lie in, with a separator at its end; the rows' own paths start below it.
        weak: see `weakest_of`.
    """

    rows: list[dict[str, Any]]
    paths: list[str]
    keys: list[str]
    best: list[int]
    groups: list[dict[str, Any]]
    root: str
    weak: dict[str, list[dict[str, Any]]]


def read_library(cache: Cache, scorer: int, hits: Sequence[Hit], folder: Path, note: Note) -> Library:
    """Read the photos of a selection and group them.

    Args:
        folder: where the page will lie: links to the photos start there.
        note: told (escaped path, error) of a photo that cannot be opened for its group's reason.

    Raises:
        CacheError: the cache cannot be read or written.
    """
    photos = read_photos(cache, scorer, hits)
    found = by_eyes(cache, photos, find_groups(photos), note)
    # so that `cgiaa groups --keep-all ID` knows the groups that the page shows
    remember(cache, [(group.id, [int(photos.ids[i]) for i in group.members]) for group in found])
    left_out = set(culled(photos, found))
    root = common_root([path for paths in photos.paths for path in paths])
    number = {path: i for i, paths in enumerate(photos.paths) for path in paths}
    scores = photos.scores[:, 1 : 1 + len(ATTRIBUTES)]
    stands = standing(scores)
    rows = _rows(cache, scorer, photos, root, folder)
    for row, name in zip(rows, weakest(stands), strict=True):
        row["weakest"] = name
    groups: list[dict[str, Any]] = []
    for group in group_rows(photos, found, note):
        members = [
            {"photo": number[m["path"]], "path": printable(m["path"].removeprefix(root)), "kept": m["kept"]}
            | {"reason": printable(m["reason"].replace(root, "") if root else m["reason"])}
            for m in group["members"]
        ]
        for member in members:
            rows[member["photo"]]["group"] = len(groups)
        groups.append({key: group[key] for key in ("id", "kind", "protected", "keep_all")} | {"members": members})
    best = [i for i, paths in enumerate(photos.paths) if paths[0] not in left_out]
    for i in best:
        rows[i]["best"] = True
    keys = {name: [row[name] for row in rows] for name in ("lens", "focal")}
    keys["month"] = [row["taken_at"] and row["taken_at"][:7] for row in rows]
    weak = weakest_of(keys, scores, stands)
    return Library(rows, [p[0] for p in photos.paths], photos.keys, best, groups, root, weak)


def _rows(cache: Cache, scorer: int, photos: Photos, root: str, folder: Path) -> list[dict[str, Any]]:
    first = [
        Hit(paths[0], int(content), float(value))
        for paths, content, value in zip(photos.paths, photos.ids, photos.values, strict=True)
    ]
    rows = photo_rows(cache, scorer, first, [paths[1:] for paths in photos.paths], root)
    for row, hit in zip(rows, first, strict=True):
        row["link"] = _link(hit.path, folder)
    return rows


def photo_rows(
    cache: Cache, scorer: int, hits: Sequence[Hit], copies: Sequence[Sequence[str]], root: str
) -> list[dict[str, Any]]:
    """What a page is told of photos: names, scores, EXIF.

    Args:
        copies: of each photo the other paths that it lies at.
        root: left out of the paths.
    """
    records = {record["path"]: record for record in selecting.records(cache, scorer, hits)}
    rows = []
    for hit, others in zip(hits, copies, strict=True):
        # another process may have forgotten a photo since it was selected
        known = row_json(records.get(hit.path) or {"path": hit.path})
        row: dict[str, Any] = {name: short(known[name]) for name in _SHOWN}
        row |= {name: short((known["attributes"] or {}).get(name)) for name in ATTRIBUTES}
        row |= {name: known[name] for name in ("taken_at", "camera", "lens", "format")}
        # a name may hold signs that turn the writing round (U+202E): printable shows them instead
        row |= {"path": printable(hit.path.removeprefix(root)), "name": printable(os.path.basename(hit.path))}
        row |= {"value": short(hit.value), "copies": [printable(copy.removeprefix(root)) for copy in others]}
        row["focal"] = focal_range(row["focal_length"])
        rows.append(row)
    return rows


def short(value: float | None) -> float | None:
    """Five digits are more than anybody reads; JSON has no infinity."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.5g}")


def common_root(paths: Sequence[str]) -> str:
    """The folder that all photos lie in, with a separator at its end; empty where there is none."""
    try:
        return os.path.join(os.path.commonpath([os.path.dirname(path) for path in paths]), "")
    except ValueError:  # several drives
        return ""


def _link(path: str, folder: Path) -> str:
    """The photo's address as seen from the page: it holds while both lie on one stick."""
    real = unescape(path)
    try:
        near = os.path.relpath(real, folder)
    except ValueError:  # on another drive
        return real.as_uri()
    return quote(os.fsencode(near.replace(os.sep, "/")))


def critique_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `critique_rows` without what the page does not show."""
    attributes = {}
    for name, found in row["attributes"].items():
        evidence = dict(found["evidence"])
        said = {key: found[key] for key in _SAID} | {"region": evidence.pop("region", None)}
        said["evidence"] = {key.replace("_", " "): str(value) for key, value in evidence.items()}
        attributes[name] = said | {"advice": [advice["text"] for advice in found["advice"]]}
    return {"kinds": list(row["kinds"]), "notice": row["notice"], "attributes": attributes}
