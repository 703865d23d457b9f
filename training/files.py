"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["appearing", "require_space"]


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path`, on the disk, when the block ends well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise CgiaaError when the disk of `folder` has fewer than `needed` bytes free for `what`."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CgiaaError(
            f"{what} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            path=escape(folder),
            mend="free some space or name another --out",
        )
