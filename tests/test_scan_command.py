"""`cgiaa scan` as a user runs it, and as a user, a crash or a second scan ends or disturbs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import Cgiaa, RunCli, picture

from cgiaa_cli.commands import scan as module

SLOW_PHOTOS = 120
INTERRUPTED = ("cgiaa: interrupted; what was finished is kept\n", "")  # some versions of Typer swallow the line
# the real program with a network that takes its time, so that a test meets it in the middle of its work
SLOW = """
import sys, time
from cgiaa_cli.inference.engine import Engine
run = Engine.run
def slow(self, inputs):
    time.sleep(0.025 * len(inputs))
    return run(self, inputs)
Engine.run = slow
from cgiaa_cli.cli import main
sys.argv[0] = "cgiaa"
main()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(SLOW_PHOTOS):
        picture(i, 0.2 + i / 300, (64, 48)).save(folder / f"{i:03}.png")
    return folder


@pytest.fixture
def start(tmp_path: Path, tiny_bundle: Path, isolated: dict[str, str]) -> Iterator[Start]:
    """`start(*args)`: begin a slow run of the program; what is left of it at the end is killed."""
    begun: list[subprocess.Popen[str]] = []
    environment = {**os.environ, **isolated, "CGIAA_DB": str(tmp_path / "cache.sqlite")}
    environment |= {"CGIAA_MODEL": str(tiny_bundle), "PYTHONPATH": os.pathsep.join(["", *sys.path]).strip(":")}

    def begin(*args: object, **options: Any) -> subprocess.Popen[str]:
        env = environment | options.pop("env", {})
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"} | options
        process = subprocess.Popen([sys.executable, "-c", SLOW, *map(str, args)], env=env, **options)
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def kept(db: Path) -> int:
    """How many photos the cache has, as another program sees it."""
    if not db.exists():
        return 0
    with closing(sqlite3.connect(db, timeout=10)) as conn:
        try:
            return int(conn.execute("SELECT count(*) FROM files").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0


def wait_for_rows(db: Path, process: subprocess.Popen[str]) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if found := kept(db):
            return found
        time.sleep(0.02)
    raise AssertionError("the scan ended before it was met in its work")


def check_whole(db: Path, photos: int) -> None:
    with closing(sqlite3.connect(db)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in ("files", "contents", "scores", "embeddings"):
            assert conn.execute(f"SELECT count(*) FROM {table}").fetchone() == (photos,), table
        assert conn.execute("SELECT count(*) FROM files WHERE content_id IS NULL").fetchone() == (0,)


def scored(text: str) -> int:
    found = re.search(r"(\d+) scored", text)
    assert found, text
    return int(found[1])


# interrupted, killed, disturbed


def test_kill_9_in_the_middle_costs_only_what_was_in_flight(
    start: Start, run_cli: RunCli, many: Path, tmp_path: Path
) -> None:
    db = tmp_path / "cache.sqlite"
    process = start("scan", many)
    wait_for_rows(db, process)
    process.kill()
    process.wait()
    had = kept(db)
    assert 0 < had < SLOW_PHOTOS
    check_whole(db, had)
    again = run_cli("scan", many)
    assert again.returncode == 0, again.stderr
    assert scored(again.stdout) == SLOW_PHOTOS - had
    check_whole(db, SLOW_PHOTOS)


def test_ctrl_c_keeps_what_was_finished(start: Start, run_cli: RunCli, many: Path, tmp_path: Path) -> None:
    db = tmp_path / "cache.sqlite"
    process = start("scan", many)
    before = wait_for_rows(db, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == "" and err in INTERRUPTED
    had = kept(db)
    assert before <= had < SLOW_PHOTOS
    check_whole(db, had)
    assert not db.with_name("cache.sqlite-wal").exists()
    assert scored(run_cli("scan", many).stdout) == SLOW_PHOTOS - had


@pytest.mark.parametrize("delay", [0.3, 0.7])
def test_ctrl_c_at_any_moment_is_130(start: Start, many: Path, tmp_path: Path, delay: float) -> None:
    """At the start too; before `main` runs, Python itself ends with the signal."""
    process = start("scan", many)
    time.sleep(delay)
    err = None
    while err is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):  # Python loses a signal inside a callback of an import
            _, err = process.communicate(timeout=1)
    assert process.returncode in (130, -signal.SIGINT), err
    if process.returncode == 130:
        assert err in INTERRUPTED or "Exception ignored" in err
    if had := kept(tmp_path / "cache.sqlite"):
        check_whole(tmp_path / "cache.sqlite", had)


def test_two_scans_at_once_both_finish_and_lose_nothing(start: Start, many: Path, tmp_path: Path) -> None:
    both = [start("scan", many, "--format", "jsonl", "--batch-size", "4") for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        rows = [json.loads(line) for line in out.splitlines()]
        assert len({row["path"] for row in rows}) == SLOW_PHOTOS == len(rows)
        assert all(row["score"] is not None for row in rows)
    check_whole(tmp_path / "cache.sqlite", SLOW_PHOTOS)


def test_a_reader_of_stdout_that_goes_away_ends_the_scan_quietly(start: Start, many: Path, tmp_path: Path) -> None:
    process = start("scan", many, "--format", "jsonl")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == ""
    check_whole(tmp_path / "cache.sqlite", kept(tmp_path / "cache.sqlite"))


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_the_progress_bar_is_on_a_terminal_only(start: Start, many: Path) -> None:
    (many / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    terminal, end = os.openpty()
    env = {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    process = start("scan", many, "--format", "jsonl", stderr=end, stdout=subprocess.PIPE, env=env)
    os.close(end)
    out, shown = b"", b""
    assert process.stdout is not None
    sources = {terminal, process.stdout.fileno()}
    while sources:
        for source in select.select(sources, [], [], 60)[0]:
            try:
                part = os.read(source, 65536)
            except OSError:  # Linux: the other end of a terminal was closed
                part = b""
            if not part:
                sources.discard(source)
            elif source == terminal:
                shown += part
            else:
                out += part
    os.close(terminal)
    assert process.wait(30) == 3
    text = shown.decode()
    assert re.search(r"\d+/121\b", text), text[-2000:]
    assert re.search(r"\d+ photos/s", text)
    assert re.search(r"\b0:00:\d\d\b", text)  # time left
    assert "1 failed" in text
    assert len([json.loads(line) for line in out.splitlines()]) == 121  # stdout has rows and nothing else


# in process


def test_the_line_of_counts(cgiaa: Cgiaa, photos: Path) -> None:
    assert cgiaa("scan", photos) == (0, "9 photos: 9 scored, 0 unchanged, 0 failed\n", "")
    (photos / "dark.jpg").unlink()
    line = "8 photos: 0 scored, 8 unchanged, 0 failed, 1 gone since the last scan\n"
    assert cgiaa("scan", photos) == (0, line, "")


def test_a_truncated_photo_is_one_line_and_one_row(cgiaa: Cgiaa, photos: Path, tmp_path: Path) -> None:
    cut = photos / "cut\n.jpg"
    cut.write_bytes((photos / "bright.jpg").read_bytes()[:9000])
    code, out, err = cgiaa("scan", photos)
    assert (code, out) == (3, "10 photos: 9 scored, 0 unchanged, 1 failed\n")
    assert err.count("\n") == 1
    assert err.startswith(f"cgiaa: {photos}/cut\\n.jpg: the jpeg data end too early; ")
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as conn:
        rows = conn.execute("SELECT path, error_kind FROM files WHERE error_kind IS NOT NULL").fetchall()
    assert rows == [(str(cut), "truncated")]
    assert cgiaa("scan", photos) == (3, "10 photos: 0 scored, 9 unchanged, 1 failed\n", err)
    assert cgiaa("scan", photos, "--exclude", "cut*")[0] == 0


def test_jsonl_has_a_row_for_every_photo_seen(cgiaa: Cgiaa, photos: Path) -> None:
    (photos / "cut.jpg").write_bytes((photos / "bright.jpg").read_bytes()[:9000])
    (photos / "broken.jpg").symlink_to("nowhere.jpg")
    expected = {str(p) for p in photos.rglob("*.*")}
    first = cgiaa("scan", photos, "--format", "jsonl", "--jobs", "2", "--batch-size", "3")
    second = cgiaa("scan", photos, "--format", "jsonl")
    for code, out, err in (first, second):
        assert code == 3 and err.count("\n") == 2
        rows = {row["path"]: row for row in map(json.loads, out.splitlines())}
        assert set(rows) == expected and len(out.splitlines()) == len(expected) == 11
        for path, row in rows.items():
            failed = Path(path).name in ("cut.jpg", "broken.jpg")
            assert ("error" in row) == failed == (row["score"] is None) == (row["attributes"] is None)
        assert rows[str(photos / "bright.jpg")]["taken_at"] == "2024-05-06T07:08:09"
    assert sorted(first[1].splitlines()) == sorted(second[1].splitlines())


def test_nothing_to_scan_is_1(cgiaa: Cgiaa, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert cgiaa("scan", tmp_path / "empty") == (1, "0 photos: 0 scored, 0 unchanged, 0 failed\n", "")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["scan"], "Missing argument"),
        (["scan", "nowhere"], "nowhere: no such file or folder; name a folder or a photo that exists"),
        (["scan", ".", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["scan", ".", "--batch-size", "0"], "Invalid value for '--batch-size'"),
        (["scan", ".", "--device", "tpu"], "device 'tpu' is not known"),
        (["scan", ".", "--device", "cuda"], "CUDA cannot be used: "),
        (["scan", ".", "--format", "xml"], "Invalid value for '--format'"),
        (["scan", ".", "--db", "."], "this is a folder"),
        (["scan", ".", "--model", "unheard-of"], "unheard-of"),
    ],
)
def test_what_is_impossible_is_2_and_one_line(
    cgiaa: Cgiaa,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    message: str,
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, out, err = cgiaa(*args)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert not (tmp_path / "cache.sqlite").exists()


def test_a_folder_without_permission_does_not_stop_the_others(
    cgiaa: Cgiaa, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = photos.parent / "locked"
    locked.mkdir()
    real, access = os.scandir, os.access

    def refusing(path: str) -> Any:
        if os.fspath(path) == str(locked):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(locked) and access(path, mode))
    code, out, err = cgiaa("scan", locked, photos)
    assert (code, out) == (3, "9 photos: 9 scored, 0 unchanged, 0 failed, 1 skipped\n")
    assert err.startswith(f"cgiaa: {locked}: folder cannot be read: Permission denied; ") and err.count("\n") == 1


def test_options_reach_the_scan(cgiaa: Cgiaa, photos: Path) -> None:
    code, out, err = cgiaa("scan", photos, "--max-pixels", "100000", "--device", "cpu")
    assert code == 3 and scored(out) == 8 and "more than the limit of 100000" in err
    assert scored(cgiaa("scan", photos, "--retry-failed")[1]) == 1
    info = (photos / "dark.jpg").stat()
    content = bytearray((photos / "dark.jpg").read_bytes())
    content[-500] ^= 1
    (photos / "dark.jpg").write_bytes(content)
    os.utime(photos / "dark.jpg", ns=(info.st_atime_ns, info.st_mtime_ns))
    assert scored(cgiaa("scan", photos)[1]) == 0
    assert scored(cgiaa("scan", photos, "--recheck")[1]) == 1


def test_the_bar_in_process(cgiaa: Cgiaa, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    walks: list[object] = []
    count = module._count
    monkeypatch.setattr(module, "_count", lambda *args: walks.append(args) or count(*args))
    assert cgiaa("scan", photos)[0] == 0
    assert len(walks) == 1
    assert cgiaa("scan", photos)[0] == 0
    assert len(walks) == 1  # nothing to score: no second walk
    stopped = module.threading.Event()
    assert count([photos], ["*.png"], stopped) == 6
    assert count([tmp_path / "nowhere"], [], stopped) is None
    stopped.set()
    assert count([photos], [], stopped) is None
