"""`cgiaa report` without a browser: what stands in the page, where it is written, and what is bad input."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cgiaa, picture
from PIL import Image

from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.library.walk import walk
from cgiaa_cli.report import library as library_module
from cgiaa_cli.report import page as page_module
from cgiaa_cli.report.page import check_target, embed, write_page
from cgiaa_cli.report.pictures import Beside, thumbnails, webp
from cgiaa_cli.report.weakest import focal_range, standing, weakest, weakest_by

# in a folder "<" its path holds the end of a script block
HOSTILE = "script><script>alert(1)<!-- & \"q' \u2028 100%#?.jpg"


def save(image: Image.Image, path: Path, taken: str | None = None, lens: str = "", focal: float = 0) -> Path:
    exif = Image.Exif()
    if taken:
        exif[0x0110] = "Testcam <1>"
        block = exif.get_ifd(0x8769)
        block[0x9003], block[0xA434], block[0x920A] = taken, lens, focal
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        image.save(file, "JPEG", quality=92, exif=exif)
    return path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Six photos of two lenses, one of them in two places; a burst of two; a hostile name; a damaged file."""
    folder = tmp_path / "library"
    for i in range(6):
        lens, focal = (("Zoom 24-70", 35.0), ("Tele 200", 200.0))[i % 2]
        single = picture(40 + i, 0.15 + 0.12 * i).rotate(90 * i, expand=True)
        save(single, folder / f"single{i}.jpg", f"2024:0{i + 1}:01 10:00:00", lens, focal)
    shutil.copy(folder / "single5.jpg", folder / "single5 copy.jpg")
    wide = picture(2, 0.6, (340, 250))
    for i in range(2):
        frame = wide.crop((6 * i, 3 * i, 320 + 6 * i, 240 + 3 * i))
        save(frame, folder / "trip" / f"IMG_000{i}.jpg", f"2024:05:06 10:00:0{i}")
    save(picture(77, 0.5).rotate(45), folder / "<" / HOSTILE)
    (folder / "broken.jpg").write_bytes((folder / "single0.jpg").read_bytes()[:2000])
    return folder


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text("utf-8")
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert block
    found: dict[str, Any] = json.loads(block[1])
    return found


def test_the_page_holds_it_all(cgiaa: Cgiaa, library: Path, tmp_path: Path) -> None:
    page = tmp_path / "out" / "gallery.html"
    page.parent.mkdir()
    code, out, err = cgiaa("report", library, "-o", page, "--top", 3, "--critiques", 2)
    assert code == 3 and "broken.jpg: " in err and err.count("\n") == 1
    assert re.fullmatch(rf"{re.escape(str(page))}: 9 photos, 2 groups, 2 critiques, 0\.\d MB\n", out)
    data = data_of(page)
    photos = data["photos"]
    assert [p["value"] for p in photos] == sorted((p["value"] for p in photos), reverse=True)
    assert list(data["failed"]) == ["broken.jpg"] and str(tmp_path) not in page.read_text("utf-8")
    by_name = {p["name"]: p for p in photos}
    assert by_name["single5.jpg"]["copies"] == ["single5 copy.jpg"]
    assert (
        by_name["single1.jpg"] | {"lens": "Tele 200", "focal_length": 200, "focal": "135-299 mm"}
        == by_name["single1.jpg"]
    )
    assert all(p["thumb"].startswith("data:image/webp;base64,") for p in photos)
    assert not any("latitude" in p for p in photos)
    # only the best two of those that rank among the picks have a critique, with its pictures
    critiqued = [i for i, p in enumerate(photos) if "critique" in p]
    assert critiqued == sorted(data["picks"][:2]) and len(data["picks"]) == 3
    for i in critiqued:
        assert set(photos[i]["critique"]) == {"kinds", "notice", "attributes"}
        assert photos[i]["large"] != photos[i]["evidence"]
    assert {row["name"]: row["photos"] for row in data["weak"]["lens"]} == {"Zoom 24-70": 3, "Tele 200": 3}
    assert [row["name"] for row in data["weak"]["focal"]] == ["35-49 mm", "135-299 mm"]
    assert [row["name"] for row in data["weak"]["month"]][::5] == ["2024-06", "2024-01"]


