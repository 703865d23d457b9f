"""Looking after the cache: prune never takes an unmounted disk for deleted photos, exports are whole or absent."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgiaa_cli.cache import maintain
from cgiaa_cli.cache.maintain import Pruned, export_jsonl, export_parquet, export_rows, info, prune, vacuum
from cgiaa_cli.cache.rows import row_json
from cgiaa_cli.cache.store import Cache, Content, FileEntry
from cgiaa_cli.errors import CacheError, CgiaaError, ExtraMissingError, UsageError
from cgiaa_cli.inference.scores import ATTRIBUTES, Scores
from cgiaa_cli.paths import escape

SCORES = Scores(
    score=6.25,
    spread=1.5,
    distribution=(0.1,) * 10,
    attributes=dict(zip(ATTRIBUTES, (5.0, 6.0, 7.0, 8.0), strict=True)),
    technical=9.0,
    complexity=55.0,
    embedding=np.array([0.6, 0.8], np.float16),
)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache.open(tmp_path / "cache.sqlite") as opened:
        yield opened


def add(cache: Cache, *paths: Path, bundle: str = "tiny", score: float = 6.25) -> None:
    """Make files and put them into the cache, each with a content of its own."""
    scorer = cache.scorer_id(bundle, "1", "abc")
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        content = Content(f"hash of {path}", 100, "jpeg", 40, 30, camera="Cam")
        entry = FileEntry(escape(path), 100, 5, ("/p/a.raf",), content.hash)
        cache.write(scorer, [entry], [(content, replace(SCORES, score=score))])


def count(cache: Cache, table: str) -> int:
    return int(cache.conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


# info


def test_info_counts(cache: Cache, tmp_path: Path) -> None:
    add(cache, tmp_path / "p" / "a.jpg", tmp_path / "p" / "b.jpg")
    add(cache, tmp_path / "p" / "a.jpg", bundle="other")
    failed = [FileEntry(f"/x/{i}.jpg", 1, 1, error_kind="truncated", error="cut") for i in range(2)]
    cache.write(1, failed)
    cache.add_root(escape(tmp_path / "p"))
    (tmp_path / "p" / "b.jpg").unlink()
    cache.conn.execute("DELETE FROM seen")
    cache.mark_missing(escape(tmp_path / "p"))
    found = info(cache)
    assert found.pop("bytes") > 4096
    assert found == {
        "path": str(tmp_path / "cache.sqlite"),
        "schema": 6,
        "files": 4,
        "contents": 2,
        "failed": {"truncated": 2},
        "missing": 1,
        "roots": [str(tmp_path / "p")],
        "scorers": [
            {"bundle": "tiny", "version": "1", "preprocess": "abc", "scores": 2, "embeddings": 2},
            {"bundle": "other", "version": "1", "preprocess": "abc", "scores": 1, "embeddings": 1},
        ],
    }


# prune


def test_prune_drops_what_is_gone_and_its_scores(cache: Cache, tmp_path: Path) -> None:
    add(cache, tmp_path / "p" / "a.jpg", tmp_path / "p" / "b.jpg", tmp_path / "p" / "c.jpg")
    cache.add_root(escape(tmp_path / "p"))
    # b moved to d, so its content is still in use
    (tmp_path / "p" / "b.jpg").rename(tmp_path / "p" / "d.jpg")
    cache.write(1, [FileEntry(escape(tmp_path / "p" / "d.jpg"), 100, 5, hash=f"hash of {tmp_path}/p/b.jpg")])
    (tmp_path / "p" / "c.jpg").unlink()
    removed = Pruned(
        2, 1, scores=1, embeddings=1, critiques=0, looks=0, eyes=0, listed_groups=0, keep_all=0, decisions=0, choices=0
    )
    assert prune(cache, dry_run=True) == removed
    assert (count(cache, "files"), count(cache, "contents")) == (4, 3)
    assert prune(cache) == removed
    paths = [row[0] for row in cache.conn.execute("SELECT path FROM files ORDER BY path")]
    assert paths == [str(tmp_path / "p" / "a.jpg"), str(tmp_path / "p" / "d.jpg")]
    assert [count(cache, t) for t in ("contents", "scores", "embeddings", "roots")] == [2, 2, 2, 1]
    assert prune(cache) == Pruned(*[0] * 11)
    assert cache.conn.execute("PRAGMA foreign_key_check").fetchall() == []


def test_prune_refuses_where_a_whole_folder_is_gone(cache: Cache, tmp_path: Path) -> None:
    add(cache, tmp_path / "here" / "a.jpg", tmp_path / "disk" / "a.jpg", tmp_path / "disk" / "b.jpg")
    for name in ("here", "disk"):
        cache.add_root(escape(tmp_path / name))
    shutil.rmtree(tmp_path / "disk")
    (tmp_path / "disk").mkdir()  # a mount point
    with pytest.raises(CacheError, match=r"disk: not one of its 2 photos is there; nothing was removed; mount"):
        prune(cache)
    assert count(cache, "files") == 3
    assert prune(cache, missing_roots=True).files == 2
    assert count(cache, "files") == 1


def test_prune_refuses_for_a_disk_inside_a_scanned_folder(cache: Cache, tmp_path: Path) -> None:
    add(cache, tmp_path / "p" / "a.jpg", tmp_path / "p" / "usb" / "a.jpg")
    for folder in (tmp_path / "p", tmp_path / "p" / "usb"):
        cache.add_root(escape(folder))
    shutil.rmtree(tmp_path / "p" / "usb")
    with pytest.raises(CacheError, match="usb: not one of its 1 photos is there"):
        prune(cache)
    assert prune(cache, missing_roots=True).files == 1
    assert [row[0] for row in cache.conn.execute("SELECT path FROM roots")] == [str(tmp_path / "p")]


def test_prune_refuses_for_photos_scanned_one_by_one(cache: Cache, tmp_path: Path) -> None:
    add(cache, tmp_path / "here" / "a.jpg", tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg")
    shutil.rmtree(tmp_path / "x")
    shutil.rmtree(tmp_path / "y")
    with pytest.raises(CacheError, match=r"x: not one of its 1 photos is there \(and 1 other folders\)"):
        prune(cache)


def test_prune_looks_at_every_file(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintain, "CHUNK", 3)
    files = [tmp_path / "p" / f"{i}.jpg" for i in range(10)]
    add(cache, *files)
    for path in files[1::2]:
        path.unlink()
    assert prune(cache).files == 5


# vacuum


def test_vacuum_makes_it_smaller_and_keeps_the_rest(cache: Cache, tmp_path: Path) -> None:
    add(cache, tmp_path / "p" / "a.jpg")
    cache.write(1, [FileEntry(f"/x/{i:04}.jpg", 1, 1, error_kind="corrupt", error="x" * 500) for i in range(999)])
    cache.conn.execute("DELETE FROM files WHERE path > '/x/'  AND path < '/y'")
    before, after = vacuum(cache)
    assert after < before / 2 and after == cache.path.stat().st_size
    assert cache.records(1, [escape(tmp_path / "p" / "a.jpg")])


# export


def test_exported_rows_have_all_that_is_known(cache: Cache, tmp_path: Path) -> None:
    a, b, lost = (tmp_path / "p" / name for name in ("a.jpg", "b.jpg", "lost.jpg"))
    add(cache, b, a, lost)
    add(cache, a, bundle="other", score=2.0)
    cache.write(1, [FileEntry("/x/failed.jpg", 1, 1, error_kind="corrupt", error="torn")])
    lost.unlink()
    cache.conn.execute("DELETE FROM seen")
    cache.mark_missing(escape(tmp_path / "p"))
    rows = list(export_rows(cache))
    assert [(row["bundle"], row["path"]) for row in rows] == [("tiny", str(a)), ("tiny", str(b)), ("other", str(a))]
    first = rows[0]
    assert first["score"] == 6.25 and first["attributes"] == SCORES.attributes and first["camera"] == "Cam"
    assert first["hash"] == f"hash of {a}" and first["distribution"] == [0.1] * 10
    assert first["embedding"] == SCORES.embedding.tolist() and first["companions"] == ["/p/a.raf"]
    assert first["version"] == "1" and first["preprocess"] == "abc"
    assert [row["score"] for row in export_rows(cache, bundle="other")] == [2.0]
    assert list(export_rows(cache, bundle="unknown")) == []
    assert all("embedding" not in row for row in export_rows(cache, embeddings=False))


def test_a_content_without_embedding_is_exported(cache: Cache, tmp_path: Path) -> None:
    add(cache, tmp_path / "p" / "a.jpg")
    cache.conn.execute("DELETE FROM embeddings")
    assert [row["embedding"] for row in export_rows(cache)] == [None]


def test_jsonl_reads_back(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintain, "CHUNK", 2)
    add(cache, *(tmp_path / "p" / f"{i} é.jpg" for i in range(5)))
    target = tmp_path / "out.jsonl"
    assert export_jsonl(export_rows(cache), target) == 5
    lines = target.read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == list(export_rows(cache))


def test_parquet_reads_back(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(maintain, "CHUNK", 2)
    add(cache, *(tmp_path / "p" / f"{i}.jpg" for i in range(5)))
    assert export_parquet(export_rows(cache), tmp_path / "out.parquet") == 5
    table = parquet.ParquetFile(tmp_path / "out.parquet").read().to_pylist()
    assert len(table) == 5
    for row, expected in zip(table, export_rows(cache), strict=True):
        assert row.pop("embedding") == pytest.approx(expected.pop("embedding"))
        attributes = expected.pop("attributes")
        assert {name: row.pop(name) for name in ATTRIBUTES} == attributes
        assert row == expected
    assert export_parquet(export_rows(cache, embeddings=False), tmp_path / "less.parquet") == 5
    assert parquet.ParquetFile(tmp_path / "less.parquet").read().to_pylist()[0]["embedding"] is None


def test_parquet_without_pyarrow(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'cgiaa\[parquet\]'"):
        export_parquet(export_rows(cache), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_file_that_is_there_is_not_overwritten_unasked(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("mine")
    with pytest.raises(UsageError, match=r"is there already; give another name or --force"):
        export_jsonl([], target)
    assert target.read_text() == "mine"
    assert export_jsonl([{"a": 1}], target, force=True) == 1
    assert target.read_text() == '{"a": 1}\n'
    with pytest.raises(UsageError, match="this is a folder"):
        export_jsonl([], tmp_path, force=True)


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")

    def rows() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CgiaaError, match=r"out\.jsonl: No space left on device; write it somewhere else"):
        export_jsonl(rows(), target, force=True)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    with pytest.raises(CgiaaError, match="No such file or directory"):
        export_jsonl([], tmp_path / "none" / "out.jsonl")


# rows


def test_a_row_of_a_failed_photo_has_the_error_and_no_scores() -> None:
    record = {"path": "/a", "score": 5.0, "technical": 5.0, "error": "torn", "error_kind": "corrupt", "bytes": 3}
    row = row_json(record)
    assert (row["error"], row["error_kind"], row["bytes"]) == ("torn", "corrupt", 3)
    assert row["score"] is None and row["technical"] is None and row["attributes"] is None
    scored = row_json({"path": "/a", "score": 5.0, "attributes": {"general": 2.0}, "companions": ["/b"]})
    assert "error" not in scored and scored["attributes"]["general"] == 2.0 and scored["companions"] == ["/b"]


def test_prune_drops_the_critiques_of_what_is_gone(cache: Cache, tmp_path: Path) -> None:
    kept, lost = tmp_path / "p" / "a.jpg", tmp_path / "p" / "b.jpg"
    add(cache, kept, lost)
    with cache.transaction() as conn:
        conn.execute("INSERT INTO critiques SELECT 1, id, 'x', 'now', '{}' FROM contents")
    lost.unlink()
    assert prune(cache).critiques == 1
    assert count(cache, "critiques") == 1
