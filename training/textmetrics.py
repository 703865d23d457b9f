"""Metrics of generated critiques: variety, agreement with what was asked, and the captioning metrics."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from cgiaa_training.metrics import srcc
from cgiaa_training.units import words
from numpy.typing import NDArray

from cgiaa_cli.critique.claims import find_claims
from cgiaa_cli.critique.prompt import ATTRIBUTES, Prompt

__all__ = [
    "agreement",
    "captioning",
    "copied",
    "distinct",
    "duplicates",
    "obedience",
    "self_bleu",
    "wrong_photo",
]

Array = NDArray[Any]


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words over all of them (Li et al. 2016), 0..1."""
    grams = [gram for text in texts for gram in _grams(words(text), n)]
    return len(set(grams)) / max(1, len(grams))


def duplicates(texts: Sequence[str]) -> float:
    """Share of texts that say exactly what one before them said; case and marks do not count."""
    seen = [" ".join(words(text)) for text in texts]
    return 1 - len(set(seen)) / len(seen) if seen else 0.0


def copied(texts: Sequence[str], learnt: Iterable[str]) -> float:
    """Share of texts that are exactly one of those that were learnt from."""
    known = {" ".join(words(text)) for text in learnt}
    return sum(" ".join(words(text)) in known for text in texts) / max(1, len(texts))


def self_bleu(texts: Sequence[str], n: int = 4, limit: int = 500) -> float:
    """Mean BLEU of a text against all the others (Zhu et al. 2018, Texygen), 0..1: low where texts differ.

    Precisions of 1..n words with add-one smoothing from 2 on, no brevity penalty (there is always a reference as
    long); over the first `limit` texts.
    """
    tokens = [words(text) for text in texts[:limit]]
    tokens = [t for t in tokens if t]
    if len(tokens) < 2:
        return 0.0
    # the two largest counts of every n-gram, and whose the largest is: the best reference without the text itself
    best: list[dict[tuple[str, ...], list[tuple[int, int]]]] = [{} for _ in range(n)]
    for i, one in enumerate(tokens):
        for k in range(n):
            for gram, count in Counter(_grams(one, k + 1)).items():
                top = best[k].setdefault(gram, [])
                top.append((count, i))
                top.sort(reverse=True)
                del top[2:]
    found = []
    for i, one in enumerate(tokens):
        logs = []
        for k in range(n):
            counts = Counter(_grams(one, k + 1))
            hits = sum(min(c, next((m for m, j in best[k][gram] if j != i), 0)) for gram, c in counts.items())
            smooth = 1 if k else 0
            total = sum(counts.values())
            if total + smooth:
                logs.append(np.log(max((hits + smooth) / (total + smooth), 1e-9)))
        found.append(float(np.exp(np.mean(logs))))
    return float(np.mean(found))


def agreement(about: Array, polarity: Array, prompts: Sequence[Prompt]) -> dict[str, float]:
    """Do texts keep to the attribute and the level that were asked for?

    Args:
        about: (N,) what a judge says each text is about, an index into `ATTRIBUTES`, or beyond it for none of them.
        polarity: (N,) what it says they think of the photo.

    Returns:
        `attribute`: share judged to be about it, of those that ask for one that texts can be told by (not `general`:
        it is about everything); `polarity srcc`: Spearman's correlation of the judged polarity with the level.
    """
    told = [i for i, p in enumerate(prompts) if p.attribute != "general"]
    right = [ATTRIBUTES.index(prompts[i].attribute) == int(about[i]) for i in told]
    found = {"attribute": float(np.mean(right)) if right else 0.0}
    levels = np.array([p.level for p in prompts])
    if len(set(levels[levels > 0])) > 1:
        found["polarity srcc"] = srcc(np.asarray(polarity)[levels > 0], levels[levels > 0])
    return found


def obedience(texts: Sequence[str], prompts: Sequence[Prompt]) -> dict[str, float]:
    """Do texts state the facts they were told, and no others?

    Returns:
        `stated`: share of the told facts that their text claims; `unasked`: share of texts with a claim that was not
        told; `contradicted`: share of texts that claim another value of a measurement that was told.
    """
    told = stated = unasked = contradicted = 0
    for text, prompt in zip(texts, prompts, strict=True):
        claims = [c for c in find_claims(text) if c.value]
        facts = {(m, v) for m, v in prompt.facts if v}
        told += len(facts)
        stated += len(facts & {(c.measurement, c.value) for c in claims})
        unasked += any((c.measurement, c.value) not in facts for c in claims)
        holds: dict[str, set[str]] = {}
        for m, v in facts:
            holds.setdefault(m, set()).add(v)
        contradicted += any(c.measurement in holds and not c.values & holds[c.measurement] for c in claims)
    count = max(1, len(texts))
    return {"stated": stated / max(1, told), "unasked": unasked / count, "contradicted": contradicted / count}


def wrong_photo(own: Array, other: Array) -> dict[str, float]:
    """Is a text likelier with its own photo than with another? (N,) mean log-likelihoods of a token with each.

    Returns:
        `rate`: share of texts for which it is, ties counting half; `margin`: mean difference in nats a token.
    """
    difference = np.asarray(own) - np.asarray(other)
    return {"rate": float(np.mean((difference > 0) + 0.5 * (difference == 0))), "margin": float(difference.mean())}


def captioning(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """BLEU-1..4, ROUGE-L, CIDEr and METEOR by pycocoevalcap, tokenised here (its own tokenizer needs Java).

    Returns:
        The metrics; METEOR is left out where there is no Java, and `without` says so.
    """
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    ours = {i: [" ".join(words(text))] for i, text in enumerate(texts)}
    theirs = {i: [" ".join(words(r)) for r in refs] for i, refs in enumerate(references)}
    bleu, _ = Bleu(4).compute_score(theirs, ours, verbose=0)
    found: dict[str, Any] = {f"BLEU-{n + 1}": float(value) for n, value in enumerate(bleu)}
    found["ROUGE-L"] = float(Rouge().compute_score(theirs, ours)[0])
    found["CIDEr"] = float(Cider().compute_score(theirs, ours)[0])
    if shutil.which("java") is None:
        found["without"] = "METEOR: needs Java"
        return found
    from pycocoevalcap.meteor.meteor import Meteor

    meteor = Meteor()
    try:
        found["METEOR"] = float(meteor.compute_score(theirs, ours)[0])
    finally:  # it has no way to end by itself, and its process would stay
        meteor.meteor_p.kill()
        meteor.meteor_p.communicate()
    return found


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """With four digits behind the point, as results are printed."""
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
