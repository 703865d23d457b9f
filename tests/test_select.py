"""Selections against brute force over the same rows, whichever plan answers them."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation import select as module
from cgiaa_cli.curation.select import Selection, failures, is_scored, parse_numbers, ranges, records, select
from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import escape

SCORES = [
    "score",
    "spread",
    "color_light",
    "composition",
    "depth_focus",
    "general",
    "technical",
    "complexity",
]


def fill(cache: Cache, count: int = 400, seed: int = 0) -> list[dict[str, Any]]:
    """Random photos with many equal values, missing fields, copies, missing files and another scorer."""
    chance = random.Random(seed)
    scorer = cache.scorer_id("b", "1", "p")
    other = cache.scorer_id("other", "1", "p")
    rows: list[dict[str, Any]] = []
    with cache.transaction() as conn:
        for key in range(1, count + 1):
            content = {
                "id": key,
                "taken_at": chance.choice([None, f"20{chance.randint(20, 25)}-0{chance.randint(1, 9)}-11T10:00:00"]),
                "camera": chance.choice([None, "Canon EOS", "NIKON Z", "Ünïx"]),
                "lens": chance.choice([None, "RF35mm", "XF 35mm", "85mm"]),
                "iso": chance.choice([None, 100, 1600, 6400]),
            }
            values = {name: chance.randint(10, 40) / 5 for name in SCORES}
            conn.execute(
                "INSERT INTO contents(id, hash, taken_at, camera, lens, iso) VALUES (?, ?, ?, ?, ?, ?)",
                (key, f"{key:032x}", *list(content.values())[1:]),
            )
            for who in (scorer, other):
                shown = [v if who == scorer else 10 - v for v in values.values()]
                conn.execute("INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '[]')", (who, key, *shown))
            for copy in range(chance.choice([1, 1, 1, 3])):
                path = f"/lib/{chance.choice('abc')}/{key:04}-{copy}.jpg"
                missing = chance.random() < 0.1
                conn.execute(
                    "INSERT INTO files(path, content_id, size, companions, missing_at) VALUES (?, ?, 1, '[]', ?)",
                    (path, key, "2025-01-01" if missing else None),
                )
                if not missing:
                    rows.append({"path": path, **content, **values})
    return rows


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache.open(tmp_path / "c.sqlite") as cache:
        yield cache


def expected(rows: list[dict[str, Any]], by: str = "score", worst: bool = False) -> list[str]:
    return [r["path"] for r in sorted(rows, key=lambda r: (r[by] if worst else -r[by], r["path"]))]


def paths(cache: Cache, selection: Selection, limit: int | None = None) -> list[str]:
    return [hit.path for hit in select(cache, cache.scorer_id("b", "1", "p"), selection, limit)]


# 10**9: the files are always few; 0: never, so that the other plans answer
@pytest.fixture(params=[(10**9, 1, 0), (0, 1000, 0), (0, 5, 0), (0, 1, 10**9), (0, 1, 0)])
def plans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    few, first, many = request.param
    monkeypatch.setattr(module, "FEW_FILES", few)
    monkeypatch.setattr(module, "FIRST", first)
    monkeypatch.setattr(module, "MANY_FILES", many)


@pytest.mark.usefixtures("plans")
@pytest.mark.parametrize(
    ("by", "worst", "limit"),
    list(itertools.product(["overall", "composition", "technical"], [False, True], [1, 7, 50, 10_000, None])),
)
def test_every_plan_gives_the_order_of_brute_force(cache: Cache, by: str, worst: bool, limit: int | None) -> None:
    rows = fill(cache)
    selection = Selection([Path("/lib")], weights={by: 1.0}, worst_first=worst)
    wanted = expected(rows, "score" if by == "overall" else by, worst)
    assert paths(cache, selection, limit) == wanted[:limit]


@pytest.mark.parametrize("limit", [2, None])
@pytest.mark.parametrize("weights", [{"overall": 1.0}, {"composition": 1.0}])
def test_a_rare_score_is_looked_for_by_reading_all_scores_once(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, limit: int | None, weights: dict[str, float]
) -> None:
    fill(cache, 1200)
    monkeypatch.setattr(module, "FEW_FILES", 0)
    monkeypatch.setattr(module, "FIRST", 1)
    monkeypatch.setattr(module, "MANY_FILES", 0)
    said: list[str] = []
    cache.conn.set_trace_callback(said.append)
    selection = Selection([Path("/lib")], weights=weights, minimum={"technical": 9}, where="score > 2")
    paths(cache, selection, limit)
    cache.conn.set_trace_callback(None)
    queries = [text for text in said if text.startswith(("INSERT INTO temp.best", "SELECT f.path"))]
    steps = [row[3] for text in queries for row in cache.conn.execute(f"EXPLAIN QUERY PLAN {text}")]
    assert any(step.startswith("SEARCH s USING PRIMARY KEY (scorer_id=?)") for step in steps)
    # along the index, each of a million scores would be looked up in the table by itself
    assert not any("scores_rank" in step and "COVERING" not in step for step in steps)


@pytest.mark.usefixtures("plans")
def test_conditions(cache: Cache) -> None:
    rows = fill(cache)
    cases = [
        (
            {"minimum": {"score": 5}, "maximum": {"technical": 4}},
            lambda r: r["score"] >= 5 and r["technical"] <= 4,
        ),
        ({"since": "2022"}, lambda r: (r["taken_at"] or "") >= "2022"),
        ({"until": "2022-05"}, lambda r: r["taken_at"] and r["taken_at"] < "2022-06"),
        ({"camera": "canon"}, lambda r: r["camera"] == "Canon EOS"),
        ({"camera": "ÜNÏ"}, lambda r: r["camera"] == "Ünïx"),
        ({"lens": "35MM"}, lambda r: "35mm" in (r["lens"] or "")),
        ({"where": "iso > 100 and score > 5"}, lambda r: (r["iso"] or 0) > 100 and r["score"] > 5),
        ({"where": "score > 7 or iso = none"}, lambda r: r["score"] > 7 or r["iso"] is None),
        ({"where": "path ~ '-2.jpg'"}, lambda r: r["path"].endswith("-2.jpg")),
        ({"where": "iso = 12345"}, lambda r: False),
        ({"exclude": ["*-0.jpg"]}, lambda r: not r["path"].endswith("-0.jpg")),
        ({"exclude": ["b"]}, lambda r: "/b/" not in r["path"]),
    ]
    for options, holds in cases:
        for limit in (5, None):
            selection = Selection([Path("/lib")], **options)
            assert paths(cache, selection, limit) == expected([r for r in rows if holds(r)])[:limit], options


@pytest.mark.usefixtures("plans")
def test_only_below_the_paths(cache: Cache) -> None:
    rows = fill(cache)
    assert paths(cache, Selection([Path("/lib/a")])) == expected([r for r in rows if "/a/" in r["path"]])
    assert (
        paths(cache, Selection([Path("/lib/a"), Path("/lib/a/../c")]), 9)
        == (expected([r for r in rows if "/b/" not in r["path"]])[:9])
    )
    one = rows[3]["path"]
    assert paths(cache, Selection([Path(one)])) == [one]
    assert paths(cache, Selection([Path(one), Path("/lib"), Path("/lib/b")])) == expected(rows)
    assert paths(cache, Selection([Path("/")])) == expected(rows)
    assert paths(cache, Selection([Path("/li")])) == []
    assert paths(cache, Selection([Path(r["path"]) for r in rows] * 10)) == expected(rows)


def test_names_that_only_begin_alike_are_not_below(cache: Cache) -> None:
    names = ["/p/a/x", "/p/a b", "/p/a0", "/p/a!", "/p/a", "/p/a\n/y", "/p/a.jpg", "/p/b", "/p/a/\U0010ffff"]
    scorer = cache.scorer_id("b", "1", "p")
    with cache.transaction() as conn:
        conn.execute("INSERT INTO contents(id, hash) VALUES (1, 'x')")
        conn.execute("INSERT INTO scores VALUES (?, 1, 5, 1, 1, 1, 1, 1, 1, 1, '[]')", (scorer,))
        conn.executemany("INSERT INTO files(path, content_id) VALUES (?, 1)", [(n,) for n in names])
    assert paths(cache, Selection([Path("/p/a")])) == ["/p/a", "/p/a/x", "/p/a/\U0010ffff"]
    assert paths(cache, Selection([Path("/p/a!")])) == ["/p/a!"]
    assert len(paths(cache, Selection([Path("/p")]))) == len(names)


def test_ranges_are_apart_and_sorted() -> None:
    found = ranges([Path("/a"), Path("/a/b"), Path("/a!"), Path("/"), Path("/z")])
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(found))
    assert ranges([Path("/")]) == [("/", "0")]


def test_weighted_mean(cache: Cache) -> None:
    rows = fill(cache)
    for row in rows:
        row["mean"] = (2 * row["composition"] + 0.5 * row["technical"]) / 2.5
    selection = Selection([Path("/lib")], weights={"composition": 2, "technical": 0.5, "general": 0})
    hits = list(select(cache, 1, selection, 30))
    by_path = {row["path"]: row["mean"] for row in rows}
    assert [hit.value for hit in hits] == pytest.approx(sorted(by_path.values(), reverse=True)[:30])
    assert all(by_path[hit.path] == pytest.approx(hit.value) for hit in hits)


def test_records_follow_the_hits(cache: Cache) -> None:
    rows = fill(cache, 1200)
    selection = Selection([Path("/lib")])
    found = list(records(cache, 1, select(cache, 1, selection)))
    assert [record["path"] for record in found] == expected(rows)
    assert [record["rank"] for record in found] == list(range(1, len(rows) + 1))
    assert all(record["value"] == record["score"] for record in found)


def test_failures(cache: Cache) -> None:
    fill(cache, 5)
    with cache.transaction() as conn:
        for path, missing in (
            ("/lib/b/z.jpg", None),
            ("/lib/a/z.jpg", None),
            ("/lib/m.jpg", "2025"),
            ("/o.jpg", None),
        ):
            conn.execute(
                "INSERT INTO files(path, size, companions, error_kind, error, missing_at) "
                "VALUES (?, 9, '[]', 'corrupt', 'no', ?)",
                (path, missing),
            )
    found = failures(cache, 1, Selection([Path("/lib")]))
    assert [row["path"] for row in found] == ["/lib/a/z.jpg", "/lib/b/z.jpg"]
    assert found[0]["error_kind"] == "corrupt"
    assert failures(cache, 1, Selection([Path("/lib")], exclude=["z.*"])) == []
    assert is_scored(cache, 1) and not is_scored(cache, 99)


@pytest.mark.parametrize(
    "options",
    [
        {"weights": {"beauty": 1}},
        {"weights": {"overall": 0}},
        {"weights": {"overall": -1, "technical": 2}},
        {"weights": {"overall": float("nan")}},
        {"weights": {"overall": float("inf")}},
        {"minimum": {"overal": 1}},
        {"maximum": {"iso": 1}},
        {"since": "yesterday"},
        {"until": "2024-13"},
        {"since": "2023-02-29"},
        {"until": "2024-05-01T10:00:00Z"},
        {"since": ""},
        {"where": "iso >"},
        {"paths": []},
    ],
)
def test_what_cannot_be_is_a_usage_error(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Selection(**({"paths": [Path("/")]} | options))


def test_parse_numbers() -> None:
    assert parse_numbers("--min", ["score=6", "color-light = 2.5"], module.LIMITED) == {
        "score": 6,
        "color_light": 2.5,
    }
    for text in ("score", "score=", "score=x", "score=nan", "score=inf", "=5", "iso=5", "composition'; --=5"):
        with pytest.raises(UsageError):
            parse_numbers("--min", [text], module.LIMITED)
    with pytest.raises(UsageError, match="did you mean 'composition'"):
        parse_numbers("--min", ["compositon=5"], module.LIMITED)


def test_default_order_uses_the_index(cache: Cache) -> None:
    """A full sort of a million rows would be the slow way to the same answer."""
    fill(cache, 50)
    seen: list[str] = []
    cache.conn.set_trace_callback(seen.append)
    list(select(cache, 1, Selection([Path("/lib")]), None))
    module.FEW_FILES, before = 0, module.FEW_FILES
    try:
        list(select(cache, 1, Selection([Path("/lib")]), None))
        list(select(cache, 1, Selection([Path("/lib")]), 5))
    finally:
        module.FEW_FILES = before
        cache.conn.set_trace_callback(None)
    queries = [q for q in seen if "scores_rank" in q]
    assert queries
    for query in queries:
        plan = " | ".join(row[3] for row in cache.conn.execute("EXPLAIN QUERY PLAN " + query))
        assert "SCAN" not in plan, plan
        assert "ORDER BY" not in plan or "LAST TERM" in plan or "RIGHT PART" in plan, plan


def test_hostile_paths(cache: Cache) -> None:
    names = [
        b"/lib/new\nline.jpg",
        b"/lib/caf\xe9.jpg",
        b"/lib/'; DROP TABLE files; --.jpg",
        b"/lib/\\xe9.jpg",
    ]
    scorer = cache.scorer_id("b", "1", "p")
    with cache.transaction() as conn:
        for key, name in enumerate(names, 1):
            conn.execute("INSERT INTO contents(id, hash) VALUES (?, ?)", (key, str(key)))
            conn.execute("INSERT INTO scores VALUES (?, ?, 5, 1, 1, 1, 1, 1, 1, 1, '[]')", (scorer, key))
            conn.execute("INSERT INTO files(path, content_id, companions) VALUES (?, ?, '[]')", (escape(name), key))
    assert paths(cache, Selection([Path("/lib")])) == sorted(map(escape, names))
    for name in names:
        assert paths(cache, Selection([Path(os.fsdecode(name))])) == [escape(name)]
