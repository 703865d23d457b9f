"""`cgiaa annotate` as a user runs it, read back with the programs that photographers use."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import picture
from sidecars import CAPTURE_ONE, DARKTABLE, DIGIKAM, LIGHTROOM, OTHERS

from cgiaa_cli import cli
from cgiaa_cli.annotate.packet import FLAT, HIERARCHICAL, RATING, read_packet

needs_exiftool = pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not installed")
needs_exiv2 = pytest.mark.skipif(not shutil.which("exiv2"), reason="exiv2 is not installed")
FIXED = ("--stars", "score:2,3,4,5,6")


@dataclass(frozen=True)
class Ran:
    """What one command line came to."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run_here(
    isolated: dict[str, str],
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Ran]:
    """Like `run_cli`, but in this process: annotate is run often here, and starting Python takes longer."""
    (tmp_path / "config.toml").touch()
    for key, value in {
        "DB": tmp_path / "cache.sqlite",
        "CONFIG": tmp_path / "config.toml",
        "MODEL": tiny_bundle,
    }.items():
        monkeypatch.setenv(f"CGIAA_{key}", str(value))

    def run(*args: str | Path) -> Ran:
        capsys.readouterr()
        code = cli.run([os.fspath(arg) for arg in args])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def annotate(run_here: Any, photos: Path) -> Any:
    """`annotate(*options, code=0)`: of all photos; the rows, by the name of the file that is written."""
    assert run_here("scan", photos).returncode == 0

    def run(*options: str, code: int = 0) -> dict[str, dict[str, Any]]:
        done = run_here("annotate", photos, "--format", "jsonl", *options)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr and "internal" not in done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return {Path(row.get("target", row["path"])).name: row for row in rows}

    return run


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def actions(rows: dict[str, dict[str, Any]]) -> set[str]:
    return {row["action"] for row in rows.values()}


