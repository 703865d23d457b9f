"""What the experts can do, measured on texts they write and on held-out texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cgiaa_models.expert import Expert
from cgiaa_models.text_judge import ABOUT
from cgiaa_training import textmetrics
from cgiaa_training.baselines import BagOfWords
from cgiaa_training.expert_data import Buckets, Points, mean_likelihoods, perplexity
from cgiaa_training.manifest import load_set
from cgiaa_training.run import Context
from cgiaa_training.units import Unit, chatter
from numpy.typing import NDArray

from cgiaa_cli.critique.claims import MEASUREMENTS
from cgiaa_cli.critique.decode import Candidate, Sampling, write
from cgiaa_cli.critique.prompt import ATTRIBUTES, LENGTHS, LEVELS, Prompt, choose_facts

if TYPE_CHECKING:
    from cgiaa_training.experts import Experts

__all__ = ["TorchDecoder", "report", "sample_prompts", "say", "say_all", "some_points"]

Array = NDArray[Any]


class TorchDecoder:
    """An `Expert` as `cgiaa_cli.critique.decode` wants it."""

    def __init__(self, expert: Expert) -> None:
        self._expert, self.context = expert, expert.shape.context

    def prefix(self, features: Array | None, count: int) -> Array:
        """See `decode.Decoder`."""
        with torch.inference_mode():
            given = None if features is None else torch.from_numpy(np.asarray(features, np.float32))
            return self._expert.prefix(given, count).numpy()

    def start(self, count: int) -> Array:
        """See `decode.Decoder`."""
        return self._expert.nothing(count).numpy()

    def step(self, ids: Array, prefix: Array, mask: Array, past: Array) -> tuple[Array, Array]:
        """See `decode.Decoder`."""
        with torch.inference_mode():
            logits, present = self._expert.step(*(torch.from_numpy(a) for a in (ids, prefix, mask, past)))
        return logits.numpy(), present.numpy()


def say_all(
    experts: Experts,
    prompts: Sequence[Prompt],
    *,
    seed: int = 0,
    features: Array | None = None,
    sampling: Sampling | None = None,
) -> list[Candidate]:
    """A candidate for each prompt, from its attribute's expert; features: (N, D) or None."""
    found: dict[int, Candidate] = {}
    by_network: dict[int, list[int]] = defaultdict(list)
    for i, prompt in enumerate(prompts):
        by_network[id(experts.networks[prompt.attribute])].append(i)
    for rows in by_network.values():
        network = experts.networks[prompts[rows[0]].attribute]
        seen = features[rows] if features is not None and network.shape.feature else None
        asked = [prompts[i] for i in rows]
        texts = write(TorchDecoder(network), experts.tokenizer, asked, sampling, seed=seed, features=seen)
        found |= dict(zip(rows, texts, strict=True))
    return [found[i] for i in range(len(prompts))]


def say(experts: Experts, prompts: Sequence[Prompt], *, seed: int = 0, features: Array | None = None) -> list[str]:
    """The texts of `say_all`."""
    return [candidate.text for candidate in say_all(experts, prompts, seed=seed, features=features)]


