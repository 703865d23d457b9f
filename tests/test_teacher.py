"""A language model teaches the experts: it learns critiques, writes more, and only what passes the checks is learnt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cgiaa_training import teacher
from cgiaa_training.expert_data import level_edges, make_plans
from cgiaa_training.experts import ExpertsConfig
from cgiaa_training.loop import LoopConfig
from cgiaa_training.run import Context
from cgiaa_training.teacher import TeacherConfig, lessons, spelled
from cgiaa_training.units import Unit, common_words, make_units
from conftest import write_tiny_llama
from test_expert import sayings

from cgiaa_cli.critique.prompt import ATTRIBUTES, Prompt
from cgiaa_cli.errors import CgiaaError


class Judge:
    """Knows the sayings of `test_expert`: which attribute, and whether they praise."""

    def to(self, _: str) -> Judge:
        return self

    def judge(self, texts: list[str]) -> Any:
        signs = (("light", "dark", "exposure"), ("composition", "horizon"), ("sharp", "focus"), ("moving", "interest"))
        about = np.full((len(texts), 5), 0.01, np.float32)
        for row, text in zip(about, texts, strict=True):
            row[next((i for i, words in enumerate(signs) if any(w in text for w in words)), 4)] = 0.9
        bad = ("dark", "tilted", "out of focus", "does not")
        return about, np.array([3.0 if any(b in t for b in bad) else 9.0 for t in texts], np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("model"), [c.text for c in sayings()])


@pytest.fixture
def context(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    torch.set_num_threads(1)
    monkeypatch.setattr(teacher, "load_judge", lambda _: Judge())
    loop = LoopConfig(epochs=40, batch_size=16, rate=4e-3)
    config = TeacherConfig(str(model), layers=2, texts=96, temperature=0.5, likeliest=0.9, loop=loop)
    recipe = SimpleNamespace(experts=ExpertsConfig(common=2, teacher=config), seed=0)
    said: list[str] = []
    return Context(recipe, tmp_path, tmp_path, say=said.append)  # type: ignore[arg-type]


def taught(context: Context) -> tuple[list[Unit], dict[str, Any], list[Unit]]:
    critiques = sayings()
    common = common_words(critiques, 2)
    units, _ = make_units(critiques, level_edges(critiques), common)
    plain = [unit for unit in units if not unit.prompt.traits]
    return *lessons(context, plain, make_plans(units), level_edges(critiques), common), plain


def test_what_it_writes_is_checked_and_carries_what_it_states(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    units, about, plain = taught(context)
    critics = [unit for unit in units if not unit.source.photo.startswith("teacher ")]
    written = [unit for unit in units if unit not in critics]
    assert about["asked"] == len(plain) + 96 and about["of the teacher"] == len(written) >= 1
    assert about["of critics"] == len(critics) > 1 and all(unit in plain for unit in critics)
    assert sum(about["dropped"].values()) + len(units) == about["asked"]
    for unit in written:
        topic, praise = Judge().judge([unit.text])
        assert not unit.prompt.traits and ATTRIBUTES[int(topic[0].argmax())] == unit.prompt.attribute
        assert (unit.prompt.level > 5) == (praise[0] > 5), "the level is what the judge says"
    assert len({unit.text.lower() for unit in units}) == len(units)
    folder = context.folder("experts") / "teacher"
    assert not (folder / "checkpoints").exists(), "they are large, and done with"

    monkeypatch.setattr(teacher, "_learn", lambda *_: pytest.fail("it learns again"))
    again, _, _ = taught(context)
    assert [u.text for u in again] == [u.text for u in units]
    path = folder / "written-000000.json"
    path.write_text(json.dumps([["The picture is far too dark for the challenge."] * 96, [-1.0] * 96]))
    without, about, _ = taught(context)
    assert about["of the teacher"] == 0 and len(without) == about["of critics"]
    assert about["dropped"]["duplicate"] == 95 and about["dropped"]["foreign"] == 1


def test_the_likeliest_share_of_each_attribute_is_kept() -> None:
    found = [("general", -4.0 + i) for i in range(4)] + [("composition", -40.0), ("composition", -30.0)]
    least = teacher._least(found, 0.5)
    assert [value for name, value in found if value >= least[name]] == [-2.0, -1.0, -30.0]


def test_only_the_upper_layers_learn(context: Context, model: Path) -> None:
    pupil = teacher._Pupil(teacher.open_model(str(model))[0], 1)
    names = {name for name, weight in pupil.named_parameters() if weight.requires_grad}
    assert names and all(".layers.1." in name for name in names)


def test_a_prompt_in_words() -> None:
    prompt = Prompt("depth_focus", 3, "short", (("sharpness", "soft"), ("tilt", "")))
    assert spelled(prompt) == "Critique of a photo: depth focus, 3 of 10, short, sharpness soft.\n"


def test_a_model_that_cannot_be_had_is_named(context: Context, tmp_path: Path) -> None:
    for name, why in (("wheel:no-such-package", "no-such-package"), (str(tmp_path / "none"), "cannot be had")):
        config = replace(context.recipe.experts.teacher, model=name)
        context.recipe.experts = replace(context.recipe.experts, teacher=config)
        with pytest.raises(CgiaaError, match=why):
            taught(context)


def test_all_faults_of_a_teacher_at_once() -> None:
    faults = TeacherConfig(layers=0, texts=0, likeliest=0.0, top_k=0, temperature=0.0).faults()
    assert [fault.split()[0] for fault in faults] == ["layers", "texts", "top_k", "likeliest", "temperature"]


def test_what_it_learned_it_finds_likelier(context: Context) -> None:
    _, _, plain = taught(context)
    network, tokenizer = teacher._learn(context, plain, context.folder("experts") / "again")
    asked, said = [u.prompt for u in plain], [u.text for u in plain]
    odd = [" ".join(reversed(text.split())) for text in said]
    likely, unlikely = (teacher._likelihoods(network, tokenizer, asked, texts) for texts in (said, odd))
    assert (likely > unlikely).mean() > 0.9 and likely.max() <= 0


def test_what_follows_the_end_is_no_part_of_the_text(
    context: Context, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, tokenizer = teacher.open_model(str(model))
    text, end = tokenizer("The horizon is tilted.")["input_ids"], tokenizer.eos_token_id
    rows = torch.tensor([[*text, end, *text], [*text, *text, text[0]]])
    monkeypatch.setattr(network, "generate", lambda input_ids, **_: torch.cat((input_ids, rows), 1))
    config = context.recipe.experts.teacher
    assert teacher._say(network, tokenizer, [Prompt("general")] * 2, config) == ["The horizon is tilted.", ""]
