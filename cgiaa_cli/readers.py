"""The reading side of a scan: threads that turn files into inputs of the network, or find them scored.

`pipeline` tells the whole story; here is what happens to one file. Memory is bounded twice: by the number of
photos that `pipeline` hands out, and by `_Gate`, which lets large photos decode one after the other.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import queue
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cgiaa_cli.cache.store import Cache, Content, FileEntry
from cgiaa_cli.errors import CgiaaError, PhotoError
from cgiaa_cli.imaging.formats import HEAD_BYTES
from cgiaa_cli.paths import open_regular

if TYPE_CHECKING:
    from cgiaa_cli.imaging.look import Look
    from cgiaa_cli.imaging.preprocess import Inputs
    from cgiaa_cli.inference.scores import Scores
    from cgiaa_cli.library.walk import Found

__all__ = ["Claims", "Crash", "Done", "Prepared", "Readers"]

# Decoded pixels are what fills the memory: of a 24-megapixel photo 72 MB as JPEG, 240 MB otherwise
DECODE_BYTES = 600 << 20
JPEG_BYTES, OTHER_BYTES = 3, 10  # per pixel, at the peak of decoding
UNKNOWN_PIXELS = 24_000_000
MENDS = {
    "unreadable": "make it readable",
    "bomb": "free some memory or use fewer --jobs",
    "unsupported": "please report it with the photo; --retry-failed tries it again",
}


@dataclass(frozen=True)
class Done:
    """What came of one or more files with the same bytes.

    Attributes:
        entry: the file that was read.
        content, scores, look: set where the network scored it, else it failed or was scored already.
    """

    entry: FileEntry
    content: Content | None = None
    scores: Scores | None = None
    look: Look | None = None


@dataclass(frozen=True)
class Prepared:
    entry: FileEntry
    content: Content
    inputs: Inputs
    look: Look


@dataclass(frozen=True)
class Crash:
    error: BaseException


class _Gate:
    """Lets threads take bytes of a budget; one that wants more than there is may have it all."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._free = budget
        self._changed = threading.Condition()

    def take(self, wanted: int) -> int:
        wanted = min(wanted, self._budget)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        return wanted

    def give(self, taken: int) -> None:
        with self._changed:
            self._free += taken
            self._changed.notify_all()


class Claims:
    """Which contents are being scored, so that duplicates wait for the first of them and are not scored too.

    `claim` is called by readers, `release` by the writer once the content is in the cache or has failed.
    """

    def __init__(self, cache: Cache, scorer: int) -> None:
        self._reader = cache.reader()
        self._guard = cache.guard
        self._scorer = scorer
        self._lock = threading.Lock()
        self._waiting: dict[str, list[FileEntry]] = {}

    def claim(self, entry: FileEntry) -> str:
        """`scored`: the cache has it; `waits`: another file with it is under way; `mine`: score it."""
        assert entry.hash is not None
        with self._lock:  # around the query too: between it and the claim the owner could come and go
            if entry.hash in self._waiting:
                self._waiting[entry.hash].append(entry)
                return "waits"
            with self._guard():
                found = self._reader.execute(
                    "SELECT 1 FROM contents c JOIN scores s ON s.content_id = c.id "
                    "WHERE c.hash = ? AND s.scorer_id = ?",
                    (entry.hash, self._scorer),
                ).fetchone()
            if found:
                return "scored"
            self._waiting[entry.hash] = []
            return "mine"

    def release(self, hash_: str) -> list[FileEntry]:
        """The files that waited for this content."""
        with self._lock:
            return self._waiting.pop(hash_, [])

    def close(self) -> None:
        self._reader.close()


class Readers:
    """Threads that turn files into inputs of the network."""

    def __init__(self, jobs: int, claims: Claims, max_pixels: int | None) -> None:
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="cgiaa-read")
        self._claims = claims
        self._gate = _Gate(DECODE_BYTES)
        self._limit = {} if max_pixels is None else {"max_pixels": max_pixels}
        self.prepared: queue.SimpleQueue[Prepared | None] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[Done | Crash | None] = queue.SimpleQueue()
        self._stopped = False
        # here and not in a thread: it lifts Pillow's own limit of pixels, which `_decoded_bytes` would meet
        importlib.import_module("cgiaa_cli.imaging.decode")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # about metadata that scoring does not use

    def submit(self, found: Found, entry: FileEntry) -> None:
        """One answer to it will come: in `prepared`, or in `done` (None: it waits for another file)."""
        self._pool.submit(self._work, found.path, entry)

    def stop(self) -> None:
        """Finish the photos at hand and forget the others."""
        self._stopped = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, path: Path, entry: FileEntry) -> None:
        if self._stopped:
            return
        try:
            answer = self._read(path, entry)
        except BaseException as error:
            self.done.put(Crash(error))
            return
        if isinstance(answer, Prepared):
            self.prepared.put(answer)
        else:
            self.done.put(answer)

    def _read(self, path: Path, entry: FileEntry) -> Prepared | Done | None:
        taken = 0
        try:
            with open_regular(path) as file:
                self._require_photo(file, path.suffix)
                file.seek(0)
                taken = self._gate.take(_decoded_bytes(file, entry.size))
                file.seek(0)
                data = file.read()
            entry = replace(entry, hash=hashlib.blake2b(data, digest_size=16).hexdigest())
            verdict = self._claims.claim(entry)
            if verdict == "mine":
                return self._prepare(data, path.suffix, entry)
            return Done(entry) if verdict == "scored" else None
        except PhotoError as error:
            return _failed(entry, error.kind, error.cause, error.mend)
        except OSError as error:
            return _failed(entry, "unreadable", error.strerror or str(error), MENDS["unreadable"])
        except MemoryError:
            return _failed(entry, "bomb", "not enough memory to decode it", MENDS["bomb"])
        except CgiaaError:
            raise  # about the cache or the installation, so about every photo
        except Exception as error:  # our own mistake: it costs this photo, not the scan
            cause = " ".join(f"cannot be scored ({type(error).__name__}: {error})".split())
            return _failed(entry, "unsupported", cause, MENDS["unsupported"])
        finally:
            self._gate.give(taken)

    def _require_photo(self, file: BinaryIO, suffix: str) -> None:
        from cgiaa_cli.imaging.decode import require_photo

        size = os.fstat(file.fileno()).st_size
        require_photo(file.read(HEAD_BYTES), size, suffix=suffix, **self._limit)

    def _prepare(self, data: bytes, suffix: str, entry: FileEntry) -> Prepared:
        from cgiaa_cli.imaging.decode import decode
        from cgiaa_cli.imaging.exif import read_exif
        from cgiaa_cli.imaging.look import look
        from cgiaa_cli.imaging.preprocess import prepare

        assert entry.hash is not None
        photo = decode(data, suffix=suffix, **self._limit)
        exif = asdict(read_exif(data))
        content = Content(entry.hash, len(data), photo.format, photo.width, photo.height, **exif)
        inputs = prepare(photo)
        return Prepared(entry, content, inputs, look(inputs.photo))


def _decoded_bytes(file: Any, size: int) -> int:
    """About how much memory decoding an open file takes, from its header."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            width, height = image.size
            return size + width * height * (JPEG_BYTES if image.format == "JPEG" else OTHER_BYTES)
    except Exception:  # whatever is wrong with it, or RAW: `decode` will say
        return size + min(UNKNOWN_PIXELS, size * 100) * OTHER_BYTES


def _failed(entry: FileEntry, kind: str, cause: str, mend: str | None) -> Done:
    return Done(replace(entry, error_kind=kind, error=f"{cause}; {mend}" if mend else cause))
