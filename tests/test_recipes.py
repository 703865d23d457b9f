"""The recipes that come with cgiaa: each one is possible, and the smallest makes a bundle that the program uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cgiaa_models.student import FEATURES
from cgiaa_training.recipe import load_recipe, recipe_names
from conftest import RunCli

from cgiaa_cli import bundles

EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"
STAGES = ("vlap", "attributes", "experts", "fusion", "distill", "export")


def test_there_are_five() -> None:
    assert recipe_names() == ["base", "clip-b16", "dinov3-b16", "siglip2-so400m", "tiny"]


@pytest.mark.parametrize("name", recipe_names())
def test_each_is_possible_and_described(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.description and recipe.export is not None
    assert set(recipe.stages) <= set(STAGES)


def test_a_plan_of_the_tiny_one_leaves_nothing(run_cli: RunCli, tmp_path: Path) -> None:
    planned = run_cli("train", "all", "--recipe", "tiny", "--out", tmp_path / "run", "--dry-run", timeout=600)
    assert planned.returncode == 0, planned.stderr
    assert [line.split()[0] for line in planned.stdout.splitlines()[1:]] == list(STAGES)
    assert not (tmp_path / "run").exists()


def test_the_tiny_one_goes_from_nothing_to_a_bundle_in_use(run_cli: RunCli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    alone = {"OMP_NUM_THREADS": "2"}
    done = run_cli("train", "all", "--recipe", "tiny", "--out", out, env=alone, timeout=600)
    assert done.returncode == 0, done.stderr
    records = {stage: json.loads((out / stage / "results.json").read_text()) for stage in STAGES}
    assert all(record["recipe"] == "tiny" and "train all" in record["command"] for record in records.values())
    assert not list(out.rglob("*.partial*"))
    bundle = bundles.load(str(out / "bundle"))
    assert {"experts", "judge"} <= set(bundle.manifest["text"]) and bundle.manifest["reference"]["quantiles"]
    state = torch.load(out / "distill" / "student.pt", weights_only=True)
    assert state["opinion.weight"][0, FEATURES:].abs().sum() > 0, "the score sees with the tower of vlap"
    assert "# Model card" in (out / "bundle" / "model-card.md").read_text("utf-8")

    ranked = run_cli("rank", EXAMPLES, "--model", out / "bundle", "--format", "json")
    assert ranked.returncode == 0 and len(json.loads(ranked.stdout)) == len(list(EXAMPLES.iterdir()))
    told = run_cli("critique", EXAMPLES / "coffee.jpg", "--model", out / "bundle", "--format", "json")
    assert told.returncode == 0, told.stderr
    attributes = json.loads(told.stdout)[0]["attributes"]
    assert all(a["text"] and a["percentile"] is not None for a in attributes.values())
    assert any(a["dropped"] or a["source"] == "generated" for a in attributes.values())  # the experts have written

    again = run_cli("train", "all", "--recipe", "tiny", "--out", out, env=alone, timeout=600)
    assert again.returncode == 0 and again.stderr.count("done before") == len(STAGES)
    other = ("--recipe", "tiny", "--data", out / "data", "--out", tmp_path / "other")
    assert run_cli("train", "vlap", *other, env=alone, timeout=600).returncode == 0
    record = json.loads((tmp_path / "other" / "vlap" / "results.json").read_text())
    assert record["results"] == records["vlap"]["results"], "the same seed, data and recipe give the same towers"
    towers = [torch.load(run / "vlap" / "vlap.pt", weights_only=True)["state"] for run in (out, tmp_path / "other")]
    assert all(torch.equal(value, towers[1][name]) for name, value in towers[0].items())
