"""What is printed can be read back, whatever the names of the photos are."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cgiaa_cli.curation.output import CSV_COLUMNS, Format, write_rows
from cgiaa_cli.curation.preview import Protocol, protocol_of, thumbnail
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import escape

NAMES = [
    b"/p/plain.jpg",
    b"/p/new\nline.jpg",
    b"/p/caf\xe9.jpg",
    b"/p/\xc3\xa9t\xc3\xa9.jpg",
    b'/p/"quoted", comma.jpg',
    b"/p/\\xe9 \\n.jpg",
    b"/p/\x1b[31mred.jpg",
    b"/p/ space \r\n.jpg",
    b"/p/" + b"x" * 250 + b".jpg",
    b"/p/-rf",
]


def row(rank: int, name: bytes) -> dict[str, Any]:
    return {
        "rank": rank,
        "value": 6.125,
        "path": escape(name),
        "score": 6.125,
        "spread": 1.5,
        "attributes": {n: 5.0 + i for i, n in enumerate(ATTRIBUTES)},
        "technical": 7.25,
        "complexity": 40.0,
        "taken_at": "2024-05-01T10:00:00",
        "camera": 'A "B", C',
        "lens": None,
        "focal_length": 35.0,
        "aperture": 2.8,
        "shutter": 0.01,
        "iso": 100,
        "latitude": None,
        "longitude": None,
        "width": 3,
        "height": 2,
        "format": "jpeg",
        "bytes": 10,
        "companions": ["/p/x.cr2"] if rank == 1 else [],
    }


ROWS = [row(i, name) for i, name in enumerate(NAMES, 1)]
FAILED = [{"path": "/p/bad.jpg", "score": None, "attributes": None, "error": "broken", "error_kind": "corrupt"}]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert write_rows(iter(ROWS), FAILED, Format.json) == len(ROWS)
    assert json.loads(capsys.readouterr().out) == ROWS + FAILED
    assert write_rows([], [], Format.json) == 0
    assert json.loads(capsys.readouterr().out) == []
    write_rows([], FAILED, Format.json)
    assert json.loads(capsys.readouterr().out) == FAILED


def test_jsonl(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(iter(ROWS), FAILED, Format.jsonl)
    out = capsys.readouterr().out
    assert [json.loads(line) for line in out.split("\n")[:-1]] == ROWS + FAILED


def test_csv(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(iter(ROWS), FAILED, Format.csv)
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [r["path"] for r in read] == [r["path"] for r in ROWS]
    assert tuple(read[0]) == CSV_COLUMNS
    assert read[0]["camera"] == 'A "B", C' and read[0]["lens"] == "" and read[0]["general"] == "8.0"
    assert json.loads(read[0]["companions"]) == ["/p/x.cr2"] and json.loads(read[1]["companions"]) == []


@pytest.mark.parametrize("null", [True, False])
def test_paths_are_the_real_bytes(capfdbinary: pytest.CaptureFixture[bytes], null: bool) -> None:
    import sys

    write_rows(iter(ROWS), FAILED, Format.paths, null=null)
    sys.stdout.flush()
    end = b"\0" if null else b"\n"
    assert capfdbinary.readouterr().out == b"".join(name + end for name in NAMES)


def test_table_is_one_whole_line_a_photo(capsys: pytest.CaptureFixture[str]) -> None:
    below: list[Any] = []
    write_rows(iter(ROWS), FAILED, Format.table, ranked_by="composition", after_row=below.append)
    header, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ROWS) == len(below)
    assert header.split() == [
        "rank",
        "comp.",
        "score",
        "±",
        "color",
        "depth",
        "general",
        "tech.",
        "taken",
        "path",
    ]
    assert "x" * 250 + ".jpg" in lines[8]
    assert lines[0].endswith("2024-05-01 10:00  /p/plain.jpg  +1")
    assert lines[1].endswith(r"/p/new\nline.jpg")
    assert all(c.isprintable() for line in lines for c in line)
    write_rows([], FAILED, Format.table)
    assert capsys.readouterr().out == ""


def test_a_weighted_value_has_a_column_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows([row(1, b"/p/a.jpg") | {"value": 9.5}], [], Format.table, ranked_by="value")
    header, line = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["rank", "value", "score"] and line.split()[:3] == ["1", "9.50", "6.12"]


def test_paths_below_the_current_folder_are_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / os.fsdecode(b"caf\xe9")
    here.mkdir()
    monkeypatch.chdir(here)
    write_rows(
        [row(i, os.fsencode(p) + b"/a.jpg") for i, p in enumerate((here, here / "b", "/x"), 1)], [], Format.table
    )
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[-1] for line in lines] == ["+1", "b/a.jpg", "/x/a.jpg"]
    assert lines[0].endswith("  a.jpg  +1")
    monkeypatch.chdir("/")
    write_rows([row(2, b"/x/a.jpg")], [], Format.table)
    assert capsys.readouterr().out.splitlines()[1].endswith(" /x/a.jpg")


def test_a_narrow_terminal_gets_the_path_on_its_own_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(2, b"/p/" + b"y" * 90), row(3, b"/p/ z.jpg") | {"taken_at": None}]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    for columns, narrow in (("60", True), ("97", True), ("98", False)):
        monkeypatch.setenv("COLUMNS", columns)
        write_rows(rows, [], Format.table)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == (5 if narrow else 3)
        if narrow:
            assert lines[2] == "      2024-05-01 10:00  /p/" + "y" * 90 and lines[4] == "      /p/ z.jpg"
            assert all(len(line) <= 60 for line in (lines[0], lines[1], lines[3]))


def test_no_scores_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    bare = dict.fromkeys(ROWS[0]) | {"rank": 1, "path": "/p/x", "companions": []}
    write_rows([bare], [], Format.table)
    assert capsys.readouterr().out.splitlines()[1].split()[1] == "-"


def test_rows_are_streamed(capsys: pytest.CaptureFixture[str]) -> None:
    def endless():
        for i in range(3):
            yield ROWS[i]
        raise KeyboardInterrupt

    for format in (Format.jsonl, Format.csv, Format.table):
        with pytest.raises(KeyboardInterrupt):
            write_rows(endless(), [], format)
        assert "plain.jpg" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({"TERM": "xterm-kitty"}, Protocol.kitty),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Protocol.kitty),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "x"}, Protocol.blocks),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Protocol.iterm),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Protocol.iterm),
        ({"TERM": "xterm-256color"}, Protocol.blocks),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, None),
        ({"TERM": "dumb"}, None),
        ({}, None),
    ],
)
def test_protocol(env: dict[str, str], wanted: Protocol | None) -> None:
    assert protocol_of(Terminal(), env) == wanted
    assert protocol_of(io.StringIO(), env) is None


@pytest.mark.parametrize("size", [(60, 40), (40, 61), (3, 1), (1, 300)])
def test_thumbnails(tmp_path, size: tuple[int, int]) -> None:
    import base64

    from PIL import Image

    path = tmp_path / "a.png"
    Image.new("RGB", size, (10, 200, 30)).save(path)
    blocks = thumbnail(path, Protocol.blocks)
    assert "38;2;10;200;30" in blocks and blocks.count("\n") <= 12 and blocks.endswith("\x1b[0m\n")
    kitty = thumbnail(path, Protocol.kitty)
    data = "".join(part.split(";", 1)[1] for part in kitty.strip().split("\x1b\\") if part)
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert thumbnail(path, Protocol.iterm).startswith("\x1b]1337;File=inline=1;")


def test_no_thumbnail_says_why(tmp_path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    os.mkfifo(tmp_path / "fifo.jpg")
    for name in ("bad.jpg", "gone.jpg", "fifo.jpg"):
        assert thumbnail(tmp_path / name, Protocol.blocks).startswith("  (no preview: ")
