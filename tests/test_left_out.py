"""Photos that training does without: the same ones, however their folder is spelled."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from cgiaa_training.check import check
from cgiaa_training.left_out import below, leave_out
from cgiaa_training.manifest import load_set
from conftest import picture

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with data/mine.csv and data/sub/mine.csv beside whole photos, a cut off and a missing one."""
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "data", tmp_path / "data/sub"):
        folder.mkdir()
        picture(1, 0.4).save(folder / "0.png")
        (folder / "1.png").write_bytes(b"cut off")
        (folder / "mine.csv").write_text("photo,split,score\n" + "".join(f"{i}.png,train,5\n" for i in range(3)))
    return tmp_path


def left(name: str, root: str) -> list[str]:
    return [Path(str(s.image)).name for s in load_set(name, root).samples]


def do_without(name: str, root: str) -> str:
    return leave_out(check([name], root).unreadable, Path(root)).read_text()


def test_the_root_may_be_spelled_otherwise_when_training(here: Path) -> None:
    spellings = ("data", "./data", "data/", "data/../data", f"{here}/data", f"{here}/./data//")
    for root in spellings:
        assert do_without("mine.csv", root) == "1.png\n2.png\n", root
        for other in spellings:
            assert left("mine.csv", other) == ["0.png"], (root, other)
        (here / "data/left-out.txt").unlink()


def test_the_manifest_may_lie_deeper_or_elsewhere(here: Path) -> None:
    for name in ("data/sub/mine.csv", "./data/sub/mine.csv", f"{here}/data/sub/mine.csv"):
        assert do_without(name, ".") == "data/sub/1.png\ndata/sub/2.png\n", name
        for root in (".", "./", str(here), f"../{here.name}"):
            assert left("data/sub/mine.csv", root) == left(f"{here}/data/sub/mine.csv", root) == ["0.png"], root
        (here / "left-out.txt").unlink()
    outside = f"{here}/data/mine.csv"
    assert do_without(outside, "data/sub") == f"{here}/data/1.png\n{here}/data/2.png\n"
    assert left(outside, "./data/sub") == left("./data/mine.csv", f"{here}/data/sub") == ["0.png"]


def test_the_file_may_be_written_by_an_editor(here: Path) -> None:
    (here / "data/left-out.txt").write_bytes(b"\xef\xbb\xbf1.png  \r\n\r\n./2.png\t\r\n")
    assert left("mine.csv", "data") == ["0.png"]
    (here / "data/left-out.txt").write_bytes("häuser.png\n".encode("latin-1"))
    with pytest.raises(CgiaaError, match=r"data/left-out.txt: not text in UTF-8; save the file as UTF-8"):
        left("mine.csv", "data")
    (here / "data/left-out.txt").unlink()
    (here / "data/left-out.txt").mkdir()
    with pytest.raises(CgiaaError, match=r"data/left-out.txt: cannot be read \(Is a directory\)"):
        left("mine.csv", "data")


def test_strange_names_and_addresses_come_back(here: Path) -> None:
    strange = ["a\\x41.png", "b\nc.png", "caf\udce9.png", "memory://far/d\\x41//e.png", "tar://1.png::part.tar"]
    lines = leave_out([escape(name) for name in strange], Path(".")).read_text().splitlines()
    assert leave_out([], Path(here)).read_text().splitlines() == lines and len(lines) == len(strange)
    assert [below(name, ".") for name in strange] == [below(name, here) for name in strange]
    assert sorted(below(name, "./") for name in strange) == lines
    with fsspec.open("memory://leaving/left-out.txt", "w") as file:
        file.write("a\\x5cx41.png\n")
    with fsspec.open("memory://leaving/mine.csv", "w") as file:
        file.write("photo,text\na\\x41.png,fine\nb.png,fine\n")
    for root in ("memory://leaving", "memory://leaving/"):
        assert left("mine.csv", root) == ["b.png"]
