"""The photos that a taste is learnt from, and those that are ordered by one: numbers from the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.cache.vectors import open_matrix, unit
from cgiaa_cli.curation.diversity import embeddings
from cgiaa_cli.curation.search import Rough, refined
from cgiaa_cli.curation.select import Hit, Selection, few_files, select
from cgiaa_cli.errors import PhotoError
from cgiaa_cli.imaging.measure import MEASURES
from cgiaa_cli.inference import usable_cpus
from cgiaa_cli.paths import open_regular, unescape
from cgiaa_cli.taste.explain import FACTS
from cgiaa_cli.taste.kept import Taste, load
from cgiaa_cli.taste.learn import SCORES, Rated

if TYPE_CHECKING:
    from cgiaa_cli.bundles import Bundle

__all__ = ["ByTaste", "facts_of", "read_rated"]

CHUNK = 500
PIECE = 20_000  # photos whose vectors are in memory at once
DIGITS = 9  # those that a rating has in any order of its terms: photos with equal numbers are to come out equal
ROUNDING = 1e-6  # what that may add, and scores of float32, of the largest terms
HIGHEST = 100.0  # of `SCORES`, that of complexity
MOST = 5_000  # rated photos to learn from: more of them change next to nothing
MEASURED = 400  # photos that are opened for the words, at most: the rest would not change them

Floats = NDArray[np.float64]


def read_rated(
    cache: Cache, scorer: int, ratings: Mapping[str, float], chosen: Sequence[tuple[int, int]] = ()
) -> tuple[Rated, list[str], list[str]]:
    """The rated photos that have scores, each content once, with the mean of its ratings; and choices between photos.

    Args:
        ratings: by escaped absolute path.
        chosen: the better and the worse content of each choice.

    Returns:
        The photos (of more than `MOST`, some; of a burst, some), the path of each, and the paths of which the cache has
        no scores.

    Raises:
        UsageError: too few, or all of them rated the same.
    """
    content: dict[str, int] = {}
    names = list(ratings)
    for start in range(0, len(names), CHUNK):
        part = names[start : start + CHUNK]
        text = (
            "SELECT f.path, f.content_id FROM files f JOIN scores s ON s.content_id = f.content_id AND s.scorer_id = ? "
            f"WHERE f.path IN ({','.join('?' * len(part))})"
        )
        with cache.guard():
            content.update(cache.conn.execute(text, (scorer, *part)).fetchall())
    given: dict[int, list[float]] = {}
    path: dict[int, str] = {}
    for name, key in sorted(content.items()):
        given.setdefault(key, []).append(ratings[name])
        path.setdefault(key, name)
    ids = list(given)
    if len(ids) > MOST:
        ids = [ids[i] for i in np.sort(np.random.default_rng(0).permutation(len(ids))[:MOST])]
    path |= _paths(cache, scorer, {key for pair in chosen for key in pair} - set(path))
    pairs = [pair for pair in chosen if pair[0] in path and pair[1] in path][-MOST:]
    ids += sorted({key for pair in pairs for key in pair} - set(ids))
    place = {key: i for i, key in enumerate(ids)}
    vectors, scores = _numbers(cache, scorer, ids)
    rated = Rated(
        vectors,
        scores,
        np.array([np.mean(given[key]) if key in given else np.nan for key in ids], np.float64),
        np.array([(place[better], place[worse]) for better, worse in pairs], np.intp).reshape(-1, 2),
    )
    kept = rated.thinned()
    pairs_kept = np.searchsorted(kept, rated.pairs)
    rated = Rated(rated.vectors[kept], rated.scores[kept], rated.ratings[kept], pairs_kept)
    return rated, [path[ids[i]] for i in kept], [name for name in names if name not in content]


def _paths(cache: Cache, scorer: int, contents: Set[int]) -> dict[int, str]:
    """A path of each content that has scores."""
    found: dict[int, str] = {}
    wanted = sorted(contents)
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        text = (
            "SELECT f.content_id, min(f.path) FROM files f JOIN scores s ON s.content_id = f.content_id "
            f"AND s.scorer_id = ? WHERE f.content_id IN ({','.join('?' * len(part))}) GROUP BY f.content_id"
        )
        with cache.guard():
            found.update(cache.conn.execute(text, (scorer, *part)).fetchall())
    return found


def _numbers(cache: Cache, scorer: int, ids: Sequence[int]) -> tuple[Floats, Floats]:
    """Embeddings (N, D) and `SCORES` (N, 8) of contents."""
    found: dict[int, tuple[float, ...]] = {}
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        text = f"SELECT content_id, {', '.join(SCORES)} FROM scores WHERE scorer_id = ? AND content_id IN "
        with cache.guard():
            rows = cache.conn.execute(text + f"({','.join('?' * len(part))})", (scorer, *part))
            found.update((row[0], row[1:]) for row in rows)
    scores = np.array([found[key] for key in ids], np.float64).reshape(-1, len(SCORES))
    return embeddings(cache, scorer, ids).astype(np.float64), scores


def facts_of(
    rated: Rated, paths: Sequence[str], measure: bool, done: Callable[[int, int], None] = lambda count, total: None
) -> dict[str, Floats]:
    """What is known of the rated photos beside the default score: scores, and measurements of up to `MEASURED`.

    A photo that cannot be opened (any more) has no measurements, and is not missed.

    Args:
        measure: whether to open photos.
        done: told how many were opened, of how many.
    """
    facts = {name: rated.scores[:, i] for i, name in enumerate(SCORES) if name in FACTS}
    if not measure:
        return facts
    measured = np.full((len(paths), len(MEASURES)), np.nan)
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(MEASURED, len(paths))).astype(int))
    with ThreadPoolExecutor(usable_cpus(), thread_name_prefix="cgiaa-measure") as pool:
        for count, (i, values) in enumerate(zip(chosen, pool.map(_measured, [paths[i] for i in chosen]), strict=True)):
            done(count + 1, len(chosen))
            if values is not None:
                measured[i] = values
    return facts | {name: measured[:, i] for i, name in enumerate(MEASURES) if name in FACTS}


def _measured(path: str) -> NDArray[np.float32] | None:
    from cgiaa_cli.imaging.decode import decode
    from cgiaa_cli.imaging.preprocess import prepare

    real = unescape(path)
    try:
        with open_regular(real) as file:
            return prepare(decode(file.read(), suffix=real.suffix)).measures
    except (PhotoError, OSError):
        return None


@dataclass
class ByTaste:
    """The order of `--taste`: photos by the rating that a user would give."""

    taste: str
    name: str = field(default="taste", init=False)

    def open(self, bundle: Bundle) -> None:
        self._kept: Taste = load(self.taste)
        self._kept.require(bundle)

    def hits(self, cache: Cache, scorer: int, selection: Selection, limit: int | None) -> list[Hit]:
        exact = partial(self._liked, cache, scorer, selection.worst_first)
        if limit is None or few_files(cache, selection.paths):
            return exact(list(select(cache, scorer, selection)))[:limit]
        return refined(cache, scorer, selection, self._rough(cache, scorer), exact, limit)[:limit]

    def _liked(self, cache: Cache, scorer: int, worst_first: bool, hits: list[Hit]) -> list[Hit]:
        """The hits by their exact ratings."""
        head = self._kept.head
        found: list[Hit] = []
        for start in range(0, len(hits), PIECE):
            part = hits[start : start + PIECE]
            vectors, scores = _numbers(cache, scorer, [hit.content_id for hit in part])
            if vectors.shape[1] != len(head.vector):  # not one of these photos has an embedding
                vectors = np.zeros((len(part), len(head.vector)))
            values = np.round(head(vectors, scores), DIGITS).tolist()
            found += [Hit(hit.path, hit.content_id, value) for hit, value in zip(part, values, strict=True)]
        sign = 1 if worst_first else -1
        return sorted(found, key=lambda hit: (sign * hit.value, hit.path))

    def _rough(self, cache: Cache, scorer: int) -> Rough:
        head = self._kept.head
        matrix = open_matrix(cache, scorer)
        values = matrix.rows["scores"] @ head.scores + head.intercept
        off = np.full(len(matrix), ROUNDING * (1 + abs(head.intercept) + HIGHEST * float(np.abs(head.scores).sum())))
        if matrix.codes.shape[1] == len(head.vector):  # else not one photo has an embedding
            length = float(np.linalg.norm(head.vector))
            likeness, wide = matrix.likeness(unit(head.vector[None].astype(np.float32)).ravel())
            values += length * likeness
            off += length * wide
        return Rough(matrix.rows["id"], values, off)
