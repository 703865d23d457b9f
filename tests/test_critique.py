"""`cgiaa critique` and `cgiaa compare` as a user runs them, and what stands behind them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import RunCli
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from test_facts import example, facts, page, photo

from cgiaa_cli.critique.advice import advise, exposure_change, largest_level_box, straighten
from cgiaa_cli.critique.apply import improved, save_copy
from cgiaa_cli.critique.claims import contradictions, find_claims
from cgiaa_cli.critique.compare import Candidate, compare, confidence
from cgiaa_cli.critique.compose import compose, compose_general, evidence_for
from cgiaa_cli.critique.critic import Critic, Settings
from cgiaa_cli.critique.facts import words
from cgiaa_cli.critique.judge import Tone
from cgiaa_cli.critique.observe import observe
from cgiaa_cli.critique.overlay import draw
from cgiaa_cli.critique.reference import standing
from cgiaa_cli.critique.wordings import DISAGREE, LEADS
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.inference.scores import ATTRIBUTES, Scores

EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"


def scores(value: float = 5.4, **attributes: float) -> Scores:
    each = dict.fromkeys(ATTRIBUTES, value) | attributes
    return Scores(value, 1.4, (0.1,) * 10, each, 5.0, 50.0, np.zeros(8, np.float16))


def dark() -> Image.Image:
    return Image.eval(example("coffee"), lambda v: int(v * 0.25))


# --- observations and what is composed of them -------------------------------------------------------------------


def spoilt() -> list[Image.Image]:
    """Real photos, plain and changed in ways that set off the rules."""
    found = []
    for path in sorted(EXAMPLES.iterdir()):
        image = Image.open(path).convert("RGB")
        found += [
            image,
            Image.eval(image, lambda v: int(v * 0.25)),
            Image.eval(image, lambda v: min(255, int(v * 2.2 + 30))),
            image.filter(ImageFilter.GaussianBlur(5)),
        ]
    return found


def test_no_wording_contradicts_the_measurements() -> None:
    """The claims that our own sentences make, read by the verifier's table, hold of the photo they are about."""
    told = 0
    for image in spoilt():
        found = facts(image)
        holds = words(found)
        for observation in observe(found):
            for clause in observation.clauses:
                told += 1
                assert not contradictions(find_claims(f"{clause}."), holds), (clause, holds)
                assert clause[0].isupper() and clause[-1] not in ".,:;" and ":" not in clause
    assert told > 500


def test_changes_are_observed_with_their_numbers() -> None:
    def keys(image: Image.Image) -> dict[str, float]:
        return {o.measurement: o.merit for o in observe(facts(image))}

    assert keys(dark())["exposure"] == -0.7 and keys(example("coffee"))["exposure"] > 0
    assert keys(example("coffee").filter(ImageFilter.GaussianBlur(5)))["sharpness"] == -0.8
    assert keys(example("coins"))["palette"] > 0
    blown = example("astronaut")
    ImageDraw.Draw(blown).rectangle((0, 0, 200, 200), fill="white")
    observation = next(o for o in observe(facts(blown)) if o.measurement == "highlights")
    assert observation.region == (0, 0, 1 / 3, 1 / 3) and observation.evidence["blown_share_of_zone"] > 0.9


def test_the_tone_follows_the_standing() -> None:
    observations = observe(facts(dark()))
    low, told = compose("color_light", 0.05, observations, 1)
    high, _ = compose("color_light", 0.95, observations, 1)
    predicates = LEADS["color_light"][1]
    blame, praise = ([words for pair in predicates[band] for words in pair] for band in (0, 4))
    assert any(word in low for word in blame) and told[0].merit < 0 and not any(word in low for word in praise)
    assert any(word in high for word in praise) and not any(word in high for word in blame)
    assert compose("color_light", 0.05, observations, 1)[0] == low
    assert len({compose("color_light", 0.5, observations, seed)[0] for seed in range(30)}) > 4
    assert compose("color_light", 0.5, observations, 1, short=True)[0].count(".") <= 2


