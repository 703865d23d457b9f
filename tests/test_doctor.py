"""`cgiaa doctor` on sound and on sick installations."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from conftest import RunCli, write_tiny_bundle

from cgiaa_cli.cache.schema import MIGRATIONS
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.commands import doctor


def checks(run_cli: RunCli, *arguments: str | Path, code: int = 0, **options: Any) -> dict[str, dict[str, Any]]:
    done = run_cli("doctor", "--format", "json", *arguments, **options)
    assert done.returncode == code, done.stderr
    return {check["name"]: check for check in json.loads(done.stdout)}


def test_a_sound_installation(run_cli: RunCli, photos: Path) -> None:
    run_cli("scan", photos)
    found = checks(run_cli)
    assert {check["state"] for check in found.values()} <= {"ok", "note"}
    assert found["session"]["text"].startswith("runs on cpu, got CPUExecutionProvider")
    assert found["result"]["text"] == "srcc: 0.5"
    assert "sound" in found["cache"]["text"]
    assert all(found[f"extra {name}"] for name in ("heif", "raw", "parquet", "train"))
    table = run_cli("doctor")
    assert table.returncode == 0 and "onnxruntime" in table.stdout


def test_each_problem_comes_with_its_mend(run_cli: RunCli, tmp_path: Path) -> None:
    sick = write_tiny_bundle(tmp_path / "sick")
    (sick / "encoder.onnx").write_bytes(b"no network")
    found = checks(run_cli, "--model", sick, code=2)
    assert found["bundle"]["state"] == "fatal" and found["bundle"]["mend"]

    cache = tmp_path / "broken.sqlite"
    cache.write_bytes(b"SQLite format 3\0" + b"\7" * 5000)
    found = checks(run_cli, "--db", cache, code=2)
    assert found["cache"]["state"] == "fatal" and "move the file away" in found["cache"]["mend"]
    assert cache.read_bytes().startswith(b"SQLite format 3\0\7")  # only looked at

    found = checks(run_cli, "--device", "cuda", code=2)
    assert found["session"]["state"] == "fatal" and "--device cpu" in found["session"]["mend"]

    (tmp_path / "config.toml").write_text("modle = 1")
    found = checks(run_cli, code=2, env={"CGIAA_DB": None, "CGIAA_MODEL": None})
    for name in ("config", "bundle", "cache"):  # the other checks are made all the same
        assert found[name]["state"] == "fatal" and "modle" in found[name]["text"]
    assert found["onnxruntime"]["state"] == "ok"


def test_both_or_neither_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.20")
    both = doctor._onnxruntime_packages()
    assert both.state == "problem" and both.mend and "uninstall" in both.mend

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    neither = doctor._onnxruntime_packages()
    assert neither.state == "fatal" and neither.mend and "cgiaa[cpu]" in neither.mend
    extra = doctor._extra("heif", ("pillow-heif", "pillow_heif", "HEIC and HEIF photos"))
    assert extra.state == "note" and extra.mend == "pip install 'cgiaa[heif]'"


def test_a_cache_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder.sqlite"
    folder.mkdir()
    assert doctor._cache(folder).state == "fatal"
    assert "none yet" in doctor._cache(tmp_path / "new.sqlite").text
    (folder / "a file").touch()
    impossible = doctor._cache(folder / "a file" / "new.sqlite")
    assert impossible.state == "fatal" and "a file is no writable folder" in impossible.text


def test_a_cache_of_another_program_or_a_newer_one(tmp_path: Path) -> None:
    for name, statement, said in (
        ("other", "CREATE TABLE x(a)", "another program"),
        ("newer", f"PRAGMA user_version = {len(MIGRATIONS) + 1}", "update cgiaa"),
    ):
        path = tmp_path / f"{name}.sqlite"
        if name == "newer":
            Cache.open(path).close()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
        check = doctor._cache(path)
        assert check.state == "fatal" and said in f"{check.text} {check.mend}"


def test_a_large_cache_is_not_looked_at_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.sqlite"
    with Cache.open(path) as cache, cache.transaction() as conn:
        conn.executemany("INSERT INTO roots VALUES (?, '')", [(f"{i:0200}",) for i in range(5000)])
    assert doctor._cache(path).text.endswith("sound)")
    monkeypatch.setattr(doctor, "LOOK_SECONDS", -1.0)
    found = doctor._cache(path)
    assert found.state == "ok" and "no fault found in the first" in found.text


def test_an_extra_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError(f"libheif.so.1: cannot open\n{name}")

    monkeypatch.setattr(importlib, "import_module", broken)
    monkeypatch.setattr(doctor, "_version", lambda package: "1.0")
    extra = doctor._extra("heif", doctor.EXTRAS["heif"])
    assert extra.state == "problem" and "libheif.so.1: cannot open pillow_heif" in extra.text
    assert extra.mend == "pip install --force-reinstall pillow-heif"
