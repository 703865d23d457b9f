"""What a sentence claims about a photo that can be measured, found by a table of patterns.

One table serves twice: training turns the claims of a critique into control tokens, so that a decoder learns to say
what it is told was measured; at run time the verifier drops a sentence whose claim a measurement contradicts.

A pattern names a measurement and the values of it that would make the claim true. Negation ("not sharp enough",
"no blown highlights") turns a claim into its complement. Wishes ("could be sharper", "a bit more contrast would
help") say that the photo is not so now, and have patterns of their own. What is only imagined ("it might be too
dark", "if the background were plain") claims nothing.

The table is on the side of missing a claim about a part ("dark sky", "soft light", "sharp contrast") rather than
taking it for one about the photo.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from cgiaa_cli.critique.claim_table import MEASUREMENTS, OWN, TABLE, Pattern

__all__ = ["MEASUREMENTS", "OWN", "Claim", "clash", "contradictions", "find_claims", "merits", "told"]

# true of most photos: "nice colours", "no leading lines" tell nothing of this one
_TRIVIAL = {("palette", "colour"), ("saturation", "normal")}
_MERITS = {
    ("sharpness", "sharp"), ("noise", "clean"), ("clutter", "simple"), ("placement", "thirds"), ("tilt", "level"),
    ("symmetry", "present"), ("highlights", "kept"), ("shadows", "open"), ("exposure", "normal"),
    ("contrast", "normal"), ("palette", "monochrome"),
}  # fmt: skip
_FAULTS = {
    ("sharpness", "soft"), ("noise", "noisy"), ("clutter", "busy"), ("tilt", "tilted"), ("highlights", "clipped"),
    ("shadows", "blocked"), ("motion_blur", "present"),
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """One claim of a text.

    Attributes:
        measurement: a key of `MEASUREMENTS`.
        value: what is said of it, one of its values; "" where only a complement is said ("not too dark").
        values: those that make the claim true.
        start, end: where in the text, in characters.
        hedged: said with "a bit", "perhaps", "seems" and the like.
    """

    measurement: str
    value: str
    values: frozenset[str]
    start: int
    end: int
    hedged: bool = False


def contradictions(claims: Iterable[Claim], facts: Mapping[str, Collection[str]]) -> list[Claim]:
    """The claims that what was measured rules out.

    Args:
        facts: by measurement the values that hold, several where the photo lies on a border; a measurement that is
            missing contradicts nothing.
    """
    return [c for c in claims if c.measurement in facts and not c.values.intersection(facts[c.measurement])]


def told(claims: Iterable[Claim]) -> frozenset[str]:
    """The measurements of which claims tell something that is not true of nearly every photo."""
    said = (c for c in claims if c.value not in ("", "absent") and (c.measurement, c.value) not in _TRIVIAL)
    return frozenset(c.measurement for c in said)


def merits(claims: Iterable[Claim]) -> int:
    """How many claims are of what nobody blames, minus those of what nobody praises."""
    said = [(c.measurement, c.value) for c in claims]
    return sum(s in _MERITS for s in said) - sum(s in _FAULTS for s in said)


def clash(claims: Iterable[Claim]) -> bool:
    """Whether two claims cannot both be true: "a simple composition and a busy background"."""
    values: dict[str, frozenset[str]] = {}
    for claim in claims:
        values[claim.measurement] = values.get(claim.measurement, claim.values) & claim.values
    return not all(values.values())


# --- negation, wishes, hedges ----------------------------------------------------------------------------------------

_CLAUSE_END = re.compile(
    r"[.!?;:\n,()]|\s-+\s|\b(?:but|although|though|however|whereas|while|yet|because|since|except|which|so that)\b",
    re.I,
)
_SENTENCE_END = re.compile(r"[.!?;\n]")
_NEGATION = re.compile(
    r"\b(?:not|n't|isnt|arent|wasnt|doesnt|dont|didnt|cant|no|never|neither|nor|without|hardly|barely|nothing|none|nowhere|"
    r"lack(?:s|ing)?(?: of| in)?|absence of|free of|far from|rather than|instead of|avoid(?:s|ed|ing)?|"
    r"less than|fails? to|failed to|wasn|isn|aren|rid of)\b|\w+n['\u2019]t\b",
    re.I,
)
# not the claim is denied, but liking, knowing or minding it
_NOT_NEGATION = re.compile(
    r"\b(?:not (?:only|just|to mention)|no (?:doubt|wonder|question)|nothing but|none the less|"
    r"(?:can(?:'t|not)|couldn't) (?:\w+ )?(?:fault|beat|ask for|argue)|"
    r"(?:not|never|(?:is|was|do|does|did|wo|could)n't|do not|does not) (?:\w+ )?(?:fond|keen|sure|like|love|"
    r"crazy|convinced|a fan|a big fan|into|care|bother\w*|mind|enjoy|understand|appreciate|"
    r"see (?:why|a reason|the reason)))\b",
    re.I,
)
_IMAGINED = re.compile(
    r"\b(?:would(?! (?:say|call|describe))|could(?! (?:see|tell|say))|might|should|may|if|unless|wish|wonder\w*|"
    r"imagine|wouldn'?t|shouldn'?t|couldn'?t|whether|i'?d|prefer\w*|suggest\w*|try(?:ing)?|consider|next time|"
    r"maybe try|need(?:s|ed)?(?: to)?)\b",
    re.I,
)
_WISH = re.compile(
    r"\b(?:would|could|should|might|need(?:s|ed)?|wish\w*|like[ds]?|love|prefer\w*|benefit\w*|help\w*|improv\w*|try|if|want\w*|"
    r"suggest\w*|maybe|perhaps|i'?d|consider|require[sd]?|lack\w*)\b",
    re.I,
)
_HEDGE = re.compile(
    r"\b(?:a (?:bit|little|tad|touch)|slight(?:ly)?|somewhat|rather|perhaps|maybe|seems?|appears?|almost|kind of|"
    r"sort of|fairly|possibly|probably|borderline|i think|some)\b",
    re.I,
)
_INSIDE = re.compile(r"\b(?:not|never|hardly)\b(?! only)|(?:is|are|was|does)n['\u2019]?t\b", re.I)
_AFFIRMED_ONLY = ("colour",)  # "no colour cast" and "not sure about the colour" deny something else
_SCOPE = 5  # words before a claim in which a negation reaches it


def find_claims(text: str) -> list[Claim]:
    """The claims of `text` in its order; of overlapping ones the first in the table stands."""
    found: list[Claim] = []
    taken: list[tuple[int, int]] = []
    for pattern in TABLE:
        for match in pattern.regex.finditer(text):
            start, end = match.span()
            if any(start < b and end > a for a, b in taken):
                continue
            taken.append((start, end))
            claim = _judge(text, pattern, start, end)
            if claim is not None:
                found.append(claim)
    return sorted(found, key=lambda c: c.start)


def _judge(text: str, pattern: Pattern, start: int, end: int) -> Claim | None:
    """The claim of one match, with negation and mood taken into account; None if nothing is claimed."""
    before = text[_last_end(_CLAUSE_END, text, start) : start]
    sentence = text[_last_end(_SENTENCE_END, text, start) : _next_start(_SENTENCE_END, text, end)]
    inside = text[start:end]
    hedged = bool(_HEDGE.search(before[-40:]) or _HEDGE.search(inside))
    if pattern.wish:
        if not _WISH.search(sentence) or _negations(before, inside):
            return None
        return Claim(pattern.measurement, pattern.value, pattern.values, start, end, hedged)
    after = text[end : _next_start(_CLAUSE_END, text, end)]
    if _IMAGINED.search(before) or re.match(r"\W+(?:\w+\W+){0,2}(?:would|could|might|should)\b", after, re.I):
        return None
    negated = _negations(before, inside) % 2 == 1
    if negated and pattern.value in _AFFIRMED_ONLY:
        return None
    if not negated:
        return Claim(pattern.measurement, pattern.value, pattern.values, start, end, hedged)
    rest = frozenset(MEASUREMENTS[pattern.measurement]) - pattern.values
    if not rest:
        return None
    return Claim(pattern.measurement, next(iter(rest)) if len(rest) == 1 else "", rest, start, end, hedged)


def _negations(before: str, inside: str) -> int:
    """How often the claim is negated: in the last words of its clause, or between its noun and its adjective."""
    near = " ".join(re.findall(r"\S+", _NOT_NEGATION.sub(" ", before))[-_SCOPE:])
    # a pattern that begins with "lack" or "without" already counts as what it says
    return len(_NEGATION.findall(near)) + len(_INSIDE.findall(inside[1:]))


def _last_end(regex: re.Pattern[str], text: str, position: int) -> int:
    last = 0
    for match in regex.finditer(text, 0, position):
        last = match.end()
    return last


def _next_start(regex: re.Pattern[str], text: str, position: int) -> int:
    match = regex.search(text, position)
    return match.start() if match else len(text)
