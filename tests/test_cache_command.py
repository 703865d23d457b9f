"""`cgiaa cache` as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cgiaa_cli.cli import run


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CGIAA_DB", str(tmp_path / "cache.sqlite"))
    return tmp_path / "cache.sqlite"


@pytest.fixture
def scanned(
    db: Path, photos: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    """The folder of photos, one of them truncated, that the cache has."""
    monkeypatch.setenv("CGIAA_MODEL", str(tiny_bundle))
    (photos / "cut.jpg").write_bytes((photos / "bright.jpg").read_bytes()[:9000])
    assert run(["scan", str(photos), "--jobs", "2"]) == 3
    capsys.readouterr()
    return photos


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_info(scanned: Path, db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "info"]) == 0
    text = said(capsys)
    assert f"cache         {db}\n" in text
    assert "photo files   10 (9 different scored)\n" in text
    assert "failed        1 (1 truncated)\n" in text
    assert f"folder        {scanned}\n" in text
    assert "scores        9 by tiny 1+" in text
    assert run(["cache", "info", "--format", "json"]) == 0
    found = json.loads(said(capsys))
    assert (found["files"], found["contents"], found["failed"]) == (10, 9, {"truncated": 1})


def test_what_only_reads_works_on_a_read_only_disk(
    scanned: Path, db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.access  # root may write wherever the disk can be written
    monkeypatch.setattr(
        os, "access", lambda name, mode: real(name, mode) and not (mode == os.W_OK and Path(name) in (db, db.parent))
    )
    before = db.read_bytes()
    assert run(["cache", "info"]) == 0
    for command in ("rank", "filter", "groups"):
        assert run([command, str(scanned), "--no-scan"]) == 3
    assert run(["rank", str(scanned), "--no-scan", "--diverse", "--format", "paths"]) == 3
    assert run(["cache", "export", str(tmp_path / "out.jsonl")]) == 0
    capsys.readouterr()
    assert run(["doctor"]) == 0
    assert "sound), but it is read-only" in capsys.readouterr().out
    for command in ("prune", "vacuum"):
        assert run(["cache", command]) == 2
        assert "it or its folder is read-only; make both writable" in capsys.readouterr().err
    assert db.read_bytes() == before


def test_prune(scanned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scanned / "dark.jpg").unlink()
    assert run(["cache", "prune", "--dry-run"]) == 0
    assert said(capsys) == "would remove 1 files that are gone, and the scores of 1 photos\n"
    assert run(["cache", "prune", "--format", "json"]) == 0
    gone = {"files": 1, "contents": 1, "scores": 1, "embeddings": 1, "critiques": 0, "looks": 1, "eyes": 0}
    expected = {**gone, "listed_groups": 0, "keep_all": 0, "decisions": 0, "choices": 0, "dry_run": False}
    assert json.loads(said(capsys)) == expected
    shutil.rmtree(scanned)
    assert run(["cache", "prune"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert f"{scanned}: not one of its 9 photos is there; nothing was removed; mount" in captured.err
    assert run(["cache", "prune", "--missing-roots"]) == 0
    assert said(capsys) == "removed 9 files that are gone, and the scores of 8 photos\n"


def test_vacuum(scanned: Path, db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "vacuum"]) == 0
    assert " MB -> " in said(capsys)
    assert run(["cache", "vacuum", "--format", "json"]) == 0
    assert json.loads(said(capsys))["bytes_after"] == db.stat().st_size


def test_export(scanned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.jsonl"
    assert run(["cache", "export", str(target)]) == 0
    assert said(capsys) == f"9 rows -> {target}\n"
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert len(rows) == 9 and all(len(row["embedding"]) == 8 for row in rows)
    assert run(["cache", "export", str(target)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert run(["cache", "export", str(target), "--force", "--no-embeddings"]) == 0
    assert "embedding" not in json.loads(target.read_text().splitlines()[0])
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run(["cache", "export", str(tmp_path / "out.PARQUET")]) == 0
    assert run(["cache", "export", str(tmp_path / "noname"), "--format", "parquet"]) == 0
    assert (tmp_path / "noname").read_bytes() == (tmp_path / "out.PARQUET").read_bytes()
    assert parquet.ParquetFile(tmp_path / "noname").metadata.num_rows == 9


def test_export_of_nothing(scanned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "export", str(tmp_path / "out.jsonl"), "--bundle", "unknown"]) == 1
    assert said(capsys).startswith("0 rows -> ")
    assert run(["cache", "export", str(tmp_path / "out.txt")]) == 2
    assert "add --format parquet or jsonl" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["info"], ["prune"], ["vacuum"], ["export", "out.jsonl"]])
def test_without_a_cache(
    db: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["cache", *command]) == 2
    captured = capsys.readouterr()
    line = f"cgiaa: {db}: there is no cache yet; make it with: cgiaa scan FOLDER\n"
    assert (captured.out, captured.err) == ("", line)
    assert not db.exists() and not (tmp_path / "out.jsonl").exists()


def test_a_newer_cache_is_one_line(scanned: Path, db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("PRAGMA user_version = 77")
    for command in (["cache", "info"], ["cache", "prune"], ["scan", str(scanned)]):
        assert run(command) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        assert f"{db}: its schema has version 77" in captured.err
        assert "update cgiaa or choose another --db" in captured.err


def test_a_cache_that_is_none_is_one_line(
    db: Path, photos: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db.write_bytes(b"\x00\x01garbage" * 1000)
    for command in (["cache", "info"], ["scan", str(photos), "--model", str(tiny_bundle)]):
        assert run(command) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        assert f"{db}: it is not a cache, or it is damaged; move the file away" in captured.err
