"""Files that are whole or not there, what they are called, and whether there is room for them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["appearing", "key_of", "plain_name", "require_memory", "require_space", "reserve"]

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EFBIG: "too large for the file system or a limit (ulimit -f)",
}
_TORCH = ("PytorchStreamWriter failed", "unexpected pos")  # torch.save has no class of its own, and tells no cause


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path`, on the disk, when the block ends well.

    Raises CgiaaError when there is no room for it.
    """
    # machines that share a folder may have the same number of a process
    owner = plain_name(f"{socket.gethostname()}-{os.environ.get('RANK', '0')}-{os.getpid()}")
    partial = path.with_name(f".{path.name}.{owner}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        cause = _no_room(error)
        if cause is None:
            raise
        mend = "free some space and run the same command again"
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            mend = "raise the limit, or name an --out that takes larger files"
        raise CgiaaError(cause, path=escape(path), mend=mend) from error
    finally:
        partial.unlink(missing_ok=True)


def _no_room(error: OSError | RuntimeError) -> str | None:
    """What to say where writing failed for want of space; None: it failed otherwise."""
    if isinstance(error, OSError):
        return f"cannot be written: {_FULL[error.errno]}" if error.errno in _FULL else None
    return "could not be written (full disk?)" if any(words in str(error) for words in _TORCH) else None


def require_memory(needed: int, what: str) -> None:
    """Raise CgiaaError when the system has fewer than `needed` bytes of memory to give for `what`, where it says so."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # no Linux
        return
    if free < needed:
        raise CgiaaError(
            f"{what} needs {_size(needed)} of memory, {_size(free)} are free",
            mend="learn from fewer photos, or on a larger machine",
        )


def key_of(parts: Any) -> str:
    """Sixteen hex digits that change with `parts`: in a file's name or a checkpoint, they tell what it is of.

    Args:
        parts: anything JSON holds, arrays among it; of other objects, what `repr` says.
    """
    return hashlib.sha256(json.dumps(parts, default=_said).encode()).hexdigest()[:16]


def _said(part: Any) -> str:
    if isinstance(part, np.ndarray):
        return f"{part.dtype} {part.shape} {hashlib.sha256(np.ascontiguousarray(part).data).hexdigest()}"
    return repr(part)


def plain_name(name: str) -> str:
    """A name, a path or an address as a file may be called that stays in its folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[-80:]


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise CgiaaError when the disk of `folder` has fewer than `needed` bytes free for `what`."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise _full(folder, needed, f"{what} needs {_size(needed)}, {_size(free)} are free")


def reserve(file: BinaryIO, folder: Path, needed: int, what: str) -> None:
    """Give an open file its `needed` bytes of the disk now, where the system can, not after hours of computing.

    Raises CgiaaError when there is no room.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, needed)
    except OSError as error:  # a file system that cannot reserve says so by other numbers
        if error.errno in _FULL:
            raise _full(folder, needed, f"{what} needs {_size(needed)} ({_FULL[error.errno]})") from error


def _full(folder: Path, needed: int, cause: str) -> CgiaaError:
    return CgiaaError(cause, path=escape(folder), mend=f"free {_size(needed)} or name another --out")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
