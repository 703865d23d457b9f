"""Maximal marginal relevance against brute force, and its promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation.diversity import candidates, diverse, embeddings, mmr
from cgiaa_cli.curation.select import Selection
from cgiaa_cli.errors import UsageError


def unit(random: np.random.Generator, n: int, dim: int = 8) -> np.ndarray:
    vectors = random.normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute_force(values: np.ndarray, vectors: np.ndarray, count: int, diversity: float) -> list[int]:
    relevance = (values - values.min()) / ((values.max() - values.min()) or 1)
    taken = [int(np.argmax(relevance))]
    while len(taken) < min(count, len(values)):
        left = [i for i in range(len(values)) if i not in taken]
        marginal = [
            (1 - diversity) * relevance[i] - diversity * max(float(vectors[i] @ vectors[j]) for j in taken)
            for i in left
        ]
        taken.append(left[int(np.argmax(marginal))])
    return taken


@pytest.mark.parametrize("diversity", [0.0, 0.1, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_is_brute_force(diversity: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 60))
    values, vectors = random.normal(5, 1, n), unit(random, n)
    assert mmr(values, vectors, 20, diversity) == brute_force(values, vectors, 20, diversity)


def test_promises() -> None:
    random = np.random.default_rng(9)
    values, vectors = random.normal(5, 1, 200), unit(random, 200)
    by_value = list(np.argsort(-values))
    assert mmr(values, vectors, 200, 0) == by_value
    for diversity in (0.0, 0.3, 1.0):
        taken = mmr(values, vectors, 30, diversity)
        assert len(taken) == len(set(taken)) == 30
        assert taken[0] == by_value[0]
        assert mmr(values, vectors, 10, diversity) == taken[:10]
        assert mmr(values * 3 + 7, vectors, 30, diversity) == taken
    assert sorted(mmr(values, vectors, 999, 0.5)) == list(range(200))

    def likeness(taken: list[int]) -> float:
        return float(np.mean(vectors[taken] @ vectors[taken].T))

    assert likeness(mmr(values, vectors, 30, 0.5)) < likeness(by_value[:30])


def test_edges() -> None:
    assert mmr(np.zeros(0), np.zeros((0, 0), np.float32), 5, 0.3) == []
    assert mmr(np.ones(3), np.zeros((3, 4), np.float32), 5, 0.3) == [0, 1, 2]
    assert mmr(np.ones(3), np.zeros((3, 0), np.float32), 2, 1) == [0, 1]
    assert mmr(np.ones(3), np.zeros((3, 4), np.float32), 0, 0.3) == []


@pytest.fixture
def cache(tmp_path: Path):
    with Cache.open(tmp_path / "c.sqlite") as cache:
        yield cache


def add(cache: Cache, scores: list[float], vectors: list[np.ndarray | None], copies: int = 1) -> int:
    scorer = cache.scorer_id("b", "1", "p")
    with cache.transaction() as conn:
        for key, (score, vector) in enumerate(zip(scores, vectors, strict=True), 1):
            conn.execute("INSERT INTO contents(id, hash) VALUES (?, ?)", (key, str(key)))
            conn.execute("INSERT INTO scores VALUES (?, ?, ?, 1, 1, 1, 1, 1, 1, 1, '[]')", (scorer, key, score))
            if vector is not None:
                conn.execute(
                    "INSERT INTO embeddings VALUES (?, ?, ?, ?)",
                    (scorer, key, len(vector), vector.astype("<f2").tobytes()),
                )
            for copy in range(copies):
                conn.execute("INSERT INTO files(path, content_id) VALUES (?, ?)", (f"/p/{key:03}-{copy}", key))
    return scorer


def test_no_identical_copies(cache: Cache) -> None:
    vectors = list(unit(np.random.default_rng(0), 12))
    scorer = add(cache, [9 - i / 10 for i in range(12)], vectors, copies=300)
    selection = Selection([Path("/p")])
    for diversity in (0.0, 0.3, 1.0):
        hits = diverse(cache, scorer, selection, 10, diversity)
        assert len({hit.content_id for hit in hits}) == len(hits) == 10
        assert all(hit.path.endswith("-0") for hit in hits)
    assert [hit.content_id for hit in candidates(cache, scorer, selection, 99)] == list(range(1, 13))


def test_near_duplicates_give_way(cache: Cache) -> None:
    same, other = np.eye(4, dtype=np.float32)[:2]
    scorer = add(cache, [9.0, 8.9, 8.8, 7.0, 1.0], [same, same, same, other, same])
    paths = [hit.path for hit in diverse(cache, scorer, Selection([Path("/p")]), 2, 0.5)]
    assert paths == ["/p/001-0", "/p/004-0"]
    worst = diverse(cache, scorer, Selection([Path("/p")], worst_first=True), 2, 0.5)
    assert [hit.path for hit in worst] == ["/p/005-0", "/p/004-0"]


def test_a_burst_gives_way_to_a_photo_half_a_point_worse(cache: Cache) -> None:
    burst, other = np.eye(4, dtype=np.float32)[0], np.float32([0.2, 0.98, 0, 0])
    scorer = add(cache, [7.86, 7.85, 7.84, 7.41, 6.73], [burst, burst, burst, other, np.eye(4)[2]])
    paths = [hit.path for hit in diverse(cache, scorer, Selection([Path("/p")]), 2)]
    assert paths == ["/p/001-0", "/p/004-0"]


def test_missing_and_odd_vectors(cache: Cache) -> None:
    nan = np.full(4, np.nan, np.float32)
    scorer = add(cache, [9.0, 8.0, 7.0, 6.0], [np.eye(4)[0] * 3, None, nan, np.ones(2)])
    found = embeddings(cache, scorer, [1, 2, 3, 4, 99])
    assert found.shape == (5, 4) and found.dtype == np.float32
    assert np.array_equal(found, np.vstack([np.eye(4)[0], np.zeros((4, 4))]))
    assert len(diverse(cache, scorer, Selection([Path("/p")]), 10)) == 4
    assert diverse(cache, scorer, Selection([Path("/none")]), 10) == []


def test_diversity_out_of_range(cache: Cache) -> None:
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError):
            diverse(cache, 1, Selection([Path("/p")]), 5, value)
