"""What the experts are told of a photo, and what is printed of the texts that passed every check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgiaa_cli.critique.claims import find_claims
from cgiaa_cli.critique.facts import measure_facts, words
from cgiaa_cli.critique.writer import _against, _Text, _together, _told
from cgiaa_cli.imaging.decode import decode

DARK = _Text("The photo is too dark.", -2.0, frozenset({"exposure"}))
BUSY = _Text("The frame is busy and dark.", -2.5, frozenset({"exposure", "clutter"}))
LEVEL = _Text("The horizon is level.", -3.0, frozenset({"tilt"}))


def together(texts: list[_Text], most: int = 3) -> set[str]:
    return {_together(texts, most, np.random.default_rng(seed)) for seed in range(40)}


def test_texts_of_different_claims_stand_together() -> None:
    assert together([]) == {""}
    assert together([DARK]) == {DARK.text}
    assert together([DARK, LEVEL]) == {f"{DARK.text} {LEVEL.text}", f"{LEVEL.text} {DARK.text}"}
    assert together([DARK, LEVEL], 1) == {DARK.text, LEVEL.text}
    for found in together([DARK, BUSY, LEVEL]):
        assert LEVEL.text in found and (DARK.text in found) != (BUSY.text in found)


def test_only_the_likelier_half_is_printed_and_not_always_the_likeliest() -> None:
    texts = [_Text(f"Text {n}.", -float(n), frozenset({"exposure"})) for n in range(10)]
    assert together(texts) == {f"Text {n}." for n in range(5)}


@pytest.mark.parametrize(
    ("kind", "silent"),
    [("night", "exposure"), ("high_key", "highlights"), ("bokeh", "depth"), ("panning", "motion_blur")],
)
def test_a_photo_is_not_blamed_for_what_it_is(kind: str, silent: str) -> None:
    path = Path(__file__).parent.parent / "examples" / "photos" / "coffee.jpg"
    facts = measure_facts(decode(path.read_bytes()))
    assert silent in words(facts) or silent == "depth"
    assert silent not in _told(replace(facts, kinds=frozenset({kind})))


def test_what_is_measured_badly_is_not_told() -> None:
    facts = measure_facts(decode((Path(__file__).parent.parent / "examples" / "photos" / "coffee.jpg").read_bytes()))
    assert "leading_lines" in words(facts) and "leading_lines" not in _told(facts)
    assert "filled" not in _told(facts).get("space", set())


def test_a_general_text_does_not_say_the_opposite_of_another() -> None:
    sharp, soft = (find_claims(text) for text in ("Overall the image is sharp.", "Overall the image is not sharp."))
    low, high = ({name: 0.5 for name in ("color_light", "composition")} | {"depth_focus": s} for s in (0.1, 0.9))
    assert _against(sharp, low) and not _against(sharp, high)
    assert _against(soft, high) and not _against(soft, low)
    assert not _against([], low)