def test_groups_have_their_keepers(cgiaa: Cgiaa, library: Path, tmp_path: Path) -> None:
    cgiaa("report", library, "-o", tmp_path / "g.html", "--critiques", 0)
    data = data_of(tmp_path / "g.html")
    photos = data["photos"]
    groups = {group["kind"]: group for group in data["groups"]}
    assert set(groups) == {"burst", "duplicate"}
    assert [m["path"] for m in groups["duplicate"]["members"]] == ["single5.jpg", "single5 copy.jpg"]
    assert groups["duplicate"]["members"][1]["reason"] == "the same bytes as single5.jpg"
    keeper, other = groups["burst"]["members"]
    assert keeper["kept"] and not other["kept"] and other["reason"]
    assert photos[keeper["photo"]]["best"] and "best" not in photos[other["photo"]]
    assert photos[other["photo"]]["group"] == data["groups"].index(groups["burst"])
    assert keeper["photo"] in data["picks"] and other["photo"] not in data["picks"]
    # the ids mean something to the command that the page names
    code, out, _ = cgiaa("groups", "--keep-all", groups["burst"]["id"])
    assert code == 0 and "every photo is kept" in out


def test_hostile_names_stay_text(cgiaa: Cgiaa, library: Path, tmp_path: Path) -> None:
    odd = os.path.join(os.fsencode(library), b"<", b"caf\xe9 ${x} {{data}}.jpg")
    shutil.move(os.fsencode(library / "single0.jpg"), odd)
    shutil.move(library / "single1.jpg", library / "turned \u202egpj.jpg")  # U+202E turns round what follows
    folder = tmp_path / "{{data}} <b>$"
    library.rename(folder)
    cgiaa("report", folder, "-o", tmp_path / "g.html", "--critiques", 0)
    text = (tmp_path / "g.html").read_text("utf-8")
    assert text.count("<script") == 2 and text.count("</script>") == 2 and "<!--" not in text and "\u2028" not in text
    assert "<title>{{data}} &lt;b&gt;$ - cgiaa</title>" in text
    photos = {p["name"]: p for p in data_of(tmp_path / "g.html")["photos"]}
    shown = HOSTILE.replace("\u2028", "\\u2028")
    assert photos[shown]["path"] == f"</{shown}" and "caf\\xe9 ${x} {{data}}.jpg" in photos
    assert photos["turned \\u202egpj.jpg"]["path"] == "turned \\u202egpj.jpg"
    for photo in photos.values():  # the links lead to the files, whatever bytes their names have
        address = urllib.parse.unquote_to_bytes(photo["link"])
        assert os.path.isfile(os.path.join(os.fsencode(tmp_path), address)) and not re.search(
            r"[:<>\"' ]", photo["link"]
        )


def test_only_the_pages_own_program_may_run(cgiaa: Cgiaa, library: Path, tmp_path: Path) -> None:
    import base64
    import hashlib

    cgiaa("report", library, "-o", tmp_path / "g.html", "--critiques", 0)
    text = (tmp_path / "g.html").read_text("utf-8")
    for name, kind in (("script", "script-src"), ("style", "style-src")):
        part = re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part[0].encode()).digest()).decode()
        assert len(part) == 1 and f"{kind} 'sha256-{digest}'" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|unsafe", text)
    assert "{{" not in text


def test_pictures_beside_are_no_photos(cgiaa: Cgiaa, library: Path) -> None:
    page = library / "my gallery #1.html"
    code, _, _ = cgiaa("report", library, "-o", page, "--thumbs", "beside", "--critiques", 1)
    assert code == 3
    folder = library / "my gallery #1_files" / ".thumbs"
    data = data_of(page)
    for photo in data["photos"]:
        with Image.open(library / urllib.parse.unquote(photo["thumb"])) as thumb:
            assert max(thumb.size) == 256 and thumb.format == "WEBP"
    assert len(list(folder.iterdir())) == len(data["photos"]) + 2
    assert not any(".thumbs" in str(found.path) for found in walk([library]))
    # a page with fewer photos takes away what it does not show, and nothing else
    (folder / "mine.txt").touch()
    again = ("report", library, "-o", page, "--thumbs", "beside", "--critiques", 0, "--where", "lens ~ 'Tele'")
    assert cgiaa(*again)[0] == 2 and cgiaa(*again, "--force")[0] == 3
    assert len(list(folder.iterdir())) == 3 + 1


def test_a_page_is_not_replaced_unasked(cgiaa: Cgiaa, library: Path, tmp_path: Path) -> None:
    page = tmp_path / "g.html"
    page.write_text("mine")
    code, out, err = cgiaa("report", library, "-o", page)
    assert code == 2 and err == f"cgiaa: {page}: is there already; name another -o, or replace it with --force\n"
    assert out == "" and page.read_text() == "mine" and not (tmp_path / "cache.sqlite").exists()
    assert cgiaa("report", library, "-o", page, "--force", "--critiques", 0)[0] == 3
    assert len(data_of(page)["photos"]) == 9
    assert cgiaa("report", library, "-o", tmp_path, "--force")[0] == 2
    code, _, err = cgiaa("report", library, "-o", tmp_path / "no" / "g.html")
    assert code == 2 and "there is no such folder" in err


