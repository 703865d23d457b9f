"""Critiques in the cache, so that the same photo with the same settings is not judged twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from cgiaa_cli.cache.store import Cache, now
from cgiaa_cli.critique.critic import Settings

__all__ = ["VERSION", "key_of", "library_percentiles", "read", "write"]

VERSION = 6
"""Raised whenever measurements, wordings or checks change what is said of a photo."""

LEAST_LIBRARY = 50
"""Scored photos from which on a percentile among the user's own means something."""


def key_of(settings: Settings) -> str:
    """Eight hex digits of what, besides the bundle, decides a critique."""
    text = json.dumps([VERSION, asdict(settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def read(cache: Cache, scorer: int, hash_: str, settings: Settings) -> dict[str, Any] | None:
    """The row that `write` kept for a content; None where there is none."""
    query = (
        "SELECT body FROM critiques k JOIN contents c ON c.id = k.content_id "
        "WHERE k.scorer_id = ? AND c.hash = ? AND k.settings = ?"
    )
    with cache.guard():
        found = cache.conn.execute(query, (scorer, hash_, key_of(settings))).fetchone()
    return json.loads(found[0]) if found else None


def write(cache: Cache, scorer: int, hash_: str, settings: Settings, row: dict[str, Any]) -> None:
    """Keep a critique; an older one of the same settings gives way."""
    with cache.transaction() as conn:
        conn.execute(
            "INSERT OR REPLACE INTO critiques(scorer_id, content_id, settings, made_at, body) "
            "SELECT ?, id, ?, ?, ? FROM contents WHERE hash = ?",
            (scorer, key_of(settings), now(), json.dumps(row, ensure_ascii=False), hash_),
        )


def library_percentiles(cache: Cache, scorer: int, values: dict[str, float]) -> dict[str, float] | None:
    """Where values stand among all photos that the cache has scores of, 0..100; None where those are too few.

    Args:
        values: by name of a column of `scores`.
    """
    with cache.guard():
        count = cache.conn.execute("SELECT count(*) FROM scores WHERE scorer_id = ?", (scorer,)).fetchone()[0]
        if count < LEAST_LIBRARY:
            return None
        sums = ", ".join(f"sum({name} < ?)" for name in values)  # the names are ours, not the user's
        below = cache.conn.execute(
            f"SELECT {sums} FROM scores WHERE scorer_id = ?", (*values.values(), scorer)
        ).fetchone()
    return {name: round(100 * n / count, 1) for name, n in zip(values, below, strict=True)}
