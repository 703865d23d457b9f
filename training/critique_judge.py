"""A judge of critiques that takes part in nothing but the report on them, and how good the bundle's own judge is.

It is a bag of words, pairs of words and letters, learned in the report itself from the comments of PCCD's training
photos, so it shares neither weights nor a design with the judge that verifies. What it can be trusted with is printed
beside what it says: its numbers on PCCD's held-out photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cgiaa_training.manifest import DataSet, load_set
from cgiaa_training.metrics import interval, share, srcc
from cgiaa_training.sentences import clean, split
from numpy.typing import NDArray

from cgiaa_cli.critique.judge import ABOUT, TextJudge
from cgiaa_cli.critique.prompt import ATTRIBUTES
from cgiaa_cli.errors import CgiaaError

__all__ = ["PCCD", "Comment", "ReportJudge", "auc", "comments", "of_judge", "of_verifier"]

Array = NDArray[Any]
PCCD = "pccd"
GOOD, BAD = 9.0, 6.0
"""Scores, of 1..10, from which on and up to which a comment clearly praises or blames."""
RUN = 2  # sentences of the parts of comments that are learned beside the whole ones: printed texts are short


@dataclass(frozen=True)
class Comment:
    """A critic's text about one of the four attributes, with the score that the critic gave for it, 1..10."""

    text: str
    attribute: str
    score: float


def comments(data: Path) -> tuple[list[Comment], list[Comment]]:
    """PCCD's comments on the four attributes, of its training photos and of those held out.

    Raises:
        CgiaaError: PCCD is not below `data`, or has no held-out photos.
    """
    found = load_set(PCCD, data)
    parts = _comments(found, "train"), _comments(found, "val", "test")
    if not all(parts):
        raise CgiaaError("no comments to learn from, or none held out", path=PCCD, mend="see docs/data.md")
    return parts


def _comments(found: DataSet, *splits: str) -> list[Comment]:
    return [
        Comment(clean(s.text), s.attribute, s.labels["score"])
        for s in found.of(*splits)
        if s.text and s.attribute in ATTRIBUTES and "score" in s.labels
    ]


class ReportJudge:
    """TF-IDF of words, pairs of words and runs of letters; logistic regression for the attribute, ridge for the tone.

    Args:
        learn: comments; their runs of sentences are learned as well, with the comment's attribute and score.
    """

    def __init__(self, learn: Sequence[Comment]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_union

        shown = [part for comment in learn for part in _parts(comment)]
        self._bag = make_union(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=5, sublinear_tf=True, max_features=60_000),
        )
        seen = self._bag.fit_transform([c.text for c in shown])
        told = [ATTRIBUTES.index(c.attribute) for c in shown]
        # `general` has far fewer sentences than it has comments in what is printed
        self._attribute = LogisticRegression(C=5.0, max_iter=300, class_weight="balanced").fit(seen, told)
        self._tone = Ridge(alpha=3.0).fit(seen, [c.score for c in shown])

    def about(self, texts: Sequence[str]) -> Array:
        """(N,) index into `ATTRIBUTES` of what each text is about."""
        return np.asarray(self._attribute.predict(self._bag.transform(texts)))

    def tone(self, texts: Sequence[str]) -> Array:
        """(N,) how much each text praises, about 1..10."""
        return np.asarray(self._tone.predict(self._bag.transform(texts)))


def _parts(comment: Comment) -> list[Comment]:
    sentences = split(comment.text)
    runs = [" ".join(sentences[i : i + RUN]) for i in range(0, len(sentences), RUN)] if len(sentences) > RUN else []
    return [comment, *(Comment(run, comment.attribute, comment.score) for run in runs)]


def of_judge(judge: ReportJudge, held: Sequence[Comment]) -> dict[str, Any]:
    """What the report's judge is worth: on comments that it did not learn from."""
    texts = [c.text for c in held]
    return _agreement(judge.about(texts), judge.tone(texts), held)


def of_verifier(folder: Path, context: int, held: Sequence[Comment]) -> dict[str, Any]:
    """What the bundle's judge, by which its verifier works, is worth on the same comments.

    Args:
        folder: the bundle's folder `text`.
        context: most tokens that it reads.
    """
    judge = TextJudge(folder / "judge.onnx", folder / "judge-tokenizer.json", context=context)
    about, tone = [], []
    for start in range(0, len(held), 32):
        shares, polarity = judge.judge([c.text for c in held[start : start + 32]])
        about.append(shares[:, [ABOUT.index(name) for name in ATTRIBUTES]].argmax(1))
        tone.append(polarity)
    return _agreement(np.concatenate(about), np.concatenate(tone), held)


def _agreement(about: Array, tone: Array, held: Sequence[Comment]) -> dict[str, Any]:
    """`auc`: of the tone, between comments scored `GOOD` or more and `BAD` or less; `srcc` with all scores; `accuracy`
    of the attribute, among four."""
    scores = np.array([c.score for c in held])
    clear = (scores >= GOOD) | (scores <= BAD)
    found = auc(tone[clear], scores[clear] >= GOOD)
    right = share(about == np.array([ATTRIBUTES.index(c.attribute) for c in held]))
    return {
        **found,
        "srcc": round(srcc(tone, scores), 4),
        "accuracy": right["accuracy"],
        "accuracy_95": right["accuracy_95"],
        "n": len(held),
        "n of the auc": int(clear.sum()),
    }


def auc(values: Array, good: Array) -> dict[str, Any]:
    """Area under the ROC curve with its 95 % bootstrap interval; NaN where all are of one kind."""
    from scipy.stats import rankdata

    def area(chosen: Array) -> float:
        right, ranks = good[chosen], rankdata(values[chosen])
        many, few = int(right.sum()), int((~right).sum())
        return float((ranks[right].sum() - many * (many + 1) / 2) / (many * few)) if many and few else float("nan")

    low, high = interval(area, len(values))
    return {"auc": round(area(np.arange(len(values))), 4), "auc_95": [low, high]}
