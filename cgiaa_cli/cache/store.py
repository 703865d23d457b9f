"""The cache: one SQLite file in which paths point at contents, and scores hang on contents.

`docs/design.md` has the schema. Because a path only points at the hash of its bytes, a photo that was moved,
renamed or copied costs no second inference, and a changed one is a new content. Every sqlite3 or disk error
leaves this module as one `CacheError` that names the file, the cause and the mend.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cgiaa_cli.cache.connection import BUSY_SECONDS, connect, is_writable, open_to_read, use_wal
from cgiaa_cli.cache.schema import migrate
from cgiaa_cli.config import read_config
from cgiaa_cli.errors import CacheError
from cgiaa_cli.inference.scores import ATTRIBUTES, Scores
from cgiaa_cli.paths import escape, unescape

if TYPE_CHECKING:
    import sqlite_utils

    from cgiaa_cli.imaging.look import Look

__all__ = ["Cache", "Content", "FileEntry", "default_path", "gone", "guard", "scores_of"]

MISSING_CHUNK = 1000

_KNOWN = """
SELECT f.path, f.rowid, f.size, f.mtime_ns, f.companions, f.error_kind, f.error, f.missing_at, s.content_id
FROM files f LEFT JOIN scores s ON s.scorer_id = ? AND s.content_id = f.content_id
WHERE f.path IN ({marks})"""

RECORD_COLUMNS = """
f.path, f.companions, f.error_kind, f.error, f.size, c.hash, c.format, c.width, c.height, c.taken_at,
c.camera, c.lens, c.focal_length, c.aperture, c.shutter, c.iso, c.latitude, c.longitude,
coalesce(c.bytes, f.size) AS bytes, s.score, s.spread, s.color_light, s.composition, s.depth_focus, s.general,
s.technical, s.complexity, s.distribution, e.vector"""

_RECORDS = f"""
SELECT {RECORD_COLUMNS}
FROM files f LEFT JOIN contents c ON c.id = f.content_id
LEFT JOIN scores s ON s.scorer_id = ? AND s.content_id = f.content_id
LEFT JOIN embeddings e ON e.scorer_id = s.scorer_id AND e.content_id = s.content_id
WHERE f.path IN ({{marks}})"""

_CONTENT = """
INSERT INTO contents(hash, bytes, format, width, height, taken_at, camera, lens, focal_length, aperture,
                     shutter, iso, latitude, longitude) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT(hash) DO UPDATE SET
    format = excluded.format, width = excluded.width, height = excluded.height, taken_at = excluded.taken_at,
    camera = excluded.camera, lens = excluded.lens, focal_length = excluded.focal_length,
    aperture = excluded.aperture, shutter = excluded.shutter, iso = excluded.iso,
    latitude = excluded.latitude, longitude = excluded.longitude"""

_FILE = """
INSERT INTO files(path, content_id, size, mtime_ns, companions, error_kind, error, seen_at, missing_at)
VALUES (?, (SELECT id FROM contents WHERE hash = ?), ?, ?, ?, ?, ?, ?, NULL)
ON CONFLICT(path) DO UPDATE SET
    content_id = excluded.content_id, size = excluded.size, mtime_ns = excluded.mtime_ns,
    companions = excluded.companions, error_kind = excluded.error_kind, error = excluded.error,
    seen_at = excluded.seen_at, missing_at = NULL"""


_LOOK = "INSERT OR REPLACE INTO looks(content_id, hash, detail, thumb) SELECT id, ?, ?, ? FROM contents WHERE hash = ?"


@dataclass(frozen=True)
class Content:
    """What the bytes of a photo say, in the order of the columns of `contents`."""

    hash: str
    bytes: int
    format: str
    width: int
    height: int
    taken_at: str | None = None
    camera: str | None = None
    lens: str | None = None
    focal_length: float | None = None
    aperture: float | None = None
    shutter: float | None = None
    iso: int | None = None
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True)
class FileEntry:
    """One photo file as it was found.

    Attributes:
        path: escaped and absolute.
        companions: escaped paths.
        hash: of the content it has; None where it failed.
        error_kind, error: why it failed; None where it did not.
    """

    path: str
    size: int
    mtime_ns: int
    companions: tuple[str, ...] = ()
    hash: str | None = None
    error_kind: str | None = None
    error: str | None = None


def default_path() -> Path:
    """Where the cache is without --db: CGIAA_DB, the config file, or the platform's cache folder."""
    named = os.environ.get("CGIAA_DB") or read_config().db
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("cgiaa", appauthor=False) / "cgiaa.sqlite"


