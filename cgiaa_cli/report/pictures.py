"""The gallery's pictures as WebP: in the page itself as data, or in a folder beside it."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from cgiaa_cli.errors import CgiaaError, PhotoError, UsageError
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.paths import escape, open_regular, unescape

__all__ = ["Beside", "Inline", "Shelf", "thumbnails", "webp"]

THUMB = 256  # px of the long side
QUALITY = 72
AHEAD = 4  # photos decoded ahead of the one that is written, for each job

Note = Callable[[str, str], None]


class Inline:
    """Pictures that stand in the page itself."""

    def put(self, name: str, data: bytes) -> str:
        """The picture's address for the page."""
        return "data:image/webp;base64," + base64.b64encode(data).decode()

    def done(self) -> None:
        """The page is written."""


class Beside:
    """Pictures in `PAGE_files/.thumbs`, a name that no scan enters: they are no photos of the library.

    Their names come from the photos' contents, so writing them never harms the page that is there already.
    """

    def __init__(self, page: Path) -> None:
        self._folder = page.parent / f"{page.stem}_files" / ".thumbs"
        self._address = quote(os.fsencode(f"{page.stem}_files/.thumbs"))
        self._names: set[str] = set()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                error.strerror or "cannot be made", path=escape(self._folder), mend="name another --output"
            ) from error

    def put(self, name: str, data: bytes) -> str:
        """Write a picture, whole or not at all; returns its address for the page."""
        target = self._folder / f"{name}.webp"
        if target.name not in self._names:
            temporary = self._folder / f".{os.getpid()}.part"
            try:
                temporary.write_bytes(data)
                os.replace(temporary, target)
            except OSError as error:
                temporary.unlink(missing_ok=True)
                raise CgiaaError(
                    error.strerror or "cannot be written",
                    path=escape(target),
                    mend="free some space or name another -o",
                ) from error
        self._names.add(target.name)
        return f"{self._address}/{target.name}"

    def done(self) -> None:
        """Remove pictures of an earlier page that this one does not show."""
        for name in os.listdir(self._folder):
            if re.fullmatch(r"[0-9a-f]{32}(-large|-evidence)?\.webp", name) and name not in self._names:
                with contextlib.suppress(OSError):
                    os.unlink(self._folder / name)


Shelf = Inline | Beside


def webp(image: Image.Image, side: int | None = None) -> bytes:
    """`image` as WebP, its long side at most `side` pixels."""
    if side is not None:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def thumbnails(paths: Sequence[str], jobs: int, note: Note) -> Generator[bytes | None, None, None]:
    """A thumbnail of each photo, in order; None where it can no longer be read, which `note` is told.

    Args:
        paths: escaped.
        jobs: photos decoded at a time; memory is that of `AHEAD` times as many thumbnails.
    """
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="cgiaa-thumb")
    waiting: deque[Future[bytes | None]] = deque()
    try:
        for path in paths:
            waiting.append(pool.submit(_thumbnail, path, note))
            if len(waiting) >= jobs * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _thumbnail(path: str, note: Note) -> bytes | None:
    real = unescape(path)
    try:
        with open_regular(real) as file:
            data = file.read()
        return webp(Image.fromarray(decode(data, suffix=real.suffix).view), THUMB)
    except PhotoError as error:
        note(path, error.cause)
    except OSError as error:
        note(path, error.strerror or str(error))
    return None