def exiftool(path: Path) -> dict[str, Any]:
    done = subprocess.run(["exiftool", "-j", "-G1", "-struct", path], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found


def exiv2(path: Path) -> dict[str, str]:
    done = subprocess.run(["exiv2", "-PXkv", "pr", path], capture_output=True, encoding="utf-8", check=True)
    return dict(re.split(r"\s+", line, maxsplit=1) for line in done.stdout.splitlines() if " " in line)


def test_dry_run_write_again_and_undo(annotate: Any, run_here: Any, photos: Path) -> None:
    before = snapshot(photos)
    planned = annotate()
    assert snapshot(photos) == before and actions(planned) == {"create"} and len(planned) == 9
    written = annotate("--write")
    assert {k: v | {"written": True} for k, v in planned.items()} == written
    after = snapshot(photos)
    assert set(after) - set(before) == {f"{name}.xmp" for name in before}
    assert all(after[name] == data for name, data in before.items())
    ratings = {name: row["changes"].get("rating", {}).get("after") for name, row in written.items()}
    # of nine photos the best one is better than 94 %
    assert sorted(r or "0" for r in ratings.values()) == ["0", "0", "0", "0", "1", "1", "1", "2", "3"]
    assert ratings["bright.jpg.xmp"] == "3"
    assert actions(annotate("--write")) == {"same"} and snapshot(photos) == after
    assert actions(annotate("--undo")) == {"delete"} and snapshot(photos) == after
    assert actions(annotate("--undo", "--write")) == {"delete"} and snapshot(photos) == before
    none = run_here("annotate", photos, "--undo")
    assert none.returncode == 0 and none.stdout == "" and "nothing of annotate's" in none.stderr


def test_as_a_process(run_cli: Any, photos: Path) -> None:
    done = run_cli("annotate", photos / "bright.jpg", "--write", *FIXED)
    assert done.returncode == 0 and "rating none -> 5" in done.stdout
    assert done.stderr.splitlines()[-1] == "cgiaa: 1 created"
    assert b'xmp:Rating="5"' in (photos / "bright.jpg.xmp").read_bytes()


def test_table_and_counts(run_here: Any, photos: Path) -> None:
    (photos / "dark.jpg.xmp").write_bytes(LIGHTROOM)
    dry = run_here("annotate", photos, *FIXED)
    assert dry.returncode == 0
    header, *lines = dry.stdout.splitlines()
    assert header.split() == ["action", "score", "file"] and len(lines) == 9
    assert any(re.match(r"create +[\d.]+ +\S+/bright.jpg.xmp +rating none -> 5; keywords; subjects", n) for n in lines)
    assert any("update" in n and "kept rating 3 (rated by somebody else)" in n for n in lines)
    assert dry.stderr.splitlines() == [
        "cgiaa: 9 of 9 photos have no critique in the cache yet; make them with: cgiaa critique PATH",
        "cgiaa: 8 would be created, 1 would be updated; nothing was written: add --write to do it",
    ]
    assert "9 photos in the cache" in run_here("annotate", photos).stderr
    wet = run_here("annotate", photos, "--write", *FIXED)
    assert wet.stdout == dry.stdout and wet.stderr.splitlines()[-1] == "cgiaa: 8 created, 1 updated"
    rows = json.loads(run_here("annotate", photos, "--format", "json", *FIXED).stdout)
    assert len(rows) == 9 and {row["action"] for row in rows} == {"same"}


@pytest.mark.parametrize("raw", OTHERS.values(), ids=OTHERS)
def test_round_trip_through_other_programs_sidecars(annotate: Any, photos: Path, raw: bytes) -> None:
    path = photos / "bright.jpg.xmp"
    path.write_bytes(raw)
    path.chmod(0o604)
    human = read_packet(raw).human
    row = annotate("--write", *FIXED)[path.name]
    assert row["action"] == "update" and row["written"] and ("rating" in row["kept"]) == (human.rating is not None)
    packet = read_packet(path.read_bytes())
    assert packet.human == human and packet.text(RATING) == (human.rating or "5")
    assert path.stat().st_mode & 0o777 == 0o604
    assert annotate("--write", *FIXED)[path.name]["action"] == "same"
    assert annotate("--undo", "--write")[path.name]["action"] == "remove"
    assert path.read_bytes() == raw


@needs_exiftool
def test_exiftool_reads_it(annotate: Any, photos: Path) -> None:
    (photos / "dark.jpg.xmp").write_bytes(LIGHTROOM)
    theirs = exiftool(photos / "dark.jpg.xmp")
    rows = annotate("--write", *FIXED, "--label", "Green=score:6", "--label", "Red=score:5")
    found = exiftool(photos / "bright.jpg.xmp")
    assert found["XMP-xmp:Rating"] == 5 and found["XMP-xmp:Label"] == "Green"
    assert float(found["XMP-cgiaa:Score"]) == pytest.approx(rows["bright.jpg.xmp"]["score"], abs=0.006)
    assert found["XMP-cgiaa:Bundle"] == "tiny" and str(found["XMP-cgiaa:BundleVersion"]).startswith("1+")
    levels = {word.rsplit("|", 1)[0]: word for word in found["XMP-lr:HierarchicalSubject"]}
    assert set(levels) >= {"Aesthetics|Composition", "Aesthetics|Overall"}
    assert re.fullmatch(r"Aesthetics\|Composition\|\d", levels["Aesthetics|Composition"])
    assert any(re.fullmatch(r"Composition \d", word) for word in found["XMP-dc:Subject"])
    # of another's sidecar, everything is as it was
    after = exiftool(photos / "dark.jpg.xmp")
    for name, value in theirs.items():
        if name == "XMP-dc:Subject" or name == "XMP-lr:HierarchicalSubject":
            assert after[name][: len(value)] == value if isinstance(value, list) else value in after[name]
        elif not name.startswith(("System:", "ExifTool:", "SourceFile")):
            assert after[name] == value, name


@needs_exiv2
@pytest.mark.parametrize("raw", [None, *OTHERS.values()], ids=["none", *OTHERS])
def test_exiv2_reads_it(annotate: Any, photos: Path, raw: bytes | None) -> None:
    path = photos / "bright.jpg.xmp"
    theirs: dict[str, str] = {}
    if raw:
        path.write_bytes(raw.removeprefix(b"\xef\xbb\xbf"))
        theirs = exiv2(path)
    annotate("--write", *FIXED)
    found = exiv2(path)
    assert found["Xmp.xmp.Rating"] == (read_packet(raw).human.rating or "5" if raw else "5")
    assert found["Xmp.cgiaa.Bundle"] == "tiny" and "Aesthetics|Overall|" in found["Xmp.lr.hierarchicalSubject"]
    touched = ("Xmp.xmp.Rating", "Xmp.xmp.Label", "Xmp.dc.subject", "Xmp.lr.hierarchicalSubject")
    assert {k: v for k, v in theirs.items() if k not in touched}.items() <= found.items()


@needs_exiftool
@needs_exiv2
@pytest.mark.parametrize("program", ["exiftool", "exiv2"])
def test_other_programs_write_into_ours(annotate: Any, photos: Path, program: str) -> None:
    """They write the whole file anew, each in its way; ours is still known and theirs is respected."""
    for name in ("middle.jpg", "middle-blurred.jpg", "grey.jpg", "upright.png", "wide.png", "small.png"):
        (photos / name).unlink()
    annotate("--write", *FIXED)
    title, rated = photos / "bright.jpg.xmp", photos / "dark.jpg.xmp"
    assert read_packet(title.read_bytes()).text(RATING) == "5"
    edits = {title: ("-xmp-dc:title=Mine", "set Xmp.dc.title Mine"), rated: ("-xmp:rating=2", "set Xmp.xmp.Rating 2")}
    for path, (one, other) in edits.items():
        command = ["exiftool", "-q", "-overwrite_original", one] if program == "exiftool" else ["exiv2", "-M", other]
        subprocess.run([*command, path], check=True, capture_output=True)
    between = snapshot(photos)
    rows = annotate("--write", *FIXED)
    assert rows[title.name]["action"] == "same" and snapshot(photos)[title.name] == between[title.name]
    assert rows[rated.name]["kept"].get("rating", {"value": "2"})["value"] == "2"
    annotate("--write", "--stars", "score:1,2,3,4,4.5")
    assert read_packet(rated.read_bytes()).text(RATING) == "2"
    undone = annotate("--undo", "--write")
    assert undone[title.name]["action"] == "remove" and undone[rated.name]["action"] == "remove"
    for path in (title, rated):
        packet = read_packet(path.read_bytes())
        assert b"cgiaa:" not in path.read_bytes() and not packet.items(FLAT) and not packet.items(HIERARCHICAL)
    assert exiftool(title)["XMP-dc:Title"] == "Mine" and "XMP-xmp:Rating" not in exiftool(title)
    assert exiftool(rated)["XMP-xmp:Rating"] == 2
    assert len(list(photos.rglob("*.xmp"))) == 2


@needs_exiftool
def test_embedding(annotate: Any, photos: Path) -> None:
    for name in ("middle.jpg", "middle-blurred.jpg", "dark.jpg", "trip/beach.jpg", "wide.png", "small.png"):
        (photos / name).unlink()  # exiftool takes its time
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-xmp:rating=2", photos / "grey.jpg"], check=True)
    before = snapshot(photos)
    rows = annotate("--write", "--embed", *FIXED)
    assert set(rows) == {"bright.jpg", "grey.jpg", "upright.png.xmp"}
    assert rows["grey.jpg"]["embedded"] and rows["grey.jpg"]["kept"]["rating"]["value"] == "2"
    found = exiftool(photos / "bright.jpg")
    assert found["XMP-xmp:Rating"] == 5 and found["IFD0:Model"] == "Testcam 1"
    assert set(snapshot(photos)) == {*before, "upright.png.xmp"}
    assert actions(annotate("--write", "--embed", *FIXED)) == {"same"}
    assert annotate("--undo", "--write")["bright.jpg"]["action"] == "inside"
    annotate("--undo", "--write", "--embed")
    after = snapshot(photos)
    assert after["bright.jpg"] == before["bright.jpg"] and b"cgiaa" not in after["grey.jpg"]
    assert set(after) == set(before)


def test_a_rating_in_the_photo_itself_counts(annotate: Any, photos: Path) -> None:
    picture(0, 0.75).save(photos / "bright.jpg", quality=92, xmp=DIGIKAM)
    row = annotate("--write", *FIXED)["bright.jpg.xmp"]
    assert row["kept"]["rating"] == {"value": "4", "reason": "rated in the photo itself"}
    packet = read_packet((photos / "bright.jpg.xmp").read_bytes())
    assert packet.text(RATING) is None and "Vögel" in packet.items(FLAT)
    annotate("--write", "--overwrite-rating", *FIXED)
    assert read_packet((photos / "bright.jpg.xmp").read_bytes()).text(RATING) == "5"


def test_pairs_and_names(annotate: Any, run_here: Any, photos: Path) -> None:
    (photos / "bright.cr2").write_bytes(b"II*\0 not decoded: the JPEG is the photo")
    (photos / "dark.cr2").write_bytes(b"II*\0 not decoded")
    rows = annotate()
    assert {"bright.xmp", "dark.xmp"} <= set(rows) and "bright.jpg.xmp" not in rows
    (photos / "dark.cr2.xmp").write_bytes(DARKTABLE)
    assert {"bright.cr2.xmp", "bright.jpg.xmp", "dark.cr2.xmp"} <= set(annotate())
    assert {"bright.jpg.xmp", "bright.cr2.xmp"} <= set(annotate("--sidecar", "darktable"))
    adobe = annotate("--sidecar", "adobe")
    assert "dark.xmp" in adobe and "dark.cr2.xmp" not in adobe and "middle.xmp" in adobe
    annotate("--write", "--sidecar", "adobe")
    # ours under the other name does not grow old
    assert {"bright.xmp", "bright.jpg.xmp"} <= set(annotate("--sidecar", "darktable", "--write"))
    assert {"bright.xmp", "bright.jpg.xmp"} <= set(annotate("--write"))
    assert {"bright.xmp", "bright.jpg.xmp", "bright.cr2.xmp"} <= set(annotate("--undo", "--write"))
    assert (photos / "dark.cr2.xmp").read_bytes() == DARKTABLE
    assert [p.name for p in photos.rglob("*.xmp")] == ["dark.cr2.xmp"]


def test_bad_sidecars_cost_one_line(annotate: Any, run_here: Any, photos: Path) -> None:
    broken, bomb = photos / "bright.jpg.xmp", photos / "dark.jpg.xmp"
    broken.write_bytes(LIGHTROOM[:500])
    bomb.write_bytes(b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    protected = photos / "grey.jpg.xmp"
    protected.write_bytes(CAPTURE_ONE)
    protected.chmod(0o444)
    before = snapshot(photos)
    done = run_here("annotate", photos, "--write", *FIXED)
    assert done.returncode == 3
    said = [line for line in done.stderr.splitlines() if ".xmp: " in line]
    assert len(said) == 3
    assert re.search(r"bright.jpg.xmp: it is not well-formed XML .*; it is left as it is", said[0])
    assert "dark.jpg.xmp: it has a document type" in said[1] and "grey.jpg.xmp: it is read-only" in said[2]
    assert done.stderr.splitlines()[-1] == "cgiaa: 6 created, 3 failed"
    after = snapshot(photos)
    assert all(after[name] == data for name, data in before.items()) and len(after) == len(before) + 6
    rows = annotate("--write", *FIXED, code=3)
    assert [row["target"] for row in rows.values() if "error" in row] == [str(p) for p in (broken, bomb, protected)]
    assert annotate("--undo", "--write", code=0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(annotate: Any, photos: Path) -> None:
    (photos / "trip").chmod(0o555)
    try:
        rows = annotate("--write", *FIXED, code=3)
    finally:
        (photos / "trip").chmod(0o755)
    assert [name for name, row in rows.items() if row["action"] == "failed"] == ["beach.jpg.xmp"]
    assert len(list(photos.rglob("*.xmp"))) == 8


def test_photos_that_fail(run_here: Any, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    done = run_here("annotate", photos, "--format", "json", *FIXED)
    assert done.returncode == 3
    rows = json.loads(done.stdout)
    assert len(rows) == 10 and rows[-1]["error_kind"] and "bad.jpg" in done.stderr
    only = run_here("annotate", photos / "bad.jpg")
    assert only.returncode == 3
    (photos / "empty").mkdir()
    nothing = run_here("annotate", photos / "empty")
    assert nothing.returncode == 1 and "nothing matched" in nothing.stderr


def test_a_photo_that_is_gone(annotate: Any, photos: Path) -> None:
    (photos / "dark.jpg").unlink()
    rows = annotate("--write", "--no-scan", *FIXED, code=3)
    assert rows["dark.jpg"]["action"] == "failed" and "no such file" in rows["dark.jpg"]["error"]
    assert not (photos / "dark.jpg.xmp").exists() and len(list(photos.rglob("*.xmp"))) == 8


def test_captions_from_critiques(annotate: Any, run_here: Any, photos: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "cache.sqlite") as conn:
        content = conn.execute("SELECT content_id FROM files WHERE path LIKE '%/bright.jpg'").fetchone()[0]
        for made_at, text in (("2024-01-01", "Old."), ("2024-01-02", "Warm light.")):
            body = {"attributes": {"composition": {"text": "Firm lines."}, "color_light": {"text": text}}}
            row = (1, content, made_at, made_at, json.dumps(body))
            conn.execute(
                "INSERT INTO critiques(scorer_id, content_id, settings, made_at, body) VALUES (?,?,?,?,?)", row
            )
    conn.close()
    rows = annotate("--write", *FIXED)
    assert rows["bright.jpg.xmp"]["changes"]["description"]["after"] == "Warm light. Firm lines."
    assert "description" not in rows["dark.jpg.xmp"]["changes"]
    assert "8 of 9 photos have no critique" in run_here("annotate", photos).stderr


def test_options_that_mean_nothing(run_here: Any, photos: Path, tmp_path: Path) -> None:
    for options in (
        ["--overwrite-rejected"],
        ["--stars", "5,4,3,2,1"],
        ["--label", "Red"],
        ["--sidecar", "both"],
        ["--keywords", "some"],
    ):
        done = run_here("annotate", photos, *options)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert run_here("annotate", photos / "none").returncode == 2
    assert run_here("annotate", photos / "none", "--undo").returncode == 2
    (tmp_path / "config.toml").write_text("stars = 'score:1,2,3,4,5'\n")
    rows = json.loads(run_here("annotate", photos / "bright.jpg", "--format", "json", "--keywords", "none").stdout)
    assert rows[0]["changes"]["rating"]["after"] == "5" and "keywords" not in rows[0]["changes"]
    (tmp_path / "config.toml").write_text("stars = 'many'\n")
    assert run_here("annotate", photos).returncode == 2
