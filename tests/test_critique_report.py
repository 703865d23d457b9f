"""`cgiaa evaluate --critiques`: what it counts, on photos and texts whose answers are known."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cgiaa_training import critique_report
from cgiaa_training.critique_judge import Comment, ReportJudge, auc, comments, of_judge
from cgiaa_training.critique_report import Critiqued, Text, choose_photos, own_or_other
from cgiaa_training.critique_sheet import thumbnail, write_rows, write_sheet
from conftest import RunCli, picture
from test_facts import example

from cgiaa_cli.critique.prompt import ATTRIBUTES
from cgiaa_cli.critique.session import Session
from cgiaa_cli.errors import CgiaaError

ABOUT = {
    "color_light": ("light", "colour", "tones", "contrast"),
    "composition": ("composition", "framing", "balance", "crop"),
    "depth_focus": ("focus", "depth", "sharpness", "blur"),
    "general": ("picture", "impression", "photo", "mood"),
}
PRAISE = {2.0: "poor and weak", 5.0: "weak", 7.0: "fair and good", 9.5: "excellent and great"}


def critics(count: int, seed: int = 0) -> Iterator[Comment]:
    """Comments whose words give away attribute and score."""
    dice = random.Random(seed)
    for i in range(count):
        attribute = ATTRIBUTES[i % 4]
        score = dice.choice(list(PRAISE))
        noun, other = dice.sample(ABOUT[attribute], 2)
        yield Comment(f"The {noun} is {PRAISE[score]}. So is the {other}.", attribute, score)


@pytest.fixture(scope="module")
def judge() -> ReportJudge:
    return ReportJudge(list(critics(200)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Photos of all sets, laid out as the sets' descriptions say, and PCCD's comments."""
    root = tmp_path / "data"
    (root / "critiques").mkdir(parents=True)
    with gzip.open(root / "critiques" / "pccd.jsonl.gz", "wt") as file:
        for i, comment in enumerate(critics(120)):
            split = "validation" if i % 3 == 0 else "train"
            row = {"id": str(i), "split": split, "text": comment.text, "attribute": comment.attribute}
            file.write(json.dumps({**row, "score_1_10": comment.score, "overall_1_10": comment.score}) + "\n")
    for n, name in enumerate(("coco", "other")):
        (root / name / "images").mkdir(parents=True)
        rows = []
        for i in range(3):
            picture(10 * n + i, 0.3 + 0.2 * i, (320, 240)).save(root / name / "images" / f"{i}.jpg", quality=92)
            rows.append(json.dumps({"file": f"{i}.jpg", "caption": "a picture"}))
        (root / name / "captions.jsonl").write_text("\n".join(rows) + "\n")
    return root


# --- the judge -------------------------------------------------------------------------------------------------------


def test_the_judge_learns_what_comments_are_about_and_how_much_they_praise(judge: ReportJudge) -> None:
    found = of_judge(judge, list(critics(80, seed=1)))
    assert found["accuracy"] > 0.95 and found["auc"] > 0.95 and found["srcc"] > 0.8 and found["n"] == 80
    bad, good = judge.tone(["The light is poor and weak.", "The light is excellent and great."])
    assert good - bad > 3


def test_auc_counts_pairs_in_the_right_order() -> None:
    assert auc(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True]))["auc"] == 1
    assert auc(np.array([4.0, 2, 3, 1]), np.array([False, False, True, True]))["auc"] == 0.25
    assert auc(np.array([1.0, 1, 1, 1]), np.array([False, False, True, True]))["auc"] == 0.5
    assert np.isnan(auc(np.array([1.0, 2]), np.array([True, True]))["auc"])


def test_held_out_comments_are_not_learned_from(data: Path) -> None:
    learn, held = comments(data)
    assert (len(learn), len(held)) == (80, 40)
    with pytest.raises(CgiaaError):
        comments(data / "coco")


# --- photos ----------------------------------------------------------------------------------------------------------


def test_photos_come_from_the_sets_in_turn_and_in_a_fixed_order(data: Path) -> None:
    (data / "mine").mkdir()
    for i in range(2):
        picture(i, 0.5).save(data / "mine" / f"{i}.jpg")
    found = choose_photos(data, 4, ("coco", "mine"))
    assert [str(Path(p).relative_to(data)).split("/")[0] for p in found] == ["coco", "mine", "coco", "mine"]
    assert found == choose_photos(data, 4, ("coco", "mine")) and len(set(found)) == 4
    assert len(choose_photos(data, 99, ("coco", "mine"))) == 5
    assert {tuple(choose_photos(data, 3, ("coco",), seed)) for seed in range(8)} != {tuple(found[::2])}


# --- texts -----------------------------------------------------------------------------------------------------------


def made(texts: dict[str, str], holds: dict[str, set[str]], standing: float, source: str = "generated") -> Critiqued:
    attributes = {
        name: {"score": 1 + 9 * standing, "text": text, "source": source if text else "none",
               "dropped": {"tone": 2}, "evidence": {}, "advice": []}
        for name, text in texts.items()
    }  # fmt: skip
    row = {"path": "a.jpg", "kinds": [], "notice": "", "attributes": attributes}
    return Critiqued(row, holds, dict.fromkeys(ATTRIBUTES, standing), np.zeros(2), 0.1, b"")


