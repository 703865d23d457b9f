"""Find the photos below some folders: deterministic, lazy, without opening what the name already tells.

A rescan of a large library is mostly this module, so a file with a photo's suffix costs one stat and no open.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cgiaa_cli import paths
from cgiaa_cli.errors import UsageError
from cgiaa_cli.imaging.formats import (
    ADOPTING_SUFFIXES,
    HEAD_BYTES,
    OTHER_SUFFIXES,
    PHOTO_SUFFIXES,
    RAW_SUFFIXES,
    sniff,
)

__all__ = ["Found", "Skipped", "is_passed_by", "walk"]

# thumbnails, bins and indexes that systems and photo programs keep beside the user's own files
_NOT_FOLDERS = frozenset(
    [
        "@eadir",
        "#recycle",
        "#snapshot",
        ".thumbnails",
        ".thumbs",
        ".cache",
        ".dtrash",
        ".picasaoriginals",
        ".git",
        ".spotlight-v100",
        ".fseventsd",
        ".documentrevisions-v100",
        ".temporaryitems",
        ".appledouble",
        "__macosx",
        "$recycle.bin",
        "lost+found",
    ]
) | {"system volume information"}
_NOT_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", "icon\r"))
_LEAVE_OUT = "leave it out with --exclude"
_BROKEN_LINK = f"broken symbolic link; mend or delete it, or {_LEAVE_OUT}"
_NOT_REGULAR = f"not a regular file; {_LEAVE_OUT}"
_NO_PHOTO = "not a photo; name a photo, or a folder with photos"
_Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """One photo.

    Attributes:
        path: absolute, by the name that the user knows (symbolic links are not resolved).
        size: bytes; may be 0, `decode` reports that.
        mtime_ns: modification time, nanoseconds since the epoch, within 64 bits.
        companions: the RAWs of the same shot in the same folder, sorted; not photos of their own.
    """

    path: Path
    size: int
    mtime_ns: int
    companions: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something the user may have expected to be scanned, and why it was not: cause and mend."""

    path: Path
    reason: str


@dataclass(slots=True)
class _Roots:
    """Checked roots: folders to walk, and single files by the folder they lie in."""

    folders: list[str] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)


def walk(roots: Iterable[str | os.PathLike[str]], exclude: Sequence[str] = ()) -> Iterator[Found | Skipped]:
    """Every photo below `roots`, once, in sorted order (a folder's files, then its subfolders).

    Symbolic links are followed, but no real folder is entered twice, so loops end and overlapping roots do not
    repeat files. Memory is that of the largest folder, plus one small entry for each folder seen. A RAW beside
    a JPEG or HEIC of the same stem is a companion; of several RAWs without one, the first has the others as
    companions. Devices, sockets and FIFOs are never opened.

    Args:
        roots: folders and files.
        exclude: shell patterns (``*``, ``?``, ``[..]``; ``*`` also matches ``/``), compared with the name, with
            the path relative to the root and with the absolute path. A folder that matches is not entered.

    Returns:
        A lazy iterator of photos, and of what could not be scanned.

    Raises:
        UsageError: a root does not exist; raised by the call itself, before anything is walked.
    """
    checked = _check(roots)
    return _walk(checked, _excluder(exclude))


def _check(roots: Iterable[str | os.PathLike[str]]) -> _Roots:
    checked = _Roots()
    for root in dict.fromkeys(str(paths.absolute(r)) for r in roots):
        try:
            mode = os.stat(root).st_mode
        except PermissionError:
            mode = stat.S_IFDIR  # it may exist: walking it will say what is wrong
        except (OSError, ValueError) as error:
            link = os.path.islink(root) if "\0" not in root else False
            raise UsageError(
                "is a broken symbolic link" if link else _cause(error),
                path=paths.escape(root),
                mend="name a folder or a photo that exists",
            ) from error
        if stat.S_ISDIR(mode):
            checked.folders.append(root)
        else:
            folder, name = os.path.split(root)
            checked.files.setdefault(folder, []).append(name)
    return checked


def _excluder(patterns: Sequence[str]) -> Callable[[str, str, str], bool] | None:
    """A function (name, relative path, absolute path) -> excluded?, or None if there is no pattern."""
    regexes = [fnmatch.translate(p.rstrip("/").replace(os.sep, "/")) for p in patterns if p.rstrip("/")]
    if not regexes:
        return None
    matches = re.compile("|".join(regexes), re.IGNORECASE if os.name == "nt" else 0).match

    def excluded(name: str, relative: str, absolute: str) -> bool:
        return bool(matches(name) or matches(relative) or matches(absolute.replace(os.sep, "/")))

    return excluded


def _walk(roots: _Roots, excluded: Callable[[str, str, str], bool] | None) -> Iterator[Found | Skipped]:
    visited: set[_Identity] = set()
    for root in roots.folders:
        pending = [root]
        while pending:
            folder = pending.pop()
            try:
                info = os.stat(folder)
                if (info.st_dev, info.st_ino) in visited:
                    continue
                with os.scandir(folder) as entries:
                    listed = list(entries)
            except OSError as error:
                yield Skipped(Path(folder), _because(error, "folder cannot be read"))
                continue
            visited.add((info.st_dev, info.st_ino))
            if excluded is not None:
                listed = [e for e in listed if not excluded(e.name, _relative(e.path, root), e.path)]
            listed.sort(key=lambda e: e.name)
            folders = [e.path for e in listed if _is_folder(e)]
            pending.extend(reversed(folders))
            inside = set(folders)
            yield from _photos((e.path, e.name) for e in listed if e.path not in inside)
    yield from _root_files(roots.files, visited, excluded)


