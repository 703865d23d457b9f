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
from pathlib import Path

__all__ = ["absolute", "escape", "printable", "unescape"]

_AMBIGUOUS = re.compile(rb"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def escape(path: str | bytes | os.PathLike[str]) -> str:
    r"""Text for a path, e.g. ``b"caf\xe9.jpg"`` -> ``caf\xe9.jpg``. Never raises; see the module's rule."""
    raw = _AMBIGUOUS.sub(rb"\\x5c", os.fsencode(path))
    return raw.decode("utf-8", errors="backslashreplace")


def unescape(text: str) -> Path:
    """The path that `escape` turned into `text`."""
    parts = _ESCAPED.split(text)
    raw = b"".join(
        bytes([int(part, 16)]) if i % 2 else part.encode("utf-8") for i, part in enumerate(parts)
    )
    return Path(os.fsdecode(raw))


def printable(text: str) -> str:
    """`text` (escaped or not) safe to show on one terminal line: control characters are escaped too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def absolute(path: str | os.PathLike[str]) -> Path:
    """Absolute and normalised, without resolving symbolic links (the name the user knows stays)."""
    return Path(os.path.abspath(os.fspath(path)))
