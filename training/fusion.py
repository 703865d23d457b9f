"""Stage 4, `fusion`: MAP learns people's score distributions from a photo and its four critiques.

1. Features of every rated photo by the image tower of the `vlap` stage, kept in the stage's folder.
2. Four critiques of it, one an attribute: from a set of texts, or written by the `experts` stage, once.
3. Features of the critiques by the text tower.
4. The head (models/fusion.py) learns with EMD (r = 2; Talebi and Milanfar 2018) and, if asked for, a pairwise rank
   loss; two more heads see only the photo or only the critiques, to tell what each brings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.fusion import BINS, Fusion, FusionShape
from cgiaa_training.features import points
from cgiaa_training.files import appearing, key_of
from cgiaa_training.loop import LoopConfig, Run, fit
from cgiaa_training.losses import emd_loss, rank_loss
from cgiaa_training.manifest import DataSet, Sample, load_set, split_by
from cgiaa_training.metrics import distributions
from cgiaa_training.plan import Plan, estimate, passes, together
from cgiaa_training.run import Context
from numpy.typing import NDArray
from torch import Tensor, nn

from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import escape

__all__ = ["FusionConfig", "load", "plan", "predict", "run", "spread_out"]

Array = NDArray[Any]
Batch = dict[str, Tensor]
PART = 2048  # photos whose features are kept in one file: what an interruption costs at most
TEXTS = 256  # in one pass of a tower
SCORES = np.arange(1, BINS + 1)
SEEN: dict[str, dict[str, bool]] = {"": {}, "image only": {"text": False}, "text only": {"image": False}}


@dataclass(frozen=True)
class FusionConfig:
    """How MAP learns.

    Attributes:
        rated: sets with a label `score` or distributions of scores. Their test split is held out; of a set without
            splits, the share `held_out` is, always the same photos.
        critiques: a set of texts, with the attribute of each, on the same photos; "": the experts write them.
        held_out: 0..1.
        spread: standard deviation of the distribution made for a photo of which only the mean is known; 1.4 is
            usual in AVA (Murray et al. 2012).
        hidden, dropout: of the head, see `FusionShape`.
        rank_weight: of the pairwise rank loss beside EMD; 0: none.
        ablations: whether heads that see only the photo or only the critiques are measured too.
        loop: how it is trained.
    """

    rated: tuple[str, ...] = ()
    critiques: str = ""
    held_out: float = 0.2
    spread: float = 1.4
    hidden: int = 512
    dropout: float = 0.3
    rank_weight: float = 0.0
    ablations: bool = True
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(epochs=20, batch_size=128, rate=1e-3, save_every=1000))

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = [] if self.rated else ["rated must name a set at least"]
        if not 0 <= self.held_out < 1:
            faults.append("held_out must be 0 or more and below 1")
        if not 0.5 <= self.spread <= 3:
            faults.append("spread must lie in 0.5..3")
        if not 0 <= self.dropout < 1:
            faults.append("dropout must be 0 or more and below 1")
        return faults + [f"{name} must be 0 or more" for name in ("hidden", "rank_weight") if getattr(self, name) < 0]


@dataclass(frozen=True)
class _Photos:
    """Rated photos with their features: (N, D), (N, 4, D), and distributions (N, 10)."""

    name: str
    samples: list[Sample]
    image: Array
    texts: Array
    target: Array

    def of(self, *splits: str) -> Array:
        """Indices of the samples of these splits."""
        return np.array([i for i, s in enumerate(self.samples) if s.split in splits], int)


def run(context: Context) -> dict[str, Any]:
    """Train and measure MAP; leaves fusion.pt in the stage's folder.

    Returns:
        For each set with held-out photos: SRCC, PLCC, accuracy at 5 and EMD with 95 % bootstrap intervals, and the
        same of the ablations; `srcc` of the first set once more by itself; where the critiques came from.

    Raises:
        CgiaaError: an earlier stage is not done, a set has no ratings, or a photo cannot be read.
    """
    _require_stages(context)
    config: FusionConfig = context.recipe.fusion
    folder = context.folder("fusion")
    parts = [_photos(context, name) for name in config.rated]
    results: dict[str, Any] = {}
    for what, limits in SEEN.items():
        if what and not config.ablations:
            continue
        head = _train(context, parts, folder / (what.replace(" ", "-") or "map"), **limits)
        for part in parts:
            held = part.of("test")
            if len(held) > 1:
                name = f"{part.name} test" + (f", {what}" if what else "")
                results[name] = distributions(_apply(head, part.image[held], part.texts[held]), part.target[held])
        if not what:
            _save(head, folder / "fusion.pt")
    first = next(iter(results.values()), None)
    if first is None:
        raise CgiaaError("no photo is held out", mend="set fusion.held_out above 0, or give the set a split")
    count = sum(len(part.of("train")) for part in parts)
    return {"srcc": first["srcc"], "trained on": count, "critiques": config.critiques or "experts", **results}


def plan(context: Context) -> Plan:
    """What it would cost; see `plan.estimate`."""
    from cgiaa_training.pretrained import build

    _require_stages(context)
    config, source = context.recipe.fusion, context.recipe.vlap
    counts = [_split(load_set(name, context.data), config) for name in config.rated]
    photos, trained = sum(map(len, counts)), sum(s.split == "train" for part in counts for s in part)
    with torch.device("meta"):
        towers = build(source.image, source.text, source.heads, context=source.context, pretrained=False)
        pictures = torch.zeros(2, *towers.image.size, 3, dtype=torch.uint8)
        ids = torch.ones(8, source.context, dtype=torch.int64)
        looked = passes("fusion", towers.image, (pictures,), photos, context.device)
        read = passes("fusion", towers.text, (ids, torch.ones_like(ids)), len(ATTRIBUTES) * photos, context.device)
    head = Fusion(_shape(config, towers.dim))
    batch = {
        "image": torch.rand(8, towers.dim),
        "texts": torch.rand(8, 4, towers.dim),
        "target": torch.full((8, 10), 0.1),
    }
    learnt = estimate("fusion", head, batch, trained, config.loop, context.device, loss=_loss(config))
    heads = [learnt] * (len(SEEN) if config.ablations else 1)
    return replace(together("fusion", looked, read, *heads), samples=photos)


def load(path: Path) -> Fusion:
    """The head of a finished stage, in eval mode. Raises CgiaaError when `path` is not one."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        head = Fusion(FusionShape(**saved["shape"]))
        head.load_state_dict(saved["state"])
    except Exception as error:  # torch, pickle and zip each have their own
        raise CgiaaError(
            f"not a fusion head ({type(error).__name__})",
            path=escape(path),
            mend="name the fusion.pt that cgiaa train fusion wrote",
        ) from error
    return head.eval().requires_grad_(False)