def four(color_light: str, adjective: str) -> dict[str, str]:
    return {
        "color_light": color_light,
        "composition": f"The composition is {adjective}.",
        "depth_focus": f"The depth is {adjective}.",
        "general": "",
    }


def test_shares_tone_topic_and_contradictions_are_counted(judge: ReportJudge) -> None:
    found = [
        made(four("The light is poor and weak, and it is underexposed.", "poor and weak"), {"exposure": {"dark"}}, 0.1),
        made(four("The light is fair and good.", "fair and good"), {"exposure": {"normal"}}, 0.6, "measured"),
        made(four("The light is excellent and great. It is underexposed.", "excellent"), {"exposure": {"bright"}}, 0.9),
    ]
    results = critique_report.of_texts(found, judge)
    light = results["critiques: color_light"]
    assert (light["generated"], light["measured"], light["none"]) == (0.6667, 0.3333, 0.0)
    assert light["polarity srcc"] == 1 and light["about it"] == 1 and light["duplicates"] == 0
    assert results["critiques: general"]["none"] == 1
    assert results["critiques: claims against measurements"]["contradicted"] == 1
    assert results["critiques: candidates dropped"] == {"tone": 8.0}
    assert results["critiques: all"]["n"] == 9


def test_the_same_text_about_two_photos_is_a_duplicate(judge: ReportJudge) -> None:
    found = [made(four("The light is good.", "good"), {}, 0.3 * i) for i in range(3)]
    assert critique_report.of_texts(found, judge)["critiques: color_light"]["duplicates"] == pytest.approx(2 / 3, 1e-3)


def test_own_photo_wins_where_claims_and_tone_fit_it_only() -> None:
    found = [made({}, {"exposure": {"dark"}}, 0.0), made({}, {"exposure": {"bright"}}, 1.0)]
    right = [
        Text("It is underexposed.", "color_light", "generated", 0, 0.0, 1.0),
        Text("It is overexposed.", "color_light", "generated", 1, 1.0, 10.0),
    ]
    ranks = np.array([0.0, 1.0])
    assert all(r["rate"] == 1 and r["margin"] > 0 for r in own_or_other(right, ranks, found).values())
    wrong = [replace(one, text=other.text) for one, other in zip(right, right[::-1], strict=True)]
    assert all(r["rate"] == 0 for r in own_or_other(wrong, ranks[::-1], found).values())
    safe = [Text("A picture like others.", "general", "generated", i, 0.5, 5.0) for i in range(2)]
    both = [made({}, {"exposure": {"dark"}}, 0.5)] * 2
    tied = own_or_other(safe, np.array([0.5, 0.5]), both)
    assert all(r["rate"] == 0.5 and r["margin"] == 0 for r in tied.values())


# --- the sheet and the command ---------------------------------------------------------------------------------------


def test_the_sheet_shows_markup_and_does_not_obey_it(tmp_path: Path) -> None:
    one = made({"color_light": "<script>alert(1)</script>"}, {}, 0.5)
    row = one.row | {"path": '"><b>.jpg'}
    write_sheet(tmp_path / "new" / "a.html", [row], [thumbnail(np.asarray(example("cat")))])
    page = (tmp_path / "new" / "a.html").read_text("utf-8")
    assert "<script" not in page and "<b>.jpg" not in page and "&lt;script&gt;" in page
    assert "data:image/jpeg;base64," in page and "http" not in page
    write_rows(tmp_path / "a.jsonl", [row, row])
    assert [json.loads(line)["path"] for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()] == [
        row["path"]
    ] * 2
    (tmp_path / "file").write_text("")
    with pytest.raises(CgiaaError, match="name another --out"):
        write_rows(tmp_path / "file" / "a.jsonl", [row])


def test_a_report_from_photos_to_numbers(
    data: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(critique_report, "choose_photos", lambda where, count: choose_photos(where, count, ("coco",)))
    said: list[str] = []
    with Session(tmp_path / "x.db", str(tiny_bundle), "cpu") as session:
        results = critique_report.critique_report(session, data, 3, tmp_path / "out", said.append)
    assert results["critiques: all"]["measured"] == 1 and results["critiques: all"]["n"] == 12
    assert results["critiques: claims against measurements"]["contradicted"] == 0
    assert results["critiques: seconds a photo"]["n"] == 3 and results["critiques: seconds a photo"]["median"] > 0
    assert "bundle's judge on held-out PCCD" not in results  # the bundle has none
    rows = [json.loads(line) for line in (tmp_path / "out" / "critiques.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 3 and all(list(row["attributes"]) == list(ATTRIBUTES) for row in rows)
    assert (tmp_path / "out" / "critiques.html").read_text("utf-8").count("<article") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--critiques", "--on", "savoias"], "--critiques goes with"),
        (["--out", "x"], "--out is for --critiques"),
        (["--critiques", "--data", "nowhere"], "pccd"),
    ],
)
def test_what_cannot_be_is_one_line(run_cli: RunCli, arguments: list[str], said: str) -> None:
    done = run_cli("evaluate", *arguments)
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 1 and said in done.stderr
