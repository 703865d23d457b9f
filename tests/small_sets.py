"""Files of small training sets, for the tests of how they are read."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def photo(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (len(path.name), 90, 40)).save(path)
