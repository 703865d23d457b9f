"""Experts: networks, tokenizer, units of critiques, training, and the way into ONNX and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from cgiaa_models.expert import Expert, ExpertShape, load_gpt2
from cgiaa_training import experts as stage
from cgiaa_training.expert_data import Buckets, Points, collate, language_loss, level_edges, make_plans, read_critiques
from cgiaa_training.expert_report import TorchDecoder, say_all
from cgiaa_training.experts import ExpertsConfig
from cgiaa_training.export_experts import export_decoder, export_experts, parity, store_half
from cgiaa_training.loop import LoopConfig
from cgiaa_training.run import Context
from cgiaa_training.tokenizer import train_tokenizer
from cgiaa_training.units import Critique, chatter, clean, common_words, make_units
from PIL import Image

from cgiaa_cli.critique.decode import Candidate, OnnxDecoder, Sampling, write
from cgiaa_cli.critique.prompt import ATTRIBUTES, Prompt, control_tokens
from cgiaa_cli.critique.tokenizer import Tokenizer
from cgiaa_cli.critique.verify import Copies
from cgiaa_cli.critique.writer import COPIES
from cgiaa_cli.errors import BundleError, CgiaaError

SAYINGS = {
    "color_light": ("The light is lovely and the exposure is perfect", "The picture is far too dark and looks flat"),
    "composition": ("The composition follows the rule of thirds", "The horizon is tilted and the frame is cluttered"),
    "depth_focus": ("The subject is tack sharp", "The whole image is out of focus"),
    "general": ("This is a wonderful and moving image", "This image does not hold the interest for long"),
}


def sayings(count: int = 160) -> list[Critique]:
    """Critiques of two polarities for each attribute, no two alike."""
    ways = ("indeed", "in every respect", "here", "as it stands", "all the same", "for the most part", "to the eye")
    found = []
    for i in range(count):
        attribute = ATTRIBUTES[i % 4]
        good = (i // 4) % 2
        more = f"{ways[i % 7]} and {ways[(i // 7) % 7]} and {ways[(i // 49) % 7]}"
        text = f"{SAYINGS[attribute][1 - good]} {more}."
        found.append(
            Critique(text, f"photo {i}", attribute, 9.0 if good else 3.0, "val" if i // 4 % 5 == 4 else "train")
        )
    return found


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    return train_tokenizer([c.text for c in sayings()], 500, path)


def small(rotary: bool = True, feature: int = 0) -> Expert:
    torch.manual_seed(0)
    expert = Expert(ExpertShape(300, 32, 2, 2, 48, rotary, feature, prefix_length=3, mapper_depth=1)).eval()
    for parameter in expert.parameters():  # a fresh one is nearly uniform, and any order of its steps would do
        parameter.data.mul_(2)
    return expert


# --- network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rotary", "feature"), [(True, 0), (False, 6)])
def test_a_cache_changes_nothing(rotary: bool, feature: int) -> None:
    expert = small(rotary, feature)
    ids = torch.randint(0, 300, (2, 9))
    seen = torch.randn(2, feature) if feature else None
    whole = expert(ids, seen)
    prefix = expert.prefix(seen, 2)
    p = prefix.shape[1]
    logits, past = expert.step(ids[:, :5], prefix, torch.ones(2, p + 5, dtype=torch.long), expert.nothing(2))
    assert torch.allclose(logits, whole[:, 4], atol=1e-5)
    for k in range(5, 9):
        mask = torch.ones(2, p + k + 1, dtype=torch.long)
        logits, past = expert.step(ids[:, k : k + 1], prefix[:, :0], mask, past)
        assert torch.allclose(logits, whole[:, k], atol=1e-5)


@pytest.mark.parametrize("rotary", [True, False])
def test_padding_on_the_left_changes_nothing(rotary: bool) -> None:
    expert = small(rotary, 6)
    ids = torch.randint(1, 300, (1, 4))
    prefix = expert.prefix(torch.randn(1, 6), 1)
    plain, _ = expert.step(ids, prefix, torch.ones(1, 7, dtype=torch.long), expert.nothing(1))
    padded = torch.cat((torch.zeros(1, 3, dtype=torch.long), ids), 1)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 1, 1, 1, 1]])
    shifted, _ = expert.step(padded, prefix, mask, expert.nothing(1))
    assert torch.allclose(plain, shifted, atol=1e-5)


def test_text_cannot_see_what_comes_after() -> None:
    expert = small()
    ids = torch.randint(0, 300, (1, 8))
    changed = ids.clone()
    changed[0, 5:] = 7
    assert torch.allclose(expert(ids)[:, :5], expert(changed)[:, :5], atol=1e-6)


def test_a_photo_changes_the_text_and_all_weights_learn() -> None:
    expert = small(feature=6)
    ids = torch.randint(0, 300, (2, 5))
    assert not torch.allclose(expert(ids, torch.randn(2, 6)), expert(ids), atol=1e-3)
    expert(ids, torch.randn(2, 6)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in expert.parameters())


def test_gpt2_gives_what_transformers_gives(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=120, n_positions=32, n_embd=24, n_layer=2, n_head=2)).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_gpt2(str(tmp_path), 130, feature=5, prefix_length=2, mapper_depth=1).eval()
    ids = torch.randint(0, 120, (2, 7))
    hidden, _ = ours.decoder(ours.decoder.tokens(ids))
    assert torch.allclose(ours.decoder.logits(hidden)[..., :120], theirs(ids).logits, atol=1e-4)
    assert ours.shape.vocabulary == 130


# --- tokenizer ---------------------------------------------------------------------------------------------------


def test_the_tokenizer_in_plain_python_is_that_of_tokenizers(tokenizer: Tokenizer) -> None:
    from tokenizers import Tokenizer as Fast

    fast = Fast.from_file(str(tokenizer.path))
    texts = [
        "The light's lovely, isn't it?  Two  blanks",
        "caf\u00e9 \u2014 na\u00efve \u2615 12 mm",
        " lead",
        "x\n\ny ",
        "",
    ]
    for text in [*texts, *(c.text for c in sayings(20))]:
        assert tokenizer.encode(text) == fast.encode(text).ids
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_controls_are_single_tokens_that_no_text_can_write(tokenizer: Tokenizer) -> None:
    assert list(tokenizer.controls) == control_tokens()
    assert tokenizer.controls["<pad>"] == 0
    assert not set(tokenizer.encode("<bos> <level_3>")) & set(tokenizer.controls.values())
    assert tokenizer.decode([tokenizer.controls["<bos>"], *tokenizer.encode("Hi")]) == "Hi"


def test_what_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": {"type": "WordPiece"}}')
    with pytest.raises(BundleError, match="not a tokenizer"):
        Tokenizer(path)


# --- units -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("I think that the focus is really sharp!", "The focus is really sharp."),
        ("  your   composition is strong ", "The composition is strong."),
        ("Overall, the color works well.", "The colour works well."),
        ("DOF is perfect for this", "Depth of field is perfect for this."),
    ],
)
def test_sentences_are_made_plain(text: str, wanted: str) -> None:
    assert clean(text) == (wanted, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Nice shot", "short"),
        ("See http://example.org for more of this", "address"),
        ("The light falls on the", "broken"),
    ],
)
def test_what_teaches_nothing_is_dropped(text: str, reason: str) -> None:
    assert clean(text) == ("", reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Good luck in the challenge with this one.", "contest"),
        ("A wider aperture would have blurred the background.", "camera"),
        ("Thanks for the kind words about it.", "talk"),
        ("Maybe ask Robert about the light here.", "talk"),
        ("The light suits Robert well here.", "name"),
        ("Which makes the whole thing work.", "dangling"),
        ("The light is soft and even here.", ""),
    ],
)
def test_chatter_is_told_from_critique(text: str, reason: str) -> None:
    assert chatter(text) == reason


def test_units_have_facts_levels_and_traits() -> None:
    critiques = sayings()
    extra = Critique("I would say the zebra looks too dark and flat.", "other", "color_light", 2.0)
    safe = Critique("This is a great shot, I love it!", "other", "general", 8.0)
    units, dropped = make_units(
        [*critiques, extra, safe, critiques[0]], level_edges(critiques), common_words(critiques)
    )
    by_text = {u.text: u for u in units}
    bad = next(u for u in units if u.text.startswith("The picture is far too dark"))
    assert ("exposure", "dark") in bad.prompt.facts
    assert bad.prompt.level < next(u for u in units if u.text.startswith("The light is lovely")).prompt.level
    assert bad.prompt.traits == ()
    assert "scene" in by_text["The zebra looks too dark and flat."].prompt.traits
    assert dropped["safe"] == 1
    assert dropped["duplicate"] == 1


def test_plans_are_what_critics_stated() -> None:
    critiques = sayings()
    units, _ = make_units(critiques, level_edges(critiques), common_words(critiques))
    plans = make_plans(units)
    low = [facts for level in plans["composition"][:5] for facts, _ in level]
    assert low == [[["clutter", "busy"], ["tilt", "tilted"]]]
    count = sum(u.prompt.attribute == "composition" and not u.prompt.traits and u.prompt.level < 6
                and u.source.split == "train" for u in units)  # fmt: skip
    assert sum(n**2 for level in plans["composition"][:5] for _, n in level) == pytest.approx(count, abs=0.1)
    assert any(facts == [] for level in plans["general"] for facts, _ in level)
    assert all(facts for name in ATTRIBUTES[:3] for level in plans[name] for facts, _ in level)


# --- training ----------------------------------------------------------------------------------------------------


def test_buckets_are_drawn_by_epoch_and_only_text_is_learnt(tokenizer: Tokenizer) -> None:
    critiques = sayings()
    units, _ = make_units(critiques, level_edges(critiques), common_words(critiques))
    points = Points(np.eye(len(units), 6, dtype=np.float32), units)
    data = Buckets(units, tokenizer, points.of(units), size=4, noise=0.1)
    first = [data[i] for i in range(len(data))]
    assert [[len(e[0]) for e in g] for g in first] == [[len(e[0]) for e in data[i]] for i in range(len(data))]
    data.set_epoch(1)
    assert [g[0][0] for g in first] != [data[i][0][0] for i in range(len(data))]
    batch = collate(first[:2])
    ids, prompt, _ = first[0][0]
    assert batch["feature"].shape == (8, 6)
    counted = batch["labels"][0] != -100
    assert int(counted.sum()) == len(ids) - prompt
    assert batch["labels"][0][counted].tolist() == ids[prompt:]


def recipe(**values: object) -> SimpleNamespace:
    loop = LoopConfig(epochs=40, batch_size=16, rate=4e-3, warmup=0.1)
    config = ExpertsConfig(
        width=32, heads=2, layers=2, vocabulary=500, context=48, repeat=1, common=2, samples=24, dropout=0.0, loop=loop
    )
    config = ExpertsConfig(**{**config.__dict__, **values})  # type: ignore[arg-type]
    return SimpleNamespace(
        experts=config, vlap=SimpleNamespace(resize="squeeze"), seed=0, name="small",
        stages=("attributes", "experts"), fingerprint=lambda stage: stage,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, dict[str, object]]:
    """Experts that were trained for a few seconds on four sayings, good and bad."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run")
    (out / "attributes" / "database").mkdir(parents=True)
    rows = [
        {"id": str(i), "img_id": c.photo, "caption": c.text, "attribute": c.attribute, "confidence": 1.0}
        | {"polarity": c.polarity, "split": c.split}
        for i, c in enumerate(sayings())
    ]
    parquet.write_table(pa.Table.from_pylist(rows), out / "attributes" / "database" / "critiques.parquet")
    (out / "attributes" / "results.json").write_text(json.dumps({"fingerprint": "attributes", "results": {}}))
    context = Context(recipe(), out, out)  # type: ignore[arg-type]
    return context, stage.run(context)


