"""The pictures of the page, made when they are asked for; the last of them are kept in memory."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from cgiaa_cli.errors import PhotoError
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.imaging.formats import HEAD_BYTES, sniff
from cgiaa_cli.paths import escape, open_regular, unescape

__all__ = ["SIZES", "Pictures", "jpeg", "read"]

SIZES = {"thumb": 320, "view": 1600, "full": 1 << 30}
"""Longest side in pixels of each kind of picture."""

ROOM = 192 << 20  # bytes of pictures that are kept
QUALITY = {"thumb": 80, "view": 88, "full": 92}


class Pictures:
    """Pictures of photos by the path that they lie at.

    Args:
        jobs: photos decoded at a time; as many are in memory whole.
        room: bytes of pictures that are kept.
    """

    def __init__(self, jobs: int, room: int = ROOM) -> None:
        self.pool = ThreadPoolExecutor(jobs, thread_name_prefix="cgiaa-picture")
        self._room = room
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, path: str, kind: str) -> bytes:
        """A JPEG of a photo, upright and in sRGB; a JPEG at full size is the file itself, as a browser shows it.

        Args:
            path: escaped.
            kind: one of `SIZES`.

        Raises:
            PhotoError: it is no longer there, or cannot be read.
        """
        key = (path, kind)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        data = _make(path, kind)
        with self._lock:
            # a photo as large as a quarter of all would push out too many others
            if key not in self._kept and len(data) <= self._room // 4:
                self._kept[key] = data
                self._size += len(data)
            while self._size > self._room:
                self._size -= len(self._kept.popitem(last=False)[1])
        return data

    def close(self) -> None:
        """Make no more of them."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def read(path: str) -> tuple[bytes, str | None]:
    """A photo as it lies there, and its format as `sniff` tells it.

    Args:
        path: escaped.

    Raises:
        PhotoError: it is no longer there, or cannot be read.
    """
    real = unescape(path)
    try:
        with open_regular(real) as file:
            data = file.read()
    except OSError as error:
        raise PhotoError("unreadable", error.strerror or str(error), path=escape(real)) from error
    return data, sniff(data[:HEAD_BYTES], real.suffix)


def _make(path: str, kind: str) -> bytes:
    data, format_ = read(path)
    if kind == "full" and format_ == "jpeg":
        return data
    view = decode(data, suffix=unescape(path).suffix, side=SIZES[kind]).view
    return jpeg(Image.fromarray(view), QUALITY[kind])


def jpeg(image: Image.Image, quality: int) -> bytes:
    """`image` as JPEG.

    Raises:
        PhotoError: it is larger than a JPEG can be.
    """
    file = io.BytesIO()
    try:
        image.save(file, "JPEG", quality=quality)
    except (OSError, ValueError) as error:
        raise PhotoError("unsupported", "too large to be shown at full size") from error
    return file.getvalue()
