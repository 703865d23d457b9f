"""`cgiaa watch`, and when a file that changed is taken as finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles
from conftest import RunCli, picture
from watchfiles import Change

from cgiaa_cli.cli import run
from cgiaa_cli.commands import watch as command
from cgiaa_cli.library.settle import Settling
from cgiaa_cli.library.walk import Found

SETTLE = 0.1
Step = Callable[[], Any]


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settling(clock: Clock) -> Settling:
    return Settling(2.0, clock)


def test_a_file_is_finished_when_nothing_happens_to_it(settling: Settling, clock: Clock, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"half")
    settling.touch(str(file))
    clock.now = 1.9
    assert settling.take() == []
    file.write_bytes(b"half and more")  # of which nobody told
    clock.now = 2.0
    assert settling.take() == []
    clock.now = 3.9
    settling.touch(str(file))
    clock.now = 4.1
    assert settling.take() == []
    clock.now = 5.9
    assert settling.take() == [str(file)]
    clock.now = 99
    assert settling.take() == []


def test_a_file_that_is_gone_is_forgotten(settling: Settling, clock: Clock, tmp_path: Path) -> None:
    settling.touch(str(tmp_path / "never.jpg"))
    settling.touch("a\0b")
    clock.now = 2.0
    assert settling.take() == []


def test_a_raw_waits_for_its_jpeg(settling: Settling, clock: Clock, tmp_path: Path) -> None:
    raw, jpeg, other = (tmp_path / name for name in ("IMG_1.CR2", "img_1.jpg", "b.jpg"))
    for file in (raw, other, jpeg):
        file.write_bytes(b"x")
        settling.touch(str(file))
        clock.now += 1.0
    assert settling.take() == [str(other)]
    clock.now = 4.0
    assert settling.take() == [str(raw), str(jpeg)]


# the command; `watchfiles.watch` is a list of steps, after each of which it tells what changed


@pytest.fixture
def watched(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[dict[str, Any]]]:
    """Watch tmp_path/"lib" while steps are done, and give the rows that are printed; then Ctrl-C."""
    folder = tmp_path / "lib"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("CGIAA_DB", str(tmp_path / "cache.sqlite"))
    monkeypatch.setenv("CGIAA_MODEL", str(tiny_bundle))

    def go(*steps: Step, options: tuple[str, ...] = (), code: int = 130) -> list[dict[str, Any]]:
        def watch(*roots: Path, **_: Any) -> Iterator[set[tuple[Change, str]]]:
            assert roots == (folder,)
            yield set()
            for step in steps:
                yield {change for change in step() or ()}
                for _wait in range(3):  # a new folder settles, then the files in it
                    time.sleep(SETTLE * 1.2)
                    yield set()
            raise KeyboardInterrupt

        monkeypatch.setattr(watchfiles, "watch", watch)
        arguments = ["watch", str(folder), "--settle", str(SETTLE), "--format", "jsonl", "--jobs", "1", *options]
        assert run(arguments) == code
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return go


Watched = Callable[..., list[dict[str, Any]]]


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [Path(row["path"]).name for row in rows]


def added(*files: Path) -> list[tuple[Change, str]]:
    return [(Change.added, str(file)) for file in files]


def save(file: Path, seed: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, 0.5, (64, 48)).save(file)
    return file


def test_what_is_there_then_what_arrives(watched: Watched, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    os.utime(save(lib / "old.jpg"), (1e9, 1e9))
    rows = watched(
        lambda: added(save(lib / "new.jpg", 1)),
        lambda: [(Change.modified, str(save(lib / "new.jpg", 2)))],
        lambda: [(Change.deleted, str(lib / "old.jpg"))],
        lambda: added(shutil.copy(lib / "new.jpg", lib / "copy.jpg")),
    )
    assert names(rows) == ["old.jpg", "new.jpg", "new.jpg", "copy.jpg"]
    assert all(1 <= row["score"] <= 10 for row in rows) and rows[2]["score"] == rows[3]["score"]
    assert watched() == []  # nothing is new


def test_a_photo_that_may_still_be_written_is_left_by_the_scan_at_the_start(
    settling: Settling, clock: Clock, tmp_path: Path
) -> None:
    photo, raw = save(tmp_path / "a.jpg"), save(tmp_path / "raw.jpg")
    unfinished = command._unfinished(settling, 1000.0)
    assert not unfinished(Found(photo, 1, time.time_ns() - 2000 * 10**9))
    clock.now = 5.0
    assert settling.take() == []
    assert unfinished(Found(photo, 1, time.time_ns(), (raw,)))
    clock.now = 7.0
    assert settling.take() == [str(photo), str(raw)]


def test_what_is_no_photo_is_left_alone(watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lib = tmp_path / "lib"
    (tmp_path / "lib" / "a.xmp").write_text("x")

    def arrive() -> list[tuple[Change, str]]:
        (lib / "a.txt").write_text("x")
        (lib / "@eaDir").mkdir()
        thumb, excluded = save(lib / "@eaDir" / "a.jpg"), save(lib / "out" / "b.jpg")
        (lib / "gone.jpg").symlink_to(lib / "nowhere")
        return added(lib / "a.xmp", lib / "a.txt", lib / "@eaDir", thumb, lib / "out", excluded, lib / "gone.jpg", lib)

    assert watched(arrive, options=("--exclude", "out")) == []


def test_a_folder_that_is_moved_here_is_walked(watched: Watched, tmp_path: Path) -> None:
    lib, elsewhere = tmp_path / "lib", tmp_path / "elsewhere"
    save(elsewhere / "deep" / "a.jpg")
    save(elsewhere / "b.jpg", 1)

    def move() -> list[tuple[Change, str]]:
        shutil.move(elsewhere, lib / "moved")
        return added(lib / "moved")

    assert sorted(names(watched(move))) == ["a.jpg", "b.jpg"]


def test_a_raw_is_the_companion_of_a_jpeg_that_was_there(watched: Watched, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    os.utime(save(lib / "IMG_1.jpg"), (1e9, 1e9))
    raw = lib / "IMG_1.CR2"
    rows = watched(lambda: raw.write_bytes(b"II*\0") and added(raw))
    assert names(rows) == ["IMG_1.jpg"]  # and no failed RAW
    assert watched() == []


def test_a_broken_photo_is_a_row_and_a_line(
    watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "lib" / "cut.jpg"

    def arrive() -> list[tuple[Change, str]]:
        save(cut)
        cut.write_bytes(cut.read_bytes()[:600])
        return added(cut)

    (row,) = watched(arrive)
    assert row["error_kind"] == "truncated" and row["score"] is None
    rows = watched(lambda: [(Change.modified, str(save(cut, 3)))])
    assert [row["score"] is None for row in rows] == [False]


def test_a_file_that_goes_while_it_is_looked_at(tmp_path: Path) -> None:
    there, gone = save(tmp_path / "a.jpg"), tmp_path / "b.jpg"
    assert command._walk([there, gone]) == [there]
    assert command._walk([gone]) == [] and command._walk([]) == []

    def fails(_: object) -> None:
        raise command.UsageError("no model")

    with pytest.raises(command.UsageError, match="no model"):
        command._while_there(fails, [there])


def test_a_folder_that_is_gone_ends_it(watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lib = tmp_path / "lib"
    assert watched(lambda: lib.rename(tmp_path / "away") and [], code=2) == []


def test_what_cannot_be_watched(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def watch(*_: Path, **__: Any) -> Iterator[None]:
        raise OSError("OS file watch limit reached.")
        yield

    monkeypatch.setattr(watchfiles, "watch", watch)
    assert run(["watch", str(tmp_path)]) == 2
    assert f"{tmp_path}: cannot be watched: OS file watch limit reached.; try --poll" in capsys.readouterr().err
    file = save(tmp_path / "a.jpg")
    assert run(["watch", str(file)]) == 2
    assert "not a folder; name the folder it is in" in capsys.readouterr().err
    assert run(["watch", str(tmp_path / "no")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_without_the_extra(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "watchfiles.py").write_text("raise ImportError")
    done = run_cli("watch", tmp_path, env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "cgiaa: watching folders needs the extra 'watch'; install it with: pip install 'cgiaa[watch]'\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("options", [[], ["--poll"]])
def test_the_real_thing(tmp_path: Path, tiny_bundle: Path, options: list[str]) -> None:
    lib = tmp_path / "lib"
    save(lib / "old.jpg")
    arguments = [lib, "--model", tiny_bundle, "--db", tmp_path / "cache.sqlite", "--settle", "0.2", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "cgiaa_cli", "watch", *map(os.fspath, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().endswith(f"  {lib / 'old.jpg'}\n")
        save(lib / "new.jpg", 1)
        assert process.stdout.readline().endswith(f"  {lib / 'new.jpg'}\n")
        if sys.platform == "linux":  # elsewhere there are no such names
            save(lib / os.fsdecode(b"caf\xe9.jpg"), 2)
            assert process.stdout.readline().endswith(f"  {lib}/caf\\xe9.jpg\n")
        save(lib / "last.jpg", 3)
        assert process.stdout.readline().endswith(f"  {lib / 'last.jpg'}\n")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, "", "cgiaa: interrupted; what was finished is kept\n")
