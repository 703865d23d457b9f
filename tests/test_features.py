"""What the frozen towers see of photos is kept, and is of the photos, edits and weights that were asked about."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from cgiaa_models.student import FEATURES, LATE, Towers
from cgiaa_models.towers import Wide
from cgiaa_training import distill as stage
from cgiaa_training import features, files, held_out, vlap
from cgiaa_training.damage import DAMAGES
from cgiaa_training.data import CropEdit, Job, read_photo, stamps
from cgiaa_training.distill import DistillConfig, distill
from cgiaa_training.expert_data import features_of
from cgiaa_training.features import Frozen, extract_wide
from cgiaa_training.loop import Run
from cgiaa_training.recipe import Recipe
from cgiaa_training.run import Context
from cgiaa_training.tune import Lesson
from conftest import picture
from numpy.typing import NDArray
from PIL import Image

from cgiaa_cli import bundles
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.imaging.measure import MEASURES
from cgiaa_cli.imaging.preprocess import prepare
from cgiaa_cli.inference.engine import Engine

Array = NDArray[Any]


class Taught(Exception):
    """Carries what the student would learn from."""


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Towers that see how bright a photo is; how many photos they were shown at a time."""
    shown: list[int] = []

    def look(_: Frozen, inputs: Mapping[str, Array], mirror: bool) -> tuple[Array, Array]:
        bright = inputs["photo"].mean((1, 2, 3))
        shown.append(len(bright))
        stem = np.ones((len(bright), 1 + mirror, *features.STEM)) * bright[:, None, None, None, None]
        return stem, np.ones((len(bright), FEATURES - LATE - len(MEASURES))) * bright[:, None]

    def late_features(_: Towers, stems: Array) -> NDArray[np.float32]:
        return np.asarray(stems[:, 0, 0, 0, :1], np.float32).repeat(LATE, 1)

    def tune(_: object, lesson: Lesson, run: Run) -> None:
        raise Taught(lesson, run.key)

    monkeypatch.setattr(Frozen, "_look", look)
    monkeypatch.setattr(stage, "late_features", late_features)
    monkeypatch.setattr(stage, "tune", tune)
    return shown


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight photos, the first the darkest, and mine.csv, which names them."""
    (tmp_path / "data" / "p").mkdir(parents=True)
    for i in range(8):
        picture(i, 0.1 + 0.08 * i).save(tmp_path / "data" / "p" / f"{i}.jpg")
    rows(tmp_path / "data" / "mine.csv", range(8))
    return tmp_path / "data"


def rows(path: Path, numbers: Sequence[int], label: str = "score") -> None:
    path.write_text(f"photo,{label}\n" + "".join(f"p/{i}.jpg,{1 + i}\n" for i in numbers))


def learning(rated: str, *photos: str) -> DistillConfig:
    return DistillConfig((rated,), crops="", photos=photos, weights="random", teacher_features=0)


def key(data: Path, run: Path) -> str:
    """What a checkpoint of the tuning is of."""
    with pytest.raises(Taught) as caught:
        distill(data, run, learning("mine.csv"), say=lambda _: None)
    return str(caught.value.args[1])


def brightness(data: Path, run: Path, name: str = "mine.csv") -> Array:
    """(N,) what the student would learn from, as `looked` sees it."""
    with pytest.raises(Taught) as caught:
        distill(data, run, learning(name), say=lambda _: None)
    lesson: Lesson = caught.value.args[0]
    return np.concatenate([stems[:, 0, 0, 0, 0] for stems in lesson.stems])


def test_labels_and_features_stay_together_when_the_set_changes(data: Path, tmp_path: Path, looked: list[int]) -> None:
    first = brightness(data, tmp_path / "run")
    assert (np.diff(first) > 0).all() and len(looked) == 1
    assert np.array_equal(brightness(data, tmp_path / "run"), first) and len(looked) == 1  # kept
    rows(data / "mine.csv", range(7, -1, -1))
    assert np.array_equal(brightness(data, tmp_path / "run"), first[::-1])
    rows(data / "mine.csv", range(2, 8))
    assert np.array_equal(brightness(data, tmp_path / "run"), first[2:])
    picture(9, 0.9).save(data / "p" / "2.jpg")
    changed = brightness(data, tmp_path / "run")
    assert changed[0] > first[7] and np.array_equal(changed[1:], first[3:])


def test_a_checkpoint_is_of_the_photos_and_ratings(data: Path, tmp_path: Path, looked: list[int]) -> None:
    first = key(data, tmp_path / "run")
    assert first and key(data, tmp_path / "run") == first
    (data / "mine.csv").write_text((data / "mine.csv").read_text().replace("p/3.jpg,4", "p/3.jpg,5"))
    second = key(data, tmp_path / "run")
    picture(9, 0.9).save(data / "p" / "2.jpg")
    assert len({first, second, key(data, tmp_path / "run")}) == 3


def test_a_bundle_says_what_nobody_rated(data: Path, tmp_path: Path, looked: list[int]) -> None:
    opinions = []
    for teacher in ("", "default"):
        with pytest.raises(Taught) as caught:
            config = replace(learning("mine.csv"), teacher=teacher, ridge_technical=1e-4, ridge_complexity=1e-4)
            distill(data, tmp_path / "run", config, say=lambda _: None)
        opinions.append(caught.value.args[0].opinions)
    assert not opinions[0][:, 1:].any() and np.array_equal(opinions[0][:, 0], opinions[1][:, 0])
    photos = [prepare(read_photo(data / "p" / f"{i}.jpg")) for i in range(8)]
    said = Engine(bundles.load("default"), "cpu").run(photos)
    assert np.ptp([s.technical for s in said]) > 0.1
    bright = np.argsort([p.photo.mean() for p in photos])  # all that a tower sees here
    slope = np.polyfit(bright, [s.technical for s in said], 1)[0]
    assert np.corrcoef(opinions[1][:, 1], bright)[0, 1] * slope > 0


def test_features_change_with_edits_and_weights(data: Path, tmp_path: Path, looked: list[int]) -> None:
    photos = sorted(map(str, (data / "p").iterdir()))
    torch.manual_seed(0)
    towers = Towers()
    edits = [None, *DAMAGES.values(), CropEdit((0, 0, 90, 90)), CropEdit((0, 0, 90, 95)), CropEdit((200, 0, 90, 90))]
    edits += [lambda p: p // 2, lambda p: p // 3]  # two of one name
    for edit in edits * 2:
        Frozen(towers).extract([(photo, edit) for photo in photos], tmp_path / "f", "a", say=lambda _: None)
    assert len(looked) == len(edits) == len(list((tmp_path / "f").glob("*.stem.npy")))
    jobs: list[Job] = [(photo, None) for photo in photos]
    Frozen(towers).extract(jobs, tmp_path / "f", "a", mirror=True)
    frozen = Frozen(towers)
    with torch.no_grad():
        towers.judge.stem[1].running_mean += 1
    frozen.extract(jobs, tmp_path / "f", "a")  # what was learnt since does not count
    assert len(looked) == len(edits) + 1
    Frozen(towers).extract(jobs, tmp_path / "f", "a")
    assert len(looked) == len(edits) + 2


def test_the_teacher_too_sees_the_photos_that_it_is_asked_about(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_session", lambda *_: lambda _, feed: [feed["photo"].mean((1, 2, 3))[:, None]])
    jobs: list[Job] = [(data / "p" / f"{i}.jpg", None) for i in range(8)]
    seen = [
        features.extract_teacher(torch.nn.Linear(1, 1), some, tmp_path, "/x/mine.csv")[:, 0].tolist()
        for some in (jobs, jobs[::-1], jobs[:3])
    ]
    assert seen == [sorted(seen[0]), seen[0][::-1], seen[0][:3]]
    assert all(path.name.startswith("_x_mine_csv-") for path in tmp_path.glob("*.npy"))


@pytest.mark.parametrize("name", ["{data}/mine.csv", "../data/mine.csv", "sub/mine.csv", "{data}/p"])
def test_nothing_is_written_outside_the_run(data: Path, tmp_path: Path, looked: list[int], name: str) -> None:
    (data / "sub" / "p").mkdir(parents=True)
    shutil.copytree(data / "p", data / "sub" / "p", dirs_exist_ok=True)
    shutil.copy(data / "mine.csv", data / "sub")
    before = sorted(data.rglob("*"))
    with pytest.raises(Taught):
        distill(data, tmp_path / "run", learning("mine.csv", name.format(data=data)), say=lambda _: None)
    assert sorted(data.rglob("*")) == before
    kept = list((tmp_path / "run" / "features").iterdir())
    assert len(kept) == 4 and all(path.is_file() for path in kept)


def test_shards_and_addresses_teach_what_a_folder_does(data: Path, tmp_path: Path, looked: list[int]) -> None:
    with tarfile.open(data / "part-0.tar", "w") as archive:
        for i in range(8):
            for suffix, raw in (("jpg", (data / "p" / f"{i}.jpg").read_bytes()), ("json", b'{"score": %d}' % (1 + i))):
                member = tarfile.TarInfo(f"{i}.{suffix}")
                member.size = len(raw)
                archive.addfile(member, io.BytesIO(raw))
    for path in [data / "mine.csv", *(data / "p").iterdir()]:
        with fsspec.open(f"memory://features/{path.relative_to(data)}", "wb") as file:
            file.write(path.read_bytes())
    first = brightness(data, tmp_path / "run")
    for name in ("part-0.tar", "part-{0..0}.tar", "memory://features/mine.csv"):
        assert np.array_equal(brightness(data, tmp_path / "run", name), first)
    before = stamps([("memory://features/p/0.jpg", None)])
    with fsspec.open("memory://features/p/0.jpg", "wb") as file:
        file.write((data / "p" / "1.jpg").read_bytes())
    assert stamps([("memory://features/p/0.jpg", None)]) != before


@pytest.mark.parametrize("cause", ["no such photo", "too early"])
def test_a_photo_that_is_missing_or_damaged_is_named(
    data: Path, tmp_path: Path, looked: list[int], monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    bad = data / "p" / "3.jpg"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    with tarfile.open(data / "part-0.tar", "w") as archive:
        archive.add(bad, "3.jpg" if cause == "too early" else "4.jpg")
    if cause == "no such photo":
        bad.unlink()
    mend = "put it back, or leave out all such photos with cgiaa train data check SET --data DIR --leave-out"
    with pytest.raises(CgiaaError, match=rf"^{bad}: .*{cause}.*; {mend}") as caught:
        distill(data, tmp_path / "run", learning("mine.csv"), say=lambda _: None)
    assert caught.value.exit_code == 2
    with pytest.raises(CgiaaError, match=rf"^{bad}: .*{cause}.*; {mend}"):
        held_out.inputs([str(bad)])
    with pytest.raises(CgiaaError, match=rf"^{bad}: .*{cause}.*; {mend}"):
        points_of(bad, "squeeze", monkeypatch)
    with pytest.raises(CgiaaError, match=rf"^tar://3\.jpg::{data}/part-0\.tar: .*{cause}.*; {mend}"):
        read_photo(f"tar://3.jpg::{data}/part-0.tar")


def test_a_photo_that_cannot_be_opened_or_lacks_a_package_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "p" / "folder.jpg").mkdir()
    with pytest.raises(CgiaaError, match=r"folder\.jpg: cannot be read \(Is a directory\); put it back"):
        read_photo(data / "p" / "folder.jpg")
    with pytest.raises(CgiaaError, match=r"^nowhere://a\.jpg: cannot be read \(Protocol not known.*\); put it back"):
        read_photo("nowhere://a.jpg")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "TIFF")
    (data / "p" / "a.nef").write_bytes(buffer.getvalue())  # only its name tells that it is none
    with pytest.raises(CgiaaError, match=r"a\.nef: .*pip install"):
        read_photo(str(data / "p" / "a.nef"))


def points_of(photo: Path, resize: str, monkeypatch: pytest.MonkeyPatch) -> Array:
    """(3,) where experts see a photo, with towers that see its mean colour."""
    towers = SimpleNamespace(dim=3, image=SimpleNamespace(size=(8, 8)), to=lambda _: towers)
    towers.encode_image = lambda pixels: pixels.float().mean((1, 2)) / 255
    monkeypatch.setattr(vlap, "load", lambda _: towers)
    monkeypatch.setattr(Context, "results", lambda *_: {})
    context = Context(SimpleNamespace(vlap=SimpleNamespace(resize=resize)), Path(), Path())  # type: ignore[arg-type]
    return features_of(context, [SimpleNamespace(source=SimpleNamespace(image=str(photo)))])[0]  # type: ignore[list-item]


def test_experts_see_photos_cut_where_the_towers_saw_them_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, :40, 0], pixels[:, 40:80, 1], pixels[:, 80:, 2] = 255, 255, 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert np.allclose(points_of(tmp_path / "wide.png", "squeeze", monkeypatch), 1 / 3, atol=0.05)
    assert np.allclose(points_of(tmp_path / "wide.png", "cut", monkeypatch), [0, 1, 0], atol=0.1)


def test_a_full_disk_is_told_before_anything_is_computed(
    data: Path, tmp_path: Path, looked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = [(data / "p" / "0.jpg", None)] * 3000
    Usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 9 * 10**8, 10**8))
    with pytest.raises(
        CgiaaError, match=r"f: keeping what the towers see of a needs 0\.\d GB, 0\.1 GB are free; free 0"
    ):
        Frozen(Towers()).extract(jobs, tmp_path / "f", "a", mirror=True)
    assert not looked and not list((tmp_path / "f").iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP])
def test_the_room_is_reserved_where_that_can_be_done(
    data: Path, tmp_path: Path, looked: list[int], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked: Counter[int] = Counter()

    def fallocate(_: int, start: int, count: int) -> None:
        asked[count - start] += 1
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "posix_fallocate", fallocate, raising=False)
    jobs: list[Job] = [(data / "p" / f"{i}.jpg", None) for i in range(8)]
    frozen = Frozen(Towers())
    if number == errno.EOPNOTSUPP:
        assert frozen.extract(jobs, tmp_path / "f", "a")[0].shape == (8, 1, *features.STEM)
    else:
        with pytest.raises(CgiaaError, match=r"f: .* of a needs 0\.4 MB \(.*\); free 0\.4 MB or name another --out"):
            frozen.extract(jobs, tmp_path / "f", "a")
        assert not looked and not list((tmp_path / "f").iterdir())
    assert list(asked) == [128 + 2 * 8 * 120 * 15 * 15]


def test_a_column_by_another_name_is_told(data: Path, tmp_path: Path) -> None:
    rows(data / "mine.csv", range(8), "rating")
    wanted = "no label to learn; it has rating; call the column of ratings score, technical, complexity, color_light"
    with pytest.raises(UsageError, match=rf"^mine\.csv: {wanted}"):
        distill(data, tmp_path / "run", learning("mine.csv"), say=lambda _: None)
    (data / "mine.csv").write_text("photo,score,split\n" + "".join(f"p/{i}.jpg,{1 + i},test\n" for i in range(8)))
    with pytest.raises(UsageError, match=r"no photo to learn from \(split train, or no split\) has a score; .* score;"):
        distill(data, tmp_path / "run", learning("mine.csv"), say=lambda _: None)


def test_too_little_memory_is_told_first(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "COPIES", 10**7)
    with pytest.raises(CgiaaError, match=r"see of 8 photos needs \d+\.\d GB of memory, .* are free; "):
        distill(data, tmp_path / "run", learning("mine.csv"), say=lambda _: None)
    assert not list((tmp_path / "run").rglob("*.npy"))


def test_a_wide_tower_is_asked_once_for_each_set_and_stays_itself(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    wide = Wide({"kind": "timm", "name": "test_vit", "size": [160, 160]}).eval()
    jobs: list[Job] = [(data / "p" / f"{i}.jpg", None) for i in range(3)]
    told: list[str] = []
    first = extract_wide(wide, jobs, tmp_path, "wide-a", "cpu", told.append)
    assert first.shape == (3, wide.width) and len(told) == 1
    assert np.array_equal(extract_wide(wide, jobs, tmp_path, "wide-a", "cpu", told.append), first) and len(told) == 1
    with torch.inference_mode():
        photos = np.stack([prepare(read_photo(place)).photo for place, _ in jobs])
        np.testing.assert_allclose(first, wide(torch.from_numpy(photos)).numpy(), atol=0.02)
        wide.tower.trunk.patch_embed.proj.weight.mul_(-1)  # type: ignore[union-attr, operator]
    assert not np.array_equal(extract_wide(wide, jobs, tmp_path, "wide-a", "cpu", told.append), first)


def test_a_bundle_is_asked_of_some_photos_only(
    data: Path, tmp_path: Path, looked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "TOLD", 5)
    monkeypatch.setattr(stage, "AT_ONCE", 2)
    teaching = stage._Distilling(
        stage._Here(Recipe("x", distill=replace(learning("mine.csv"), teacher="default")), data, tmp_path),
        replace(learning("mine.csv"), teacher="default"),
    )
    labels = teaching._labels()
    known = np.isfinite(labels["technical"])
    assert known.sum() == 5 and np.array_equal(known, np.isfinite(labels["complexity"]))
    photos = [prepare(read_photo(data / "p" / f"{i}.jpg")) for i in np.flatnonzero(known)]
    said = [s.technical for s in Engine(bundles.load("default"), "cpu").run(photos)]
    np.testing.assert_allclose(labels["technical"][known], said, atol=1e-3)
