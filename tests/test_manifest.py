"""Training sets: each known one from small files in its exact format, and plain manifests."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import fsspec
import numpy as np
import pytest
from cgiaa_training.manifest import SPLITS, Sample, load_set, read_image, set_names, split_by
from PIL import Image
from small_sets import photo, write

from cgiaa_cli.errors import CgiaaError, UsageError

ATTRIBUTES = ("color_light", "composition", "depth_focus", "general")


def by_id(root: Path, name: str) -> dict[str, Sample]:
    found = load_set(name, root)
    for sample in found.samples:
        assert sample.split in SPLITS
        for label, value in sample.labels.items():
            low, high = found.description.labels[label]
            assert low <= value <= high
    return {sample.id: sample for sample in found.samples}


# --- the sets, each in the format of its source ------------------------------------------------------------------


def ava(root: Path) -> None:
    """AVA.txt: index, image id, counts of 1..10, two tags, challenge."""
    write(
        root / "AVA/AVA.txt",
        "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396 ",
        "2 953958 10 7 15 26 26 21 10 8 1 2 1 21 1396 ",
        "3 954184 0 0 4 8 41 56 10 3 4 0 0 0 1396 ",
    )
    write(root / "AVA/aesthetics_image_lists/generic_ls_train.jpgl", "953619")
    write(root / "AVA/aesthetics_image_lists/generic_test.jpgl", "953958")
    header = "image_id," + ",".join(f"score{i}" for i in range(2, 12)) + ",tag1,tag2,tag3"
    write(root / "AVA/12776/val.csv", header, "953619,0,1,5,17,38,36,15,6,5,1,1,22,1396")
    write(root / "AVA/12776/test.csv", header, "954184,0,0,4,8,41,56,10,3,4,0,0,0,1396")
    photo(*(root / f"AVA/images/{i}.jpg" for i in ("953619", "953958", "954184")))


def test_ava_with_either_test_list(tmp_path: Path) -> None:
    ava(tmp_path)
    official = by_id(tmp_path, "ava")
    counts = np.array([0, 1, 5, 17, 38, 36, 15, 6, 5, 1])
    assert official["953619"].labels["score"] == pytest.approx(counts @ np.arange(1, 11) / counts.sum())
    assert official["953619"].distribution == pytest.approx(tuple(counts / counts.sum()))
    assert official["953619"].extra == {"tag_1": "1", "tag_2": "22", "challenge": "1396"}
    assert official["953619"].image == str(tmp_path / "AVA/images/953619.jpg")
    assert [official[i].split for i in ("953619", "953958", "954184")] == ["train", "test", ""]
    other = by_id(tmp_path, "ava_12776")
    assert [other[i].split for i in ("953619", "953958", "954184")] == ["val", "train", "test"]


AADB = """score BalacingElements ColorHarmony Content DoF Light
MotionBlur Object Repetition RuleOfThirds Symmetry VividColor"""


def aadb(root: Path) -> None:
    """imgList{Train,Validation,TestNew}Regression_{attribute}.txt: file and value."""
    parts = {"Train": ["a.jpg", "twice.jpg"], "Validation": ["v.jpg"], "TestNew": ["t.jpg", "twice.jpg"]}
    for part, names in parts.items():
        for n, attribute in enumerate(AADB.split()):
            value = 0.65 if attribute == "score" else -0.1 * n / 2
            rows = [f"{name} {value:.3f} " for name in names]
            write(root / f"AADB/imgListFiles_label/imgList{part}Regression_{attribute}.txt", *rows)
    originals = root / "AADB/datasetImages_originalSize"
    photo(originals / "a.jpg", originals / "v.jpg", originals / "twice.jpg")
    photo(root / "AADB/AADB_newtest_originalSize/t.jpg")


def test_aadb_joins_its_attributes_and_drops_what_is_in_two_splits(tmp_path: Path) -> None:
    aadb(tmp_path)
    found = load_set("aadb", tmp_path)
    assert {s.id: s.split for s in found.samples} == {"a.jpg": "train", "v.jpg": "val", "t.jpg": "test"}
    assert found.dropped == {"photos in more than one split": 1}
    sample = found.samples[0]
    assert len(sample.labels) == 12 and sample.labels["score"] == 0.65
    assert sample.labels["vivid_color"] == pytest.approx(-0.55)
    assert str(found.samples[-1].image).endswith("AADB_newtest_originalSize/t.jpg")


def test_para(tmp_path: Path) -> None:
    bins = [f"aestheticScore_{i / 2:.1f}" for i in range(2, 11)]
    means = [f"{name}Score" for name in ["aesthetic", "quality", "composition", "color", "dof", "light", "content"]]
    header = ["imageName", "sessionId", "semantic", *bins, *(f"{m}_{s}" for m in means for s in ("mean", "std"))]
    row = ["iaa_pub1_.jpg", "session1", "portrait", *["0"] * 4, "10", "10", *["0"] * 3, *["3.25", "0.5"] * 7]
    write(tmp_path / "PARA/annotation/PARA-GiaaTrain.csv", ",".join(header), ",".join(row))
    row[0] = "iaa_pub2_.jpg"
    write(tmp_path / "PARA/annotation/PARA-GiaaTest.csv", ",".join(header), ",".join(row))
    photo(tmp_path / "PARA/imgs/session1/iaa_pub1_.jpg")
    found = by_id(tmp_path, "para")
    assert [s.split for s in found.values()] == ["train", "test"]
    assert found["iaa_pub1_.jpg"].labels["depth_focus"] == 3.25
    assert str(found["iaa_pub1_.jpg"].image).endswith("PARA/imgs/session1/iaa_pub1_.jpg")


def test_eva_is_the_mean_of_its_votes_and_warns_of_ava(tmp_path: Path) -> None:
    write(
        tmp_path / "EVA/data/votes_filtered.csv",
        "image_id=user_id=score=difficulty=visual=composition=quality=semantic=vote_time=1=2=3=4",
        "71=E1=6=3=2=3=4=1=11.2=1=0=0=0",
        "106=E1=9=3=4=4=4=4=8.1=1=1=0=0",
        "71=C2=7=2=3=3==2=9.9=0=1=0=0",
    )
    photo(tmp_path / "EVA/images/EVA_together/71.jpg")
    found = by_id(tmp_path, "eva")
    assert found["71"].labels["score"] == 6.5 and found["71"].labels["color_light"] == 2.5
    assert found["71"].labels["technical"] == 4  # who gave none does not count
    assert found["71"].extra == {"votes": 2} and found["106"].labels["score"] == 9
    assert any("AVA's training split" in line for line in load_set("eva", tmp_path).description.warnings)


def test_tad66k(tmp_path: Path) -> None:
    write(tmp_path / "TAD66K/labels/merge/train.csv", "image,score", "4105234983@N04.jpg,6.72")
    write(tmp_path / "TAD66K/labels/merge/test.csv", "image,score", "b.jpg,3.1")
    photo(tmp_path / "TAD66K/imgs/b.jpg")
    assert {i: (s.split, s.labels["score"]) for i, s in by_id(tmp_path, "tad66k").items()} == {
        "4105234983@N04.jpg": ("train", 6.72),
        "b.jpg": ("test", 3.1),
    }


def test_koniq(tmp_path: Path) -> None:
    write(
        tmp_path / "KonIQ-10k/koniq10k_distributions_sets.csv",
        "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set",
        "10004473376.jpg,0.0,0.0,0.238095238095,0.695238095238,0.0666666666667,105,77.3836206897,0.527277894494,training",
        "10043785683.jpg,0.0,0.0,0.433962264151,0.566037735849,0.0,106,71.2043269231,0.497974333332,validation",
    )
    photo(tmp_path / "KonIQ-10k/1024x768/10004473376.jpg")
    found = by_id(tmp_path, "koniq10k")
    assert [s.split for s in found.values()] == ["train", "val"]
    assert found["10004473376.jpg"].labels["technical"] == pytest.approx(77.3836)


def test_spaq_is_a_spreadsheet(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness"])
    book.active.append(["00001.jpg", 35.23, 49, 48.1, 50, 40, 38.5])
    (tmp_path / "SPAQ/Annotations").mkdir(parents=True)
    book.save(tmp_path / "SPAQ/Annotations/MOS and Image attribute scores.xlsx")
    photo(tmp_path / "SPAQ/TestImage/00001.jpg")
    sample = by_id(tmp_path, "spaq")["00001.jpg"]
    assert sample.labels["technical"] == 35.23 and sample.labels["sharpness"] == 38.5 and sample.image
    (tmp_path / "SPAQ/Annotations/MOS and Image attribute scores.xlsx").write_bytes(b"MOS")
    with pytest.raises(CgiaaError, match="not a spreadsheet"):
        load_set("spaq", tmp_path)


@pytest.mark.parametrize("photos", [True, False])
def test_critiques_of_ava_photos(tmp_path: Path, photos: bool) -> None:
    """DPC-Captions, AVA-Captions and CG-IAA; with the photos of AVA or without, split by AVA's test list."""
    ava(tmp_path)
    if not photos:
        (tmp_path / "AVA/images").rename(tmp_path / "AVA/elsewhere")
    for name in ("color_lighting", "composition", "depth_and_focus", "impression_and_subject", "use_of_camera"):
        comments = {"953619.jpg": [f"nice {name}", "too dark"], "953958.jpg": ["good"]}
        write(tmp_path / f"DPC-Captions/{name}.json", json.dumps(comments, indent=1))
    sentence = {"raw": "Nice light!", "clean": "nice light", "imgid": 953619, "sentid": "", "tokens": ["nice", "light"]}
    image = {
        "filename": "953958.jpg",
        "imgid": 953958,
        "split": "train",
        "cocoid": 953958,
        "sentids": "",
        "filepath": "",
    }
    whole = {"images": [{**image, "sentences": [sentence, {**sentence, "clean": " "}]}], "dataset": "AVA"}
    write(tmp_path / "AVA-Captions/CLEAN_AVA_FULL_AFTER_SUBJECTIVE_CLEANING.json", json.dumps(whole))
    for name in ("color", "composition", "dof", "general"):
        rows = [{"id": 0, "img_id": "953619", "caption": f"{name} is fine"}]
        write(tmp_path / f"CG-IAA/{name}.json", json.dumps(rows))

    dpc = load_set("dpc_captions", tmp_path).samples
    assert len(dpc) == 15 and {s.attribute for s in dpc} == {*ATTRIBUTES, "camera"}
    assert {s.group: s.split for s in dpc} == {"953619": "train", "953958": "test"}
    assert len({s.id for s in dpc}) == 15
    captions = load_set("ava_captions", tmp_path)
    assert [(s.text, s.split, s.extra["split"]) for s in captions.samples] == [("nice light", "test", "train")]
    assert captions.dropped == {"no text": 1}
    official = load_set("cgiaa", tmp_path).samples
    assert [s.attribute for s in official] == list(ATTRIBUTES)
    assert official[0].text == "color is fine" and official[0].split == "train"
    for sample in (*dpc, *captions.samples, *official):
        assert sample.image == (f"{tmp_path}/AVA/images/{sample.group}.jpg" if photos else None)


