"""What is printed of the texts that passed every check."""

from __future__ import annotations

import pytest

from cgiaa_cli.critique.writer import _Text, _together

DARK = _Text("The photo is too dark.", -2.0, frozenset({"exposure"}))
BUSY = _Text("The frame is busy and dark.", -2.5, frozenset({"exposure", "clutter"}))
LEVEL = _Text("The horizon is level.", -3.0, frozenset({"tilt"}))
VAGUE = _Text("The whole image works.", -0.1, frozenset())


@pytest.mark.parametrize(
    ("texts", "most", "printed"),
    [
        ([], 3, ""),
        ([VAGUE], 3, "The whole image works."),
        ([VAGUE, DARK], 3, "The photo is too dark."),  # what says nothing of this photo adds nothing
        ([DARK, LEVEL, BUSY, VAGUE], 1, "The frame is busy and dark."),
        ([DARK, LEVEL, BUSY, VAGUE], 3, "The frame is busy and dark. The horizon is level."),
        ([DARK, LEVEL], 3, "The photo is too dark. The horizon is level."),
    ],
)
def test_texts_of_different_claims_stand_together(texts: list[_Text], most: int, printed: str) -> None:
    assert _together(texts, most) == printed
