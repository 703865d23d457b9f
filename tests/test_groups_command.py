"""`cgiaa groups` and `rank --one-per-group` on files: what is printed, what is remembered, and what is bad input."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cgiaa_cli.cache.maintain import prune
from cgiaa_cli.cache.store import Cache
from tests.conftest import picture

Json = list[dict[str, Any]]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


def save(image: Image.Image, path: Path, taken: str | None = None, **tags: float) -> Path:
    exif = Image.Exif()
    if taken:
        exif[0x0110] = "Testcam 1"
        block = exif.get_ifd(0x8769)
        block[0x9003] = taken
        for tag, name in ((0x829A, "shutter"), (0x829D, "aperture"), (0x8827, "iso")):
            if name in tags:
                block[tag] = tags[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=92, exif=exif)
    return path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Three single photos; a photo, its copy in the same bytes and a small one; a burst of three; a bracket."""
    folder = tmp_path / "library"
    for i in range(
        3
    ):  # all pictures are lighter above, which the small network takes for alike: these lie on other sides
        single = picture(40 + i, 0.2 + 0.25 * i).rotate(90 * (i + 1), expand=True)
        save(single, folder / f"single{i}.jpg", f"2024:01:0{i + 1} 10:00:00")
    original = save(picture(1, 0.5), folder / "original.jpg")
    shutil.copy(original, folder / "original copy.jpg")
    save(picture(1, 0.5).resize((160, 120)), folder / "web" / "small.jpg")
    wide = picture(2, 0.6, (340, 250))
    for i in range(3):
        frame = wide.crop((6 * i, 3 * i, 320 + 6 * i, 240 + 3 * i))
        save(frame, folder / "trip" / f"IMG_000{i}.jpg", f"2024:05:06 10:00:0{i}")
    scene = np.asarray(picture(3, 0.35)) / 255
    for i, stops in enumerate((0.0, -1.5, 1.5)):
        light = (scene**2.2 * 2**stops).clip(0, 1) ** (1 / 2.2)
        frame = Image.fromarray((light * 255).astype(np.uint8))
        tags = {"shutter": 0.01 * 2**stops, "aperture": 8.0, "iso": 100}
        save(frame, folder / "trip" / f"IMG_010{i}.jpg", f"2024:05:06 12:00:0{i}", **tags)
    return folder


def names(group: dict[str, Any]) -> set[str]:
    return {Path(member["path"]).name for member in group["members"]}


def by_kind(out: str) -> dict[str, dict[str, Any]]:
    found: Json = json.loads(out)
    return {group["kind"]: group for group in found}


BURST = {"IMG_0000.jpg", "IMG_0001.jpg", "IMG_0002.jpg"}
BRACKET = {"IMG_0100.jpg", "IMG_0101.jpg", "IMG_0102.jpg"}
COPIES = {"original.jpg", "original copy.jpg", "small.jpg"}


