"""Eyes that are closed in one frame of a group and open in others, and the keeper that follows."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from cgiaa_cli.cache.maintain import prune
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation.groups import Group
from cgiaa_cli.curation.groups_keeper import keeper_of, keeper_reason, reason_for
from cgiaa_cli.curation.groups_photos import Photos
from cgiaa_cli.curation.groups_reasons import group_rows
from cgiaa_cli.imaging import faces
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.imaging.faces import Eyes, Face, closed_eyes, find_faces
from tests.test_groups import different, make

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location("benchmark_of_faces", ROOT / "benchmarks" / "faces.py")
assert _spec is not None and _spec.loader is not None
drawing = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = drawing  # dataclasses look for the module of their class
_spec.loader.exec_module(drawing)

PUPILS = np.array([[203, 100.5], [247.5, 104]], np.float32)


@pytest.fixture(scope="module")
def astronaut() -> Any:
    image = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    return drawing.Portrait("astronaut", "open", image, PUPILS)


@pytest.fixture(scope="module")
def files(astronaut: Any) -> list[bytes]:
    """A burst: open, closed, open, open."""
    chance = np.random.default_rng(0)
    shut = replace(astronaut, image=drawing.drawn(astronaut))
    return [drawing.hand_held(shut if i == 1 else astronaut, chance).data for i in range(4)]


@pytest.fixture(scope="module")
def frames(files: list[bytes]) -> list[list[Face]]:
    return [find_faces(decode(file).luma) for file in files]


def grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


# one frame


@pytest.mark.parametrize("enlarged", [1, 8])
def test_a_face_and_its_eyes_are_found(astronaut: Any, enlarged: int) -> None:
    image = cv2.resize(astronaut.image, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)
    (face,) = find_faces(grey(image))
    assert abs(face.x - 225 / 512) < 0.02 and abs(face.y - 112 / 512) < 0.03 and 0.15 < face.size < 0.25
    assert face.patch.shape == (faces.WHOLE, faces.WHOLE) and face.eyes is not None
    left, top, side = (face.x - face.size / 2) * 512, (face.y - face.size / 2) * 512, face.size * 512
    for eye, pupil in zip(face.eyes, PUPILS, strict=True):
        at = np.array([left, top]) + (np.array(eye) - faces.MARGIN) * side / faces.SIDE
        assert np.hypot(*(at - pupil)) < 4


def test_a_face_at_the_edge(astronaut: Any) -> None:
    cut = grey(astronaut.image)[62:, 172:]  # a bit outside of the face's box
    assert len(find_faces(np.ascontiguousarray(cut))) <= 1
    big = cv2.resize(cut, None, fx=6, fy=6)
    assert len(find_faces(np.asarray(big, np.uint8))) <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (47, 47), (48, 48), (20, 4000), (4000, 60)])
def test_hostile_sizes(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert closed_eyes([find_faces(noise)] * 2) == [Eyes(0, 0)] * 2


def test_what_is_no_face() -> None:
    for image in (data.coffee()[..., 0], data.brick(), np.zeros((300, 300), np.uint8), data.moon()):
        seen = find_faces(np.ascontiguousarray(image))
        assert not any(eyes.closed for eyes in closed_eyes([seen, seen]))


# a group


def test_closed_in_one_frame(frames: list[list[Face]]) -> None:
    assert closed_eyes(frames) == [Eyes(1, 0), Eyes(1, 1), Eyes(1, 0), Eyes(1, 0)]
    assert closed_eyes(frames[:2]) == [Eyes(1, 0), Eyes(1, 1)]
    assert closed_eyes([frames[1], frames[0]]) == [Eyes(1, 1), Eyes(1, 0)]


def test_nothing_is_said_where_nothing_is_sure(frames: list[list[Face]]) -> None:
    shut, opened = frames[1], frames[0]
    assert closed_eyes([opened, frames[2], frames[3]]) == [Eyes(1, 0)] * 3
    assert closed_eyes([shut, shut]) == [Eyes(1, 0)] * 2
    assert closed_eyes([shut]) == [Eyes(0, 0)] and closed_eyes([]) == []
    # in half of the frames, or at another place: no face of the group
    assert closed_eyes([opened, shut, [], []]) == [Eyes(0, 0)] * 4
    assert closed_eyes([opened, [replace(shut[0], x=0.9)]]) == [Eyes(0, 0)] * 2
    assert closed_eyes([opened, [replace(shut[0], size=3 * shut[0].size)]]) == [Eyes(0, 0)] * 2
    # covered, another face, or nothing at all where it was
    flat = np.full_like(opened[0].patch, 128)
    noise = np.random.default_rng(0).integers(0, 256, flat.shape, np.uint8)
    for patch in (flat, noise, opened[0].patch[::-1].copy()):
        assert not any(eyes.closed for eyes in closed_eyes([opened, [replace(opened[0], patch=patch)]]))
    # no eyes that surely are open
    dull = replace(opened[0], patch=cv2.GaussianBlur(opened[0].patch, (0, 0), 12))
    assert closed_eyes([[dull], [dull]]) == [Eyes(1, 0)] * 2


def test_two_faces_are_told_apart(frames: list[list[Face]]) -> None:
    def both(here: int, there: int) -> list[Face]:
        return [frames[here][0], replace(frames[there][0], x=frames[there][0].x + 0.5)]

    assert closed_eyes([both(0, 2), both(1, 0), both(2, 1)]) == [Eyes(2, 0), Eyes(2, 1), Eyes(2, 1)]


# the keeper


def of(values: list[float], eyes: dict[int, Eyes], technical: tuple[float, ...] = ()) -> Photos:
    technical = technical or (5.0,) * len(values)
    photos = make([different(i, score=v, technical=t) for i, (v, t) in enumerate(zip(values, technical, strict=True))])
    photos.eyes = eyes
    return photos


def test_the_keeper_has_open_eyes_where_that_costs_little() -> None:
    def keeper(values: list[float], *eyes: Eyes) -> int:
        return keeper_of(of(values, dict(enumerate(eyes))), "burst", range(len(values)))

    shut, opened = Eyes(1, 1), Eyes(1, 0)
    assert keeper([6.0, 5.6, 5.4], opened, shut, opened) == 0
    assert keeper([6.0, 5.6, 5.4], shut, opened, opened) == 1
    assert keeper([6.0, 5.6, 5.7], shut, opened, shut) == 1
    assert keeper([6.0, 5.4], shut, opened) == 0  # it costs too much
    assert keeper([6.0, 5.9], shut, Eyes(0, 0)) == 0  # its face is not found there
    assert keeper([6.0, 5.9], shut) == 0  # it was not looked at
    assert keeper([6.0, 5.9, 5.8], Eyes(3, 2), Eyes(3, 1), Eyes(3, 0)) == 2
    assert keeper([6.0, 5.9, 5.3], Eyes(3, 2), Eyes(3, 1), Eyes(3, 0)) == 1
    level = of([6.0, 5.8, 5.75], {0: shut, 1: opened, 2: opened}, (5.0, 5.0, 6.0))
    assert keeper_of(level, "burst", range(3)) == 2


def test_reasons() -> None:
    photos = of([6.0, 5.8, 5.75, 5.7], {0: Eyes(1, 1), 1: Eyes(1, 0), 2: Eyes(1, 0), 3: Eyes(1, 0)})
    assert keeper_reason(photos, "burst", range(4), 1) == "ranks highest of those with open eyes"
    assert keeper_reason(photos, "burst", range(4), 2).startswith("ranks as high as the best of those with open eyes")
    assert keeper_reason(photos, "burst", range(4), 0) == "ranks highest of the group, though eyes closed"
    assert reason_for(photos, "burst", 1, 0) == "eyes closed, scores 0.20 higher, as good as equal"
    assert reason_for(photos, "burst", 1, 3).startswith("scores 0.10 lower")
    photos.eyes = {0: Eyes(3, 2), 1: Eyes(3, 1)}
    assert reason_for(photos, "burst", 1, 0).startswith("2 of 3 have the eyes closed, ")
    said = keeper_reason(photos, "burst", range(2), 1)
    assert said == "ranks highest of those with the fewest closed eyes, though 1 of 3 has the eyes closed"


def test_copies_have_the_eyes_of_the_one_that_was_looked_at() -> None:
    photos = of([6.0, 5.8, 5.7], {0: Eyes(3, 0), 1: Eyes(3, 2)})
    group = Group("0" * 8, "burst", 0, (0, 1, 2), (0, 1, 1))
    (row,) = group_rows(photos, [group], lambda path, error: None, measure=False)
    assert [member["closed_eyes"] for member in row["members"]] == [0, 2, 2]


# the commands


@pytest.fixture
def burst(tmp_path: Path, files: list[bytes]) -> Path:
    """Four frames, that with closed eyes a bit lighter: the small network ranks it highest."""
    folder = tmp_path / "burst"
    folder.mkdir()
    for i, file in enumerate(files):
        image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR).astype(np.float32)
        image *= (118 if i == 1 else 110 + i) / image.mean()
        assert cv2.imwrite(str(folder / f"IMG_000{i}.jpg"), image.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture
def without() -> Iterator[None]:
    """The extra is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cv2", None)
        faces.available.cache_clear()
        yield
    faces.available.cache_clear()


