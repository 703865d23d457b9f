"""Looking after the cache: what is in it, dropping what is gone, making it small, exporting it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cgiaa_cli.cache.rows import row_json
from cgiaa_cli.cache.schema import version_of
from cgiaa_cli.cache.store import RECORD_COLUMNS, Cache, gone
from cgiaa_cli.cache.vectors import drop_matrices
from cgiaa_cli.errors import CacheError, CgiaaError, ExtraMissingError, UsageError
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import escape

__all__ = ["Pruned", "export_jsonl", "export_parquet", "export_rows", "info", "prune", "vacuum"]

CHUNK = 1000


def info(cache: Cache) -> dict[str, Any]:
    """What is in the cache.

    Returns:
        path, bytes (with its -wal file), schema, files, contents, failed (by kind), missing, roots, and
        scorers: each with bundle, version, preprocess, scores, embeddings.
    """
    files = [cache.path, cache.path.with_name(cache.path.name + "-wal")]
    with cache.guard():
        count = {name: cache.db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("files", "contents")}
        failed = cache.db.execute(
            "SELECT error_kind, count(*) FROM files "
            "WHERE error_kind IS NOT NULL AND missing_at IS NULL GROUP BY error_kind"
        )
        missing = cache.db.execute("SELECT count(*) FROM files WHERE missing_at IS NOT NULL")
        scorers = cache.db.query(
            "SELECT bundle, version, preprocess, "
            "(SELECT count(*) FROM scores WHERE scorer_id = id) AS scores, "
            "(SELECT count(*) FROM embeddings WHERE scorer_id = id) AS embeddings FROM scorers ORDER BY id"
        )
        return {
            "path": escape(cache.path.absolute()),
            "bytes": sum(file.stat().st_size for file in files if file.exists()),
            "schema": version_of(cache.conn),
            **count,
            "failed": dict(failed.fetchall()),
            "missing": missing.fetchone()[0],
            "roots": [row[0] for row in cache.conn.execute("SELECT path FROM roots ORDER BY path")],
            "scorers": list(scorers),
        }


@dataclass(frozen=True)
class Pruned:
    """How many rows `prune` removed, or would remove."""

    files: int
    contents: int
    scores: int
    embeddings: int
    critiques: int
    looks: int
    eyes: int
    listed_groups: int
    keep_all: int
    decisions: int
    choices: int


_UNUSED = "SELECT id FROM contents WHERE NOT EXISTS (SELECT 1 FROM files WHERE content_id = contents.id)"
# children first: the foreign keys hold after every statement
_PRUNE = (
    ("files", "DELETE FROM files WHERE path IN (SELECT path FROM temp.gone)"),
    ("critiques", f"DELETE FROM critiques WHERE content_id IN ({_UNUSED})"),
    ("embeddings", f"DELETE FROM embeddings WHERE content_id IN ({_UNUSED})"),
    ("scores", f"DELETE FROM scores WHERE content_id IN ({_UNUSED})"),
    ("looks", f"DELETE FROM looks WHERE content_id IN ({_UNUSED})"),
    ("eyes", f"DELETE FROM eyes WHERE content_id IN ({_UNUSED})"),
    ("listed_groups", f"DELETE FROM listed_groups WHERE content_id IN ({_UNUSED})"),
    ("keep_all", f"DELETE FROM keep_all WHERE content_id IN ({_UNUSED})"),
    ("decisions", f"DELETE FROM decisions WHERE content_id IN ({_UNUSED})"),
    ("choices", f"DELETE FROM choices WHERE one IN ({_UNUSED}) OR other IN ({_UNUSED})"),
    ("contents", f"DELETE FROM contents WHERE id IN ({_UNUSED})"),
)


class _DryRun(Exception):
    pass


def prune(cache: Cache, *, missing_roots: bool = False, dry_run: bool = False) -> Pruned:
    """Remove the files that are gone from the disk, and the contents and scores that no file has any more.

    Args:
        missing_roots: also where not one photo of a scanned folder is there.
        dry_run: count only.

    Raises:
        CacheError: every photo of a scanned folder is gone, as if its disk was unmounted; nothing is removed.
    """
    groups = _find_gone(cache)
    lost = sorted(root for root, (there, absent) in groups.items() if absent and not there)
    if lost and not missing_roots:
        more = f" (and {len(lost) - 1} other folders)" if len(lost) > 1 else ""
        raise CacheError(
            f"not one of its {groups[lost[0]][1]} photos is there{more}; nothing was removed",
            path=lost[0],
            mend="mount the disk, or drop such folders with --missing-roots",
        )
    counts = {}
    try:
        with cache.transaction() as conn:
            for table, statement in _PRUNE:
                counts[table] = conn.execute(statement).rowcount
            if dry_run:
                raise _DryRun  # which rolls back
            roots = [row[0] for row in conn.execute("SELECT path FROM roots")]
            conn.executemany("DELETE FROM roots WHERE path = ?", ((r,) for r in roots if gone(r)))
        drop_matrices(cache)
    except _DryRun:
        pass
    return Pruned(**counts)


def _find_gone(cache: Cache) -> dict[str, list[int]]:
    """Fill the temporary table `gone`; count by scanned folder how many photos are there and how many not."""
    with cache.guard():
        roots = {row[0] for row in cache.conn.execute("SELECT path FROM roots")}
        cache.conn.execute("CREATE TEMP TABLE IF NOT EXISTS gone(path TEXT PRIMARY KEY)")
        cache.conn.execute("DELETE FROM temp.gone")
    groups: dict[str, list[int]] = {}
    last = ""
    while True:
        with cache.guard():
            query = "SELECT path FROM files WHERE path > ? ORDER BY path LIMIT ?"
            paths = [row[0] for row in cache.conn.execute(query, (last, CHUNK))]
            if not paths:
                return groups
        lost = {path for path in paths if gone(path)}
        with cache.guard():
            cache.conn.executemany("INSERT INTO temp.gone VALUES (?)", ((path,) for path in lost))
        for path in paths:
            for group in _groups(path, roots):
                groups.setdefault(group, [0, 0])[path in lost] += 1
        last = paths[-1]


def _groups(path: str, roots: set[str]) -> list[str]:
    """The scanned folders with `path` in them; of a photo scanned by itself, its own folder."""
    folder = os.path.dirname(path)
    groups = []
    while True:
        if folder in roots:
            groups.append(folder)
        parent = os.path.dirname(folder)
        if parent == folder:
            return groups or [os.path.dirname(path)]
        folder = parent


def vacuum(cache: Cache) -> tuple[int, int]:
    """Give the space of removed rows back to the disk.

    Returns:
        Bytes before and after.

    Raises:
        CacheError: no space for the copy that SQLite makes, or another program uses the cache.
    """
    with cache.guard():
        cache.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = cache.path.stat().st_size
        cache.db.vacuum()
        cache.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before, cache.path.stat().st_size


def export_rows(cache: Cache, *, bundle: str | None = None, embeddings: bool = True) -> Iterator[dict[str, Any]]:
    """Every photo that is there and scored, once for each scorer, ordered by scorer and path.

    Args:
        bundle: only scores of the bundle of this name.
        embeddings: False: leave the vectors out.

    Yields:
        `rows.row_json` plus bundle, version, preprocess, hash, distribution (10 numbers) and embedding (D
        numbers).
    """
    import numpy as np

    query = f"""
        SELECT {RECORD_COLUMNS}, r.bundle, r.version, r.preprocess
        FROM scorers r JOIN scores s ON s.scorer_id = r.id JOIN files f ON f.content_id = s.content_id
        JOIN contents c ON c.id = s.content_id
        LEFT JOIN embeddings e ON e.scorer_id = s.scorer_id AND e.content_id = s.content_id
        WHERE f.missing_at IS NULL AND f.error_kind IS NULL AND (? IS NULL OR r.bundle = ?)
        ORDER BY r.id, f.path"""
    with cache.guard():
        cursor = cache.conn.execute(query, (bundle, bundle))
        names = [column[0] for column in cursor.description]
    while True:
        with cache.guard():
            chunk = cursor.fetchmany(CHUNK)
        if not chunk:
            return
        for values in chunk:
            record = dict(zip(names, values, strict=True))
            row = row_json(record)
            row |= {key: record[key] for key in ("bundle", "version", "preprocess", "hash")}
            row["distribution"] = json.loads(record["distribution"])
            if embeddings:
                vector = record["vector"]
                row["embedding"] = None if vector is None else np.frombuffer(vector, "<f2").tolist()
            yield row


def export_jsonl(rows: Iterable[dict[str, Any]], target: Path, *, force: bool = False) -> int:
    """Write `export_rows` as lines of JSON.

    Returns:
        How many rows.

    Raises:
        UsageError: `target` is there already and `force` is not given.
        CgiaaError: it cannot be written.
    """
    count = 0
    with _appearing(target, force) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count


def export_parquet(rows: Iterable[dict[str, Any]], target: Path, *, force: bool = False) -> int:
    """Write `export_rows` as a Parquet file, attributes as columns of their own, embeddings as float32 lists.

    Returns:
        How many rows.

    Raises:
        ExtraMissingError: pyarrow is not installed.
        UsageError: `target` is there already and `force` is not given.
        CgiaaError: it cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ExtraMissingError("parquet", "Parquet output") from None
    text = ("path", "bundle", "version", "preprocess", "hash", "taken_at", "camera", "lens", "format")
    numbers = ("score", "spread", "technical", "complexity", *ATTRIBUTES)
    exif = ("focal_length", "aperture", "shutter", "latitude", "longitude")
    schema = pa.schema(
        [(name, pa.string()) for name in text]
        + [(name, pa.float64()) for name in (*numbers, *exif)]
        + [(name, pa.int64()) for name in ("iso", "width", "height", "bytes")]
        + [("companions", pa.list_(pa.string())), ("distribution", pa.list_(pa.float64()))]
        + [("embedding", pa.list_(pa.float32()))]
    )
    count = 0
    with _appearing(target, force) as file, pq.ParquetWriter(file, schema) as writer:
        for chunk in _chunked(rows):
            flat = [row | (row["attributes"] or {}) for row in chunk]
            writer.write_table(pa.Table.from_pylist(flat, schema=schema))
            count += len(chunk)
    return count


def _chunked(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@contextmanager
def _appearing(target: Path, force: bool) -> Iterator[IO[bytes]]:
    """A file that is written under another name, and is there only once it is whole."""
    if target.is_dir():
        raise UsageError("this is a folder", path=escape(target), mend="give the name of a file")
    if target.exists() and not force:
        raise UsageError("is there already", path=escape(target), mend="give another name or --force")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, target)
    except OSError as error:
        raise CgiaaError(
            error.strerror or "cannot be written", path=escape(target), mend="write it somewhere else"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
