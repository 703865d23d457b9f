"""Photos by what they look like: the nearest to a vector among all embeddings of the cache, exactly.

Where few files lie below the asked-for folders, their vectors are read from the cache. Otherwise the matrix of
`cache.vectors` says within which limits the likeness of every photo lies, and the cache which of those that may be
among the most alike meet the conditions. Their vectors are compared exactly. Where too few are left, more are looked
at, and at last all that meet the conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.cache.vectors import Matrix, Place, open_matrix, unit
from cgiaa_cli.curation.diversity import embeddings
from cgiaa_cli.curation.select import Hit, Selection, among, few_files, select

__all__ = ["Query", "Rough", "best_of", "nearest", "refined"]

FIRST = 100  # of the most alike, to look at first
GROWTH = 16
DIGITS = 6  # those that a product has in any order of its terms: copies are to come out equal
ROUNDING = 2e-6  # what that may add


@dataclass(frozen=True)
class Query:
    """What to look for.

    Attributes:
        vector: (D,) of length 1.
        place: puts embeddings into the space of `vector`; None: it is one of them.
        space: what tells that space from others.
        without: escaped paths that are no answer.
    """

    vector: NDArray[np.float32]
    place: Place | None = None
    space: str = ""
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rough:
    """Values of contents, and how far each can be off: (N,) of all three."""

    ids: NDArray[np.int64]
    values: NDArray[np.floating]
    off: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.ids)


def nearest(cache: Cache, scorer: int, selection: Selection, query: Query, limit: int | None) -> list[Hit]:
    """The photos of a selection by cosine similarity to a query, which is their value; at most `limit`.

    Raises:
        CacheError: the cache cannot be read.
    """
    if limit is None or few_files(cache, selection.paths):
        hits = _compared(cache, scorer, list(select(cache, scorer, selection)), query)
    else:
        hits = _by_matrix(cache, scorer, selection, query, limit + len(query.without))
    return [hit for hit in hits if hit.path not in query.without][:limit]


def _compared(cache: Cache, scorer: int, hits: list[Hit], query: Query) -> list[Hit]:
    """The hits by their exact similarity."""
    vectors = embeddings(cache, scorer, [hit.content_id for hit in hits])
    if not vectors.size:
        return []
    values = np.round((vectors if query.place is None else unit(query.place(vectors))) @ query.vector, DIGITS)
    found = [replace(hit, value=float(value)) for hit, value in zip(hits, values, strict=True)]
    return sorted(found, key=lambda hit: (-hit.value, hit.path))


def _by_matrix(cache: Cache, scorer: int, selection: Selection, query: Query, limit: int) -> list[Hit]:
    matrix = open_matrix(cache, scorer, query.place, query.space)
    return best_of(matrix, cache, scorer, selection, query, limit) if len(matrix) else []


def best_of(matrix: Matrix, cache: Cache, scorer: int, selection: Selection, query: Query, limit: int) -> list[Hit]:
    """`nearest`, with the matrix at hand."""
    likeness, off = matrix.likeness(query.vector)
    rough = Rough(matrix.rows["id"], likeness, off + np.float32(ROUNDING))
    return refined(cache, scorer, selection, rough, lambda hits: _compared(cache, scorer, hits, query), limit)


def refined(
    cache: Cache,
    scorer: int,
    selection: Selection,
    rough: Rough,
    exact: Callable[[list[Hit]], list[Hit]],
    limit: int,
) -> list[Hit]:
    """The photos of a selection by a value that is known roughly: those that may be among the first are compared.

    Args:
        exact: gives hits their values and puts them in order.
        limit: so many of the hits that are returned are surely the first.

    Raises:
        CacheError: the cache cannot be read.
    """
    sign = -1 if selection.worst_first else 1
    lowest, highest = sign * rough.values - rough.off, sign * rough.values + rough.off
    look_at = max(FIRST, 2 * limit)
    while look_at < len(rough):
        # at least `look_at` photos come this far, and whoever may come as far is looked at
        edge = float(np.partition(lowest, len(rough) - look_at)[len(rough) - look_at])
        top = np.flatnonzero(highest >= edge)
        pairs = zip(rough.ids[top].tolist(), rough.values[top].tolist(), strict=True)
        hits = exact(among(cache, scorer, selection, pairs, None))
        if sum(sign * hit.value > edge for hit in hits) >= limit:
            return hits
        look_at *= GROWTH
    return exact(list(select(cache, scorer, selection)))
