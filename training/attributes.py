"""Stage 2: the attribute database, by knowledge transfer from critics to amateurs.

A judge of texts learns from comments whose attribute and score are known (PCCD's fields), then reads other comments
sentence by sentence: what each is about, and what its writer thinks of it. Sentences that teach nothing are dropped,
and the reasons are counted. Left behind: `judge.pt` (see `load_judge`), the database in CG-IAA's layout
(`database/color.json` ...), the same with confidence and polarity as `database/critiques.parquet`, and `report.md`.

PCCD's seven fields become attributes like this: color_lighting is color_light; composition is composition; focus and
depth_of_field are depth_focus; general_impression is general; subject_of_photo and use_of_camera are none of the four.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.text_judge import ABOUT, TextJudge
from cgiaa_training.attributes_report import Held, measure, write_report
from cgiaa_training.baselines import BagOfWords, by_keywords
from cgiaa_training.comments import Comment, Comments, labelled, self_scored
from cgiaa_training.files import appearing, key_of
from cgiaa_training.loop import LoopConfig, Run, fit
from cgiaa_training.manifest import DataSet, load_set
from cgiaa_training.plan import Plan, estimate
from cgiaa_training.run import Context
from cgiaa_training.sentences import Rules, Sieve, clean, own_score, split
from cgiaa_training.text_judge import (
    JudgeConfig,
    Learner,
    build_judge,
    export_judge,
    fit_bag,
    judge_loss,
    load_judge,
    save_judge,
)
from numpy.typing import NDArray

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["AttributesConfig", "TextJudge", "export_judge", "load_judge", "plan", "run"]

FILES = {
    "color_light": "color.json",
    "composition": "composition.json",
    "depth_focus": "dof.json",
    "general": "general.json",
}
"""Of the database, as CG-IAA names them."""
CHUNK = 4096  # sentences that are judged before what was found is kept
MOST_WORDS = 50_000  # comments that the bag of words in the report learns from: more take it hours
DROPPED_BY_JUDGE = ("none of the four", "unsure")


@dataclass(frozen=True)
class AttributesConfig:
    """What stage 2 does.

    Attributes:
        labelled: sets with attributes, and scores where they have them, to learn from and to check with.
        comments: sets that are read sentence by sentence into the database.
        score, overall: labels of a text's own score and of the photo's.
        self_scored: sets whose comments are also learned from where their writers put a score at the end.
        span: share of the comments of which only a run of sentences is shown.
        confidence: least probability with which a sentence must be about one of the four attributes.
        rules: what else a sentence must be.
        judge: what learns.
        loop: how it learns.
    """

    labelled: tuple[str, ...] = ("pccd",)
    comments: tuple[str, ...] = ("pccd", "dpchallenge", "impressions")
    score: str = "score"
    overall: str = "overall"
    self_scored: tuple[str, ...] = ("dpchallenge",)
    span: float = 0.5
    confidence: float = 0.6
    rules: Rules = field(default_factory=Rules)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(epochs=3, batch_size=32, rate=2e-4, layer_decay=0.85))

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = [] if self.labelled else ["labelled must name a set"]
        for name in ("span", "confidence"):
            if not 0 <= getattr(self, name) <= 1:
                faults.append(f"{name} must lie in 0..1")
        return faults


def run(context: Context) -> dict[str, Any]:
    """Train the judge, measure it, and fill the database.

    Raises:
        CgiaaError: a set is missing, the labelled sets have no attributes, the encoder cannot be had.
    """
    config: AttributesConfig = context.recipe.attributes
    folder = context.folder("attributes")
    learn, check = _labelled(context)
    extra = [c for name in config.self_scored for c in self_scored(load_set(name, context.data))]
    context.say(f"attributes: {len(learn)} labelled comments, {len(extra)} self-scored ones, {len(check)} held out")
    judge = _train(context, [*learn, *extra], check)
    save_judge(judge, folder / "judge.pt")
    results: dict[str, Any] = {
        "encoder": config.judge.encoder,
        "learned_from": {ABOUT[k]: n for k, n in sorted(Counter(c.about for c in learn).items())},
        "self_scored": len(extra),
        "held_out": _measure(judge.to(context.device), learn, check),
    }
    results["database"] = _database(judge, context)
    write_report(folder / "report.md", results)
    return results


def plan(context: Context) -> Plan:
    """What the training of the judge would cost; reading the comments comes on top, at about a third a text."""
    config: AttributesConfig = context.recipe.attributes
    learn, _ = _labelled(context)
    model = Learner(build_judge(config.judge, learn, pretrained=False))
    data = Comments(learn, model.judge.text.tokens, config.span, context.recipe.seed)
    batch = data.collate([data[i] for i in range(min(8, len(data)))])
    loss = lambda m, b: judge_loss(m, b, config.judge)  # noqa: E731
    return estimate("attributes", model, batch, len(learn), config.loop, context.device, loss=loss)


def _labelled(context: Context) -> tuple[list[Comment], list[Comment]]:
    config: AttributesConfig = context.recipe.attributes
    learn: list[Comment] = []
    check: list[Comment] = []
    for name in config.labelled:
        parts = labelled(load_set(name, context.data), config.score, config.overall)
        learn += parts[0]
        check += parts[1]
    for what, comments in (("learn from", learn), ("check with", check)):
        kinds = {c.about for c in comments if c.about in range(len(FILES))}
        if len(kinds) < 2:
            raise CgiaaError(
                f"there are not two of the four attributes among the comments to {what}",
                path=escape(context.data),
                mend=f"labelled sets ({', '.join(config.labelled)}) need an attribute: {', '.join(FILES)}",
            )
    return learn, check


def _train(context: Context, learn: Sequence[Comment], check: Sequence[Comment]) -> TextJudge:
    config, seed = context.recipe.attributes, context.recipe.seed
    torch.manual_seed(seed)
    judge = build_judge(config.judge, learn)
    data = Comments(learn, judge.text.tokens, config.span, seed)
    held = Held.of(check)
    learner = fit(
        Learner(judge), data, data.collate, lambda m, b: judge_loss(m, b, config.judge),
        Run(context.folder("attributes"), config.loop, seed, "attributes", context.device, key_of(list(learn))),
        groups=lambda m: m.judge.groups(),
        evaluate=lambda m: held.brief(*m.judge.judge(held.texts)),
    )  # fmt: skip
    judge = learner.judge
    if judge.bag is not None:
        fit_bag(judge, learn, config.judge)
    return judge.eval().requires_grad_(False)


def _measure(judge: TextJudge, learn: Sequence[Comment], check: Sequence[Comment]) -> dict[str, Any]:
    """The judge beside the keyword rule and the bag of words, on the comments held out."""
    held = Held.of(check)
    known = [c for c in learn if c.about >= 0]
    known = known[:: 1 + len(known) // MOST_WORDS]
    four = [c for c in known if c.about < len(FILES)]
    of_five, of_four = (
        BagOfWords([c.text for c in part], np.array([c.about for c in part]), np.array([c.score for c in part]))
        for part in (known, four)
    )
    about, polarity = judge.judge(held.texts)
    scored = of_four.ridge is not None
    return measure(
        held,
        {
            "judge": (about[:, :4].argmax(1), about.argmax(1), polarity if scored else None),
            "bag of words": (
                of_four.about(held.texts), of_five.about(held.texts), of_four.polarity(held.texts) if scored else None,
            ),
            "keywords": (by_keywords(held.texts), by_keywords(held.texts), None),
        },
    )  # fmt: skip


# --- the database ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sentence:
    """One of the sentences that the judge is to read."""

    text: str
    photo: str
    split: str
    source: str


def _database(judge: TextJudge, context: Context) -> dict[str, Any]:
    """Read the comments into the database; returns how many sentences each set gave, and why others were dropped."""
    config: AttributesConfig = context.recipe.attributes
    sieve = Sieve(config.rules)
    rows: list[dict[str, Any]] = []
    counts: dict[str, Any] = {}
    stamp = hashlib.sha256((context.folder("attributes") / "judge.pt").read_bytes()).hexdigest()
    for name in config.comments:
        found = load_set(name, context.data)
        before, sentences, total = dict(sieve.dropped), [], 0
        for sentence in _sentences(found):
            total += 1
            if sieve.keeps(sentence.text):
                sentences.append(sentence)
        dropped = {reason: count - before[reason] for reason, count in sieve.dropped.items()}
        kept = 0
        for start in range(0, len(sentences), CHUNK):
            part = sentences[start : start + CHUNK]
            about, polarity = _read(judge, part, context, f"{name}-{start:08d}", stamp)
            kept += _add(rows, part, about, polarity, config.confidence, dropped)
            context.say(f"attributes: {name}: {min(start + CHUNK, len(sentences))} of {len(sentences)} sentences read")
        counts[name] = {"comments": len(found.samples), "sentences": total, "kept": kept, "dropped": dropped}
    _write_database(rows, context.folder("attributes") / "database")
    by_attribute = Counter(row["attribute"] for row in rows)
    return {"kept": {name: by_attribute[name] for name in FILES}, "sets": counts}


def _sentences(found: DataSet) -> Iterator[Sentence]:
    for sample in found.samples:
        text, _ = own_score(clean(sample.text or ""))
        for part in split(text):
            yield Sentence(part, sample.group or sample.id, sample.split, found.name)


def _read(
    judge: TextJudge, part: Sequence[Sentence], context: Context, name: str, stamp: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the judge says of some sentences; kept in the stage's folder, so that a killed run need not ask again."""
    texts = [sentence.text for sentence in part]
    key = hashlib.sha256(json.dumps([stamp, texts]).encode()).hexdigest()
    folder = context.folder("attributes") / "read"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.npz"
    if path.exists():
        with np.load(path) as found:
            if str(found["key"]) == key:
                return found["about"], found["polarity"]
    half = context.recipe.attributes.loop.precision == "bf16"
    with torch.autocast(context.device, torch.bfloat16, enabled=half):
        about, polarity = judge.judge(texts)
    with appearing(path) as partial:
        np.savez(partial, key=key, about=about, polarity=polarity)
    return about, polarity


