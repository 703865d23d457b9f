"""Comments as sentences: cleaning, splitting, the scores that writers add, and why a sentence is dropped."""

from __future__ import annotations

import pytest
from cgiaa_training.sentences import REASONS, Rules, Sieve, clean, is_english, is_safe, own_score, split, words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Lovely light &amp; colour!!!  :-) <b>Well</b> done", "Lovely light & colour! Well done"),
        ("see https://example.org/a?b=1 for more", "see for more"),
        ("I like it ..... a lot , really", "I like it... a lot, really"),
        ("first line\r\n\r\n  second  line ", "first line\nsecond line"),
        ("--- the sky is blown out ---", "the sky is blown out"),
        ("&lt;i&gt;soft&lt;/i&gt; light", "soft light"),
    ],
)
def test_cleaning(text: str, wanted: str) -> None:
    assert clean(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The light is good. The focus is not!", ["The light is good.", "The focus is not!"]),
        ("Nothing to change here.This is great.", ["Nothing to change here.", "This is great."]),
        ("Shot at f/2.8 and 1.5 s. It works.", ["Shot at f/2.8 and 1.5 s.", "It works."]),
        ("Some trees, e.g. the left one, distract me.", ["Some trees, e.g. the left one, distract me."]),
        (
            "Two things:\n1. The sky is pale.\n2. Crop the left.",
            ["Two things:", "The sky is pale.", "Crop the left."],
        ),
        ("Do this: 1.Crop it. 2.Straighten the horizon.", ["Do this: 1.", "Crop it.", "Straighten the horizon."]),
        ('He said "go on." Then it rained.', ['He said "go on."', "Then it rained."]),
        ("great colors and a nice crop", ["great colors and a nice crop"]),
        ("Hmm... I am not sure.", ["Hmm...", "I am not sure."]),
        ("!!! 123", []),
    ],
)
def test_splitting(text: str, wanted: list[str]) -> None:
    assert split(text) == wanted


def test_splitting_loses_no_word() -> None:
    text = "Hi Ann,Great.The sky (see e.g. the left) is fine!Why?\n• crop it\n• wait for light... Then: done"
    assert [word for part in split(text) for word in words(part)] == words(text)


@pytest.mark.parametrize(
    ("text", "left", "score"),
    [
        ("Wonderful colours and a great composition. 9", "Wonderful colours and a great composition.", 9),
        ("fits the subject well...7", "fits the subject well...", 7),
        ("My take, anyway. (4)", "My take, anyway.", 4),
        ("Lovely. I'll give it a 10!", "Lovely.", 10),
        ("soft light 8/10", "soft light", 8),
        ("a bit dark: 5", "a bit dark", 5),
        ("one of my top 10", "one of my top 10", None),
        ("you used iso 8", "you used iso 8", None),
        ("shot at f/8", "shot at f/8", None),
        ("crop it to 16:9", "crop it to 16:9", None),
        ("taken at 1.5", "taken at 1.5", None),
        ("there are 3 birds", "there are 3 birds", None),
        ("11", "11", None),
        ("8", "", 8),
    ],
)
def test_the_score_that_a_writer_added(text: str, left: str, score: int | None) -> None:
    assert own_score(text) == (left, score)


@pytest.mark.parametrize(
    "text", ["Nice shot!", "Wow, great photo, well done and good luck.", "I gave you a 9 on this."]
)
def test_safe(text: str) -> None:
    assert is_safe(text)


@pytest.mark.parametrize("text", ["Nice light!", "Great photo, but the horizon leans.", "I like the bokeh."])
def test_not_safe(text: str) -> None:
    assert not is_safe(text)


@pytest.mark.parametrize(
    "text", ["nice bokeh", "Great tonal contrast", "F8 did the job here!", "Chiaroscuro at its best", "sharp eyes"]
)
def test_english(text: str) -> None:
    assert is_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "muy bonita foto, me gusta mucho la luz",
        "Schönes Licht und tolle Farben",
        "très belle photo, les couleurs sont magnifiques",
        "Прекрасный свет и цвета",
        "1234 !!!",
    ],
)
def test_not_english(text: str) -> None:
    assert not is_english(text)


def test_the_sieve_counts_why() -> None:
    sieve = Sieve(Rules(least_words=3, most_words=8))
    sentences = [
        "The horizon leans to the left.",
        "the horizon leans, to the LEFT",
        "Too dark.",
        "What a great shot!",
        "Schönes Licht und tolle Farben",
        "the sky is a bit too bright for the mood you want",
        "The sky is blown out.",
    ]
    assert [s for s in sentences if sieve.keeps(s)] == [sentences[0], sentences[-1]]
    assert sieve.kept == 2
    wanted = {"too short": 1, "too long": 1, "safe": 1, "not English": 1, "duplicate": 1}
    assert sieve.dropped == wanted and tuple(sieve.dropped) == REASONS


def test_rules_let_all_through() -> None:
    sieve = Sieve(Rules(least_words=1, safe=True, foreign=True, repeated=True))
    assert all(sieve.keeps(s) for s in ("Nice shot", "Nice shot", "Schönes Licht und tolle Farben"))
    assert sum(sieve.dropped.values()) == 0


def test_faults_are_all_named() -> None:
    assert len(Rules(least_words=0, most_words=-1).faults()) == 2
    assert Rules().faults() == []
