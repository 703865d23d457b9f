"""Names of scores with numbers, as options of the command line give them: `score=6`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence

from cgiaa_cli.errors import UsageError

__all__ = ["known", "parse_numbers"]


def parse_numbers(option: str, texts: Iterable[str], names: Sequence[str]) -> dict[str, float]:
    """`name=number` of an option that may be repeated, as a dict.

    Raises:
        UsageError: it is not of that form, or the name is not one of `names`.
    """
    numbers: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in names:
            name = {"overall": "score", "score": "overall"}.get(name, name)  # one thing under two names
        known({name: 0.0}, names, option)
        try:
            numbers[name] = float(number)
        except ValueError:
            numbers[name] = math.nan
        if not equals or not math.isfinite(numbers[name]):
            raise UsageError(f"{option} {text}: no number", mend=f"write for example {option} {name}=6")
    return numbers


def known(given: Iterable[str], names: Sequence[str], option: str) -> None:
    """Raise a UsageError if one of `given` is not one of `names`."""
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean '{near[0]}'" if near else f"known are {', '.join(names)}"
            raise UsageError(f"{option}: '{name}' is not known", mend=hint)
