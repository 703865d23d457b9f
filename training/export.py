"""Stage 6, `export`: what was trained, as a bundle that `--model` takes, at a precision whose cost was measured.

1. The student (towers and heads) becomes `encoder.onnx`, compared with torch at batch 1 and 8.
2. Decoders, judge and text tower follow, from the stages that the recipe has.
3. Each precision is made (training/precision.py) and measured on held-out photos beside fp32.
4. The one that the recipe names is shipped in RUN/bundle, with a model card from the run's own records
   (training/card.py). The others stay in RUN/export for `cgiaa export-onnx RUN --precision ...`.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.student import Student
from cgiaa_models.towers import Wide
from cgiaa_training import text_parts
from cgiaa_training.assemble import ABOUT, assemble
from cgiaa_training.card import model_card, training_data
from cgiaa_training.distill import wide_plan
from cgiaa_training.files import appearing
from cgiaa_training.held_out import calibration, check, held_out, together
from cgiaa_training.plan import Plan, passes
from cgiaa_training.plan import together as plans
from cgiaa_training.precision import PRECISIONS, Inputs, compare, convert, percentiles
from cgiaa_training.recipe import sets_of
from cgiaa_training.run import Context
from cgiaa_training.weights import ENCODERS, LANGUAGE_MODELS, WEIGHTS
from numpy.typing import NDArray

from cgiaa_cli.bundles import ENCODER, About, Bundle, load, write_bundle
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.imaging.measure import MEASURES
from cgiaa_cli.imaging.preprocess import SIZE, TILE, TILES
from cgiaa_cli.inference.engine import CROP, OUTPUTS, import_onnxruntime

__all__ = [
    "PARITY",
    "ExportConfig",
    "export_student",
    "load_student",
    "parity",
    "plan",
    "run",
    "to_onnx",
]

Array = NDArray[Any]
PARITY = 1e-3  # largest difference of any output
CARD = "model-card.md"
LICENCE = "Apache-2.0 for the code and the published weights it starts from; see training_data"
RANGES: dict[str, list[float]] = {
    "distribution": [0, 1],
    "attributes": [1, 10],
    "technical": [1, 10],
    "complexity": [0, 100],
    "embedding": [-1, 1],
    CROP: [0, 1],
}


@dataclass(frozen=True)
class ExportConfig:
    """What is shipped, and what is measured of it.

    Attributes:
        name, version: of the bundle; name "": the recipe's.
        licence: of the bundle.
        precision: of the encoder that is shipped, one of `PRECISIONS`.
        text_precision: of decoders and judge, one of `text_parts.PRECISIONS`; all of these are measured.
        experts: whether the decoders are shipped; a bundle with a judge alone composes its critiques.
        text_from: a bundle (a name or path) whose judge, experts and search by words come along at their precision,
            for a recipe that trains none of them; "": none.
        search: what searches photos by words: "tower", the text tower of `vlap`, which is large; "words", a table of
            `search_dim` numbers for each word, which is small and nearly as good; "": nothing.
        measured: the precisions that the encoder is made in and measured at; `precision` is always among them.
        check: sets whose held-out photos the cost of each precision is measured on.
        calibration: sets whose training photos the ranges of int8 come from.
        reference: sets among whose training photos a score has its percentile; (): those of `calibration`.
        check_photos, calibration_photos, reference_photos: so many of each set at most.
    """

    name: str = ""
    version: str = "1"
    licence: str = LICENCE
    precision: str = "fp32"
    text_precision: str = "fp16"
    experts: bool = True
    text_from: str = ""
    search: str = ""
    search_dim: int = 64
    measured: tuple[str, ...] = PRECISIONS
    check: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    check_photos: int = 200
    calibration_photos: int = 100
    reference_photos: int = 400

    @property
    def precisions(self) -> tuple[str, ...]:
        """All that are made, in the order of `PRECISIONS`, fp32 always."""
        return tuple(p for p in PRECISIONS if p in (*self.measured, self.precision, "fp32"))

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = []
        for name in (self.precision, *self.measured):
            if name not in PRECISIONS:
                faults.append(f"precision '{name}' must be one of {', '.join(PRECISIONS)}")
        if self.text_precision not in text_parts.PRECISIONS:
            faults.append(f"text_precision must be one of {', '.join(text_parts.PRECISIONS)}")
        if not self.check:
            faults.append("check must name a set at least")
        if "int8" in self.precisions and not self.calibration:
            faults.append("int8 needs sets in calibration")
        if self.search not in ("", *text_parts.SEARCH):
            faults.append(f"search must be empty or one of {', '.join(text_parts.SEARCH)}")
        if (self.search or self.text_from) and not (self.reference or self.calibration):
            faults.append(f"{'search' if self.search else 'text_from'} needs sets in reference or calibration")
        if self.search and self.text_from:
            faults.append("text_from brings a search of its own: leave out search")
        least = {"search_dim": 2, "check_photos": 2, "calibration_photos": 1, "reference_photos": 1}
        return faults + [f"{name} must be {n} or more" for name, n in least.items() if getattr(self, name) < n]


def run(context: Context) -> dict[str, Any]:
    """Make RUN/bundle.

    Returns:
        `shipped`: which precision; `parity` with torch by output; `precisions`: what each costs, see
        `precision.compare`; `text`: the same of decoders and judge, see `text_parts.measure_text`; `held_out`: what the
        shipped one reaches on the sets to check.

    Raises:
        UsageError: the recipe has no stage `distill`, or trains what `text_from` is to bring, or that has no texts.
        BundleError: there is no bundle `text_from`.
        CgiaaError: that stage is not done, an output differs from torch's by more than `PARITY`, a photo cannot be
            read.
    """
    config: ExportConfig = context.recipe.export
    folder = context.folder("export")
    if context.recipe.distill is None:
        raise UsageError("the stage export needs a student", mend="give the recipe a section [distill]")
    if config.search and context.recipe.vlap is None:
        raise UsageError("export.search needs the towers of vlap", mend="give the recipe a section [vlap]")
    if config.text_from and (context.recipe.attributes or context.recipe.experts):
        raise UsageError("the recipe trains the texts that export.text_from is to bring", mend="leave out one of them")
    source = load(config.text_from) if config.text_from else None
    context.results("distill")  # says so where that stage is not done
    student = load_student(context.out / "distill" / "student.pt")
    whole, worst = _checked(student)
    learned = {name for _, name in sets_of(context.recipe.distill)}
    photos = together([check(name, context.data, config.check_photos, learned) for name in config.check])
    ranges = [b for name in config.calibration for b in calibration(name, context.data, config.calibration_photos)]
    sets = config.reference or config.calibration
    known = [b for name in sets for b in calibration(name, context.data, config.reference_photos)]
    section, costs = _texts(context, source, whole, known, photos.batches)
    titles = [title for title, _ in photos.ratings]
    results: dict[str, Any] = {"shipped": config.precision, "parity": worst, "precisions": {}, "text": costs}
    reference = {}
    for precision in config.precisions:
        context.say(f"export: {precision}")
        network = convert(whole, precision, ranges)
        shutil.rmtree(folder / precision, ignore_errors=True)
        (folder / precision).mkdir()
        (folder / precision / ENCODER).write_bytes(network)
        results["precisions"][precision] = compare(network, whole, photos.batches, photos.ratings)
        if known:
            reference[precision] = {"sets": list(sets), "quantiles": percentiles(network, known)}
    for precision in config.precisions:
        held = {title: results["precisions"][precision][title] for title in titles}
        more: dict[str, Any] = {"precision": precision, **_crop(context.results("distill"))}
        more |= {"reference": reference[precision]} if known else {}
        more |= {"text": {"precision": config.text_precision, **section}} if section else {}
        about = _about(context, student) | {"results": held, "more": more}
        _describe(context, folder / precision, about, {**results, "held_out": held})
    assemble(folder / config.precision, context.out / "bundle")
    return {**results, "held_out": {title: results["precisions"][config.precision][title] for title in titles}}


def _texts(
    context: Context, source: Bundle | None, whole: bytes, known: Sequence[Inputs], checks: Sequence[Inputs]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """RUN/export/text: the bundle's section "text", and what its precisions cost; see `text_parts`."""
    folder = context.folder("export") / "text"
    photos = text_parts.Photos(whole, known, checks)
    if source is not None:
        return text_parts.carry_text(source, folder, photos), {}
    section = text_parts.export_text(context, folder, photos)
    return section, text_parts.measure_text(context, folder) if section else {}


