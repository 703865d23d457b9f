"""Stage 5, `distill`: an image-only student, taught by ratings, by the AVA judge and by larger teachers.

1. *Frozen features* (`training.features`): what the towers see of every photo, computed once.
2. *Teachers*: regressions on frozen features. Beauty: on more towers than the student has, from the rated photos, with
   a share of the judge's own opinion and, where the recipe says so, of MAP's (`map_weight`) and of a language
   model's (`language`, `training.prior`). Technical quality and complexity: on the student's own frozen features. A
   teacher's opinion of a photo that it learned from comes from a fit without that photo.
3. *Tune* (`training.tune`): the tail of the semantic tower learns all opinions and the teacher's features.
4. *Heads* (`training.heads`): linear in standardised features, in closed form; and one that chooses crops, learned
   by gradient on the frozen map (`training.crops`).

Nothing is chosen on oasis_scenes, it only checks (`training.evaluate`); except that it had been seen when `language`
was added (docs/training.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.crop import CropHead
from cgiaa_models.student import BESIDE, EARLY, FEATURES, JUDGE, LATE, Student, Towers
from cgiaa_models.towers import Wide
from cgiaa_training import fusion, vlap
from cgiaa_training.crops import FEWEST, LOOP, learn_crops
from cgiaa_training.damage import DAMAGES
from cgiaa_training.data import CropEdit, Job, iou
from cgiaa_training.features import Frozen, extract_teacher, extract_wide, late_features
from cgiaa_training.files import appearing, key_of, plain_name, require_memory
from cgiaa_training.heads import Evidence, Pool, Strengths, fit_heads
from cgiaa_training.held_out import inputs
from cgiaa_training.loop import LoopConfig, Run
from cgiaa_training.manifest import Sample, load_set
from cgiaa_training.plan import Plan, estimate, passes, together
from cgiaa_training.precision import outputs_of
from cgiaa_training.prior import LanguageConfig, opinion
from cgiaa_training.ridge import columns, out_of_fold, unit
from cgiaa_training.run import Context
from cgiaa_training.tune import Learner, Lesson, tune
from cgiaa_training.weights import LANGUAGE_MODELS, WEIGHTS, load_teacher, load_towers
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from cgiaa_cli.bundles import load
from cgiaa_cli.errors import UsageError
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import escape

__all__ = ["DistillConfig", "distill", "plan", "run"]

Array = NDArray[Any]
LABELS = ("score", "technical", "complexity")
SOURCES = ("published", "random")
LEARNED = ("train", "")  # splits; a set without splits is learned from whole
CLEAR = 0.25  # share of the votes beyond a half that makes a preference worth learning
SCORES = np.arange(1, 11)
TOLD = 3000  # photos of which another bundle is asked: support vectors compare all of them with each other
AT_ONCE = 256  # of these in memory
COPIES = 5  # of the matrix of all features while teachers learn: as it is, standardised, stacked, and on the way


@dataclass(frozen=True)
class DistillConfig:
    """How the student learns.

    Attributes:
        rated: sets with a label `score`, `technical`, `complexity` or one of the four attributes; their test and val
            splits are not learned from.
        crops: a set in FCDB's layout: votes between two crops, and best crops; "": none.
        photos: sets whose photos are only judged by the teachers.
        teacher: a bundle (a name or path) that says technical quality and complexity of all photos where no set rates
            them; "": nobody does, and the student gives every photo the same.
        wide: the student sees with the image tower of the stage vlap, too: better, and for GPUs.
        weights: `published` (training/weights.py) or `random`, for trials without them.
        ridge_teacher, ridge_technical, ridge_complexity: strength of the teachers' ridges, see ridge.py.
        judge_weight: of the AVA judge's opinion beside that of the beauty teacher, which has 1.
        map_weight: of MAP's opinion (the stage fusion) beside it; 0: it is not asked.
        language: whose opinion of captions is added beside these.
        teacher_features: principal components of the teacher's features that the tail learns to give.
        feature_weight: of the loss on them.
        heads: how stiff the student's heads are.
        damaged: so many photos of `photos` are damaged, beside those with a score.
        pairs: at most so many pairs of crops of one photo.
        loop: of the tuning.
    """

    rated: tuple[str, ...] = ("oasis_objects_animals", "savoias", "biq2021")
    crops: str = "fcdb"
    photos: tuple[str, ...] = ("coco",)
    teacher: str = ""
    wide: bool = False
    weights: str = "published"
    ridge_teacher: float = 0.1
    ridge_technical: float = 0.3
    ridge_complexity: float = 0.3
    judge_weight: float = 0.15
    map_weight: float = 0.0
    language: LanguageConfig = field(default_factory=LanguageConfig)
    teacher_features: int = 64
    feature_weight: float = 0.5
    damaged: int = 300
    pairs: int = 2
    heads: Strengths = field(default_factory=Strengths)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            epochs=4, batch_size=64, rate=3e-3, layer_decay=0.1, ema=0.99, clip=0.0, channels_last=True, save_every=40
        )
    )

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = []
        if not self.rated:
            faults.append("rated must name a set at least")
        if self.weights not in SOURCES:
            faults.append(f"weights must be one of {', '.join(SOURCES)}")
        positive = ("ridge_teacher", "ridge_technical", "ridge_complexity")
        faults += [f"{name} must be above 0" for name in positive if getattr(self, name) <= 0]
        least = ("judge_weight", "map_weight", "teacher_features", "feature_weight", "damaged", "pairs")
        faults += [f"{name} must be 0 or more" for name in least if getattr(self, name) < 0]
        strange = set(self.language.captions) - {*self.rated, self.crops, *self.photos}
        return faults + [f"language.captions: {name} is in none of rated, crops and photos" for name in sorted(strange)]


def run(context: Context) -> dict[str, Any]:
    """Train the student; RUN/distill/student.pt.

    Returns:
        `agreement`: SRCC of the tuned tower with each teacher on photos held out for that; `photos`: of each set;
        `crop`: what `crops.learn_crops` found, where a set has crops;
        `weights`: those it started from.

    Raises:
        CgiaaError: a set or the published weights are missing.
        UsageError: no set has a score.
    """
    return _Distilling(context, context.recipe.distill).run()


def distill(data: Path, out: Path, config: DistillConfig | None = None, *, say: Any = print) -> Path:
    """Train the student on the sets below `data` without a recipe; returns `out`/student.pt."""
    from cgiaa_training.recipe import Recipe

    recipe = Recipe("distill", distill=config or DistillConfig())
    _Distilling(_Here(recipe, data, out, say=say), recipe.distill).run()
    return out / "student.pt"


class _Here(Context):
    """A context whose stages all have one folder."""

    def folder(self, stage: str) -> Path:
        self.out.mkdir(parents=True, exist_ok=True)
        return self.out


def plan(context: Context) -> Plan:
    """What it would cost: frozen features once, then the tuning."""
    config: DistillConfig = context.recipe.distill
    sets = _load(config, context)
    photos = sum(len(part.samples) for part in sets)
    towers = Towers().eval()
    learner = Learner(towers, BESIDE, len(LABELS), max(1, config.teacher_features))
    batch = (torch.zeros(4, 120, 15, 15), torch.zeros(4, BESIDE))
    inputs = (torch.zeros(2, 240, 240, 3, dtype=torch.uint8), torch.zeros(2, 4, 112, 112, dtype=torch.uint8))
    frozen = passes("distill", towers, (*inputs, torch.zeros(2, 14)), 2 * photos, context.device)
    tuned = estimate("distill", learner, batch, photos, config.loop, context.device)
    width, more = wide_plan(context, "distill", photos)
    cost = together("distill", frozen, tuned, *more)
    return replace(cost, memory_bytes=cost.memory_bytes + _matrices(photos, width))


def _matrices(photos: int, wide: int) -> int:
    """Bytes that the features of these photos take, `wide` of another tower, with the copies that are made of them."""
    return COPIES * photos * (FEATURES + wide) * 4


def wide_plan(context: Context, stage: str, photos: int) -> tuple[int, list[Plan]]:
    """Features of the wide tower of the recipe, and what it costs to show it so many photos; 0 and nothing without."""
    from cgiaa_training.pretrained import build

    source = context.recipe.vlap
    if not context.recipe.distill.wide:
        return 0, []
    with torch.device("meta"):
        tower = build(source.image, source.text, source.heads, context=source.context, pretrained=False).image
        photo = torch.zeros(2, *tower.size, 3, dtype=torch.uint8)
        return tower.width, [passes(stage, tower, (photo,), photos, context.device)]


@dataclass(frozen=True)
class _Set:
    name: str
    samples: list[Sample]
    ranges: Mapping[str, tuple[float, float]]

    @property
    def jobs(self) -> list[Job]:
        return [(str(s.image), None) for s in self.samples]

    def labels(self, name: str, low: float = 0, high: float = 1) -> Array:
        """Ratings of the photos to learn from, brought to `low`..`high`; NaN elsewhere."""
        values = np.array([s.labels.get(name, np.nan) if s.split in LEARNED else np.nan for s in self.samples])
        if name not in self.ranges:
            return values
        least, most = self.ranges[name]
        return low + (high - low) * (values - least) / (most - least)


def _load(config: DistillConfig, context: Context) -> list[_Set]:
    """Rated sets first, then crops, then photos without ratings; each once."""
    if config.map_weight and context.recipe.fusion is None:
        raise UsageError("distill.map_weight needs MAP", mend="give the recipe a section [fusion], or leave it out")
    names = dict.fromkeys([*config.rated, *([config.crops] if config.crops else []), *config.photos])
    found = []
    for name in names:
        one = load_set(name, context.data)
        samples = [s for s in one.samples if s.image is not None]
        unique = {s.image: s for s in reversed(samples)}  # a photo with several captions is one photo
        ranges = {label: limits for label, limits in one.description.labels.items()}
        found.append(_Set(name, list(reversed(unique.values())), ranges))
    _require_labels(config, found)
    if config.language.asked and not any(_captions(config, found)):
        named = ", ".join(config.language.captions)
        raise UsageError(f"no photo of {named} has a text", mend="name other sets in distill.language.captions")
    return found


def _require_labels(config: DistillConfig, sets: Sequence[_Set]) -> None:
    """Raise UsageError where a rated set has nothing to learn from, or none has a score."""
    known = f"score, technical, complexity, {', '.join(ATTRIBUTES[:-1])} or {ATTRIBUTES[-1]}"
    for part in sets:
        if part.name in config.rated and not {*LABELS, *ATTRIBUTES} & set(part.ranges):
            raise UsageError(
                f"no label to learn; it has {', '.join(part.ranges) or 'none'}",
                path=escape(part.name),
                mend=f"call the column of ratings {known}, or leave the set out of distill.rated",
            )
    if not any(np.isfinite(part.labels("score")).any() for part in sets):
        labels = ", ".join(dict.fromkeys(label for part in sets for label in part.ranges)) or "none"
        raise UsageError(
            f"no photo to learn from (split train, or no split) has a score; the sets' labels are {labels}",
            mend="call a column score, or name a set that has one in distill.rated",
        )


def _captions(config: DistillConfig, sets: Sequence[_Set]) -> list[str | None]:
    """The texts that a language model judges, for every photo of the pool; None: none."""
    return [
        s.text if part.name in config.language.captions and s.split in LEARNED else None
        for part in sets
        for s in part.samples
    ]


class _Distilling:
    def __init__(self, context: Context, config: DistillConfig) -> None:
        self.context, self.config = context, config
        self.folder = context.folder("distill")
        self.sets = _load(config, context)
        if config.map_weight:
            context.results("fusion")
        if config.weights == "random":
            torch.manual_seed(context.recipe.seed)
            self.towers = Towers().eval().requires_grad_(False)
        else:
            self.towers = load_towers()
        self.frozen = Frozen(self.towers)
        self.wide = self._wide() if config.wide else None
        self.teacher = load(config.teacher) if config.teacher else None

    def run(self) -> dict[str, Any]:
        photos = sum(len(part.samples) for part in self.sets)
        wide = self.wide.width if self.wide else 0
        require_memory(_matrices(photos, wide), f"distill: what the towers see of {photos} photos")
        stems, rest = zip(*(self._seen(part.name, part.jobs, mirror=True) for part in self.sets), strict=True)
        frozen = self._whole(stems, rest)
        judged = self._judged(frozen)
        labels = self._labels()
        taught, opinions = self._teach(frozen, labels, judged)
        lesson = Lesson(stems, columns(frozen[:, LATE:]) / 10, opinions, taught, self.config.feature_weight)
        seed, device = self.context.recipe.seed, self.context.device
        # not what follows from them: another number of threads rounds otherwise
        key = key_of([*rest, self._ratings(), self.teacher and self.teacher.manifest["files"]])
        agreement = tune(self.towers, lesson, Run(self.folder, self.config.loop, seed, "distill", device, key))
        features = self._whole(stems, rest)
        crop, cropped = self._crop_head(stems)
        student = Student(crop=crop is not None, wide=self.wide)
        student.crop = crop
        student.towers.load_state_dict(self.towers.state_dict())
        fit_heads(student, Pool(features, labels, opinions[:, 0]), self._evidence(features), self.config.heads)
        with appearing(self.folder / "student.pt") as partial:
            torch.save(student.cpu().state_dict(), partial)
        return {
            "agreement": {name: round(agreement[str(i)], 4) for i, name in enumerate(LABELS)},
            "photos": {part.name: len(part.samples) for part in self.sets},
            **({"crop": cropped} if cropped else {}),
            "weights": self._weights(),
            **({"teacher": f"{self.teacher.name} {self.teacher.version}"} if self.teacher else {}),
        }

    def _wide(self) -> Wide:
        """The image tower of the stage vlap."""
        self.context.results("vlap")
        pair = vlap.load(self.context.out / "vlap" / "vlap.pt")
        wide = Wide(pair.blueprint["image"])
        wide.tower.load_state_dict(pair.image.state_dict())
        return wide.eval().requires_grad_(False)

    def _weights(self) -> list[dict[str, str]]:
        """Published weights that shaped the student."""
        found = list(WEIGHTS) if self.config.weights == "published" else []
        if self.config.language.asked:
            name = self.config.language.model
            about = LANGUAGE_MODELS.get(name, {"name": name, "licence": "see where it comes from"})
            found.append({**about, "use": "teacher of the score only; not in the bundle"})
        if self.wide is not None and self.context.recipe.vlap.pretrained:
            about = {"name": self.context.recipe.vlap.image, "licence": "see where it comes from"}
            found.append({**about, "use": "the wide tower; tuned by vlap unless locked"})
        return found

    def _crop_head(self, stems: Sequence[Array]) -> tuple[CropHead | None, dict[str, Any]]:
        """What chooses crops, and what it is worth; None where too few photos have one."""
        for part, seen in zip(self.sets, stems, strict=True):
            if part.name != self.config.crops:
                continue
            known = [i for i, s in enumerate(part.samples) if s.split in LEARNED and "best_crop_xywh" in s.extra]
            if len(known) >= FEWEST:
                self.context.say(f"distill: crops of {len(known)} photos")
                samples = [part.samples[i] for i in known]
                key = key_of([(s.id, s.extra["best_crop_xywh"]) for s in samples])
                run = Run(self.folder / "crops", LOOP, self.context.recipe.seed, "crops", self.context.device, key)
                return learn_crops(samples, np.asarray(seen[known]), run)
        return None, {}

    # --- what the towers see -------------------------------------------------------------------------------------

    def _seen(self, name: str, jobs: Sequence[Job], *, mirror: bool = False) -> tuple[Array, Array]:
        folder, say = self.folder / "features", self.context.say
        stems, rest = self.frozen.extract(jobs, folder, name, mirror=mirror, say=say)
        if self.wide is not None:
            more = extract_wide(self.wide, jobs, folder, f"wide-{name}", self.context.device, say)
            rest = np.concatenate([rest, more], 1)
        return stems, rest

    def _whole(self, stems: Sequence[Array], rest: Sequence[Array]) -> Array:
        """(N, FEATURES and those of a wide tower) as the towers are now."""
        late = np.concatenate([late_features(self.towers, part) for part in stems])
        return np.concatenate([late, np.concatenate(rest)], 1)

    def _judged(self, features: Array) -> Array:
        """The judge's own distributions (N, 10)."""
        last = torch.from_numpy(features[:, LATE + EARLY :][:, :JUDGE].astype(np.float32))
        with torch.inference_mode():
            return np.asarray(self.towers.judge.distribution(last).numpy())

    # --- teachers ------------------------------------------------------------------------------------------------

    def _ratings(self) -> dict[str, Array]:
        """Ratings of the pool by name: technical and attributes on 1..10, complexity on 0..100, scores in units."""
        found = {}
        for name in (*LABELS, *ATTRIBUTES):
            low, high = (0, 100) if name == "complexity" else (1, 10)
            parts = [part.labels(name, low, high) for part in self.sets]
            found[name] = np.concatenate([unit_known(p) for p in parts] if name == "score" else parts)
        return found

    def _labels(self) -> dict[str, Array]:
        """As `_ratings`, with what the teacher bundle says of some photos where no set rates it."""
        found = self._ratings()
        missing = [name for name in LABELS[1:] if not np.isfinite(found[name]).any()]
        if self.teacher is None or not missing:
            return found
        self.context.say(f"distill: {self.teacher.name} {self.teacher.version} says {' and '.join(missing)}")
        places = [place for part in self.sets for place, _ in part.jobs]
        rows = np.sort(np.random.default_rng(0).permutation(len(places))[:TOLD])
        network = self.teacher.encoder.read_bytes()
        said = [
            outputs_of(network, inputs([places[i] for i in part]))
            for part in np.array_split(rows, len(rows) // AT_ONCE + 1)
        ]
        for name in missing:
            found[name][rows] = np.concatenate([one[name] for one in said])
        return found

    def _teach(self, frozen: Array, labels: dict[str, Array], judged: Array) -> tuple[Array, Array]:
        """Features that the tail learns to give (N, K), and opinions (N, 3), all in zero mean and unit deviation."""
        own = columns(frozen)
        judge = own[:, LATE + EARLY :][:, :JUDGE]
        parts = [own[:, :LATE], judge, own[:, FEATURES:]]
        components: Array = np.zeros((len(own), 1), np.float32)  # without a larger trunk: nothing, easily learned
        if self.config.weights == "published":
            trunk = load_teacher()
            folder = self.folder / "features"
            trunks = [
                extract_teacher(trunk, part.jobs, folder, f"teacher-{part.name}", self.context.say)
                for part in self.sets
            ]
            parts.append(columns(np.concatenate(trunks)))
            if self.config.teacher_features:
                components = PCA(self.config.teacher_features, random_state=0).fit_transform(parts[-1])
        seen = np.concatenate(parts, 1)
        beauty = unit(out_of_fold(seen, labels["score"], self.config.ridge_teacher))
        beauty = unit(beauty + self.config.judge_weight * unit(judged @ SCORES))
        if self.config.map_weight:
            beauty = unit(beauty + self.config.map_weight * unit(self._mapped() @ SCORES))
        if self.config.language.asked:
            told = opinion(self.context, seen, _captions(self.config, self.sets))
            beauty = unit(beauty + self.config.language.weight * told)
        others = [
            unit(out_of_fold(own, labels[name], strength)) if np.isfinite(labels[name]).any() else np.zeros(len(own))
            for name, strength in (
                ("technical", self.config.ridge_technical),
                ("complexity", self.config.ridge_complexity),
            )
        ]
        return columns(components), np.stack([beauty, *others], 1)

    def _mapped(self) -> Array:
        """MAP's distributions (N, 10)."""
        found = []
        for part in self.sets:
            self.context.say(f"distill: MAP judges {len(part.samples)} photos of {part.name}")
            images, name = [str(s.image) for s in part.samples], f"distill-{plain_name(part.name)}"
            found.append(fusion.predict(self.context, images, name))
        return np.concatenate(found)

    # --- evidence of single attributes ---------------------------------------------------------------------------

    def _evidence(self, features: Array) -> Evidence:
        """Damaged copies of some photos, and both crops of some pairs."""
        rows, jobs = self._damaged()
        damaged = {name: self._of(name, [(path, edit) for path, _ in jobs]) for name, edit in DAMAGES.items()}
        crops, preference = self._crops()
        pairs = self._of("pairs", crops) if crops else np.zeros((0, features.shape[1]), np.float32)
        return Evidence(features[rows], damaged, pairs, np.array(preference))

    def _damaged(self) -> tuple[list[int], list[Job]]:
        """The photos that are damaged: their places in the pool, and themselves."""
        every = [(part.name, s) for part in self.sets for s in part.samples]
        unrated = [i for i, (name, _) in enumerate(every) if name in self.config.photos]
        scored = [i for i, (_, s) in enumerate(every) if "score" in s.labels and s.split in LEARNED]
        rows = sorted({*scored, *unrated[: self.config.damaged]})
        return rows, [(str(every[i][1].image), None) for i in rows]

    def _of(self, name: str, jobs: Sequence[Job]) -> Array:
        stems, rest = self._seen(name, jobs)
        return self._whole([stems], [rest])

    def _crops(self) -> tuple[list[Job], list[float]]:
        """Both crops of clear preferences on training photos, and by how much the first is better.

        That is which one people prefer, and which is closer to the one they would make.
        """
        jobs: list[Job] = []
        preference = []
        for part in self.sets:
            if part.name != self.config.crops:
                continue
            for sample in part.samples:
                clear = [
                    (
                        tuple(p["crop_a_xywh"]),
                        tuple(p["crop_b_xywh"]),
                        p["votes_a"] / max(1, p["votes_a"] + p["votes_b"]),
                    )
                    for p in sample.extra["pairs"]
                ]
                clear = [c for c in clear if abs(c[2] - 0.5) > CLEAR and sample.split in LEARNED]
                best = tuple(sample.extra["best_crop_xywh"])
                for a, b, votes in clear[: self.config.pairs]:
                    jobs += [(str(sample.image), CropEdit(box)) for box in (a, b)]
                    preference.append(votes - 0.5 + iou(a, best) - iou(b, best))
        return jobs, preference


def unit_known(values: Array) -> Array:
    """`unit` of the numbers among `values`; NaN stays."""
    known = np.isfinite(values)
    return (
        np.where(known, (values - values[known].mean()) / (values[known].std() + 1e-9), np.nan)
        if known.any()
        else values
    )
