"""All vectors of a scorer as one matrix of bytes in a file beside the cache, for orders that look at every photo.

A byte for each number, and what rounding to it costs: from these comes a similarity with every photo and how far it can
be off at most, so that only the few that may be among the most alike have to be compared exactly. A quarter of float32
is a quarter of the time: reading the matrix is all that a search does. The scores are there, too: to read them from the
cache takes thirty times as long. The file holds nothing that the cache does not: it may be deleted, `cgiaa cache prune`
does so, and the next search makes it.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.inference.product import LARGEST, products
from cgiaa_cli.inference.scores import SCORES

__all__ = ["Matrix", "Place", "drop_matrices", "open_matrix", "unit", "unpack"]

CHUNK = 10_000
ZERO = 128  # the byte of 0
FLOAT32 = 1e-5  # more than sums of float32 are off

_ROW = np.dtype(
    [
        ("row", "<i8"),  # rowid in `embeddings`
        ("id", "<i8"),  # of the content
        ("scale", "<f4"),  # of a step of its bytes
        ("off", "<f4"),  # length of what rounding took away
        ("scores", "<f4", len(SCORES)),
    ]
)
Floats = NDArray[np.float32]
Place = Callable[[Floats], Floats]
"""Puts embeddings (N, F) into another space (N, D)."""


@dataclass(frozen=True)
class Matrix:
    """Vectors of length 1 or 0, rounded: (N, D) bytes, and N rows of `_ROW`."""

    codes: NDArray[np.uint8]
    rows: NDArray[Any]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _scale(self) -> Floats:
        return np.array(self.rows["scale"])  # side by side, every search reads them all

    @cached_property
    def _off(self) -> Floats:
        return np.array(self.rows["off"])

    def likeness(self, vector: Floats) -> tuple[Floats, Floats]:
        """(N,) similarities with a vector of length 1, and (N,) how far each can be off."""
        columns, steps, rest = [], [], vector.astype(np.float64)
        for _ in range(2):  # two bytes a number: the second costs next to nothing, and what is left is next to nothing
            step = float(np.abs(rest).max()) / LARGEST or 1.0
            columns.append(np.rint(rest / step))
            steps.append(step)
            rest = rest - step * columns[-1]
        both = np.stack(columns, 1)
        sums = products(self.codes, both.astype(np.int8))
        found = np.array(sums[:, 0], np.float32)  # below 2^24, so exact
        found *= np.float32(steps[0])
        found += np.float32(steps[1]) * sums[:, 1].astype(np.float32)
        found -= np.float32(ZERO * float(both.sum(0) @ steps))
        found *= self._scale
        return found, self._off + np.float32(2 * float(np.linalg.norm(rest)) + FLOAT32)


def unit(vectors: Floats) -> Floats:
    """The vectors at length 1; what is not finite becomes zeros, which are like nothing."""
    whole = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0).astype(np.float32)
    lengths = np.linalg.norm(whole, axis=1, keepdims=True)
    return np.asarray(whole / np.where(lengths > 0, lengths, 1), np.float32)


def unpack(blobs: list[bytes], size: int) -> Floats:
    """(N, size) from vectors as the cache has them; zeros for one of another length."""
    whole = b"".join(blob if len(blob) == 2 * size else bytes(2 * size) for blob in blobs)
    return np.frombuffer(whole, "<f2").reshape(-1, size).astype(np.float32)


def open_matrix(cache: Cache, scorer: int, place: Place | None = None, space: str = "") -> Matrix:
    """The matrix of every embedding of a scorer, from the file as far as that is right.

    What is new since is read from the cache, and the file that has it replaces the older one in one step; two
    programs that do so at once do not meet. Where nothing can be written, the matrix is in memory.

    Args:
        place: into the space to search in; None: that of the embeddings.
        space: what tells that space from others.

    Raises:
        CacheError: the cache cannot be read.
    """
    path = _path(cache, scorer, space)
    size = _size(cache, scorer)
    dim = size if place is None else place(np.zeros((1, size), np.float32)).shape[1]
    old = _read(path)
    last = int(old.rows["row"][-1]) if old is not None and len(old) else 0
    text = "SELECT count(*), sum(rowid <= ?) FROM embeddings WHERE scorer_id = ?"
    same = "SELECT content_id FROM embeddings WHERE rowid = ?"
    with cache.guard():
        count, known = cache.conn.execute(text, (last, scorer)).fetchone()
        ends = cache.conn.execute(same, (last,)).fetchone()
    # embeddings are only ever added at the end, or pruned
    if old is None or not len(old) or old.codes.shape[1] != dim or known != len(old) or ends[0] != old.rows["id"][-1]:
        old, last = None, 0
    if old is not None and count == len(old):
        return old
    return _written(path, count, dim, old, lambda: _new(cache, scorer, last, size, place))


def drop_matrices(cache: Cache) -> None:
    """Delete the files: contents were removed, and their ids will be given to others."""
    for path in cache.path.parent.glob(f"{glob.escape(cache.path.name)}.*.npy*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _path(cache: Cache, scorer: int, space: str) -> Path:
    with cache.guard():
        row = cache.conn.execute("SELECT bundle, version, preprocess FROM scorers WHERE id = ?", (scorer,)).fetchone()
    key = hashlib.blake2b(repr((scorer, row, space)).encode(), digest_size=6).hexdigest()
    return cache.path.with_name(f"{cache.path.name}.{key}.npy")


def _read(path: Path) -> Matrix | None:
    """The file as it lies: the bytes as a .npy, and after it the rows; None where it is not such a file."""
    try:
        codes: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        if codes.ndim != 2 or codes.dtype != np.uint8:
            return None
        end = codes.offset + codes.nbytes
        if path.stat().st_size != end + len(codes) * _ROW.itemsize:
            return None
        return Matrix(codes, np.memmap(path, _ROW, "r", end, (len(codes),)))
    except (OSError, ValueError, EOFError):
        return None


def _size(cache: Cache, scorer: int) -> int:
    """How many numbers an embedding has."""
    with cache.guard():
        found = cache.conn.execute("SELECT dim FROM embeddings WHERE scorer_id = ? LIMIT 1", (scorer,)).fetchone()
    return int(found[0]) if found else 0


def _new(cache: Cache, scorer: int, last: int, size: int, place: Place | None) -> Iterator[Matrix]:
    """What comes after rowid `last`, in order, a piece at a time."""
    text = (
        f"SELECT e.rowid, e.content_id, e.vector, {', '.join(f's.{name}' for name in SCORES)} "
        "FROM embeddings e NOT INDEXED LEFT JOIN scores s ON s.scorer_id = e.scorer_id AND s.content_id = e.content_id "
        "WHERE e.rowid > ? AND e.scorer_id = ? ORDER BY e.rowid LIMIT ?"
    )
    while True:
        with cache.guard():
            found = cache.conn.execute(text, (last, scorer, CHUNK)).fetchall()
        if not found:
            return
        vectors = unit(unpack([row[2] or b"" for row in found], size))
        yield _rounded(found, vectors if place is None else unit(place(vectors)))
        last = found[-1][0]


def _rounded(found: list[tuple[Any, ...]], vectors: Floats) -> Matrix:
    rows = np.zeros(len(found), _ROW)
    rows["row"], rows["id"] = [row[0] for row in found], [row[1] for row in found]
    rows["scores"] = [row[3:] for row in found]
    scale = np.abs(vectors).max(axis=1, initial=0, keepdims=True) / (ZERO - 1)
    steps = np.rint(vectors / np.where(scale > 0, scale, 1))
    rows["scale"] = scale[:, 0]
    rows["off"] = np.linalg.norm(vectors - steps * scale, axis=1)
    return Matrix((steps + ZERO).astype(np.uint8), rows)


def _written(path: Path, count: int, dim: int, old: Matrix | None, new: Callable[[], Iterator[Matrix]]) -> Matrix:
    """The old and the new as one matrix in the file `path`; in memory where that cannot be written."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with temporary.open("wb") as file:  # not through a mapping: on a full disk that is no error, but the end
            written = _write(file, (count, dim), old, new)
        if count and written == count:  # else another program has added or pruned meanwhile
            os.replace(temporary, path)
            if (matrix := _read(path)) is not None:
                return matrix
    except OSError:  # nothing may be written there, the disk is full, or Windows does not let go of a file in use
        pass
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    parts = [*([old] if old is not None else []), *new()]
    empty = Matrix(np.zeros((0, dim), np.uint8), np.zeros(0, _ROW))
    return Matrix(
        *(np.concatenate(list(column)) for column in zip(*((p.codes, p.rows) for p in (empty, *parts)), strict=True))
    )


def _write(file: BinaryIO, shape: tuple[int, int], old: Matrix | None, new: Callable[[], Iterator[Matrix]]) -> int:
    """Write the file; returns how many rows that were."""
    descr = np.lib.format.dtype_to_descr(np.dtype(np.uint8))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    rows = []
    if old is not None:
        for start in range(0, len(old), CHUNK):
            file.write(old.codes[start : start + CHUNK].tobytes())
        rows.append(old.rows)
    for part in new():
        file.write(part.codes.tobytes())
        rows.append(part.rows)
    for some in rows:
        file.write(some.tobytes())
    return sum(map(len, rows))
