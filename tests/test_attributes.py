"""Stage 2 on small data of our own: the judge of critiques, its report, its export, and the database."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from cgiaa_models.text_judge import ABOUT, Bag, TextJudge
from cgiaa_training import attributes
from cgiaa_training.attributes import FILES, AttributesConfig, export_judge, load_judge, plan, run
from cgiaa_training.attributes_report import Held, auc, confusion, macro_f1, measure
from cgiaa_training.baselines import BagOfWords, by_keywords
from cgiaa_training.comments import Comment, Comments, labelled, self_scored
from cgiaa_training.loop import LoopConfig
from cgiaa_training.manifest import load_set
from cgiaa_training.recipe import Recipe
from cgiaa_training.run import Context
from cgiaa_training.sentences import Rules
from cgiaa_training.synthetic import make
from cgiaa_training.text_judge import JudgeConfig, Learner, build_judge, judge_loss, judge_parity

from cgiaa_cli.critique.judge import TextJudge as RunTimeJudge
from cgiaa_cli.errors import CgiaaError

SMALL = AttributesConfig(
    labelled=("tiny-critiques",),
    comments=("tiny-critiques",),
    self_scored=(),
    rules=Rules(least_words=3),
    judge=JudgeConfig(encoder="wordpiece:32x1", context=48, buckets=512, dropout=0.1),
    loop=LoopConfig(epochs=6, batch_size=16, rate=5e-3),
)
TEXTS = ["The colours are rich and vivid.", "The horizon is tilted.", "The focus was missed.", "A weak picture."]


def context(data: Path, out: Path, config: AttributesConfig = SMALL) -> Context:
    return Context(Recipe("small", attributes=config), data, out)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make(folder, 40, 0)
    return folder


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished stage: its folder and results."""
    out = tmp_path_factory.mktemp("run")
    torch.set_num_threads(1)
    return out / "attributes", run(context(data, out))


@pytest.fixture(scope="module")
def judge(done: tuple[Path, dict[str, Any]]) -> TextJudge:
    return load_judge(done[0] / "judge.pt")


