"""What is wrong with a training set is one clear error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cgiaa_training.manifest import load_set
from small_sets import photo, write

from cgiaa_cli.errors import CgiaaError, UsageError


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["file,mos_0_1", "a.jpg,0.5"], "row 1: no column 'split'; there are file, mos_0_1"),
        (["file,split,mos", "a.jpg,train,0.5"], "row 1: no column 'mos_0_1'; there are file, split, mos"),
        (
            ["file,split,mos_0_1", "a.jpg,train,0.5", "b.jpg,train,5"],
            "row 2: 5 in column 'mos_0_1' is out of its range 0..1",
        ),
        (["file,split,mos_0_1", "a.jpg,train,good"], "row 1: 'good' in column 'mos_0_1' is not a number"),
        (["file,split,mos_0_1", "a.jpg,train,nan"], "row 1: 'nan' in column 'mos_0_1' is not a number"),
        (["file,split,mos_0_1", "a.jpg,train,"], "row 1: no value in column 'mos_0_1'"),
        (["file,split,mos_0_1", "a.jpg,fold1,0.5"], "row 1: unknown split 'fold1' in column 'split'"),
        (["file,split,mos_0_1", ",train,0.5"], "row 1: a row without an id"),
        (["file,split,mos_0_1"], "no samples in it"),
        (["file,split,mos_0_1", "c.jpg,train,0.5"], "no such photo"),
    ],
)
def test_a_wrong_file_is_one_clear_error(tmp_path: Path, lines: list[str], fault: str) -> None:
    write(tmp_path / "biq2021/labels.csv", *lines)
    photo(tmp_path / "biq2021/images/a.jpg")
    with pytest.raises(CgiaaError, match=re.escape(fault)) as error:
        load_set("biq2021", tmp_path)
    assert str(tmp_path) in str(error.value.path) and error.value.mend


def test_missing_photos_and_names(tmp_path: Path) -> None:
    write(tmp_path / "biq2021/labels.csv", "file,split,mos_0_1", "a.jpg,train,0.5")
    with pytest.raises(CgiaaError, match="biq2021/images: the photos of the set are not there"):
        load_set("biq2021", tmp_path)
    with pytest.raises(UsageError, match="no such set: avva; name a manifest or one of aadb, ava,"):
        load_set("avva", tmp_path)
    with pytest.raises(CgiaaError, match=r"mine\.csv: no such manifest"):
        load_set("mine.csv", tmp_path)
    write(tmp_path / "mine.csv", "name,score", "a,5")
    with pytest.raises(
        CgiaaError, match=r"mine\.csv: no column of photos or texts; there are name, score; name one image"
    ):
        load_set("mine.csv", tmp_path)
    write(tmp_path / "mine.csv", "photo;score;split", "a.jpg;4;train")
    with pytest.raises(CgiaaError, match=r"there are photo;score;split; separate the columns by commas"):
        load_set("mine.csv", tmp_path)
    (tmp_path / "mine.csv").write_text("photo,score\na.jpg,4\n", encoding="utf-16")
    with pytest.raises(CgiaaError, match=r"mine\.csv: not text in UTF-8; save the file as UTF-8"):
        load_set("mine.csv", tmp_path)
    write(tmp_path / "mine.csv", "photo,score", "a.jpg,4", "b.jpg,five")
    with pytest.raises(CgiaaError, match="row 2: 'five' in column 'score' is not a number"):
        load_set("mine.csv", tmp_path)
    write(tmp_path / "mine.csv", "photo,distribution", "a.jpg,1 2 3")
    with pytest.raises(CgiaaError, match="row 1: a distribution is 10 numbers of 0 or more"):
        load_set("mine.csv", tmp_path)


def test_a_manifest_that_is_not_there_is_named_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CgiaaError, match=r"^u/nope\.csv: no such manifest; give the path of a file$"):
        load_set("u/nope.csv", "u")  # as the evaluation does
    with pytest.raises(CgiaaError, match=r"^u/nope\.csv: no such manifest; .*, or its path below sets$"):
        load_set("u/nope.csv", "sets")
    with pytest.raises(CgiaaError, match=r"^sets/nope\.csv: no such manifest"):
        load_set("nope.csv", "sets")


def test_addresses_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CgiaaError, match=r"^nowhere://b/mine\.csv: cannot be reached .*Protocol not known"):
        load_set("mine.csv", "nowhere://b")

    def without(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("cgiaa_training.readers.url_to_fs", without)
    monkeypatch.setattr("fsspec.open", without)
    for name in ("mine.csv", "coco"):
        with pytest.raises(
            CgiaaError, match=r"^s3://b/.*: cannot be reached \(Install s3fs to access S3\); pip install"
        ):
            load_set(name, "s3://b")


def test_files_of_another_format(tmp_path: Path) -> None:
    write(tmp_path / "AVA/AVA.txt", "1 953619 0 1 5 17")
    write(tmp_path / "AVA/aesthetics_image_lists/generic_ls_train.jpgl", "1")
    write(tmp_path / "AVA/aesthetics_image_lists/generic_test.jpgl", "2")
    with pytest.raises(CgiaaError, match=r"AVA\.txt: line 1 has 6 columns instead of 15"):
        load_set("ava", tmp_path)
    photo(tmp_path / "coco/images/a.jpg")
    write(tmp_path / "coco/captions.jsonl", '{"file": "a.jpg", "caption": "x"}', "{")
    with pytest.raises(CgiaaError, match=r"captions\.jsonl: line 2 is not JSON"):
        load_set("coco", tmp_path)
    write(tmp_path / "fcdb/labels.json", '{"a.jpg": 1}')
    with pytest.raises(CgiaaError, match=r"labels\.json: not a list of objects"):
        load_set("fcdb", tmp_path)
    (tmp_path / "critiques").mkdir()
    (tmp_path / "critiques/pccd.jsonl.gz").write_bytes(b"not packed")
    with pytest.raises(CgiaaError, match=r"pccd\.jsonl\.gz: cannot be read as jsonl"):
        load_set("pccd", tmp_path)
    (tmp_path / "mine.parquet").write_bytes(b"PAR1")
    with pytest.raises(CgiaaError, match=r"mine\.parquet: cannot be read as parquet"):
        load_set("mine.parquet", tmp_path)
    (tmp_path / "part-0.tar").write_bytes(b"no archive")
    with pytest.raises(CgiaaError, match=r"part-0\.tar: cannot be read as webdataset"):
        load_set("part-0.tar", tmp_path)