def test_composed_texts_claim_nothing_that_the_measurements_rule_out() -> None:
    for attribute, holds in (("depth_focus", {"sharpness": {"soft"}}), ("color_light", {"saturation": {"muted"}})):
        texts = [compose(attribute, 0.95, [], seed, holds=holds)[0] for seed in range(30)]
        assert not any(contradictions(find_claims(text), holds) for text in texts)
        unchecked = [compose(attribute, 0.95, [], seed)[0] for seed in range(30)]
        assert any(contradictions(find_claims(text), holds) for text in unchecked)
    grey = facts(example("coffee").convert("L").convert("RGB"))
    texts = [compose("color_light", 0.5, observe(grey), seed, holds=words(grey))[0] for seed in range(40)]
    assert not any(contradictions(find_claims(text), words(grey)) or "olour" in text for text in texts)


def test_what_was_measured_stands_behind_what_the_experts_wrote() -> None:
    here = facts(example("coffee"))
    observations, holds = observe(here), words(here)
    said = "The focus is spot on."
    told_of = set()
    for seed in range(20):
        text, told = evidence_for(said, "depth_focus", 0.95, observations, seed, holds=holds)
        assert text.startswith(f"{said} ") and not contradictions(find_claims(text), holds)
        assert 1 <= len(told) <= 2 and text.count(".") == 1 + len(told) and told[0].merit >= 0
        assert {o.attribute for o in told} == {"depth_focus"}
        told_of.add(told[0].measurement)
    assert "sharpness" not in told_of, "the text says that itself"
    assert evidence_for(said, "depth_focus", 0.95, [], 1, holds=holds) == (said, [])


def test_focus_that_scores_low_is_not_praised() -> None:
    sharp = observe(facts(example("coffee")))
    assert any(o.measurement == "sharpness" and o.merit > 0 for o in sharp)
    for seed in range(30):
        _, told = compose("depth_focus", 0.05, sharp, seed)
        assert not any(o.merit > 0 and o.measurement in ("sharpness", "depth", "focus_share") for o in told)
    assert any(o.measurement == "sharpness" for s in range(9) for o in compose("depth_focus", 0.95, sharp, s)[1])


def test_general_names_what_carries_and_what_hurts() -> None:
    stands = {"color_light": 0.9, "composition": 0.3, "depth_focus": 0.6, "general": 0.6}
    text, evidence = compose_general(stands, 1.2, 3)
    assert "colour and light" in text or "composition" in text
    assert evidence["strongest"] == "color_light" and evidence["weakest"] == "composition"
    assert any(f"{wording}." in compose_general(stands, 2.0, 3)[0] for wording in DISAGREE)
    assert not any(f"{wording}." in text for wording in DISAGREE)


def test_what_the_experts_said_of_the_whole_leads_and_is_not_denied() -> None:
    stands = {"color_light": 0.9, "composition": 0.6, "depth_focus": 0.3, "general": 0.6}
    plain, sharp = "This is a nice shot.", "This is a nice shot with great sharpness."
    for seed in range(20):
        text = compose_general(stands, 2.0, seed, lead=plain)[0]
        assert text.startswith(f"{plain} ") and text.count(".") == 3
        text = compose_general(stands, 2.0, seed, lead=sharp)[0]
        assert text.startswith(f"{sharp} ") and "focus" not in text, "it is not said to be the weakest"
    assert compose_general(stands, 2.0, 0, lead=plain, short=True)[0] == plain


# --- advice ------------------------------------------------------------------------------------------------------


def test_advice_on_exposure_counts_in_stops_and_tells_what_would_clip() -> None:
    view = photo(dark()).view
    found = exposure_change(view, facts(dark()))[0]
    assert 0.3 <= found.evidence["ev"] <= 2 and "EV" in found.text
    brighter = (np.clip(light_of(view) * 2 ** found.evidence["ev"], 0, 1) * 255).astype(np.uint8)
    assert (brighter >= 252).any(-1).mean() <= found.evidence["clipped_after"] + 0.02
    assert exposure_change(photo(example("astronaut")).view, facts(example("astronaut"))) == []


def light_of(view: np.ndarray) -> np.ndarray:
    from cgiaa_cli.critique.light import linear

    return linear(view)


