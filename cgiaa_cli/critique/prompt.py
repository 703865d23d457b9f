"""Control tokens: what a decoder is told before it writes, and in which order.

    <bos> <color_light> <level_3> <medium> <exposure:dark> <contrast:low> <says> text <eos>

Training derives them from a critique (attribute, polarity, length, the claims it makes, traits it has); at run time
they come from the photo's scores and measurements. The traits mark what we never ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cgiaa_cli.critique.claims import MEASUREMENTS

__all__ = [
    "ATTRIBUTES",
    "BOS",
    "EOS",
    "LENGTHS",
    "LEVELS",
    "PAD",
    "SAYS",
    "TRAITS",
    "Prompt",
    "control_tokens",
    "level_of",
]

ATTRIBUTES = ("color_light", "composition", "depth_focus", "general")
LEVELS = 10
LENGTHS = {"short": 9, "medium": 20, "long": 10_000}
"""Name -> largest number of words."""
TRAITS = ("chatter", "personal", "scene")
"""What we never ask for: `chatter` (contests, cameras, names, numbers, advice), `personal` ("I", "you"), `scene` (names
things that only its own photo shows)."""
PAD, BOS, EOS, SAYS = "<pad>", "<bos>", "<eos>", "<says>"


@dataclass(frozen=True)
class Prompt:
    """What a critique should be.

    Attributes:
        attribute: one of `ATTRIBUTES`.
        level: 1..10, the tenth of the scale of praise that it is to lie in: 1 blames most, 10 praises most; 0: any.
        length: a key of `LENGTHS`; None: any.
        facts: (measurement, value) pairs to be stated; an empty value is passed over.
        traits: of `TRAITS`.
    """

    attribute: str
    level: int = 0
    length: str | None = None
    facts: Sequence[tuple[str, str]] = ()
    traits: Sequence[str] = field(default=())

    def tokens(self) -> list[str]:
        """The control tokens, from `BOS` to `SAYS`; facts in the order of `MEASUREMENTS`, each once."""
        stated = {f"<{m}:{v}>" for m, v in self.facts if v}
        known = [f"<{m}:{v}>" for m, values in MEASUREMENTS.items() for v in values]
        unknown = stated.difference(known)
        if unknown or self.attribute not in ATTRIBUTES or not 0 <= self.level <= LEVELS:
            raise ValueError(f"no such control: {self.attribute}, level {self.level}, {sorted(unknown)}")
        tokens = [BOS, f"<{self.attribute}>"]
        tokens += [f"<level_{self.level}>"] if self.level else []
        tokens += [f"<{self.length}>"] if self.length else []
        tokens += [f"<{trait}>" for trait in TRAITS if trait in self.traits]
        return [*tokens, *(token for token in known if token in stated), SAYS]


def control_tokens() -> list[str]:
    """Every control token, `PAD` first, so that it is token 0."""
    tokens = [PAD, BOS, EOS, SAYS, *(f"<{a}>" for a in ATTRIBUTES), *(f"<level_{n}>" for n in range(1, LEVELS + 1))]
    tokens += [*(f"<{length}>" for length in LENGTHS), *(f"<{trait}>" for trait in TRAITS)]
    return tokens + [f"<{m}:{v}>" for m, values in MEASUREMENTS.items() for v in values]


def level_of(polarity: float, edges: Iterable[float]) -> int:
    """The level of a polarity (1..10).

    Args:
        edges: the nine tenths of the polarity of the training texts, ascending.
    """
    return 1 + sum(polarity > edge for edge in edges)


def choose_facts(
    plans: Sequence[tuple[Sequence[tuple[str, str]], float]],
    holds: Mapping[str, Collection[str]],
    random: np.random.Generator,
) -> Sequence[tuple[str, str]]:
    """What a critique should state: one of the plans that the critics followed, among those that are true.

    Args:
        plans: (facts, how many critiques stated just these), of one attribute and level.
        holds: by measurement the values that hold for the photo; a fact that was not measured is not stated.

    Returns:
        Facts for a `Prompt`; none where no plan holds.
    """
    true = [(facts, n) for facts, n in plans if all(value in holds.get(m, ()) for m, value in facts)]
    if not true:
        return ()
    weights = np.array([n for _, n in true], np.float64)
    return true[int(random.choice(len(true), p=weights / weights.sum()))][0]