def plan(context: Context) -> Plan:
    """What it would cost: the held-out photos twice for each precision (once at fp32); see `plan.passes`."""
    config: ExportConfig = context.recipe.export
    photos = sum(min(config.check_photos, len(held_out(name, context.data))) for name in config.check)
    count = photos * 2 * len(config.precisions) + config.calibration_photos * len(config.calibration)
    cost = passes("export", Student().eval(), tuple(sample(2).values()), count, context.device)
    return replace(plans("export", cost, *wide_plan(context, "export", count)[1]), samples=photos)


def _about(context: Context, student: Student) -> dict[str, Any]:
    """What the bundles of a run at every precision have in common."""
    config: ExportConfig = context.recipe.export
    return {
        "name": config.name or context.recipe.name,
        "version": config.version,
        "licence": config.licence,
        "embedding_dim": student.embedding.out_features,
        "training_data": [*training_data(context), *_brought("training_data", context)],
        "weights": [
            *context.results("distill").get("weights", WEIGHTS),
            *_encoder(context),
            *_writer(context),
            *_brought("weights", context),
        ],
        "outputs": {key: {"range": RANGES[key]} for key in _outputs(student)},
    }


def _encoder(context: Context) -> list[dict[str, str]]:
    """What the judge of critiques, which is shipped where it was trained, started from; nothing of our own making."""
    if context.recipe.attributes is None or context.recipe.attributes.judge.encoder.startswith("wordpiece:"):
        return []
    name = context.recipe.attributes.judge.encoder
    use = "what the judge of critiques starts from; tuned"
    return [ENCODERS.get(name, {"name": name, "licence": "see where it comes from", "use": use})]


