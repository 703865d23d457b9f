"""What an expert is trained on: the attribute database as units, photos or texts as points of the shared space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cgiaa_models.expert import Expert
from cgiaa_training.manifest import load_set
from cgiaa_training.run import Context
from cgiaa_training.units import Critique, Unit
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cgiaa_cli.critique.prompt import ATTRIBUTES, EOS, LEVELS, Prompt
from cgiaa_cli.critique.tokenizer import Tokenizer
from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = [
    "Buckets",
    "Example",
    "collate",
    "features_of",
    "language_loss",
    "level_edges",
    "make_plans",
    "perplexity",
    "read_critiques",
]

Array = NDArray[Any]
Example = tuple[list[int], int, "Array | None"]
"""Token numbers with the prompt before and the end behind, how many of them are prompt, and the point or None."""
IGNORED = -100


def read_critiques(context: Context, pairs: Sequence[str] = (), without: Sequence[str] = ()) -> list[Critique]:
    """The attribute database that the stage before left, with the photo of each text where a set of `pairs` has it.

    Args:
        without: sets whose texts are left out.

    Raises:
        CgiaaError: the stage `attributes` is not done, or its file is not as agreed.
    """
    import pyarrow.parquet as parquet

    context.results("attributes")
    path = context.out / "attributes" / "database" / "critiques.parquet"
    images: dict[str, str] = {}
    for name in pairs:
        for sample in load_set(name, context.data).samples:
            if sample.image:
                images.setdefault(sample.group or sample.id, sample.image)
                images.setdefault(sample.id, sample.image)
    try:
        rows = parquet.read_table(path).to_pylist()
        return [
            Critique(
                row["caption"], str(row["img_id"]), row["attribute"], float(row["polarity"]), row["split"] or "train",
                images.get(str(row["img_id"])),
            )
            for row in rows
            if row["attribute"] in ATTRIBUTES and row.get("source") not in without
        ]  # fmt: skip
    except (OSError, KeyError, ValueError) as error:
        raise CgiaaError(
            f"not an attribute database ({error})", path=escape(path), mend="run cgiaa train attributes again"
        ) from error


def level_edges(critiques: Sequence[Critique]) -> dict[str, list[float]]:
    """By attribute the polarities that part the training texts into ten levels of equal size."""
    edges = {}
    for attribute in ATTRIBUTES:
        found = [c.polarity for c in critiques if c.attribute == attribute and c.split == "train"]
        edges[attribute] = np.quantile(found, np.arange(1, LEVELS) / LEVELS).tolist() if found else []
    return edges


def make_plans(units: Sequence[Unit], most: int = 60) -> dict[str, list[list[tuple[list[list[str]], float]]]]:
    """By attribute and level (1 first) the sets of facts that critics stated, the commonest first, with their weights.

    Only of texts such as are asked for at run time, i.e. without traits. The weight is the root of how often critics
    stated just these, so that the rarer ones come up, too. Plans of nothing are for general impressions only.
    """
    plans: dict[str, list[Counter[tuple[tuple[str, str], ...]]]] = {
        attribute: [Counter() for _ in range(LEVELS)] for attribute in ATTRIBUTES
    }
    for unit in units:
        facts = tuple(sorted({(m, v) for m, v in unit.prompt.facts if v}))
        wanted = bool(facts) or unit.prompt.attribute == "general"
        if wanted and not unit.prompt.traits and unit.source.split == "train":
            plans[unit.prompt.attribute][unit.prompt.level - 1][facts] += 1
    return {
        a: [[([list(f) for f in facts], round(n**0.5, 2)) for facts, n in level.most_common(most)] for level in levels]
        for a, levels in plans.items()
    }


def features_of(context: Context, units: Sequence[Unit]) -> Array:
    """(N, D) points of the shared space: of the photo where there is one, else of the text (CapDec)."""
    from cgiaa_training import features, vlap

    context.results("vlap")
    model = vlap.load(context.out / "vlap" / "vlap.pt").to(context.device)
    points = np.zeros((len(units), model.dim), np.float32)
    images = sorted({u.source.image for u in units if u.source.image})
    of_image: dict[str, Array] = {}
    if images:
        seen = features.points(model, images, context.recipe.vlap.resize, context.device)
        of_image = dict(zip(images, seen, strict=True))
    with torch.inference_mode():
        texts = [i for i, u in enumerate(units) if not u.source.image]
        for start in range(0, len(texts), 64):
            chosen = texts[start : start + 64]
            points[chosen] = model.encode_text([units[i].text for i in chosen]).float().cpu().numpy()
    for i, unit in enumerate(units):
        if unit.source.image:
            points[i] = of_image[unit.source.image]
    return points


class Points:
    """Points (N, D) of the shared space by unit."""

    def __init__(self, points: Array, units: Sequence[Unit]) -> None:
        self._points, self._row = points, {u.text: i for i, u in enumerate(units)}  # no text is there twice

    @property
    def dim(self) -> int:
        """D."""
        return int(self._points.shape[1])

    def of(self, units: Sequence[Unit]) -> Array:
        """(M, D) of some of the units."""
        return np.asarray(self._points[[self._row[u.text] for u in units]])


class Buckets:
    """Small groups of units of like length, drawn anew in each epoch; an item is one group.

    Args:
        units: what to learn; points: (N, D) of the shared space or None.
        noise: deviation (per dimension) of what is added to the points of texts, so that a photo's point, which lies
            beside its texts' and never among them, is nothing new at run time (Nukrai et al. 2022, CapDec).
        hide: chance that the level is not told, that the facts are not, and that the point is not.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        tokenizer: Tokenizer,
        points: Array | None = None,
        *,
        size: int = 8,
        context: int = 64,
        noise: float = 0.0,
        hide: float = 0.1,
        seed: int = 0,
    ) -> None:
        self._tokenizer, self._points, self._size, self._context = tokenizer, points, size, context
        self._noise, self._hide, self._seed = noise, hide, seed
        self._texts = [(u, tokenizer.encode(u.text)) for u in units]
        self._count = max(1, len(units) // size)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the groups of an epoch."""
        random = np.random.default_rng([self._seed, epoch])
        order = random.permutation(len(self._texts))
        chunk = self._size * 32  # sorted within, so that a group needs little padding and is still drawn
        self._groups: list[list[int]] = []
        for start in range(0, len(order), chunk):
            part = sorted(order[start : start + chunk], key=lambda i: len(self._texts[i][1]))
            self._groups += [[int(i) for i in part[k : k + self._size]] for k in range(0, len(part), self._size)]
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def told(self, limit: int) -> list[Example]:
        """The first `limit` units as they are, the shortest first."""
        return sorted((self.example(i) for i in range(min(limit, len(self._texts)))), key=lambda e: len(e[0]))

    def __getitem__(self, index: int) -> list[Example]:
        group = self._groups[index]
        random = np.random.default_rng([self._seed, self._epoch, index])
        return [self.example(i, random) for i in group]

    def example(self, index: int, random: np.random.Generator | None = None) -> Example:
        """One unit; without `random` everything is told and nothing is added."""
        unit, text = self._texts[index]
        hidden = random.random(3) < self._hide if random is not None else [False] * 3
        p = unit.prompt
        facts = () if hidden[1] and p.facts else p.facts
        prompt = Prompt(p.attribute, 0 if hidden[0] else p.level, p.length, facts, p.traits)
        before = [self._tokenizer.controls[token] for token in prompt.tokens()]
        ids = [*before, *text, self._tokenizer.controls[EOS]][: self._context]
        point = None
        if self._points is not None:
            point = self._points[index]
            if random is not None and not unit.source.image and self._noise:
                point = point + random.normal(0, self._noise, point.shape)
                point = point / max(1e-6, float(np.linalg.norm(point)))
            point = np.zeros_like(point) if hidden[2] else point
        return ids, len(before), point


def collate(groups: list[list[Example]]) -> dict[str, Tensor]:
    """Groups -> `ids` (B, T), padded on the right with 0; `labels` (B, T), the next token or -100; `feature` (B, D)."""
    examples = [example for group in groups for example in group]
    longest = max(len(ids) for ids, _, _ in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    labels = torch.full((len(examples), longest), IGNORED)
    for row, (tokens, prompt, _) in enumerate(examples):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        # only the text is learnt, not which prompts there are
        labels[row, prompt - 1 : len(tokens) - 1] = torch.tensor(tokens[prompt:])
    batch = {"ids": ids, "labels": labels}
    points = [point for _, _, point in examples if point is not None]
    if points:
        batch["feature"] = torch.from_numpy(np.stack(points)).float()
    return batch


def language_loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean cross-entropy of a token of the text, in nats."""
    return F.cross_entropy(*_predictions(model, batch))


def perplexity(expert: Expert, data: Buckets, limit: int = 1000) -> float:
    """Of the texts given their prompts, over the first `limit` units: exp of the mean cross-entropy of a token."""
    total, count = 0.0, 0
    examples = data.told(limit)
    with torch.inference_mode():
        for start in range(0, len(examples), 64):
            logits, labels = _predictions(expert, collate([examples[start : start + 64]]))
            total += float(F.cross_entropy(logits.float(), labels, reduction="sum"))
            count += len(labels)
    return float(np.exp(total / max(1, count)))


def mean_likelihoods(expert: Expert, examples: Sequence[Example]) -> Array:
    """(N,) mean log-likelihood of a token of each text."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(examples), 64):
            batch = collate([list(examples[start : start + 64])])
            logits = expert(batch["ids"], batch.get("feature"))
            losses = F.cross_entropy(logits.transpose(1, 2), batch["labels"], reduction="none", ignore_index=IGNORED)
            found.append(-(losses.sum(1) / (batch["labels"] != IGNORED).sum(1)).numpy())
    return np.concatenate(found)


def _predictions(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits (M, V) and labels (M,) of the positions that count."""
    device = next(model.parameters()).device
    batch = {name: part.to(device) for name, part in batch.items()}
    counts = batch["labels"] != IGNORED
    return model(batch["ids"], batch.get("feature"), counts), batch["labels"][counts]
