"""What the experts are told of a photo, and what is printed of the texts that passed every check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cgiaa_cli.critique import writer
from cgiaa_cli.critique.claims import find_claims
from cgiaa_cli.critique.decode import Candidate
from cgiaa_cli.critique.facts import measure_facts, words
from cgiaa_cli.critique.prompt import ATTRIBUTES
from cgiaa_cli.critique.verify import Verifier
from cgiaa_cli.critique.writer import Writer, _against, _placing, _Text, _together, _told
from cgiaa_cli.errors import BundleError
from cgiaa_cli.imaging.decode import decode

DARK = _Text("The photo is too dark.", frozenset({"exposure"}))
BUSY = _Text("The frame is busy and dark.", frozenset({"exposure", "clutter"}))
LEVEL = _Text("The horizon is level.", frozenset({"tilt"}))


def together(texts: list[_Text], most: int = 3) -> set[str]:
    return {_together(texts, most, np.random.default_rng(seed)) for seed in range(40)}


def test_texts_of_different_claims_stand_together() -> None:
    assert together([]) == {""}
    assert together([DARK]) == {DARK.text}
    assert together([DARK, LEVEL]) == {f"{DARK.text} {LEVEL.text}", f"{LEVEL.text} {DARK.text}"}
    assert together([DARK, LEVEL], 1) == {DARK.text, LEVEL.text}
    again = _Text("What is dark lies level.", frozenset({"balance"}))
    assert together([LEVEL, again]) == {LEVEL.text, again.text}, "not in the same words"
    for found in together([DARK, BUSY, LEVEL]):
        assert LEVEL.text in found and (DARK.text in found) != (BUSY.text in found)


def test_not_always_the_same_is_printed() -> None:
    texts = [_Text(f"Text {n}.", frozenset({"exposure"})) for n in range(4)]
    assert together(texts) == {text.text for text in texts}


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


class Judge:
    """Takes every text to be about depth and focus, and to praise."""

    def judge(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        about = np.tile(np.array([[0, 0, 1, 0, 0]], np.float32), (len(texts), 1))
        return about, np.full(len(texts), 9.0, np.float32)


def test_what_the_decoder_finds_unlikely_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    likely, unlikely = "The focus is good, and the subject is sharp.", "The subject is in a sharp focus which is good."
    said = [Candidate(likely, (1,), -0.5, True), Candidate(unlikely, (2,), -1.5, True)]
    monkeypatch.setattr(writer, "write", lambda _d, _t, asked, _s, **_: said * (len(asked) // 2))
    edges = {name: [float(n) for n in range(1, 10)] for name in ATTRIBUTES}
    verifier = Verifier({*likely[:-1].replace(",", "").lower().split(), *unlikely[:-1].lower().split()}, None, edges)
    decoder = SimpleNamespace(feature=0)
    usual = {"depth_focus": [-3.0, -2.5, -2.0, -1.5, -1.0, -0.8, -0.6, -0.5, -0.4]}
    facts = measure_facts(decode((Path(__file__).parent.parent / "examples" / "photos" / "coffee.jpg").read_bytes()))

    def written(usual: dict[str, list[float]]) -> tuple[str, dict[str, int]]:
        plans = {name: [[((), 1)]] * 10 for name in ATTRIBUTES}
        ours = Writer(dict.fromkeys(ATTRIBUTES, decoder), None, plans, Judge(), verifier, usual)  # type: ignore[arg-type]
        return ours.write(facts, dict.fromkeys(ATTRIBUTES, 0.85), None, 2, 0)["depth_focus"]  # type: ignore[arg-type]

    text, dropped = written(usual)
    assert text == likely and dropped == {"unlikely": 1}
    assert written({})[1] == {} and written({"depth_focus": []})[1] == {}


def test_a_photo_is_shown_where_the_map_puts_it(tmp_path: Path) -> None:
    path = tmp_path / "experts.npy"
    np.save(path, np.array([[3, 0, 0], [0, 0, 4]], np.float32))
    place = _placing(path, {2})
    assert place(np.array([1, 9], np.float16)) == pytest.approx([0.6, 0.8])
    with pytest.raises(BundleError, match=r"experts\.npy.*for embeddings of 2 numbers, not 3.*export the bundle again"):
        place(np.ones(3, np.float16))
    with pytest.raises(BundleError, match="2 rows for a mapper of 5 numbers"):
        _placing(path, {5})
    with path.open("wb") as file:
        np.savez(file, np.zeros((2, 3), np.float32))
    with pytest.raises(BundleError, match=r"experts\.npy.*not where experts see photos \(an archive of arrays\)"):
        _placing(path, {2})
    for broken in (b"what?", path.read_bytes()[:60], b""):
        path.write_bytes(broken)
        with pytest.raises(BundleError, match=r"experts\.npy.*not where experts see photos"):
            _placing(path, {2})
    path.unlink()
    with pytest.raises(BundleError, match=r"experts\.npy.*No such file"):
        _placing(path, {2})
