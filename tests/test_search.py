"""Searches by example: the matrix beside the cache, the nearest of it against brute force, and the command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import RunCli, picture
from numpy.typing import NDArray

from cgiaa_cli.cache import vectors as module
from cgiaa_cli.cache.maintain import prune
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.cache.vectors import Matrix, open_matrix, unit, unpack
from cgiaa_cli.curation import search, select
from cgiaa_cli.curation.search import Query, nearest
from cgiaa_cli.curation.select import Selection
from cgiaa_cli.inference import product
from cgiaa_cli.inference.product import LARGEST, products

DIM = 6
LIB = [Path("/lib")]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache.open(tmp_path / "c[1].sqlite") as cache:
        yield cache


def add(cache: Cache, ids: range, seed: int = 0, who: str = "b") -> NDArray[np.float32]:
    """Photos with random embeddings; each seventh lies at two paths."""
    random = np.random.default_rng(seed)
    scorer = cache.scorer_id(who, "1", "p")
    vectors = unit(random.normal(size=(len(ids), DIM)).astype(np.float32)).astype("<f2")
    with cache.transaction() as conn:
        for key, vector in zip(ids, vectors, strict=True):
            conn.execute(
                "INSERT OR IGNORE INTO contents(id, hash, iso) VALUES (?, ?, ?)", (key, f"{key:032x}", key % 5)
            )
            conn.execute("INSERT INTO scores VALUES (?, ?, ?, 1, 5, 5, 5, 5, 5, 50, '[]')", (scorer, key, key % 10))
            conn.execute("INSERT INTO embeddings VALUES (?, ?, ?, ?)", (scorer, key, DIM, vector.tobytes()))
            for copy in range(2 if key % 7 == 0 else 1):
                conn.execute(
                    "INSERT OR IGNORE INTO files(path, content_id, size, companions) VALUES (?, ?, 1, '[]')",
                    (f"/lib/{key % 3}/{key:04}-{copy}.jpg", key),
                )
    return unit(vectors.astype(np.float32))


def files(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.path.parent.iterdir() if ".npy" in path.name)


def read(matrix: Matrix) -> NDArray[np.float32]:
    """The vectors as they were rounded."""
    return (matrix.codes.astype(np.float32) - 128) * matrix.rows["scale"][:, None]


@pytest.mark.parametrize("dim", [1, 6, 300])
def test_the_limits_of_likeness_hold_and_are_narrow(cache: Cache, dim: int) -> None:
    random = np.random.default_rng(0)
    vectors = unit(random.normal(size=(400, dim)).astype(np.float32) ** 3)
    vectors[7] = 0
    matrix = module._rounded([(i, i, None, *[0] * 8) for i in range(400)], vectors)
    for query in (vectors[3], unit(np.ones((1, dim), np.float32)).ravel(), np.eye(dim, dtype=np.float32)[0]):
        likeness, off = matrix.likeness(query)
        assert (np.abs(likeness - vectors.astype(np.float64) @ query) <= off).all() and off.max() < 0.03
    assert matrix.likeness(np.zeros(dim, np.float32))[0].tolist() == [0] * 400


def test_products_are_exact() -> None:
    random = np.random.default_rng(0)
    matrix = random.choice([0, 255, 128, 3], (200, 70)).astype(np.uint8)
    columns = random.choice([-LARGEST, LARGEST], (70, 2)).astype(np.int8)
    assert (products(matrix, columns) == matrix.astype(int) @ columns.astype(int)).all()
    matrix[:], columns[:] = 255, LARGEST  # the most there can be
    assert (products(matrix, columns) == 255 * LARGEST * 70).all()


def test_the_network_is_what_its_comment_says() -> None:
    network = onnx.load_from_string(product._NETWORK)
    onnx.checker.check_model(network)
    (node,) = network.graph.node
    assert (node.op_type, list(node.input), list(node.output)) == ("MatMulInteger", ["a", "b"], ["c"])


def test_unit_and_unpack() -> None:
    assert (
        unit(np.array([[3, 4], [0, 0], [np.nan, 1]], np.float32)).tolist()
        == [[0.6000000238418579, 0.800000011920929]] + [[0, 0]] * 2
    )
    assert unpack([np.array([1, 2], "<f2").tobytes(), b"", b"abc"], 2).tolist() == [[1, 2], [0, 0], [0, 0]]


def test_the_matrix_is_made_once_and_extended(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    first = add(cache, range(1, 31))
    add(cache, range(1, 31), 9, "other")
    scorer = cache.scorer_id("b", "1", "p")
    matrix = open_matrix(cache, scorer)
    assert matrix.rows["id"].tolist() == list(range(1, 31)) and np.allclose(read(matrix), first, atol=1e-2)
    assert matrix.rows["scores"].tolist() == [[key % 10, 1, 5, 5, 5, 5, 5, 50] for key in range(1, 31)]
    assert len(files(cache)) == 1 and isinstance(matrix.codes, np.memmap)
    (path,) = cache.path.parent.glob("*.npy")
    before = path.stat().st_ino
    open_matrix(cache, scorer)
    assert path.stat().st_ino == before
    more = add(cache, range(31, 41), 1)
    seen: list[int] = []
    new = module._new
    monkeypatch.setattr(module, "_new", lambda *given: seen.append(given[2]) or new(*given))
    matrix = open_matrix(cache, scorer)
    assert matrix.rows["id"].tolist() == list(range(1, 41)) and np.allclose(read(matrix)[30:], more, atol=1e-2)
    assert np.allclose(read(matrix)[:30], first, atol=1e-2)
    assert seen == [int(matrix.rows["row"][29])]  # only what is new was read
    other = open_matrix(cache, cache.scorer_id("other", "1", "p"))
    assert len(other) == 30 and len(files(cache)) == 2


def test_a_file_that_is_not_right_is_made_anew(cache: Cache) -> None:
    vectors = add(cache, range(1, 11))
    scorer = cache.scorer_id("b", "1", "p")
    open_matrix(cache, scorer)
    (path,) = cache.path.parent.glob("*.npy")
    good = path.read_bytes()
    for other in (np.zeros(3), np.zeros((10, 5), np.uint8)):
        np.save(path, other)
        assert len(open_matrix(cache, scorer)) == 10
    for bad in (b"", b"nonsense", good[:-50]):
        path.write_bytes(bad)
        assert np.allclose(read(open_matrix(cache, scorer)), vectors, atol=1e-2)
    with cache.transaction() as conn:  # as after a prune by a program that does not know of the file
        conn.execute("DELETE FROM embeddings WHERE content_id = 4")
    assert 4 not in open_matrix(cache, scorer).rows["id"]
    half = open_matrix(cache, scorer, lambda x: x[:, :3], "half")
    assert half.codes.shape == (9, 3) and np.allclose(np.linalg.norm(read(half), axis=1), 1, atol=1e-2)


def test_prune_deletes_the_matrix_because_ids_are_given_anew(cache: Cache) -> None:
    add(cache, range(1, 11))
    open_matrix(cache, cache.scorer_id("b", "1", "p"))
    beside = cache.path.with_name("d.sqlite.0.npy")
    beside.touch()
    prune(cache, missing_roots=True, dry_run=True)
    assert len(files(cache)) == 2
    prune(cache, missing_roots=True)
    assert files(cache) == [beside.name]


@pytest.mark.parametrize("fault", ["replace", "grown", "folder"])
def test_where_no_file_can_be_written_the_rows_are_in_memory(
    cache: Cache, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    add(cache, range(1, 11))
    scorer = cache.scorer_id("b", "1", "p")
    if fault == "replace":
        monkeypatch.setattr(os, "replace", fail)
    elif fault == "grown":  # another program adds photos after they were counted
        new = module._new

        def growing(*given: Any) -> Any:
            if not (cache.conn.execute("SELECT 1 FROM contents WHERE id = 11").fetchone()):
                add(cache, range(11, 13), 3)
            return new(*given)

        monkeypatch.setattr(module, "_new", growing)
    else:
        monkeypatch.setattr(module, "_path", lambda *_: Path("/nowhere/at/all.npy"))
    matrix = open_matrix(cache, scorer)
    assert len(matrix) == (12 if fault == "grown" else 10) and not files(cache)
    assert not isinstance(matrix.codes, np.memmap) and matrix.codes.shape == (len(matrix), DIM)


def test_searches_at_once_do_not_harm_each_other(cache: Cache) -> None:
    vectors = add(cache, range(1, 301))
    scorer = cache.scorer_id("b", "1", "p")

    def look(number: int) -> list[str]:
        with Cache.open(cache.path) as own:
            place = (lambda x: x) if number % 2 else None  # every other one finds a file of its own
            rows = open_matrix(own, scorer, place, f"{number % 2}")
            assert np.allclose(read(rows), vectors, atol=1e-2)
        return [name for name in files(cache) if name.endswith(".npy")]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, range(12)))
    assert len(files(cache)) == 2


def test_no_embeddings(cache: Cache) -> None:
    scorer = cache.scorer_id("b", "1", "p")
    assert len(open_matrix(cache, scorer)) == 0 and not files(cache)
    query = Query(np.ones(DIM, np.float32))
    assert nearest(cache, scorer, Selection(LIB), query, 5) == []
    assert search._by_matrix(cache, scorer, Selection(LIB), query, 5) == []


@pytest.mark.parametrize("few", [10**6, 0])
@pytest.mark.parametrize("where", [None, "iso = 3", "iso = 3 and score = 8"])
@pytest.mark.parametrize("limit", [5, None, 1000])
def test_the_nearest_are_those_of_brute_force(
    cache: Cache, few: int, where: str | None, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "FEW_FILES", few)
    monkeypatch.setattr(search, "FIRST", 3)
    vectors = add(cache, range(1, 201))
    vectors = np.concatenate([vectors, vectors[:20]])
    with cache.transaction() as conn:  # 20 photos with the embeddings of others: equal values
        for key in range(201, 221):
            conn.execute("INSERT INTO contents(id, hash, iso) VALUES (?, ?, 3)", (key, f"{key:032x}"))
            conn.execute("INSERT INTO scores VALUES (1, ?, 5, 1, 5, 5, 5, 5, 5, 50, '[]')", (key,))
            conn.execute(
                "INSERT INTO embeddings SELECT 1, ?, dim, vector FROM embeddings WHERE content_id = ?", (key, key - 200)
            )
            conn.execute(
                "INSERT INTO files(path, content_id, size, companions) VALUES (?, ?, 1, '[]')",
                (f"/lib/0/x{key}.jpg", key),
            )
    query = vectors[4]
    hits = nearest(cache, cache.scorer_id("b", "1", "p"), Selection(LIB, where=where), Query(query), limit)
    values = np.round(vectors @ query, 6)
    meets = {None: "1", "iso = 3": "c.iso = 3", "iso = 3 and score = 8": "c.iso = 3 AND s.score = 8"}[where]
    rows = cache.conn.execute(
        "SELECT f.path, c.id FROM files f JOIN contents c ON c.id = f.content_id "
        f"JOIN scores s ON s.content_id = c.id WHERE {meets}"
    ).fetchall()
    wanted = sorted((-values[i - 1], path) for path, i in rows)
    assert [hit.value for hit in hits] == pytest.approx([-value for value, _ in wanted[:limit]], abs=1e-5)
    assert [hit.value for hit in hits] == pytest.approx([values[hit.content_id - 1] for hit in hits], abs=1e-5)
    assert len({hit.path for hit in hits}) == len(hits) and [hit.path for hit in hits[:2]] == [p for _, p in wanted[:2]]


def test_what_is_left_out_costs_no_place(cache: Cache) -> None:
    vectors = add(cache, range(1, 51))
    scorer = cache.scorer_id("b", "1", "p")
    whole = nearest(cache, scorer, Selection(LIB), Query(vectors[0]), None)
    hits = nearest(cache, scorer, Selection(LIB), Query(vectors[0], without=frozenset([whole[0].path])), 3)
    assert hits == whole[1:4] and whole[0].value == pytest.approx(1, abs=1e-3)


def test_another_space(cache: Cache) -> None:
    vectors = add(cache, range(1, 51))
    scorer = cache.scorer_id("b", "1", "p")
    turned = Query(vectors[2, ::-1].copy(), lambda x: x[:, ::-1], "turned")
    for look in (
        lambda: nearest(cache, scorer, Selection(LIB), turned, 1),
        lambda: search._by_matrix(cache, scorer, Selection(LIB), turned, 1),
    ):
        assert look()[0].content_id == 3


def test_search_finds_photos_like_an_example(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "middle.jpg", photos / "trip" / "copy.jpg")
    done = run_cli("search", "--like", photos / "middle.jpg", photos, "--format", "json", "--top", "3")
    rows = json.loads(done.stdout)
    assert done.returncode == 0 and Path(rows[0]["path"]).name == "copy.jpg"
    assert rows[0]["similarity"] == rows[0]["value"] == pytest.approx(1, abs=1e-2) and len(rows) == 3
    assert photos / "middle.jpg" not in [Path(row["path"]) for row in rows]
    # everything in the cache, without a scan; an example that is not in it, and two at once
    (photos / "new.jpg").write_bytes((photos / "bright.jpg").read_bytes() + b"x")
    new = tmp_path / "new.png"
    picture(6, 0.6).save(new)
    done = run_cli("search", "--like", new, "--format", "paths", "-0")
    found = done.stdout.split("\0")
    assert Path(found[0]).name == "beach.jpg" and len(found) == 11, done.stderr
    done = run_cli("search", "--like", new, "--like", photos / "dark.jpg", "--format", "csv", "--where", "iso = none")
    assert done.stdout.splitlines()[0].endswith(",companions,similarity")
    done = run_cli("search", "--like", new, photos, "--no-scan", "--one-per-group")
    assert "similarity" in done.stdout.splitlines()[0] and done.stdout.count("\n") == 8
    done = run_cli("search", "--like", new, photos / "trip", "--format", "paths")
    assert len(done.stdout.splitlines()) == 2
    # a whole disk is nothing to scan again
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    assert run_cli("scan", photos).returncode == 3
    for where, named in (([], "FOLDER"), ([photos, "--no-scan"], photos)):
        done = run_cli("search", "--like", new, *where)
        assert done.returncode == 3 and done.stderr.endswith(f"try again with: cgiaa scan --retry-failed {named}\n")


def test_what_cannot_be_searched_for_is_one_line(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((photos / "bright.jpg").read_bytes()[:300])
    for arguments, said in (
        ([], "nothing to search for; give words, or an example: cgiaa search --like PHOTO"),
        (["  "], "'  ' is no words"),
        ([str(photos)], "is no words; put them first"),
        (["a dog", photos], "the model tiny 1 cannot search by words: it has no text tower"),
        (["--like", tmp_path / "none.jpg", photos], "none.jpg: No such file or directory; name a photo with --like"),
        (["--like", broken, photos, "--no-scan"], "broken.jpg"),
        (["--like", photos / "bright.jpg", photos, "--top", "0"], "--top"),
    ):
        if "--no-scan" in arguments:
            run_cli("scan", photos)
        done = run_cli("search", *arguments)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1 and not done.stdout
    assert "export" in run_cli("search", "a dog").stderr
    nothing = run_cli("search", "--like", photos / "bright.jpg", photos, "--min", "score=11")
    assert nothing.returncode == 1 and "nothing matched" in nothing.stderr