def test_straightening_keeps_the_largest_box_without_corners() -> None:
    white = Image.new("RGB", (600, 400), "white")
    for degrees in (-8.0, 2.5, 12.0):
        wide, high = largest_level_box(600, 400, degrees)
        turned = white.rotate(-degrees, Image.Resampling.BICUBIC)
        left, top = (600 - wide) // 2, (400 - high) // 2
        inside = np.asarray(turned.crop((left + 1, top + 1, left + wide - 1, top + high - 1)))
        assert (inside > 250).all()
        outside = np.asarray(turned.crop((left - 12, top - 12, left + wide + 12, top + high + 12)))
        assert (outside < 5).any()
    level = facts(example("coffee"))
    assert straighten(level) == []
    leaning = replace(level, frame=replace(level.frame, tilt=3.0))
    advice = straighten(leaning)[0]
    assert advice.evidence["degrees"] == -3.0 and "anticlockwise" in advice.text and 0.8 < advice.evidence["kept"] < 1


def test_advice_only_for_what_was_told() -> None:
    found = facts(dark())
    assert advise(photo(dark()).view, found, []) == []
    told = [o for o in observe(found) if o.measurement == "exposure"]
    assert [a.kind for a in advise(photo(dark()).view, found, told)] == ["exposure"]


def test_improved_copies_leave_the_photo_alone(tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    example("coffee").save(source, exif=exif, quality=90)
    before = source.read_bytes()
    image, profile = improved(source, degrees=2.0, box=(0.1, 0.2, 0.5, 0.5))
    assert abs(image.width - 400 * 0.5) < 20 and abs(image.height - 600 * 0.5) < 25  # upright first
    written = save_copy(image, profile, source, tmp_path / "out")
    assert written.name == "a-improved.jpg" and decode(written.read_bytes()).width == image.width
    with pytest.raises(UsageError, match="there already"):
        save_copy(image, profile, source, tmp_path / "out")
    assert source.read_bytes() == before and sorted(p.name for p in (tmp_path / "out").iterdir()) == [written.name]
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    with pytest.raises(CgiaaError, match="cannot be opened"):
        improved(tmp_path / "b.jpg")


def test_the_overlay_draws_what_was_measured() -> None:
    image = example("astronaut")
    ImageDraw.Draw(image).rectangle((0, 0, 120, 120), fill="white")
    drawn = np.asarray(draw(photo(image).view, facts(image), (0.25, 0.25, 0.5, 0.5)))
    assert (drawn[40, 40, 0] > 200) and drawn[40, 40, 1] < 120  # blown, in red
    assert tuple(drawn[128, 256]) == (255, 210, 0)  # the upper edge of the crop


# --- standing, comparison ----------------------------------------------------------------------------------------


def test_standing_is_a_share_of_the_reference() -> None:
    sample = sorted(random.Random(0).gauss(5, 1) for _ in range(5000))
    reference = {"quantiles": {"score": list(np.percentile(sample, range(101)))}}
    for value in (3.0, 5.0, 5.7):
        share, measured = standing(reference, "score", value)
        assert measured and share == pytest.approx(np.mean(np.array(sample) < value), abs=0.01)
    assert standing(reference, "score", -5) == (0, True) and standing(reference, "score", 50) == (1, True)
    assert standing(None, "score", 5.4) == (0.5, False)


def test_confidence_is_that_of_the_measured_correlation() -> None:
    results = {"a score": {"plcc": 0.8, "n": 10}, "b technical": {"plcc": 0.1}}
    assert confidence(0.0, results) == 0.5
    assert confidence(1.0, results) > confidence(0.3, results) > 0.5
    assert confidence(1.0, {"a score": {"plcc": 0.0}}) == 0.5
    assert confidence(1.0, {}) is None
    # against draws of true and predicted scores with that correlation
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(400_000, 2))
    true = 0.8 * predicted + np.sqrt(1 - 0.64) * rng.normal(size=predicted.shape)
    gap = (predicted[:, 0] - predicted[:, 1]) * 0.74
    near = np.abs(gap - 0.5) < 0.02
    assert confidence(0.5, results) == pytest.approx((true[near, 0] > true[near, 1]).mean(), abs=0.02)


