"""The cache's store: what goes in comes out, and whatever happens to the file is one `CacheError`."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgiaa_cli.cache import connection, store
from cgiaa_cli.cache.schema import MIGRATIONS
from cgiaa_cli.cache.store import Cache, Content, FileEntry, bounds, default_path, gone, guard, scores_of
from cgiaa_cli.errors import CacheError
from cgiaa_cli.inference.scores import ATTRIBUTES, Scores
from cgiaa_cli.paths import escape

SCORES = Scores(
    score=6.25,
    spread=1.5,
    distribution=(0.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.25, 0.0, 0.0),
    attributes=dict(zip(ATTRIBUTES, (5.0, 6.0, 7.0, 8.0), strict=True)),
    technical=9.0,
    complexity=55.0,
    embedding=np.array([0.6, 0.8], np.float16),
)
CONTENT = Content("aa", 100, "jpeg", 40, 30, camera="Cam", focal_length=35.0, iso=400)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache.open(tmp_path / "cache.sqlite") as opened:
        yield opened


def entry(path: str, hash_: str | None = "aa", **more: object) -> FileEntry:
    return replace(FileEntry(path, 100, 5, hash=hash_), **more)


def test_what_is_written_is_read_back(cache: Cache) -> None:
    scorer = cache.scorer_id("tiny", "1", "abc")
    cache.write(scorer, [entry("/p/a.jpg", companions=("/p/a.raf",))], [(CONTENT, SCORES)])
    record = cache.records(scorer, ["/p/a.jpg", "/p/none.jpg"])["/p/a.jpg"]
    found = scores_of(record)
    assert found is not None
    assert found.embedding.dtype == np.float16
    assert (found.embedding == SCORES.embedding).all()
    assert replace(found, embedding=SCORES.embedding) == SCORES
    assert (record["camera"], record["focal_length"], record["iso"], record["lens"]) == ("Cam", 35, 400, None)
    assert json.loads(record["companions"]) == ["/p/a.raf"]


def test_a_scorer_keeps_its_id_and_another_version_gets_its_own(cache: Cache) -> None:
    first = cache.scorer_id("tiny", "1", "abc")
    assert cache.scorer_id("tiny", "1", "abc") == first
    others = {cache.scorer_id("tiny", "2", "abc"), cache.scorer_id("tiny", "1", "abd")}
    assert len(others) == 2 and first not in others
    cache.write(first, [entry("/p/a.jpg")], [(CONTENT, SCORES)])
    assert cache.known(first, ["/p/a.jpg"])["/p/a.jpg"][-1] is not None
    assert cache.known(others.pop(), ["/p/a.jpg"])["/p/a.jpg"][-1] is None
    assert scores_of(cache.records(others.pop(), ["/p/a.jpg"])["/p/a.jpg"]) is None


def test_the_same_bytes_are_one_content_and_its_first_scores_stay(cache: Cache) -> None:
    scorer = cache.scorer_id("tiny", "1", "abc")
    cache.write(scorer, [entry("/p/a.jpg")], [(CONTENT, SCORES)])
    again = (replace(CONTENT, camera="Better"), replace(SCORES, score=1.0))
    cache.write(scorer, [entry("/p/b.jpg")], [again])
    records = cache.records(scorer, ["/p/a.jpg", "/p/b.jpg"])
    assert {r["score"] for r in records.values()} == {6.25}
    assert {r["camera"] for r in records.values()} == {"Better"}  # EXIF as the newer program reads it
    assert cache.conn.execute("SELECT count(*) FROM contents").fetchone() == (1,)


def test_a_failed_photo_has_its_error_and_no_content(cache: Cache) -> None:
    scorer = cache.scorer_id("tiny", "1", "abc")
    cache.write(scorer, [entry("/p/a.jpg")], [(CONTENT, SCORES)])
    cache.write(scorer, [entry("/p/a.jpg", error_kind="truncated", error="cut")])
    record = cache.records(scorer, ["/p/a.jpg"])["/p/a.jpg"]
    assert (record["error_kind"], record["error"], record["hash"], record["bytes"]) == ("truncated", "cut", None, 100)


def test_a_raw_that_got_a_jpeg_is_no_photo_any_more(cache: Cache) -> None:
    scorer = cache.scorer_id("tiny", "1", "abc")
    cache.write(scorer, [entry("/p/a.raf"), entry("/p/b.raf")], [(CONTENT, SCORES)])
    cache.write(scorer, [entry("/p/a.jpg", companions=("/p/a.raf",)), entry("/p/b.jpg")])
    cache.touch([("/p/b.jpg", ("/p/b.raf",))])
    assert set(cache.known(scorer, ["/p/a.raf", "/p/a.jpg", "/p/b.raf", "/p/b.jpg"])) == {"/p/a.jpg", "/p/b.jpg"}
    assert cache.known(scorer, ["/p/b.jpg"])["/p/b.jpg"][4] == '["/p/b.raf"]'


def test_only_what_is_gone_and_was_not_met_is_missing(cache: Cache, tmp_path: Path) -> None:
    scorer = cache.scorer_id("tiny", "1", "abc")
    root = tmp_path / "photos"
    root.mkdir()
    (root / "excluded.jpg").touch()
    names = ("met.jpg", "excluded.jpg", "gone.jpg")
    inside = {name: escape(root / name) for name in names}
    beside = escape(tmp_path / "photos-2" / "gone.jpg")
    cache.write(scorer, [entry(path) for path in (*inside.values(), beside)], [(CONTENT, SCORES)])
    cache.conn.execute("DELETE FROM seen")
    rows = cache.known(scorer, [inside["met.jpg"]])
    cache.see(row[1] for row in rows.values())
    assert cache.mark_missing(escape(root)) == 1
    assert cache.mark_missing(escape(root)) == 0
    known = cache.known(scorer, [*inside.values(), beside])
    assert [path for path, row in known.items() if row[7] is not None] == [inside["gone.jpg"]]
    cache.touch([(inside["gone.jpg"], ())])
    assert cache.known(scorer, [inside["gone.jpg"]])[inside["gone.jpg"]][7] is None


def test_many_missing_files_are_all_marked(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MISSING_CHUNK", 3)
    scorer = cache.scorer_id("tiny", "1", "abc")
    cache.write(scorer, [entry(f"/nowhere/{i}.jpg", None) for i in range(10)])
    cache.conn.execute("DELETE FROM seen")
    assert cache.mark_missing("/nowhere") == 10


def test_bounds_are_those_of_the_folder() -> None:
    low, high = bounds("/a/b")
    assert low < "/a/b/c" < high and low < "/a/b/\U0010ffff" < high
    assert not low < "/a/b" < high and not low < "/a/b-c/d" < high and not low < "/a/b0" < high
    assert bounds("/") == ("/", "0")


def test_gone_means_certainly_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    assert not gone(escape(tmp_path / "a"))
    assert gone(escape(tmp_path / "b")) and gone(escape(tmp_path / "a" / "below-a-file"))
    assert not gone("/a\0b")

    def sick(_: object) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "lstat", sick)
    assert not gone(escape(tmp_path / "b"))


def test_default_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_path().name == "cgiaa.sqlite" and tmp_path in default_path().parents
    config = tmp_path / "config.toml"
    config.write_text('db = "~/mine.sqlite"')
    monkeypatch.setenv("CGIAA_CONFIG", str(config))
    assert default_path() == Path.home() / "mine.sqlite"
    monkeypatch.setenv("CGIAA_DB", str(tmp_path / "other.sqlite"))
    assert default_path() == tmp_path / "other.sqlite"
    with Cache.open() as cache:
        assert cache.path == tmp_path / "other.sqlite"
        assert cache.conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert cache.db.table_names()


# transactions


def test_a_transaction_is_all_or_nothing(cache: Cache) -> None:
    with pytest.raises(KeyboardInterrupt), cache.transaction() as conn:
        conn.execute("INSERT INTO roots VALUES ('/a', '')")
        raise KeyboardInterrupt
    assert cache.conn.execute("SELECT count(*) FROM roots").fetchone() == (0,)


def test_an_interruption_inside_a_transaction_does_not_spoil_the_next(cache: Cache) -> None:
    def rowids() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.see(rowids())
    assert not cache.conn.in_transaction
    cache.conn.execute("BEGIN")  # as if the interruption came between two lines of `_block`
    cache.conn.execute("INSERT INTO roots VALUES ('/half', '')")
    cache.add_root("/whole")
    assert cache.conn.execute("SELECT path FROM roots").fetchall() == [("/whole",)]


def test_a_writer_waits_for_another(cache: Cache) -> None:
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with closing(cache.reader()) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO roots VALUES ('/other', '')")
            holding.set()
            done.wait(0.3)
            other.execute("COMMIT")

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    cache.add_root("/mine")
    done.set()
    thread.join()
    assert cache.conn.execute("SELECT count(*) FROM roots").fetchone() == (2,)


def test_a_cache_that_stays_locked_is_an_error(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    cache.conn.execute("BEGIN IMMEDIATE")
    with Cache.open(cache.path) as other, pytest.raises(CacheError, match="another program kept it locked"):
        other.add_root("/p")
    cache.conn.execute("COMMIT")


def test_two_that_make_a_cache_at_once_both_get_it(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(6)

    def make() -> None:
        start.wait()
        try:
            with Cache.open(tmp_path / "new" / "cache.sqlite") as cache:
                cache.scorer_id("tiny", "1", "abc")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with Cache.open(tmp_path / "new" / "cache.sqlite") as cache:
        assert cache.conn.execute("SELECT count(*) FROM scorers").fetchone() == (1,)


def test_the_mode_is_tried_again_while_the_file_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Conn:
        tries = 0
        message = "database is locked"

        def execute(self, _: str) -> None:
            self.tries += 1
            if self.tries < 4:
                raise sqlite3.OperationalError(self.message)

    conn = Conn()
    connection.use_wal(conn)
    assert conn.tries == 4
    other = Conn()
    other.message = "disk I/O error"
    with pytest.raises(sqlite3.OperationalError, match="disk I/O"):
        connection.use_wal(other)
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.0)
    late = Conn()
    late.tries = -1_000_000
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        connection.use_wal(late)


# files that are no cache


@pytest.mark.parametrize("content", [b"not a database, but long enough for a header" * 40, b"SQLite format 3\0short"])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(CacheError, match=r"photo\.jpg: it is (not a cache, or it is )?damaged; move the file away"):
        Cache.open(path)
    assert path.read_bytes() == content


def test_a_folder_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="this is a folder; give --db the name of a file"):
        Cache.open(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match=r"cache\.sqlite: "):
        Cache.open(tmp_path / "file" / "below" / "cache.sqlite")
    with pytest.raises(CacheError, match="a file is in the place of its folder; choose another --db"):
        Cache.open(tmp_path / "file" / "cache.sqlite")


def test_no_cache_where_one_is_needed(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="there is no cache yet; make it with: cgiaa scan"):
        Cache.open(tmp_path / "none.sqlite", create=False)
    assert not (tmp_path / "none.sqlite").exists()


def test_damaged_pages_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with Cache.open(path) as cache:
        scorer = cache.scorer_id("tiny", "1", "abc")
        cache.write(scorer, [entry(f"/p/{i}.jpg", None) for i in range(500)])
        cache.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    errors = 0
    for keep in (4096, 8192, 20_000, 40_000):  # the header stays, the rest is noise
        path.write_bytes(whole[:keep] + random.bytes(len(whole) - keep))
        try:
            with Cache.open(path) as cache:
                cache.known(scorer, [f"/p/{i}.jpg" for i in range(500)])
                cache.write(scorer, [entry(f"/q/{i}.jpg", None) for i in range(50)])
        except CacheError as error:
            errors += 1
            assert "damaged" in str(error) and "move the file away" in str(error)
    assert errors >= 3


def test_a_full_disk_while_writing_loses_only_that_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache.sqlite"
    with Cache.open(path) as cache:
        scorer = cache.scorer_id("tiny", "1", "abc")
        cache.write(scorer, [entry("/p/kept.jpg")], [(CONTENT, SCORES)])
        pages = cache.conn.execute("PRAGMA page_count").fetchone()[0]
        cache.conn.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(CacheError, match="the disk is full; free some space") as caught:
            cache.write(scorer, [entry(f"/p/{i}.jpg", None, error="x" * 900, error_kind="corrupt") for i in range(99)])
        assert caught.value.path == str(path)
        cache.conn.execute("PRAGMA max_page_count = 1000000")
        assert set(cache.known(scorer, ["/p/kept.jpg", "/p/1.jpg"])) == {"/p/kept.jpg"}
        cache.write(scorer, [entry("/p/1.jpg")])
        assert cache.conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied; make it readable and writable"),
        (sqlite3.OperationalError("unable to open database file"), "it cannot be opened; make it and its folder"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "read-only; make both writable"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error; make it readable"),
        (sqlite3.DatabaseError("database disk image is malformed"), "it is damaged; move the file away"),
        (sqlite3.DatabaseError("something new"), "something new; move the file away"),
    ],
)
def test_every_error_has_a_cause_and_a_mend(error: Exception, line: str) -> None:
    with pytest.raises(CacheError) as caught, guard("/c.sqlite"):
        raise error
    assert str(caught.value).startswith("/c.sqlite: ") and line in str(caught.value)


def test_a_broken_pipe_is_not_about_the_cache() -> None:
    with pytest.raises(BrokenPipeError), guard("/c.sqlite"):
        raise BrokenPipeError


def test_no_wal_and_no_shm_stay_behind(tmp_path: Path) -> None:
    with Cache.open(tmp_path / "cache.sqlite") as cache:
        cache.add_root("/p")
    assert [p.name for p in tmp_path.glob("cache*")] == ["cache.sqlite"]


# where nothing may be written: what SQLite may do is told by `os.access`, which root passes everywhere


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in a folder that is read-only as far as we can tell."""
    path = tmp_path / "disk? #1" / "cache.sqlite"
    with Cache.open(path) as cache:
        cache.write(cache.scorer_id("tiny", "1", "abc"), [entry("/p/a.jpg")], [(CONTENT, SCORES)])
    real = os.access
    monkeypatch.setattr(os, "access", lambda name, mode: mode != os.W_OK and real(name, mode))
    return path


