"""Photos that training does without, as ROOT/left-out.txt names them: one a line, escaped, below ROOT where it can be.

Large sets are known to lack some photos, and to have some that are damaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cgiaa_training.files import appearing
from cgiaa_training.readers import exists, join, read_image

from cgiaa_cli.paths import escape, unescape

__all__ = ["LEFT_OUT", "leave_out", "left_out"]

LEFT_OUT = "left-out.txt"


def leave_out(photos: Iterable[str], root: Path) -> Path:
    """Name photos (escaped places) beside those that are named already; returns the file."""
    path, inside = root / LEFT_OUT, os.path.join(escape(root), "")
    named = {*map(escape, left_out(str(root))), *photos}
    with appearing(path) as partial:
        partial.write_text("".join(f"{photo.removeprefix(inside)}\n" for photo in sorted(named)), "utf-8")
    return path


def left_out(root: str) -> set[str]:
    """Places of these photos, as `manifest.Sample.image` has them."""
    place = join(root, LEFT_OUT)
    lines = filter(None, read_image(place).decode("utf-8").splitlines()) if exists(place) else ()
    return {join(root, line if "://" in line else str(unescape(line))) for line in lines}
