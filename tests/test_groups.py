"""Grouping, stage by stage, on photos that are made by hand; `test_groups_command` runs the command on files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cgiaa_cli.curation import groups_pairs
from cgiaa_cli.curation.groups import Group, culled, find_groups
from cgiaa_cli.curation.groups_keeper import keeper_of
from cgiaa_cli.curation.groups_pairs import NO_TIME, by_embedding, by_hash, by_time
from cgiaa_cli.curation.groups_photos import UNSET_CLOCK, Photos, _times, seconds_of
from cgiaa_cli.curation.groups_sequences import brackets, panoramas, windows
from cgiaa_cli.imaging.look import SIDE, differing_bits, look, turned

DIM = 32


def scene(seed: int, side: int = 260) -> np.ndarray:
    """(side, side, 3) smooth random fields, as a photo seen from afar."""
    random = np.random.default_rng(seed)
    waves = np.cos(np.outer(np.arange(9), (2 * np.arange(side) + 1) * np.pi / (2 * side)))
    falling = 1 / (1 + np.add.outer(np.arange(9), np.arange(9)))
    field = waves.T @ (random.normal(size=(9, 9)) * falling) @ waves
    grey = 128 + 45 * field / field.std()
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, -1)


def direction(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=DIM)
    return vector / np.linalg.norm(vector)


def make(frames: Sequence[dict[str, Any]]) -> Photos:
    """Photos with what matters given: `view`, `vector`, `at` and so on; the rest is the same for all."""
    looks = [look(frame["view"]) for frame in frames]

    def column(name: str, default: Any, kind: Any) -> np.ndarray:
        return np.array([frame.get(name, default) for frame in frames], kind)

    scores = np.array([[f.get("score", 5.0)] * 5 + [f.get("technical", 5.0)] for f in frames], np.float64)
    return Photos(
        ids=np.arange(len(frames), dtype=np.int64),
        keys=[f"{i:032x}" for i in range(len(frames))],
        paths=[tuple(frame.get("paths", [f"/p/photo-{i:04}.jpg"])) for i, frame in enumerate(frames)],
        values=column("score", 5.0, np.float64),
        scores=scores.reshape(-1, 6),
        width=column("width", 600, np.int64),
        height=column("height", 400, np.int64),
        bytes=column("bytes", 1000, np.int64),
        format=[str(frame.get("format", "jpeg")) for frame in frames],
        seconds=column("at", NO_TIME, np.int64),
        cameras=column("camera", 1, np.int64),
        exposure=column("exposure", np.nan, np.float64),
        focal=column("focal", 35.0, np.float64),
        vectors=np.array([f["vector"] for f in frames], np.float32).reshape(-1, DIM),
        hash=np.array([one.hash for one in looks], np.uint64),
        detail=np.array([one.detail for one in looks], np.float32),
        thumbs=np.array([one.thumb for one in looks], np.uint8).reshape(-1, SIDE * SIDE),
        seen=np.ones(len(frames), bool),
        kept=column("kept", False, bool),
    )


def different(seed: int, **more: Any) -> dict[str, Any]:
    return {"view": scene(seed), "vector": direction(seed), **more}


def kinds(photos: Photos) -> list[tuple[str, list[int]]]:
    return sorted((group.kind, sorted(group.members)) for group in find_groups(photos))


# looks


def test_the_hash_of_a_turned_photo_follows_from_its_hash() -> None:
    view = scene(3)
    turns = [view[:, ::-1], view[::-1], view[::-1, ::-1]]
    turns += [one.swapaxes(0, 1) for one in (view, view[::-1], view[:, ::-1], view[::-1, ::-1])]
    hashes = {int(found[0]) for found in turned(np.array([look(view).hash], np.uint64))}
    assert len(hashes) == 7 and look(view).hash not in hashes
    for turn in turns:
        found = look(np.ascontiguousarray(turn)).hash
        assert min(differing_bits(np.array([found], np.uint64), np.array([h], np.uint64))[0] for h in hashes) <= 3


def test_differing_bits() -> None:
    left, right = np.array([0, 2**64 - 1, 5], np.uint64), np.array([0, 0, 6], np.uint64)
    assert differing_bits(left, right).tolist() == [0, 64, 2]


def test_a_sky_has_no_detail() -> None:
    down = np.linspace(120, 220, 260).astype(np.uint8)
    sky = np.repeat(np.repeat(down[:, None, None], 260, 1), 3, 2)
    assert look(sky).detail < 1 < 20 < look(scene(1)).detail


# candidates


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b in pairs}


def test_hashes_that_differ_in_three_bits_are_found() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, 600, dtype=np.uint64)
    for i in range(0, 400, 2):  # planted
        flips = random.choice(64, int(random.integers(4)), replace=False)
        hashes[i + 1] = hashes[i] ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64), initial=np.uint64(0))
    found = as_set(by_hash(hashes, np.ones(600, bool), np.arange(600)))
    near = {(i, j) for i, j in combinations(range(600), 2) if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= 3}
    assert len(near) >= 200 and near <= found and len(found) < 5000
    usable = np.ones(600, bool)
    usable[0] = False
    assert not any(0 in pair for pair in by_hash(hashes, usable, np.arange(600)))


def test_times_pair_shots_of_one_camera_and_copies_of_any() -> None:
    at = np.array([100, 105, 200, 105, NO_TIME, 400], np.int64)
    camera = np.array([1, 1, 1, 2, 1, 1], np.int64)
    assert as_set(by_time(at, np.full(6, 30), camera)) == {(0, 1), (1, 3)}
    assert as_set(by_time(at, np.full(6, 95), camera)) == {(0, 1), (1, 2), (1, 3)}


def test_like_embeddings_are_found_across_the_borders_of_cells() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(5000, DIM)).astype(np.float32)
    vectors[1::2] = vectors[::2] + 0.35 * random.normal(size=(2500, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[17] = 0
    likeness = vectors @ vectors.T
    near = {(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(likeness, 1) >= 0.85), strict=True)}
    found = as_set(by_embedding(vectors, 0.85))
    assert found <= near and len(near) > 2000
    assert len(found) > 0.98 * len(near)  # in this many dimensions cells are at their worst
    assert as_set(by_embedding(vectors[:300], 0.85)) == {(i, j) for i, j in near if j < 300}
    assert not len(by_embedding(np.zeros((5, DIM), np.float32), 0.5))


@pytest.mark.parametrize("net", ["hash", "time", "embedding"])
def test_a_crowd_gives_each_photo_only_some_partners(net: str) -> None:
    n = 4000
    if net == "hash":
        pairs = by_hash(np.full(n, 12345, np.uint64), np.ones(n, bool), np.arange(n))
    elif net == "time":
        pairs = by_time(np.full(n, 1000, np.int64), np.full(n, 30), np.ones(n, np.int64))
    else:
        pairs = by_embedding(np.tile(direction(0).astype(np.float32), (n, 1)), 0.9)
    assert n - 1 <= len(pairs) <= 8 * groups_pairs.WIDTH * n
    reached = {0}
    for low, high in pairs.tolist():  # sorted, so one pass is enough for a chain
        if low in reached or high in reached:
            reached |= {low, high}
    assert len(reached) > (0.9 if net == "embedding" else 0.99) * n


# groups


def test_single_photos_are_no_groups() -> None:
    assert kinds(make([different(i, at=1000 + 3 * i) for i in range(40)])) == []
    assert kinds(make([])) == []


def test_copies_and_edits_without_any_time() -> None:
    view = scene(5)
    smaller = np.asarray(Image.fromarray(view).resize((100, 100)).resize((260, 260)))
    cut = np.asarray(Image.fromarray(view[20:250, 15:245]).resize((260, 260)))
    vector = direction(5)
    near = vector + 0.05 * direction(99)
    photos = make(
        [
            {"view": view, "vector": vector, "score": 5.0},
            {"view": smaller, "vector": near / np.linalg.norm(near), "width": 300, "height": 200, "score": 5.6},
            {"view": np.ascontiguousarray(view[::-1].swapaxes(0, 1)), "vector": direction(77)},
            *(different(i) for i in range(10, 30)),
        ]
    )
    (group,) = find_groups(photos)
    assert group.kind == "duplicate" and sorted(group.members) == [0, 1, 2]
    assert group.keeper == 0  # the whole file, although the small copy scores higher
    cut_out = {"view": cut, "vector": near / np.linalg.norm(near), "width": 500, "height": 350}
    assert kinds(make([{"view": view, "vector": vector}, cut_out])) == [("near_duplicate", [0, 1])]


def test_one_content_at_two_paths_is_a_group() -> None:
    (group,) = find_groups(make([different(1, paths=["/p/a.jpg", "/p/a copy.jpg"]), different(2)]))
    assert group.kind == "duplicate" and group.members == (0,)


def test_skies_are_not_one_group() -> None:
    random = np.random.default_rng(3)
    frames = []
    for _ in range(150):
        top, bottom = random.uniform(100, 140), random.uniform(180, 230)
        sky = np.linspace(top, bottom, 260)[:, None, None] + random.normal(0, 2, (260, 260, 3))
        vector = direction(0) + 0.05 * random.normal(size=DIM) / DIM**0.5
        frames.append({"view": sky.clip(0, 255).astype(np.uint8), "vector": vector / np.linalg.norm(vector)})
    assert kinds(make(frames)) == []
    # two of the same camera in the same moment are tries of one picture
    frames[3] |= {"at": 1000}
    frames[4] = frames[3] | {"at": 1002, "view": np.roll(frames[3]["view"], 1, axis=1)}
    assert kinds(make(frames)) == [("burst", [3, 4])]
    frames[8] |= {"at": 9000}
    assert ("duplicate", [8, 150]) in kinds(make([*frames, frames[8] | {"width": 300, "camera": 0}]))
    # a faint cloud is enough to know the copy without its time
    cloud = frames[9]["view"].astype(np.int16) + (scene(9).astype(np.int16) - 128) // 15
    frames[9] |= {"view": cloud.clip(0, 255).astype(np.uint8)}
    assert 1 < look(frames[9]["view"]).detail < 5
    assert ("duplicate", [9, 150]) in kinds(make([*frames, frames[9]]))


def burst(seed: int, at: Sequence[int], **more: Any) -> list[dict[str, Any]]:
    """Frames of a camera that moves a little; their embeddings have a likeness of about 0.85."""
    wide = scene(seed, 280)
    frames = []
    for i, moment in enumerate(at):
        x, y = 4 * (i % 3), 4 * (i % 2)
        vector = direction(seed) + 0.4 * direction(1000 * seed + i)
        view = np.ascontiguousarray(wide[y : y + 260, x : x + 260])
        frames.append({"view": view, "vector": vector / np.linalg.norm(vector), "at": moment, **more})
    return frames


def test_bursts_by_time() -> None:
    photos = make([*burst(1, [1000, 1001, 1002, 1010]), *burst(2, [1020, 1021]), different(3, at=1024)])
    assert kinds(photos) == [("burst", [0, 1, 2, 3]), ("burst", [4, 5])]


def test_frames_of_one_second_are_a_burst_if_they_are_numbered_so() -> None:
    view, vector = scene(1), direction(1)
    same = {"view": view, "vector": vector, "at": 1000}
    names = [["/p/IMG_0001.JPG"], ["/p/IMG_0002.JPG"]]
    assert kinds(make([same | {"paths": n} for n in names])) == [("burst", [0, 1])]
    names = [["/p/IMG_0001.JPG"], ["/p/IMG_0001-edit.JPG"]]
    assert kinds(make([same | {"paths": n} for n in names])) == [("duplicate", [0, 1])]


def test_times_without_seconds_widen_the_window() -> None:
    photos = make([*burst(1, [6000, 6060]), different(2, at=12000)])
    assert windows(photos, 30).tolist() == [90, 90, 90]
    assert kinds(photos) == [("burst", [0, 1])]
    photos = make([*burst(1, [6000, 6060]), different(2, at=12001)])
    assert windows(photos, 30).tolist() == [30, 30, 30]


def test_a_clock_that_was_never_set_is_no_time() -> None:
    many = ["2000-01-01T00:00:00"] * (UNSET_CLOCK + 1) + ["2024-05-06T07:08:09", None]
    found = _times(many)
    assert (found[:-2] == NO_TIME).all() and found[-1] == NO_TIME
    assert found[-2] == seconds_of("2024-05-06T07:08:09") == 1714979289
    assert seconds_of("2024-05-06") == NO_TIME


def test_three_thousand_identical_frames() -> None:
    frame = {"view": scene(1), "vector": direction(1)}
    photos = make([frame] * 3000)
    photos.seconds[:] = 5000 + np.arange(3000)
    began = time.process_time()
    (group,) = find_groups(photos)
    assert time.process_time() - began < 20
    assert group.kind == "burst" and len(group.members) == 3000 and len(set(culled(photos, [group]))) == 2999
    photos.seconds[:] = NO_TIME
    (group,) = find_groups(photos)
    assert group.kind == "duplicate" and len(group.members) == 3000


def test_small_steps_do_not_tie_a_day_together() -> None:
    """Each frame is like the next one, the last one is nothing like the first."""
    one, other = scene(1, 260).astype(float), scene(2, 260).astype(float)
    frames = []
    for i in range(40):
        part = i / 39
        view = ((1 - part) * one + part * other).astype(np.uint8)
        vector = (1 - part) * np.eye(DIM)[0] + part * np.eye(DIM)[1]
        frames.append({"view": view, "vector": vector / np.linalg.norm(vector), "at": 1000 + 20 * i})
    found = find_groups(make(frames))
    assert len(found) >= 2 and max(len(group.members) for group in found) < 40


# brackets and panoramas


def exposed(stops: float) -> np.ndarray:
    linear = (scene(1) / 255) ** 2.2 * 2.0**stops
    return (linear.clip(0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


def bracket(stops: Sequence[float], start: int = 1000, *, follow: bool = False) -> list[dict[str, Any]]:
    """Frames of one scene; with `follow`, the light changes by as much as the exposure does."""
    return [
        {"view": exposed(0 if follow else e), "vector": direction(1), "at": start + i, "exposure": e}
        for i, e in enumerate(stops)
    ]


def test_a_bracket_is_found_and_kept_whole() -> None:
    photos = make([*bracket([0, -1.5, 1.5]), different(9, at=1060)])
    (group,) = find_groups(photos)
    assert group.kind == "bracket" and group.protected and sorted(group.members) == [0, 1, 2]
    assert list(culled(photos, [group])) == []
    assert [part.tolist() for part in brackets(make(bracket([-1, 1])))] == [[0, 1]]


@pytest.mark.parametrize(
    "frames",
    [
        bracket([0, 0, 0]),
        bracket([0, 0.3, 0.6]),  # too little to be meant
        bracket([0, -1.5, 1.5], follow=True),  # an automatic exposure in changing light
        [frame | {"at": NO_TIME} for frame in bracket([0, -1.5, 1.5])],
        [frame | {"at": 1000 + 60 * i, "camera": 2} for i, frame in enumerate(bracket([0, -1.5, 1.5], 1001))]
        + [different(9, at=1003, camera=2)],
    ],
    ids=["same", "little", "automatic", "no time", "a minute apart"],
)
def test_what_is_no_bracket(frames: list[dict[str, Any]]) -> None:
    frames = [frame | {"at": frame["at"] + (7 if frame["at"] != NO_TIME else 0)} for frame in frames]
    assert brackets(make(frames)) == []


def slices(step: int, count: int = 4, gap: int = 3) -> list[dict[str, Any]]:
    random = np.random.default_rng(4)
    wide = np.concatenate([scene(11), scene(12), scene(13), scene(14)], axis=1)
    frames = []
    for i in range(count):
        left = 400 + step * i
        view = np.ascontiguousarray(wide[:, left : left + 260])
        vector = direction(4) + 0.7 * random.normal(size=DIM) / DIM**0.5
        frames.append({"view": view, "vector": vector / np.linalg.norm(vector), "at": 1001 + gap * i})
    return frames


@pytest.mark.parametrize("step", [120, -120])
def test_a_panorama_is_found_and_kept_whole(step: int) -> None:
    photos = make([*slices(step), different(9, at=1100)])
    (group,) = find_groups(photos)
    assert group.kind == "panorama" and sorted(group.members) == [0, 1, 2, 3]
    assert list(culled(photos, [group])) == []
    down = [frame | {"view": np.ascontiguousarray(frame["view"].swapaxes(0, 1))} for frame in slices(step)]
    assert [part.tolist() for part in panoramas(make(down))] == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    "frames",
    [
        slices(120, 2),  # two frames may be two tries
        slices(4),
        slices(120, gap=0),  # a burst that follows a runner
        [slices(120)[i] | {"at": 1001 + 3 * n} for n, i in enumerate((0, 1, 0, 1))],
        [different(i, at=1001 + 3 * i) for i in range(30)],
        [frame | {"exposure": 2.0 * i} for i, frame in enumerate(slices(120))],
        [frame | {"focal": 24.0 + 10 * i} for i, frame in enumerate(slices(120))],
    ],
    ids=["two", "a burst", "at once", "to and fro", "different", "exposure", "zoom"],
)
def test_what_is_no_panorama(frames: list[dict[str, Any]]) -> None:
    assert panoramas(make(frames)) == []


def test_an_edit_of_a_frame_joins_the_bracket() -> None:
    frames = bracket([0, -1.5, 1.5])
    cut = np.asarray(Image.fromarray(exposed(0)[15:245, 20:250]).resize((260, 260)))
    edit = {"view": cut, "vector": direction(1), "at": 1000, "width": 500, "height": 350, "exposure": 0.0}
    assert kinds(make([*frames, edit])) == [("bracket", [0, 1, 2, 3])]
    assert kinds(make([frames[0], edit])) == [("near_duplicate", [0, 1])]


def test_a_copy_of_a_frame_joins_the_bracket_and_a_burst_beside_it_does_not() -> None:
    frames = bracket([0, -1.5, 1.5])
    copy = {"view": frames[0]["view"], "vector": frames[0]["vector"], "camera": 0, "width": 300, "height": 200}
    moved = np.roll(exposed(0), 12, axis=1)
    tries = [{"view": moved, "vector": direction(1), "at": 1020 + i, "exposure": 0.0} for i in range(3)]
    assert kinds(make([*frames, copy, *tries])) == [("bracket", [0, 1, 2, 3]), ("burst", [4, 5, 6])]


# keepers


def test_the_keeper_of_shots_ranks_highest_and_of_equals_is_technically_best() -> None:
    frames = burst(1, [1000, 1001, 1002])
    for frame, score, technical in zip(frames, (5.0, 6.0, 5.95), (9.0, 4.0, 6.0), strict=True):
        frame |= {"score": score, "technical": technical}
    (group,) = find_groups(make(frames))
    assert group.keeper == 2 and group.members[0] == 2


def test_the_keeper_of_copies_is_the_most_complete_file() -> None:
    photos = make([different(1, width=300), different(1, format="raw", width=200), different(1, bytes=2000)])
    assert keeper_of(photos, "duplicate", [0, 1, 2]) == 1
    assert keeper_of(photos, "duplicate", [0, 2]) == 2


def test_what_was_decided_to_keep_is_not_culled() -> None:
    frames = burst(1, [1000, 1001, 1002])
    frames[1] |= {"score": 7.0}
    frames[2] |= {"kept": True}
    photos = make(frames)
    assert list(culled(photos, find_groups(photos))) == ["/p/photo-0000.jpg"]


def test_ids_depend_on_the_contents_alone() -> None:
    first, second = (find_groups(make([*burst(1, [1000, 1001]), *more]))[0].id for more in ([], [different(5)]))
    third = find_groups(make(burst(1, [1000, 1001, 1002])))[0].id
    assert first == second != third and len(first) == 8


def test_groups_come_best_keeper_first() -> None:
    worse, better = burst(1, [1000, 1001], score=4.0), burst(2, [2000, 2001], score=6.0)
    found: list[Group] = find_groups(make([*worse, *better]))
    assert [sorted(group.members) for group in found] == [[2, 3], [0, 1]]


def test_thumbnails_have_the_side_that_the_cache_says() -> None:
    assert look(scene(1)).thumb.shape == (SIDE, SIDE) == (32, 32)
