"""What a bundle reaches on held-out photos, through the same decode, preprocess and engine as a scan.

Everything that looks at photos is a `Look`: photos in, one array a quantity out. A bundle is one, the AVA-trained NIMA
(Talebi and Milanfar 2018) another, so both are measured by the same lines on the same photos.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cgiaa_training.damage import DAMAGES
from cgiaa_training.data import CropEdit, Edit, crops, iou, photo_from_array, rated
from cgiaa_training.manifest import DataSet, load_set, read_image, set_names
from cgiaa_training.metrics import correlations, distributions, mean, share
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata

from cgiaa_cli.errors import CgiaaError, PhotoError, UsageError
from cgiaa_cli.imaging.decode import Photo, decode
from cgiaa_cli.imaging.preprocess import prepare
from cgiaa_cli.inference.crops import Crop, best_crop
from cgiaa_cli.inference.engine import CROP, Engine
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import escape

__all__ = [
    "BASELINES",
    "SETS",
    "Found",
    "Look",
    "crop_candidates",
    "evaluate",
    "look_of",
    "measure",
    "measure_manifest",
]

Array = NDArray[Any]
Report = Callable[[str], None]
Job = tuple[Path | str, Edit | None]  # a photo or its address, and what is done to its pixels first
Look = Callable[[Sequence[Job]], Mapping[str, Array]]
"""Photos -> (N,) of `score`, `technical`, `complexity` and the four attributes, and (N, 10) `distribution`."""
QUANTITIES = ("score", "technical", "complexity", *ATTRIBUTES)
BATCH = 16
CLEAR = 0.25  # share of the votes beyond a half that makes a preference worth learning and checking


@dataclass(frozen=True)
class Found:
    """One result.

    Attributes:
        name: what was measured, on what.
        numbers: SRCC, PLCC, shares or means with their 95 % bootstrap intervals, and `n`.
        photos, predicted, truth: of correlations: what they are between, photo by photo.
    """

    name: str
    numbers: dict[str, Any]
    photos: tuple[str, ...] = ()
    predicted: tuple[float, ...] = ()
    truth: tuple[float, ...] = ()

    def rank_errors(self) -> list[float]:
        """How much too high (above 0) or too low each photo was ranked, as a share of all photos: -1..1."""
        count = len(self.photos)
        return [float(e) for e in (rankdata(self.predicted) - rankdata(self.truth)) / max(1, count - 1)]


def evaluate(engine: Engine, data: Path, names: Sequence[str] = (), say: Report = lambda _: None) -> dict[str, Any]:
    """Measure a bundle on some sets, or on all of `SETS`: name of a result -> its numbers. See `measure`."""
    return {found.name: found.numbers for found in measure(look_of(engine), data, names, say=say)}


def measure(
    look: Look,
    data: Path,
    names: Sequence[str] = (),
    *,
    baselines: Sequence[str] = (),
    say: Report = lambda _: None,
) -> Iterator[Found]:
    """Measure on some sets, or on all of `SETS`.

    Args:
        data: folder of the sets (docs/data.md says what each holds and where to get it).
        names: keys of `SETS`, or any other set that docs/data.md describes: its test photos, or all where it has no
            split, against each of its labels.
        baselines: keys of `BASELINES`, measured on the same photos right after.
        say: told before each set.

    Raises:
        UsageError: there is no such set or baseline.
        CgiaaError: a set is not below `data`, or one of its photos cannot be read.
    """
    looks = {"": look, **_baselines(baselines)}
    for name in names:
        if name not in SETS and name not in set_names():
            known = ", ".join([*SETS, *(n for n in set_names() if n not in SETS)])
            raise UsageError(f"no such evaluation: {name}", mend=f"choose from {known}")
    for name in names or SETS:
        for by, one in looks.items():
            if by == "smartcrop" and name not in CROPS:
                continue
            say(f"{name}, {by}" if by else name)
            for found in SETS[name](one, data) if name in SETS else _labels(one, load_set(name, data)):
                yield replace(found, name=f"{found.name}, {by}") if by else found


def measure_manifest(
    look: Look,
    manifest: Path,
    *,
    baselines: Sequence[str] = (),
    say: Report = lambda _: None,
) -> Iterator[Found]:
    """Measure on a user's own ratings: photos and one or more columns of numbers, see `manifest.load_set`.

    A column called as one of `QUANTITIES` is compared with that, any other with the score. Photos that cannot be read
    are named to `say` and left out.

    Raises:
        UsageError: no such manifest or baseline, or no column of ratings.
    """
    if "smartcrop" in baselines:
        raise UsageError("smartcrop judges crops only", mend=f"ask it with --on {' --on '.join(CROPS)}")
    found = load_set(str(manifest), manifest.parent)
    for by, one in {"": look, **_baselines(baselines)}.items():
        for result in _labels(one, found, (lambda _: None) if by else say):
            yield replace(result, name=f"{result.name}, {by}") if by else result


# --- who looks -------------------------------------------------------------------------------------------------------


class _BundleLook:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, jobs: Sequence[Job]) -> Mapping[str, Array]:
        scores = [s for photos in _loaded(jobs, prepare) for s in self.engine.run(photos)]
        found = {name: np.array([s.attributes[name] for s in scores]) for name in ATTRIBUTES}
        for name in ("score", "technical", "complexity", "distribution"):
            found[name] = np.array([getattr(s, name) for s in scores])
        return found

    def crops(self, places: Sequence[Path]) -> list[Crop]:
        """What it would make of each photo."""
        jobs: list[Job] = [(place, None) for place in places]
        return [best_crop(o) for photos in _loaded(jobs, prepare) for o in self.engine.overlaps(photos)]


def look_of(engine: Engine) -> Look:
    """A bundle's view of photos."""
    return _BundleLook(engine)


