"""What a human decided on the page, in the cache: a verdict on a photo, and which of two photos is better.

A decision hangs on the content, so whatever happens to the file's name, it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cgiaa_cli.cache.store import Cache, now

__all__ = ["PICK", "REJECT", "VERDICTS", "Pair", "better_of", "choices", "choose", "decide", "paths_of", "verdicts"]

PICK, REJECT = "pick", "reject"
VERDICTS = (PICK, REJECT)
Pair = tuple[int, int]
"""Two contents, the lower id first."""


def verdicts(cache: Cache) -> dict[int, str | None]:
    """By content; None where a verdict was taken back.

    Raises:
        CacheError: the cache cannot be read.
    """
    with cache.guard():
        return dict(cache.conn.execute("SELECT content_id, verdict FROM decisions").fetchall())


def decide(cache: Cache, wanted: Mapping[int, str | None]) -> dict[int, str | None]:
    """Give contents these verdicts, all or none; None takes one back.

    Returns:
        Of those that changed, what stood there before.

    Raises:
        CacheError: the cache cannot be written.
    """
    with cache.transaction() as conn:
        before: dict[int, str | None] = {}
        for content, verdict in wanted.items():
            row = conn.execute("SELECT verdict FROM decisions WHERE content_id = ?", (content,)).fetchone()
            old = row[0] if row else None
            if old != verdict:
                before[content] = old
                conn.execute("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?)", (content, verdict, now()))
    return before


def choices(cache: Cache) -> dict[Pair, int | None]:
    """The better content of each pair that was asked about; None: skipped.

    Raises:
        CacheError: the cache cannot be read.
    """
    with cache.guard():
        rows = cache.conn.execute("SELECT one, other, better FROM choices ORDER BY decided_at, one, other")
        return {(one, other): better for one, other, better in rows}


def choose(cache: Cache, pair: Pair, better: int | None, *, forget: bool = False) -> None:
    """Note which of a pair is better, None: neither; or forget that it was asked about.

    Raises:
        CacheError: the cache cannot be written.
    """
    with cache.transaction() as conn:
        if forget:
            conn.execute("DELETE FROM choices WHERE one = ? AND other = ?", pair)
        else:
            conn.execute("INSERT OR REPLACE INTO choices VALUES (?, ?, ?, ?)", (*pair, better, now()))


def better_of(made: Mapping[Pair, int | None]) -> Sequence[Pair]:
    """(better, worse) of each pair of which one is better."""
    return [(better, other if better == one else one) for (one, other), better in made.items() if better is not None]


def paths_of(cache: Cache, contents: Iterable[int]) -> dict[int, list[str]]:
    """Where each content lies, escaped; without those that are nowhere any more.

    Raises:
        CacheError: the cache cannot be read.
    """
    found: dict[int, list[str]] = {}
    text = "SELECT path FROM files WHERE content_id = ? AND missing_at IS NULL ORDER BY path"
    with cache.guard():
        for content in contents:
            if paths := [row[0] for row in cache.conn.execute(text, (content,))]:
                found[content] = paths
    return found
