"""What `groups` knows of each photo, read from the cache; looks that an older scan did not keep are made up for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation.groups_pairs import NO_TIME
from cgiaa_cli.curation.select import Hit
from cgiaa_cli.errors import PhotoError
from cgiaa_cli.imaging.faces import Eyes
from cgiaa_cli.imaging.look import SIDE, Look
from cgiaa_cli.inference import usable_cpus
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import open_regular, unescape

if TYPE_CHECKING:
    from cgiaa_cli.imaging.decode import Photo

__all__ = ["SCORES", "Photos", "fill_looks", "open_photo", "read_photos", "seconds_of"]

SCORES = ("score", *ATTRIBUTES, "technical")
CHUNK = 500  # SQLite takes 999 parameters at least
WRITE = 64
UNSET_CLOCK = 500  # photos of one moment: no camera takes so many, but one whose clock was never set does

_QUERY = """
SELECT c.id, c.hash, c.bytes, c.format, c.width, c.height, c.taken_at, c.camera, c.focal_length, c.aperture, c.shutter,
       c.iso, s.score, s.color_light, s.composition, s.depth_focus, s.general, s.technical, e.vector, l.hash, l.detail,
       l.thumb, k.content_id IS NOT NULL, y.faces, y.closed
FROM contents c JOIN scores s ON s.scorer_id = ? AND s.content_id = c.id
LEFT JOIN embeddings e ON e.scorer_id = s.scorer_id AND e.content_id = c.id
LEFT JOIN looks l ON l.content_id = c.id LEFT JOIN keep_all k ON k.content_id = c.id
LEFT JOIN eyes y ON y.content_id = c.id
WHERE c.id IN ({marks})"""


@dataclass
class Photos:
    """n contents, in the order of the selection; each may lie at several paths.

    Attributes:
        ids: of the contents.
        keys: hashes of the contents' bytes.
        paths: escaped, the shortest first: of copies that one is mostly the original.
        values: (n,) what the selection orders by; of groups of shots the highest is the keeper.
        scores: (n, 6) those of `SCORES`.
        width, height, bytes: of the file.
        format: as `formats.sniff` names it.
        seconds: (n,) local capture time, `NO_TIME` where there is none.
        cameras: (n,) a number for each name; 0: no name.
        exposure: (n,) log2 of the light that the settings let in (shutter * ISO / f-number^2); nan where not known.
        focal: (n,) mm, nan where not known.
        vectors: (n, D) float32 of length 1; 0 where there is no embedding.
        hash, detail, thumbs: of `Look`; thumbs are (n, 1024) uint8. `seen` is False where there is no look.
        kept: (n,) whether it was decided that it is never left out.
        eyes: of those photos, by their index, whose faces were looked at.
    """

    ids: NDArray[np.int64]
    keys: list[str]
    paths: list[tuple[str, ...]]
    values: NDArray[np.float64]
    scores: NDArray[np.float64]
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    bytes: NDArray[np.int64]
    format: list[str]
    seconds: NDArray[np.int64]
    cameras: NDArray[np.int64]
    exposure: NDArray[np.float64]
    focal: NDArray[np.float64]
    vectors: NDArray[np.float32]
    hash: NDArray[np.uint64]
    detail: NDArray[np.float32]
    thumbs: NDArray[np.uint8]
    seen: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    eyes: dict[int, Eyes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Of each photo."""
        return self.width * self.height


