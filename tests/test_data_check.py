"""The check of training data: missing, corrupt, duplicated and leaking photos, within a set and between sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from cgiaa_training import synthetic
from cgiaa_training.check import Report, check
from cgiaa_training.manifest import load_set
from conftest import RunCli, picture
from PIL import Image, ImageEnhance

from cgiaa_cli.errors import CgiaaError


def manifest(path: Path, rows: dict[str, str]) -> None:
    lines = ["photo,split,score", *(f"{photo},{split},5" for photo, split in rows.items())]
    path.write_text("".join(line + "\n" for line in lines))


def found(report: Report, kind: str) -> dict[str, str]:
    return {Path(f.photo).name: Path(f.other).name for f in report.findings if f.kind == kind}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six different pictures, 0.png to 5.png."""
    for i in range(6):
        picture(i, 0.3 + 0.06 * i).save(tmp_path / f"{i}.png")
    return tmp_path


def test_a_good_set_has_no_faults(photos: Path) -> None:
    manifest(photos / "good.csv", {f"{i}.png": ("train", "test")[i % 2] for i in range(6)})
    told: list[str] = []
    report = check(["good.csv"], photos, told.append)
    assert (report.faults, report.leaks, report.findings) == (0, 0, [])
    (row,) = report.rows
    assert (row.name, row.samples, row.photos, row.splits) == ("good", 6, 6, {"train": 3, "test": 3})
    assert "good" in list(report.lines())[1] and "train 3, test 3" in list(report.lines())[1]


def test_synthetic_pictures_do_not_leak(tmp_path: Path) -> None:
    synthetic.make(tmp_path, 60, 5)
    report = check(["tiny-photos", "tiny-critiques"], tmp_path)
    assert report.faults == 0, list(report.lines())
    assert [row.photos for row in report.rows] == [60, 60]


def test_copies_leak_however_they_were_saved(photos: Path) -> None:
    with Image.open(photos / "0.png") as image:
        image.save(photos / "same.bmp")
        image.convert("RGB").save(photos / "again.jpg", quality=80)
        image.resize((200, 150)).save(photos / "small.png")
        ImageEnhance.Brightness(image).enhance(0.6).save(photos / "darker.png")  # another photo to a judge of light
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / "mirror.png")
    copies = ("same.bmp", "again.jpg", "small.png")
    rows = {"0.png": "train", "1.png": "train", "darker.png": "test", "mirror.png": "test"}
    manifest(photos / "set.csv", {**rows, **dict.fromkeys(copies, "test")})
    report = check(["set.csv"], photos)
    assert found(report, "leak") == dict.fromkeys(copies, "0.png")
    assert report.leaks == report.faults == 3
    manifest(photos / "set.csv", {**rows, **dict.fromkeys(copies, "train")})
    report = check(["set.csv"], photos)
    assert found(report, "duplicate") == dict.fromkeys(copies, "0.png") and report.leaks == 0
    manifest(photos / "set.csv", {"1.png": "train", "same.bmp": "test", "small.png": "test"})
    assert found(check(["set.csv"], photos), "duplicate") == {"small.png": "same.bmp"}


def test_the_same_file_in_two_splits_or_two_sets(photos: Path) -> None:
    (photos / "torn.csv").write_text("photo,split,score\n0.png,train,5\n0.png,val,5\n1.png,val,5\n")
    report = check(["torn.csv"], photos)
    assert found(report, "leak") == {"0.png": "itself"}
    manifest(photos / "taught.csv", {"0.png": "train", "1.png": "train"})
    manifest(photos / "held.csv", {"2.png": "test", "3.png": "test"})
    assert check(["taught.csv", "held.csv"], photos).faults == 0
    manifest(photos / "held.csv", {"1.png": "test", "2.png": "test"})
    report = check(["taught.csv", "held.csv"], photos)
    assert [row.leaks for row in report.rows] == [0, 1]
    manifest(photos / "free.csv", {"2.png": "", "4.png": ""})  # no splits: to be trained on
    assert [row.leaks for row in check(["held.csv", "free.csv"], photos).rows] == [1, 0]
    manifest(photos / "other.csv", {"0.png": "train"})
    assert check(["taught.csv", "other.csv"], photos).faults == 0  # two sets of one photo: no copy of it