def _root_files(
    files: dict[str, list[str]],
    visited: set[_Identity],
    excluded: Callable[[str, str, str], bool] | None,
) -> Iterator[Found | Skipped]:
    """Files named one by one. Those in a folder that was walked anyway have been yielded with it."""
    for folder, names in files.items():
        try:
            info = os.stat(folder)
        except OSError:
            continue
        if (info.st_dev, info.st_ino) in visited:
            continue
        kept = sorted(n for n in names if excluded is None or not excluded(n, n, os.path.join(folder, n)))
        yield from _photos(((os.path.join(folder, n), n) for n in kept), named=True)


def _relative(path: str, root: str) -> str:
    return path[len(root) :].lstrip(os.sep).replace(os.sep, "/")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether to enter it. False for a folder that is skipped is harmless: it has no photo's stat either."""
    try:
        is_folder = entry.is_dir()
    except OSError:
        return False
    return is_folder and not is_passed_by(entry.name)


def is_passed_by(name: str) -> bool:
    """Whether a folder of this name below a root is never entered."""
    return name.lower() in _NOT_FOLDERS or name.lower().startswith(".trash")


def _photos(files: Iterable[tuple[str, str]], named: bool = False) -> Iterator[Found | Skipped]:
    """The photos among the (path, name) of one folder, RAWs attached to their JPEG.

    Args:
        named: the user named these files himself, so he hears of each that is not a photo.
    """
    kept: list[tuple[str, os.stat_result, str, str]] = []  # path, stat, stem, suffix
    for path, name in files:
        stem, suffix = _split(name)
        info = _inspect(path, name, suffix, named)
        if isinstance(info, Skipped):
            yield info
        elif info is not None:
            kept.append((path, info, stem, suffix))
    owners, companions = _pair(kept)
    for path, info, _, _ in kept:
        if path not in owners:
            raws = tuple(Path(raw) for raw in companions.get(path, ()))
            yield Found(Path(path), info.st_size, _64_bits(info.st_mtime_ns), raws)


def _64_bits(number: int) -> int:
    """What a database can hold: damaged file systems have times thousands of years away."""
    return max(-(1 << 63), min(number, (1 << 63) - 1))


def _split(name: str) -> tuple[str, str]:
    """Stem and lower-case suffix of a name, for comparison."""
    stem, dot, suffix = name.rpartition(".")
    return (stem.casefold(), "." + suffix.lower()) if dot and stem else (name.casefold(), "")


def _pair(
    kept: list[tuple[str, os.stat_result, str, str]],
) -> tuple[set[str], dict[str, list[str]]]:
    """Which paths are companions, and the companions of each owner."""
    raws: dict[str, list[str]] = {}
    for path, _, stem, suffix in kept:
        if suffix in RAW_SUFFIXES:
            raws.setdefault(stem, []).append(path)
    if not raws:
        return set(), {}
    companions: dict[str, list[str]] = {}
    for path, _, stem, suffix in kept:
        if suffix in ADOPTING_SUFFIXES and stem in raws:
            companions[path] = raws.pop(stem)  # a second JPEG or HEIC of the stem is a photo without companions
    for first, *others in raws.values():
        if others:
            companions[first] = others
    return {raw for owned in companions.values() for raw in owned}, companions


def _inspect(path: str, name: str, suffix: str, named: bool) -> os.stat_result | Skipped | None:
    """The stat of a photo; None for what is silently not one; `Skipped` for what the user should hear about."""
    if name.startswith("._") or name.lower() in _NOT_FILES or suffix in OTHER_SUFFIXES:
        return Skipped(Path(path), _NO_PHOTO) if named else None
    expected = named or suffix in PHOTO_SUFFIXES
    try:
        info = os.stat(path)
    except OSError as error:
        link = os.path.islink(path)
        gone = isinstance(error, FileNotFoundError) and not link  # since it was listed: not worth a line
        if not named and (gone or not expected):
            return None
        broken = link and not isinstance(error, PermissionError)
        return Skipped(Path(path), _BROKEN_LINK if broken else _because(error, "cannot be read"))
    if not stat.S_ISREG(info.st_mode):
        folder = stat.S_ISDIR(info.st_mode)
        return Skipped(Path(path), _NOT_REGULAR) if expected and not folder else None
    if suffix in PHOTO_SUFFIXES:
        return info
    try:
        with paths.open_regular(path) as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        return Skipped(Path(path), _because(error, "cannot be read"))
    if sniff(head, suffix) is None:
        return Skipped(Path(path), _NO_PHOTO) if named else None
    return info


def _because(error: OSError, what: str) -> str:
    return f"{what}: {_cause(error)}; make it readable, or {_LEAVE_OUT}"


def _cause(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