def _add(
    rows: list[dict[str, Any]],
    part: Sequence[Sentence],
    about: NDArray[np.float32],
    polarity: NDArray[np.float32],
    confidence: float,
    dropped: dict[str, int],
) -> int:
    """Add the sentences that are surely about one of the four attributes; counts the others in `dropped`."""
    for reason in DROPPED_BY_JUDGE:
        dropped.setdefault(reason, 0)
    before = len(rows)
    for sentence, shares, points in zip(part, about, polarity, strict=True):
        best = int(shares.argmax())
        if best == len(ABOUT) - 1:
            dropped["none of the four"] += 1
        elif shares[best] < confidence:
            dropped["unsure"] += 1
        else:
            rows.append(
                {
                    "id": len(rows), "img_id": sentence.photo, "caption": sentence.text, "attribute": ABOUT[best],
                    "confidence": round(float(shares[best]), 4), "polarity": round(float(points), 3),
                    "split": sentence.split, "source": sentence.source,
                }
            )  # fmt: skip
    return len(rows) - before


def _write_database(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """CG-IAA's four JSON files, and all rows with confidence and polarity as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    for attribute, name in FILES.items():
        own = [{k: row[k] for k in ("id", "img_id", "caption")} for row in rows if row["attribute"] == attribute]
        with appearing(folder / name) as partial:
            partial.write_text(json.dumps(own, ensure_ascii=False), "utf-8")
    schema = pa.schema(
        [
            ("id", pa.int64()), ("img_id", pa.string()), ("caption", pa.string()), ("attribute", pa.string()),
            ("confidence", pa.float32()), ("polarity", pa.float32()), ("split", pa.string()), ("source", pa.string()),
        ]
    )  # fmt: skip
    with appearing(folder / "critiques.parquet") as partial:
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema), partial)