def _writer(context: Context) -> list[dict[str, str]]:
    """The language model that taught the experts, where they are shipped."""
    experts = context.recipe.experts
    if experts is None or not experts.teacher.model or not context.recipe.export.experts:
        return []
    name = experts.teacher.model
    known = LANGUAGE_MODELS.get(name, {"name": name, "licence": "see where it comes from"})
    return [{**known, "use": "wrote texts that the experts learned from; not in the bundle"}]


def _brought(kind: str, context: Context) -> list[dict[str, str]]:
    """All that bundles which taught the student, or gave their texts, name: they do not say what shaped what."""
    found = []
    for what, name in (("teacher", context.recipe.distill.teacher), ("texts", context.recipe.export.text_from)):
        if name:
            source = load(name)
            told = f"{what}: {source.name} {source.version}"
            found += [{**entry, "use": f"{told}: {entry['use']}"} for entry in source.manifest[kind]]
    return found


def _outputs(student: Student) -> tuple[str, ...]:
    return OUTPUTS if student.crop is None else (*OUTPUTS, CROP)


def _crop(results: dict[str, Any]) -> dict[str, Any]:
    """The bundle's section "crop", from what `distill` found; none where no crop is sure enough to be offered."""
    gain = results.get("crop", {}).get("least_gain")
    return {} if gain is None else {CROP: {"least_gain": gain}}


def _describe(context: Context, folder: Path, about: dict[str, Any], results: dict[str, Any]) -> None:
    """The model card, and the `About` of the bundle; the latter last: with it, the folder is whole."""
    (folder / CARD).write_text(model_card(context, about, results), "utf-8")
    beside = {}
    if "text" in about["more"]:
        text = folder.parent / "text" / about["more"]["text"]["precision"]
        beside = {f"text/{path.name}": f"../text/{text.name}/{path.name}" for path in sorted(text.iterdir())}
    with appearing(folder / ABOUT) as path:
        path.write_text(json.dumps({**about, "beside": beside}, indent=2, ensure_ascii=False), "utf-8")


# --- the network -------------------------------------------------------------------------------------------------