def test_critiques_of_ava_photos_are_texts_where_nothing_of_ava_is_there(tmp_path: Path) -> None:
    for name in ("color", "composition", "dof", "general"):
        rows = [{"id": 0, "img_id": "953958", "caption": f"{name} is fine"}]
        write(tmp_path / f"CG-IAA/{name}.json", json.dumps(rows))
    found = load_set("cgiaa", tmp_path)
    assert [(s.text, s.image, s.split) for s in found.samples[:1]] == [("color is fine", None, "train")]
    assert any("every text is to learn from" in line for line in found.description.warnings)
    photo(tmp_path / "AVA/images/953958.jpg")  # with the photos, which are held out must be known
    with pytest.raises(CgiaaError, match=r"generic_test\.jpgl: no such data set"):
        load_set("cgiaa", tmp_path)


def test_sets_of_the_data_folder(tmp_path: Path) -> None:
    scenes = tmp_path / "oasis_scenes"
    write(scenes / "labels.csv", "file,beauty_mean_1_7,beauty_sd,n_raters", "Bar_1.jpg,4.6,1.48,368")
    objects = tmp_path / "oasis_objects_animals"
    write(objects / "labels.csv", "file,category,beauty_mean_1_7,beauty_sd,n_raters", "Cat_1.jpg,Animal,4.8,1.4,140")
    photo(objects / "images/Cat_1.jpg")
    write(tmp_path / "biq2021/labels.csv", "file,subset,split,mos_0_1", "ss03_1.jpg,ss03,train,0.8002")
    write(tmp_path / "savoias/labels.csv", "file,category,complexity_0_100,split", "o.jpg,Objects,13,test")
    pair = {"votes_a": 3, "votes_b": 2, "crop_a_xywh": [69.1, 43.2, 192, 129], "crop_b_xywh": [87.9, 64.7, 192, 129]}
    row = {"file": "c.jpg", "width": 384, "height": 258, "split": "test", "best_crop_xywh": [81.6, 2.9, 222.7, 254.1]}
    write(tmp_path / "fcdb/labels.json", json.dumps([{**row, "pairs": [pair]}]))
    write(tmp_path / "coco/captions.jsonl", json.dumps({"file": "s.jpg", "caption": "Two dogs in the snow. "}))
    files = {"oasis_scenes": "Bar_1", "biq2021": "ss03_1", "savoias": "o", "fcdb": "c", "coco": "s"}
    photo(*(tmp_path / name / "images" / f"{file}.jpg" for name, file in files.items()))
    assert by_id(tmp_path, "oasis_scenes")["Bar_1.jpg"].labels == {"score": 4.6}
    assert by_id(tmp_path, "oasis_scenes")["Bar_1.jpg"].split == "test"
    assert by_id(tmp_path, "oasis_objects_animals")["Cat_1.jpg"].split == ""
    assert by_id(tmp_path, "biq2021")["ss03_1.jpg"].extra["subset"] == "ss03"
    assert by_id(tmp_path, "savoias")["o.jpg"].labels == {"complexity": 13}
    assert by_id(tmp_path, "fcdb")["c.jpg"].extra["pairs"] == [pair]
    assert by_id(tmp_path, "coco")["s.jpg"].text == "Two dogs in the snow."