def test_the_keeper_and_a_reason_for_each_other() -> None:
    sharp, soft = example("coffee"), example("coffee").filter(ImageFilter.GaussianBlur(4))
    found = compare(
        [Candidate("soft", scores(5.0), facts(soft)), Candidate("sharp", scores(6.0, depth_focus=7.0), facts(sharp))],
        {"x score": {"plcc": 0.75}},
    )
    assert found.keeper.path == "sharp"
    reject = found.rejects[0]
    assert reject.behind["score"] == 1.0 and reject.behind["depth_focus"] == 2.0
    assert "depth and focus (by 2.00)" in reject.reason and "it is sharper" in reject.reason
    assert 0.5 < reject.confidence < 1
    tie = compare([Candidate("b", scores(), facts(soft)), Candidate("a", scores(), facts(sharp))], {})
    assert tie.keeper.path == "a" and "nearly the same" in tie.rejects[0].reason and tie.rejects[0].confidence is None


# --- the critic --------------------------------------------------------------------------------------------------


def test_what_is_no_photograph_gets_no_praise() -> None:
    found = Critic(None, None, Settings()).critique(photo(page()), scores(8.0), "0" * 32)
    assert "aesthetics do not apply" in found.notice
    assert {a.source for a in found.attributes.values()} == {"none"} and not any(
        a.text for a in found.attributes.values()
    )


def test_the_same_key_gives_the_same_critique_and_another_seed_another() -> None:
    shot = photo(example("coffee"))
    one = Critic(None, None, Settings()).critique(shot, scores(), "ab" * 16)
    assert one == Critic(None, None, Settings()).critique(shot, scores(), "ab" * 16)
    others = [Critic(None, None, Settings(seed=s)).critique(shot, scores(), "ab" * 16) for s in range(6)]
    assert len({o.attributes["composition"].text for o in others}) > 1
    assert all(a.source == "measured" and a.text for a in one.attributes.values())


