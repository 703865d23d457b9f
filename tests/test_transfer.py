"""Copies and links: never over another file, whole or not at all, and nothing without --write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cgiaa_cli.curation import transfer as module
from cgiaa_cli.curation.transfer import Mode, Step, report, transfer
from cgiaa_cli.errors import CgiaaError, UsageError


def make(folder: Path, name: str | bytes, data: bytes = b"data") -> Path:
    path = folder / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def run(photos: list[list[Path]], folder: Path, mode: Mode = Mode.copy, write: bool = True) -> list[Step]:
    return list(transfer(photos, folder, mode, write=write))


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("mode", list(Mode))
def test_dry_run_writes_nothing(tmp_path: Path, mode: Mode) -> None:
    source, target = make(tmp_path, "a.jpg"), tmp_path / "out" / "deep"
    steps = run([[source]], target, mode, write=False)
    assert [(s.action, s.target) for s in steps] == [(str(mode), target / "a.jpg")]
    assert not (tmp_path / "out").exists()


def test_dry_run_says_what_write_does(tmp_path: Path) -> None:
    photos = [[make(tmp_path / f, n, f.encode())] for f in "abc" for n in ("x.jpg", "y.jpg")]
    target = tmp_path / "out"
    make(target, "x.jpg", b"mine")
    before = content(target)
    planned = run(photos, target, write=False)
    assert content(target) == before
    assert run(photos, target) == planned
    assert content(target)["x.jpg"] == b"mine"


def test_collisions_are_numbered_and_repeating_changes_nothing(tmp_path: Path) -> None:
    photos = [[make(tmp_path / f"d{i}", "IMG.jpg", b"%d" % i)] for i in range(5)]
    target = tmp_path / "out"
    run(photos, target)
    wanted = {"IMG.jpg": b"0"} | {f"IMG-{i + 1}.jpg": b"%d" % i for i in range(1, 5)}
    assert content(target) == wanted
    times = {p.name: p.stat().st_ctime_ns for p in target.iterdir()}
    assert {s.action for s in run(photos, target)} == {"same"}
    for order in (photos[2:], photos[::-1], photos[3:] + photos[:3]):  # another ranking, the same photos
        assert {s.action for s in run(order, target)} == {"same"}
    assert all((target / name).stat().st_ctime_ns == time for name, time in times.items())


def test_companions_share_the_number(tmp_path: Path) -> None:
    photos = [[make(tmp_path / f, "IMG.JPG", f.encode()), make(tmp_path / f, "img.cr2", f.encode() * 2)] for f in "ab"]
    target = tmp_path / "out"
    make(target, "img-2.cr2", b"mine")
    run(photos, target)
    assert content(target) == {
        "IMG.JPG": b"a",
        "img.cr2": b"aa",
        "img-2.cr2": b"mine",
        "IMG-3.JPG": b"b",
        "img-3.cr2": b"bb",
    }


def test_only_case_differs(tmp_path: Path) -> None:
    run([[make(tmp_path / "a", "img.jpg", b"1")], [make(tmp_path / "b", "IMG.JPG", b"2")]], tmp_path / "out")
    assert content(tmp_path / "out") == {"img.jpg": b"1", "IMG-2.JPG": b"2"}


def test_each_file_once(tmp_path: Path) -> None:
    raw = make(tmp_path, "a.cr2")
    jpeg = make(tmp_path, "a.jpg", b"other")
    assert len(run([[jpeg, raw], [raw], [jpeg]], tmp_path / "out")) == 2


def test_hostile_names(tmp_path: Path) -> None:
    names = [
        b"new\nline.jpg",
        b"caf\xe9.jpg",
        b"-rf",
        b"'; rm *.jpg",
        b".hidden",
        b"no suffix",
        b"a" * 250 + b".jpg",
    ]
    photos = [[make(tmp_path / f, n, f.encode())] for f in "ab" for n in names]
    steps = run(photos, tmp_path / "out")
    # the long name has no room for a number: that one fails, the others do not
    assert [s.source.name[:1] for s in steps if s.action == "failed"] == ["a"]
    made = {os.fsencode(p.name): p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert all(made[name] == b"a" for name in names)
    assert made[b"caf\xe9-2.jpg"] == b"b" and made[b".hidden-2"] == b"b" and made[b"no suffix-2"] == b"b"
    assert len(made) == 13


def test_copy_keeps_time_and_is_independent(tmp_path: Path) -> None:
    source = make(tmp_path, "a.jpg", os.urandom(3_000_000))
    os.utime(source, ns=(10**18, 123_456_789_123_456_789))
    source.chmod(0o640)
    run([[source]], tmp_path / "out")
    copy = tmp_path / "out" / "a.jpg"
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_mtime_ns == 123_456_789_123_456_789
    assert copy.stat().st_mode & 0o777 == 0o640 and copy.stat().st_ino != source.stat().st_ino
    assert copy.stat().st_nlink == 1


def test_links_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [make(tmp_path / "lib" / f, "a.jpg", f.encode()) for f in "ab"]
    monkeypatch.chdir(tmp_path)
    for action in ("link", "same"):
        assert {s.action for s in run([[s] for s in sources], Path("out"), Mode.link)} == {action}
    assert os.readlink(tmp_path / "out" / "a.jpg") == str(sources[0])
    assert (tmp_path / "out" / "a-2.jpg").read_bytes() == b"b"


def test_a_link_in_the_way_is_neither_followed_nor_replaced(tmp_path: Path) -> None:
    victim, target = make(tmp_path, "victim", b"mine"), tmp_path / "out"
    target.mkdir()
    (target / "a.jpg").symlink_to(victim)
    (target / "b.jpg").symlink_to(tmp_path / "dangling")
    run([[make(tmp_path, "a.jpg", b"mine")], [make(tmp_path, "b.jpg")]], target)
    assert victim.read_bytes() == b"mine" and not (tmp_path / "dangling").exists()
    assert (target / "a-2.jpg").is_file() and (target / "b-2.jpg").is_file()


def test_onto_itself(tmp_path: Path) -> None:
    source = make(tmp_path / "p", "a.jpg")
    assert [s.action for s in run([[source]], tmp_path / "p")] == ["same"]
    assert content(tmp_path / "p") == {"a.jpg": b"data"}


@pytest.mark.parametrize("no_links", [False, True])
def test_somebody_takes_the_name_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_links: bool) -> None:
    target, original = tmp_path / "out", module._copy
    if no_links:

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(module.os, "link", refuse)

    def late(source: Path, to: Path) -> None:
        if to.name == "a.jpg":
            to.write_bytes(b"theirs")
        original(source, to)

    monkeypatch.setattr(module, "_copy", late)
    run([[make(tmp_path, "a.jpg"), make(tmp_path, "a.cr2", b"raw")]], target)
    assert content(target) == {"a.jpg": b"theirs", "a-2.jpg": b"data", "a-2.cr2": b"raw"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(reader, writer, length) -> None:
        writer.write(reader.read(2))
        if b"2" in reader.read() + b"":
            raise OSError(number, "full")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    photos = [[make(tmp_path, f"{i}.jpg", b"xx%d" % i)] for i in range(5)]
    with pytest.raises(CgiaaError, match="disk is full"):
        run(photos, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0.jpg", "1.jpg"]


def test_interruption_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([[make(tmp_path, "a.jpg")]], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_one_bad_file_costs_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    photos = [[tmp_path / "gone.jpg"], [tmp_path / "fifo.jpg"], [make(tmp_path, "good.jpg")]]
    lines: list[str] = []
    assert report(transfer(photos, tmp_path / "out", Mode.copy, write=True), Mode.copy, lines.append, write=True) == 2
    assert "gone.jpg: No such file" in lines[0] and "not a regular file" in lines[1]
    assert lines[2] == "1 file copied, 2 failed"
    assert content(tmp_path / "out") == {"good.jpg": b"data"}


def test_target_that_is_no_folder(tmp_path: Path) -> None:
    source = make(tmp_path, "a.jpg")
    for write in (False, True):
        with pytest.raises(UsageError, match="not a folder"):
            run([[source]], source, write=write)
    with pytest.raises(UsageError):
        run([[source]], source / "below")


def test_many_of_one_name_are_not_quadratic(tmp_path: Path) -> None:
    photos = [[tmp_path / str(i) / "IMG.jpg"] for i in range(3000)]
    targets = [s.target.name for s in run(photos, tmp_path / "out", write=False)]
    assert len(set(targets)) == 3000 and targets[-1] == "IMG-3000.jpg"
