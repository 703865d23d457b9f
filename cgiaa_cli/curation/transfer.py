"""`--copy-to` and `--link-to`: the selected photos, with their RAW companions, into one folder.

Nothing is ever overwritten. A name that is taken gets a number, the same for a photo and its companions
(`IMG_1-2.jpg`, `IMG_1-2.cr2`); what is there already with the same content is left as it is, so running the
same command twice changes nothing. A copy appears under its name only when it is whole and on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.paths import absolute, escape

__all__ = ["Mode", "Step", "check_folder", "report", "transfer"]

BLOCK = 1 << 20


class Mode(StrEnum):
    """What to make of each photo."""

    copy = "copy"
    link = "link"


@dataclass(frozen=True)
class Step:
    """What was done, or would be done, with one file.

    Attributes:
        source, target: absolute.
        action: `copy`, `link`, `same` (it is there already) or `failed`.
        error: why it failed.
    """

    source: Path
    target: Path
    action: str
    error: str | None = None


def transfer(photos: Iterable[Sequence[Path]], folder: Path, mode: Mode, *, write: bool = False) -> Iterator[Step]:
    """Copy or link photos into `folder`, lazily: what is not asked for is not done.

    Args:
        photos: each a photo and its companions, absolute.
        folder: made where it is not there.
        write: False: say what would be done, and write nothing.

    Raises:
        UsageError: `folder` is a file, or cannot be made; raised by the call itself.
        CgiaaError: the disk is full; what was finished stays.
    """
    folder = absolute(folder)
    check_folder(folder)
    if write:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                error.strerror or "cannot be made", path=escape(folder), mend="choose another target"
            ) from error
    return _Transfer(folder, mode, write).run(photos)


def check_folder(folder: Path) -> None:
    """Raise a UsageError if `folder` is something else than a folder; it need not be there."""
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError("this is not a folder", path=escape(absolute(folder)), mend="choose another target")


class _Transfer:
    def __init__(self, folder: Path, mode: Mode, write: bool) -> None:
        self.folder = folder
        self.mode = mode
        self.write = write
        # folded, because on some disks IMG.JPG and img.jpg are one file; name -> source
        self.taken: dict[str, Path] = {}
        # names of a group -> the numbers to try first; those passed over may suit a later group
        self.numbers: dict[str, _Numbers] = {}

    def run(self, photos: Iterable[Sequence[Path]]) -> Iterator[Step]:
        done: set[Path] = set()
        for group in photos:
            sources = [path for path in dict.fromkeys(group) if path not in done]
            done.update(sources)
            if sources:
                yield from self._group(sources)
        if self.write:
            _sync_folder(self.folder)

    def _group(self, sources: list[Path]) -> Iterator[Step]:
        steps = self._plan(sources)
        at = 0
        while at < len(steps):
            step = steps[at]
            if self.write and step.action in ("copy", "link"):
                try:
                    self._do(step)
                except FileExistsError:
                    # somebody else took the name since the plan was made, or the disk folds names
                    steps = steps[:at] + self._plan([s.source for s in steps[at:]])
                    continue
                except OSError as error:
                    if error.errno in (errno.ENOSPC, errno.EDQUOT):
                        raise CgiaaError(
                            "the disk is full; what was finished is kept",
                            path=escape(self.folder),
                            mend="free some space and run the same command again",
                        ) from error
                    step = Step(step.source, step.target, "failed", error.strerror or str(error))
            yield step
            at += 1

    def _plan(self, sources: list[Path]) -> list[Step]:
        """The steps of one photo under the first number whose names are free or have these very files."""
        stem = sources[0].stem
        key = "\0".join(source.name.casefold() for source in sources)
        numbers = self.numbers.setdefault(key, _Numbers())
        for number in numbers:
            steps = []
            for source in sources:
                target = self.folder / _numbered(source.name, stem, number)
                action = self._action(source, target)
                if action is None:
                    break
                steps.append(Step(source, target, action))
            else:
                numbers.use(number)
                self.taken.update({step.target.name.casefold(): step.source for step in steps})
                return steps
        raise AssertionError("numbers never end")

    def _action(self, source: Path, target: Path) -> str | None:
        """`same` if the file is there already, None if something else is, otherwise what to do."""
        owner = self.taken.get(target.name.casefold())
        if owner is not None and owner != source:
            return None
        if not os.path.lexists(target):
            return str(self.mode)
        same = _links_to if self.mode is Mode.link else _same_content
        return "same" if same(source, target) else None

    def _do(self, step: Step) -> None:
        if self.mode is Mode.link:
            os.symlink(step.source, step.target)
        else:
            _copy(step.source, step.target)


class _Numbers:
    """The numbers that photos of one name have not used, lowest first: a thousand do not count from 1 each."""

    def __init__(self) -> None:
        self._passed: list[int] = []
        self._next = 1

    def __iter__(self) -> Iterator[int]:
        yield from list(self._passed)
        yield from itertools.count(self._next)

    def use(self, number: int) -> None:
        """Give `number` away; those below it that were not taken stay to be tried."""
        if number < self._next:
            self._passed.remove(number)
            return
        self._passed.extend(range(self._next, number))
        self._next = number + 1


def _numbered(name: str, stem: str, number: int) -> str:
    if number == 1:
        return name
    if name[: len(stem)].casefold() == stem.casefold():
        return f"{name[: len(stem)]}-{number}{name[len(stem) :]}"
    own, suffix = os.path.splitext(name)
    return f"{own}-{number}{suffix}"


def _links_to(source: Path, target: Path) -> bool:
    try:
        return os.readlink(target) == str(source)
    except OSError:
        return False


def _same_content(source: Path, target: Path) -> bool:
    """Whether the target is a whole copy of the source (or the source itself)."""
    try:
        one, other = os.stat(source), os.lstat(target)
        if not stat.S_ISREG(other.st_mode) or not stat.S_ISREG(one.st_mode):
            return False
        if (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino):
            return True
        if one.st_size != other.st_size:
            return False
        with source.open("rb") as a, target.open("rb") as b:
            while block := a.read(BLOCK):
                if block != b.read(BLOCK):
                    return False
        return True
    except OSError:
        return False


def _copy(source: Path, target: Path) -> None:
    """Copy bytes, times and permissions; the target appears whole or not at all, and never over another.

    Raises:
        FileExistsError: the name is taken.
        OSError: anything else that went wrong; nothing is left behind.
    """
    # NONBLOCK: a FIFO that took the photo's place must not hang the run
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(source, flags), "rb") as reader:
        info = os.fstat(reader.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        temporary = target.parent / f".cgiaa-{os.getpid()}.part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # an earlier process of this number was killed
        try:
            with temporary.open("xb") as writer:
                shutil.copyfileobj(reader, writer, BLOCK)
                writer.flush()
                os.fsync(writer.fileno())
            with contextlib.suppress(OSError):  # FAT has no permissions
                os.chmod(temporary, stat.S_IMODE(info.st_mode) & 0o777)
            os.utime(temporary, ns=(info.st_atime_ns, info.st_mtime_ns))
            _rename_to_free(temporary, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _rename_to_free(temporary: Path, target: Path) -> None:
    """Rename, but fail where plain `rename` would overwrite."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        # no hard links here (FAT, some network disks): reserve the name, then replace our own empty file
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(temporary, target)
        except BaseException:
            os.unlink(target)
            raise


def _sync_folder(folder: Path) -> None:
    """The names, too, must survive a power cut; where folders cannot be synced, the system sees to it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def report(steps: Iterable[Step], mode: Mode, say: Callable[[str], None], *, write: bool) -> int:
    """Say what happens with each file, then the counts; returns how many failed."""
    counts = dict.fromkeys(("copy", "link", "same", "failed"), 0)
    for step in steps:
        counts[step.action] += 1
        names = f"{escape(step.source)} -> {escape(step.target)}"
        if step.action == "failed":
            say(f"{names}: {step.error}")
        elif step.action != "same" and not write:
            say(f"would {step.action} {names}")
    done = counts["copy"] + counts["link"]
    files = "1 file" if done == 1 else f"{done} files"
    verb = "linked" if mode is Mode.link else "copied"
    tail = f", {counts['same']} there already" if counts["same"] else ""
    tail += f", {counts['failed']} failed" if counts["failed"] else ""
    if write:
        say(f"{files} {verb}{tail}")
    else:
        say(f"{files} would be {verb}{tail}; nothing was written: add --write to do it")
    return counts["failed"]