def _nima() -> Look:
    """NIMA's view: its only number, the mean of its distribution, stands for every quantity.

    Its own preprocessing: squeezed to 224 x 224 by nearest neighbour, scaled to -1..1.
    """
    import torch
    from cgiaa_training.weights import load_judge

    judge = load_judge()

    def squeeze(photo: Photo) -> NDArray[np.uint8]:
        return np.asarray(Image.fromarray(photo.view).resize((224, 224), Image.Resampling.NEAREST))

    def look(jobs: Sequence[Job]) -> Mapping[str, Array]:
        said = []
        for photos in _loaded(jobs, squeeze):
            x = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 127.5 - 1
            with torch.inference_mode():
                said.append(judge.distribution(judge.features(x)).numpy())
        distribution = np.concatenate(said) if said else np.empty((0, 10))
        score = distribution @ np.arange(1, 11)
        return {**dict.fromkeys(QUANTITIES, score), "distribution": distribution}

    return look


def _smartcrop() -> Look:
    """smartcrop's view of crops of a photo (the package of that name): `composition` is its score of a crop."""
    try:
        from smartcrop import SmartCrop
    except ModuleNotFoundError as error:
        raise CgiaaError("smartcrop is not installed", mend="pip install smartcrop") from error
    judge = SmartCrop()
    step = judge.score_down_sample

    def seen(place: Path | str) -> Array:
        photo = judge.prepare_features_image(Image.fromarray(_photo((place, None)).view))
        small = (math.ceil(photo.width / step), math.ceil(photo.height / step))
        return np.asarray(judge.precompute_features(photo.resize(small, Image.Resampling.LANCZOS)))

    def look(jobs: Sequence[Job]) -> Mapping[str, Array]:
        photos = {place: seen(place) for place in dict.fromkeys(place for place, _ in jobs)}
        said = []
        for place, edit in jobs:
            assert edit is None or isinstance(edit, CropEdit)
            features = photos[place]
            height, width = features.shape
            x, y, w, h = (int(v / step) for v in (edit.box if edit else (0, 0, width * step, height * step)))
            weights = judge.get_importance(height=min(h, height - y), width=min(w, width - x))
            prescore = features.sum() * judge.outside_importance
            said.append(judge.score(features, prescore, (x, y, w, h), weights - judge.outside_importance))
        return {"composition": np.array(said)}

    return look


BASELINES: dict[str, Callable[[], Look]] = {"nima": _nima, "smartcrop": _smartcrop}
CROPS = ("fcdb_pairs", "fcdb_crop")  # all that smartcrop can be asked


