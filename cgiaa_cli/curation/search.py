"""Photos by what they look like: the nearest to a vector among all embeddings of the cache, exactly.

Where few files lie below the asked-for folders, their vectors are read from the cache. Otherwise the matrix of
`cache.vectors` says within which limits the likeness of every photo lies, and the cache which of those that may be
among the most alike meet the conditions. Their vectors are compared exactly. Where too few are left, more are looked
at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.cache.vectors import Matrix, Place, open_matrix, unit
from cgiaa_cli.curation.diversity import embeddings
from cgiaa_cli.curation.select import Hit, Selection, among, few_files, select

__all__ = ["Query", "best_of", "nearest"]

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


def nearest(cache: Cache, scorer: int, selection: Selection, query: Query, limit: int | None) -> list[Hit]:
    """The photos of a selection by cosine similarity to a query, which is their value; at most `limit`.

    Raises:
        CacheError: the cache cannot be read.
    """
    wanted = None if limit is None else limit + len(query.without)
    few = few_files(cache, selection.paths)
    hits = _each(cache, scorer, selection, query) if few else _by_matrix(cache, scorer, selection, query, wanted)
    return [hit for hit in hits if hit.path not in query.without][:limit]


def _each(cache: Cache, scorer: int, selection: Selection, query: Query) -> list[Hit]:
    return _compared(cache, scorer, list(select(cache, scorer, selection)), query)


def _compared(cache: Cache, scorer: int, hits: list[Hit], query: Query) -> list[Hit]:
    """The hits by their exact similarity."""
    vectors = embeddings(cache, scorer, [hit.content_id for hit in hits])
    if not vectors.size:
        return []
    values = np.round((vectors if query.place is None else unit(query.place(vectors))) @ query.vector, DIGITS)
    found = [replace(hit, value=float(value)) for hit, value in zip(hits, values, strict=True)]
    return sorted(found, key=lambda hit: (-hit.value, hit.path))


def _by_matrix(cache: Cache, scorer: int, selection: Selection, query: Query, limit: int | None) -> list[Hit]:
    matrix = open_matrix(cache, scorer, query.place, query.space)
    return best_of(matrix, cache, scorer, selection, query, limit) if len(matrix) else []


def best_of(
    matrix: Matrix, cache: Cache, scorer: int, selection: Selection, query: Query, limit: int | None
) -> list[Hit]:
    """`nearest`, with the matrix at hand."""
    likeness, off = matrix.likeness(query.vector)
    lowest, highest = likeness - off, likeness + off
    look_at = len(matrix) if limit is None else max(FIRST, 2 * limit)
    while True:
        whole = look_at >= len(matrix)
        # at least `look_at` photos are this much alike, and whoever is, is looked at
        edge = -1.0 if whole else float(np.partition(lowest, len(matrix) - look_at)[len(matrix) - look_at])
        top = np.arange(len(matrix)) if whole else np.flatnonzero(highest >= edge)
        pairs = zip(matrix.rows["id"][top].tolist(), likeness[top].tolist(), strict=True)
        hits = _compared(cache, scorer, among(cache, scorer, selection, pairs, None), query)
        if whole or (limit is not None and sum(hit.value > edge + ROUNDING for hit in hits) >= limit):
            return hits
        look_at *= GROWTH