@contextlib.contextmanager
def guard(path: str) -> Iterator[None]:
    """Turn what sqlite3 and the disk raise inside the block into one `CacheError` about `path`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(str(error), path, damaged=not isinstance(error, _SOUND)) from error
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise  # the reader of our stdout went away: nothing about the cache
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise _explained("disk is full" if full else error.strerror or str(error), path) from error


_SOUND = (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.IntegrityError)
_MENDS = (
    ("full", "the disk is full", "free some space and run the same command again"),
    (
        "locked",
        f"another program kept it locked for {BUSY_SECONDS:.0f} s",
        "wait for it to end, or choose another --db",
    ),
    ("readonly", "it or its folder is read-only", "make both writable or choose another --db"),
    (
        "unable to open",
        "it cannot be opened",
        "make it and its folder readable and writable, or choose another --db",
    ),
    ("File exists", "a file is in the place of its folder", "choose another --db"),
    ("malformed", "it is damaged", "move the file away; the next scan makes a new one"),
    ("not a database", "it is not a cache, or it is damaged", "move the file away or choose another --db"),
)


def _explained(message: str, path: str, damaged: bool = False) -> CacheError:
    for key, cause, mend in _MENDS:
        if key in message:
            return CacheError(cause, path=path, mend=mend)
    if damaged:
        return CacheError(message, path=path, mend="move the file away; the next scan makes a new one")
    return CacheError(message, path=path, mend="make it readable and writable, or choose another --db")


def gone(path: str) -> bool:
    """Whether the file of an escaped path is certainly not there.

    A file that we may not look at, or on a device that answers with an error, is not gone.
    """
    try:
        os.lstat(unescape(path))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def now() -> str:
    """The time that the cache writes down: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def scores_of(record: dict[str, Any]) -> Scores | None:
    """The scores in a record of `Cache.records`; None where the photo has none."""
    import numpy as np

    if record["score"] is None:
        return None
    return Scores(
        score=record["score"],
        spread=record["spread"],
        distribution=tuple(json.loads(record["distribution"])),
        attributes={name: record[name] for name in ATTRIBUTES},
        technical=record["technical"],
        complexity=record["complexity"],
        embedding=np.frombuffer(record["vector"] or b"", "<f2").astype(np.float16),
    )