def predict(context: Context, images: Sequence[str], name: str) -> Array:
    """What MAP says of photos that the experts have not seen yet, e.g. to teach a student.

    Args:
        images: paths or addresses for `manifest.read_image`.
        name: of the photos; features and critiques are kept under it in the stage's folder.

    Returns:
        (N, 10) distributions over the scores 1..10.
    """
    samples = [Sample(id=image, image=image, split="") for image in images]
    image, texts = _features(context, name, samples)
    return _apply(load(context.folder("fusion") / "fusion.pt"), image, texts)


def spread_out(means: Array, spread: float) -> Array:
    """Distributions over 1..10 with these means (N,) and about this standard deviation: (N, 10).

    A normal distribution cut at 1 and 10 and shifted until its mean is right.
    """
    wanted = np.clip(np.asarray(means, np.float64), 1.02, 9.98)
    low, high = np.full(len(wanted), -40.0), np.full(len(wanted), 50.0)
    for _ in range(60):  # the mean grows with the centre: bisection
        centre = (low + high) / 2
        logits = -((SCORES - centre[:, None]) ** 2) / (2 * spread**2)
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        below = p @ SCORES < wanted
        low, high = np.where(below, centre, low), np.where(below, high, centre)
    return np.asarray(p)


def _require_stages(context: Context) -> None:
    """Raise UsageError where the recipe lacks a stage that this one builds on."""
    recipe = context.recipe
    if recipe.vlap is None:
        raise UsageError("the stage fusion needs the towers of vlap", mend="give the recipe a section [vlap]")
    if recipe.experts is None and not recipe.fusion.critiques:
        raise UsageError(
            "the stage fusion needs critiques", mend="give the recipe a section [experts], or name fusion.critiques"
        )


