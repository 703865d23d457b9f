"""`cgiaa rank` and `cgiaa filter` as a user runs them."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def rank(run_cli: Any, photos: Path) -> Any:
    """`rank(*options)`: of all photos, as JSON; the cache has them already."""
    assert run_cli("scan", photos).returncode == 0

    def run(*options: str, command: str = "rank") -> list[dict[str, Any]]:
        done = run_cli(command, photos, "--no-scan", "--format", "json", *options)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    return run


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [Path(row["path"]).name for row in rows]


def test_scans_then_ranks(run_cli: Any, photos: Path) -> None:
    done = run_cli("rank", photos, "--top", "3", "--format", "json")
    assert done.returncode == 0 and done.stderr == ""
    rows = json.loads(done.stdout)
    assert names(rows)[:2] == ["bright.jpg", "beach.jpg"]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert list(rows[0])[:5] == ["rank", "value", "path", "score", "spread"]
    assert rows[0]["camera"] == "Testcam 1" and rows[0]["taken_at"] == "2024-05-06T07:08:09"
    (photos / "bright.jpg").rename(photos / "moved.jpg")
    assert names(json.loads(run_cli("rank", photos, "--top", "1", "--format", "json").stdout)) == ["moved.jpg"]


def test_orders(rank: Any) -> None:
    best = rank()
    assert len(best) == 9
    scores = [row["score"] for row in best]
    assert scores == sorted(scores, reverse=True) == [row["value"] for row in best]
    assert names(rank("--bottom")) == names(best)[::-1]
    technical = [row["technical"] for row in rank("--by", "technical")]
    assert technical == sorted(technical, reverse=True) and technical != scores
    for row in rank("--weight", "composition=2", "--weight", "technical=0.5"):
        assert row["value"] == pytest.approx((2 * row["attributes"]["composition"] + 0.5 * row["technical"]) / 2.5)
    for row in rank("--by", "overall", "--weight", "technical=3"):
        assert row["value"] == pytest.approx((row["score"] + 3 * row["technical"]) / 4)


def test_conditions(rank: Any) -> None:
    everything = rank()
    limit = str(everything[4]["score"])
    assert len(rank("--min", f"score={limit}")) == 5
    assert len(rank("--max", f"score={limit}")) == 5
    assert len(rank("--min", f"overall={limit}")) == 5
    for options in (
        ["--since", "2024-05-06"],
        ["--until", "2024"],
        ["--camera", "testCAM"],
        ["--where", "camera ~ 'testcam'"],
        ["--where", "width = 320 and not camera = none"],
        ["--since", "2024", "--until", "2024-05-06"],
    ):
        assert names(rank(*options)) == ["bright.jpg"], options
    assert names(rank("--where", "height > width")) == ["upright.png"]
    assert len(rank("--exclude", "*.png")) == 6
    assert len(rank("--exclude", "trip")) == 8


def test_filter_has_no_limit(run_cli: Any, rank: Any) -> None:
    assert rank(command="filter") == rank()
    assert names(rank("--max", "score=5", command="filter")) == [
        n for n, row in zip(names(rank()), rank(), strict=True) if row["score"] <= 5
    ]
    assert run_cli("filter", "x", "--top", "5").returncode == 2


def test_diverse(rank: Any, photos: Path, run_cli: Any) -> None:
    shutil.copy(photos / "bright.jpg", photos / "bright copy.jpg")
    run_cli("scan", photos)
    assert names(rank("--top", "2")) == ["bright copy.jpg", "bright.jpg"]
    diverse = names(rank("--top", "9", "--diverse"))
    assert diverse[0] == "bright copy.jpg" and "bright.jpg" not in diverse and len(diverse) == 9
    assert names(rank("--diversity", "0")) == [n for n in names(rank()) if n != "bright.jpg"]
    assert names(rank("--diversity", "1")) != names(rank("--diversity", "0"))


def test_failed_photos(run_cli: Any, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    (photos / "gone.jpg").symlink_to("nowhere")
    done = run_cli("rank", photos, "--format", "jsonl")
    assert done.returncode == 3
    *rows, bad, gone = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 9 and all("error" not in row for row in rows)
    assert bad["path"].endswith("/bad.jpg") and bad["error"] and "rank" not in bad
    assert gone["path"].endswith("/gone.jpg") and gone["error_kind"] == "unreadable"
    table = run_cli("rank", photos, "--no-scan")
    assert table.returncode == 3 and len(table.stdout.splitlines()) == 10
    named, counted = table.stderr.splitlines()
    assert named.startswith(f"cgiaa: {photos}/bad.jpg: ") and "; " in named
    assert "1 photo failed" in counted and "cgiaa scan --retry-failed" in counted
    for i in range(11):
        (photos / f"bad{i}.jpg").write_bytes(b"\xff\xd8\xff\xe0 %d" % i)
    many = run_cli("rank", photos, "--format", "paths").stderr.splitlines()
    assert len(many) == 11 and "13 photos failed, of which 10 are named here" in many[-1]
    only_bad = run_cli("rank", photos / "bad.jpg")
    assert only_bad.returncode == 3 and "nothing matched" in only_bad.stderr


def test_nothing(run_cli: Any, photos: Path, tmp_path: Path) -> None:
    no_cache = run_cli("rank", photos, "--no-scan")
    assert no_cache.returncode == 1 and "there is no cache yet" in no_cache.stderr
    assert not (tmp_path / "cache.sqlite").exists()
    run_cli("scan", photos)
    none = run_cli("rank", photos, "--min", "score=9.99", "--format", "json")
    assert (none.returncode, none.stdout, none.stderr) == (1, "[]\n", "cgiaa: nothing matched\n")
    unknown = run_cli("rank", tmp_path / "home", "--no-scan")
    assert unknown.returncode == 1 and f"{tmp_path}/home: no photo of it is in the cache" in unknown.stderr
    half = run_cli("rank", photos, tmp_path / "home", "--no-scan", "--top", "1")
    assert half.returncode == 0 and len(half.stderr.splitlines()) == 1
    assert run_cli("rank", photos, "--no-scan", "--db", "x" * 300).returncode == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run_cli("rank", empty).returncode == 1


def test_another_bundle_has_no_scores_here(run_cli: Any, photos: Path, tmp_path: Path) -> None:
    from conftest import write_tiny_bundle

    run_cli("scan", photos)
    other = write_tiny_bundle(tmp_path / "other", version="2")
    done = run_cli("rank", photos, "--no-scan", "--model", other)
    assert done.returncode == 1 and done.stdout == ""
    assert "no scores of tiny 2; leave out --no-scan" in done.stderr


def test_photos_without_scores_of_this_model_are_counted(run_cli: Any, photos: Path, tmp_path: Path) -> None:
    from conftest import write_tiny_bundle

    other = write_tiny_bundle(tmp_path / "other", version="2")
    run_cli("scan", photos)
    run_cli("scan", photos / "trip", "--model", other)
    said = "photos have no scores of this model yet; leave out --no-scan to score them"
    done = run_cli("rank", photos, "--no-scan", "--model", other, "--format", "paths")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, f"cgiaa: 8 {said}\n")
    less = run_cli("filter", photos, "--no-scan", "--model", other, "--exclude", "*.png")
    assert less.stderr == f"cgiaa: 5 {said}\n"
    one = run_cli("rank", photos / "trip", photos / "dark.jpg", "--no-scan", "--model", other)
    assert one.stderr == f"cgiaa: 1 {said}\n".replace("photos have", "photo has")
    for known in ([photos], [photos / "trip", "--model", other]):
        assert run_cli("rank", *known, "--no-scan").stderr == ""


def test_a_bundle_trained_again_under_the_same_name_is_another_one(run_cli: Any, photos: Path, tmp_path: Path) -> None:
    from conftest import write_tiny_bundle

    assert run_cli("scan", photos).returncode == 0
    again = write_tiny_bundle(tmp_path / "again", darker=True)
    assert run_cli("rank", photos, "--no-scan", "--model", again).returncode == 1
    names = run_cli("rank", photos, "--model", again, "--format", "paths").stdout.splitlines()
    assert names[0].endswith("dark.jpg") and names[-1].endswith("bright.jpg")


def test_vanished_paths_only_without_scan(run_cli: Any, photos: Path) -> None:
    run_cli("scan", photos)
    shutil.rmtree(photos)
    assert run_cli("rank", photos, "--no-scan").returncode == 0
    done = run_cli("rank", photos)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--by", "beauty"],
        ["--weight", "beauty=1"],
        ["--weight", "overall"],
        ["--weight", "overall=0"],
        ["--min", "iso=5"],
        ["--max", "score=x"],
        ["--since", "soon"],
        ["--where", "iso >"],
        ["--top", "0"],
        ["-0", "--format", "json"],
        ["--write"],
        ["--copy-to", "a", "--link-to", "b"],
        ["--diversity", "2"],
        ["--diversity", "nan"],
        ["--jobs", "0"],
        ["--device", "abacus"],
        ["--format", "xml"],
        ["--copy-to", __file__],
        ["--no-scan", "--device", "abacus"],
    ],
)
def test_usage_errors_come_before_the_scan(run_cli: Any, photos: Path, tmp_path: Path, options: list[str]) -> None:
    done = run_cli("rank", photos, *options)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("cgiaa: ")
    assert not (tmp_path / "cache.sqlite").exists()


def test_formats(run_cli: Any, photos: Path, rank: Any) -> None:
    rows = rank()
    table = run_cli("rank", photos, "--no-scan", "--by", "general")
    assert table.stdout.splitlines()[0].split()[:3] == ["rank", "general", "score"]
    assert all(row["path"] in table.stdout for row in rows)
    paths = run_cli("filter", photos, "--no-scan", "--format", "paths").stdout
    assert paths.splitlines() == [row["path"] for row in rows]
    read = list(csv.DictReader(io.StringIO(run_cli("rank", photos, "--no-scan", "--format", "csv").stdout)))
    assert [float(r["score"]) for r in read] == [row["score"] for row in rows]
    assert [float(r["general"]) for r in read] == [row["attributes"]["general"] for row in rows]


def test_null_paths_are_exact(run_cli: Any, photos: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    odd = os.fsencode(photos) + b"/caf\xe9\n \\xe9.jpg"
    os.rename(os.fsencode(photos / "bright.jpg"), odd)
    assert run_cli("scan", photos).returncode == 0
    command = [sys.executable, "-m", "cgiaa_cli", "rank", photos, "--no-scan", "-0", "--top", "1"]
    env = os.environ | {"CGIAA_DB": str(tmp_path / "cache.sqlite"), "CGIAA_MODEL": str(tiny_bundle)}
    for extra in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
        done = subprocess.run(command, env=env | extra, capture_output=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, odd + b"\0")
    done = subprocess.run([*command[:-3], odd, "--format", "json"], env=env, capture_output=True, timeout=60)
    assert len(json.loads(done.stdout)) == 1 or done.returncode == 0


def test_copy_and_link(run_cli: Any, photos: Path, tmp_path: Path) -> None:
    raw = photos / "bright.dng"
    raw.write_bytes(b"II*\0 not really")
    target = tmp_path / "best"
    dry = run_cli("rank", photos, "--top", "2", "--copy-to", target, "--format", "paths")
    assert dry.returncode == 0 and not target.exists()
    assert len(dry.stdout.splitlines()) == 2 and "nothing was written: add --write" in dry.stderr
    assert dry.stderr.count("would copy") == 3
    for count in ("3 files copied", "0 files copied, 3 there already"):
        done = run_cli("rank", photos, "--top", "2", "--copy-to", target, "--write")
        assert done.returncode == 0 and count in done.stderr
        assert sorted(p.name for p in target.iterdir()) == ["beach.jpg", "bright.dng", "bright.jpg"]
    assert (target / "bright.dng").read_bytes() == raw.read_bytes()
    links = tmp_path / "links"
    linked = run_cli("filter", photos, "--link-to", links, "--write")
    assert linked.returncode == 0 and "10 files linked" in linked.stderr
    assert "0 files linked, 10 there already" in run_cli("filter", photos, "--link-to", links, "--write").stderr
    assert len(list(links.iterdir())) == 10 and os.readlink(links / "bright.dng") == str(raw)
    shutil.rmtree(photos)
    gone = run_cli("rank", photos, "--no-scan", "--copy-to", tmp_path / "late", "--write")
    assert gone.returncode == 3 and "10 failed" in gone.stderr


def test_preview_off_a_terminal(run_cli: Any, photos: Path) -> None:
    done = run_cli("rank", photos, "--preview")
    assert done.returncode == 0 and "--preview shows nothing here" in done.stderr and "\x1b" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_on_a_terminal(run_cli: Any, photos: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    import pty

    assert run_cli("scan", photos).returncode == 0
    (photos / "esc\x1b[31m.jpg").write_bytes((photos / "bright.jpg").read_bytes())
    assert run_cli("scan", photos).returncode == 0
    env = os.environ | {"CGIAA_DB": str(tmp_path / "cache.sqlite"), "CGIAA_MODEL": str(tiny_bundle)}
    env = {k: v for k, v in env.items() if k not in ("NO_COLOR", "TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM")}
    for term, mark in (("xterm-256color", "▀"), ("xterm-kitty", "\x1b_Ga=T"), ("dumb", "esc")):
        leader, follower = pty.openpty()
        command = [sys.executable, "-m", "cgiaa_cli", "rank", photos, "--no-scan", "--top", "2", "--preview"]
        env |= {"TERM": term, "PYTHONUTF8": "1"}
        process = subprocess.Popen(command, env=env, stdout=follower, stderr=subprocess.DEVNULL)
        os.close(follower)
        shown = b""
        while True:
            try:
                block = os.read(leader, 65536)
            except OSError:
                break
            if not block:
                break
            shown += block
        os.close(leader)
        assert process.wait(60) == 0
        text = shown.decode()
        assert mark in text and str(photos / "bright.jpg") in text
        assert r"esc\x1b[31m.jpg" in text and "esc\x1b" not in text


def test_reader_that_goes_away(run_cli: Any, photos: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    run_cli("scan", photos)
    env = os.environ | {"CGIAA_DB": str(tmp_path / "cache.sqlite"), "CGIAA_MODEL": str(tiny_bundle)}
    read, write = os.pipe()
    os.close(read)
    for format in ("table", "jsonl", "paths"):
        command = [sys.executable, "-m", "cgiaa_cli", "rank", photos, "--no-scan", "--format", format]
        done = subprocess.run(command, env=env, stdout=write, stderr=subprocess.PIPE, timeout=60)
        assert (done.returncode, done.stderr) == (141, b"")
    os.close(write)


def test_help_names_everything(run_cli: Any) -> None:
    for command in ("rank", "filter"):
        shown = run_cli(command, "--help").stdout
        for option in (
            "--by",
            "--weight",
            "--min",
            "--where",
            "--format",
            "--null",
            "--copy-to",
            "--no-scan",
        ):
            assert option in shown
