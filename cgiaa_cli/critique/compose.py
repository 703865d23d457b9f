"""A plain critique from scores and measurements: what stands in where no generated text survives its checks.

It puts the attribute's standing into words and says what was measured: strengths where the photo stands high, faults
where it stands low, and what speaks against the standing only as a concession ("..., though ..."). Nothing else is
said. The same is said in many ways, for a folder of photos should not read like a form.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from cgiaa_cli.critique.claims import OWN, contradictions, find_claims, merits
from cgiaa_cli.critique.observation import Evidence, Observation
from cgiaa_cli.critique.wordings import (
    CONCEDE_FAULT,
    CONCEDE_STRENGTH,
    DISAGREE,
    EVEN_HIGH,
    EVEN_LOW,
    EVEN_PARTS,
    LEADS,
    LIKELY_AGREE,
    MIXED,
    NAMES,
    STRONGEST,
    STRONGEST_AND_WEAKEST,
    SUM_UP,
    TONE_NAMES,
    TONE_SUBJECTS,
    WEAKEST,
)

__all__ = ["NAMES", "compose", "compose_general", "evidence_for"]

Holds = Mapping[str, Collection[str]]

BANDS = (0.12, 0.35, 0.65, 0.88)
"""Standings, 0..1, that part the five wordings: well below, below, about, above and well above the middle."""

NEUTRAL = 0.2
"""Merit up to which an observation describes and fits any standing."""

GAP = 0.15
"""Standings between the best and the worst attribute from which on the general text names them."""

TRIES = 20
EVEN_SO = ("even so,", "still,", "at least")
MOST = 3
"""Sentences of a critique of one attribute."""

DOUBTED = frozenset(["sharpness", "focus_share", "depth"])
"""Measurements whose praise is not told where the attribute stands low."""

SPREADS = (1.3, 1.6)
"""Standard deviations of the predicted votes, in points of 1..10: below they agree, above they do not."""


def compose(
    attribute: str,
    standing: float,
    observations: Sequence[Observation],
    seed: int,
    *,
    holds: Holds | None = None,
    short: bool = False,
) -> tuple[str, list[Observation]]:
    """One to three sentences about an attribute other than `general`.

    Args:
        standing: share of the reference photos that score lower, 0..1.
        observations: of the photo; those of other attributes are passed over.
        seed: picks the wordings; the same photo gives the same text.
        holds: of the photo, see `facts.words`; a wording that it contradicts ("the focus is excellent") is not used.
        short: one sentence, two at most.

    Returns:
        The text, and the observations that it states.
    """
    dice = random.Random(f"{seed} {attribute}")
    for _ in range(TRIES):
        text, told = _draw(attribute, _band(standing), observations, dice, holds or {}, short=short)
        if not contradictions(find_claims(text), holds or {}):
            return text, told
    return _sentence(_lead(attribute, _band(standing), _is_toned(observations), dice, holds or {})), []


def evidence_for(
    text: str, attribute: str, standing: float, observations: Sequence[Observation], seed: int, *, holds: Holds
) -> tuple[str, list[Observation]]:
    """A text that the experts wrote, and behind it what was measured that speaks for it and that it does not say.

    Args:
        attribute, standing, observations, seed, holds: see `compose`.

    Returns:
        The text with one sentence more, or two where it has but one, and the observations that these state; the text
        alone where there is none.
    """
    dice = random.Random(f"{seed} {attribute} evidence")
    said = {claim.measurement for claim in find_claims(text)}
    own = [o for o in observations if o.attribute == attribute and o.measurement not in said]
    agreeing, against = _choose(own, _band(standing), dice)
    plain = [o for o in own if o not in agreeing and abs(o.merit) <= NEUTRAL]
    told: list[Observation] = []
    room = MOST - len(re.findall(r"[.!](?:\s|$)", text))
    backing = [*agreeing, *dice.sample(plain, len(plain))]
    if len(backing) < MOST - 1 and against is not None and _band(standing) < 2:
        backing.append(replace(against, clauses=tuple(f"{w} {_lower(c)}" for w in EVEN_SO for c in against.clauses)))
    for observation in backing:
        clauses = dice.sample(observation.clauses, len(observation.clauses))
        true = (c for c in clauses if not contradictions(find_claims(f"{text} {_sentence(c)}"), holds))
        clause = next(true, None)
        if clause is not None and len(told) < room:
            text, told = f"{text} {_sentence(clause)}", [*told, observation]
    return text, told


def _draw(
    attribute: str,
    band: int,
    observations: Sequence[Observation],
    dice: random.Random,
    holds: Holds,
    *,
    short: bool,
) -> tuple[str, list[Observation]]:
    """A text and what it tells; joined, two true clauses may still be read as a claim that neither makes."""
    agreeing, against = _choose([o for o in observations if o.attribute == attribute], band, dice)
    told = agreeing[: 1 if short else 2]
    lead = _lead(attribute, band, _is_toned(observations), dice, holds)
    concession = against if against is not None and (not told or dice.random() < 0.35) and not short else None
    if concession is not None:
        told = told[:1]
    return _arrange(lead, told, concession, band, dice), [*told, *([concession] if concession else [])]


def compose_general(
    standings: Mapping[str, float],
    spread: float,
    seed: int,
    *,
    observations: Sequence[Observation] = (),
    holds: Holds | None = None,
    short: bool = False,
    lead: str = "",
) -> tuple[str, Evidence]:
    """One to three sentences about the whole: how it stands, what carries it, how much people would disagree.

    Args:
        standings: of all four attributes, 0..1.
        spread: standard deviation of the predicted distribution.
        observations: of the photo; they tell whether there is any colour to speak of.
        holds: see `compose`.
        lead: what the experts said of how it stands, instead of the first sentence.

    Returns:
        The text, and the numbers that it rests on.
    """
    dice = random.Random(f"{seed} general")
    parts = {name: value for name, value in standings.items() if name != "general"}
    best, worst = max(parts, key=lambda n: parts[n]), min(parts, key=lambda n: parts[n])
    evidence: Evidence = {"spread": round(spread, 2)}
    holds = holds or {}
    sentences = [lead or _sentence(_lead("general", _band(standings["general"]), False, dice, holds))]
    if short:
        return sentences[0], evidence
    names = NAMES | TONE_NAMES if _is_toned(observations) else NAMES
    words = {"strong": names[best], "weak": names[worst]}
    high, low = parts[worst] > BANDS[2], parts[best] < BANDS[1]
    claims = find_claims(lead)
    claimed = {name for name, owned in OWN.items() if any(c.measurement in owned for c in claims)}
    praised = (merits(claims) or _band(standings["general"]) - 1.5) > 0
    if (worst if praised else best) in claimed:  # "great sharpness" is not followed by the focus being the weakest side
        sides = [w.format(**words) for w in (STRONGEST if praised else WEAKEST) if "all" not in w.split()]
        sentences.append(_sentence(_pick(sides, dice, holds)))
    elif parts[best] - parts[worst] <= GAP:
        band = _band(standings["general"])
        even = EVEN_HIGH if high and band > 2 else EVEN_LOW if low and band < 2 else EVEN_PARTS
        sentences.append(_sentence(_pick(even, dice, holds)))
    else:
        evidence |= {"strongest": best, "weakest": worst}
        pool = STRONGEST if high else WEAKEST if low else STRONGEST_AND_WEAKEST
        sentences.append(_sentence(_pick([wording.format(**words) for wording in pool], dice, holds)))
    opinions = LIKELY_AGREE if spread < SPREADS[0] else DISAGREE if spread > SPREADS[1] else MIXED
    if opinions is not MIXED or lead or dice.random() < 0.4:
        sentences.append(_sentence(dice.choice(opinions)))
    if len(sentences) == 2 and not lead and dice.random() < 0.35:
        sentences.reverse()
    return " ".join(sentences), evidence


def _band(standing: float) -> int:
    return sum(standing >= edge for edge in BANDS)


def _is_toned(observations: Sequence[Observation]) -> bool:
    """Whether the photo has no colours to speak of: black and white, or toned."""
    return any(o.measurement == "palette" for o in observations)


def _choose(own: Sequence[Observation], band: int, dice: random.Random) -> tuple[list[Observation], Observation | None]:
    """What speaks for a standing, the weightiest first, and the weightiest that speaks against it.

    In the middle what weighs most is told first and what weighs on the other side is the concession. What is told
    without weight comes last. The dice change the order of what is about as weighty.
    """
    if band < 2:  # what scores low in focus may have fooled the measurement: blurred and then sharpened, or noisy
        own = [o for o in own if o.merit <= 0 or o.measurement not in DOUBTED]
    elif any(o.measurement in DOUBTED for o in own):
        own = [o for o in own if o.measurement != "texture"]  # how sharp it is says more than how much there is
    shaken = {id(o): abs(o.merit) + dice.uniform(0, 0.25) for o in own}
    ordered = sorted(own, key=lambda o: shaken[id(o)], reverse=True)
    weighty = [o for o in ordered if abs(o.merit) > NEUTRAL]
    neutral = [o for o in ordered if abs(o.merit) <= NEUTRAL]
    sign = 1 if band > 2 else -1 if band < 2 else 1 if weighty and weighty[0].merit > 0 else -1
    agreeing = [o for o in weighty if o.merit * sign > 0]
    against = next((o for o in weighty if o.merit * sign < 0), None)
    if band > 2 and against is not None and against.merit > -0.4:
        against = None  # what is good need not be found small faults with
    if band < 2 and agreeing and against is not None:
        against = None if dice.random() < 0.5 else against
    if len(agreeing) < 2 or dice.random() < 0.3:
        agreeing = [*agreeing[:1], *(neutral if band == 2 or not agreeing else neutral[:1])]
    return agreeing if band == 2 or abs(agreeing[0].merit if agreeing else 0) > NEUTRAL else agreeing[:1], against


def _lead(attribute: str, band: int, toned: bool, dice: random.Random, holds: Holds) -> str:
    subjects, predicates = LEADS[attribute]
    chosen = TONE_SUBJECTS if toned and attribute == "color_light" else subjects
    return _pick([f"{subject} {p[plural]}" for subject, plural in chosen for p in predicates[band]], dice, holds)


def _pick(wordings: Iterable[str], dice: random.Random, holds: Holds) -> str:
    """One of the wordings, at random among those that nothing measured contradicts; any where all are."""
    shuffled = list(wordings)
    dice.shuffle(shuffled)
    return next((w for w in shuffled if not contradictions(find_claims(w), holds)), shuffled[0])


def _arrange(
    lead: str, told: Sequence[Observation], against: Observation | None, band: int, dice: random.Random
) -> str:
    """Clauses as sentences: the standing first, or last, or joined to what is said for it or against it."""
    spoken = [dice.choice(o.clauses) for o in told]
    if against is not None:
        pool = CONCEDE_FAULT if against.merit < 0 else CONCEDE_STRENGTH
        joined = dice.choice(pool).format(lead=lead, against=_lower(dice.choice(against.clauses)))
        found = [joined, *spoken] if dice.random() < 0.6 else [*spoken, joined]
    elif not spoken:
        found = [lead]
    else:
        found = _agree(lead, spoken, band != 2 and abs(told[0].merit) > NEUTRAL, dice)
    return " ".join(_sentence(clause) for clause in found)


def _agree(lead: str, spoken: Sequence[str], because: bool, dice: random.Random) -> list[str]:
    """Sentences, without their marks, of a standing and what does not speak against it.

    Args:
        because: whether the first of `spoken` is a reason for the standing.
    """
    first, *rest = spoken
    way = dice.random()
    if way < 0.25 and because:
        return [f"{lead}: {_lower(first)}", *rest]
    if way < 0.45 and rest and "," not in first:
        return [lead, f"{first}, and {_lower(rest[0])}"]
    if way < 0.6:
        return [first, lead, *rest]
    if way < 0.8:
        return [*spoken, f"{dice.choice(SUM_UP)} {_lower(lead)}"]
    return [lead, *spoken]


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _lower(clause: str) -> str:
    return clause[0].lower() + clause[1:]