# --- photos, critiques, features ---------------------------------------------------------------------------------


def _photos(context: Context, name: str) -> _Photos:
    config: FusionConfig = context.recipe.fusion
    found = load_set(name, context.data)
    samples = _split(found, config)
    if not samples:
        raise CgiaaError(f"the set {name} has no photos with scores", mend="name another in fusion.rated")
    image, texts = _features(context, found.name, samples)
    return _Photos(found.name, samples, image, texts, _targets(samples, found, config.spread))


def _split(found: DataSet, config: FusionConfig) -> list[Sample]:
    """The rated photos of a set, each in a split."""
    samples = [s for s in found.samples if s.image and (s.distribution or "score" in s.labels)]
    if all(s.split == "" for s in samples):
        return split_by(samples, 0.0, config.held_out)
    return [replace(s, split=s.split or "train") for s in samples]


def _targets(samples: Sequence[Sample], found: DataSet, spread: float) -> Array:
    low, high = found.description.labels.get("score", (1, 10))
    known = [s.labels.get("score", low) for s in samples]
    made = spread_out(1 + 9 * (np.array(known) - low) / (high - low), spread)
    for i, sample in enumerate(samples):
        if sample.distribution is not None:
            made[i] = sample.distribution
    return np.asarray(made, np.float32)


def _features(context: Context, name: str, samples: Sequence[Sample]) -> tuple[Array, Array]:
    """(N, D) of the photos and (N, 4, D) of their critiques; both are kept, and so are the critiques."""
    towers = _Towers(context)
    folder = context.folder("fusion") / "features"
    folder.mkdir(exist_ok=True)
    images, texts = [], []
    for start in range(0, len(samples), PART):
        part = samples[start : start + PART]
        path = folder / f"{name}-{start:07}-{towers.key(part)}.npz"
        if not path.exists():
            context.say(f"fusion: {name}: {start} of {len(samples)} photos")
            image = towers.look(part)
            said = _critiques(context, part, image)
            with appearing(path.with_suffix(".jsonl")) as partial:
                rows = [{"id": s.id, **texts} for s, texts in zip(part, said, strict=True)]
                partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
            with appearing(path) as partial:
                np.savez(partial, image=image, texts=towers.read(said))
        with np.load(path) as saved:
            images.append(saved["image"])
            texts.append(saved["texts"])
    return np.concatenate(images), np.concatenate(texts)