def test_bad_photos_are_findings_and_the_rest_is_checked(photos: Path) -> None:
    (photos / "cut.jpg").write_bytes(b"")
    whole = (photos / "1.png").read_bytes()
    (photos / "broken.png").write_bytes(whole[: len(whole) // 2])
    names = ["0.png", "gone.jpg", "cut.jpg", "broken.png", "5.png"]
    manifest(photos / "bad.csv", dict.fromkeys(names, "train"))
    report = check(["bad.csv"], photos)
    (row,) = report.rows
    assert (row.missing, row.corrupt, row.duplicates, row.leaks) == (1, 2, 0, 0)
    assert found(report, "missing") == {"gone.jpg": ""} and set(found(report, "corrupt")) == {"cut.jpg", "broken.png"}
    text = "\n".join(report.lines())
    assert "gone.jpg: no such photo" in text and "cut.jpg: the file has no bytes" in text


def test_texts_of_one_photo_in_two_splits_leak(tmp_path: Path) -> None:
    rows = ["id,split,text", "a,train,nice light", "b,train,fine", "b,test,too tight", "c,test,blurred"]
    (tmp_path / "texts.csv").write_text("\n".join(rows) + "\n")
    report = check(["texts.csv"], tmp_path)
    assert report.leaks == 1 and found(report, "leak") == {"texts: b": "itself"}
    assert report.rows[0].photos == 0


def test_a_photo_with_two_ratings_in_a_split_is_disputed(photos: Path) -> None:
    (photos / "same.png").write_bytes((photos / "0.png").read_bytes())
    rows = ["0.png,train,5", "same.png,train,9", "1.png,train,4", "1.png,train,4", "2.png,test,3", "2.png,test,8"]
    (photos / "two.csv").write_text("photo,split,score\n" + "".join(f"{row}\n" for row in rows))
    report = check(["two.csv"], photos)
    assert found(report, "disputed") == {"same.png": "0.png", "2.png": "itself"}
    assert report.rows[0].disputed == 2 and report.faults == 3  # one of them is a copy, too
    text = "\n".join(report.lines())
    assert "same.png: its score is 9, and also 5: " in text and "; leave one out, or give it their mean" in text
    texts = ["0.png,nice,train,5", "0.png,dull,train,2"]  # scores of texts on one photo
    (photos / "texts.csv").write_text("photo,text,split,score\n" + "".join(f"{row}\n" for row in texts))
    assert check(["texts.csv"], photos).faults == 0


def test_many_findings_are_counted_not_listed(photos: Path) -> None:
    manifest(photos / "gone.csv", {"0.png": "train", **{f"gone{i}.png": "train" for i in range(30)}})
    lines = list(check(["gone.csv"], photos).lines())
    assert sum(line.startswith("missing: ") for line in lines) == 21 and "missing: and 10 more" in lines


def test_warnings_of_the_sets_are_told(tmp_path: Path) -> None:
    (tmp_path / "EVA/data").mkdir(parents=True)
    (tmp_path / "EVA/images/EVA_together").mkdir(parents=True)
    (tmp_path / "EVA/data/votes_filtered.csv").write_text(
        "image_id=user_id=score=difficulty=visual=composition=quality=semantic\n71=E1=6=3=2=3=4=1\n"
    )
    picture(1, 0.5).save(tmp_path / "EVA/images/EVA_together/71.jpg")
    assert any("AVA's training split" in line for line in check(["eva"], tmp_path).lines())


def test_a_set_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CgiaaError, match=r"AVA\.txt: no such data set|generic_ls_train\.jpgl: no such data set"):
        check(["ava"], tmp_path)


def test_the_command_prints_the_table_and_exits_3_on_a_leak(run_cli: RunCli, photos: Path) -> None:
    manifest(photos / "torn.csv", {"0.png": "train", "1.png": "test"})
    done = run_cli("train", "data", "check", "torn.csv", "--data", photos)
    assert done.returncode == 0, done.stderr
    (photos / "1.png").write_bytes((photos / "0.png").read_bytes())
    done = run_cli("train", "data", "check", "torn.csv", "--data", photos)
    assert done.returncode == 3 and "leak: " in done.stdout and "1.png: held out (test)" in done.stdout
    assert "; leave it out of one of the splits\n" in done.stdout
    done = run_cli("train", "data", "check", "avva", "--data", photos)
    assert done.returncode == 2 and done.stderr.splitlines()[0].startswith("cgiaa: no such set: avva; ")


def test_what_cannot_be_read_is_left_out_when_asked(run_cli: RunCli, photos: Path) -> None:
    manifest(photos / "set.csv", {f"{i}.png": ("train", "test")[i % 2] for i in range(7)})  # there is no 6.png
    (photos / "3.png").write_bytes((photos / "3.png").read_bytes()[:200])
    (photos / "left-out.txt").write_text("2.png\n")
    told = run_cli("train", "data", "check", "set.csv", "--data", photos, "--leave-out")
    assert told.returncode == 3 and f"{photos}/left-out.txt names the missing and corrupt photos" in told.stdout
    assert (photos / "left-out.txt").read_text() == "2.png\n3.png\n6.png\n"
    loaded = load_set("set.csv", photos)
    assert [Path(str(s.image)).name for s in loaded.samples] == ["0.png", "1.png", "4.png", "5.png"]
    assert loaded.dropped == {"left-out.txt names them": 3}
    again = run_cli("train", "data", "check", "set.csv", "--data", photos, "--leave-out")
    assert "dropped 3 (left-out.txt names them)" in again.stdout and "names the missing" not in again.stdout
    refused = run_cli("train", "data", "check", "set.csv", "--data", "memory://x", "--leave-out")
    assert refused.returncode == 2 and "no folder to write left-out.txt to" in refused.stderr