def test_groups_and_decisions(cgiaa: Any, library: Path, db: Path) -> None:
    code, out, err = cgiaa("groups", library, "--format", "json")
    assert code == 0 and err == ""
    found = by_kind(out)
    assert len(json.loads(out)) == len(found) == 3
    assert {kind: names(group) for kind, group in found.items()} == {
        "duplicate": COPIES,
        "burst": BURST,
        "bracket": BRACKET,
    }
    for group in found.values():
        assert list(group) == ["id", "kind", "keeper", "protected", "keep_all", "members"]
        assert group["members"][0]["path"] == group["keeper"] and not group["keep_all"]
        assert all(member["reason"] and member["score"] > 1 for member in group["members"])
        assert {"path", "reason", "score", "closed_eyes", "kept"} == set(group["members"][0])
        assert sum(member["kept"] for member in group["members"]) == (3 if group["protected"] else 1)
    assert found["duplicate"]["keeper"] == str(library / "original.jpg")
    reasons = {Path(m["path"]).name: m["reason"] for m in found["duplicate"]["members"]}
    assert "same bytes" in reasons["original copy.jpg"] and "160 x 120 against 320 x 240" in reasons["small.jpg"]
    assert found["bracket"]["protected"] and not found["burst"]["protected"]
    assert {m["reason"][:29] for m in found["bracket"]["members"]} >= {"a frame of a bracket, +1.5 EV"}

    # one of each group that is not protected
    ranked = {Path(p).name for p in cgiaa("rank", library, "--one-per-group", "--format", "paths")[1].splitlines()}
    kept = Path(found["burst"]["keeper"]).name
    assert ranked == {"single0.jpg", "single1.jpg", "single2.jpg", "original.jpg", kept} | BRACKET
    diverse = cgiaa("rank", library, "--one-per-group", "--diverse", "--no-scan", "--format", "paths")[1]
    assert {Path(p).name for p in diverse.splitlines()} == ranked
    # the keeper meets the conditions itself: where the whole copy does not, the small one is there
    small = cgiaa("rank", library, "--one-per-group", "--where", "width < 200", "--no-scan", "--format", "paths")[1]
    assert small == f"{library}/web/small.jpg\n"

    # decisions, by id and by a photo of the group; kept for later commands
    code, out, err = cgiaa("groups", "--keep-all", found["burst"]["id"], library / "web" / "small.jpg")
    assert code == 0 and f"{found['burst']['id']}  3 photos" in out and out.count("\n") == 2
    ranked = {Path(p).name for p in cgiaa("rank", library, "--one-per-group", "--format", "paths")[1].splitlines()}
    assert ranked >= BURST | COPIES and len(ranked) == 12
    later = by_kind(cgiaa("groups", library, "--no-scan", "--format", "json")[1])
    assert later["burst"]["keep_all"] and not later["bracket"]["keep_all"]
    table = cgiaa("groups", library, "--no-scan", "--kind", "burst")[1]
    assert "burst, 3 photos, kept whole as was decided" in table and table.count("  keep") == 3

    code, _, err = cgiaa("groups", "--forget", found["burst"]["id"])
    assert code == 0
    later = by_kind(cgiaa("groups", library, "--no-scan", "--format", "json")[1])
    assert not later["burst"]["keep_all"] and later["duplicate"]["keep_all"]
    code, _, err = cgiaa("groups", "--keep-all", found["bracket"]["id"], "0badf00d")
    assert code == 2 and "0badf00d: is no group that was listed" in err
    with Cache.open(db) as cache:  # nothing was decided where one of the names was wrong
        assert cache.conn.execute("SELECT count(*) FROM keep_all").fetchone()[0] == 2


def test_prune_drops_what_groups_keeps_of_photos_that_are_gone(cgiaa: Any, library: Path, db: Path) -> None:
    found = by_kind(cgiaa("groups", library, "--format", "json")[1])
    cgiaa("groups", "--keep-all", found["burst"]["id"])
    shutil.rmtree(library / "trip")
    with Cache.open(db) as cache:
        pruned = prune(cache)
        assert (pruned.contents, pruned.looks, pruned.listed_groups, pruned.keep_all) == (6, 6, 6, 3)
        left = [
            cache.conn.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("contents", "looks", "keep_all")
        ]
    assert left == [5, 5, 0]


def test_photos_of_an_older_scan_are_looked_at_once(cgiaa: Any, library: Path, db: Path) -> None:
    assert cgiaa("scan", library)[0] == 0
    with Cache.open(db) as cache:
        before = cache.conn.execute("SELECT * FROM looks ORDER BY content_id").fetchall()
        assert len(before) == 11
        cache.conn.execute("DELETE FROM looks")
    code, out, err = cgiaa("groups", library, "--no-scan", "--format", "json")
    assert code == 0 and "11 photos of older scans take no part" in err
    assert names(json.loads(out)[0]) == {"original.jpg", "original copy.jpg"}  # the same bytes need no look
    code, out, err = cgiaa("rank", library, "--no-scan", "--one-per-group", "--format", "paths")
    assert code == 0 and len(out.splitlines()) == 11 and "and 10 other photos of older scans are in no group" in err
    (library / "single0.jpg").rename(library / "single9.jpg")
    code, out, err = cgiaa("groups", library, "--format", "json")
    assert code == 0 and err == "" and len(json.loads(out)) == 3
    with Cache.open(db) as cache:
        assert cache.conn.execute("SELECT * FROM looks ORDER BY content_id").fetchall() == before


