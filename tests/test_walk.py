"""Which files a scan finds, whatever lies about in a folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import picture

from cgiaa_cli.errors import UsageError
from cgiaa_cli.library.walk import Found, Skipped, walk


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(0, 0.5, (64, 48)).save(path, "JPEG")
    return path


def found(*roots: Path, exclude: tuple[str, ...] = ()) -> list[str]:
    base = roots[0] if roots[0].is_dir() else roots[0].parent
    return [os.path.relpath(f.path, base) for f in walk(roots, exclude) if isinstance(f, Found)]


def test_photos_by_content_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    put(tmp_path / "b.HEIC")
    put(tmp_path / "no-suffix")
    put(tmp_path / "sub" / "c.jpeg")
    for name in ("clip.mp4", "a.xmp", "a.jpg.xmp", "._a.jpg", "Thumbs.db", ".DS_Store", "notes.txt"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0 looks like one")
    (tmp_path / "page").write_text("no photo")
    put(tmp_path / "@eaDir" / "thumb.jpg")
    assert found(tmp_path) == ["a.jpg", "b.HEIC", "no-suffix", "sub/c.jpeg"]


def test_odd_names_and_order(tmp_path: Path) -> None:
    names = [b"-rf.jpg", b"a\nb.jpg", b"caf\xe9.jpg", "🌅.jpg".encode(), b"back\\x41.jpg"]
    whole = put(tmp_path / "x.jpg").read_bytes()
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(whole)
    listed = [os.fsencode(f.path.name) for f in walk([tmp_path]) if isinstance(f, Found)]
    assert sorted(listed) == sorted([*names, b"x.jpg"])
    assert listed == [os.fsencode(f.path.name) for f in walk([tmp_path]) if isinstance(f, Found)]


def test_loops_fifos_sockets_and_broken_links_end(tmp_path: Path) -> None:
    put(tmp_path / "sub" / "a.jpg")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)
        try:
            server.bind("s.jpg")
        finally:
            os.chdir(here)
        assert found(tmp_path) == ["sub/a.jpg"]
        skipped = {s.path.name: s.reason for s in walk([tmp_path]) if isinstance(s, Skipped)}
    link = "broken symbolic link; mend or delete it, or leave it out with --exclude"
    assert skipped["gone.jpg"] == skipped["self.jpg"] == link
    assert skipped["pipe.jpg"] == skipped["s.jpg"] == "not a regular file; leave it out with --exclude"


def test_a_raw_beside_its_jpeg_is_one_photo(tmp_path: Path) -> None:
    put(tmp_path / "IMG_1.JPG")
    put(tmp_path / "IMG_3.jpg")
    for name in ("img_1.cr2", "IMG_2.NEF"):
        (tmp_path / name).write_bytes(b"II*\0")
    photos = {f.path.name: [c.name for c in f.companions] for f in walk([tmp_path]) if isinstance(f, Found)}
    assert photos == {"IMG_1.JPG": ["img_1.cr2"], "IMG_2.NEF": [], "IMG_3.jpg": []}


def test_overlapping_roots_and_single_files_come_once(tmp_path: Path) -> None:
    a, b = put(tmp_path / "a.jpg"), put(tmp_path / "sub" / "b.jpg")
    assert found(tmp_path, tmp_path / "sub", a, b) == ["a.jpg", "sub/b.jpg"]
    assert found(a, a) == ["a.jpg"]


@pytest.mark.parametrize("pattern", ["sub", "sub/*", "*/b.jpg", "b.*"])
def test_excluded_is_not_found(tmp_path: Path, pattern: str) -> None:
    put(tmp_path / "a.jpg")
    put(tmp_path / "sub" / "b.jpg")
    assert found(tmp_path, exclude=(pattern,)) == ["a.jpg"]


def test_an_unreadable_folder_is_told_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.jpg")
    locked = put(tmp_path / "locked" / "b.jpg").parent
    real = os.scandir

    def refusing(path: str) -> object:
        if os.fspath(path) == str(locked):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    items = list(walk([tmp_path]))
    assert [i.path.name for i in items if isinstance(i, Found)] == ["a.jpg"]
    assert [(i.path, i.reason) for i in items if isinstance(i, Skipped)] == [
        (locked, "folder cannot be read: Permission denied; make it readable, or leave it out with --exclude")
    ]


@pytest.mark.parametrize("link", [False, True])
def test_a_photo_that_may_not_be_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool) -> None:
    """In a folder that may be listed but not entered; or a link into one."""
    put(tmp_path / "a.jpg")
    locked = tmp_path / "locked.jpg"
    if link:
        locked.symlink_to(tmp_path / "a.jpg")
    else:
        put(locked)
    real = os.stat

    def refusing(path: object, **options: object) -> os.stat_result:
        if str(path) == str(locked):
            raise PermissionError(13, "Permission denied")
        return real(path, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(os, "stat", refusing)
    items = list(walk([tmp_path]))
    assert [i.path.name for i in items if isinstance(i, Found)] == ["a.jpg"]
    assert [i.reason for i in items if isinstance(i, Skipped)] == [
        "cannot be read: Permission denied; make it readable, or leave it out with --exclude"
    ]


@pytest.mark.parametrize(("time_ns", "expected"), [(10**20, 2**63 - 1), (-(10**20), -(2**63)), (7, 7)])
def test_times_fit_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time_ns: int, expected: int) -> None:
    """tmpfs, btrfs and others can have any time, and a damaged disk has."""
    photo = put(tmp_path / "a.jpg")
    real = os.stat

    def stat(path: object, **options: object) -> object:
        info = real(path, **options)  # type: ignore[call-overload]
        if str(path) != str(photo):
            return info
        return SimpleNamespace(st_mode=info.st_mode, st_size=info.st_size, st_mtime_ns=time_ns)

    monkeypatch.setattr(os, "stat", stat)
    assert [f.mtime_ns for f in walk([tmp_path]) if isinstance(f, Found)] == [expected]


def test_a_root_that_does_not_exist_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        walk([tmp_path / "none"])


def test_a_named_file_that_is_no_photo_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    assert [i.reason for i in walk([tmp_path / "a.txt"]) if isinstance(i, Skipped)] == [
        "not a photo; name a photo, or a folder with photos"
    ]
