"""How good the judge of critiques is, beside simpler ones: numbers with intervals, and a page to read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cgiaa_models.text_judge import ABOUT
from cgiaa_training.comments import Comment
from cgiaa_training.files import appearing
from cgiaa_training.metrics import interval, srcc
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = ["Answers", "Held", "auc", "confusion", "macro_f1", "measure", "write_report"]

Array = NDArray[Any]
FOUR = ABOUT[:4]
HIGH, LOW = 9.0, 6.0  # scores that count as praise, and as blame; what lies between has no side
Answers = tuple[Array, Array, "Array | None"]
"""Of N comments: the best of the four attributes, the best of these and none (indices into `ABOUT`), polarity."""


@dataclass(frozen=True)
class Held:
    """Comments held out, as arrays of N."""

    texts: list[str]
    about: Array
    score: Array
    photo: Array
    sentences: Array

    @staticmethod
    def of(comments: Sequence[Comment]) -> Held:
        """From comments."""
        return Held(
            [c.text for c in comments],
            np.array([c.about for c in comments]),
            np.array([c.score for c in comments]),
            np.unique([c.photo for c in comments], return_inverse=True)[1],
            np.array([len(c.sentences) for c in comments]),
        )

    def brief(self, about: Array, polarity: Array) -> dict[str, float]:
        """A few numbers for the log of a training: probabilities (N, 5) and polarity (N,) against the truth."""
        four = (self.about >= 0) & (self.about < 4)
        found = {"accuracy": float((about[four, :4].argmax(1) == self.about[four]).mean())}
        scored = four & ~np.isnan(self.score)
        if scored.any():
            found["auc"] = auc(polarity[scored], self.score[scored])
            found["srcc"] = srcc(polarity[scored], self.score[scored])
        return found


def confusion(found: Array, truth: Array, kinds: int) -> Array:
    """(kinds, kinds) counts: rows are the truth, columns what was found."""
    return np.bincount(truth * kinds + found, minlength=kinds * kinds).reshape(kinds, kinds)


def _f1(table: Array) -> Array:
    """(kinds,) F1 of each kind; 0 of one that is nowhere."""
    both = table.sum(0) + table.sum(1)
    return np.asarray(2 * np.diag(table) / np.maximum(both, 1))


def macro_f1(found: Array, truth: Array, kinds: int) -> float:
    """Mean F1 of the kinds that there are; NaN of nothing."""
    table = confusion(found, truth, kinds)
    there = table.sum(1) > 0
    return float(_f1(table)[there].mean()) if there.any() else float("nan")


def auc(polarity: Array, score: Array) -> float:
    """Chance that a text of praise (score >= 9) gets the higher polarity than one of blame (<= 6); NaN without both."""
    high, low = score >= HIGH, score <= LOW
    if not high.any() or not low.any():
        return float("nan")
    ranks = rankdata(polarity[high | low])[high[high | low]]
    return float((ranks.sum() - high.sum() * (high.sum() + 1) / 2) / (high.sum() * low.sum()))


def measure(held: Held, judges: Mapping[str, Answers]) -> dict[str, Any]:
    """What each judge says of the comments held out, against the truth.

    Returns:
        By judge: `four` (comments on one of the four attributes, told apart among the four), `five` (with `none`),
        `one_sentence` (as `four`, comments of a single sentence), `polarity` (of the four) and `polarity_all`.
        Intervals are of photos drawn again, because comments on one photo are not independent.
    """
    four = (held.about >= 0) & (held.about < 4)
    known, one = held.about >= 0, four & (held.sentences <= 1)
    scored = ~np.isnan(held.score)
    results: dict[str, Any] = {}
    for name, (of_four, of_five, polarity) in judges.items():
        results[name] = {
            "four": _told_apart(of_four[four], held.about[four], held.photo[four], FOUR),
            "five": _told_apart(of_five[known], held.about[known], held.photo[known], ABOUT),
            "one_sentence": _told_apart(of_four[one], held.about[one], held.photo[one], FOUR),
        }
        if polarity is not None and (scored & four).any():
            results[name]["polarity"] = _polarity(polarity, held, scored & four)
            results[name]["polarity_all"] = _polarity(polarity, held, scored)
            results[name]["polarity_by_attribute"] = {
                attribute: _polarity(polarity, held, scored & (held.about == k), resamples=200)
                for k, attribute in enumerate(FOUR)
                if (scored & (held.about == k)).sum() > 2
            }
    return results


def _told_apart(found: Array, truth: Array, photo: Array, names: Sequence[str]) -> dict[str, Any]:
    kinds = len(names)
    if not len(truth):
        return {"n": 0}
    table = confusion(found, truth, kinds)
    precision = np.diag(table) / np.maximum(table.sum(0), 1)
    recall = np.diag(table) / np.maximum(table.sum(1), 1)
    return {
        "n": len(truth),
        **_with_interval("accuracy", lambda i: float((found[i] == truth[i]).mean()), photo),
        **_with_interval("macro_f1", lambda i: macro_f1(found[i], truth[i], kinds), photo),
        "by_attribute": {
            name: {
                "n": int(table[k].sum()),
                "precision": round(float(precision[k]), 4),
                "recall": round(float(recall[k]), 4),
                "f1": round(float(_f1(table)[k]), 4),
            }
            for k, name in enumerate(names)
        },
        "confusion": table.tolist(),
    }


def _polarity(polarity: Array, held: Held, chosen: Array, resamples: int = 1000) -> dict[str, Any]:
    p, s, photo = polarity[chosen], held.score[chosen], held.photo[chosen]
    return {
        "n": len(s),
        "sides": int(((s >= HIGH) | (s <= LOW)).sum()),
        **_with_interval("auc", lambda i: auc(p[i], s[i]), photo, resamples),
        **_with_interval("srcc", lambda i: srcc(p[i], s[i]), photo, resamples),
    }


def _with_interval(
    name: str, statistic: Callable[[Array], float], photo: Array, resamples: int = 1000
) -> dict[str, Any]:
    """A statistic of all items, and its 95 % bootstrap interval over photos."""
    order = np.argsort(photo, kind="stable")
    members = np.split(order, np.unique(photo[order], return_index=True)[1][1:])
    value = statistic(np.arange(len(photo)))
    if math.isnan(value):  # not defined: nothing of one of two sides, or all the same
        return {name: None, f"{name}_95": None}
    limits = interval(lambda d: statistic(np.concatenate([members[i] for i in d])), len(members), resamples)
    return {name: round(value, 4), f"{name}_95": list(limits)}


# --- the page --------------------------------------------------------------------------------------------------


def write_report(path: Path, results: Mapping[str, Any]) -> None:
    """The results of stage 2 as Markdown."""
    lines = [
        "# The judge of critiques, and the attribute database",
        "",
        f"Encoder: `{results['encoder']}`. Learned from:",
    ]
    lines += [f"- {name}: {count} comments" for name, count in results["learned_from"].items()]
    lines += [f"- scored by their own writers: {results['self_scored']} comments", ""]
    lines += (
        _page_about(results["held_out"]) + _page_polarity(results["held_out"]) + _page_database(results["database"])
    )
    with appearing(path) as partial:
        partial.write_text("\n".join(lines) + "\n", "utf-8")


def _page_about(held: Mapping[str, Any]) -> list[str]:
    lines = ["## What a comment is about", ""]
    lines += ["Comments on photos held out. Intervals (95 %) are of photos drawn again 1,000 times.", ""]
    for key, title in (
        ("four", "Among the four attributes, comments on one of them"),
        ("five", "With `none` (comments on something else)"),
        ("one_sentence", "Among the four, comments of one sentence"),
    ):
        lines += [f"### {title}", "", "| judge | n | accuracy | macro-F1 | " + " | ".join(_kinds(held, key)) + " |"]
        lines += ["|---|---|---|---|" + "---|" * len(_kinds(held, key))]
        for judge, found in held.items():
            one = found[key]
            if not one["n"]:
                continue
            cells = [judge, str(one["n"]), _number(one, "accuracy"), _number(one, "macro_f1")]
            cells += [f"{a['f1']:.3f}" for a in one["by_attribute"].values()]
            lines += ["| " + " | ".join(cells) + " |"]
        lines += ["", "The columns of the attributes are F1.", ""]
    table = held["judge"]["five"]["confusion"]
    lines += ["### Confusion of the judge", "", "Rows are the truth, columns what the judge says.", ""]
    lines += ["| | " + " | ".join(ABOUT) + " |", "|---|" + "---|" * len(ABOUT)]
    lines += [f"| {name} | " + " | ".join(map(str, row)) + " |" for name, row in zip(ABOUT, table, strict=True)]
    return [*lines, ""]


def _kinds(held: Mapping[str, Any], key: str) -> list[str]:
    return list(held["judge"][key].get("by_attribute", ()))


def _number(one: Mapping[str, Any], name: str) -> str:
    if one[name] is None:
        return "not defined"
    low, high = one[f"{name}_95"]
    return f"{one[name]:.3f} ({low:.3f} to {high:.3f})"


def _page_polarity(held: Mapping[str, Any]) -> list[str]:
    scored = {judge: found for judge, found in held.items() if "polarity" in found}
    if not scored:
        return []
    lines = ["## What its writer thinks", "", f"AUC: scores of {HIGH:g} or more against {LOW:g} or less.", ""]
    lines += ["| judge | comments | n | AUC | SRCC |", "|---|---|---|---|---|"]
    for judge, found in scored.items():
        rows = [("on the four attributes", found["polarity"]), ("all", found["polarity_all"])]
        rows += [(f"on {name}", one) for name, one in found["polarity_by_attribute"].items()]
        for what, one in rows:
            lines += [f"| {judge} | {what} | {one['n']} | {_number(one, 'auc')} | {_number(one, 'srcc')} |"]
    return [*lines, ""]


def _page_database(database: Mapping[str, Any]) -> list[str]:
    reasons = list(dict.fromkeys(reason for one in database["sets"].values() for reason in one["dropped"]))
    lines = ["## The database", "", "| set | comments | sentences | kept | " + " | ".join(reasons) + " |"]
    lines += ["|---|---|---|---|" + "---|" * len(reasons)]
    for name, one in database["sets"].items():
        cells = [name, one["comments"], one["sentences"], one["kept"], *(one["dropped"].get(r, 0) for r in reasons)]
        lines += ["| " + " | ".join(map(str, cells)) + " |"]
    lines += ["", "Kept, by attribute: " + ", ".join(f"{k} {n}" for k, n in database["kept"].items()) + "."]
    return lines