def _baselines(names: Sequence[str]) -> dict[str, Look]:
    for name in names:
        if name not in BASELINES:
            raise UsageError(f"no such baseline: {name}", mend=f"choose from {', '.join(BASELINES)}")
    return {name: BASELINES[name]() for name in names}


def _loaded(jobs: Sequence[Job], turn: Callable[[Photo], Any]) -> Iterator[list[Any]]:
    """Photos in batches, decoded on all cores and turned into what a network reads."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(jobs), BATCH):
            yield list(pool.map(lambda job: turn(_photo(job)), jobs[start : start + BATCH]))


def _photo(job: Job) -> Photo:
    place, edit = job
    try:
        photo = decode(read_image(str(place)), suffix=Path(place).suffix)
    except PhotoError as error:
        raise PhotoError(error.kind, error.cause, path=escape(place), mend=error.mend) from error
    except OSError as error:
        raise CgiaaError(
            error.strerror or "cannot be read", path=escape(place), mend="put the photo back, or correct the labels"
        ) from error
    return photo if edit is None else photo_from_array(edit(photo.view))


# --- what is measured ------------------------------------------------------------------------------------------------


def _correlated(name: str, paths: Sequence[Path | str], predicted: Array, truth: Array) -> Found:
    photos = tuple(escape(p) for p in paths)
    return Found(name, correlations(predicted, truth), photos, tuple(map(float, predicted)), tuple(map(float, truth)))


def _scenes(look: Look, data: Path) -> Iterator[Found]:
    """Beauty of 220 scenes, a set that no part of the default was trained or chosen on."""
    paths, beauty, _ = rated(data, "oasis_scenes")
    yield _correlated("oasis_scenes score", paths, look([(p, None) for p in paths])["score"], beauty)


def _technical(look: Look, data: Path) -> Iterator[Found]:
    paths, mos, rows = rated(data, "biq2021")
    for subset in ("ss01", "ss02", "ss03"):
        held = [i for i, row in enumerate(rows) if row["split"] == "test" and row["subset"] == subset]
        chosen = [paths[i] for i in held]
        said = look([(p, None) for p in chosen])["technical"]
        yield _correlated(f"biq2021 test {subset} technical", chosen, said, mos[held])


def _complexity(look: Look, data: Path) -> Iterator[Found]:
    paths, complexity, rows = rated(data, "savoias")
    held = [i for i, row in enumerate(rows) if row["split"] == "test"]
    chosen = [paths[i] for i in held]
    said = look([(p, None) for p in chosen])["complexity"]
    yield _correlated("savoias test complexity", chosen, said, complexity[held])


def _pairs(look: Look, data: Path) -> Iterator[Found]:
    """Of two crops of a photo, does `composition` prefer the one that 4 of 5 people or more prefer?"""
    paths, rows, pairs = crops(data)
    clear = [p for p in pairs if rows[p.photo]["split"] == "test" and abs(p.share_a - 0.5) > CLEAR]
    scores = look([(paths[p.photo], CropEdit(box)) for p in clear for box in (p.a, p.b)])["composition"]
    right = (scores[0::2] > scores[1::2]) == np.array([p.share_a > 0.5 for p in clear])
    yield Found("fcdb test pair accuracy, composition", share(right))


def _best_crop(look: Look, data: Path) -> Iterator[Found]:
    """IoU with people's crop of the crop that a network chooses, of the whole frame and of the middle.

    What has no head for crops is asked for the crop of highest `composition`.
    """
    paths, rows, _ = crops(data)
    held = [(path, row) for path, row in zip(paths, rows, strict=True) if row["split"] == "test"]
    chooser = look if isinstance(look, _BundleLook) and look.engine.crops else None
    chosen = chooser.crops([path for path, _ in held]) if chooser is not None else []
    found, whole, centre = [], [], []
    for i, (path, row) in enumerate(held):
        width, height, best = row["width"], row["height"], tuple(row["best_crop_xywh"])
        if chooser is not None:
            x, y, w, h = chosen[i].box
            box: tuple[float, ...] = (x * width, y * height, w * width, h * height)
        else:
            boxes = crop_candidates(width, height)
            box = boxes[int(np.argmax(look([(path, CropEdit(box)) for box in boxes])["composition"]))]
        found.append(iou(box, best))
        whole.append(iou((0, 0, width, height), best))
        centre.append(iou((width * 0.1, height * 0.1, width * 0.8, height * 0.8), best))
    for name, values in zip(("best crop", "whole frame", "centre 80 %"), (found, whole, centre), strict=True):
        yield Found(f"fcdb test IoU, {name}", mean(values))
    if chooser is not None and (section := chooser.engine.bundle.manifest.get(CROP)):
        offered = np.array([crop.gain >= section["least_gain"] for crop in chosen])
        gain = np.array(found) - np.array(whole)
        yield Found("fcdb test crops offered", share(offered))
        if offered.any():
            yield Found(
                "fcdb test crops offered that are nearer to people's than the whole frame", share(gain[offered] > 0)
            )
            yield Found("fcdb test crops offered, gain in IoU", mean(list(gain[offered])))


def crop_candidates(width: int, height: int) -> list[tuple[float, ...]]:
    """Boxes (x, y, w, h) to choose a crop from: sides of 60, 80 or 100 % independently, in three places each."""
    boxes: list[tuple[float, ...]] = []
    for across in (0.6, 0.8, 1.0):
        for down in (0.6, 0.8, 1.0):
            for left in sorted({0.0, (1 - across) / 2, 1 - across}):
                for top in sorted({0.0, (1 - down) / 2, 1 - down}):
                    boxes.append((left * width, top * height, across * width, down * height))
    return boxes


def _damage(look: Look, data: Path) -> Iterator[Found]:
    """How often a copy that was spoilt in one respect gets a lower attribute than the photo itself."""
    paths, _, _ = rated(data, "oasis_scenes")
    intact = look([(p, None) for p in paths])
    for name, edit in DAMAGES.items():
        spoilt = look([(p, edit) for p in paths])
        shares = {key: round(float((spoilt[key] < intact[key]).mean()), 3) for key in ATTRIBUTES}
        yield Found(f"share of copies scored lower, {name}", {**shares, "n": len(paths)})


def _labels(look: Look, found: DataSet, say: Report | None = None) -> Iterator[Found]:
    """Every label of rated photos, of the test split where there is one, against what stands for it.

    `say`: photos that cannot be read are told to it and left out.
    """
    held = found.of("test")
    name = f"{found.name} test" if held else found.name
    shown = [(s.image, s) for s in held or found.samples if s.image and (s.labels or s.distribution)]
    if say is not None:
        faults = _faults([image for image, _ in shown])
        for fault in filter(None, faults):
            say(str(fault))
        shown = [one for one, fault in zip(shown, faults, strict=True) if fault is None]
    if not shown:
        raise UsageError(f"no rated photo in {name}", mend="give a column of photos and one of ratings")
    photos = [s for _, s in shown]
    said = look([(image, None) for image, _ in shown])
    for label in sorted({label for s in photos for label in s.labels}):
        chosen = [i for i, s in enumerate(photos) if label in s.labels]
        truth = np.array([photos[i].labels[label] for i in chosen])
        by = label if label in QUANTITIES else "score"
        title = f"{name} {label}" if by == label else f"{name} {label} by score"
        yield _correlated(title, [shown[i][0] for i in chosen], said[by][chosen], truth)
    voted = [i for i, s in enumerate(photos) if s.distribution is not None]
    if voted:
        truth = np.array([photos[i].distribution for i in voted])
        yield Found(f"{name} distribution", distributions(said["distribution"][voted], truth))


def _faults(photos: Sequence[str]) -> list[CgiaaError | None]:
    """What is wrong with each photo."""

    def fault(photo: str) -> CgiaaError | None:
        try:
            _photo((photo, None))
        except CgiaaError as error:
            return error
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(fault, photos))


SETS: dict[str, Callable[[Look, Path], Iterator[Found]]] = {
    "oasis_scenes": _scenes,
    "biq2021": _technical,
    "savoias": _complexity,
    "fcdb_pairs": _pairs,
    "fcdb_crop": _best_crop,
    "damage": _damage,
}
