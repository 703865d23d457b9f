"""Stage 3, MAEL: multi-attribute experts learning.

Four experts, one an attribute, or one network that an attribute's control token turns into four (`shared`), which is
what a few ten thousand sentences can feed. An expert is told the attribute, how good it is, how long to be and which
measured facts to state, all as control tokens (`cgiaa_cli.critique.prompt`; CTRL, Keskar et al. 2019), and, where
`photo` is set, sees the photo's point of the VLAP space through a prefix. For texts without photos the text's own point
with noise stands in for the photo's (CapDec).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.expert import Expert, ExpertShape, load_gpt2
from cgiaa_training import expert_report
from cgiaa_training.data import read_photo
from cgiaa_training.expert_data import (
    Buckets,
    Points,
    collate,
    features_of,
    language_loss,
    level_edges,
    make_plans,
    perplexity,
    read_critiques,
)
from cgiaa_training.files import appearing, key_of
from cgiaa_training.loop import LoopConfig, Run, fit
from cgiaa_training.plan import Plan, estimate
from cgiaa_training.run import Context
from cgiaa_training.teacher import TeacherConfig, check, lessons
from cgiaa_training.tokenizer import extend_tokenizer, train_tokenizer
from cgiaa_training.units import Critique, Unit, common_words, make_units
from numpy.typing import NDArray

from cgiaa_cli.critique.prompt import ATTRIBUTES, Prompt, choose_facts
from cgiaa_cli.critique.tokenizer import Tokenizer
from cgiaa_cli.critique.verify import Copies
from cgiaa_cli.critique.writer import COPIES
from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["Experts", "ExpertsConfig", "load", "plan", "run", "write"]

Array = NDArray[Any]
TOKENIZER, ABOUT = "tokenizer.json", "experts.json"
OWN, SHARED = "own", "shared"
FORMAT = 1
FEWEST = 50  # texts
DRAWS = 8  # times as many texts as for the report, to learn how likely they usually are
GROUP = 8  # texts of like length that stay together in a batch
AT_ONCE = 64  # photos that are written about in one batch


@dataclass(frozen=True)
class ExpertsConfig:
    """What is trained and on what.

    Attributes:
        decoder: "own": a small one from nothing; else the folder or hub name of a GPT-2.
        vocabulary, width, layers, heads, rotary: of our own decoder.
        context: positions at most, prefix included.
        dropout: in training.
        shared: one network for the four attributes.
        photo: the decoder sees the photo's point in the VLAP space; without it, control tokens are all it is told.
        prefix_length, mapper_depth: of the prefix mapper (the paper's: 40 and 8).
        pairs: sets that have the photos of some of the critiques.
        without: sets whose texts are left out, e.g. one whose licence a bundle cannot carry.
        noise: deviation per dimension of what is added to a text's point.
        hide: chance in training that level, facts or photo are not told.
        repeat: how often an epoch has the texts without traits (see `TRAITS`), of which there are few.
        chatter: share of the texts with the trait `chatter` that are learnt from, 0..1: they teach English, at a price.
        common: critiques that a word must be in to be one for any photo.
        samples: texts that are written for the report.
        check: set of scored texts that teaches the report's own judge, e.g. "pccd"; "": the judge of `attributes`.
        teacher: a language model that writes texts to learn from, beside those of the critics that pass all checks.
        loop: `batch_size` counts texts.
    """

    decoder: str = OWN
    vocabulary: int = 6000
    width: int = 256
    layers: int = 4
    heads: int = 4
    rotary: bool = True
    context: int = 64
    dropout: float = 0.1
    shared: bool = True
    photo: bool = False
    prefix_length: int = 10
    mapper_depth: int = 2
    pairs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    noise: float = 0.02
    hide: float = 0.1
    repeat: int = 2
    chatter: float = 1.0
    common: int = 8
    samples: int = 500
    check: str = ""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(batch_size=64, rate=1e-3, weight_decay=0.1))

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        least = {"vocabulary": 400, "width": 8, "layers": 1, "heads": 1, "context": 16, "repeat": 1, "common": 1}
        least |= {"prefix_length": 1, "mapper_depth": 1, "samples": 0}
        faults = [f"{name} must be {n} or more" for name, n in least.items() if getattr(self, name) < n]
        faults += [f"{name} must lie in 0..1" for name in ("dropout", "hide") if not 0 <= getattr(self, name) < 1]
        if not 0 <= self.chatter <= 1:
            faults.append("chatter must lie in 0..1")
        if self.heads >= 1 and self.width % (2 * self.heads):
            faults.append("width must be a multiple of twice heads")
        if self.photo and self.prefix_length + 16 > self.context:
            faults.append("context must be longer than prefix_length by 16 or more")
        if self.noise < 0:
            faults.append("noise must be 0 or more")
        if not self.decoder:
            faults.append(f"decoder must be '{OWN}' or name a GPT-2")
        return faults


@dataclass(frozen=True)
class Experts:
    """The trained experts.

    Attributes:
        networks: by attribute; the same one four times where it is shared.
        tokenizer: theirs.
        edges: by attribute the polarities that part the ten levels.
        plans: by attribute and level, see `expert_data.make_plans`.
        common: words that a critique of any photo may use.
        usual: by attribute the nine tenths of the likelihood of what a network writes and the checks leave.
    """

    networks: dict[str, Expert]
    tokenizer: Tokenizer
    edges: dict[str, list[float]]
    plans: dict[str, Any]
    common: frozenset[str]
    usual: dict[str, list[float]]


def run(context: Context) -> dict[str, Any]:
    """Train and report; leaves in the stage's folder a .pt of each network, its tokenizer, experts.json, copies.bin."""
    config: ExpertsConfig = context.recipe.experts
    folder = context.folder("experts")
    critiques, (learnt, held), dropped = read_units(context)
    units = [*learnt, *held]
    if len(learnt) < FEWEST:
        raise CgiaaError(
            f"{len(learnt)} texts are left to learn from", path=escape(folder), mend="name more sets in [attributes]"
        )
    spared = np.random.default_rng(context.recipe.seed).random(len(learnt)) < config.chatter
    learnt = [u for u, keep in zip(learnt, spared, strict=True) if keep or "chatter" not in u.prompt.traits]
    plain = [u for u in learnt if not u.prompt.traits]
    context.say(f"experts: {len(learnt)} texts to learn ({len(plain)} without traits), {len(held)} held out")
    plans, common = make_plans(units), _common(config, critiques)
    texts: dict[str, Any] = {"learnt": len(learnt), "without traits": len(plain), "held out": len(held)}
    if config.teacher.model:
        learnt, texts["teacher"] = lessons(context, plain, plans, level_edges(critiques), common)
    with appearing(folder / COPIES) as partial:
        partial.write_bytes(Copies.pack([u.text for u in learnt]))
    tokenizer = _tokenizer(config, learnt, folder)
    points = Points(features_of(context, units), units) if config.photo else None
    torch.manual_seed(context.recipe.seed)
    for name in _names(config):
        mine, others = ([u for u in part if name in (SHARED, u.prompt.attribute)] for part in (learnt, held))
        network = _build(config, len(tokenizer), points.dim if points else 0)
        mine += [u for u in mine if not u.prompt.traits] * (config.repeat - 1)
        network = _fit(context, network, tokenizer, name, (mine, others), points)
        _save(network, folder / f"{name}.pt")
    about = {"edges": level_edges(critiques), "plans": plans, "common": sorted(common), "usual": {}}
    _describe(folder, about)
    _describe(folder, about | {"usual": usual(context, load(folder), held, points)})
    found = expert_report.report(context, load(folder), learnt, held, points)
    return {"texts": texts | {"dropped": dict(dropped)}, "tokens": len(tokenizer), **found}


def usual(context: Context, experts: Experts, units: Sequence[Unit], points: Points | None) -> dict[str, list[float]]:
    """By attribute the nine tenths of the likelihood of what the networks write and the checks leave.

    Of a few hundred texts that were read, the likelihood told odd English from sound far better than a published
    language model's does (docs/training.md).

    Args:
        units: whose points the networks see, where they see any.
    """
    found: dict[str, list[float]] = {attribute: [] for attribute in ATTRIBUTES}
    if not (context.out / "attributes" / "judge.pt").exists():  # the database came from elsewhere: nobody can check
        return found
    seed, count = context.recipe.seed, context.recipe.experts.samples
    copies = Copies(context.folder("experts") / COPIES)  # as at run time
    for n in range(DRAWS if count else 0):
        prompts = expert_report.sample_prompts(experts.plans, count, seed + n)
        seen = expert_report.some_points(points, units, count)
        said = expert_report.say_all(experts, prompts, seed=seed + n, features=seen)
        passed, _, _ = check(context, prompts, [c.text for c in said], experts.edges, set(experts.common))
        for i in passed:
            if said[i].text not in copies:
                found[prompts[i].attribute].append(said[i].likelihood)
    tenths = np.arange(1, 10) / 10
    return {
        a: np.quantile(values, tenths).round(4).tolist() if len(values) >= FEWEST else [] for a, values in found.items()
    }


def plan(context: Context) -> Plan:
    """What the stage would cost; texts are counted where the stage before is done, else taken to be 20,000."""
    config: ExpertsConfig = context.recipe.experts
    count = 20_000
    if context.record("attributes") is not None:
        count = len(read_critiques(context, (), config.without))
    feature = 512 if config.photo else 0
    small = ExpertShape(config.vocabulary, config.width, config.layers, config.heads, config.context, config.rotary)
    shape = replace(
        small, feature=feature, prefix_length=config.prefix_length, mapper_depth=config.mapper_depth
    )  # a GPT-2 that is not at hand is counted as the smallest of them
    if config.decoder != OWN:
        shape = replace(shape, vocabulary=50_300, width=768, layers=12, heads=12, context=1024, rotary=False)
    batch = {"ids": torch.zeros(4, 32, dtype=torch.long), "labels": torch.zeros(4, 32, dtype=torch.long)}
    if feature:
        batch["feature"] = torch.zeros(4, feature)
    found = estimate("experts", Expert(shape), batch, count, config.loop, context.device, loss=language_loss)
    return found if config.shared else replace(found, parameters=4 * found.parameters, trained=4 * found.trained)


def load(folder: Path) -> Experts:
    """What `run` left in the stage's folder, in eval mode, frozen. Needs no network.

    Raises:
        CgiaaError: a file is missing or is not what `run` writes.
    """
    try:
        about = json.loads((folder / ABOUT).read_text("utf-8"))
        one = (folder / f"{SHARED}.pt").exists()
        found = {name: _load(folder / f"{name}.pt") for name in ((SHARED,) if one else ATTRIBUTES)}
        networks = dict.fromkeys(ATTRIBUTES, found[SHARED]) if one else found
        return Experts(
            networks,
            Tokenizer(folder / TOKENIZER),
            about["edges"],
            about["plans"],
            frozenset(about["common"]),
            about["usual"],
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CgiaaError(
            f"not the folder of trained experts ({type(error).__name__})",
            path=escape(folder),
            mend="run cgiaa train experts",
        ) from error


def write(context: Context, images: Sequence[str], features: Array) -> list[dict[str, str]]:
    """A critique of each photo for each attribute, from its point and, where it can be read, its measurements.

    Args:
        images: places; features: (N, D) their points in the VLAP space.

    Raises:
        CgiaaError: a photo is missing or damaged.
    """
    from cgiaa_cli.critique.facts import measure_facts, words

    experts = load(context.folder("experts"))
    random = np.random.default_rng(context.recipe.seed)
    found: list[dict[str, str]] = []
    for start in range(0, len(images), AT_ONCE):
        part = images[start : start + AT_ONCE]
        holds = [words(measure_facts(read_photo(image))) for image in part]
        said: list[dict[str, str]] = [{} for _ in part]
        for attribute in ATTRIBUTES:
            plans = [p for level in experts.plans[attribute] for p in level]
            prompts = [Prompt(attribute, facts=choose_facts(plans, h, random)) for h in holds]
            texts = expert_report.say(experts, prompts, seed=start, features=features[start : start + AT_ONCE])
            for one, text in zip(said, texts, strict=True):
                one[attribute] = text
        found += said
    return found


# --- texts -------------------------------------------------------------------------------------------------------


def read_units(context: Context) -> tuple[list[Critique], tuple[list[Unit], list[Unit]], Counter[str]]:
    """The critiques of a run; its units to learn from, and those held out; how many were dropped, by reason."""
    config: ExpertsConfig = context.recipe.experts
    critiques = read_critiques(context, config.pairs, config.without)
    units, dropped = make_units(critiques, level_edges(critiques), _common(config, critiques))
    return critiques, _parts(units), dropped


def _common(config: ExpertsConfig, critiques: Sequence[Critique]) -> set[str]:
    return common_words((c for c in critiques if c.split == "train"), config.common)


def _parts(units: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
    """Those to learn, and those held out; where no text is held out, every twentieth photo is."""
    held = [u for u in units if u.source.split != "train"]
    if held:
        return [u for u in units if u.source.split == "train"], held
    photos = set(sorted({u.source.photo for u in units})[::20])
    return [u for u in units if u.source.photo not in photos], [u for u in units if u.source.photo in photos]


def _tokenizer(config: ExpertsConfig, units: Sequence[Unit], folder: Path) -> Tokenizer:
    path = folder / TOKENIZER
    if config.decoder != OWN:
        return extend_tokenizer(config.decoder, path)
    return train_tokenizer((u.text for u in units), config.vocabulary, path)


# --- networks ----------------------------------------------------------------------------------------------------


def _names(config: ExpertsConfig) -> tuple[str, ...]:
    return (SHARED,) if config.shared else ATTRIBUTES


def _build(config: ExpertsConfig, vocabulary: int, feature: int) -> Expert:
    more = {"feature": feature, "prefix_length": config.prefix_length, "mapper_depth": config.mapper_depth}
    if config.decoder == OWN:
        return Expert(
            ExpertShape(
                vocabulary,
                config.width,
                config.layers,
                config.heads,
                config.context,
                config.rotary,
                dropout=config.dropout,
                **more,
            )
        )
    try:
        return load_gpt2(config.decoder, vocabulary, dropout=config.dropout, **more)
    except OSError as error:  # transformers: no such folder, and the hub cannot be reached or has none
        raise CgiaaError(
            f"no GPT-2 '{config.decoder}' at hand",
            mend="give experts.decoder the folder that huggingface-cli download made, or set it to 'own'",
        ) from error


def _fit(
    context: Context,
    network: Expert,
    tokenizer: Tokenizer,
    name: str,
    parts: tuple[Sequence[Unit], Sequence[Unit]],
    points: Points | None,
) -> Expert:
    """Train one network on the first part; the second is for the log."""
    config: ExpertsConfig = context.recipe.experts
    learnt, held = (
        Buckets(
            part,
            tokenizer,
            points.of(part) if points else None,
            context=config.context - (config.prefix_length if config.photo else 0),
            size=min(GROUP, config.loop.batch_size),
            noise=config.noise,
            hide=config.hide,
            seed=context.recipe.seed,
        )
        for part in parts
    )
    loop = replace(config.loop, batch_size=max(1, config.loop.batch_size // GROUP))
    towers = hashlib.sha256((context.out / "vlap" / "vlap.pt").read_bytes()).hexdigest() if points else ""
    key = key_of([[(u.text, u.prompt.tokens()) for u in parts[0]], towers])  # points are computed anew, and may round
    return fit(
        network,
        learnt,
        collate,
        language_loss,
        Run(context.folder("experts") / name, loop, context.recipe.seed, f"experts: {name}", context.device, key),
        evaluate=lambda model: {"perplexity": perplexity(model, held, 400)} if parts[1] else {},
    )


def _describe(folder: Path, about: dict[str, Any]) -> None:
    with appearing(folder / ABOUT) as partial:
        partial.write_text(json.dumps(about), "utf-8")


def _save(network: Expert, path: Path) -> None:
    with appearing(path) as partial:
        torch.save({"format": FORMAT, "shape": asdict(network.shape), "state": network.state_dict()}, partial)


def _load(path: Path) -> Expert:
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if saved["format"] != FORMAT:
        raise ValueError(f"format {saved['format']}")
    network = Expert(ExpertShape(**saved["shape"]))
    network.load_state_dict(saved["state"])
    return network.eval().requires_grad_(False)