def load_student(checkpoint: Path) -> Student:
    """The student of a training run. Raises CgiaaError when `checkpoint` is not one."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        kept = len(state["technical.support"]), len(state["complexity.support"])
        wide = Wide.of(state["wide.blueprint"]) if "wide.blueprint" in state else None
        student = Student(state["embedding.weight"].shape[0], "crop.prior" in state, kept, wide)
        student.load_state_dict(state)
    except Exception as error:  # torch, pickle and zip each have their own
        raise CgiaaError(
            f"not a student's checkpoint ({type(error).__name__})",
            path=str(checkpoint),
            mend="name the student.pt that cgiaa train distill wrote",
        ) from error
    return student.eval().requires_grad_(False)


def sample(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Made-up inputs of `count` photos: smooth colours with noise, and measures near a photo's."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 9, 9)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    noisy = smooth + torch.from_numpy(rng.normal(0, 8, smooth.shape).astype(np.float32))
    return {
        "photo": noisy.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous(),
        "tiles": torch.from_numpy(rng.integers(0, 256, (count, TILES, TILE, TILE), dtype=np.uint8)),
        "measures": torch.from_numpy(rng.uniform(0, 1, (count, len(MEASURES))).astype(np.float32)),
    }


def to_onnx(student: Student) -> bytes:
    """The network with a batch of any size; inputs and outputs as in docs/design.md."""
    inputs = sample(2)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():  # it tells that the three batch axes are one, which is what we want
        warnings.filterwarnings("ignore", message="# The axis name")
        program = torch.onnx.export(
            student,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(_outputs(student)),
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise CgiaaError("torch.onnx gave no program", mend="install the torch version of constraints.txt")
    return bytes(program.model_proto.SerializeToString())


def parity(student: Student, network: bytes, sizes: tuple[int, ...] = (1, 8)) -> dict[str, float]:
    """Largest difference between ONNX Runtime and torch by output, over batches of `sizes`."""
    session = import_onnxruntime().InferenceSession(network, providers=["CPUExecutionProvider"])
    names = _outputs(student)
    worst = dict.fromkeys(names, 0.0)
    for size in sizes:
        inputs = sample(size, seed=size)
        with torch.inference_mode():
            expected = student(**inputs)
        found: list[Array] = session.run(list(names), {k: v.numpy() for k, v in inputs.items()})
        for name, ours, theirs in zip(names, expected, found, strict=True):
            worst[name] = max(worst[name], float(np.abs(ours.numpy() - theirs).max()))
    return worst


def _checked(student: Student) -> tuple[bytes, dict[str, float]]:
    network = to_onnx(student)
    worst = parity(student, network)
    beyond = {k: v for k, v in worst.items() if not v <= PARITY}  # not NaN either
    if beyond:
        raise CgiaaError(f"ONNX Runtime differs from torch by {beyond}", mend="report this with the torch version")
    return network, worst


def export_student(
    checkpoint: Path, folder: Path, *, name: str, version: str, precision: str = "fp32"
) -> tuple[Bundle, dict[str, float]]:
    """Write the bundle of a checkpoint alone, after a parity check at batch 1 and 8.

    Args:
        checkpoint: student.pt; a results.json beside it goes into the bundle.
        folder: becomes the bundle; replaced whole, or not at all.
        precision: one that needs no photos: not `int8`.

    Raises:
        CgiaaError: an output differs by more than `PARITY`; nothing is written then.
    """
    if precision == "int8":
        raise UsageError(
            "int8 needs training photos to calibrate on",
            mend="name a run's folder whose export stage made it, or use int8-dynamic",
        )
    student = load_student(checkpoint)
    network, worst = _checked(student)
    record = checkpoint.with_name("results.json")
    found = json.loads(record.read_text("utf-8")) if record.exists() else {}
    results = found["results"] if "fingerprint" in found else found
    bundle = write_bundle(
        folder,
        About(
            name=name,
            version=version,
            licence=LICENCE,
            embedding_dim=student.embedding.out_features,
            training_data=[{"name": "not recorded", "licence": "not known", "use": "a checkpoint does not say"}],
            weights=results.get("weights", []),
            outputs={key: {"range": RANGES[key]} for key in _outputs(student)},
            results=results,
            more={"precision": precision, **_crop(results)},
        ),
        {ENCODER: convert(network, precision)},
    )
    return load(str(bundle.folder)), worst