def closed(out: str) -> dict[str, int | None]:
    (group,) = json.loads(out)
    return {Path(member["path"]).name: member["closed_eyes"] for member in group["members"]}


def listed(out: str) -> tuple[str, dict[str, str]]:
    (group,) = json.loads(out)
    return Path(group["keeper"]).name, {Path(m["path"]).name: m["reason"] for m in group["members"]}


def test_groups_and_rank_keep_open_eyes(cgiaa: Any, burst: Path, tmp_path: Path) -> None:
    out = cgiaa("groups", burst, "--format", "json", "--no-measure")[1]
    assert listed(out)[0] == "IMG_0001.jpg" and set(closed(out).values()) == {None}
    # looked at for the first time by `rank`; then what is in the cache serves both
    ranked = cgiaa("rank", burst, "--one-per-group", "--format", "paths")[1]
    assert ranked != f"{burst}/IMG_0001.jpg\n" and ranked.count("\n") == 1
    for options in (["--no-measure"], [], ["--no-scan"]):
        code, out, err = cgiaa("groups", burst, "--format", "json", *options)
        keeper, reasons = listed(out)
        assert (code, err) == (0, "") and f"{burst}/{keeper}\n" == ranked
        assert reasons["IMG_0001.jpg"].startswith("eyes closed, ")
        assert sum("eyes closed" in reason for reason in reasons.values()) == 1
        assert closed(out) == {f"IMG_000{i}.jpg": int(i == 1) for i in range(4)}
        assert "of those with open eyes" in reasons[keeper]
    assert cgiaa("rank", burst, "--one-per-group", "--no-scan", "--format", "paths")[1] == ranked
    (burst / "IMG_0003.jpg").unlink()
    with Cache.open(tmp_path / "cache.sqlite") as cache:
        assert prune(cache).eyes == 1