class Cache:
    """An open cache. Use it in one thread; `reader` gives another connection for another one.

    Attributes:
        path: of the file.
        conn: the sqlite3 connection, in autocommit mode; write inside `transaction()`.
        read_only: writing to it is a CacheError.
    """

    def __init__(self, path: Path, conn: sqlite3.Connection, read_only: bool = False) -> None:
        self.path = path
        self.conn = conn
        self.read_only = read_only

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None = None, *, create: bool = True) -> Cache:
        """Open the cache, make it where there is none, and bring its schema up to date.

        Args:
            path: of the file; None: `default_path()`.
            create: False: a cache that is not there is an error, and one that may not be written is opened to read.

        Raises:
            CacheError: it is corrupt, locked, read-only, a folder, of a newer schema or of another program.
        """
        where = Path(path) if path is not None else default_path()
        name = escape(where)
        with guard(name):
            if where.is_dir():
                raise CacheError("this is a folder", path=name, mend="give --db the name of a file")
            if not create and not where.exists():
                raise CacheError("there is no cache yet", path=name, mend="make it with: cgiaa scan FOLDER")
            if not create and not is_writable(where):
                return cls(where, open_to_read(where, name), read_only=True)
            where.parent.mkdir(parents=True, exist_ok=True)
            conn = connect(where)
            try:
                migrate(conn, name)
                use_wal(conn)
                conn.execute("CREATE TEMP TABLE seen(id INTEGER PRIMARY KEY)")
            except BaseException:
                conn.close()
                raise
        return cls(where, conn)

    @cached_property
    def db(self) -> sqlite_utils.Database:
        """The same connection as a sqlite-utils database, for queries."""
        import sqlite_utils

        return sqlite_utils.Database(self.conn)

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the cache cannot be used afterwards."""
        self.conn.close()

    def guard(self) -> contextlib.AbstractContextManager[None]:
        """`guard` for this cache's file."""
        return guard(escape(self.path))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block or none of it.

        IMMEDIATE takes the write lock at the start, where SQLite waits for other writers; a lock asked for in
        the middle of a transaction fails at once instead.

        Raises:
            CacheError: the write failed, or another program kept the cache locked.
        """
        with self._block("BEGIN IMMEDIATE"):
            yield self.conn

    @contextlib.contextmanager
    def _block(self, begin: str) -> Iterator[None]:
        with self.guard():
            self._undo()  # Ctrl-C may come between any two lines, also those that end a transaction
            try:
                self.conn.execute(begin)
                yield
                self.conn.execute("COMMIT")
            except BaseException:
                self._undo()
                raise

    def _undo(self) -> None:
        if self.conn.in_transaction:  # a full disk ends it by itself
            self.conn.execute("ROLLBACK")

    def scorer_id(self, bundle_name: str, version: str, preprocess_hash: str) -> int:
        """The id under which the scores of this bundle with this preprocessing stand; made where new.

        A cache that cannot be written gives one without scores where it has none.
        """
        key = (bundle_name, version, preprocess_hash)
        select = "SELECT id FROM scorers WHERE bundle = ? AND version = ? AND preprocess = ?"
        with self.guard():
            found = self.conn.execute(select, key).fetchone()
        if found is None and self.read_only:
            return 0  # SQLite counts from 1
        if found is None:
            with self.transaction() as conn:
                conn.execute("INSERT OR IGNORE INTO scorers(bundle, version, preprocess) VALUES (?, ?, ?)", key)
                found = conn.execute(select, key).fetchone()
        return int(found[0])

    def known(self, scorer: int, paths: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """What the cache has of at most about 500 escaped paths, by path.

        Returns:
            (path, rowid, size, mtime_ns, companions, error_kind, error, missing_at, content_id); the last
            is None where the content has no scores of `scorer`.
        """
        with self.guard():
            rows = self.conn.execute(_KNOWN.format(marks=_marks(paths)), (scorer, *paths)).fetchall()
        return {row[0]: row for row in rows}

    def records(self, scorer: int, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
        """All that the cache has of at most about 500 escaped paths, by path, as `rows.row_json` reads it."""
        with self.guard():
            cursor = self.conn.execute(_RECORDS.format(marks=_marks(paths)), (scorer, *paths))
            names = [column[0] for column in cursor.description]
            return {row[0]: dict(zip(names, row, strict=True)) for row in cursor}

    def write(
        self,
        scorer: int,
        files: Iterable[FileEntry],
        contents: Iterable[tuple[Content, Scores]] = (),
        looks: Iterable[tuple[str, Look]] = (),
    ) -> None:
        """Write files, and the contents that were scored for them, in one transaction.

        A content that is there already keeps its id, and its scores of this scorer: another process may have
        scored the same bytes meanwhile.

        Args:
            looks: what contents, by their hash, look like; those of no known content are left out.
        """
        import numpy as np

        files, at = list(files), now()
        with self.transaction() as conn:
            for content, scores in contents:
                conn.execute(_CONTENT, astuple(content))
                found = conn.execute("SELECT id FROM contents WHERE hash = ?", (content.hash,)).fetchone()
                key = (scorer, found[0])
                conn.execute(
                    "INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *key,
                        scores.score,
                        scores.spread,
                        *(scores.attributes[name] for name in ATTRIBUTES),
                        scores.technical,
                        scores.complexity,
                        json.dumps(scores.distribution),
                    ),
                )
                vector = np.ascontiguousarray(scores.embedding, "<f2")
                conn.execute(
                    "INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?, ?)",
                    (*key, vector.size, vector.tobytes()),
                )
            conn.executemany(_LOOK, (_look_values(hash_, look) for hash_, look in looks))
            conn.executemany(_FILE, (_file_values(entry, at) for entry in files))
            # a RAW that was a photo of its own until a JPEG came to lie beside it
            conn.executemany("DELETE FROM files WHERE path = ?", ((c,) for f in files for c in f.companions))
            conn.executemany(
                "INSERT OR IGNORE INTO seen SELECT rowid FROM files WHERE path = ?",
                ((f.path,) for f in files),
            )

    def add_looks(self, looks: Iterable[tuple[str, Look]]) -> None:
        """Write what contents, by their hash, look like."""
        with self.transaction() as conn:
            conn.executemany(_LOOK, (_look_values(hash_, look) for hash_, look in looks))

    def touch(self, rows: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        """Note that unchanged files, by escaped path, are there (again), with these companions."""
        with self.transaction() as conn:
            for path, companions in rows:
                conn.execute(
                    "UPDATE files SET missing_at = NULL, companions = ? WHERE path = ?",
                    (json.dumps(companions), path),
                )
                conn.executemany("DELETE FROM files WHERE path = ?", ((c,) for c in companions))

    def see(self, rowids: Iterable[int]) -> None:
        """Remember, for `mark_missing`, that the files of these rows were met.

        In a temporary table, which SQLite keeps on disk when it grows: a scan needs no list of all files.
        """
        with self._block("BEGIN"):
            self.conn.executemany("INSERT OR IGNORE INTO seen VALUES (?)", ((rowid,) for rowid in rowids))

    def mark_missing(self, root: str) -> int:
        """After the whole of a folder was walked: set `missing_at` of its files that are gone.

        What was not met is looked for once more, because it may only have been excluded.

        Args:
            root: escaped absolute path of the folder.

        Returns:
            How many files are newly missing.
        """
        low, high = bounds(root)
        select = (
            "SELECT path FROM files WHERE path > ? AND path < ? AND missing_at IS NULL "
            "AND rowid NOT IN (SELECT id FROM seen) ORDER BY path LIMIT ?"
        )
        count = 0
        while True:
            with self.guard():
                paths = [row[0] for row in self.conn.execute(select, (low, high, MISSING_CHUNK))]
            if not paths:
                return count
            lost = [(now(), path) for path in paths if gone(path)]
            if lost:
                with self.transaction() as conn:
                    conn.executemany("UPDATE files SET missing_at = ? WHERE path = ?", lost)
            count += len(lost)
            low = paths[-1]

    def add_root(self, root: str) -> None:
        """Note that a folder was scanned whole."""
        with self.transaction() as conn:
            conn.execute("INSERT OR REPLACE INTO roots VALUES (?, ?)", (root, now()))

    def reader(self) -> sqlite3.Connection:
        """Another connection, which any one thread at a time may use."""
        with self.guard():
            return connect(self.path)


def bounds(folder: str) -> tuple[str, str]:
    """Every escaped path below `folder` lies strictly between these two."""
    low = folder if folder.endswith(os.sep) else folder + os.sep
    return low, low[:-1] + chr(ord(os.sep) + 1)


def _file_values(entry: FileEntry, at: str) -> tuple[Any, ...]:
    companions = json.dumps(entry.companions)
    failed = (entry.error_kind, entry.error)
    hash_ = entry.hash if entry.error_kind is None else None  # a failed photo has nothing to rank
    return (entry.path, hash_, entry.size, entry.mtime_ns, companions, *failed, at)


def _look_values(hash_: str, look: Look) -> tuple[Any, ...]:
    signed = look.hash - (1 << 64) if look.hash >> 63 else look.hash  # SQLite's integers have a sign
    return (signed, look.detail, look.thumb.tobytes(), hash_)


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