@dataclass
class _Columns:
    """Rows as they come, before they are arrays."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    vectors: list[bytes] = field(default_factory=list)
    thumbs: list[bytes] = field(default_factory=list)


def read_photos(cache: Cache, scorer: int, hits: Iterable[Hit]) -> Photos:
    """Read all that `groups` needs of the photos of a selection.

    Raises:
        CacheError: the cache cannot be read.
    """
    paths: dict[int, list[str]] = {}
    values: dict[int, float] = {}
    for hit in hits:
        paths.setdefault(hit.content_id, []).append(hit.path)
        values.setdefault(hit.content_id, hit.value)
    found = _Columns()
    wanted = iter(paths)
    while chunk := list(islice(wanted, CHUNK)):
        with cache.guard():
            marks = ",".join("?" * len(chunk))
            rows = {row[0]: row for row in cache.conn.execute(_QUERY.format(marks=marks), (scorer, *chunk))}
        for content_id in chunk:
            if row := rows.get(content_id):  # another process may have pruned it meanwhile
                found.rows.append((*row[:18], row[19], row[20], *row[22:]))
                found.vectors.append(row[18] or b"")
                found.thumbs.append(row[21] or b"")
    return _arrays(found, paths, values)


def _arrays(found: _Columns, paths: dict[int, list[str]], values: dict[int, float]) -> Photos:
    rows = found.rows
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * 23
    cameras: dict[str, int] = {"": 0}
    hashes = [0 if value is None else value for value in columns[18]]
    return Photos(
        ids=np.array(columns[0], np.int64),
        keys=list(columns[1]),
        paths=[tuple(sorted(paths[row[0]], key=lambda p: (len(p), p))) for row in rows],
        values=np.array([values[row[0]] for row in rows], np.float64),
        scores=np.array([row[12:18] for row in rows], np.float64).reshape(-1, len(SCORES)),
        width=_integers(columns[4]),
        height=_integers(columns[5]),
        bytes=_integers(columns[2]),
        format=[str(value) for value in columns[3]],
        seconds=_times(columns[6]),
        cameras=np.array([cameras.setdefault(name or "", len(cameras)) for name in columns[7]], np.int64),
        exposure=_exposures(columns[9], columns[10], columns[11]),
        focal=_floats(columns[8]),
        vectors=_vectors(found.vectors),
        hash=np.array(hashes, np.int64).view(np.uint64),
        detail=np.array([0.0 if value is None else value for value in columns[19]], np.float32),
        thumbs=_thumbs(found.thumbs),
        seen=np.array([len(thumb) == SIDE * SIDE for thumb in found.thumbs], bool),
        kept=np.array(columns[20], bool),
        eyes={i: Eyes(row[21], row[22]) for i, row in enumerate(rows) if row[21] is not None},
    )


def _integers(values: Sequence[Any]) -> NDArray[np.int64]:
    return np.array([value or 0 for value in values], np.int64)


def _floats(values: Sequence[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _exposures(apertures: Sequence[Any], shutters: Sequence[Any], isos: Sequence[Any]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        light = _floats(shutters) * _floats(isos) / _floats(apertures) ** 2
        exposure = np.log2(light)
    return np.where(np.isfinite(exposure), exposure, np.nan)


def _vectors(blobs: list[bytes]) -> NDArray[np.float32]:
    size = max((len(blob) // 2 for blob in blobs), default=0)
    vectors = np.zeros((len(blobs), size), np.float32)
    for i, blob in enumerate(blobs):
        if len(blob) == 2 * size:
            vectors[i] = np.frombuffer(blob, "<f2")
    vectors[~np.isfinite(vectors).all(axis=1)] = 0
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(lengths > 0, lengths, 1)
    return vectors


def _thumbs(blobs: list[bytes]) -> NDArray[np.uint8]:
    empty = bytes(SIDE * SIDE)
    whole = b"".join(blob if len(blob) == SIDE * SIDE else empty for blob in blobs)
    return np.frombuffer(whole, np.uint8).reshape(-1, SIDE * SIDE)


def _times(values: Sequence[Any]) -> NDArray[np.int64]:
    seconds = np.array([seconds_of(value) for value in values], np.int64)
    _, place, count = np.unique(seconds, return_inverse=True, return_counts=True)
    seconds[count[place] > UNSET_CLOCK] = NO_TIME
    return seconds


_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)")


def seconds_of(taken_at: str | None) -> int:
    """Local capture time in seconds since 1970, as if it were UTC; `NO_TIME` where there is none."""
    match = _TIME.match(taken_at or "")
    if match is None:
        return int(NO_TIME)
    year, month, day, hour, minute, second = map(int, match.groups())
    return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())


def fill_looks(
    cache: Cache,
    hits: Sequence[Hit],
    note: Callable[[str, str], None],
    on_progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
) -> None:
    """Look at the photos that were scanned before looks were kept, and keep what they look like.

    Args:
        note: told (escaped path, error) of a photo that cannot be read; it stays without a look.
        on_progress: called with how many are done and how many there are.
    """
    with cache.guard():
        cache.conn.execute("CREATE TEMP TABLE IF NOT EXISTS wanted(id INTEGER PRIMARY KEY)")
        cache.conn.execute("BEGIN")
        cache.conn.execute("DELETE FROM temp.wanted")
        cache.conn.executemany("INSERT OR IGNORE INTO temp.wanted VALUES (?)", ((hit.content_id,) for hit in hits))
        cache.conn.execute("COMMIT")
        text = (
            "SELECT c.id, c.hash FROM temp.wanted w JOIN contents c ON c.id = w.id "
            "WHERE NOT EXISTS (SELECT 1 FROM looks WHERE content_id = c.id)"
        )
        missing: dict[int, str] = dict(cache.conn.execute(text).fetchall())
    if not missing:
        return
    todo = {missing[hit.content_id]: hit.path for hit in hits if hit.content_id in missing}
    made: list[tuple[str, Look]] = []
    done = 0
    with ThreadPoolExecutor(jobs or usable_cpus(), thread_name_prefix="cgiaa-look") as pool:
        for key, path, answer in _ahead(pool, todo, 4 * (jobs or usable_cpus())):
            done += 1
            if isinstance(answer, Look):
                made.append((key, answer))
            else:
                note(path, answer)
            if len(made) >= WRITE:
                cache.add_looks(made)
                made = []
            if on_progress:
                on_progress(done, len(todo))
    cache.add_looks(made)


def _ahead(pool: ThreadPoolExecutor, todo: dict[str, str], limit: int) -> Iterator[tuple[str, str, Look | str]]:
    """Results in order, with no more than `limit` photos in memory."""
    waiting = iter(todo.items())
    running = [(key, path, pool.submit(_look_at, path)) for key, path in islice(waiting, limit)]
    while running:
        key, path, future = running.pop(0)
        yield key, path, future.result()
        running += [(key, path, pool.submit(_look_at, path)) for key, path in islice(waiting, 1)]


def _look_at(path: str) -> Look | str:
    """The look of a photo, or why it has none."""
    from cgiaa_cli.imaging.look import look
    from cgiaa_cli.imaging.preprocess import squeeze

    photo = open_photo(path)
    return photo if isinstance(photo, str) else look(squeeze(photo.view))


def open_photo(path: str) -> Photo | str:
    """The photo of an escaped path, or why it cannot be opened."""
    from cgiaa_cli.imaging.decode import decode

    real = unescape(path)
    try:
        with open_regular(real) as file:
            data = file.read()
        return decode(data, suffix=real.suffix)
    except PhotoError as error:
        return error.cause
    except OSError as error:
        return error.strerror or str(error)