def test_a_frame_that_cannot_be_opened(cgiaa: Any, burst: Path) -> None:
    cgiaa("scan", burst)
    (burst / "IMG_0003.jpg").unlink()
    code, out, err = cgiaa("groups", burst, "--no-scan", "--format", "json")
    assert code == 3 and err.count("IMG_0003.jpg") == 1
    assert listed(out)[1]["IMG_0001.jpg"].startswith("eyes closed, ")


def test_many_photos_are_opened_only_when_asked(cgiaa: Any, burst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cgiaa_cli.curation import groups_eyes

    monkeypatch.setattr(groups_eyes, "MEASURED_PHOTOS", 3)
    assert listed(cgiaa("groups", burst, "--format", "json")[1])[0] == "IMG_0001.jpg"
    assert listed(cgiaa("groups", burst, "--format", "json", "--measure")[1])[0] != "IMG_0001.jpg"


@pytest.mark.usefixtures("without")
def test_without_the_extra(cgiaa: Any, burst: Path) -> None:
    assert not faces.available()
    code, out, err = cgiaa("groups", burst, "--format", "json")
    keeper, reasons = listed(out)
    assert (code, err, keeper) == (0, "", "IMG_0001.jpg") and "eyes" not in str(reasons)
    assert set(closed(out).values()) == {None}
    assert cgiaa("rank", burst, "--one-per-group", "--format", "paths")[1] == f"{burst}/IMG_0001.jpg\n"


def test_an_opencv_without_cascades_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    faces.available.cache_clear()
    monkeypatch.setattr(cv2, "__file__", str(tmp_path / "__init__.py"))
    assert not faces.available()
    monkeypatch.undo()
    faces.available.cache_clear()
    assert faces.available()
