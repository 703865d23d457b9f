"""Critiques beside their photos, to be read: one JSON row a photo, and one HTML page that needs no other file."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cgiaa_training.files import appearing
from numpy.typing import NDArray
from PIL import Image

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["ROWS", "SHEET", "thumbnail", "write_rows", "write_sheet"]

ROWS, SHEET = "critiques.jsonl", "critiques.html"
SIDE = 300  # px of the thumbnails
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Critiques beside their photos</title><style>
body { font: 15px/1.4 sans-serif; margin: 1em auto; max-width: 72em }
article { display: flex; gap: 1em; border-top: 1px solid #ccc; padding: .8em 0 }
article > div:first-child { flex: 0 0 300px }
small { color: #666 } p { margin: .2em 0 .5em }
</style></head><body>
"""


def thumbnail(view: NDArray[np.uint8]) -> bytes:
    """A JPEG of `SIDE` px or less of an upright sRGB view (h, w, 3)."""
    image = Image.fromarray(view)
    image.thumbnail((SIDE, SIDE))
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=80)
        return file.getvalue()


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One JSON object a line; whole or not at all.

    Raises:
        CgiaaError: it cannot be written.
    """
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_sheet(path: Path, rows: Sequence[Mapping[str, Any]], thumbnails: Sequence[bytes]) -> None:
    """The page; whatever stands in a name or a text is shown, not obeyed.

    Raises:
        CgiaaError: it cannot be written.
    """
    photos = [_article(n, row, small) for n, (row, small) in enumerate(zip(rows, thumbnails, strict=True))]
    _write(path, _HEAD + "\n".join(photos) + "\n</body></html>\n")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with appearing(path) as partial:
            partial.write_text(text, "utf-8")
    except OSError as error:
        raise CgiaaError(error.strerror or "cannot be written", path=escape(path), mend="name another --out") from error


def _article(number: int, row: Mapping[str, Any], small: bytes) -> str:
    data = base64.b64encode(small).decode()
    name = html.escape(Path(row["path"]).name)
    lines = [f'<article id="p{number}"><div><img alt="{name}" src="data:image/jpeg;base64,{data}"><br>']
    lines.append(
        f"<small>{number}. {html.escape(str(row['path']))}<br>{html.escape(', '.join(row['kinds']))}</small></div>"
    )
    lines.append("<div>")
    if row["notice"]:
        lines.append(f"<p>{html.escape(row['notice'])}</p>")
    lines += _texts(row)
    return "\n".join([*lines, "</div></article>"])


def _texts(row: Mapping[str, Any]) -> Iterator[str]:
    for name, found in row["attributes"].items():
        if not found["text"]:
            continue
        evidence = ", ".join(f"{key} {value}" for key, value in found["evidence"].items())
        advice = " ".join(one["text"] for one in found["advice"])
        yield (
            f"<p><b>{html.escape(name)} {found['score']:.2f}</b> ({html.escape(found['source'])}) "
            f"{html.escape(found['text'])}<br><small>{html.escape(evidence)}"
            f"{'<br>To do: ' + html.escape(advice) if advice else ''}</small></p>"
        )
