"""Whose eyes are closed in which photo of a group: looked at once, and kept in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation.groups_photos import Photos, open_photo
from cgiaa_cli.imaging import faces
from cgiaa_cli.inference import usable_cpus

if TYPE_CHECKING:
    from cgiaa_cli.curation.groups import Group

__all__ = ["MEASURED_PHOTOS", "Note", "fill_eyes", "measurable"]

MEASURED_GROUP = 8
"""Photos of the largest group that is measured for its keeper and reasons."""

MEASURED_PHOTOS = 100
"""Photos that are measured without being asked; each takes about 0.2 s, and 0.1 s once to look at eyes."""

Note = Callable[[str, str], None]


def measurable(groups: Sequence[Group]) -> list[int]:
    """The contents that would be measured: of small groups in which the better shot is kept."""
    return [i for group in groups if _small(group) for i in group.members]


def _small(group: Group) -> bool:
    return group.kind in ("burst", "near_duplicate") and len(group.members) <= MEASURED_GROUP


def fill_eyes(
    cache: Cache, photos: Photos, groups: Sequence[Group], note: Note, *, measure: bool | None = None
) -> None:
    """Look at the eyes in small groups with a photo that was not looked at yet, and keep what is seen.

    Nothing is done without the extra 'faces', or where the cache may not be written.

    Args:
        photos: their `eyes` are added to.
        note: told (escaped path, error) of a photo that cannot be opened; the others of its group are looked at.
        measure: whether to open photos; None: where those are `MEASURED_PHOTOS` at most.

    Raises:
        CacheError: the cache cannot be written.
    """
    if measure is False or cache.read_only:
        return
    # of copies one is looked at: the others are the same picture
    pictures = [sorted(set(group.same)) for group in groups if _small(group)]
    todo = [part for part in pictures if any(i not in photos.eyes for i in part)]
    if not todo or (measure is None and sum(map(len, todo)) > MEASURED_PHOTOS) or not faces.available():
        return
    with ThreadPoolExecutor(usable_cpus(), thread_name_prefix="cgiaa-faces") as pool:
        found = pool.map(lambda i: _faces(photos.paths[i][0], note), (i for part in todo for i in part))
        for part in todo:
            there = [(i, seen) for i in part if (seen := next(found)) is not None]
            closed = faces.closed_eyes([seen for _, seen in there])
            photos.eyes.update((i, eyes) for (i, _), eyes in zip(there, closed, strict=True))
    rows = [(int(photos.ids[i]), photos.eyes[i]) for part in todo for i in part if i in photos.eyes]
    with cache.transaction() as conn:
        # another process may have pruned a photo meanwhile
        conn.executemany(
            "INSERT OR REPLACE INTO eyes SELECT id, ?, ? FROM contents WHERE id = ?",
            ((eyes.faces, eyes.closed, content) for content, eyes in rows),
        )


def _faces(path: str, note: Note) -> list[faces.Face] | None:
    photo = open_photo(path)
    if isinstance(photo, str):
        note(path, photo)
        return None
    return faces.find_faces(photo.luma)
