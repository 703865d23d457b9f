"""MAP: the head, the distributions it learns from, and the stage with towers that are simple arithmetic."""

from __future__ import annotations

import json
import re
import types
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cgiaa_models.fusion import Fusion, FusionShape
from cgiaa_models.towers import Heads
from cgiaa_training import experts, fusion, synthetic, vlap
from cgiaa_training.fusion import FusionConfig, load, plan, predict, run, spread_out
from cgiaa_training.loop import LoopConfig
from cgiaa_training.recipe import Recipe
from cgiaa_training.run import Context
from cgiaa_training.vlap import VlapConfig
from torch import Tensor, nn
from torch.nn.functional import normalize

from cgiaa_cli.errors import CgiaaError, UsageError

WORDS = {"dark": 0, "underexposed": 0, "blown": 1, "overexposed": 1, "grey": 2, "vivid": 3, "tilted": 4, "centre": 5}
LOOP = LoopConfig(epochs=30, batch_size=32, rate=3e-3, save_every=1000)


class Arithmetic(nn.Module):
    """Stands for the towers: a photo is its colours in a grid, a text the words it has."""

    dim = 48

    def __init__(self) -> None:
        super().__init__()
        self.image = types.SimpleNamespace(size=(4, 4))

    def encode_image(self, photo: Tensor) -> Tensor:
        return normalize(photo.float().flatten(1) / 255 + 0.1, dim=1)

    def encode_text(self, texts: list[str]) -> Tensor:
        found = torch.full((len(texts), self.dim), 0.1)
        for i, text in enumerate(texts):
            for word in re.findall("[a-z]+", text.lower()):
                found[i, WORDS.get(word, 6 + sum(map(ord, word)) % (self.dim - 6))] += 1
        return normalize(found, dim=1)


