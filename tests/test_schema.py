"""A cache of any age opens; a cache of the future, or of another program, is refused and left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cgiaa_cli.cache import schema
from cgiaa_cli.cache.schema import APPLICATION_ID, MIGRATIONS, migrate, version_of
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.errors import CacheError

# frozen: what the first release wrote, so that a change of the first migration is found out here
VERSION_1 = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
CREATE TABLE contents(id INTEGER PRIMARY KEY, hash TEXT UNIQUE NOT NULL, bytes INTEGER, format TEXT, width INTEGER,
    height INTEGER, taken_at TEXT, camera TEXT, lens TEXT, focal_length REAL, aperture REAL, shutter REAL,
    iso INTEGER, latitude REAL, longitude REAL);
CREATE TABLE files(path TEXT PRIMARY KEY, content_id INTEGER REFERENCES contents(id), size INTEGER,
    mtime_ns INTEGER, companions TEXT, error_kind TEXT, error TEXT, seen_at TEXT, missing_at TEXT);
CREATE TABLE scorers(id INTEGER PRIMARY KEY, bundle TEXT, version TEXT, preprocess TEXT,
    UNIQUE(bundle, version, preprocess));
CREATE TABLE scores(scorer_id INTEGER NOT NULL REFERENCES scorers(id),
    content_id INTEGER NOT NULL REFERENCES contents(id), score REAL, spread REAL, color_light REAL,
    composition REAL, depth_focus REAL, general REAL, technical REAL, complexity REAL, distribution TEXT,
    PRIMARY KEY(scorer_id, content_id)) WITHOUT ROWID;
CREATE TABLE embeddings(scorer_id INTEGER NOT NULL REFERENCES scorers(id),
    content_id INTEGER NOT NULL REFERENCES contents(id), dim INTEGER, vector BLOB,
    PRIMARY KEY(scorer_id, content_id));
CREATE INDEX scores_rank ON scores(scorer_id, score);
CREATE INDEX files_content ON files(content_id);
INSERT INTO contents VALUES (7, 'aa', 123, 'jpeg', 40, 30, '2020-02-03T04:05:06', 'Cam', 'Lens', 35, 2.8, 0.01,
    400, 48.1, 11.5);
INSERT INTO files VALUES ('/p/a.jpg', 7, 123, 99, '["/p/a.raf"]', NULL, NULL, '2024-01-01T00:00:00+00:00', NULL);
INSERT INTO files VALUES ('/p/b.jpg', NULL, 5, 98, '[]', 'truncated', 'cut', '2024-01-01T00:00:00+00:00', NULL);
INSERT INTO scorers VALUES (3, 'old', '1', 'abc');
INSERT INTO scores VALUES (3, 7, 6.5, 1.5, 5, 6, 7, 8, 9, 44, '[0,0,0,0,0,0.5,0.5,0,0,0]');
INSERT INTO embeddings VALUES (3, 7, 2, x'003c0000');
"""


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def make(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def shape(connection: sqlite3.Connection) -> dict[str, object]:
    """Columns of every table and index; the text of the statements may differ in blanks."""
    names = connection.execute("SELECT type, name, tbl_name FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    found: dict[str, object] = {}
    for kind, name, table in names:
        found[f"{kind} {name} of {table}"] = connection.execute(f"PRAGMA {kind}_xinfo({name})").fetchall()
    return found


def test_the_oldest_cache_comes_to_the_newest_schema_with_its_data(tmp_path: Path) -> None:
    with Cache.open(make(tmp_path / "old.sqlite", VERSION_1)) as cache:
        assert version_of(cache.conn) == len(MIGRATIONS)
        record = cache.records(3, ["/p/a.jpg"])["/p/a.jpg"]
        assert record["score"] == 6.5 and record["camera"] == "Cam" and record["vector"] == b"\0<\0\0"
        assert cache.known(3, ["/p/b.jpg"])["/p/b.jpg"][5:7] == ("truncated", "cut")
        assert cache.scorer_id("old", "1", "abc") == 3
        cache.add_root("/p")
        with Cache.open(tmp_path / "new.sqlite") as new:
            assert shape(cache.conn) == shape(new.conn)


def test_the_first_migration_makes_what_was_released(conn: sqlite3.Connection) -> None:
    MIGRATIONS[0](conn)
    with closing(sqlite3.connect(":memory:")) as released:
        released.executescript(VERSION_1)
        assert shape(conn) == shape(released)


def test_a_failing_migration_leaves_the_cache_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "old.sqlite", VERSION_1)

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half(x)")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    monkeypatch.setattr(schema, "MIGRATIONS", [MIGRATIONS[0], broken])
    with pytest.raises(CacheError, match="no such table: nowhere"):
        Cache.open(path)
    monkeypatch.undo()
    with closing(sqlite3.connect(path)) as connection:
        assert version_of(connection) == 1
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()
    with Cache.open(path) as cache:
        assert version_of(cache.conn) == len(MIGRATIONS)


def test_a_newer_schema_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite"
    Cache.open(path).close()
    newer = len(MIGRATIONS) + 1
    make(path, f"PRAGMA user_version = {newer}")
    before = path.read_bytes()
    with pytest.raises(CacheError, match=rf"version {newer}.*up to version {len(MIGRATIONS)}; update cgiaa"):
        Cache.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "script",
    ["CREATE TABLE songs(title)", "PRAGMA user_version = 4", "PRAGMA application_id = 1"],
)
def test_the_database_of_another_program_is_refused(tmp_path: Path, script: str) -> None:
    path = make(tmp_path / "music.sqlite", script)
    before = path.read_bytes()
    with pytest.raises(CacheError, match=r"music\.sqlite: this is the database of another program"):
        Cache.open(path)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_cache(tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    with Cache.open(tmp_path / "empty.sqlite") as cache:
        assert version_of(cache.conn) == len(MIGRATIONS)


def test_migrating_twice_changes_nothing(conn: sqlite3.Connection) -> None:
    migrate(conn, "cache")
    before = conn.execute("PRAGMA schema_version").fetchone()
    migrate(conn, "cache")
    assert conn.execute("PRAGMA schema_version").fetchone() == before
