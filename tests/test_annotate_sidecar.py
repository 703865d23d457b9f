"""Which sidecars a photo has, and how they are written: whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from cgiaa_cli.annotate import sidecar as module
from cgiaa_cli.annotate.sidecar import Namer, Style, delete_file, read_file, write_file
from cgiaa_cli.errors import SidecarError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def targets(folder: Path, there: str, photo: str, style: Style = Style.auto) -> list[str]:
    """Names to write for a photo (and its companions) where the files `there` exist."""
    for old in folder.iterdir():
        old.unlink()
    for name in there.split():
        (folder / name).touch()
    return [path.name for path in Namer(style).names([folder / name for name in photo.split()]).targets]


@pytest.mark.parametrize(
    ("there", "photo", "auto", "adobe", "darktable"),
    [
        ("a.cr2", "a.cr2", "a.xmp", "a.xmp", "a.cr2.xmp"),
        ("a.jpg", "a.jpg", "a.jpg.xmp", "a.xmp", "a.jpg.xmp"),
        # a pair is one shot: Adobe's one sidecar is the RAW's
        ("a.jpg a.cr2", "a.jpg a.cr2", "a.xmp", "a.xmp", "a.jpg.xmp a.cr2.xmp"),
        ("a.dng a.cr2", "a.cr2 a.dng", "a.xmp", "a.xmp", "a.cr2.xmp a.dng.xmp"),
        # what exists is used
        ("a.cr2 a.cr2.xmp", "a.cr2", "a.cr2.xmp", "a.xmp", "a.cr2.xmp"),
        ("a.cr2 a.xmp", "a.cr2", "a.xmp", "a.xmp", "a.cr2.xmp"),
        ("a.cr2 a.xmp a.cr2.xmp", "a.cr2", "a.xmp a.cr2.xmp", "a.xmp", "a.cr2.xmp"),
        ("a.jpg a.cr2 a.cr2.xmp", "a.jpg a.cr2", "a.cr2.xmp", "a.xmp", "a.jpg.xmp a.cr2.xmp"),
        ("A.CR2 A.XMP", "A.CR2", "A.XMP", "A.XMP", "A.CR2.xmp"),
        # two photos never share a sidecar
        ("a.png a.cr2 a.xmp", "a.png", "a.png.xmp", "a.png.xmp", "a.png.xmp"),
        ("a.png a.cr2 a.xmp", "a.cr2", "a.xmp", "a.xmp", "a.cr2.xmp"),
        ("a.png a.jpg a.xmp", "a.jpg", "a.jpg.xmp", "a.jpg.xmp", "a.jpg.xmp"),
        # the folder's other RAWs show what its owner uses
        ("a.cr2 b.cr2 b.cr2.xmp", "a.cr2", "a.cr2.xmp", "a.xmp", "a.cr2.xmp"),
        ("a.cr2 b.cr2 b.xmp c.jpg c.jpg.xmp d.jpg.xmp", "a.cr2", "a.xmp", "a.xmp", "a.cr2.xmp"),
    ],
)
def test_names(folder: Path, there: str, photo: str, auto: str, adobe: str, darktable: str) -> None:
    for style, wanted in ((Style.auto, auto), (Style.adobe, adobe), (Style.darktable, darktable)):
        assert targets(folder, there, photo, style) == wanted.split(), style


def test_all_that_exist_are_known(folder: Path) -> None:
    for name in ("a.cr2", "a.xmp", "a.cr2.xmp"):
        (folder / name).touch()
    names = Namer(Style.darktable).names([folder / "a.cr2"])
    assert [p.name for p in names.targets] == ["a.cr2.xmp"]
    assert {p.name for p in names.existing} == {"a.xmp", "a.cr2.xmp"}


def test_writing(folder: Path) -> None:
    path = folder / "a.xmp"
    write_file(path, b"new", read_file(path))
    assert path.read_bytes() == b"new"
    path.chmod(0o640)
    os.utime(path, ns=(1, 10**18))
    write_file(path, b"newer", read_file(path), keep_time=True)
    info = path.stat()
    assert path.read_bytes() == b"newer" and stat.S_IMODE(info.st_mode) == 0o640 and info.st_mtime_ns == 10**18
    write_file(path, b"newest", read_file(path))
    assert path.stat().st_mtime_ns != 10**18
    assert [p.name for p in folder.iterdir()] == ["a.xmp"]
    delete_file(path, read_file(path))
    assert not list(folder.iterdir())


def test_a_link_stays_a_link(folder: Path) -> None:
    (folder / "real").mkdir()
    real, link = folder / "real" / "a.xmp", folder / "a.xmp"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_file(link, b"new", read_file(link))
    assert link.is_symlink() and real.read_bytes() == b"new"
    real.unlink()
    with pytest.raises(SidecarError, match="broken symbolic link"):
        read_file(link)


@pytest.mark.parametrize("what", ["content", "same size and time", "gone", "appeared", "replaced"])
def test_changed_meanwhile(folder: Path, what: str) -> None:
    path = folder / "a.xmp"
    if what != "appeared":
        path.write_bytes(b"old")
    state = read_file(path)
    theirs: bytes | None = b"theirs"
    if what == "same size and time":
        times = path.stat()
        theirs = b"OLD"
        path.write_bytes(theirs)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif what == "gone":
        path.unlink()
        theirs = None
    else:
        (folder / "b").write_bytes(b"theirs")
        os.replace(folder / "b", path)
    actions = [lambda: write_file(path, b"ours", state)]
    actions += [] if what == "appeared" else [lambda: delete_file(path, state)]
    for action in actions:
        with pytest.raises(SidecarError, match="another program changed it meanwhile"):
            action()
        assert (path.read_bytes() if path.exists() else None) == theirs
        assert len(list(folder.iterdir())) == (theirs is not None)


def test_appears_between_check_and_rename(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "a.xmp"
    state = read_file(path)
    monkeypatch.setattr(module, "_check", lambda *_: path.write_bytes(b"theirs"))
    with pytest.raises(SidecarError, match="meanwhile"):
        write_file(path, b"ours", state)
    assert path.read_bytes() == b"theirs" and len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("function", "number", "said"),
    [
        ("fsync", errno.ENOSPC, "the disk is full; free some space"),
        ("fsync", errno.EDQUOT, "the disk is full"),
        ("fsync", errno.EIO, "Input/output error"),
        ("replace", errno.EACCES, "Permission denied; make it and its folder writable"),
        ("chmod", errno.EPERM, ""),
        ("chown", errno.EPERM, ""),
    ],
)
def test_the_disk_fails(folder: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int, said: str) -> None:
    path = folder / "a.xmp"
    path.write_bytes(b"old")
    state = read_file(path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.os, function, fail)
    if not said:  # FAT has no permissions and no owners
        write_file(path, b"new", state)
        assert path.read_bytes() == b"new"
        return
    with pytest.raises(SidecarError, match=said) as caught:
        write_file(path, b"new", state)
    assert caught.value.path == str(path) and caught.value.exit_code == 3
    assert path.read_bytes() == b"old" and len(list(folder.iterdir())) == 1


def test_read_only(folder: Path) -> None:
    path = folder / "a.xmp"
    path.write_bytes(b"old")
    path.chmod(0o444)
    for action in (lambda: write_file(path, b"new", read_file(path)), lambda: delete_file(path, read_file(path))):
        with pytest.raises(SidecarError, match="read-only"):
            action()
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(folder: Path) -> None:
    path = folder / "a.xmp"
    path.write_bytes(b"old")
    folder.chmod(0o555)
    try:
        with pytest.raises(SidecarError, match="Permission denied"):
            write_file(path, b"new", read_file(path))
    finally:
        folder.chmod(0o755)
    assert path.read_bytes() == b"old"


def test_what_is_no_file(folder: Path) -> None:
    (folder / "a.xmp").mkdir()
    with pytest.raises(SidecarError):
        read_file(folder / "a.xmp")
    (folder / "b.xmp").write_bytes(b"x" * 11)
    with pytest.raises(SidecarError, match="more than"):
        read_file(folder / "b.xmp", 10)