def test_the_stage_learns_attribute_level_and_facts(trained: tuple[Context, dict[str, object]]) -> None:
    context, results = trained
    perplexities = results["perplexity"]
    assert isinstance(perplexities, dict)
    assert set(perplexities) == set(ATTRIBUTES)
    assert max(perplexities.values()) < 6  # of some 400 tokens
    experts = stage.load(context.folder("experts"))
    prompts = [
        Prompt("composition", 9, facts=(("placement", "thirds"),)),
        Prompt("depth_focus", 2, facts=(("sharpness", "soft"),)),
    ]
    good, bad = (c.text for c in say_all(experts, prompts, sampling=Sampling(temperature=0.3)))
    assert good.startswith("The composition follows")
    assert bad.startswith("The whole image is out of")
    assert results["samples"]["facts stated"] > 0.8  # type: ignore[index]
    assert (context.folder("experts") / "samples.txt").read_text().count(" | ") == 24


def test_exported_experts_write_what_torch_writes(trained: tuple[Context, dict[str, object]], tmp_path: Path) -> None:
    experts = stage.load(trained[0].folder("experts"))
    files = export_experts(experts, tmp_path, weights="fp32")
    assert sorted(files) == ["decoder.onnx", "experts.json", "tokenizer.json"]
    about = json.loads(files["experts.json"].read_text())
    network = about["networks"]["general"]
    decoder = OnnxDecoder(tmp_path / network["decoder"], context=network["context"], threads=1)
    tokenizer = Tokenizer(tmp_path / "tokenizer.json")
    prompts = [Prompt(a, level) for a in ATTRIBUTES for level in (2, 9)]
    ours = write(decoder, tokenizer, prompts, seed=3)
    theirs = write(TorchDecoder(experts.networks["general"]), experts.tokenizer, prompts, seed=3)
    assert [c.text for c in ours] == [c.text for c in theirs]
    assert len({c.text for c in ours}) > 1


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network of `small(False, 6)`, in fp32."""
    return export_decoder(small(False, 6), tmp_path_factory.mktemp("exported"), weights="fp32")


def test_onnx_gives_what_torch_gives_and_half_the_bytes_nearly_do(exported: dict[str, Path], tmp_path: Path) -> None:
    expert = small(False, 6)
    assert list(exported) == ["decoder.onnx", "decoder-mapper.onnx"]
    assert parity(expert, OnnxDecoder(*exported.values(), context=48, threads=1)) < 1e-4
    halves = [tmp_path / name for name in exported]
    for half, path in zip(halves, exported.values(), strict=True):
        half.write_bytes(store_half(path.read_bytes()))
    assert 0 < parity(expert, OnnxDecoder(*halves, context=48, threads=1)) < 5e-2
    saved = exported["decoder.onnx"].stat().st_size - halves[0].stat().st_size
    assert saved > 2 * 0.9 * sum(p.numel() for p in expert.decoder.parameters())


def test_a_network_that_differs_is_not_left(
    exported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cgiaa_training.export_experts._decoder", lambda _: exported["decoder.onnx"].read_bytes())
    other = small(False)
    torch.nn.init.normal_(other.decoder.norm.weight)
    with pytest.raises(CgiaaError, match="differs from torch by"):
        export_decoder(other, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_other_folders_are_no_experts(tmp_path: Path) -> None:
    with pytest.raises(CgiaaError, match="not the folder of trained experts"):
        stage.load(tmp_path)


def test_all_faults_of_a_config_at_once() -> None:
    faults = ExpertsConfig(width=30, heads=4, context=16, photo=True, noise=-1, decoder="").faults()
    assert len(faults) == 4
    assert ExpertsConfig().faults() == []


def test_a_missing_gpt2_is_named(trained: tuple[Context, dict[str, object]], tmp_path: Path) -> None:
    config = ExpertsConfig(decoder=str(tmp_path / "nothing"))
    with pytest.raises(CgiaaError, match="no GPT-2"):
        stage._build(config, 500, 0)


def test_loss_counts_only_text() -> None:
    expert = small()
    ids = torch.randint(0, 300, (2, 6))
    labels = torch.full((2, 6), -100)
    labels[:, 3] = 5
    value = language_loss(expert, {"ids": ids, "labels": labels})
    expected = torch.nn.functional.cross_entropy(expert(ids)[:, 3], labels[:, 3])
    assert torch.allclose(value, expected, atol=1e-5)


# --- with photos -------------------------------------------------------------------------------------------------


class Towers:
    """Stands for the VLAP pair: a photo's point is its mean colour, a text's that of the colour it names."""

    dim = 3
    image = SimpleNamespace(size=(8, 8))
    colours = ("red", "green", "blue")

    def to(self, _: str) -> Towers:
        return self

    def encode_image(self, photo: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(photo.float().mean((1, 2)), dim=1)

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        return torch.eye(3)[[next(i for i, c in enumerate(self.colours) if c in t) for t in texts]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, dict[str, Any]]]:
    """Experts that see: half of the critiques have photos of the colour they name, the others are text alone."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("seen")
    for stage_name in ("attributes/database", "vlap"):
        (out / stage_name).mkdir(parents=True)
    rows, photos = [], ["image,id"]
    endings = ("here", "indeed", "to the eye", "as it stands", "in every part", "all over", "for sure", "on the whole")
    for i in range(96):
        colour = Towers.colours[i % 3]
        text = f"The light is {colour} {endings[i // 3 % 8]} and it is {colour} {endings[(i // 24 + i // 3) % 8]}."
        split = "val" if i % 8 == 7 else "train"
        rows.append(
            {"img_id": str(i), "caption": text, "attribute": ATTRIBUTES[i // 3 % 2], "split": split, "polarity": 5.0}
        )
        if i % 2:
            pixels = np.full((40, 60, 3), 20, np.uint8)
            pixels[..., i % 3] = 180 + i % 50
            Image.fromarray(pixels).save(out / f"{i}.png")
            photos.append(f"{i}.png,{i}")
    parquet.write_table(pa.Table.from_pylist(rows), out / "attributes" / "database" / "critiques.parquet")
    (out / "photos.csv").write_text("\n".join(photos))
    for name in ("attributes", "vlap"):
        (out / name / "results.json").write_text(json.dumps({"fingerprint": name, "results": {}}))
    (out / "vlap" / "vlap.pt").write_bytes(b"towers")
    loop = LoopConfig(epochs=40, batch_size=16, rate=5e-3, warmup=0.1)
    wanted = recipe(photo=True, pairs=("photos.csv",), prefix_length=2, mapper_depth=1, common=1, noise=0.05, loop=loop)
    context = Context(wanted, out, out)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cgiaa_training.vlap.load", lambda _: Towers())
        patch.setattr("shutil.which", lambda _: None)  # METEOR starts a Java machine, and has a test of its own
        yield context, stage.run(context)


def test_texts_follow_their_photos(seen: tuple[Context, dict[str, Any]]) -> None:
    found = seen[1]["wrong photo"]
    assert found["rate"] > 0.9
    assert found["margin"] > 0.3
    assert seen[1]["captioning"]["BLEU-1"] > 0.3


def test_writing_about_photos(seen: tuple[Context, dict[str, Any]]) -> None:
    context = seen[0]
    images = [str(context.data / f"{i}.png") for i in (3, 1, 5)]  # red, green, blue
    said = stage.write(context, images, np.eye(3, dtype=np.float32))
    assert [set(one) for one in said] == [set(ATTRIBUTES)] * 3
    right = [colour in one["composition"].split() for colour, one in zip(Towers.colours, said, strict=True)]
    assert sum(right) >= 2


def test_texts_of_a_set_can_be_left_out(seen: tuple[Context, dict[str, Any]], tmp_path: Path) -> None:
    rows = [
        {
            "img_id": "1",
            "caption": f"The light of {s} is soft.",
            "attribute": "color_light",
            "polarity": 5.0,
            "split": "",
            "source": s,
        }
        for s in ("pccd", "impressions")
    ]
    (tmp_path / "attributes" / "database").mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "attributes" / "database" / "critiques.parquet")
    (tmp_path / "attributes" / "results.json").write_text('{"fingerprint": "attributes", "results": {}}')
    context = replace(seen[0], out=tmp_path)
    assert [c.split for c in read_critiques(context)] == ["train", "train"]
    assert [c.text for c in read_critiques(context, (), ("impressions",))] == ["The light of pccd is soft."]


def test_a_plan_counts_what_would_be_trained(seen: tuple[Context, dict[str, Any]]) -> None:
    found = stage.plan(seen[0])
    assert found.samples == 96
    assert found.steps == 96 // 16 * 40
    assert found.parameters == found.trained > 10_000


def test_how_likely_its_texts_usually_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = tmp_path / "attributes" / "judge.pt"
    judge.parent.mkdir()
    context = Context(SimpleNamespace(seed=0, experts=ExpertsConfig(samples=100)), tmp_path, tmp_path)  # type: ignore[arg-type]
    (context.folder("experts") / COPIES).write_bytes(Copies.pack(["Text " + "a" * 99]))
    said = [Candidate("Text " + "a" * i, (i,), -i / 100, True) for i in range(100)]
    prompts = [Prompt("general")] * 98 + [Prompt("composition")] * 2
    monkeypatch.setattr(stage.expert_report, "sample_prompts", lambda *_: prompts)
    monkeypatch.setattr(stage.expert_report, "say_all", lambda *_, **__: said)
    monkeypatch.setattr(stage, "check", lambda *_: ([i for i in range(100) if i % 2], [], Counter()))
    ours = SimpleNamespace(plans={}, edges={}, common=())
    assert not any(stage.usual(context, ours, [], None).values()), "without a judge nothing is known"  # type: ignore[arg-type]
    judge.touch()
    found = stage.usual(context, ours, [], None)  # type: ignore[arg-type]
    assert found["composition"] == [] and found["color_light"] == [], "too few"
    assert found["general"] == sorted(found["general"]) and len(found["general"]) == 9
    assert found["general"][4] == pytest.approx(-0.49)
