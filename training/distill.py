"""The embedded default: heads over frozen towers, taught by ratings and by the AVA-trained judge.

The heads are linear in standardised features, so each is a ridge regression with a closed form:

* score: a teacher with a ResNet-50 trunk beside our towers learns beauty from OASIS objects and animals and
  labels every training photo; z(that) + 0.25 z(judge's mean), put on AVA's scale, is the target; the judge's distribution is tilted (p_k ~ q_k exp(l k)) to that mean, and a softmax head learns it by EMD (r = 2);
* technical: BIQ2021; complexity: SAVOIAS;
* attributes: the score plus what tells an intact photo from one damaged in that respect (colour and light;
  blur), and for composition the crop preferences of FCDB; `general` is the score alone.

Nothing is chosen on oasis_scenes: it only checks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from cgiaa_models.student import JUDGE, SEMANTIC, Student
from cgiaa_training.data import crop_edit, crops, rated, unrated
from cgiaa_training.features import extract, extract_teacher
from cgiaa_training.metrics import correlations
from cgiaa_training.weights import load_teacher, load_towers

__all__ = ["distill"]

Array = NDArray[Any]
POOL = ("objects", "savoias", "biq2021", "fcdb", "coco")
JUDGE_WEIGHT = 0.25  # the judge beside the raters: they carry different information (docs/training.md)
AVA_MEAN, AVA_SD = 5.4, 0.74  # of the mean opinion scores in AVA (Murray et al. 2012)
ATTRIBUTE_SHARE = 0.5  # of an attribute that its own evidence decides; the rest is the score
SCORES = np.arange(1, 11)


def distill(data: Path, out: Path) -> Path:
    """Train the student on the sets below `data`; writes `out`/student.pt and `out`/results.json.

    Features are cached in `out`/features, so a run that was interrupted goes on where it stopped.
    """
    towers = load_towers()
    sets = _features(towers, data, out / "features")
    student = Student()
    student.towers.load_state_dict(towers.state_dict())
    pool = np.concatenate([sets[n][0] for n in POOL])
    student.mean.copy_(torch.from_numpy(pool.mean(0)))
    student.scale.copy_(torch.from_numpy(pool.std(0) + 1e-3))
    trunk = load_teacher()
    taught_by = {
        n: extract_teacher(trunk, paths, out / "features" / f"teacher-{n}.npy")
        for n, paths in _plain(data).items()
        if n in POOL
    }
    _fit_heads(student, sets, taught_by, data)
    out.mkdir(parents=True, exist_ok=True)
    torch.save(student.state_dict(), out / "student.pt")
    results = check(student, sets, data)
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return out / "student.pt"


def _damage_colour(picture: Array) -> Array:
    """A wrong white balance, too much light and too little saturation: what no one would publish."""
    warm = picture.astype(np.float32) * np.array([1.35, 1.15, 0.95], np.float32)
    faded = ImageEnhance.Color(Image.fromarray(np.clip(warm, 0, 255).astype(np.uint8))).enhance(0.6)
    return np.asarray(faded)


def _darken(picture: Array) -> Array:
    dim = Image.fromarray((picture * 0.35).astype(np.uint8))
    return np.asarray(ImageEnhance.Contrast(dim).enhance(0.7))


def _blur(picture: Array) -> Array:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2.5)))


def _plain(data: Path) -> dict[str, list[Path]]:
    return {
        "scenes": rated(data, "oasis_scenes")[0],
        "objects": rated(data, "oasis_objects_animals")[0],
        "savoias": rated(data, "savoias")[0],
        "biq2021": rated(data, "biq2021")[0],
        "fcdb": crops(data)[0],
        "coco": unrated(data, "coco"),
    }


def _features(towers: Any, data: Path, cache: Path) -> dict[str, tuple[Array, Array]]:
    plain = _plain(data)
    sets = {n: extract(towers, [(p, None) for p in paths], cache / f"{n}.npz") for n, paths in plain.items()}
    edits: dict[str, Callable[[Array], Array]] = {"colour": _damage_colour, "dark": _darken, "blur": _blur}
    for name, edit in edits.items():
        jobs = [(p, edit) for p in plain["objects"] + plain["coco"][:300]]
        sets[name] = extract(towers, jobs, cache / f"{name}.npz")
    paths, _, pairs = crops(data)
    chosen = _chosen_pairs(data)
    jobs = [(paths[pairs[i].photo], crop_edit(box)) for i in chosen for box in (pairs[i].a, pairs[i].b)]
    sets["pairs"] = extract(towers, jobs, cache / "pairs.npz")
    return sets


def _chosen_pairs(data: Path) -> list[int]:
    """Clear preferences (4 of 5 votes or more): two a training photo, four a test photo, to bound the cost."""
    _, rows, pairs = crops(data)
    taken: dict[int, int] = {}
    chosen = []
    for i, pair in enumerate(pairs):
        limit = 4 if rows[pair.photo]["split"] == "test" else 2
        if abs(pair.share_a - 0.5) > 0.25 and taken.get(pair.photo, 0) < limit:
            taken[pair.photo] = taken.get(pair.photo, 0) + 1
            chosen.append(i)
    return chosen


def _z(student: Student, features: Array) -> Array:
    return np.asarray(student.standardise(torch.from_numpy(features)).numpy())


def _fit_heads(
    student: Student, sets: dict[str, tuple[Array, Array]], taught_by: dict[str, Array], data: Path
) -> None:
    z = {name: _z(student, features) for name, (features, _) in sets.items()}
    everything = np.concatenate([z[n] for n in POOL])
    judged = np.concatenate([sets[n][1] for n in POOL])
    extra = np.concatenate([taught_by[n] for n in POOL])
    extra = np.clip((extra - extra.mean(0)) / (extra.std(0) + 1e-3), -6, 6)
    seen = np.concatenate([everything[:, : SEMANTIC + JUDGE], extra], axis=1)
    rated_first = len(sets["objects"][0])  # POOL begins with the rated photos
    beauty = Ridge(alpha=1000).fit(seen[:rated_first], rated(data, "oasis_objects_animals")[1])
    target = _unit(beauty.predict(seen)) + JUDGE_WEIGHT * _unit(judged @ SCORES)
    target = _unit(target)
    taught = _tilt(judged, np.clip(AVA_MEAN + AVA_SD * target, 1.5, 9.5))
    _fit_distribution(student, everything, taught)

    _, mos, rows = rated(data, "biq2021")
    train = np.array([r["split"] == "train" for r in rows])
    _set(student.technical, Ridge(alpha=300).fit(z["biq2021"][train], 1 + 9 * mos[train]))
    _, complexity, rows = rated(data, "savoias")
    train = np.array([r["split"] == "train" for r in rows])
    _set(student.complexity, Ridge(alpha=1000).fit(z["savoias"][train], complexity[train]))
    _fit_attributes(student, z, everything, target, data)
    basis = PCA(student.embedding.out_features, whiten=True, random_state=0).fit(everything[:, :SEMANTIC])
    rotation = basis.components_ / np.sqrt(basis.explained_variance_)[:, None] ** 0.5
    with torch.no_grad():
        student.embedding.weight.copy_(torch.from_numpy(rotation))
        student.embedding.bias.copy_(torch.from_numpy(-rotation @ basis.mean_))


def _fit_distribution(student: Student, z: Array, taught: Array, steps: int = 400) -> None:
    """Softmax head by EMD (r = 2), full batch, from the least-squares logits."""
    logits = np.log(taught + 1e-4)
    _set(student.distribution, Ridge(alpha=3000).fit(z, logits - logits.mean(1, keepdims=True)))
    x, y = torch.from_numpy(z.astype(np.float32)), torch.from_numpy(taught.astype(np.float32)).cumsum(1)
    optimiser = torch.optim.Adam(student.distribution.parameters(), lr=1e-4)
    for _ in range(steps):
        optimiser.zero_grad()
        p = torch.softmax(student.distribution(x), 1).cumsum(1)
        loss = ((p - y).square().mean(1) + 1e-8).sqrt().mean()
        loss.backward()
        optimiser.step()


def _fit_attributes(student: Student, z: dict[str, Array], everything: Array, target: Array, data: Path) -> None:
    intact = np.concatenate([z["objects"], z["coco"][:300]])
    _, rows, pairs = crops(data)
    chosen = [pairs[i] for i in _chosen_pairs(data)]
    train = np.array([rows[p.photo]["split"] == "train" for p in chosen])
    difference = z["pairs"][0::2] - z["pairs"][1::2]
    preference = np.array([p.share_a - 0.5 for p in chosen])
    evidence = {
        0: Ridge(alpha=3000).fit(
            np.concatenate([intact, z["colour"], z["dark"]]), [1.0] * len(intact) + [0.0] * 2 * len(intact)
        ),
        1: Ridge(alpha=3000, fit_intercept=False).fit(difference[train], preference[train]),
        2: Ridge(alpha=3000).fit(np.concatenate([intact, z["blur"]]), [1.0] * len(intact) + [0.0] * len(intact)),
    }
    for index in range(4):
        blend = target
        if index in evidence:
            own = evidence[index].predict(everything)
            blend = _unit((1 - ATTRIBUTE_SHARE) * target + ATTRIBUTE_SHARE * _unit(own))
        head = Ridge(alpha=30).fit(everything, AVA_MEAN + AVA_SD * blend)
        with torch.no_grad():
            student.attributes.weight[index] = torch.from_numpy(head.coef_)
            student.attributes.bias[index] = float(head.intercept_)


def _unit(values: Array) -> Array:
    return np.asarray((values - values.mean()) / values.std())


def _tilt(distributions: Array, means: Array, rounds: int = 40) -> Array:
    """The distributions nearest (in KL) to `distributions` (N, 10) that have the wanted `means` (N,)."""
    low, high = np.full(len(means), -5.0), np.full(len(means), 5.0)
    for _ in range(rounds):  # the mean grows with the tilt: bisection
        tilt = (low + high) / 2
        p = distributions * np.exp(tilt[:, None] * (SCORES - 5.5))
        p /= p.sum(1, keepdims=True)
        below = p @ SCORES < means
        low, high = np.where(below, tilt, low), np.where(below, high, tilt)
    return np.asarray(p)


def _set(layer: torch.nn.Linear, ridge: Ridge) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.atleast_2d(ridge.coef_)))
        layer.bias.copy_(torch.from_numpy(np.atleast_1d(ridge.intercept_)))


def check(student: Student, sets: dict[str, tuple[Array, Array]], data: Path) -> dict[str, Any]:
    """Every measured result of the model card, from the student's own heads on held-out photos."""

    def predict(name: str) -> list[Array]:
        with torch.inference_mode():
            return [o.numpy() for o in student.heads(student.standardise(torch.from_numpy(sets[name][0])))]

    results: dict[str, Any] = {}
    scenes = rated(data, "oasis_scenes")[1]
    results["oasis_scenes score (never trained on)"] = correlations(predict("scenes")[0] @ SCORES, scenes)
    results["oasis_scenes, NIMA judge alone"] = correlations(sets["scenes"][1] @ SCORES, scenes)
    _, mos, rows = rated(data, "biq2021")
    technical = predict("biq2021")[2]
    for subset in ("ss01", "ss02", "ss03"):
        held = np.array([r["split"] == "test" and r["subset"] == subset for r in rows])
        results[f"biq2021 test {subset} technical"] = correlations(technical[held], mos[held])
    _, complexity, rows = rated(data, "savoias")
    held = np.array([r["split"] == "test" for r in rows])
    results["savoias test complexity"] = correlations(predict("savoias")[3][held], complexity[held])
    _, crop_rows, pairs = crops(data)
    chosen = [pairs[i] for i in _chosen_pairs(data)]
    composition = predict("pairs")[1][:, 1]
    better = (composition[0::2] > composition[1::2]) == np.array([p.share_a > 0.5 for p in chosen])
    held = np.array([crop_rows[p.photo]["split"] == "test" for p in chosen])
    results["fcdb test pair accuracy, composition"] = {"accuracy": round(float(better[held].mean()), 4), "n": int(held.sum())}
    intact = predict("objects")[1]
    lower = {
        name: (predict(name)[1][: len(intact)] < intact).mean(0).round(3).tolist() for name in ("colour", "dark", "blur")
    }
    results["share of damaged copies scored lower (color_light, composition, depth_focus, general)"] = lower
    return results