class Praises:
    """Takes a text's length for praise (one point for ten letters), and texts with a colon for off the topic."""

    def judge(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        about = np.array([[0.1 if ":" in text else 0.9] * 5 for text in texts], np.float32)
        return about, np.array([len(text) / 10 for text in texts], np.float32)


class Listening(Tone):
    """Keeps what it chose from, and what it chose."""

    def __init__(self) -> None:
        edges = {name: [float(n) for n in range(1, 10)] for name in ATTRIBUTES}
        super().__init__(Praises(), edges)  # type: ignore[arg-type]
        self.seen: list[tuple[list[str], str]] = []

    def closest(self, attribute: str, texts: Sequence[str], standing: float) -> int:
        chosen = super().closest(attribute, texts, standing)
        self.seen.append((list(texts), texts[chosen]))
        return chosen


def test_of_true_texts_the_judge_takes_the_one_in_the_right_tone() -> None:
    texts = ["a" * 12, "b" * 48, "c" * 88, "d" * 47 + ":"]
    assert [Listening().closest("general", texts, share) for share in (0.0, 0.1, 0.5, 0.9, 1.0)] == [0, 0, 1, 2, 2]
    assert Tone(Praises(), {"general": []}).closest("general", texts, 0.9) == 0  # type: ignore[arg-type]
    tone = Listening()
    found = Critic(None, None, Settings(), tone).critique(photo(example("coffee")), scores(), "ab" * 16)
    assert {a.source for a in found.attributes.values()} == {"measured"}
    assert [chosen for _, chosen in tone.seen] == [a.text for a in found.attributes.values()]
    assert all(len(set(texts)) > 1 for texts, _ in tone.seen)


# --- the commands ------------------------------------------------------------------------------------------------


def test_critique_prints_every_attribute(run_cli: RunCli, photos: Path) -> None:
    done = run_cli("critique", photos / "bright.jpg")
    assert done.returncode == 0, done.stderr
    for title in ("Colour and light", "Composition", "Depth and focus", "General feeling", "measured:"):
        assert title in done.stdout


def test_rows_are_documented_json_and_are_kept(run_cli: RunCli, photos: Path) -> None:
    first = run_cli("critique", photos, "--format", "jsonl")
    assert first.returncode == 0, first.stderr
    rows = [json.loads(line) for line in first.stdout.splitlines()]
    assert len(rows) == 9
    for row in rows:
        assert {"path", "score", "spread", "kinds", "notice", "attributes"} <= set(row)
        assert list(row["attributes"]) == list(ATTRIBUTES)
        for found in row["attributes"].values():
            assert {"score", "percentile", "text", "source", "evidence", "advice"} <= set(found)
    assert run_cli("critique", photos, "--format", "jsonl").stdout == first.stdout
    assert json.loads(run_cli("critique", photos, "--format", "json").stdout) == rows
    (photos / "dark.jpg").rename(photos / "moved.jpg")  # kept by content, so nothing is measured again
    moved = run_cli("critique", photos / "moved.jpg", "--format", "json").stdout
    kept = next(row for row in rows if row["path"].endswith("dark.jpg"))
    assert json.loads(moved)[0]["attributes"] == kept["attributes"]


def test_options_of_critique(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    done = run_cli(
        "critique", photos / "middle.jpg", "--attribute", "composition", "--style", "short", "--format", "markdown",
        "--save-overlay", tmp_path / "o.png",
    )  # fmt: skip
    assert done.returncode == 0 and "**Composition**" in done.stdout and "Colour" not in done.stdout
    with Image.open(tmp_path / "o.png") as drawn:
        assert drawn.size == (320, 240 + 52)
    several = run_cli("critique", photos / "trip", photos / "grey.jpg", "--save-overlay", tmp_path / "sheets")
    assert several.returncode == 0
    assert sorted(p.name for p in (tmp_path / "sheets").iterdir()) == ["beach.jpg.overlay.png", "grey.jpg.overlay.png"]
    listed = run_cli("critique", "-", "--format", "jsonl", input=f"{photos / 'grey.jpg'}\n{photos / 'small.png'}\n")
    assert [Path(json.loads(line)["path"]).name for line in listed.stdout.splitlines()] == ["grey.jpg", "small.png"]


def test_what_critique_refuses(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes((photos / "bright.jpg").read_bytes()[:2000])
    done = run_cli("critique", photos / "broken.jpg", photos / "grey.jpg", "--format", "jsonl")
    assert done.returncode == 3 and len(done.stdout.splitlines()) == 1 and "broken.jpg" in done.stderr
    (tmp_path / "empty").mkdir()
    assert run_cli("critique", tmp_path / "empty").returncode == 1
    assert run_cli("critique", photos, "--apply", "polish", "--out", tmp_path).returncode == 2
    assert run_cli("critique", photos, "--apply", "crop").returncode == 2


def test_applying_advice_writes_copies_and_shows_the_scores(run_cli: RunCli, tmp_path: Path) -> None:
    folder = tmp_path / "leaning"
    folder.mkdir()
    image = Image.new("RGB", (900, 600), (150, 150, 150))
    pen = ImageDraw.Draw(image)
    for k in range(6):
        pen.rectangle((80 + 140 * k, 0, 100 + 140 * k, 600), fill=(60, 60, 70))
        pen.rectangle((0, 60 + 100 * k, 900, 72 + 100 * k), fill=(200, 190, 180))
    turned = np.asarray(image.rotate(-4, Image.Resampling.BICUBIC).crop((150, 100, 750, 500)), np.float32)
    noisy = turned + np.random.default_rng(0).normal(0, 2, turned.shape)  # without noise it is a drawing, not a photo
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / "a.png")
    before = (folder / "a.png").read_bytes()
    done = run_cli("critique", folder, "--apply", "straighten", "--out", tmp_path / "out", "--format", "json")
    assert done.returncode == 0, done.stderr
    copy = json.loads(done.stdout)[0]["copy"]
    assert copy["done"] == ["straighten"] and set(copy["before"]) == set(copy["after"]) == {"score", "composition"}
    assert abs(facts(Image.open(tmp_path / "out" / "a-improved.png")).frame.tilt) < 0.6
    assert (folder / "a.png").read_bytes() == before


def test_compare_names_a_keeper(run_cli: RunCli, photos: Path) -> None:
    done = run_cli("compare", photos / "dark.jpg", photos / "bright.jpg", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["keeper"]["path"].endswith("bright.jpg")
    assert [Path(r["path"]).name for r in found["rejects"]] == ["dark.jpg"] and found["rejects"][0]["reason"]
    text = run_cli("compare", photos).stdout
    assert text.startswith("keep ") and text.count("reject ") == 8
    assert run_cli("compare", photos / "dark.jpg").returncode == 2
