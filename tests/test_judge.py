"""The judge's tokenizer in plain Python, against the library that trained it; and the checks of generated texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from cgiaa_cli.critique.judge import ABOUT, load_encoding
from cgiaa_cli.critique.verify import Copies, Verifier, copy_hash
from cgiaa_cli.errors import BundleError

TEXTS = [
    "The light is soft, and the colours are muted.",
    "It's under-exposed: the shadows (left) block up!",
    "Überbelichtet, naïve café — “quoted” … 3/4 f/2.8",
    "a\tb\nc\u00a0d\u200be  中文 mixed",
    "",
    "x" * 150,
    "Depth of field is shallow; the background melts away nicely.",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tokenizer]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        TEXTS[:3] * 4, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(tokenizer.to_str(), "utf-8")
    return path, tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_it_encodes_as_the_library_does(trained: tuple[Path, Tokenizer], text: str) -> None:
    path, tokenizer = trained
    assert load_encoding(path)(text) == tokenizer.encode(text).ids


@pytest.mark.parametrize("change", [{"model": {"type": "BPE"}}, {"normalizer": {"lowercase": False}}, {"model": {}}])
def test_other_tokenizers_are_refused(
    trained: tuple[Path, Tokenizer], tmp_path: Path, change: dict[str, object]
) -> None:
    described = json.loads(trained[0].read_text("utf-8")) | change
    (tmp_path / "t.json").write_text(json.dumps(described), "utf-8")
    with pytest.raises(BundleError, match="tokenizer of the judge"):
        load_encoding(tmp_path / "t.json")
    with pytest.raises(BundleError):
        load_encoding(tmp_path / "none.json")


# --- the verifier ------------------------------------------------------------------------------------------------

EDGES = {name: [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 9.5] for name in ABOUT[:4]}
HOLDS = {
    "exposure": {"dark"},
    "saturation": {"normal"},
    "palette": {"colour"},
    "sharpness": {"sharp"},
    "clutter": {"simple", "busy"},
}


_COMMON = """
    the a is it this photo image light colours colour too dark bright and but soft sharp very focus on subject horizon
    tilted composition works well here today dull nice shot great your i like of in with not that busy simple good left
    sharpness background blurred colours no leading lines there are a bit little soft muted flat