def packed(path: Path, *rows: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def test_packed_critiques(tmp_path: Path) -> None:
    scores = {"score_1_10": 9.0, "overall_1_10": 9.1, "category": "food", "split": "validation"}
    row = {"id": "12_tart", "attribute": "composition", "field": "composition", "text": "a bit tight", **scores}
    packed(tmp_path / "critiques/pccd.jsonl.gz", row, {**row, "attribute": "subject"})
    comment = {"source": "food-iac", "attribute": "general", "text": "nice", "keyword_match": False}
    packed(
        tmp_path / "critiques/dpchallenge.jsonl.gz",
        {"id": "7", **comment, "split": "train"},
        {"id": None, **comment, "split": None},
    )
    text = {"field": "image_impression", "text": "I believe"}
    packed(tmp_path / "critiques/impressions.jsonl.gz", {"id": "00-dp_cap2_2", **text}, {"id": "00-dp", **text})
    first, second = load_set("pccd", tmp_path).samples
    assert (first.id, second.id, first.group, second.group) == ("12_tart", "12_tart#2", "12_tart", "12_tart")
    assert first.labels == {"score": 9, "overall": 9.1} and first.split == "val" and first.image is None
    assert [(s.id, s.split) for s in load_set("dpchallenge", tmp_path).samples] == [("7", "train"), ("row-2", "")]
    assert {s.group for s in load_set("impressions", tmp_path).samples} == {"00-dp"}


def test_every_description_is_read_and_tested() -> None:
    """A set without a test fails: its name must stand in this file or in that of the rendered photos."""
    here = Path(__file__).read_text() + Path(__file__).with_name("test_synthetic.py").read_text()
    names = set_names()
    assert len(names) == 22
    for name in names:
        assert f'"{name}"' in here, name
        with pytest.raises(CgiaaError, match=r"no such data set; see docs/data\.md"):
            load_set(name, "nowhere")


# --- plain manifests ---------------------------------------------------------------------------------------------


def as_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def as_jsonl(path: Path, rows: Sequence[dict[str, object]]) -> None:
    write(path, *(json.dumps(row) for row in rows))


def as_packed(path: Path, rows: Sequence[dict[str, object]]) -> None:
    packed(path, *rows)


def as_parquet(path: Path, rows: Sequence[dict[str, object]]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


@pytest.mark.parametrize(
    ("name", "save"),
    [("mine.csv", as_csv), ("mine.jsonl", as_jsonl), ("mine.jsonl.gz", as_packed), ("mine.parquet", as_parquet)],
)
def test_a_plain_manifest(tmp_path: Path, name: str, save: Callable[[Path, Sequence[dict[str, object]]], None]) -> None:
    votes = "0 0 0 0 5 5 0 0 0 0"
    rows: list[dict[str, object]] = [
        {"photo": "a.jpg", "score": 4.5, "stars": 3, "split": "train", "camera": "X1", "distribution": votes},
        {"photo": "sub/b.jpg", "score": 8.0, "stars": 5, "split": "validation", "camera": "9", "distribution": votes},
    ]
    save(tmp_path / name, rows)
    photo(tmp_path / "a.jpg", tmp_path / "sub/b.jpg")
    for found in (load_set(name, tmp_path), load_set(str(tmp_path / name), "elsewhere")):
        first, second = found.samples
        assert found.name == "mine"
        assert first.image == f"{tmp_path}/a.jpg" and second.image == f"{tmp_path}/sub/b.jpg"
        assert first.labels == {"score": 4.5, "stars": 3} and second.split == "val"
        assert first.distribution == (0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0)
        assert first.extra["camera"] == "X1"
        assert found.description.labels == {"score": (1, 10), "stars": (3, 5)}
        assert "range of stars" in found.description.warnings[0]


def test_critiques_in_a_plain_manifest(tmp_path: Path) -> None:
    rows = [
        {"photo": "a.jpg", "critique": "lovely light", "attribute": "color_light", "score": 8},
        {"photo": "a.jpg", "critique": "too tight", "attribute": "composition"},
        {"critique": "a text alone", "id": "x"},
        {"photo": "a.jpg", "critique": "  "},
    ]
    as_jsonl(tmp_path / "texts.jsonl", [{"id": f"t{i}", **row} for i, row in enumerate(rows)])
    photo(tmp_path / "a.jpg")
    found = load_set("texts.jsonl", tmp_path)
    assert [(s.id, s.text, s.attribute) for s in found.samples] == [
        ("t0", "lovely light", "color_light"),
        ("t1", "too tight", "composition"),
        ("x", "a text alone", None),
    ]
    assert found.samples[0].group == found.samples[1].group == "a.jpg"
    assert found.samples[2].image is None and found.dropped == {"no text": 1}


def shard(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for key, files in samples.items():
            for suffix, data in files.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def jpeg(level: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(data, "JPEG")
    return data.getvalue()


def test_webdataset_shards(tmp_path: Path) -> None:
    for i in range(2):
        samples = {
            f"{i}{j}": {"jpg": jpeg(40 * i + 9 * j), "json": b'{"score": 7, "split": "test"}', "txt": b"fine"}
            for j in range(2)
        }
        shard(tmp_path / f"part-{i:03d}.tar", samples)
    for name in ("part-{000..001}.tar", "part-*.tar", str(tmp_path / "part-*.tar")):
        found = load_set(name, tmp_path)
        assert [s.id for s in found.samples] == ["00", "01", "10", "11"]
        assert found.samples[3].labels == {"score": 7} and found.samples[3].text == "fine"
        assert found.samples[3].split == "test"
        assert read_image(str(found.samples[3].image)) == jpeg(49)
    with pytest.raises(FileNotFoundError):
        read_image(f"tar://none.jpg::{tmp_path}/part-000.tar")


def test_a_root_that_is_no_folder() -> None:
    files = {"mine.csv": b"photo,score\na.jpg,5\n", "a.jpg": jpeg(3)}
    for name, data in files.items():
        with fsspec.open(f"memory://bucket/{name}", "wb") as file:
            file.write(data)
    (sample,) = load_set("mine.csv", "memory://bucket").samples
    assert sample.image == "memory://bucket/a.jpg"
    assert read_image(sample.image) == files["a.jpg"]


def test_a_folder_of_photos(tmp_path: Path) -> None:
    photo(tmp_path / "photos/b.jpg", tmp_path / "photos/a.png")
    write(tmp_path / "photos/notes.txt", "no photo")
    assert [s.id for s in load_set("photos", tmp_path).samples] == ["a.png", "b.jpg"]


def test_a_description_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path / "club.csv", "picture;points;part", "a;7;held", "b;3;taught")
    photo(tmp_path / "prints/a.png", tmp_path / "prints/b.png")
    text = """
        title = "Our club"
        url = "none"
        licence = "ours"
        [[tables]]
        path = "club.csv"
        delimiter = ";"
        [columns]
        id = "picture"
        image = "prints/{picture}.png"
        split = "part"
        [labels]
        score = { column = "points", range = [0, 20] }
        [rules]
        splits = { held = "test", taught = "train" }
    """
    write(tmp_path / "club.toml", text)
    found = by_id(tmp_path, "club.toml")
    assert found["a"].split == "test" and found["a"].labels == {"score": 7}
    write(tmp_path / "club.toml", text.replace("[0, 20]", "[20, 0]").replace("splits =", "split =") + "otherwise = 3")
    faults = r"club\.toml: cannot be a set: rules: split is unknown; rules: otherwise may be .*; labels\.score: range"
    with pytest.raises(UsageError, match=faults):
        load_set("club.toml", tmp_path)


def test_a_split_of_our_own_keeps_groups_together() -> None:
    samples = [Sample(f"{i}", None, "", group=f"g{i // 3}") for i in range(900)]
    parts = split_by(samples, 0.1, 0.2)
    shares = [sum(s.split == name for s in parts) / 900 for name in ("train", "val", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.06)
    assert all(len({s.split for s in parts[i : i + 3]}) == 1 for i in range(0, 900, 3))
    assert split_by(samples, 0.1, 0.2) == parts
