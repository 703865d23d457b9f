"""Sidecars as files: which names they have, and how they are read and replaced without losing anything.

Two conventions are in use. Adobe's programs and Capture One write `IMG.xmp`, and mean the RAW of that stem;
darktable and digiKam write `IMG.CR2.xmp`, one for each file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from cgiaa_cli.curation.transfer import _rename_to_free, _sync_folder  # one implementation of safe renaming
from cgiaa_cli.errors import SidecarError
from cgiaa_cli.imaging.formats import PHOTO_SUFFIXES, RAW_SUFFIXES
from cgiaa_cli.paths import escape, open_regular

__all__ = ["Namer", "Names", "State", "Style", "delete_file", "read_file", "write_file"]

MAX_SIDECAR = 64 << 20  # bytes; Lightroom's largest, with masks painted by hand, have some
SUFFIX = ".xmp"
_FOLDERS = 4  # whose names are kept; photos come folder by folder, if not always


class Style(StrEnum):
    """How to name a sidecar that is not there yet."""

    auto = "auto"
    adobe = "adobe"
    darktable = "darktable"


@dataclass(frozen=True)
class Names:
    """The sidecars of one photo.

    Attributes:
        targets: those to write, of which some may not exist yet.
        existing: all that exist, also under names that are not to be written.
    """

    targets: tuple[Path, ...]
    existing: tuple[Path, ...]


@dataclass(frozen=True)
class State:
    """A file as it was read, to know whether it is still the same.

    Attributes:
        path: of the file itself, symbolic links resolved.
        raw: its bytes; None: it was not there.
    """

    path: Path
    raw: bytes | None = None
    info: os.stat_result | None = None


class Namer:
    """Finds the sidecars of photos; it keeps the names in the last few folders, so it is for one run."""

    def __init__(self, style: Style) -> None:
        self.style = style
        self._folder = lru_cache(_FOLDERS)(_Listing)

    def names(self, files: Sequence[Path]) -> Names:
        """The sidecars of a photo and its companions (the RAWs of the same shot).

        `IMG.xmp` is taken for the RAW of that stem, or else for the only photo of that stem: two photos never
        share a sidecar. With `auto`, those that exist are the ones; where there is none, the sidecars of other
        RAWs in the folder show the convention; where there are none, a RAW gets `IMG.xmp` and everything else
        `IMG.jpg.xmp`.
        """
        folders = {file: self._folder(str(file.parent)) for file in files}
        short = {file: file.with_name(file.stem + SUFFIX) for file in files if folders[file].owns_stem(file)}
        full = {file: file.with_name(file.name + SUFFIX) for file in files}
        candidates = {name: folders[file] for one in (short, full) for file, name in one.items()}
        found = {name: folder.spelling(name) for name, folder in candidates.items()}
        existing = tuple(dict.fromkeys(real for real in found.values() if real))
        if self.style is Style.auto and existing:
            return Names(existing, existing)
        style = self.style
        if style is Style.auto:
            raws = [file for file in short if file.suffix.lower() in RAW_SUFFIXES]
            style = Style.adobe if raws and not folders[raws[0]].by_file else Style.darktable
        wanted = dict.fromkeys((short if style is Style.adobe and short else full).values())
        return Names(tuple(found[name] or name for name in wanted), existing)


class _Listing:
    """The names in one folder."""

    def __init__(self, folder: str) -> None:
        try:
            names = os.listdir(folder)
        except OSError:  # the photo itself cannot be read then, and that says so
            names = []
        self.names = set(names)
        self.folded = {name.casefold(): name for name in names}
        self.stems: dict[str, list[str]] = {}
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in PHOTO_SUFFIXES and not name.startswith("._"):
                self.stems.setdefault(stem.casefold(), []).append(suffix.lower())
        sidecars = [os.path.splitext(name)[0] for name in self.folded if name.endswith(SUFFIX)]
        inner = [os.path.splitext(sidecar)[1] for sidecar in sidecars]
        by_file, by_stem = (sum(s in kinds for s in inner) for kinds in (RAW_SUFFIXES, {""}))
        self.by_file = by_file > by_stem
        """Whether most RAWs here have a sidecar named as darktable does."""

    def owns_stem(self, file: Path) -> bool:
        """Whether `IMG.xmp` would be about this file."""
        same = self.stems.get(file.stem.casefold(), [])
        if any(suffix in RAW_SUFFIXES for suffix in same):
            return file.suffix.lower() in RAW_SUFFIXES
        return len(same) == 1

    def spelling(self, wanted: Path) -> Path | None:
        """The file of this name as it is spelt, e.g. `IMG.XMP`; None where there is none."""
        if wanted.name in self.names:
            return wanted
        name = self.folded.get(wanted.name.casefold())
        return wanted.with_name(name) if name else None


def read_file(path: Path, limit: int = MAX_SIDECAR) -> State:
    """Read a file that may not be there.

    Raises:
        SidecarError: it cannot be read, is no regular file, or is larger than `limit` bytes.
    """
    real = Path(os.path.realpath(path))
    try:
        with open_regular(real) as file:
            info = os.fstat(file.fileno())
            if info.st_size > limit:
                raise SidecarError(f"it has more than {limit >> 20} MiB", path=escape(path), mend="nothing was changed")
            return State(real, file.read(limit + 1), info)
    except FileNotFoundError:
        if os.path.islink(path):
            raise SidecarError("broken symbolic link", path=escape(path), mend="mend or delete it") from None
        return State(real)
    except OSError as error:
        raise SidecarError(_cause(error), path=escape(path), mend="make it readable") from error


def write_file(path: Path, data: bytes, state: State, *, keep_time: bool = False) -> None:
    """Put `data` in the place of what was read; whole or not at all, and only if nobody changed it meanwhile.

    A temporary file in the same folder is filled, synced and given the old one's permissions (and, with
    `keep_time`, its times); right before it takes the name, the old one is read again and compared.

    Raises:
        SidecarError: it cannot be written, or is not what it was when it was read. Nothing is changed then.
    """
    real = state.path
    temporary = real.with_name(f".cgiaa-{os.getpid()}.part")
    try:
        _refuse_protected(state)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # an earlier process of this number was killed
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                if state.info:
                    _like(temporary, state.info, keep_time)
                os.fsync(file.fileno())
            _check(path, state)
            if state.raw is None:
                _rename_to_free(temporary, real)
            else:
                os.replace(temporary, real)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    except FileExistsError:
        raise _changed(path) from None
    except OSError as error:
        raise SidecarError(_cause(error), path=escape(path), mend=_mend(error)) from error
    _sync_folder(real.parent)


def delete_file(path: Path, state: State) -> None:
    """Delete what was read, only if nobody changed it meanwhile.

    Raises:
        SidecarError: it cannot be deleted, or is not what it was when it was read.
    """
    try:
        _refuse_protected(state)
        _check(path, state)
        os.unlink(state.path)
    except OSError as error:
        raise SidecarError(_cause(error), path=escape(path), mend=_mend(error)) from error
    _sync_folder(state.path.parent)


def _refuse_protected(state: State) -> None:
    """A rename does not ask whether the file may be written, but who made it read-only meant it."""
    if state.info and not state.info.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EACCES, "it is read-only")
    if state.info and os.path.exists(state.path) and not os.access(state.path, os.W_OK):
        raise PermissionError(errno.EACCES, "you may not write it")


def _like(temporary: Path, info: os.stat_result, keep_time: bool) -> None:
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # only root may give files away; the permissions count
            os.chown(temporary, info.st_uid, info.st_gid)
    with contextlib.suppress(OSError):  # FAT has no permissions
        os.chmod(temporary, stat.S_IMODE(info.st_mode))
    if keep_time:
        os.utime(temporary, ns=(info.st_atime_ns, info.st_mtime_ns))


def _check(path: Path, state: State) -> None:
    """Raise if the file is not what was read: size and time first, then every byte."""
    now = read_file(state.path, max(MAX_SIDECAR, len(state.raw or b"")))
    if now.raw is None or state.raw is None or now.info is None or state.info is None:
        same = now.raw is None and state.raw is None
    else:
        same = (now.info.st_size, now.info.st_mtime_ns) == (state.info.st_size, state.info.st_mtime_ns)
        same = same and now.raw == state.raw
    if not same:
        raise _changed(path)


def _changed(path: Path) -> SidecarError:
    return SidecarError(
        "another program changed it meanwhile", path=escape(path), mend="nothing was written; run the command again"
    )


def _cause(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return error.strerror or str(error)


def _mend(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space; the file is as it was"
    return "make it and its folder writable; the file is as it was"
