"""Why one photo rather than another: differences of scores with their confidence, and of measurements in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cgiaa_cli.critique.compose import NAMES
from cgiaa_cli.critique.facts import SURE, Facts
from cgiaa_cli.critique.reference import AVA_SD
from cgiaa_cli.inference.scores import ATTRIBUTES, Scores

__all__ = ["Candidate", "Comparison", "Reject", "compare", "confidence", "differences"]


@dataclass(frozen=True)
class Candidate:
    """One of the photos compared."""

    path: str
    scores: Scores
    facts: Facts


@dataclass(frozen=True)
class Reject:
    """A photo that is not the keeper.

    Attributes:
        behind: by `score`, the attributes and `technical` how much it scores below the keeper; below 0: above it.
        confidence: probability that people would prefer the keeper; None: the bundle has no measure of that.
        reason: why the keeper, one sentence.
    """

    path: str
    behind: dict[str, float]
    confidence: float | None
    reason: str


@dataclass(frozen=True)
class Comparison:
    """The keeper first, then the others, the nearest first."""

    keeper: Candidate
    rejects: tuple[Reject, ...]


def compare(candidates: Sequence[Candidate], results: Mapping[str, Any]) -> Comparison:
    """Compare two photos or more.

    Args:
        results: the bundle's measured results, see `confidence`.
    """
    ordered = sorted(candidates, key=lambda c: (-c.scores.score, -c.facts.focus.peak, c.path))
    keeper, *others = ordered
    return Comparison(keeper, tuple(_reject(keeper, other, results) for other in others))


def _reject(keeper: Candidate, other: Candidate, results: Mapping[str, Any]) -> Reject:
    behind = {"score": keeper.scores.score - other.scores.score}
    behind |= {name: keeper.scores.attributes[name] - other.scores.attributes[name] for name in ATTRIBUTES}
    behind["technical"] = keeper.scores.technical - other.scores.technical
    return Reject(
        other.path,
        {name: round(value, 3) for name, value in behind.items()},
        confidence(behind["score"], results),
        _reason(keeper, other, behind),
    )


def confidence(difference: float, results: Mapping[str, Any]) -> float | None:
    """Probability that people prefer the photo whose score is higher by `difference`.

    With a correlation r between predicted and true scores, both standardised, the true difference of two photos is
    normal with mean r d and variance 2 (1 - r^2). r is the PLCC that was measured on photos that the bundle did not
    learn from; None where its results have none.

    Args:
        results: as `Bundle.results`; those named `... score` with a `plcc` count, the lowest of them.
    """
    known = [
        r["plcc"] for name, r in results.items() if name.endswith(" score") and isinstance(r, dict) and "plcc" in r
    ]
    if not known:
        return None
    r = min(0.99, max(0.0, float(min(known))))
    spread = math.sqrt(2 * (1 - r * r))
    return round(0.5 * (1 + math.erf(r * difference / AVA_SD / spread / math.sqrt(2))), 3)


def _reason(keeper: Candidate, other: Candidate, behind: Mapping[str, float]) -> str:
    """The attribute that differs most, and the measurement that differs most in its favour."""
    parts = {name: behind[name] for name in ATTRIBUTES if name != "general"}
    name = max(parts, key=lambda n: parts[n])
    said = differences(keeper.facts, other.facts)
    gap = behind["score"]
    lead = "They score nearly the same" if gap < 0.1 else f"The keeper scores {gap:.2f} higher"
    if parts[name] > 0.1:
        lead += f", most of all in {NAMES[name]} (by {parts[name]:.2f})"
    return f"{lead}; {said[0]}." if said else f"{lead}."


def differences(keeper: Facts, other: Facts) -> list[str]:
    """What is measurably better in `keeper`, the clearest first, each a clause that begins with "it"."""
    found: list[tuple[float, str]] = []

    def add(gain: float, least: float, clause: str) -> None:
        if gain >= least:
            found.append((gain / least, clause))

    mine, theirs = keeper.focus, other.focus
    add(mine.peak - theirs.peak, 0.12, f"it is sharper ({mine.peak:.2f} against {theirs.peak:.2f})")
    if theirs.blur == "motion" and mine.blur != "motion":
        found.append((3.0, "it has no motion blur"))
    add(theirs.noise - mine.noise, 1.5, f"it has less noise ({mine.noise:.1f} against {theirs.noise:.1f} levels)")
    add(
        other.light.blown - keeper.light.blown,
        0.01,
        f"it keeps its highlights ({keeper.light.blown:.1%} blown against {other.light.blown:.1%})",
    )
    add(
        _off(other) - _off(keeper),
        8.0,
        f"it is better exposed (median lightness {keeper.light.median:.0f} against {other.light.median:.0f})",
    )
    add(
        keeper.light.contrast - other.light.contrast,
        4.0,
        f"it has more contrast ({keeper.light.contrast:.0f} against {other.light.contrast:.0f})",
    )
    add(other.frame.clutter - keeper.frame.clutter, 0.12, "it is less cluttered")
    if keeper.frame.tilt is not None and other.frame.tilt is not None:
        lean = abs(other.frame.tilt) - abs(keeper.frame.tilt)
        add(lean, 0.8, f"it stands straighter (by {lean:.1f} degrees)")
    if min(keeper.frame.subject.certainty, other.frame.subject.certainty) >= SURE:
        add(keeper.frame.separation - other.frame.separation, 8.0, "its subject stands out better from the background")
    return [clause for _, clause in sorted(found, reverse=True)]


def _off(facts: Facts) -> float:
    """How far the median lies outside the range of ordinary exposures; 0 for photos that are meant to lie there."""
    if facts.kinds & {"night", "silhouette", "high_key", "low_key"}:
        return 0.0
    return max(0.0, 38 - facts.light.median, facts.light.median - 68)