"""
COMMON = frozenset(_COMMON.split())


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    path = tmp_path_factory.mktemp("copies") / "copies.bin"
    path.write_bytes(Copies.pack(["The light is dull here today.", "Something else entirely stands here."]))
    return Verifier(COMMON, Copies(path), EDGES)


@pytest.mark.parametrize(
    ("attribute", "text", "reason"),
    [
        ("color_light", "The photo is too dark and not great.", None),
        ("depth_focus", "The subject is sharp and works well.", None),
        ("general", "The subject is sharp and the light is nice.", None),
        ("color_light", "The photo is too bright and dull.", "false"),
        ("composition", "The simple composition is too busy for this subject.", "foreign"),
        ("composition", "A simple background in the busy composition.", "false"),  # both hold, but not at once
        ("composition", "The horizon is tilted and works.", "unproven"),
        ("composition", "The busy background on the left.", "unproven"),  # on which side nobody measured
        ("depth_focus", "The subject and the background is sharp.", "unproven"),  # how deep nobody measured
        ("composition", "The subject is sharp and on the left here.", "unproven"),
        ("depth_focus", "The busy composition is not great.", "off_topic"),
        ("depth_focus", "The focus is sharp and the light works.", "off_topic"),
        ("color_light", "The light on the subject works well.", "vague"),
        ("general", "The light on the subject works well.", "vague"),
        ("color_light", "The colours in this photo are nice.", "vague"),  # so are most
        ("depth_focus", "The focus is a bit sharp here.", "silly"),
        ("depth_focus", "The focus is nice but the subject is sharp.", "silly"),
        ("depth_focus", "The focus is great but not bad.", "silly"),
        ("depth_focus", "The focus is sharp and could be made.", "silly"),
        ("composition", "The light is dull and the subject is a little busy.", "silly"),
        ("composition", "A simple composition and the subject matter.", "silly"),
        ("color_light", "The colours are muted, but the light is dull.", "silly"),
        ("color_light", "The photo is dark, which may be a good thing.", "silly"),
        ("composition", "The composition is busy and the subject is too much going on.", "silly"),
        ("color_light", "The muted colours are a nice touch, but it works.", "silly"),
        ("composition", "The composition is a little busy, but the background is a bit distracting.", "silly"),
        ("composition", "The negative space around the subject is distracting.", "foreign"),  # English, of other words
        ("color_light", "The colours are and the light is dull.", "silly"),
        ("depth_focus", "Not sure what the subject is, but it is sharp.", "silly"),
        ("depth_focus", "The focus is sharp and the shadows are crisp.", "foreign"),
        ("color_light", "The light is dull here today.", "copy"),
        ("color_light", "the light is DULL, here today!", "copy"),
        ("color_light", "I like the light in this photo.", "personal"),
        ("depth_focus", "The bird is sharp and works well.", "foreign"),
        ("general", "Nice shot, great photo.", "safe"),
        ("color_light", "The light is", "unfinished"),
        ("color_light", "The light light is dull and dark here.", "unfinished"),
        ("color_light", "The light works.", "unfinished"),
        ("depth_focus", "The sharp subject is great in sharpness.", "unfinished"),
    ],
)
def test_reasons_before_the_judge(verifier: Verifier, attribute: str, text: str, reason: str | None) -> None:
    assert verifier.before_judging(attribute, text, True, HOLDS) == reason


def test_a_photo_without_colours_has_none_to_speak_of(verifier: Verifier) -> None:
    text = "The photo is dark and the colours are great."
    for palette, reason in (("colour", None), ("monochrome", "false")):
        assert verifier.before_judging("color_light", text, True, {**HOLDS, "palette": {palette}}) == reason


def test_what_was_cut_off_is_unfinished(verifier: Verifier) -> None:
    cut = verifier.before_judging("color_light", "The photo is too dark and the colour is dull.", False, HOLDS)
    assert cut == "unfinished"


def test_topic_and_tone_after_the_judge(verifier: Verifier) -> None:
    def about(name: str, sure: float = 0.9) -> np.ndarray:
        shares = np.full(5, (1 - sure) / 4, np.float32)
        shares[ABOUT.index(name)] = sure
        return shares

    assert verifier.after_judging("composition", "It works well.", about("composition"), 9.8, 0.95) is None
    assert verifier.after_judging("composition", "It works well.", about("color_light"), 9.8, 0.95) == "off_topic"
    assert verifier.after_judging("composition", "It works well.", about("composition", 0.4), 9.8, 0.95) == "off_topic"
    assert verifier.after_judging("composition", "It works well.", about("composition"), 9.8, 0.05) == "tone"
    assert verifier.after_judging("composition", "It works well.", about("composition"), 2.5, 0.95) == "tone"
    assert verifier.after_judging("composition", "It works well.", about("composition"), 5.5, 0.5) is None
    for text, polarity, reason in (
        ("The focus is sharp.", 9.8, None), ("The focus is sharp.", 2.5, "tone"),
        ("The subject is not sharp.", 2.5, None), ("The subject is not sharp.", 9.8, "tone"),
    ):  # fmt: skip
        found = verifier.after_judging(
            "depth_focus", text, about("depth_focus"), polarity, 0.95 if polarity > 5 else 0.05
        )
        assert found == reason, text


def test_the_index_of_copies(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(Copies.pack([f"Sentence number {chr(97 + i)} of many." for i in range(20)]))
    found = Copies(tmp_path / "c")
    assert "sentence number c of MANY" in found and "Sentence number z of many." not in found
    assert copy_hash("A b.") == copy_hash("a  B!") != copy_hash("a c")
    (tmp_path / "c").write_bytes(b"12345")
    with pytest.raises(BundleError):
        Copies(tmp_path / "c")
    with pytest.raises(BundleError):
        Copies(tmp_path / "none")
