"""Photos by what they look like: the nearest to a vector among all embeddings of the cache, exactly.

Where few files lie below the asked-for folders, their vectors are read from the cache. Otherwise the likeness of every
photo comes from one product with the matrix of `cache.vectors`, and the cache says which of the most alike meet the
conditions: of the first thousand, or of more where those do not do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.cache.vectors import Place, open_matrix, unit
from cgiaa_cli.curation.diversity import embeddings
from cgiaa_cli.curation.select import Hit, Selection, among, few_files, select

__all__ = ["Query", "nearest"]

FIRST = 1_000  # of the most alike, to look at for a top 50
GROWTH = 16
DIGITS = 6  # those that a product has in any order of its terms: copies are to come out equal


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
    hits = list(select(cache, scorer, selection))
    vectors = embeddings(cache, scorer, [hit.content_id for hit in hits])
    if not vectors.size:
        return []
    values = np.round((vectors if query.place is None else unit(query.place(vectors))) @ query.vector, DIGITS)
    found = [replace(hit, value=float(value)) for hit, value in zip(hits, values, strict=True)]
    return sorted(found, key=lambda hit: (-hit.value, hit.path))


def _by_matrix(cache: Cache, scorer: int, selection: Selection, query: Query, limit: int | None) -> list[Hit]:
    rows = open_matrix(cache, scorer, query.place, query.space)
    if not len(rows):
        return []
    values = rows["vector"] @ query.vector
    look_at = len(rows) if limit is None else max(FIRST, 8 * limit)
    while True:
        whole = look_at >= len(rows)
        top = np.arange(len(rows)) if whole else np.argpartition(values, len(rows) - look_at)[-look_at:]
        likeness = np.round(values[top], DIGITS)
        pairs = zip(rows["id"][top].tolist(), likeness.tolist(), strict=True)
        hits = among(cache, scorer, selection, pairs, limit)
        # equal values are ordered by path, and more of the lowest may lie beyond what was looked at
        if whole or (len(hits) == limit and hits[-1].value > float(likeness.min())):
            return hits
        look_at *= GROWTH
