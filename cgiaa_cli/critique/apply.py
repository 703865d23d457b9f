"""Improved copies: the crop and the straightening that a critique advises, done to a copy, never to the photo."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from cgiaa_cli.critique.advice import largest_level_box
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.paths import escape

__all__ = ["ACTIONS", "improved", "save_copy"]

ACTIONS = ("crop", "straighten")


def improved(
    source: Path, *, degrees: float | None = None, box: Sequence[float] | None = None
) -> tuple[Image.Image, bytes | None]:
    """The photo's first frame, upright, turned and cropped at full size; and its colour profile.

    Args:
        degrees: to turn clockwise; the corners that come in are cut away, keeping the proportions.
        box: (x, y, w, h) in shares of the frame as it stood before turning.

    Raises:
        CgiaaError: it cannot be read; RAW photos are for a raw converter.
    """
    try:
        with Image.open(source) as opened:
            profile = opened.info.get("icc_profile")
            image = ImageOps.exif_transpose(opened)
            image.load()
    except Exception as error:  # Pillow's plugins raise anything on bad data
        raise CgiaaError(
            f"cannot be opened to make a copy ({type(error).__name__})",
            path=escape(source),
            mend="for RAW photos do it in a raw converter",
        ) from error
    if image.mode not in ("RGB", "L", "RGBA", "CMYK"):
        image = image.convert("RGB")
    if box is not None:
        x, y, w, h = box
        width, height = image.size
        image = image.crop((round(x * width), round(y * height), round((x + w) * width), round((y + h) * height)))
    if degrees is not None:
        wide, high = largest_level_box(image.width, image.height, degrees)
        turned = image.rotate(-degrees, Image.Resampling.BICUBIC)  # Pillow turns anticlockwise
        left, top = (turned.width - wide) // 2, (turned.height - high) // 2
        image = turned.crop((left, top, left + wide, top + high))
    return image, profile


def save_copy(image: Image.Image, profile: bytes | None, source: Path, folder: Path) -> Path:
    """Write the copy into `folder` under the photo's name with `-improved`, whole or not at all.

    Raises:
        UsageError: a file of that name is there already; nothing is overwritten.
        CgiaaError: it cannot be written.
    """
    suffix = source.suffix.lower() if source.suffix.lower() in (".png", ".tif", ".tiff", ".webp") else ".jpg"
    target = folder / f"{source.stem}-improved{suffix}"
    if target.exists():
        raise UsageError("is there already", path=escape(target), mend="move it away or name another --out")
    kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}.get(suffix, "TIFF")
    if kind == "JPEG" and image.mode == "RGBA":
        image = image.convert("RGB")
    options: dict[str, object] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    temporary = folder / f".{target.name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            image.save(file, kind, icc_profile=profile, **options)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, target) if hasattr(os, "link") else os.rename(temporary, target)
    except OSError as error:
        raise CgiaaError(
            error.strerror or "cannot be written", path=escape(target), mend="name another --out"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return target
