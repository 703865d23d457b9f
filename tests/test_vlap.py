"""Stage 1 on small made-up pairs: what it learns, keeps and reports, and what is made of it for searching."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cgiaa_models.towers import Heads
from cgiaa_training import search, vlap
from cgiaa_training.alignment import cca, ridge
from cgiaa_training.loop import LoopConfig, Run
from cgiaa_training.pairs import PairData, Pairs, Views, view_of
from cgiaa_training.recipe import Recipe
from cgiaa_training.retrieval import PROMPTS, recalls, zero_shot
from cgiaa_training.run import Context
from cgiaa_training.search import JUDGE_TOKENIZER, export_text_tower, head_map, image_map, word_table
from cgiaa_training.vlap import VlapConfig
from PIL import Image

from cgiaa_cli.errors import CgiaaError

COLOURS = {
    "red": (220, 30, 30), "green": (30, 180, 40), "blue": (30, 50, 220), "yellow": (235, 225, 40),
    "black": (10, 10, 10), "white": (245, 245, 245), "orange": (245, 140, 20), "purple": (140, 30, 160),
}  # fmt: skip
LOCKED = VlapConfig(
    image="timm:test_byobnet", text="clip-text:64x1", pretrained=False, heads=Heads(dim=64, text="none"), context=12,
    sets=("pairs.csv",), rated=("pairs.csv",), start="ridge", views=2, loop=LoopConfig(epochs=0),
)  # fmt: skip
FREE = replace(
    LOCKED, heads=Heads(dim=16), start="random", lock_image=False, lock_text=False, image="timm:test_vit", rated=(),
    loop=LoopConfig(epochs=2, batch_size=16, rate=1e-3),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain colours and their names, each five times with noise; of each colour one photo is held out."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    rows = []
    for number, (name, colour) in enumerate([c for c in COLOURS.items() for _ in range(5)]):
        pixels = np.clip(np.array(colour) + rng.normal(0, 12, (48, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
        split = "val" if number % 5 == 4 else "train"
        rows.append({"photo": f"{number}.png", "text": f"a {name} wall", "split": split, "score": sum(colour) / 85})
    with (root / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def _context(config: VlapConfig, data: Path | str, out: Path, say: Callable[[str], None] = lambda _: None) -> Context:
    return Context(Recipe("test", vlap=config), data, out, "cpu", say)


def test_locked_towers_learn_colours_in_closed_form_and_keep_their_features(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    results = vlap.run(_context(LOCKED, data, tmp_path, said.append))
    held = results["held_out"]
    assert (held["pairs"], held["photos"], results["pairs"]) == (8, 8, 32)
    assert held["text_to_image_r1"] >= 0.75 and held["image_to_text_r1"] >= 0.75
    assert held["chance_text_to_image_r1"] == 0.125
    assert results["zero_shot"]["pairs.csv"]["n"] == 40
    assert said == ["vlap: 32 pairs to learn from, 8 held out"]
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "vlap" / "features").iterdir()}
    assert len(kept) == 5  # photos and texts of both parts, and the rated photos
    first = vlap.load(tmp_path / "vlap" / "vlap.pt")
    assert vlap.run(_context(LOCKED, data, tmp_path)) == results
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "a second run reads what the first one kept"
    again = vlap.load(tmp_path / "vlap" / "vlap.pt")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    vlap.run(_context(replace(LOCKED, views=3), data, tmp_path))
    assert len(list((tmp_path / "vlap" / "features").iterdir())) > len(kept), "other views are other features"


def test_what_is_saved_loads_and_places_new_photos(data: Path, tmp_path: Path) -> None:
    vlap.run(_context(LOCKED, data, tmp_path))
    model = vlap.load(tmp_path / "vlap" / "vlap.pt")
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    photos = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)[:, None, None, :].expand(-1, 30, 40, -1)
    image, text = model.encode_image(photos), model.encode_text([f"a {name} wall" for name in COLOURS])
    assert image.shape == text.shape == (8, model.dim)
    assert ((image @ text.T).argmax(1) == torch.arange(8)).float().mean() >= 0.75


def test_free_towers_learn_by_gradient(data: Path, tmp_path: Path) -> None:
    """The loss falls, the temperature moves, and both towers change."""
    config = replace(FREE, loop=replace(FREE.loop, epochs=4))
    torch.manual_seed(0)
    start = vlap._model(config)
    results = vlap.run(_context(config, data, tmp_path))
    model = vlap.load(tmp_path / "vlap" / "vlap.pt")
    with (tmp_path / "vlap" / "log.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]
    assert losses[-1] < 0.9 * losses[0]
    assert results["temperature"] != config.heads.temperature
    for name in ("image", "text"):
        a, b = (next(iter(getattr(m, name).parameters())) for m in (start, model))
        assert not torch.equal(a, b), name


def test_a_run_goes_on_when_the_data_folder_is_spelled_otherwise(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    def stop(model: object, data: object, collate: object, loss: object, run: Run, **_: object) -> None:
        keys.append(run.key)
        raise CgiaaError("enough")

    monkeypatch.setattr(vlap, "fit", stop)
    monkeypatch.chdir(data.parent)
    for root in (data, data.name, f"./{data.name}", f"{data}/../{data.name}/"):
        with pytest.raises(CgiaaError, match="enough"):
            vlap.run(_context(FREE, root, tmp_path))
    assert len(set(keys)) == 1 and keys[0]


def test_gradient_caching_learns_the_same(data: Path, tmp_path: Path) -> None:
    found = []
    for part in (0, 5):
        vlap.run(_context(replace(FREE, part=part), data, tmp_path / str(part)))
        found.append(vlap.load(tmp_path / str(part) / "vlap" / "vlap.pt").state_dict())
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=2e-4, msg=name)


def test_the_plan_counts_both_ways(data: Path, tmp_path: Path) -> None:
    locked = vlap.plan(_context(replace(LOCKED, loop=LoopConfig(epochs=3, batch_size=8)), data, tmp_path))
    free = vlap.plan(_context(FREE, data, tmp_path))
    # two views of each photo to learn from, and the photos held out
    assert (locked.samples, locked.steps, free.samples, free.steps) == (32 * 2 + 8, 12, 32, 4)
    assert 0 < locked.trained < 0.01 * free.trained and free.trained == free.parameters
    assert not (tmp_path / "vlap").exists()


def test_impossible_settings_are_all_told() -> None:
    assert VlapConfig().faults() == [] == LOCKED.faults() == FREE.faults()
    wrong = VlapConfig(
        image="clip", sets=(), held_out=1, least_side=0.5, resize="stretch", strength=0, start="cca", lock_text=False,
        unlock_text=2, heads=Heads(text="none"), views=0,
    )  # fmt: skip
    assert wrong.faults() == [
        "image 'clip' must be open_clip:NAME or timm:NAME or cgiaa:NAME",
        "views must be 1 or more",
        "sets must name one at least",
        "held_out must lie between 0 and 1",
        "least_side must lie in 0.8..1: a closer crop is another photo",
        "resize must be one of squeeze, cut",
        "strength must be above 0",
        "start cca needs both towers locked whole",
        "start cca needs heads.text linear or mlp",
        "unlock_text has no meaning without lock_text",
    ]


def test_what_is_no_pair_and_what_cannot_be_read(data: Path, tmp_path: Path) -> None:
    for name, rows in (("few", "photo,text\n0.png,a wall\n"), ("none", "photo,score\n0.png,3\n1.png,4\n")):
        (data / f"{name}.csv").write_text(rows)
    with pytest.raises(CgiaaError, match=r"1 pairs to learn from and 0 held out are too few|0 pairs .* and 1 held out"):
        vlap.run(_context(replace(LOCKED, sets=("few.csv",)), data, tmp_path))
    with pytest.raises(CgiaaError, match=r"the set 'none\.csv' has no photos with texts"):
        vlap.run(_context(replace(LOCKED, sets=("none.csv",)), data, tmp_path))
    (data / "broken.png").write_bytes((data / "0.png").read_bytes()[:500])
    (data / "broken.csv").write_text(
        "photo,text,split\n" + "broken.png,a,train\n1.png,b,train\n2.png,c,val\n3.png,d,val\n"
    )
    with pytest.raises(CgiaaError, match=r"broken\.png: .* too early; run cgiaa train data check"):
        vlap.run(_context(replace(LOCKED, sets=("broken.csv",)), data, tmp_path))
    assert not (tmp_path / "vlap" / "vlap.pt").exists()
    junk = tmp_path / "junk.pt"
    torch.save({"format": 9}, junk)
    with pytest.raises(CgiaaError, match=r"junk\.pt: not a pair of towers \(ValueError\)"):
        vlap.load(junk)


# --- views --------------------------------------------------------------------------------------------------------


def test_views_keep_what_a_critique_says_true() -> None:
    views = Views(least_side=0.85, flip=True, count=20, seed=3)
    assert views.draw(5, 0, True) == (0, 0, 1, 1, False)
    assert views.draw(5, 1, True) == (0, 0, 1, 1, True)
    drawn = [views.draw(photo, view, True) for photo in range(20) for view in range(2, 20)]
    assert all(x >= 0 and r <= 1 and y >= 0 and b <= 1 for x, y, r, b, _ in drawn)
    sides = np.array([(r - x, b - y) for x, y, r, b, _ in drawn])
    assert 0.85 <= sides.min() < 0.87 and 0.98 < sides.max() <= 1
    assert 0.3 < np.mean([mirrored for *_, mirrored in drawn]) < 0.7
    assert not any(views.draw(1, view, False)[4] for view in range(20))
    assert not any(replace(views, flip=False).draw(1, view, True)[4] for view in range(20))


def test_a_view_is_cut_resized_and_mirrored_as_drawn() -> None:
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[:, :40] = 200  # the left half is light
    whole = view_of(frame, (10, 10), "squeeze", (0, 0, 1, 1, False))
    assert whole.shape == (10, 10, 3) and whole[:, :4].min() > 190 and whole[:, 6:].max() < 10
    assert np.array_equal(view_of(frame, (10, 10), "squeeze", (0, 0, 1, 1, True)), whole[:, ::-1])
    assert view_of(frame, (10, 10), "squeeze", (0, 0, 0.5, 1, False))[:, :-1].min() == 200
    frame[:, 20:60] = 120  # the middle square
    assert np.unique(view_of(frame, (10, 10), "cut", (0, 0, 1, 1, False))[:, 1:-1]).tolist() == [120]


def test_a_text_that_says_left_or_right_is_never_seen_mirrored(data: Path) -> None:
    model = vlap._model(LOCKED)
    pairs = Pairs(["a", "b"], ["a boat on the Left", "a boat"], [0, 1])
    views = Views(flip=True, count=30)
    set_ = PairData(model, pairs, views)
    marks = [[float(views.draw(p, v, True)[4]) for v in range(30)] for p in (0, 1)]
    set_.features = {"image": np.array(marks, np.float32)[..., None], "text": np.zeros((2, 1), np.float32)}
    seen: list[list[float]] = [[], []]
    for epoch in range(40):
        set_.set_epoch(epoch)
        for index in (0, 1):
            seen[index].append(float(set_[index]["image_features"][0]))
    assert set(seen[0]) == {0.0} and set(seen[1]) == {0.0, 1.0}
    first = [set_[1]["image_features"][0] for _ in range(5)]
    assert len(set(first)) == 1, "the same epoch and pair give the same view"


def test_texts_on_one_photo_share_a_group(data: Path) -> None:
    from cgiaa_training.manifest import Sample

    samples = [Sample(str(i), image, "", text) for i, (image, text) in enumerate([("x", "1"), ("y", "2"), ("x", "3")])]
    assert Pairs.of(samples) == Pairs(["x", "y"], ["1", "2", "3"], [0, 1, 0])


# --- measures -----------------------------------------------------------------------------------------------------


def test_recall_of_a_known_order() -> None:
    image = np.eye(4)
    text = np.array([[1, 0, 0, 0], [0.9, 0.1, 0, 0], [0, 0, 1, 0], [0.4, 0.3, 0.2, 0.1]])  # of photos 0, 1, 2, 3
    found = recalls(image, text, [0, 1, 2, 3])
    assert found["text_to_image_r1"] == 0.5 and found["text_to_image_r5"] == 1
    assert found["image_to_text_r1"] == 0.75  # the second photo is nearer to the fourth text
    assert found["chance_text_to_image_r1"] == 0.25 and found["chance_text_to_image_r5"] == 1


def test_recall_with_several_texts_a_photo_and_with_ties() -> None:
    image = np.eye(2)
    text = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    found = recalls(image, text, [0, 0, 1, 1])
    assert found["text_to_image_r1"] == 0.75  # the second text lies at the wrong photo
    assert found["image_to_text_r1"] == 0.5  # a wrong text ties with the second photo's own
    assert found["chance_image_to_text_r1"] == 0.5
    same = recalls(np.ones((5, 3)), np.ones((5, 3)), range(5))
    assert same["text_to_image_r1"] == 0 == same["image_to_text_r1"], "a space that tells nothing apart finds nothing"


def test_zero_shot_follows_the_prompts() -> None:
    class Fake:
        scale = torch.tensor(10.0)

        def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
            good = {pair[0] for pair in PROMPTS}
            return torch.tensor([[1.0, 0.0] if text in good else [0.0, 1.0] for text in texts])

    angle = np.linspace(0, math.pi / 2, 9)
    photos = np.stack([np.cos(angle), np.sin(angle)], 1)
    found: Any = zero_shot(Fake(), photos, -angle)  # type: ignore[arg-type]
    assert found["srcc"] == 1 and found["n"] == 9
    assert zero_shot(Fake(), photos, angle)["srcc"] == -1  # type: ignore[arg-type]


# --- closed form --------------------------------------------------------------------------------------------------


def test_ridge_and_canonical_correlations_find_a_known_map() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6))
    x -= x.mean(0)
    true = rng.normal(size=(3, 6))
    np.testing.assert_allclose(ridge(x, x @ true.T, 1e-9), true, atol=1e-5)
    assert np.linalg.norm(ridge(x, x @ true.T, 10)) < 0.5 * np.linalg.norm(true)
    noise = rng.normal(size=(400, 4))
    y = np.concatenate([x[:, :2] @ rng.normal(size=(2, 2)), noise - noise.mean(0)], 1)
    a, b, found = cca(x, y, 8, 1e-6)
    np.testing.assert_allclose(found[:2], 1, atol=1e-3)
    assert found[2] < 0.3 and a.shape == (8, 6) and b.shape == (8, 6)
    u, v = x @ a.T, y @ b.T
    np.testing.assert_allclose(u[:, :2], v[:, :2], atol=1e-2)
    assert np.linalg.norm(u[:, 2:]) < np.linalg.norm(u[:, :2]), "what does not correlate counts for little"


# --- for searching ------------------------------------------------------------------------------------------------


def test_the_text_tower_as_onnx_and_the_map_for_photos(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlap.run(_context(LOCKED, data, tmp_path))
    model = vlap.load(tmp_path / "vlap" / "vlap.pt")
    says = export_text_tower(model, tmp_path / "search")
    assert says["parity"] < 1e-5 and says["dim"] == 64 and says["context"] == 12
    assert sorted(p.name for p in (tmp_path / "search").iterdir()) == ["text-tokenizer.json", "text.json", "text.onnx"]
    features = np.load(next((tmp_path / "vlap" / "features").glob("train-image-*.npy")))[:, 0]
    with torch.inference_mode():
        expected = model.place_image(torch.from_numpy(features)).numpy()
    weight, bias = head_map(model)
    placed = features @ weight.T + bias
    np.testing.assert_allclose(placed / np.linalg.norm(placed, axis=1, keepdims=True), expected, atol=1e-4)
    turned = features @ np.linalg.qr(np.random.default_rng(0).normal(size=(features.shape[1],) * 2))[0]
    weight, bias = image_map(turned, expected, 1e-6)
    placed = turned @ weight.T + bias
    cosines = (placed * expected).sum(1) / np.linalg.norm(placed, axis=1)
    assert cosines.min() > 0.95
    network = (tmp_path / "search" / "text.onnx").read_bytes()
    monkeypatch.setattr(search, "_to_onnx", lambda *_, **__: network)  # that of another head now
    model.text_head.fit_scale(torch.randn(50, 64, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(CgiaaError, match=r"ONNX Runtime differs from torch by .* in text\.onnx"):
        export_text_tower(model, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_table_of_words_stands_in_for_the_text_tower(data: Path, tmp_path: Path) -> None:
    vlap.run(_context(LOCKED, data, tmp_path))
    model = vlap.load(tmp_path / "vlap" / "vlap.pt")
    learnt, _ = vlap.pairs(_context(LOCKED, data, tmp_path))
    table, basis = word_table(model, learnt.texts, 6)
    assert basis.shape == (6, model.dim) and table.words.embedding_dim == 6
    texts = sorted(set(learnt.texts))
    with torch.inference_mode():
        whole = model.encode_text(texts).numpy() @ basis.T
        said = table(*model.text.tokens(texts)).numpy()
        nothing = table(*model.text.tokens([""])).numpy()
    np.testing.assert_allclose(np.linalg.norm(said, axis=1), 1, atol=1e-5)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    assert ((said @ whole.T).argmax(1) == np.arange(len(texts))).all(), "each text is nearest to itself"
    assert np.isfinite(nothing).all()
    says = export_text_tower(model, tmp_path / "search", texts, table)
    assert says["dim"] == 6 and says["parity"] < 1e-5 and "tokenizer" not in says
    shared = tmp_path / "both" / JUDGE_TOKENIZER
    shared.parent.mkdir()
    shared.write_text(model.text.tokens.description["json"])
    says = export_text_tower(model, shared.parent, texts, table)
    assert says["tokenizer"] == JUDGE_TOKENIZER and not (shared.parent / "text-tokenizer.json").exists()
    assert (shared.parent / "text.onnx").stat().st_size < (tmp_path / "vlap" / "vlap.pt").stat().st_size


def test_a_head_with_a_hidden_layer_is_no_map() -> None:
    with pytest.raises(CgiaaError, match="an image head 'mlp' is no linear map"):
        head_map(vlap._model(replace(LOCKED, heads=Heads(dim=64, image="mlp", text="none"))))
