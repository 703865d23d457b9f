"""The cache's schema as an append-only list of migrations.

A migration is never edited once it was released: a cache of any age is brought up to date by the ones after
its own version, each in its own transaction. The version stands in SQLite's `user_version`, so a cache that a
newer program made is recognised before anything is read from it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from cgiaa_cli.errors import CacheError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "check", "migrate", "version_of"]

APPLICATION_ID = 0x43474941  # "CGIA": tells our file from any other SQLite file that --db may name

_TABLES = """
CREATE TABLE contents(
    id INTEGER PRIMARY KEY, hash TEXT UNIQUE NOT NULL, bytes INTEGER, format TEXT, width INTEGER,
    height INTEGER, taken_at TEXT, camera TEXT, lens TEXT, focal_length REAL, aperture REAL, shutter REAL,
    iso INTEGER, latitude REAL, longitude REAL);
CREATE TABLE files(
    path TEXT PRIMARY KEY, content_id INTEGER REFERENCES contents(id), size INTEGER, mtime_ns INTEGER,
    companions TEXT, error_kind TEXT, error TEXT, seen_at TEXT, missing_at TEXT);
CREATE TABLE scorers(
    id INTEGER PRIMARY KEY, bundle TEXT, version TEXT, preprocess TEXT, UNIQUE(bundle, version, preprocess));
CREATE TABLE scores(
    scorer_id INTEGER NOT NULL REFERENCES scorers(id), content_id INTEGER NOT NULL REFERENCES contents(id),
    score REAL, spread REAL, color_light REAL, composition REAL, depth_focus REAL, general REAL,
    technical REAL, complexity REAL, distribution TEXT, PRIMARY KEY(scorer_id, content_id)) WITHOUT ROWID;
CREATE TABLE embeddings(
    scorer_id INTEGER NOT NULL REFERENCES scorers(id), content_id INTEGER NOT NULL REFERENCES contents(id),
    dim INTEGER, vector BLOB, PRIMARY KEY(scorer_id, content_id));
CREATE INDEX scores_rank ON scores(scorer_id, score);
CREATE INDEX files_content ON files(content_id);
"""


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Statement by statement: `executescript` would end the transaction that the migration runs in."""
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement)


def m001_contents_files_scores(connection: sqlite3.Connection) -> None:
    """Contents by hash, the files that have them, and scores and embeddings per scorer."""
    _run(connection, _TABLES)


def m002_roots(connection: sqlite3.Connection) -> None:
    """The folders that were scanned whole: `prune` must tell an unmounted disk from deleted photos.

    With it, what deleting contents needs: a way to the scores of a content that is not a scan of all.
    """
    _run(
        connection,
        """
        CREATE TABLE roots(path TEXT PRIMARY KEY, scanned_at TEXT);
        CREATE INDEX scores_content ON scores(content_id);
        CREATE INDEX embeddings_content ON embeddings(content_id);
        """,
    )


def m003_critiques(connection: sqlite3.Connection) -> None:
    """Critiques by bundle, content and settings; `body` is the JSON that `cgiaa critique` prints of it."""
    _run(
        connection,
        """
        CREATE TABLE critiques(
            scorer_id INTEGER NOT NULL REFERENCES scorers(id), content_id INTEGER NOT NULL REFERENCES contents(id),
            settings TEXT, made_at TEXT, body TEXT, PRIMARY KEY(scorer_id, content_id, settings)) WITHOUT ROWID;
        CREATE INDEX critiques_content ON critiques(content_id);
        """,
    )


def m004_groups(connection: sqlite3.Connection) -> None:
    """What `groups` compares (looks), the groups as they were listed last, and the decisions to keep all of one.

    Looks belong to the content alone, whatever bundle scored it; a content of an older scan has none yet.
    """
    _run(
        connection,
        """
        CREATE TABLE looks(
            content_id INTEGER PRIMARY KEY REFERENCES contents(id), hash INTEGER NOT NULL, detail REAL NOT NULL,
            thumb BLOB NOT NULL);
        CREATE TABLE listed_groups(
            content_id INTEGER PRIMARY KEY REFERENCES contents(id), group_id TEXT NOT NULL);
        CREATE INDEX listed_groups_group ON listed_groups(group_id);
        CREATE TABLE keep_all(content_id INTEGER PRIMARY KEY REFERENCES contents(id), decided_at TEXT NOT NULL);
        """,
    )


def m005_review(connection: sqlite3.Connection) -> None:
    """What a human decided on the page of `review`: picks and rejects, and the better of two photos.

    Both hang on contents, so a photo that is moved or renamed keeps its own. What was taken back stays as a row
    without a verdict: a sidecar may still have it.
    """
    _run(
        connection,
        """
        CREATE TABLE decisions(
            content_id INTEGER PRIMARY KEY REFERENCES contents(id), verdict TEXT, decided_at TEXT NOT NULL);
        CREATE TABLE choices(
            one INTEGER NOT NULL REFERENCES contents(id), other INTEGER NOT NULL REFERENCES contents(id),
            better INTEGER, decided_at TEXT NOT NULL, PRIMARY KEY(one, other), CHECK(one < other)) WITHOUT ROWID;
        CREATE INDEX choices_other ON choices(other);
        """,
    )


def m006_eyes(connection: sqlite3.Connection) -> None:
    """Faces of a photo, and those whose eyes are closed in it but open in another of its group."""
    _run(
        connection,
        """
        CREATE TABLE eyes(
            content_id INTEGER PRIMARY KEY REFERENCES contents(id), faces INTEGER NOT NULL, closed INTEGER NOT NULL);
        """,
    )


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [
    m001_contents_files_scores,
    m002_roots,
    m003_critiques,
    m004_groups,
    m005_review,
    m006_eyes,
]


def version_of(connection: sqlite3.Connection) -> int:
    """How many of `MIGRATIONS` the cache has had; 0: an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the cache up to date; a migration that fails leaves it as it was before that one.

    Args:
        connection: in autocommit mode (`isolation_level=None`).
        path: of the cache, for messages.

    Raises:
        CacheError: a newer program made it, or another program did.
    """
    check(connection, path)
    while version_of(connection) < len(MIGRATIONS):
        # IMMEDIATE: of two processes that open a new cache, one waits here and finds the work done
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = version_of(connection)
            if version < len(MIGRATIONS):
                MIGRATIONS[version](connection)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def check(connection: sqlite3.Connection, path: str) -> None:
    """Raise a CacheError if a newer program made the cache, or another program did; only reads."""
    connection.execute("BEGIN")  # one snapshot: another process may be making the cache right now
    try:
        version = version_of(connection)
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        used = connection.execute("SELECT EXISTS(SELECT 1 FROM sqlite_master)").fetchone()[0]
    finally:
        connection.execute("ROLLBACK")
    if owner != APPLICATION_ID and (used or version or owner):
        raise CacheError("this is the database of another program", path=path, mend="choose another --db")
    if version > len(MIGRATIONS):
        raise CacheError(
            f"its schema has version {version}, this cgiaa knows up to version {len(MIGRATIONS)}",
            path=path,
            mend="update cgiaa or choose another --db",
        )
