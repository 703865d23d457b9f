"""Groups as they were listed last, and the decisions to keep all of one: what a later command can refer to.

A decision hangs on the contents and not on the group: a frame that joins the group later was not decided on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cgiaa_cli.cache.store import Cache, now
from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import absolute, escape

__all__ = ["decide", "members_of", "remember"]

CHUNK = 500


def remember(cache: Cache, groups: Iterable[tuple[str, Sequence[int]]]) -> None:
    """Note which contents were listed as which group; older groups that lose a member to one are forgotten.

    Args:
        groups: of each its id and the ids of its contents.

    Raises:
        CacheError: the cache cannot be written.
    """
    with cache.transaction() as conn:
        for group_id, contents in groups:
            for start in range(0, len(contents), CHUNK):
                part = contents[start : start + CHUNK]
                marks = ",".join("?" * len(part))
                conn.execute(
                    "DELETE FROM listed_groups WHERE group_id <> ? AND group_id IN "
                    f"(SELECT group_id FROM listed_groups WHERE content_id IN ({marks}))",
                    (group_id, *part),
                )
            rows = ((content, group_id) for content in contents)
            conn.executemany("INSERT OR REPLACE INTO listed_groups VALUES (?, ?)", rows)


def members_of(cache: Cache, name: str) -> tuple[str, list[int]]:
    """The group that a user means by its id or by the path of one of its photos, and its contents.

    Raises:
        UsageError: no group of that id, or with that photo, was listed.
        CacheError: the cache cannot be read.
    """
    by_id = "SELECT group_id FROM listed_groups WHERE group_id = ? LIMIT 1"
    by_path = "SELECT g.group_id FROM files f JOIN listed_groups g ON g.content_id = f.content_id WHERE f.path = ?"
    with cache.guard():
        found = cache.conn.execute(by_id, (escape(name),)).fetchone()
        found = found or cache.conn.execute(by_path, (escape(absolute(name)),)).fetchone()
        if found is None:
            raise UsageError(
                "is no group that was listed, and no photo of one",
                path=escape(name),
                mend="list the groups first: cgiaa groups FOLDER",
            )
        rows = cache.conn.execute("SELECT content_id FROM listed_groups WHERE group_id = ? ORDER BY content_id", found)
        return str(found[0]), [row[0] for row in rows]


def decide(cache: Cache, contents: Sequence[int], *, keep: bool) -> None:
    """Keep all these contents from now on, whatever else is in their group; or take that back.

    Raises:
        CacheError: the cache cannot be written.
    """
    with cache.transaction() as conn:
        if keep:
            rows = ((content, now()) for content in contents)
            conn.executemany("INSERT OR REPLACE INTO keep_all VALUES (?, ?)", rows)
        else:
            conn.executemany("DELETE FROM keep_all WHERE content_id = ?", ((content,) for content in contents))
