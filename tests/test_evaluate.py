"""`cgiaa evaluate`: a user's own ratings, the baseline on the same photos, and what is said of each photo."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from cgiaa_models.judge import MobileNetV1
from cgiaa_training import weights
from cgiaa_training.data import CropEdit
from cgiaa_training.evaluate import BASELINES, Found, Look, look_of, measure, measure_manifest
from conftest import RunCli, picture

from cgiaa_cli import bundles
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.inference.engine import Engine

LEVELS = [0.15, 0.3, 0.45, 0.6, 0.7]


@pytest.fixture
def look(tiny_bundle: Path) -> Look:
    return look_of(Engine(bundles.load(str(tiny_bundle)), "cpu"))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Photos rated by how bright they are, as the small bundle scores; `dislike` is the reverse, `same` constant."""
    return write_ratings(tmp_path / "mine", {"stars": LEVELS, "dislike": LEVELS[::-1], "same": [3] * 5})


def write_ratings(folder: Path, columns: dict[str, Sequence[object]]) -> Path:
    folder.mkdir()
    for i, level in enumerate(LEVELS):
        picture(i, level).save(folder / f"{i}.jpg", quality=92)
    with (folder / "my.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", *columns])
        writer.writerows([f"{i}.jpg", *row] for i, row in enumerate(zip(*columns.values(), strict=True)))
    return folder / "my.csv"


def by_name(found: object) -> dict[str, Found]:
    return {one.name: one for one in found}  # type: ignore[attr-defined]


def test_own_ratings_are_compared_with_the_score(look: Look, mine: Path) -> None:
    found = by_name(measure_manifest(look, mine))
    stars, dislike = found["my stars by score"].numbers, found["my dislike by score"].numbers
    assert stars["srcc"] == 1 and dislike["srcc"] == -1 and stars["n"] == 5
    assert stars["plcc"] > 0.95 and stars["plcc_95"][0] <= stars["plcc"] <= stars["plcc_95"][1]


def test_a_column_named_as_a_quantity_is_compared_with_that(look: Look, tmp_path: Path) -> None:
    manifest = write_ratings(tmp_path / "own", {"color_light": [1, 2, 3, 4, 5], "technical": [5, 3, 4, 2, 1]})
    found = by_name(measure_manifest(look, manifest))
    assert found["my color_light"].numbers["srcc"] == 1
    sharpness = look([(p, None) for p in sorted(manifest.parent.glob("*.jpg"))])["technical"]
    assert found["my technical"].predicted == tuple(sharpness)


def test_distributions_are_measured_as_such(look: Look, tmp_path: Path) -> None:
    shares = np.eye(10)[[1, 3, 5, 7, 9]]
    manifest = write_ratings(tmp_path / "own", {"distribution": [" ".join(map(str, row)) for row in shares]})
    numbers = by_name(measure_manifest(look, manifest))["my distribution"].numbers
    assert numbers["srcc"] == 1 and 0 < numbers["accuracy"] <= 1 and 0 < numbers["emd"] < 9
    assert numbers["emd_95"][0] <= numbers["emd"] <= numbers["emd_95"][1]


def test_only_the_test_photos_of_a_split_manifest_count(look: Look, tmp_path: Path) -> None:
    split = ["train", "test", "test", "train", "test"]
    manifest = write_ratings(tmp_path / "own", {"stars": LEVELS, "split": split})
    assert by_name(measure_manifest(look, manifest))["my test stars by score"].numbers["n"] == 3


