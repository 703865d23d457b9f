"""The model that comes with the program: whole, small enough, as documented, and sensible on real photos."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import RunCli
from PIL import Image, ImageFilter

from cgiaa_cli import bundles
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.imaging.preprocess import prepare
from cgiaa_cli.inference.engine import Engine
from cgiaa_cli.inference.scores import Scores

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "photos"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(bundles.load("default"), "cpu")


def _score(engine: Engine, *images: Image.Image) -> list[Scores]:
    import io

    inputs = []
    for image in images:
        data = io.BytesIO()
        image.save(data, "JPEG", quality=95)
        inputs.append(prepare(decode(data.getvalue())))
    return engine.run(inputs)


def test_it_is_whole_and_at_most_40_mb() -> None:
    bundle = bundles.load("default")
    assert sum(file.stat().st_size for file in bundle.folder.rglob("*")) <= 40_000_000
    for entry in (*bundle.manifest["training_data"], *bundle.manifest["weights"]):
        assert entry["name"] and entry["licence"] and entry["use"]


def test_the_model_card_quotes_the_bundles_own_results() -> None:
    card = (ROOT / "docs" / "model-card.md").read_text("utf-8")
    results = bundles.load("default").results
    assert results
    for name, result in results.items():
        line = next(line for line in card.splitlines() if line.startswith(f"| {name} |"))
        key = next(k for k in ("srcc", "accuracy", "mean", "color_light") if k in result)
        assert f"{result[key]:.3f}" in line, line


def test_a_batch_scores_as_one_photo_does(engine: Engine) -> None:
    images = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.glob("*.jpg"))[:3]]
    together, alone = _score(engine, *images), [_score(engine, image)[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-3)
        assert one.technical == pytest.approx(other.technical, abs=1e-3)
        assert 1 <= one.score <= 10 and abs(sum(one.distribution) - 1) < 1e-6
        assert all(1 <= value <= 10 for value in one.attributes.values())


@pytest.mark.parametrize("name", ["coffee", "cat", "astronaut", "rocket-launch"])
def test_damage_lowers_what_it_damages(engine: Engine, name: str) -> None:
    image = Image.open(EXAMPLES / f"{name}.jpg").convert("RGB")
    blurred = image.filter(ImageFilter.GaussianBlur(4))
    dark = image.point(lambda v: v * 0.25)
    intact, soft, dim = _score(engine, image, blurred, dark)
    assert soft.technical < intact.technical
    assert soft.attributes["depth_focus"] < intact.attributes["depth_focus"]
    assert dim.attributes["color_light"] < intact.attributes["color_light"]


def test_the_examples_are_ranked_with_it(run_cli: RunCli) -> None:
    done = run_cli("rank", EXAMPLES, "--format", "json", env={"CGIAA_MODEL": None})
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    names = [Path(row["path"]).stem for row in rows]
    assert len(names) == len(list(EXAMPLES.glob("*.jpg")))
    assert rows == sorted(rows, key=lambda row: -row["score"])
    assert names.index("coffee") < names.index("clock-shaken")


def test_it_finds_photos_by_words(run_cli: RunCli, tmp_path: Path) -> None:
    for words, wanted in (("a cup of coffee on a table", "coffee.jpg"), ("a cat", "cat.jpg"), ("grass", "grass.jpg")):
        db = tmp_path / "cache.sqlite"
        done = run_cli("search", words, EXAMPLES, "--top", "1", "--format", "paths", "--db", db, "--model", "default")
        assert done.returncode == 0 and done.stdout.strip().endswith(wanted), words


def test_its_experts_write_and_without_candidates_all_is_measured(run_cli: RunCli, tmp_path: Path) -> None:
    def sources(*options: str) -> set[str]:
        db = ("--db", tmp_path / "cache.sqlite", "--model", "default", "--format", "json")
        done = run_cli("critique", EXAMPLES / "coffee.jpg", EXAMPLES / "cat.jpg", *options, *db)
        assert done.returncode == 0, done.stderr
        return {part["source"] for row in json.loads(done.stdout) for part in row["attributes"].values()}

    assert "generated" in sources()
    assert sources("--candidates", "0") == {"measured"}
