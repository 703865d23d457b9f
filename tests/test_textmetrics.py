"""Metrics of texts, each on texts whose number is known."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from cgiaa_training import textmetrics

from cgiaa_cli.critique.prompt import Prompt


def test_distinct_duplicates_and_copies() -> None:
    texts = ["The light is soft.", "the light is soft", "A busy frame."]
    assert textmetrics.distinct(texts, 1) == pytest.approx(7 / 11)
    assert textmetrics.distinct(texts, 2) == pytest.approx(5 / 8)
    assert textmetrics.duplicates(texts) == pytest.approx(1 / 3)
    assert textmetrics.copied(texts, ["A BUSY frame!"]) == pytest.approx(1 / 3)
    assert textmetrics.duplicates([]) == 0


def test_self_bleu_is_one_for_the_same_and_small_for_different_texts() -> None:
    same = ["the light falls softly on the face"] * 4
    different = [
        "the light falls softly on the face",
        "a busy frame with too many lines",
        "nothing here is sharp at all",
    ]
    assert textmetrics.self_bleu(same) == pytest.approx(1)
    assert textmetrics.self_bleu(different) < 0.2
    assert textmetrics.self_bleu(different) < textmetrics.self_bleu([*different, "the light falls on the frame"])
    assert textmetrics.self_bleu(["alone"]) == 0


def test_agreement_with_what_was_asked() -> None:
    prompts = [Prompt("color_light", 1), Prompt("composition", 5), Prompt("depth_focus", 9), Prompt("general", 10)]
    about, polarity = np.array([0, 2, 2, 4]), np.array([1.0, 2.0, 3.0, 4.0])
    found = textmetrics.agreement(about, polarity, prompts)
    assert found["attribute"] == pytest.approx(2 / 3)
    assert found["polarity srcc"] == pytest.approx(1)
    assert textmetrics.agreement(about, -polarity, prompts)["polarity srcc"] == pytest.approx(-1)
    # a level that was not told is not judged, and of one level there is no rank
    assert "polarity srcc" not in textmetrics.agreement(about[:2], polarity[:2], [prompts[0], Prompt("composition")])


def test_obedience_to_facts() -> None:
    prompts = [
        Prompt("color_light", 2, facts=(("exposure", "dark"),)),
        Prompt("depth_focus", 2, facts=(("sharpness", "soft"),)),
        Prompt("composition", 5),
        Prompt("composition", 5),
    ]
    texts = ["It is too dark.", "It is tack sharp.", "The frame is fine.", "The horizon is tilted."]
    found = textmetrics.obedience(texts, prompts)
    assert found == {"stated": 0.5, "unasked": 0.5, "contradicted": 0.25}


def test_wrong_photo() -> None:
    found = textmetrics.wrong_photo(np.array([-1.0, -2.0, -3.0, -1.0]), np.array([-2.0, -1.0, -3.0, -3.0]))
    assert found == {"rate": 0.625, "margin": 0.5}


REFERENCES = [["The light is soft and warm.", "Soft, warm light."], ["A busy frame without a subject."]]
EXACT = ["the light is soft and warm", "a busy frame without a subject"]


def test_captioning_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    exact = textmetrics.captioning(EXACT, REFERENCES)
    other = textmetrics.captioning(["nothing is sharp in it", "the light is soft"], REFERENCES)
    for name in ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr"):
        assert exact[name] > other[name]
    assert exact["BLEU-4"] == pytest.approx(1, abs=1e-6)
    assert exact["ROUGE-L"] == pytest.approx(1)
    assert exact["without"] == "METEOR: needs Java"


@pytest.mark.skipif(shutil.which("java") is None, reason="no Java here")
def test_meteor_where_there_is_java() -> None:
    assert textmetrics.captioning(EXACT, REFERENCES)["METEOR"] == pytest.approx(1, abs=0.02)
