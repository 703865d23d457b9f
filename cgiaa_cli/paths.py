r"""Paths as text: printable, storable and reversible.

A file name on a POSIX system is bytes, and not always UTF-8. JSON, SQLite and terminals want text. The rule:

* a byte that is not UTF-8 becomes ``\xNN`` (two lower-case hex digits);
* a backslash that is followed by ``xNN`` in the real name becomes ``\x5c``, so that the rule can be undone;
* everything else stays as it is.

`unescape` undoes `escape` exactly. Windows names are text already; lone surrogates there are escaped
through the same rule by way of `os.fsencode`.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import BinaryIO

__all__ = ["absolute", "escape", "open_regular", "printable", "unescape"]

_AMBIGUOUS = re.compile(rb"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
# NONBLOCK: opening a FIFO would wait for somebody to write into it
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def escape(path: str | bytes | os.PathLike[str]) -> str:
    r"""Text for a path, e.g. ``b"caf\xe9.jpg"`` -> ``caf\xe9.jpg``. Never raises; see the module's rule."""
    raw = _AMBIGUOUS.sub(rb"\\x5c", os.fsencode(path))
    return raw.decode("utf-8", errors="backslashreplace")


def unescape(text: str) -> Path:
    """The path that `escape` turned into `text`."""
    parts = _ESCAPED.split(text)
    raw = b"".join(bytes([int(part, 16)]) if i % 2 else part.encode("utf-8") for i, part in enumerate(parts))
    return Path(os.fsdecode(raw))


def printable(text: str) -> str:
    """`text` (escaped or not) safe to show on one line: what controls a terminal or turns the writing round is escaped.

    Spaces of all kinds stay, as in the names of screenshots on macOS (U+202F) or of Japanese files (U+3000).
    """
    shown = (c.isprintable() or unicodedata.category(c) == "Zs" for c in text)
    return "".join(c if kept else c.encode("unicode_escape").decode() for c, kept in zip(text, shown, strict=True))


def absolute(path: str | os.PathLike[str]) -> Path:
    """Absolute and normalised, without resolving symbolic links (the name the user knows stays)."""
    return Path(os.path.abspath(os.fspath(path)))


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read it, also where something else has taken its place since it was looked at.

    Raises:
        OSError: it cannot be opened, or is a FIFO, socket or device, which could keep a reader waiting for ever.
    """
    descriptor = os.open(path, _OPEN_FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return os.fdopen(descriptor, "rb")