def sample_prompts(plans: Mapping[str, Any], count: int, seed: int = 0) -> list[Prompt]:
    """Prompts for every attribute and level in turn, with facts as critics state them there (`make_plans`)."""
    random = np.random.default_rng(seed)
    prompts = []
    for i in range(count):
        attribute = ATTRIBUTES[i % len(ATTRIBUTES)]
        level = 1 + (i // len(ATTRIBUTES)) % LEVELS
        facts = choose_facts(plans[attribute][level - 1], MEASUREMENTS, random)
        length = list(LENGTHS)[int(random.integers(len(LENGTHS)))]
        prompts.append(Prompt(attribute, level, length, tuple((m, v) for m, v in facts)))
    return prompts


def some_points(points: Points | None, units: Sequence[Unit], count: int) -> Array | None:
    """(count, D) of units drawn at random, for decoders that see one; None without points."""
    if points is None:
        return None
    some = np.random.default_rng(0).integers(0, len(units), count)
    return points.of([units[i] for i in some])


def report(
    context: Context, experts: Experts, learnt: Sequence[Unit], held: Sequence[Unit], points: Points | None
) -> dict[str, Any]:
    """All numbers of the stage; samples.txt in its folder has the first texts that were written."""
    config = context.recipe.experts
    found: dict[str, Any] = {"perplexity": {}}
    for name, part in _by_attribute(held).items():
        data = Buckets(
            part, experts.tokenizer, points.of(part) if points else None, context=_room(experts.networks[name])
        )
        found["perplexity"][name] = round(perplexity(experts.networks[name], data), 2)
    if config.samples:
        prompts = sample_prompts(experts.plans, config.samples, context.recipe.seed)
        seen = some_points(points, held, len(prompts))
        candidates = say_all(experts, prompts, seed=context.recipe.seed, features=seen)
        texts = [c.text for c in candidates]
        lines = [
            f"{p.attribute} {p.level} {' '.join(f'{m}:{v}' for m, v in p.facts)} | {t}"
            for p, t in zip(prompts, texts, strict=True)
        ]
        (context.folder("experts") / "samples.txt").write_text("\n".join(lines) + "\n", "utf-8")
        found["samples"] = textmetrics.rounded(_of_samples(candidates, prompts, learnt))
        judged = _judged(context, texts)
        if judged is not None:
            found["agreement"] = textmetrics.rounded(textmetrics.agreement(*judged, prompts))
    with_photo = [u for u in held if u.source.image]
    if points is not None and len({u.source.photo for u in with_photo}) > 1:
        found["wrong photo"] = textmetrics.rounded(_wrong_photo(experts, with_photo, points))
        found["captioning"] = textmetrics.rounded(_captioning(experts, with_photo, points))
    return found


def _of_samples(candidates: Sequence[Candidate], prompts: Sequence[Prompt], learnt: Sequence[Unit]) -> dict[str, float]:
    texts = [c.text for c in candidates]
    return {
        "count": len(texts),
        "distinct-1": textmetrics.distinct(texts, 1),
        "distinct-2": textmetrics.distinct(texts, 2),
        "duplicates": textmetrics.duplicates(texts),
        "copied": textmetrics.copied(texts, (u.text for u in learnt)),
        "self-BLEU": textmetrics.self_bleu(texts),
        "finished": float(np.mean([c.finished for c in candidates])),
        "chatter": float(np.mean([bool(chatter(t)) for t in texts])),
        **{f"facts {k}": v for k, v in textmetrics.obedience(texts, prompts).items()},
    }


def _judged(context: Context, texts: Sequence[str]) -> tuple[Array, Array] | None:
    """What texts are about and their polarity, by a judge of the report's own where there is a set to teach it, else by
    that of the stage before; None without either."""
    config = context.recipe.experts
    if config.check:
        samples = [
            s
            for s in load_set(config.check, context.data).samples
            if s.text and s.attribute in ATTRIBUTES and "score" in s.labels and s.split in ("train", "")
        ]
        bag = BagOfWords(
            [str(s.text) for s in samples],
            np.array([ABOUT.index(str(s.attribute)) for s in samples]),
            np.array([s.labels["score"] for s in samples]),
        )
        return bag.about(texts), bag.polarity(texts)
    path = context.out / "attributes" / "judge.pt"
    if not path.exists():
        return None
    from cgiaa_training.text_judge import load_judge

    judge = load_judge(path)
    return judge.attribute(texts).argmax(1), judge.polarity(texts)


def _by_attribute(units: Sequence[Unit]) -> dict[str, list[Unit]]:
    found = {a: [u for u in units if u.prompt.attribute == a] for a in ATTRIBUTES}
    return {a: part for a, part in found.items() if part}


def _room(network: Expert) -> int:
    return network.shape.context - (network.shape.prefix_length if network.shape.feature else 0)


def _wrong_photo(experts: Experts, units: Sequence[Unit], points: Points, limit: int = 500) -> dict[str, float]:
    """Each text with its own photo and with the next text's that is of another photo."""
    units = units[:limit]
    own, other = points.of(units), []
    for i, unit in enumerate(units):
        j = next(
            k % len(units)
            for k in range(i + 1, i + 1 + len(units))
            if units[k % len(units)].source.photo != unit.source.photo
        )
        other.append(own[j])
    likelihoods = []
    for seen in (own, np.stack(other)):
        values = np.zeros(len(units))
        for attribute, part in _by_attribute(units).items():
            rows = [i for i, u in enumerate(units) if u.prompt.attribute == attribute]
            data = Buckets(part, experts.tokenizer, seen[rows], context=_room(experts.networks[attribute]))
            values[rows] = mean_likelihoods(experts.networks[attribute], [data.example(i) for i in range(len(part))])
        likelihoods.append(values)
    return textmetrics.wrong_photo(likelihoods[0], likelihoods[1])


def _captioning(experts: Experts, units: Sequence[Unit], points: Points, limit: int = 300) -> dict[str, Any]:
    """Texts of held-out photos against all that critics said of the same attribute of the same photo."""
    groups: dict[tuple[str, str], list[Unit]] = defaultdict(list)
    for unit in units:
        groups[unit.source.photo, unit.prompt.attribute].append(unit)
    chosen = list(groups.values())[:limit]
    prompts = [Prompt(group[0].prompt.attribute) for group in chosen]
    texts = say(experts, prompts, features=points.of([group[0] for group in chosen]))
    return textmetrics.captioning(texts, [[u.text for u in group] for group in chosen])
