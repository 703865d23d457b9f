"""Comments with known attributes and scores, as the judge of critiques learns from them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import torch
from cgiaa_models.text_judge import ABOUT
from cgiaa_models.tokens import Tokens
from cgiaa_training.manifest import DataSet, Sample, split_by
from cgiaa_training.sentences import clean, own_score, split, words
from torch import Tensor

__all__ = ["Batch", "Comment", "Comments", "labelled", "self_scored"]

UNKNOWN = -1
PART = 8  # texts that go through the encoder together: of like length, so that little is filled up


class Batch(TypedDict):
    """What `Comments.collate` says."""

    about: Tensor
    score: Tensor
    overall: Tensor
    parts: list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Comment:
    """A comment to learn from or to check with.

    Attributes:
        text: cleaned.
        about: index into `ABOUT`, or -1: not known.
        score: what its writer gave for what it is about, 1..10; NaN: not known.
        overall: what the photo got as a whole, 1..10; NaN: not known.
        photo: the photo it is about; a split never tears its comments apart.
        sentences: of the text.
    """

    text: str
    about: int = UNKNOWN
    score: float = math.nan
    overall: float = math.nan
    photo: str = ""
    sentences: tuple[str, ...] = field(default=(), repr=False)


def labelled(found: DataSet, score: str, overall: str) -> tuple[list[Comment], list[Comment]]:
    """The comments of a set to learn from, and those to check with.

    What is about a set's own attributes (PCCD's `subject` and `camera`) is about none of the four. Scores are brought
    to 1..10 by the label's range. To check with: split `val`, or else `test`, or else a seventh of the photos.
    """
    ranges = found.description.labels

    def value(sample: Sample, label: str) -> float:
        if label not in sample.labels:
            return math.nan
        low, high = ranges[label]
        return 1 + 9 * (sample.labels[label] - low) / (high - low)

    def comment(sample: Sample) -> Comment | None:
        text = clean(sample.text or "")
        if not words(text):
            return None
        about = UNKNOWN
        if sample.attribute is not None:
            about = ABOUT.index(sample.attribute if sample.attribute in ABOUT else "none")
        photo = sample.group or sample.id
        return Comment(text, about, value(sample, score), value(sample, overall), photo, tuple(split(text)))

    held = next((name for name in ("val", "test") if found.of(name)), None)
    samples = found.samples if held else split_by(found.samples, 1 / 7, 0)
    parts = ([s for s in samples if s.split == "train"], [s for s in samples if s.split == (held or "val")])
    learn, check = ([c for sample in part if (c := comment(sample)) is not None] for part in parts)
    return learn, check


def self_scored(found: DataSet, least_words: int = 4) -> list[Comment]:
    """The comments, outside the splits that check, whose writers put their score at the end; without that score."""
    comments = []
    for sample in found.samples:
        if sample.split in ("val", "test"):
            continue
        text, score = own_score(clean(sample.text or ""))
        if score is not None and len(words(text)) >= least_words:
            comments.append(Comment(text, UNKNOWN, float(score), math.nan, sample.group or "", tuple(split(text))))
    return comments


class Comments:
    """Comments for `loop.fit`: now whole, now a run of their sentences, drawn anew in every epoch.

    So the judge learns to read sentences too, for which there are no labels of their own.

    Args:
        share: of the comments of several sentences of which only a run is shown.
        seed: of the draws, together with the epoch and the index.
    """

    def __init__(self, comments: Sequence[Comment], tokens: Tokens, share: float, seed: int) -> None:
        self.comments, self.tokens, self.share, self.seed = comments, tokens, share, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw other runs."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.comments)

    def __getitem__(self, index: int) -> Comment:
        comment = self.comments[index]
        rng = random.Random(f"{self.seed} {self.epoch} {index}")
        count = len(comment.sentences)
        if count < 2 or rng.random() >= self.share:
            return comment
        length = rng.randint(1, count - 1)
        start = rng.randint(0, count - length)
        text = " ".join(comment.sentences[start : start + length])
        return Comment(text, comment.about, comment.score, comment.overall, comment.photo)

    def collate(self, comments: Sequence[Comment]) -> Batch:
        """`about` (B,) int64, `score` and `overall` (B,) with NaN, and `parts`: ids and masks, a few texts each."""
        ordered = sorted(comments, key=lambda c: len(c.text))
        return {
            "about": torch.tensor([c.about for c in ordered]),
            "score": torch.tensor([c.score for c in ordered]),
            "overall": torch.tensor([c.overall for c in ordered]),
            "parts": [self.tokens([c.text for c in ordered[i : i + PART]]) for i in range(0, len(ordered), PART)],
        }