def test_an_unreadable_photo_is_named_and_left_out(look: Look, mine: Path) -> None:
    (mine.parent / "2.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (mine.parent / "3.jpg").unlink()
    said: list[str] = []
    found = by_name(measure_manifest(look, mine, say=said.append))
    assert found["my stars by score"].numbers["n"] == 3
    assert len(said) == 2 and "2.jpg: " in said[0] and "3.jpg: No such file" in said[1]


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> MobileNetV1:
    """NIMA with other weights, as those of the published one are not at hand in CI."""
    torch.manual_seed(0)
    judge = MobileNetV1().eval().requires_grad_(False)
    monkeypatch.setattr(weights, "load_judge", lambda: judge)
    return judge


def test_the_baseline_sees_the_same_photos_with_its_own_preprocessing(
    look: Look, mine: Path, untrained: MobileNetV1
) -> None:
    found = by_name(measure_manifest(look, mine, baselines=["nima"]))
    ours, theirs = found["my stars by score"], found["my stars by score, nima"]
    assert (theirs.photos, theirs.truth) == (ours.photos, ours.truth) and theirs.predicted != ours.predicted
    from PIL import Image

    photo = Image.open(mine.parent / "0.jpg").resize((224, 224), Image.Resampling.NEAREST)
    x = torch.from_numpy(np.asarray(photo).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    expected = (untrained.distribution(untrained.features(x)) @ torch.arange(1.0, 11.0)).item()
    assert theirs.predicted[0] == pytest.approx(expected, abs=1e-3)


def test_the_baseline_can_judge_crops_and_damage_too(look: Look, tmp_path: Path, untrained: MobileNetV1) -> None:
    folder = tmp_path / "data" / "oasis_scenes"
    write_ratings(tmp_path / "own", {"stars": LEVELS})
    (tmp_path / "data").mkdir()
    (tmp_path / "own").rename(folder)
    (folder / "images").mkdir()
    for photo in folder.glob("*.jpg"):
        photo.rename(folder / "images" / photo.name)
    rows = "".join(f"{i}.jpg,{1 + level}\n" for i, level in enumerate(LEVELS))
    (folder / "labels.csv").write_text("file,beauty_mean_1_7\n" + rows)
    found = by_name(measure(look, tmp_path / "data", ["oasis_scenes", "damage"], baselines=["nima"]))
    assert {"oasis_scenes score", "oasis_scenes score, nima"} < set(found)
    shares = found["share of copies scored lower, dark, nima"].numbers
    assert shares["color_light"] == shares["general"]  # it has one number only


def test_smartcrop_scores_crops_as_it_does_by_itself_and_nothing_else(
    look: Look, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image
    from smartcrop import SmartCrop

    photo = mine.parent / "0.jpg"
    image = Image.fromarray(decode(photo.read_bytes()).view)
    theirs = SmartCrop().analyse(image, image.width // 2, image.height // 2, step=16)["crops"]
    assert len({crop["score"] for crop in theirs}) > 3
    boxes = [(crop["x"], crop["y"], crop["width"], crop["height"]) for crop in theirs]
    ours = BASELINES["smartcrop"]()([(photo, CropEdit(box)) for box in boxes])["composition"]
    assert ours == pytest.approx([crop["score"] for crop in theirs])
    assert BASELINES["smartcrop"]()([(photo, None)])["composition"].shape == (1,)
    with pytest.raises(UsageError, match="judges crops only; ask it with --on fcdb_pairs --on fcdb_crop"):
        list(measure_manifest(look, mine, baselines=["smartcrop"]))
    monkeypatch.setitem(sys.modules, "smartcrop", None)
    with pytest.raises(CgiaaError, match="smartcrop is not installed; pip install smartcrop"):
        BASELINES["smartcrop"]()


def test_an_unknown_baseline_is_refused(look: Look, mine: Path) -> None:
    with pytest.raises(UsageError, match="no such baseline: clip; choose from nima, smartcrop"):
        list(measure_manifest(look, mine, baselines=["clip"]))


def test_rank_errors_tell_too_high_from_too_low() -> None:
    found = Found("x", {}, ("a", "b", "c"), (3.0, 1.0, 2.0), (1.0, 2.0, 3.0))
    assert found.rank_errors() == [1.0, -0.5, -0.5]


def test_the_command_scores_own_ratings(run_cli: RunCli, mine: Path, tmp_path: Path) -> None:
    done = run_cli("evaluate", "--manifest", mine, "--format", "json", "--photos", tmp_path / "each.csv")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["my stars by score"]["srcc"] == 1
    assert found["my same by score"]["srcc"] is None  # not NaN, which is no JSON
    with (tmp_path / "each.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15 and {row["photo"] for row in rows} == {str(mine.parent / f"{i}.jpg") for i in range(5)}
    worst = [abs(float(row["rank_error"])) for row in rows if "dislike" in row["result"]]
    assert worst == sorted(worst, reverse=True) and worst[0] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--manifest", "none.csv"], "none.csv: no such manifest"),
        (["--manifest", "x.csv", "--on", "savoias"], "exclude each other"),
        (["--manifest", "x.csv", "--record"], "--record is for"),
    ],
)
def test_what_cannot_be_is_one_line(run_cli: RunCli, arguments: list[str], said: str) -> None:
    done = run_cli("evaluate", *arguments)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and said in done.stderr


def test_no_ratings_at_all_are_refused(look: Look, tmp_path: Path) -> None:
    manifest = write_ratings(tmp_path / "own", {"mood": ["a", "b", "c", "d", "e"]})
    with pytest.raises(UsageError, match="no rated photo in my; give a column"):
        list(measure_manifest(look, manifest))
