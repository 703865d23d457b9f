"""One thing that was measured of a photo and is worth saying, and what `observe`'s rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cgiaa_cli.critique.facts import Facts

__all__ = ["Box", "Evidence", "Observation", "Rule", "Said", "only", "part"]

Box = tuple[float, float, float, float]
Said = dict[str, set[str]]
Evidence = dict[str, "float | str | list[float]"]


@dataclass(frozen=True)
class Observation:
    """One thing that was measured and is worth saying.

    Attributes:
        attribute: color_light, composition or depth_focus.
        measurement: a key of `claims.MEASUREMENTS`, or `subject`, `balance`, `palette_colours`, `falloff`, `layout`.
        merit: -1 a clear fault .. 1 a clear strength; 0 describes.
        clauses: wordings of it, each of which can follow "though" or a colon: with a capital, without a mark at its
            end or a colon in it.
        evidence: what was measured, by name.
        region: the place in the photo, (x, y, w, h) in shares of the frame; None: all of it.
        advice: what could be done about it; empty for a strength.
    """

    attribute: str
    measurement: str
    merit: float
    clauses: tuple[str, ...]
    evidence: Evidence = field(default_factory=dict)
    region: Box | None = None
    advice: str = ""


Rule = Callable[[Facts, Said], Iterator[Observation]]


def only(said: Said, measurement: str, value: str) -> bool:
    """Whether `value` holds and nothing else does: not near a border."""
    return said.get(measurement) == {value}


_PARTS = (
    (0.03, "a sliver"), (0.08, "a twentieth"), (0.13, "a tenth"), (0.18, "a sixth"), (0.225, "a fifth"),
    (0.29, "a quarter"), (0.365, "a third"), (0.44, "two fifths"), (0.55, "half"), (0.63, "three fifths"),
    (0.705, "two thirds"), (0.775, "three quarters"), (0.86, "four fifths"), (0.95, "nine tenths"),
)  # fmt: skip  # upper ends of the shares that each may be said of


def part(share: float) -> str:
    """A share, 0..1, in words: "about a third"."""
    name = next((name for end, name in _PARTS if share < end), None)
    return f"about {name}" if name else "nearly all"
