"""Claims that a photo's measurements can confirm or refute, and claims that only look like it."""

from __future__ import annotations

import pytest

from cgiaa_cli.critique.claims import MEASUREMENTS, contradictions, find_claims

SAID = [
    # exposure, highlights, shadows
    ("The photo is too dark.", "exposure", "dark"),
    ("It is underexposed by a stop.", "exposure", "dark"),
    ("A little brighter would be nicer.", "exposure", "dark"),
    ("The image is overexposed.", "exposure", "bright"),
    ("It is nicely exposed.", "exposure", "normal"),
    ("The exposure is perfect.", "exposure", "normal"),
    ("The highlights are blown out.", "highlights", "clipped"),
    ("There are some blown highlights.", "highlights", "clipped"),
    ("There are no blown highlights.", "highlights", "kept"),
    ("Detail is lost in the shadows.", "shadows", "blocked"),
    ("There is plenty of detail in the shadows.", "shadows", "open"),
    # contrast and colour
    ("The image looks flat.", "contrast", "low"),
    ("There is a lack of contrast.", "contrast", "low"),
    ("A bit more contrast would help.", "contrast", "low"),
    ("The strong contrast adds drama.", "contrast", "high"),
    ("Good contrast.", "contrast", "normal"),
    ("The colours are oversaturated.", "saturation", "vivid"),
    ("Vibrant colours.", "saturation", "vivid"),
    ("The muted tones suit it.", "saturation", "muted"),
    ("The warm tones are lovely.", "cast", "warm"),
    ("There is a blue cast.", "cast", "cool"),
    ("The black and white treatment works.", "palette", "monochrome"),
    # focus
    ("It is tack sharp.", "sharpness", "sharp"),
    ("The subject is in focus.", "sharpness", "sharp"),
    ("The image is a bit soft.", "sharpness", "soft"),
    ("It is not sharp enough.", "sharpness", "soft"),
    ("The focus isn't sharp.", "sharpness", "soft"),
    ("It could be sharper.", "sharpness", "soft"),
    ("The subject is out of focus.", "sharpness", "soft"),
    ("The background is nicely out of focus.", "depth", "shallow"),
    ("A shallow depth of field isolates it.", "depth", "shallow"),
    ("Nice bokeh.", "depth", "shallow"),
    ("Everything is in focus.", "depth", "deep"),
    # composition
    ("The background is busy.", "clutter", "busy"),
    ("The frame is cluttered.", "clutter", "busy"),
    ("The background is not distracting.", "clutter", "simple"),
    ("A clean background.", "clutter", "simple"),
    ("The horizon is tilted.", "tilt", "tilted"),
    ("The horizon is not level.", "tilt", "tilted"),
    ("It needs straightening.", "tilt", "tilted"),
    ("A level horizon.", "tilt", "level"),
    ("It follows the rule of thirds.", "placement", "thirds"),
    ("The subject is centred in the frame.", "placement", "centred"),
    ("The off-centre placement works.", "placement", "off_centre"),
    ("Beautiful symmetry.", "symmetry", "present"),
    ("There is a lot of negative space.", "space", "empty"),
    ("The subject fills the frame.", "space", "filled"),
    ("Leading lines draw the eye in.", "leading_lines", "present"),
    ("There are no leading lines.", "leading_lines", "absent"),
    ("There is some noise.", "noise", "noisy"),
    ("I am not fond of the blown highlights.", "highlights", "clipped"),
    ("I don't like the tilted horizon.", "tilt", "tilted"),
]

NOT_SAID = [
    ("The soft light is lovely.", "sharpness"),
    ("Sharp contrast between the two.", "sharpness"),
    ("I was blown away.", "highlights"),
    ("The dark sky adds drama.", "exposure"),
    ("Cool shot.", "cast"),
    ("I wonder if it might be too dark.", "exposure"),
    ("It would be better in black and white.", "palette"),
    ("The focus is not on the subject.", "sharpness"),
    ("The background is out of focus.", "sharpness"),
    ("If the horizon were tilted it would be worse.", "tilt"),
    ("The subject is the centre of attention.", "placement"),
    ("There is room for improvement, lots of space for it.", "space"),
    ("The left one is better focused.", "sharpness"),
]


@pytest.mark.parametrize(("text", "measurement", "value"), SAID, ids=[text for text, _, _ in SAID])
def test_says(text: str, measurement: str, value: str) -> None:
    found = {c.measurement: c.value for c in find_claims(text)}
    assert found.get(measurement) == value


@pytest.mark.parametrize(("text", "measurement"), NOT_SAID, ids=[text for text, _ in NOT_SAID])
def test_does_not_say(text: str, measurement: str) -> None:
    assert measurement not in {c.measurement for c in find_claims(text)}


def test_a_denied_value_leaves_the_others() -> None:
    (claim,) = find_claims("It is not too dark.")
    assert claim.values == {"normal", "bright"}
    assert claim.value == ""
    assert [c.value for c in find_claims("It is not only nicely exposed, it is tack sharp.")] == ["normal", "sharp"]


def test_hedges_are_marked() -> None:
    assert find_claims("It is slightly underexposed.")[0].hedged
    assert not find_claims("It is underexposed.")[0].hedged


def test_contradictions_both_ways() -> None:
    claims = find_claims("The photo is too dark, but the subject is sharp.")
    assert [c.measurement for c in claims] == ["exposure", "sharpness"]
    assert contradictions(claims, {"exposure": ("dark",), "sharpness": ("sharp",)}) == []
    assert [c.measurement for c in contradictions(claims, {"exposure": ("normal",)})] == ["exposure"]
    # on a border both may be said, and what was not measured contradicts nothing
    assert contradictions(claims, {"exposure": ("dark", "normal"), "tilt": ("level",)}) == []


def test_where_a_claim_stands() -> None:
    text = "Nice idea, but the horizon is tilted."
    (claim,) = find_claims(text)
    assert text[claim.start : claim.end] == "horizon is tilted"


def test_every_value_is_one_of_its_measurement() -> None:
    for text, _, _ in SAID:
        for claim in find_claims(text):
            assert claim.values <= set(MEASUREMENTS[claim.measurement])
            assert claim.value == "" or claim.value in claim.values