@dataclass(frozen=True)
class Nothing:
    """Configuration of a stage that is done."""

    resize: str = "squeeze"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    synthetic.make(folder, 120, 0)
    return folder


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Towers and experts that are simple; the photos that the experts were asked about."""
    asked: list[str] = []

    def write(context: Context, images: list[str], features: np.ndarray) -> list[dict[str, str]]:  # type: ignore[type-arg]
        assert features.shape == (len(images), Arithmetic.dim)
        asked.extend(images)
        return [{"color_light": "far too dark", "general": "a good picture"} for _ in images]

    monkeypatch.setattr(vlap, "load", lambda _: Arithmetic())
    monkeypatch.setattr(experts, "write", write)
    return asked


def context(data: Path, out: Path, **others: object) -> Context:
    config = FusionConfig(rated=("tiny-photos",), critiques="tiny-critiques", hidden=0, dropout=0.2, loop=LOOP)
    recipe = Recipe("x", vlap=Nothing(), experts=Nothing(), fusion=replace(config, **others))  # type: ignore[arg-type]
    found = Context(recipe, data, out)
    for stage in ("vlap", "experts"):
        record = {"fingerprint": recipe.fingerprint(stage), "results": {}}
        (found.folder(stage) / "results.json").write_text(json.dumps(record))
    (found.folder("vlap") / "vlap.pt").write_bytes(b"towers")
    return found


# --- the head ----------------------------------------------------------------------------------------------------


def features(count: int = 20) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(count, 6), torch.randn(count, 4, 6)


@pytest.mark.parametrize("hidden", [0, 8])
def test_the_head_gives_distributions_and_its_gradient_reaches_everything(hidden: int) -> None:
    head = Fusion(FusionShape(6, hidden=hidden))
    found = head(*features())
    assert found.shape == (20, 10) and torch.allclose(found.sum(1), torch.ones(20)) and (found > 0).all()
    found[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_ablations_do_not_see_what_they_must_not() -> None:
    image, texts = features()
    only_image, only_text = Fusion(FusionShape(6, text=False)), Fusion(FusionShape(6, image=False))
    assert torch.equal(only_image(image, texts), only_image(image, texts.flip(0)))
    assert not torch.equal(only_image(image, texts), only_image(image.flip(0), texts))
    assert torch.equal(only_text(image, texts), only_text(image.flip(0), texts))
    assert not torch.equal(only_text(image, texts), only_text(image, texts.flip(0)))
    with pytest.raises(ValueError, match="the photo, the critiques, or both"):
        Fusion(FusionShape(6, image=False, text=False))


def test_a_missing_critique_counts_as_the_average_one() -> None:
    image, texts = features()
    head = Fusion(FusionShape(6))
    head.fit_scale(image, texts)
    missing, average = texts.clone(), texts.clone()
    missing[:, 2], average[:, 2] = 0, texts[:, 2].mean(0)
    assert torch.allclose(head(image, missing), head(image, average), atol=1e-6)


def test_made_distributions_have_the_mean_and_about_the_spread() -> None:
    means = np.array([1.0, 1.5, 4.2, 5.5, 9.9, 10.0])
    found = spread_out(means, 1.4)
    levels = np.arange(1, 11)
    assert np.allclose(found.sum(1), 1) and (found >= 0).all()
    assert np.allclose(found @ levels, np.clip(means, 1.02, 9.98), atol=1e-3)
    spread = np.sqrt(found @ levels**2 - (found @ levels) ** 2)
    assert np.allclose(spread[2:4], 1.4, atol=0.1) and (spread[[0, 5]] < 0.5).all()


# --- the stage ---------------------------------------------------------------------------------------------------


def test_map_learns_from_photo_and_critiques_and_is_measured_on_held_out_photos(
    data: Path, tmp_path: Path, written: list[str]
) -> None:
    where = context(data, tmp_path)
    results = run(where)
    whole = results["tiny-photos test"]
    assert whole["n"] == 24 and results["trained on"] == 72 and results["critiques"] == "tiny-critiques"
    assert whole["srcc"] == results["srcc"] > 0.6  # the critiques are true of the photos
    assert whole["srcc"] > results["tiny-photos test, image only"]["srcc"]
    for name in ("srcc", "plcc", "accuracy", "emd"):
        low, high = whole[f"{name}_95"]
        assert low <= whole[name] <= high
    assert results["tiny-photos test, text only"]["srcc"] != whole["srcc"]
    assert not written
    head = load(tmp_path / "fusion" / "fusion.pt")
    assert head.shape == FusionShape(48, 4, 0, 0.2)


def test_the_experts_write_once(data: Path, tmp_path: Path, written: list[str]) -> None:
    where = context(data, tmp_path, critiques="", ablations=False, loop=replace(LOOP, epochs=1))
    results = run(where)
    assert len(written) == len(set(written)) == 120 and results["critiques"] == "experts"
    assert set(results) == {"srcc", "trained on", "critiques", "tiny-photos test"}
    run(where)
    assert len(written) == 120
    kept = next((tmp_path / "fusion" / "features").glob("*.jsonl")).read_text().splitlines()
    assert json.loads(kept[0])["color_light"] == "far too dark" and len(kept) == 120
    (tmp_path / "vlap" / "vlap.pt").write_bytes(b"other towers")
    run(where)
    assert len(written) == 240  # features of other towers are no use
    photos = sorted(map(str, (data / "photos").glob("*.jpg")))[:5]
    found = predict(where, photos, "others")
    assert found.shape == (5, 10) and np.allclose(found.sum(1), 1, atol=1e-5) and written[-5:] == photos


def test_the_same_seed_gives_the_same_head(data: Path, tmp_path: Path, written: list[str]) -> None:
    runs = [context(data, tmp_path / name, ablations=False) for name in ("one", "two", "other")]
    runs[2] = replace(runs[2], recipe=replace(runs[2].recipe, seed=1))
    for stage in ("vlap", "experts"):
        record = {"fingerprint": runs[2].recipe.fingerprint(stage), "results": {}}
        (runs[2].folder(stage) / "results.json").write_text(json.dumps(record))
    first, second, other = (run(where) for where in runs)
    assert first == second != other
    heads = [torch.cat([p.flatten() for p in fusion.load(r.folder("fusion") / "fusion.pt").parameters()]) for r in runs]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_a_set_with_means_only_and_no_split_gets_both(data: Path, tmp_path: Path, written: list[str]) -> None:
    rows = ["photo,score", *(f"{data}/photos/{i:05}.jpg,{1 + i % 7}" for i in range(60))]
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    where = context(
        data, tmp_path / "run", rated=(str(tmp_path / "mine.csv"),), critiques="", held_out=0.3, ablations=False
    )
    results = run(where)
    assert 5 < results["mine test"]["n"] < 35 and results["mine test"]["n"] + results["trained on"] == 60


def test_a_broken_photo_is_named(data: Path, tmp_path: Path, written: list[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (tmp_path / "mine.csv").write_text(f"photo,score\na.jpg,5\n{data}/photos/00000.jpg,5\n")
    where = context(data, tmp_path / "run", rated=(str(tmp_path / "mine.csv"),), critiques="")
    with pytest.raises(CgiaaError, match=r"a\.jpg: .*; put it back, or leave out"):
        run(where)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(CgiaaError, match=r"a\.jpg: no such photo; put it back, or leave out"):
        run(where)


def test_critiques_of_other_photos_are_refused(data: Path, tmp_path: Path, written: list[str]) -> None:
    (tmp_path / "texts.csv").write_text("photo,text,attribute\nz.jpg,too dark,color_light\n")
    where = context(data, tmp_path / "run", critiques=str(tmp_path / "texts.csv"))
    with pytest.raises(CgiaaError, match="no critique of these photos"):
        run(where)


def test_the_earlier_stage_must_be_done(data: Path, tmp_path: Path, written: list[str]) -> None:
    where = context(data, tmp_path)
    (tmp_path / "vlap" / "results.json").unlink()
    with pytest.raises(CgiaaError, match="the stage 'vlap' is not done; run: cgiaa train vlap"):
        run(where)


def test_a_recipe_without_critiques_is_refused(data: Path, tmp_path: Path) -> None:
    recipe = Recipe("x", vlap=Nothing(), fusion=FusionConfig(rated=("tiny-photos",)))
    with pytest.raises(UsageError, match=r"needs critiques; give the recipe a section \[experts\]"):
        run(Context(recipe, data, tmp_path))
    with pytest.raises(UsageError, match=r"needs the towers of vlap; give the recipe a section \[vlap\]"):
        plan(Context(replace(recipe, vlap=None), data, tmp_path))


def test_the_plan_counts_photos_critiques_and_heads(data: Path, tmp_path: Path) -> None:
    towers = VlapConfig(image="timm:resnet18", text="clip-text:64x2", pretrained=False, heads=Heads(dim=32))
    config = FusionConfig(rated=("tiny-photos",), loop=replace(LOOP, epochs=2))
    whole = plan(Context(Recipe("x", vlap=towers, experts=Nothing(), fusion=config), data, tmp_path))
    assert whole.samples == 120 and whole.steps == 3 * 2 * (72 // 32)  # three heads
    assert whole.trained == 5 * 32 * 512 + 512 + 512 * 10 + 10 and whole.parameters > 11e6
    alone = replace(config, ablations=False)
    fewer = plan(Context(Recipe("x", vlap=towers, experts=Nothing(), fusion=alone), data, tmp_path))
    assert fewer.steps == whole.steps / 3 and fewer.seconds < whole.seconds


def test_impossible_settings_are_all_named() -> None:
    faults = FusionConfig(held_out=1, spread=9, dropout=-0.1, rank_weight=-1).faults()
    assert len(faults) == 5 and not FusionConfig(rated=("a",)).faults()


def test_what_is_no_head_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "fusion.pt").write_bytes(b"no")
    with pytest.raises(CgiaaError, match=r"fusion\.pt: not a fusion head"):
        load(tmp_path / "fusion.pt")


def test_the_rank_loss_counts_when_asked_for() -> None:
    image, texts = features()
    batch = {"image": image, "texts": texts, "target": torch.full((20, 10), 0.1)}
    batch["target"][:10] = torch.eye(10)[8]
    head = Fusion(FusionShape(6))
    plain, _ = fusion._loss(FusionConfig())(head, batch)
    ranked, parts = fusion._loss(FusionConfig(rank_weight=0.5))(head, batch)
    assert ranked.item() == pytest.approx(parts["emd"] + 0.5 * parts["rank"]) and ranked.item() > plain.item()
