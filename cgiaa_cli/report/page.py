"""The page: template, style and program of this folder, and the data as one block of JSON, written as it comes.

`page.html` is also that of `cgiaa review`: what one of them has alone stands between `{{#report}}` or `{{#review}}` and
its end.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.paths import escape

__all__ = ["SHARED", "check_target", "embed", "program", "template", "write_page"]

SHARED = ("shared.js", "words.js", "charts.js", "filters.js")
"""What the programs of both pages begin with."""

_SCRIPTS = (*SHARED, "base.js", "all.js", "photo.js", "main.js")
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def template(page: str, **parts: str) -> tuple[str, str]:
    """What stands before and after the data of a page, `report` or `review`; its `{{parts}}` are replaced in order."""
    text = (resources.files(__package__) / "page.html").read_text("utf-8")
    text = re.sub(
        r"\{\{#(\w+)\}\}\n?(.*?)\{\{/\1\}\}\n?", lambda m: m[2] if m[1] == page else "", text, flags=re.DOTALL
    )
    head, _, tail = text.partition("{{data}}")
    for name, part in parts.items():
        head, tail = (half.replace(f"{{{{{name}}}}}", part) for half in (head, tail))
    return head, tail


def program(scripts: Iterable[str]) -> str:
    """One function of the texts of scripts, so that they share their names with each other and with nobody else."""
    return "".join(('"use strict";\n(() => {\n', *scripts, "})();\n"))


def check_target(target: Path, *, force: bool) -> None:
    """Raise a UsageError if the page may not be written there."""
    if not os.path.lexists(target):
        if not target.parent.is_dir():
            raise UsageError("there is no such folder", path=escape(target.parent), mend="make it, or name another -o")
    elif not target.is_file():
        raise UsageError("this is not a regular file", path=escape(target), mend="name another -o")
    elif not force:
        raise UsageError("is there already", path=escape(target), mend="name another -o, or replace it with --force")


def embed(value: object) -> str:
    """JSON that can stand in a script block of any page: plain ASCII, without `<`, `>` and `&`."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def write_page(
    target: Path,
    title: str,
    photos: Iterable[Mapping[str, Any]],
    about: Callable[[], Mapping[str, Any]],
    *,
    force: bool,
) -> int:
    """Write the page, whole or not at all; returns its size in bytes.

    Args:
        photos: taken one by one, so that memory does not grow with the pictures in them.
        about: asked, when all photos are taken, for the rest of the data.

    Raises:
        UsageError: a file of that name has come into being, and not `force`.
        CgiaaError: it cannot be written.
    """
    head, tail = _frame(title)
    temporary = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        temporary.unlink(missing_ok=True)  # an earlier process of this number was killed
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(head)
            _write_data(file, photos, about)
            file.write(tail)
            file.flush()
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        check_target(target, force=force)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the command line knows what to say
        raise CgiaaError(error.strerror or "cannot be written", path=escape(target), mend="name another -o") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return size


def _write_data(file: TextIO, photos: Iterable[Mapping[str, Any]], about: Callable[[], Mapping[str, Any]]) -> None:
    file.write('{"photos":[')
    before = "\n"
    for photo in photos:
        file.write(before + embed(photo))
        before = ",\n"
    file.write("],\n" + embed(about())[1:])


def _frame(title: str) -> tuple[str, str]:
    """What stands before and after the data."""
    folder = resources.files(__package__)
    style, *scripts = ((folder / name).read_text("utf-8") for name in ("page.css", *_SCRIPTS))
    text = program(scripts)
    # nothing is fetched from anywhere, and no text of a photo can ever run: only this style and this program may
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' data: file:; "
        f"style-src {_digest(style)}; script-src {_digest(text)}"
    )
    # the title last: it is the only part that is not ours
    return template("report", policy=policy, style=style, program=text, title=html.escape(title))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
