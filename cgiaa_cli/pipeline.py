"""The whole story of a scan in one file: find, compare with the cache, read, decode, score, write.

    walk ──> compare with the cache ──> unchanged: done
                     │
                     └──> readers (threads): read, hash, EXIF, decode, prepare
                               └──> scorer (one thread): batches through the network
                                        └──> back to the main thread, the only writer of the cache

The main thread hands out no more work than `_Scan.limit` photos at a time, so every queue is short whatever
the size of the library, and nothing ever blocks on a full one. Some dozens of photos are written in one
transaction: an interruption, `kill -9` too, costs those in flight and nothing else.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgiaa_cli import bundles
from cgiaa_cli.cache.store import Cache, FileEntry, scores_of
from cgiaa_cli.config import DEVICES, read_config
from cgiaa_cli.errors import CacheError, UsageError
from cgiaa_cli.inference import usable_cpus
from cgiaa_cli.paths import absolute, escape
from cgiaa_cli.readers import Claims, Crash, Done, Prepared, Readers

if TYPE_CHECKING:
    from cgiaa_cli.bundles import Bundle
    from cgiaa_cli.inference.engine import Engine
    from cgiaa_cli.inference.scores import Scores
    from cgiaa_cli.library.walk import Found, Skipped

__all__ = ["ScanOptions", "ScanRow", "ScanSummary", "open_engine", "run_scan"]

CHUNK = 500  # files looked up in the cache at a time; SQLite takes 999 parameters at least
CHUNK_SECONDS = 0.2  # but a slow disk's first photos must not wait for 500
FLUSH_ROWS = 64
FLUSH_SECONDS = 1.0
FILL_SECONDS = 0.1  # how long a batch waits to become full


@dataclass(frozen=True)
class ScanOptions:
    """What to scan and how.

    Attributes:
        paths: folders and files.
        db: the cache; None: `cache.store.default_path()`.
        model: name or folder of the bundle; None: the one in use.
        device: `auto`, `cpu` or `cuda`; None: as the config file says, else `auto`.
        jobs: photos decoded at a time; None: as the config file says, else one per usable CPU.
        batch_size: photos the network scores at a time.
        exclude: patterns of names and paths, see `library.walk.walk`.
        recheck: read and hash every file, also those whose size and time did not change.
        retry_failed: try again the photos that failed and did not change since.
        max_pixels: refuse larger photos; None: `imaging.decode`'s limit.
    """

    paths: Sequence[Path]
    db: Path | None = None
    model: str | None = None
    device: str | None = None
    jobs: int | None = None
    batch_size: int = 16
    exclude: Sequence[str] = ()
    recheck: bool = False
    retry_failed: bool = False
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        for name in ("jobs", "batch_size", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be 1 or more, not {value}")
        if self.device is not None and self.device not in DEVICES:
            raise UsageError(f"device '{self.device}' is not known", mend=f"choose one of {', '.join(DEVICES)}")


@dataclass
class ScanSummary:
    """What became of the photos.

    Attributes:
        photos: found, failed ones too.
        scored: by the network, in this scan.
        failed: cannot be scored, in this scan or as remembered from an earlier one.
        skipped: what could not be looked into (a folder without permission, a broken link): no photo.
        unchanged: scored already: untouched, moved, renamed, or a duplicate of another.
        missing: files that the cache knew below these folders and that are gone.
    """

    photos: int = 0
    scored: int = 0
    failed: int = 0
    skipped: int = 0
    unchanged: int = 0
    missing: int = 0


@dataclass(frozen=True)
class ScanRow:
    """One photo, after it was compared with or written to the cache.

    Attributes:
        path: escaped absolute path.
        record: all columns, as `cache.rows.row_json` reads them.
        error, error_kind: why it failed; None where it did not. Kinds are those of `PhotoError`.
    """

    path: str
    record: dict[str, Any]
    error: str | None = None
    error_kind: str | None = None

    @cached_property
    def scores(self) -> Scores | None:
        """The scores; None where it failed."""
        return None if self.error_kind else scores_of(self.record)


OnRow = Callable[[ScanRow], None]


def run_scan(
    options: ScanOptions,
    *,
    leave: Callable[[Found], bool] | None = None,
    on_row: OnRow | None = None,
    on_new: OnRow | None = None,
    on_failure: OnRow | None = None,
    on_progress: Callable[[ScanSummary], None] | None = None,
) -> ScanSummary:
    """Score all photos below the paths that the cache has no scores of.

    Args:
        leave: tells of a photo whether it is left for another scan.
        on_row: called for every photo, once it is in the cache, in the caller's thread. Unchanged photos are
            read from the cache for it, which a rescan otherwise does not do.
        on_new: called only for those that changed since the last scan or were not there, failed ones too.
        on_failure: called for the failed ones only, at no cost for the others.
        on_progress: called now and then with the counts so far.

    Raises:
        UsageError: a path does not exist; nothing was scanned.
        BundleError, DeviceError: no network to score with.
        CacheError: the cache cannot be read or written; what was written before stays.
        KeyboardInterrupt: after what was finished has been written.
    """
    bundle = bundles.load(options.model)
    wanted = options.device or read_config().device or "auto"
    # a rescan may have nothing to score, and starting a session takes longer; but CUDA is a promise
    engine = open_engine(bundle, wanted) if wanted == "cuda" else None
    found = _walk(options)
    if leave is not None:
        found = (item for item in found if hasattr(item, "reason") or not leave(item))
    with Cache.open(options.db) as cache:
        scan = _Scan(cache, bundle, options, lambda: engine or open_engine(bundle, wanted))
        scan.on_row, scan.on_new, scan.on_failure, scan.on_progress = on_row, on_new, on_failure, on_progress
        return scan.run(found)


def open_engine(bundle: Bundle, device: str) -> Engine:
    """The network, ready to run."""
    from cgiaa_cli.inference.engine import Engine

    return Engine(bundle, device)


def _walk(options: ScanOptions) -> Iterator[Found | Skipped]:
    from cgiaa_cli.library.walk import walk

    return walk([absolute(path) for path in options.paths], options.exclude)


class _Scorer:
    """The thread that runs the network."""

    def __init__(self, make: Callable[[], Engine], readers: Readers, batch_size: int) -> None:
        self._make = make
        self._readers = readers
        self._batch_size = batch_size
        self._thread = threading.Thread(target=self._loop, name="cgiaa-score", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for the batch at hand."""
        self._readers.prepared.put(None)
        self._thread.join()

    def _loop(self) -> None:
        engine = None
        try:
            while batch := self._next_batch():
                engine = engine or self._make()
                for item, scores in zip(batch, engine.run([item.inputs for item in batch]), strict=True):
                    self._readers.done.put(Done(item.entry, item.content, scores, item.look))
        except BaseException as error:
            self._readers.done.put(Crash(error))

    def _next_batch(self) -> list[Prepared]:
        batch: list[Prepared] = []
        item = self._readers.prepared.get()
        end = time.monotonic() + FILL_SECONDS
        while item is not None:
            batch.append(item)
            if len(batch) == self._batch_size:
                break
            try:
                item = self._readers.prepared.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
        if item is None and batch:
            self._readers.prepared.put(None)  # for the next call, which then ends the thread
        return batch


