"""From a photo and its scores to a critique: measure, write, verify, explain. The story of `cgiaa critique`.

scores + measurements ──> writer: candidates from the experts ──> verifier: drops what is not true of this photo
                                                                      │ none is left
                                                                      └──> plain texts from the measurements, of which
                                                                           the judge picks the one in the right tone
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cgiaa_cli.critique.advice import Advice, advise, crop_to
from cgiaa_cli.critique.compose import compose, compose_general, evidence_for
from cgiaa_cli.critique.facts import NOT_PHOTOGRAPHS, Facts, measure_facts, words
from cgiaa_cli.critique.judge import Tone
from cgiaa_cli.critique.observation import Evidence, Observation
from cgiaa_cli.critique.observe import observe
from cgiaa_cli.critique.reference import standing
from cgiaa_cli.critique.writer import Writer
from cgiaa_cli.imaging.decode import Photo
from cgiaa_cli.inference.crops import Crop
from cgiaa_cli.inference.scores import ATTRIBUTES, Scores

__all__ = ["GENERATED", "MEASURED", "NONE", "AttributeCritique", "Critic", "Critique", "Settings"]

GENERATED, MEASURED, NONE = "generated", "measured", "none"
VARIANTS = 8  # plain texts that the judge chooses from
_NOTICES = {
    "screenshot": "This looks like a screenshot; aesthetics do not apply.",
    "document": "This looks like a page of text; aesthetics do not apply.",
    "blank": "There is next to nothing in this picture; aesthetics do not apply.",
    "tiny": "This picture is too small to judge ({width} x {height} px).",
}


@dataclass(frozen=True)
class Settings:
    """How critiques are written; part of the key under which the cache keeps them.

    Attributes:
        candidates: texts drawn for each attribute; 0: all is composed from measurements.
        seed: of the drawing and of the wordings.
        short: one sentence an attribute instead of up to three.
    """

    candidates: int = 24
    seed: int = 0
    short: bool = False


@dataclass(frozen=True)
class AttributeCritique:
    """What is said of one attribute.

    Attributes:
        score: 1..10.
        percentile: share of the bundle's reference photos that lie below, 0..100; None: the bundle has no reference.
        text: one to three sentences; empty where nothing should be said.
        source: `generated` (a verified text of the experts; a sentence of what was measured may follow), `measured`
            (composed from measurements) or `none`.
        evidence: the numbers that the text rests on, and `region`, a box (x, y, w, h) in pixels, where one exists.
        advice: what could be done, each a sentence with its numbers.
        dropped: why candidates were dropped, counted by reason.
    """

    score: float
    percentile: float | None
    text: str
    source: str
    evidence: dict[str, Any] = field(default_factory=dict)
    advice: tuple[Advice, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Critique:
    """A photo's critique.

    Attributes:
        kinds: what kind of photo it is, see `facts.KINDS`.
        notice: why aesthetics do not apply; empty where they do.
        attributes: by attribute, in the order of `ATTRIBUTES`.
    """

    kinds: tuple[str, ...]
    notice: str
    attributes: dict[str, AttributeCritique]


class Critic:
    """Writes critiques with one bundle.

    Args:
        reference: the bundle's section "reference", see `reference.standing`.
        writer: the experts and the verifier; None: the bundle has none, so all is composed from measurements.
        tone: chooses among composed texts; None: the bundle has no judge, so the dice do.
    """

    def __init__(
        self, reference: dict[str, Any] | None, writer: Writer | None, settings: Settings, tone: Tone | None = None
    ) -> None:
        self._reference = reference
        self._writer = writer
        self._tone = tone
        self._settings = settings

    def critique(
        self, photo: Photo, scores: Scores, key: str, facts: Facts | None = None, crop: Crop | None = None
    ) -> Critique:
        """The critique of a decoded photo.

        Args:
            scores: of the same photo.
            key: of its content; the same key, scores and settings give the same texts.
            facts: its measurements, where they are at hand.
            crop: one that is sure enough to be advised.
        """
        facts = facts or measure_facts(photo)
        stands = {name: standing(self._reference, name, scores.attributes[name]) for name in ATTRIBUTES}
        odd = sorted(facts.kinds & NOT_PHOTOGRAPHS)
        if odd:
            notice = _NOTICES[odd[0]].format(width=facts.width, height=facts.height)
            empty = {n: _silent(scores.attributes[n], _percent(*stands[n])) for n in ATTRIBUTES}
            return Critique(tuple(sorted(facts.kinds)), notice, empty)
        observations, holds = observe(facts), words(facts)
        seed = self._settings.seed + int(key[:8], 16)
        written = self._write(facts, scores, {n: s for n, (s, _) in stands.items()}, seed)
        found = {}
        for name in ATTRIBUTES:
            text, dropped = written.get(name, ("", {}))
            seeds = [seed] if text else [seed + 7919 * i for i in range(VARIANTS if self._tone else 1)]
            said = [self._said(name, stands, scores, observations, holds, one, text) for one in seeds]
            chosen = 0
            if self._tone is not None and len(said) > 1:
                chosen = self._tone.closest(name, [one for one, _, _ in said], stands[name][0])
            whole, told, evidence = said[chosen]
            own = [o for o in observations if o.attribute == name]
            advice = advise(photo.view, facts, own)
            if crop is not None and name == "composition":
                advice.insert(0, crop_to(facts, crop))
            found[name] = AttributeCritique(
                score=scores.attributes[name],
                percentile=_percent(*stands[name]),
                text=whole,
                source=GENERATED if text else MEASURED,
                evidence=evidence | _evidence([*told, *(o for o in own if text and o not in told)], facts),
                advice=tuple(advice),
                dropped=dropped,
            )
        return Critique(tuple(sorted(facts.kinds)), "", found)

    def _write(
        self, facts: Facts, scores: Scores, stands: dict[str, float], seed: int
    ) -> dict[str, tuple[str, dict[str, int]]]:
        if self._writer is None or not self._settings.candidates:
            return {}
        return self._writer.write(facts, stands, scores, self._settings.candidates, seed, short=self._settings.short)

    def _said(
        self,
        name: str,
        stands: dict[str, tuple[float, bool]],
        scores: Scores,
        observations: list[Observation],
        holds: dict[str, set[str]],
        seed: int,
        text: str,
    ) -> tuple[str, list[Observation], Evidence]:
        """The critique of an attribute: the experts' `text` and what backs it; a plain one where that is empty."""
        short, about = self._settings.short, {n: s for n, (s, _) in stands.items()}
        if name == "general":
            whole, evidence = compose_general(
                about, scores.spread, seed, observations=observations, holds=holds, short=short, lead=text
            )
            return whole, [], evidence
        if not text:
            return *compose(name, about[name], observations, seed, holds=holds, short=short), {}
        if short:
            return text, [], {}
        return *evidence_for(text, name, about[name], observations, seed, holds=holds), {}


def _percent(share: float, measured: bool) -> float | None:
    return round(100 * share, 1) if measured else None


def _silent(score: float, percentile: float | None) -> AttributeCritique:
    return AttributeCritique(score, percentile, "", NONE)


def _evidence(observations: list[Observation], facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for observation in observations:
        found |= observation.evidence
        if observation.region is not None and "region" not in found:
            x, y, w, h = observation.region
            box = (x * facts.width, y * facts.height, w * facts.width, h * facts.height)
            found["region"] = [round(v) for v in box]
    return found