def test_a_cache_that_may_not_be_written_is_read(locked: Path) -> None:
    before = locked.read_bytes()
    with Cache.open(locked, create=False) as cache:
        assert cache.read_only
        assert cache.records(cache.scorer_id("tiny", "1", "abc"), ["/p/a.jpg"])["/p/a.jpg"]["score"] == 6.25
        assert cache.records(cache.scorer_id("other", "1", "abc"), ["/p/a.jpg"])["/p/a.jpg"]["score"] is None
        assert [path.name for path in locked.parent.iterdir()] == ["cache.sqlite"]  # no -wal, no -shm
        with pytest.raises(CacheError, match="read-only; make both writable"):
            cache.add_root("/p")
    assert locked.read_bytes() == before


def test_the_log_of_a_writer_is_read_too(tmp_path: Path, locked: Path) -> None:
    with Cache.open(locked) as writer, Cache.open(locked, create=False) as reader:
        writer.add_root("/late")
        assert reader.conn.execute("SELECT path FROM roots").fetchall() == []  # nobody wrote when it was opened
        with Cache.open(locked, create=False) as later:
            assert later.conn.execute("SELECT path FROM roots").fetchall() == [("/late",)]


def test_a_read_only_cache_of_an_older_schema(locked: Path) -> None:
    with closing(sqlite3.connect(locked)) as conn:
        conn.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 1}")
    with pytest.raises(CacheError, match=r"schema has version .* read-only; make both writable"):
        Cache.open(locked, create=False)
