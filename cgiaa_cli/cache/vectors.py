"""All vectors of a scorer as one matrix in a file beside the cache, for searches that look at every photo.

The file is a plain .npy of rows (`row`: rowid in `embeddings`, `id`: of the content, `vector`: float32 of length 1 or
0), so BLAS reads it where it lies, memory-mapped: at a million photos, a query costs what reading a gigabyte does. It
holds nothing that the cache does not: it may be deleted, `cgiaa cache prune` does so, and the next search makes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.cache.store import Cache

__all__ = ["Place", "drop_matrices", "open_matrix", "unit", "unpack"]

CHUNK = 10_000

Floats = NDArray[np.float32]
Place = Callable[[Floats], Floats]
"""Puts embeddings (N, F) into another space (N, D)."""


def unit(vectors: Floats) -> Floats:
    """The vectors at length 1; what is not finite becomes zeros, which are like nothing."""
    whole = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0).astype(np.float32)
    lengths = np.linalg.norm(whole, axis=1, keepdims=True)
    return np.asarray(whole / np.where(lengths > 0, lengths, 1), np.float32)


def unpack(blobs: list[bytes], size: int) -> Floats:
    """(N, size) from vectors as the cache has them; zeros for one of another length."""
    whole = b"".join(blob if len(blob) == 2 * size else bytes(2 * size) for blob in blobs)
    return np.frombuffer(whole, "<f2").reshape(-1, size).astype(np.float32)


def open_matrix(cache: Cache, scorer: int, place: Place | None = None, space: str = "") -> NDArray[Any]:
    """The rows of every embedding of a scorer, from the file as far as that is right.

    What is new since is read from the cache, and the file that has it replaces the older one in one step; two
    programs that do so at once do not meet. Where nothing can be written, the rows are in memory.

    Args:
        place: into the space to search in; None: that of the embeddings.
        space: what tells that space from others.

    Raises:
        CacheError: the cache cannot be read.
    """
    path = _path(cache, scorer, space)
    old = _read(path)
    size = _size(cache, scorer)
    dim = size if place is None else place(np.zeros((1, size), np.float32)).shape[1]
    if old is not None and not (old["vector"].shape[1] == dim and _holds(cache, scorer, old)):
        old = None
    last = int(old["row"][-1]) if old is not None and len(old) else 0
    with cache.guard():
        text = "SELECT count(*) FROM embeddings WHERE scorer_id = ? AND rowid > ?"
        new = int(cache.conn.execute(text, (scorer, last)).fetchone()[0])
    if old is not None and not new:
        return old
    kind = np.dtype([("row", "<i8"), ("id", "<i8"), ("vector", "<f4", (dim,))])
    count = (0 if old is None else len(old)) + new

    def parts() -> Iterator[NDArray[Any]]:
        if old is not None:
            yield from (old[start : start + CHUNK] for start in range(0, len(old), CHUNK))
        yield from _new(cache, scorer, last, size, kind, place)

    return _written(path, count, kind, parts)


def drop_matrices(cache: Cache) -> None:
    """Delete the files: contents were removed, and their ids will be given to others."""
    for path in cache.path.parent.glob(f"{_glob(cache.path.name)}.*.npy*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _glob(name: str) -> str:
    import glob

    return glob.escape(name)


def _path(cache: Cache, scorer: int, space: str) -> Path:
    with cache.guard():
        row = cache.conn.execute("SELECT bundle, version, preprocess FROM scorers WHERE id = ?", (scorer,)).fetchone()
    key = hashlib.blake2b(repr((scorer, row, space)).encode(), digest_size=6).hexdigest()
    return cache.path.with_name(f"{cache.path.name}.{key}.npy")


def _read(path: Path) -> NDArray[Any] | None:
    try:
        rows: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    right = rows.ndim == 1 and rows.dtype.names == ("row", "id", "vector") and rows["vector"].ndim == 2
    return rows if right else None


def _size(cache: Cache, scorer: int) -> int:
    """How many numbers an embedding has."""
    with cache.guard():
        found = cache.conn.execute("SELECT dim FROM embeddings WHERE scorer_id = ? LIMIT 1", (scorer,)).fetchone()
    return int(found[0]) if found else 0


def _holds(cache: Cache, scorer: int, rows: NDArray[Any]) -> bool:
    """Whether the rows are those that the cache begins with: embeddings are only ever added, or pruned."""
    if not len(rows):
        return True
    last = int(rows["row"][-1])
    with cache.guard():
        text = "SELECT count(*) FROM embeddings WHERE scorer_id = ? AND rowid <= ?"
        count = cache.conn.execute(text, (scorer, last)).fetchone()[0]
        same = cache.conn.execute("SELECT content_id FROM embeddings WHERE rowid = ?", (last,)).fetchone()
    return bool(count == len(rows) and same is not None and same[0] == rows["id"][-1])


def _new(
    cache: Cache, scorer: int, last: int, size: int, kind: np.dtype[Any], place: Place | None
) -> Iterator[NDArray[Any]]:
    """The rows after rowid `last`, in order."""
    text = (
        "SELECT rowid, content_id, vector FROM embeddings NOT INDEXED "
        "WHERE rowid > ? AND scorer_id = ? ORDER BY rowid LIMIT ?"
    )
    while True:
        with cache.guard():
            found = cache.conn.execute(text, (last, scorer, CHUNK)).fetchall()
        if not found:
            return
        rows = np.zeros(len(found), kind)
        rows["row"], rows["id"] = [row[0] for row in found], [row[1] for row in found]
        vectors = unit(unpack([row[2] or b"" for row in found], size))
        rows["vector"] = vectors if place is None else unit(place(vectors))
        yield rows
        last = found[-1][0]


def _written(path: Path, count: int, kind: np.dtype[Any], parts: Callable[[], Iterator[NDArray[Any]]]) -> NDArray[Any]:
    """The rows of all parts, in the file `path`; in memory where that cannot be written."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
    try:
        with temporary.open("wb") as file:  # not through a mapping: on a full disk that is no error, but the end
            np.lib.format.write_array_header_1_0(file, header)
            written = sum(file.write(part.tobytes()) for part in parts())
        if count and written == count * kind.itemsize:  # else another program has added or pruned meanwhile
            os.replace(temporary, path)
            if (rows := _read(path)) is not None:
                return rows
    except OSError:  # nothing may be written there, the disk is full, or Windows does not let go of a file in use
        pass
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return np.concatenate([np.zeros(0, kind), *parts()])