def test_no_photo_no_page(cgiaa: Cgiaa, library: Path, tmp_path: Path) -> None:
    page, empty = tmp_path / "g.html", tmp_path / "empty"
    empty.mkdir()
    code, _, err = cgiaa("report", empty, "-o", page, "--no-scan")
    assert code == 1 and "there is no cache yet" in err
    assert cgiaa("report", empty, "-o", page) == (1, "", "cgiaa: nothing matched; no page was written\n")
    code, _, err = cgiaa("report", library, "-o", page, "--no-scan")
    assert code == 1 and f"{library}: no photo of it is in the cache" in err
    (empty / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    assert cgiaa("report", empty, "-o", page)[0] == 3
    assert not page.exists() and list(tmp_path.glob("*.part")) == []


def test_one_photo(cgiaa: Cgiaa, tmp_path: Path) -> None:
    photo = save(picture(1, 0.5), tmp_path / "a.jpg", "2024:01:02 03:04:05", "Lens", 50)
    assert cgiaa("report", photo, "-o", tmp_path / "g.html", "--by", "composition")[0] == 0
    data = data_of(tmp_path / "g.html")
    (row,) = data["photos"]
    assert data["picks"] == [0] and data["groups"] == [] and row["path"] == "a.jpg" and row["link"] == "a.jpg"
    assert row["value"] == row["composition"] and row["weakest"] is None and row["focal"] == "50-84 mm"
    assert data["weak"]["lens"][0]["weakest"] is None


def test_folders_of_one_name_are_told_apart(cgiaa: Cgiaa, tmp_path: Path) -> None:
    folders = [tmp_path / str(i) / "photos" for i in range(4)]
    for i, folder in enumerate(folders):
        save(picture(i, 0.5), folder / "a.jpg")
    assert cgiaa("report", *folders, "-o", tmp_path / "g.html", "--critiques", 0, "--top", 0)[0] == 0
    assert "<title>0/photos, 1/photos, 2/photos, ... - cgiaa</title>" in (tmp_path / "g.html").read_text("utf-8")
    data = data_of(tmp_path / "g.html")
    assert data["picks"] == [] and {p["path"] for p in data["photos"]} == {f"{i}/photos/a.jpg" for i in range(4)}


def test_without_a_scan_what_is_gone_keeps_its_row(cgiaa: Cgiaa, library: Path, tmp_path: Path) -> None:
    cgiaa("critique", library)
    for path in ("single1.jpg", "trip/IMG_0000.jpg"):
        (library / path).unlink()
    (library / "single2.jpg").write_bytes(b"no photo any more")
    code, _, err = cgiaa("report", library, "-o", tmp_path / "g.html", "--no-scan", "--critiques", 9)
    assert code == 3 and "single1.jpg: No such file" in err and "single2.jpg: " in err and "broken.jpg: " in err
    photos = {p["name"]: p for p in data_of(tmp_path / "g.html")["photos"]}
    assert photos["single1.jpg"]["thumb"] is None and "critique" not in photos["single1.jpg"]
    assert photos["single3.jpg"]["thumb"] and "critique" in photos["single3.jpg"]


def test_critiques_are_kept_and_reused(
    cgiaa: Cgiaa, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cgiaa_cli.critique.critic import Critic

    cgiaa("report", library, "-o", tmp_path / "a.html", "--critiques", 3)
    monkeypatch.setattr(Critic, "critique", lambda *args: pytest.fail("is in the cache"))
    cgiaa("report", library, "-o", tmp_path / "b.html", "--critiques", 3)
    one, other = (data_of(tmp_path / f"{name}.html") for name in "ab")
    assert one["photos"] == other["photos"]


def test_a_critique_outlives_its_photo(
    cgiaa: Cgiaa, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cgiaa_cli.commands import report as command

    def rows(session: Any, paths: list[str], note: Any) -> Any:
        for row, _ in real_rows(session, paths, note):
            yield row, lambda: Path("gone").read_bytes()

    real_rows = command.critique_rows
    monkeypatch.setattr(command, "critique_rows", rows)
    code, _, err = cgiaa("report", library, "-o", tmp_path / "g.html", "--critiques", 1)
    assert code == 3 and err.count("No such file") == 1
    (photo,) = [p for p in data_of(tmp_path / "g.html")["photos"] if "critique" in p]
    assert "large" not in photo and photo["critique"]["attributes"]


def test_the_page_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    page = tmp_path / "out" / "g.html"
    page.parent.mkdir()

    def broken() -> Any:
        yield {"a": 1}
        raise CgiaaError("stop")

    with pytest.raises(CgiaaError, match="stop"):
        write_page(page, "t", broken(), lambda: {"b": 2}, force=False)
    assert list(page.parent.iterdir()) == []

    def slow() -> Any:
        page.write_text("somebody else's")
        yield {"a": 1}

    with pytest.raises(UsageError, match="is there already"):
        write_page(page, "t", slow(), lambda: {"b": 2}, force=False)
    assert page.read_text() == "somebody else's" and len(list(page.parent.iterdir())) == 1
    page.unlink()
    size = write_page(page, "t", [], lambda: {"b": 2}, force=False)
    assert page.stat().st_size == size and data_of(page) == {"photos": [], "b": 2}


def test_writing_errors_have_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(number: int) -> Any:
        def replace(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        return replace

    monkeypatch.setattr(page_module.os, "replace", refuse(errno.EACCES))
    with pytest.raises(CgiaaError, match="Permission denied"):
        write_page(tmp_path / "g.html", "t", [], lambda: {"b": 2}, force=False)
    shelf = Beside(tmp_path / "g.html")
    with pytest.raises(CgiaaError, match="Permission denied"):
        shelf.put("0" * 32, b"webp")
    monkeypatch.setattr(page_module.os, "replace", refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):  # the command line says what to do
        write_page(tmp_path / "g.html", "t", [], lambda: {"b": 2}, force=False)
    monkeypatch.undo()
    (tmp_path / "h_files").touch()
    with pytest.raises(UsageError, match="h_files"):
        Beside(tmp_path / "h.html")
    with pytest.raises(UsageError, match="not a regular file"):
        check_target(Path(os.devnull), force=True)


def test_json_in_a_script_block() -> None:
    value = {"</script>": "<!--<script>&\u2028\u2029\ud800\x00", "n": 1.5}
    text = embed(value)
    assert text.isascii() and not re.search(r"[<>&]", text) and json.loads(text) == value
    with pytest.raises(ValueError, match="Out of range"):
        embed(float("nan"))


def test_the_weakest_attribute() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(5, 1, (200, 4)) * [1, 0.5, 2, 0] + [0, 3, 0, 7]
    scores[:40, 1] -= 0.5  # one standard deviation
    keys = ["weak"] * 40 + [None] * 10 + ["fair"] * 148 + ["few"] * 2
    stands = standing(scores)
    assert np.allclose(stands.mean(0), 0) and np.allclose(stands.std(0), [1, 1, 1, 0])
    rows = {row["name"]: row for row in weakest_by(keys, scores, stands)}
    assert list(rows) == ["fair", "weak", "few"] and rows["few"]["photos"] == 2
    assert rows["weak"]["weakest"] == "composition" and rows["weak"]["sure"]
    assert rows["few"]["weakest"] is None and not rows["few"]["sure"]
    assert rows["weak"]["means"] == [round(float(v), 3) for v in scores[:40].mean(0)]
    assert weakest(np.array([[0.1, -0.2, 0, 0], [0, 0, 0, 0.5]])) == ["composition", None]
    assert standing(np.zeros((0, 4))).shape == (0, 4) and weakest(standing(np.ones((1, 4)))) == [None]


@pytest.mark.parametrize(
    ("focal", "name"),
    [(None, None), (0.0, None), (6.9, "under 24 mm"), (24, "24-34 mm"), (34.9, "24-34 mm"), (800, "300 mm and more")],
)
def test_focal_ranges(focal: float | None, name: str | None) -> None:
    assert focal_range(focal) == name


def test_thumbnails_come_in_order(tmp_path: Path) -> None:
    paths = [str(save(picture(i, 0.5, (600 + 4 * i, 400)), tmp_path / f"{i}.jpg")) for i in range(7)]
    noted: list[str] = []
    made = list(thumbnails([*paths, str(tmp_path / "gone.jpg")], 1, lambda path, error: noted.append(path)))
    sizes = [Image.open(io.BytesIO(data)).size if data else None for data in made]
    assert sizes == [(256, round(256 * 400 / (600 + 4 * i))) for i in range(7)] + [None]
    assert noted == [str(tmp_path / "gone.jpg")]
    early = thumbnails(paths, 2, lambda path, error: None)
    assert next(early)
    early.close()  # an interrupted page does not decode the rest
    assert Image.open(io.BytesIO(webp(picture(1, 0.5)))).size == (320, 240)


def test_other_drives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> str:
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    monkeypatch.setattr(library_module.os.path, "relpath", refuse)
    monkeypatch.setattr(library_module.os.path, "commonpath", refuse)
    assert library_module._link(str(tmp_path / "a b.jpg"), tmp_path) == (tmp_path / "a b.jpg").as_uri()
    assert library_module.common_root(["/a/b.jpg"]) == ""


def test_a_heavy_page_is_said_so(cgiaa: Cgiaa, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cgiaa_cli.commands import report as command

    monkeypatch.setattr(command, "HEAVY", 1000)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, _, err = cgiaa("report", library, "-o", tmp_path / "g.html", "--critiques", 0, "--weight", "technical=2")
    assert code == 3 and "--thumbs beside keeps the pictures in a folder" in err and "making the page" in err