class _Towers:
    """The towers of the `vlap` stage, loaded when first needed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._path = context.out / "vlap" / "vlap.pt"
        context.results("vlap")  # says so where that stage is not done
        self._model: Any = None

    def key(self, samples: Sequence[Sample]) -> str:
        """Changes with the towers, the source of the critiques and the photos, so that no stale feature is used."""
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        config: FusionConfig = self._context.recipe.fusion
        source = config.critiques or json.dumps(self._context.results("experts"), sort_keys=True)
        digest.update(json.dumps([source, [s.id for s in samples]]).encode())
        return digest.hexdigest()[:12]

    @property
    def model(self) -> Any:
        if self._model is None:
            from cgiaa_training import vlap

            self._model = vlap.load(self._path).to(self._context.device)
        return self._model

    def look(self, samples: Sequence[Sample]) -> Array:
        """(N, D) of photos."""
        places = [str(s.image) for s in samples]
        return points(self.model, places, self._context.recipe.vlap.resize, self._context.device)

    def read(self, said: Sequence[dict[str, str]]) -> Array:
        """(N, 4, D) of critiques, zero where there is none."""
        places = [(i, k) for i, texts in enumerate(said) for k, name in enumerate(ATTRIBUTES) if texts.get(name)]
        found = np.zeros((len(said), len(ATTRIBUTES), self.model.dim), np.float32)
        with torch.inference_mode():
            for part in _batched(places, TEXTS):
                features = self.model.encode_text([said[i][ATTRIBUTES[k]] for i, k in part])
                found[tuple(zip(*part, strict=True))] = features.float().cpu().numpy()
        return found


def _critiques(context: Context, samples: Sequence[Sample], features: Array) -> list[dict[str, str]]:
    """Of each photo, a text for each attribute that there is one for."""
    config: FusionConfig = context.recipe.fusion
    if not config.critiques:
        from cgiaa_training import experts

        return experts.write(context, [str(s.image) for s in samples], features)
    by_photo: dict[str, dict[str, str]] = {}
    for sample in load_set(config.critiques, context.data).samples:
        if sample.text and sample.attribute in ATTRIBUTES and sample.image:
            by_photo.setdefault(sample.image, {}).setdefault(sample.attribute, sample.text)
    found = [by_photo.get(str(s.image), {}) for s in samples]
    if not any(found):
        raise CgiaaError(
            f"the set {config.critiques} has no critique of these photos",
            mend="name another in fusion.critiques, or leave it out so that the experts write them",
        )
    return found


def _batched(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


# --- the head ----------------------------------------------------------------------------------------------------


def _shape(config: FusionConfig, dim: int, **limits: bool) -> FusionShape:
    return FusionShape(dim, len(ATTRIBUTES), config.hidden, config.dropout, **limits)


def _train(context: Context, parts: Sequence[_Photos], folder: Path, **limits: bool) -> Fusion:
    config: FusionConfig = context.recipe.fusion
    image, texts, target = (
        torch.from_numpy(np.concatenate([getattr(p, name)[p.of("train")] for p in parts]).astype(np.float32))
        for name in ("image", "texts", "target")
    )
    key = key_of([part.numpy() for part in (image, texts, target)])
    torch.manual_seed(context.recipe.seed)
    head = Fusion(_shape(config, image.shape[1], **limits))
    head.fit_scale(image, texts)
    data = [{"image": i, "texts": t, "target": d} for i, t, d in zip(image, texts, target, strict=True)]
    return fit(
        head,
        data,
        lambda part: {key: torch.stack([one[key] for one in part]) for key in part[0]},
        _loss(config),
        Run(folder, config.loop, context.recipe.seed, f"fusion {folder.name}", context.device, key),
    )


def _loss(config: FusionConfig) -> Callable[[nn.Module, Batch], tuple[Tensor, dict[str, float]]]:
    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        found, target = model(batch["image"], batch["texts"]), batch["target"]
        distance = emd_loss(found, target)
        if not config.rank_weight:
            return distance, {}
        levels = torch.arange(1, BINS + 1, device=found.device, dtype=found.dtype)
        order = rank_loss(found @ levels, target.to(found.dtype) @ levels)
        return distance + config.rank_weight * order, {"emd": float(distance.detach()), "rank": float(order.detach())}

    return loss


def _apply(head: Fusion, image: Array, texts: Array) -> Array:
    with torch.inference_mode():
        found: Tensor = head(torch.from_numpy(image), torch.from_numpy(texts))
        return found.numpy()


def _save(head: Fusion, path: Path) -> None:
    with appearing(path) as partial:
        torch.save({"shape": asdict(head.shape), "state": head.state_dict()}, partial)