@dataclass
class _Scan:
    """One scan: the main thread's side."""

    cache: Cache
    bundle: Bundle
    options: ScanOptions
    make_engine: Callable[[], Engine]
    on_row: OnRow | None = None
    on_new: OnRow | None = None
    on_failure: OnRow | None = None
    on_progress: Callable[[ScanSummary], None] | None = None
    summary: ScanSummary = field(default_factory=ScanSummary)
    outstanding: int = 0
    pending: list[Done] = field(default_factory=list)
    touched: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    flushed_at: float = field(default_factory=time.monotonic)

    def run(self, found: Iterator[Found | Skipped]) -> ScanSummary:
        jobs = self.options.jobs or read_config().jobs or usable_cpus()
        # enough for every reader to be busy while one batch is in the network and the next one fills
        self.limit = 2 * jobs + 3 * self.options.batch_size
        self.scorer = self.cache.scorer_id(*self.bundle.scorer)
        with closing(Claims(self.cache, self.scorer)) as self.claims:
            self.readers = Readers(jobs, self.claims, self.options.max_pixels)
            network = _Scorer(self.make_engine, self.readers, self.options.batch_size)
            try:
                self._feed(found)
                while self.outstanding:
                    self._collect(wait=True)
                self._flush()
            except BaseException as error:
                self.readers.stop()
                network.stop()
                self._save_rest(error)
                raise
            self.readers.stop()
            network.stop()
        self._finish_roots()
        return self.summary

    def _feed(self, found: Iterator[Found | Skipped]) -> None:
        for chunk in _chunks(found):
            photos = []
            for item in chunk:
                if hasattr(item, "reason"):
                    self._skipped(item)
                else:
                    photos.append((escape(item.path), item))
            # before any is handed out, which may take long: the progress bar asks how many there are to come
            self.summary.photos += len(photos)
            known = self.cache.known(self.scorer, [path for path, _ in photos])
            unchanged = []
            for path, photo in photos:
                row = known.get(path)
                if row is not None and self._is_done(photo, row):
                    unchanged.append(row)
                else:
                    self._submit(path, photo)
            self._unchanged(unchanged)
            self._collect(wait=False)
            self._report()

    def _submit(self, path: str, photo: Found) -> None:
        while self.outstanding >= self.limit:
            self._collect(wait=True)
        companions = tuple(map(escape, photo.companions))
        self.outstanding += 1
        self.readers.submit(photo, FileEntry(path, photo.size, photo.mtime_ns, companions))

    def _is_done(self, photo: Found, row: tuple[Any, ...]) -> bool:
        """Whether the cache's row of a photo (see `Cache.known`) still holds."""
        path, _, size, mtime_ns, companions, error_kind, error, missing_at, content_id = row
        if self.options.recheck or size != photo.size or mtime_ns != photo.mtime_ns:
            return False
        if error_kind is None and content_id is None:
            return False  # another bundle's
        if error_kind is not None and self._worth_retrying(error_kind, error):
            return False
        if missing_at is not None or photo.companions or companions != "[]":
            self._touch(path, photo, companions, missing_at)
        return True

    def _worth_retrying(self, error_kind: str, error: str) -> bool:
        """Whether a failure may have ended without a change of the file (an extra installed, say)."""
        if error_kind == "bomb":  # not if this limit of pixels is the one that it was measured by
            return self.options.retry_failed or f"limit of {self._max_pixels};" not in error
        return self.options.retry_failed or error_kind in ("extra", "unreadable")

    @cached_property
    def _max_pixels(self) -> int:
        from cgiaa_cli.imaging.decode import DEFAULT_MAX_PIXELS

        return self.options.max_pixels or DEFAULT_MAX_PIXELS

    def _touch(self, path: str, photo: Found, stored: str, missing_at: str | None) -> None:
        companions = tuple(map(escape, photo.companions))
        if missing_at is not None or stored != json.dumps(companions):
            self.touched.append((path, companions))

    def _unchanged(self, rows: list[tuple[Any, ...]]) -> None:
        self.cache.see(row[1] for row in rows)
        if self.touched:
            self.cache.touch(self.touched)
            self.touched = []
        failed = [row[0] for row in rows if row[5] is not None]
        self.summary.failed += len(failed)
        self.summary.unchanged += len(rows) - len(failed)
        self._emit([row[0] for row in rows] if self.on_row else failed)

    def _skipped(self, item: Skipped) -> None:
        self.summary.skipped += 1
        path = escape(item.path)
        record = {"path": path, "error": item.reason, "error_kind": "unreadable"}
        self._show(ScanRow(path, record, item.reason, "unreadable"))

    def _collect(self, *, wait: bool) -> None:
        """Take finished photos from the threads, and write them when it is time."""
        while True:
            try:
                answer = self.readers.done.get(timeout=FLUSH_SECONDS) if wait else self.readers.done.get_nowait()
            except queue.Empty:
                break
            wait = False
            if isinstance(answer, Crash):
                raise answer.error
            self.outstanding -= 1
            if answer is not None:
                self.pending.append(answer)
        late = time.monotonic() - self.flushed_at > FLUSH_SECONDS
        if len(self.pending) >= FLUSH_ROWS or (self.pending and late):
            self._flush()

    def _flush(self) -> None:
        """Write what is finished, then the duplicates that waited for it."""
        while self.pending:
            done = self.pending
            contents = [(d.content, d.scores) for d in done if d.content and d.scores]
            looks = [(d.content.hash, d.look) for d in done if d.content and d.look]
            self.cache.write(self.scorer, [d.entry for d in done], contents, looks)
            self.pending = []  # only now: what an interruption leaves here is written again, harmlessly
            self.summary.scored += len(contents)
            failed = sum(d.entry.error_kind is not None for d in done)
            self.summary.failed += failed
            self.summary.unchanged += len(done) - len(contents) - failed
            for one in done:
                if one.entry.hash and (one.content or one.entry.error_kind):
                    self.pending += [_like(one.entry, other) for other in self.claims.release(one.entry.hash)]
            shown = [d.entry.path for d in done if self.on_row or self.on_new or d.entry.error_kind]
            for start in range(0, len(shown), CHUNK):
                self._emit(shown[start : start + CHUNK], new=True)
        self.flushed_at = time.monotonic()
        self._report()

    def _save_rest(self, error: BaseException) -> None:
        """After a failure: write what the threads had finished, unless writing is what failed."""
        if isinstance(error, CacheError):
            return
        self.on_row = self.on_new = self.on_failure = self.on_progress = (
            None  # the caller's own failure may be the cause
        )
        while True:
            try:
                answer = self.readers.done.get_nowait()
            except queue.Empty:
                break
            if isinstance(answer, Done):
                self.pending.append(answer)
        self._flush()

    def _emit(self, paths: list[str], *, new: bool = False) -> None:
        """Hand rows, read from the cache, to the caller's functions."""
        if not paths or not (self.on_row or self.on_new or self.on_failure):
            return
        records = self.cache.records(self.scorer, paths)
        for path in paths:
            if record := records.get(path):
                self._show(ScanRow(path, record, record["error"], record["error_kind"]), new=new)

    def _show(self, row: ScanRow, *, new: bool = False) -> None:
        if self.on_row:
            self.on_row(row)
        if self.on_new and new:
            self.on_new(row)
        if self.on_failure and row.error_kind is not None:
            self.on_failure(row)

    def _report(self) -> None:
        if self.on_progress:
            self.on_progress(self.summary)

    def _finish_roots(self) -> None:
        """Only a scan that came to its end knows what is gone, and only where the folder itself is there."""
        for path in dict.fromkeys(map(absolute, self.options.paths)):
            if os.path.isdir(path):  # unlike Path.is_dir, False where permission is missing
                self.summary.missing += self.cache.mark_missing(escape(path))
                self.cache.add_root(escape(path))


def _like(owner: FileEntry, other: FileEntry) -> Done:
    """The file `other`, which has the bytes of `owner` and so its scores or its failure."""
    entry = replace(other, error_kind=owner.error_kind, error=owner.error)
    return Done(entry)


def _chunks(found: Iterator[Found | Skipped]) -> Iterator[list[Any]]:
    """Lists of up to `CHUNK` items, sooner where they come slowly."""
    while chunk := list(islice(found, 1)):
        end = time.monotonic() + CHUNK_SECONDS
        while len(chunk) < CHUNK and time.monotonic() < end:
            more = list(islice(found, 25))
            if not more:
                break
            chunk += more
        yield chunk