@pytest.fixture(scope="module")
def exported(judge: TextJudge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_judge(judge, tmp_path_factory.mktemp("bundle") / "new")


# --- the judge -------------------------------------------------------------------------------------------------


def test_it_learns_what_a_text_is_about_and_how_good(done: tuple[Path, dict[str, Any]]) -> None:
    _, results = done
    held = results["held_out"]["judge"]
    assert held["four"]["accuracy"] > 0.9 and held["five"]["macro_f1"] > 0.85
    assert held["polarity"]["srcc"] > 0.5
    low, high = held["four"]["accuracy_95"]
    assert 0.5 < low <= held["four"]["accuracy"] <= high <= 1
    assert results["learned_from"] == {**dict.fromkeys(ABOUT[:4], 48), "none": 24}


def test_a_kept_judge_says_the_same(judge: TextJudge) -> None:
    about, polarity = judge.attribute(TEXTS), judge.polarity(TEXTS)
    assert about.shape == (4, 5) and np.allclose(about.sum(1), 1, atol=1e-5)
    assert [ABOUT[i] for i in about.argmax(1)] == list(ABOUT[:4])
    assert polarity.shape == (4,) and (polarity >= 1).all() and (polarity <= 10).all()
    assert polarity[0] > polarity[2]
    whole = judge.judge(TEXTS, batch=3)
    assert np.allclose(whole[0], about, atol=1e-5) and np.allclose(whole[1], polarity, atol=1e-4)
    assert judge.judge([])[0].shape == (0, 5) and judge.judge([""])[0].shape == (1, 5)


def test_a_file_that_is_no_judge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "judge.pt"
    torch.save({"format": 99}, path)
    with pytest.raises(CgiaaError, match="not a judge of critiques"):
        load_judge(path)
    with pytest.raises(CgiaaError, match=r"gone\.pt"):
        load_judge(tmp_path / "gone.pt")


def test_the_exported_judge_agrees_where_it_is_used(judge: TextJudge, exported: Path) -> None:
    assert exported.name == "judge.onnx"
    used = RunTimeJudge(exported, exported.with_name("judge-tokenizer.json"), context=SMALL.judge.context)
    texts = [*TEXTS, "", "A sharp subject before a soft background, and a level horizon. " * 9]
    found, expected = used.judge(texts), judge.judge(texts)
    assert np.allclose(found[0], expected[0], atol=1e-4) and np.allclose(found[1], expected[1], atol=1e-3)


def test_an_export_that_disagrees_writes_nothing(
    judge: TextJudge, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TextJudge(judge.blueprint).eval().requires_grad_(False)
    assert judge_parity(judge, exported.read_bytes()) < 1e-3 < judge_parity(other, exported.read_bytes())
    monkeypatch.setattr("cgiaa_training.text_judge.judge_to_onnx", lambda _: exported.read_bytes())
    with pytest.raises(CgiaaError, match="differs from torch"):
        export_judge(other, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_padding_changes_nothing(judge: TextJudge) -> None:
    alone = judge.judge(TEXTS[:1])
    beside = judge.judge([TEXTS[0], TEXTS[1] + " and so on" * 9], batch=2)
    assert np.allclose(alone[0][0], beside[0][0], atol=1e-5)
    assert np.isclose(alone[1][0], beside[1][0], atol=1e-4)


def test_the_bag_is_tf_idf_of_words_and_pairs() -> None:
    bag = Bag(4096, pad=0)
    ids, mask = torch.tensor([[5, 6, 5, 6, 0], [7, 0, 0, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0], [1, 0, 0, 0, 0]])
    rows = bag.features(ids, mask)
    assert torch.allclose(rows.norm(dim=1), torch.ones(2))
    assert (rows[1] > 0).sum() == 1
    # 5 and 6 twice, the pair (5, 6) twice, the pair (6, 5) once
    ratio = 1 + math.log(2)
    assert sorted((rows[0][rows[0] > 0] / rows[0][rows[0] > 0].min()).tolist()) == pytest.approx(
        [1, ratio, ratio, ratio]
    )


def test_loss_leaves_out_what_is_not_known(data: Path) -> None:
    learn = [Comment("too dark", 0, 2.0, 3.0, "a"), Comment("lovely", -1, math.nan, math.nan, "b")]
    model = Learner(build_judge(SMALL.judge, learn)).eval()
    tokens = model.judge.text.tokens
    both = Comments(learn, tokens, 0, 0).collate(learn)
    known = Comments(learn, tokens, 0, 0).collate(learn[:1])
    first, second = judge_loss(model, both, SMALL.judge)[0], judge_loss(model, known, SMALL.judge)[0]
    assert torch.isclose(first, second, atol=1e-5)
    nothing, _ = judge_loss(model, Comments(learn, tokens, 0, 0).collate(learn[1:]), SMALL.judge)
    assert float(nothing.detach()) == 0


def test_word_vectors_can_be_kept(tmp_path: Path) -> None:
    from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast

    own = build_judge(SMALL.judge, [Comment("a b c")])
    folder = tmp_path / "encoder"
    settings = BertConfig(
        vocab_size=2000, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    AutoModel.from_config(settings).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=own.text.tokens.tokenizer, pad_token="[PAD]").save_pretrained(folder)
    config = replace(SMALL.judge, encoder=f"transformers:{folder}", freeze_words=True)
    kept = build_judge(config, [Comment("a b c")])
    free = build_judge(replace(config, freeze_words=False), [Comment("a b c")])
    counts = [sum(p.numel() for _, group in j.groups() for p in group) for j in (kept, free)]
    assert counts[1] - counts[0] == 2000 * 16


# --- comments --------------------------------------------------------------------------------------------------


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / name, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_fields_of_pccd_become_attributes(tmp_path: Path) -> None:
    fields = ("color_light", "composition", "depth_focus", "general", "subject", "camera")
    rows = [
        {
            "id": f"photo-{i % 4}", "attribute": fields[i % 6], "field": "f", "text": "One thing. And another!",
            "score_1_10": 7.0, "overall_1_10": 4.0, "category": "c", "split": "validation" if i % 4 == 3 else "train",
        }
        for i in range(24)
    ]  # fmt: skip
    write(tmp_path / "critiques", "pccd.jsonl.gz", [*rows, {**rows[0], "text": "..."}])
    learn, check = labelled(load_set("pccd", tmp_path), "score", "overall")
    assert (len(learn), len(check)) == (18, 6)
    assert {c.photo for c in learn}.isdisjoint(c.photo for c in check)
    assert {ABOUT[c.about] for c in learn} == set(ABOUT)
    assert learn[0].sentences == ("One thing.", "And another!")
    assert (learn[0].score, learn[0].overall) == (7.0, 4.0)


def test_scores_that_writers_added(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "source": "s", "attribute": "general", "text": "Wonderful light and mood. 9", "split": None},
        {"id": "2", "source": "s", "attribute": "general", "text": "Wonderful light and mood.", "split": None},
        {"id": "3", "source": "s", "attribute": "general", "text": "Wonderful light and mood. 9", "split": "test"},
        {"id": "4", "source": "s", "attribute": "general", "text": "Good. 7", "split": None},
    ]
    write(tmp_path / "critiques", "dpchallenge.jsonl.gz", [{**row, "keyword_match": None} for row in rows])
    assert [(c.text, c.score, c.about) for c in self_scored(load_set("dpchallenge", tmp_path))] == [
        ("Wonderful light and mood.", 9.0, -1)
    ]


def test_runs_of_sentences_are_drawn_anew_each_epoch() -> None:
    sentences = tuple(f"Sentence {i}." for i in "abcdefgh")
    comment = Comment(" ".join(sentences), 1, 8.0, 7.0, "p", sentences)
    tokens = build_judge(SMALL.judge, [comment]).text.tokens
    data = Comments([comment] * 50, tokens, 0.5, seed=3)
    first = [data[i].text for i in range(50)]
    assert [data[i].text for i in range(50)] == first
    assert all(text in comment.text for text in first) and 10 < sum(text == comment.text for text in first) < 40
    data.set_epoch(1)
    assert [data[i].text for i in range(50)] != first
    assert all(c.text == comment.text for c in Comments([comment] * 9, tokens, 0, seed=3))


# --- measures --------------------------------------------------------------------------------------------------


def test_measures_against_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score

    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    assert (confusion(found, truth, 4) == confusion_matrix(truth, found)).all()
    assert macro_f1(found, truth, 4) == pytest.approx(f1_score(truth, found, average="macro"))
    score, polarity = rng.integers(1, 11, 200).astype(float), np.round(rng.normal(size=200), 1)
    sides = (score >= 9) | (score <= 6)
    assert auc(polarity, score) == pytest.approx(roc_auc_score(score[sides] >= 9, polarity[sides]))
    assert math.isnan(auc(polarity, np.full(200, 7.0)))


def test_comments_without_scores_are_measured_by_attribute_alone() -> None:
    held = Held.of([Comment(t, i % 5, photo=str(i % 7), sentences=(t,)) for i, t in enumerate(TEXTS * 10)])
    truth = held.about
    results = measure(held, {"judge": (np.minimum(truth, 3), truth, None), "wrong": ((truth + 1) % 4, truth, None)})
    assert results["judge"]["four"]["accuracy"] == 1 and results["wrong"]["four"]["accuracy"] == 0
    assert results["judge"]["five"]["n"] == 40 and results["judge"]["four"]["n"] == 32
    assert "polarity" not in results["judge"]


def test_keywords() -> None:
    assert [ABOUT[i] for i in by_keywords(TEXTS)] == list(ABOUT[:4])


def test_bag_of_words() -> None:
    scores = np.array([8.0, 3.0, 2.0, 4.0] * 5)
    bag = BagOfWords(TEXTS * 5, np.arange(20) % 4, scores)
    assert (bag.about(TEXTS) == np.arange(4)).all() and bag.polarity(TEXTS).argmax() == 0
    with pytest.raises(ValueError, match="no text had a score"):
        BagOfWords(TEXTS * 5, np.arange(20) % 4, np.full(20, np.nan)).polarity(TEXTS)


# --- the stage -------------------------------------------------------------------------------------------------


def test_the_database_is_in_the_official_layout(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, results = done
    table = pq.read_table(folder / "database" / "critiques.parquet").to_pylist()
    assert {row["attribute"] for row in table} == set(FILES)
    for attribute, name in FILES.items():
        rows = json.loads((folder / "database" / name).read_text("utf-8"))
        assert [{k: r[k] for k in ("id", "img_id", "caption")} for r in table if r["attribute"] == attribute] == rows
        assert results["database"]["kept"][attribute] == len(rows) > 0
    assert all(0.6 <= row["confidence"] <= 1 and 1 <= row["polarity"] <= 10 for row in table)
    assert len({row["caption"] for row in table}) == len(table)
    counts = results["database"]["sets"]["tiny-critiques"]
    assert counts["sentences"] == counts["kept"] + sum(counts["dropped"].values())
    assert counts["dropped"]["duplicate"] > 0 and counts["dropped"]["none of the four"] > 0
    # and it loads as CG-IAA's own data does
    (tmp_path / "CG-IAA").symlink_to(folder / "database")
    lists = tmp_path / "AVA" / "aesthetics_image_lists"
    lists.mkdir(parents=True)
    (lists / "generic_test.jpgl").write_text("photos/00004.jpg\n")
    assert len(load_set("cgiaa", tmp_path).samples) == len(table)


def test_the_report_says_it_all(done: tuple[Path, dict[str, Any]]) -> None:
    page = (done[0] / "report.md").read_text("utf-8")
    for wanted in ("judge", "bag of words", "keywords", "Confusion", "AUC", "SRCC", "duplicate", "not English"):
        assert wanted in page
    assert json.loads(json.dumps(done[1])) == done[1]


def test_official_critiques_are_learned_from_as_they_are(tmp_path: Path) -> None:
    """They have no scores and no split `val`."""
    wording = {"color.json": "the light is warm", "composition.json": "the crop is tight", "dof.json": "it is sharp"}
    for name in FILES.values():
        text = wording.get(name, "a fine picture")
        rows = [{"id": i, "img_id": f"{i}.jpg", "caption": f"{text} in part {i}"} for i in range(20)]
        (tmp_path / "CG-IAA").mkdir(exist_ok=True)
        (tmp_path / "CG-IAA" / name).write_text(json.dumps(rows))
    lists = tmp_path / "AVA" / "aesthetics_image_lists"
    lists.mkdir(parents=True)
    (lists / "generic_test.jpgl").write_text("".join(f"{i}.jpg\n" for i in range(4)))
    config = replace(SMALL, labelled=("cgiaa",), comments=("cgiaa",), loop=replace(SMALL.loop, epochs=4))
    results = run(context(tmp_path, tmp_path / "run", config))
    assert results["learned_from"] == dict.fromkeys(ABOUT[:4], 16)
    assert results["held_out"]["judge"]["four"]["n"] == 16
    assert results["held_out"]["judge"]["four"]["accuracy"] > 0.9
    assert "polarity" not in results["held_out"]["judge"]
    assert "writer thinks" not in (tmp_path / "run" / "attributes" / "report.md").read_text("utf-8")


def test_sentences_that_were_read_are_not_read_again(
    data: Path, done: tuple[Path, dict[str, Any]], judge: TextJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in (done[0] / "database").iterdir()}

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("read again")

    monkeypatch.setattr(TextJudge, "judge", refuse)
    found = attributes._database(judge, context(data, done[0].parent))
    assert found == done[1]["database"]
    assert {p.name: p.read_bytes() for p in (done[0] / "database").iterdir()} == before


def test_another_judge_reads_anew(data: Path, tmp_path: Path, judge: TextJudge) -> None:
    ctx = context(data, tmp_path)
    folder = ctx.folder("attributes")
    (folder / "judge.pt").write_bytes(b"one")
    first = attributes._database(judge, ctx)
    (folder / "judge.pt").write_bytes(b"two")
    other = load_judge_like(judge)
    assert attributes._database(other, ctx)["kept"] != first["kept"]


def load_judge_like(judge: TextJudge) -> TextJudge:
    """A judge for whom everything is about composition."""
    other = TextJudge(judge.blueprint).eval().requires_grad_(False)
    other.load_state_dict(judge.state_dict())
    other.about.bias[1] += 50
    return other


def test_labelled_sets_without_attributes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.csv").write_text("id,text\n" + "".join(f"{i},text {i}\n" for i in range(20)))
    with pytest.raises(CgiaaError, match="two of the four attributes"):
        run(context(tmp_path, tmp_path / "run", replace(SMALL, labelled=("plain.csv",))))


def test_plan(data: Path, tmp_path: Path) -> None:
    found = plan(context(data, tmp_path))
    assert found.samples == 216 and found.steps == 13 * 6
    assert found.seconds > 0 and found.trained < found.parameters


def test_all_faults_at_once() -> None:
    config = JudgeConfig(encoder="nothing", context=1, dropout=1.0, smoothing=-1.0, bag_polarity=2.0, none_weight=-1.0)
    assert len(config.faults()) == 6
    assert len(AttributesConfig(labelled=(), span=2.0, confidence=-1.0).faults()) == 3
    assert JudgeConfig(encoder="wordpiece:30x1").faults() and JudgeConfig(encoder="wordpiece:32").faults()
    assert AttributesConfig().faults() == SMALL.judge.faults() == []