def test_nothing_to_group(cgiaa: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for options in ([], ["--no-scan"]):
        code, out, err = cgiaa("groups", empty, "--format", "json", *options)
        assert (code, out) == (1, "[]\n") and "no group was found" in err
    save(picture(1, 0.5), empty / "one.jpg")
    assert cgiaa("groups", empty)[:2] == (1, "")
    assert cgiaa("groups", empty / "nothing.jpg")[0] == 2
    assert cgiaa("groups", "--keep-all", "--forget", "x")[0] == 2
    assert cgiaa("groups")[0] == 2
    (empty / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    shutil.copy(empty / "one.jpg", empty / "two.jpg")
    code, out, err = cgiaa("groups", empty, "--format", "json")
    assert code == 3 and f"{empty}/bad.jpg: " in err and len(json.loads(out)) == 1
    assert cgiaa("groups", empty, "--no-scan", "--format", "json") == (code, out, err)


def test_without_a_cache(cgiaa: Any, library: Path) -> None:
    code, out, err = cgiaa("groups", library, "--no-scan")
    assert code == 2 and out == "" and "there is no cache yet" in err
    assert cgiaa("groups", "--keep-all", "0badf00d")[0] == 2


def test_hostile_names(cgiaa: Any, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    strange = ["a\nb.jpg", "<script>.jpg", "\x1b[31m.jpg", os.fsdecode(b"caf\xe9.jpg")]
    for name in strange:
        save(picture(1, 0.5), folder / name)
    code, out, _ = cgiaa("groups", folder, "--format", "json")
    (group,) = json.loads(out)
    assert code == 0 and len(group["members"]) == 4
    table = cgiaa("groups", folder, "--no-scan")[1]
    assert "\x1b" not in table and len(table.splitlines()) == 9
    code, _, err = cgiaa("groups", "--keep-all", folder / os.fsdecode(b"caf\xe9.jpg"))
    assert code == 0, err


def test_raw_companions_and_live_photos_are_one_photo(cgiaa: Any, tmp_path: Path) -> None:
    folder = tmp_path / "phone"
    save(picture(1, 0.5), folder / "IMG_1.jpg", "2024:05:06 10:00:00")
    shutil.copy(folder / "IMG_1.jpg", folder / "IMG_1.dng")
    (folder / "IMG_1.mov").write_bytes(b"\0\0\0\x14ftypqt  " + b"\0" * 50)
    assert cgiaa("groups", folder, "--format", "json")[:2] == (1, "[]\n")
    save(picture(1, 0.5), folder / "IMG_E1.jpg", "2024:05:06 10:00:00")  # as a phone names an edit
    (group,) = json.loads(cgiaa("groups", folder, "--format", "json")[1])
    assert names(group) == {"IMG_1.jpg", "IMG_E1.jpg"}


def test_times_without_seconds(cgiaa: Any, tmp_path: Path) -> None:
    wide = picture(2, 0.6, (340, 250))
    for i in range(4):
        minute = f"2024:05:06 10:0{i // 2}:00"
        save(wide.crop((6 * i, 3 * i, 320 + 6 * i, 240 + 3 * i)), tmp_path / "p" / f"IMG_000{i}.jpg", minute)
    (group,) = json.loads(cgiaa("groups", tmp_path / "p", "--format", "json")[1])
    assert group["kind"] == "burst" and len(group["members"]) == 4


def test_a_small_group_is_measured_for_its_reasons(cgiaa: Any, tmp_path: Path) -> None:
    from PIL import ImageFilter

    sharp = picture(2, 0.6, (640, 480))
    for i, image in enumerate((sharp, sharp.filter(ImageFilter.GaussianBlur(3)))):
        save(image, tmp_path / "p" / f"IMG_000{i}.jpg", f"2024:05:06 10:00:0{i}")
    folder = tmp_path / "p"
    (group,) = json.loads(cgiaa("groups", folder, "--format", "json")[1])
    assert Path(group["keeper"]).name == "IMG_0000.jpg"
    assert "of the keeper: it " in group["members"][1]["reason"]
    (group,) = json.loads(cgiaa("groups", folder, "--format", "json", "--no-measure")[1])
    assert "of the keeper" not in group["members"][1]["reason"]
    (folder / "IMG_0001.jpg").unlink()
    code, out, err = cgiaa("groups", folder, "--format", "json", "--no-scan", "--measure")
    assert code == 3 and "IMG_0001.jpg: No such file" in err and len(json.loads(out)) == 1


def test_listing_a_part_forgets_the_groups_that_it_takes_apart(cgiaa: Any, library: Path) -> None:
    whole = by_kind(cgiaa("groups", library, "--format", "json")[1])
    cgiaa("groups", library / "trip" / "IMG_0000.jpg", library / "trip" / "IMG_0001.jpg", "--no-scan")
    code, _, err = cgiaa("groups", "--keep-all", whole["burst"]["id"])
    assert code == 2 and "list the groups first" in err
