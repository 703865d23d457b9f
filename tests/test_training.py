"""The training side with small data of our own: labels, tuning, export, evaluation. No downloads, no GPU."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from cgiaa_models.student import ASPECT, COMPONENTS, EARLY, FEATURES, JUDGE, LATE, Student, Towers, tilted
from cgiaa_models.towers import Wide
from cgiaa_training import distill as distill_stage
from cgiaa_training import evaluate as evaluation
from cgiaa_training import export, ridge
from cgiaa_training import features as features_of
from cgiaa_training.damage import DAMAGES
from cgiaa_training.data import CropEdit, crops, iou, load_photo, photo_from_array, rated
from cgiaa_training.distill import DistillConfig, distill
from cgiaa_training.fusion import FusionConfig
from cgiaa_training.heads import Strengths, fit_kernel
from cgiaa_training.loop import LoopConfig, Run
from cgiaa_training.metrics import correlations, emd, interval
from cgiaa_training.recipe import Recipe
from cgiaa_training.ridge import Ridge, out_of_fold
from cgiaa_training.run import Context
from cgiaa_training.synthetic import make
from cgiaa_training.tune import Lesson, tune
from conftest import RunCli, picture, write_tiny_bundle

from cgiaa_cli import bundles
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.imaging.preprocess import batch, prepare
from cgiaa_cli.inference.engine import Engine


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(0)
    made = Student(crop=True).eval().requires_grad_(False)
    assert made.crop is not None
    made.crop.project.normal_()
    made.crop.prior.fill_(0.5)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sets in the layout of docs/training.md: brighter scenes are rated higher, as the small bundle thinks."""
    root = tmp_path / "data"
    _rated_set(root / "oasis_scenes", "beauty_mean_1_7", [0.15, 0.3, 0.45, 0.6, 0.7], {}, unit=10)
    columns = {"split": "test"}
    for subset in ("ss01", "ss02", "ss03"):
        _rated_set(root / "biq2021", "mos_0_1", [0.2, 0.4, 0.6, 0.7], {**columns, "subset": subset})
    _rated_set(root / "savoias", "complexity_0_100", [0.3, 0.5, 0.7], columns)
    (root / "fcdb" / "images").mkdir(parents=True)
    half_dark = np.asarray(picture(9, 0.6)).copy()
    half_dark[:, :160] //= 8
    from PIL import Image

    Image.fromarray(half_dark).save(root / "fcdb" / "images" / "a.jpg", quality=95)
    row = {"file": "a.jpg", "width": 320, "height": 240, "split": "test", "best_crop_xywh": [128, 0, 192, 240]}
    left, right = [0, 0, 150, 240], [170, 0, 150, 240]
    row["pairs"] = [
        {"crop_a_xywh": right, "crop_b_xywh": left, "votes_a": 5, "votes_b": 0},
        {"crop_a_xywh": left, "crop_b_xywh": right, "votes_a": 0, "votes_b": 5},
        {"crop_a_xywh": left, "crop_b_xywh": right, "votes_a": 3, "votes_b": 2},  # too close to count
    ]
    (root / "fcdb" / "labels.json").write_text(json.dumps([row]))
    return root


def _rated_set(folder: Path, label: str, levels: list[float], columns: dict[str, str], unit: float = 1) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    labels = folder / "labels.csv"
    old = []
    if labels.exists():
        with labels.open(newline="") as file:
            old = list(csv.DictReader(file))
    rows = []
    for level in levels:
        name = f"{len(old) + len(rows)}.jpg"
        picture(len(rows), level).save(folder / "images" / name, quality=92)
        rows.append({"file": name, label: str(level * unit), **columns})
    with labels.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*old, *rows])


def test_labels_are_read_as_they_stand(data: Path) -> None:
    paths, beauty, rows = rated(data, "oasis_scenes")
    assert [p.name for p in paths] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert beauty.tolist() == [1.5, 3, 4.5, 6, 7]
    assert rows[0]["file"] == "0.jpg"
    _, _, pairs = crops(data)
    assert [p.share_a for p in pairs] == [1.0, 0.0, 0.6]


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(CgiaaError, match=r"labels\.csv: no such data set; see docs/data\.md"):
        rated(tmp_path, "savoias")


def test_iou_of_known_boxes() -> None:
    assert iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert iou((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert iou((0, 0, 10, 10), (20, 20, 5, 5)) == 0


def test_a_crop_is_cut_where_it_says(data: Path) -> None:
    path = data / "fcdb" / "images" / "a.jpg"
    dark, light = (load_photo((path, CropEdit(box))) for box in ((0, 0, 150, 240), (170, 0, 150, 240)))
    assert (dark.width, dark.height) == (150, 240)
    assert light.view.mean() > 4 * dark.view.mean()


def test_damages_do_what_they_say() -> None:
    whole = np.asarray(picture(3, 0.5))
    damaged = {name: edit(whole).astype(float) for name, edit in DAMAGES.items()}
    assert damaged["dark"].mean() < 0.5 * whole.mean()
    assert np.abs(np.diff(damaged["blur"], axis=1)).mean() < 0.5 * np.abs(np.diff(whole.astype(float), axis=1)).mean()
    red_over_blue = damaged["colour"][..., 0].mean() / damaged["colour"][..., 2].mean()
    assert red_over_blue > 1.05 * whole[..., 0].mean() / whole[..., 2].mean()


def test_metrics_of_known_values() -> None:
    truth = np.arange(50.0)
    result = correlations(np.exp(truth / 10), truth)
    assert result["srcc"] == 1 and result["plcc"] < 0.95 and result["n"] == 50
    first, last = np.eye(10)[[0]], np.eye(10)[[9]]
    assert emd(first, first)[0] == 0
    assert emd(first, last)[0] == pytest.approx(np.sqrt(0.9))  # nine of ten cumulative bins differ by one
    low, high = interval(lambda i: float(truth[i].mean()), 50)
    assert 18 < low < 24.5 < high < 31


def test_tilting_meets_the_wanted_means() -> None:
    rng = np.random.default_rng(0)
    p = torch.from_numpy(rng.dirichlet(np.ones(10), 20).astype(np.float32))
    wanted = torch.linspace(2, 9, 20)
    found = tilted(p, wanted)
    assert torch.allclose(found @ torch.arange(1.0, 11.0), wanted, atol=1e-2)
    assert torch.allclose(tilted(p, p @ torch.arange(1.0, 11.0)), p, atol=2e-3)  # asked for what it is, it stays


@pytest.mark.parametrize(("photos", "features"), [(20, 30), (50, 12)])
def test_ridge_is_the_closed_form(photos: int, features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "PART", 7)
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (photos, features)), rng.normal(5, 1, (photos, 2))
    for intercept in (True, False):
        centred, level = (x - x.mean(0), y.mean(0)) if intercept else (x, 0)
        penalty = 0.3 * (centred**2).sum() / photos
        weight = np.linalg.solve(centred.T @ centred + penalty * np.eye(features), centred.T @ (y - level))
        fitted = Ridge(0.3, intercept=intercept).fit(x, y)
        assert np.allclose(fitted.weight, weight, atol=1e-5)
        assert np.allclose(fitted.predict(x), centred @ weight + level, atol=1e-4)
        one = Ridge(0.3, intercept=intercept).fit(x, y[:, 0])
        assert one.weight.shape == (features,) and np.allclose(one.weight, weight[:, 0], atol=1e-5)


def test_a_photo_is_judged_out_of_its_fold_without_its_own_rating() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, (12, 40)), rng.normal(0, 1, 12)
    y[10:] = np.nan
    first = out_of_fold(x, y, 0.01, folds=5)
    y[3] += 100
    second = out_of_fold(x, y, 0.01, folds=5)
    assert np.isfinite(first).all()
    assert second[3] == pytest.approx(first[3])  # its own rating did not count
    assert abs(second[11] - first[11]) > 0.5  # but it does for photos without one


def _lesson() -> Lesson:
    rng = np.random.default_rng(0)
    stems = rng.normal(0, 1, (48, 2, 120, 5, 5)).astype(np.float16)
    stems[:, 1] = stems[:, 0]
    target = np.linspace(-1.5, 1.5, 48).astype(np.float32)
    stems += target[:, None, None, None, None].astype(np.float16)
    return Lesson([stems], np.zeros((48, 4), np.float32), target[:, None], target[:, None], 0.5)


def _tail_of(towers: Towers) -> torch.Tensor:
    return torch.cat([p.flatten() for p in towers.tail_parameters()])


def test_tuning_resumes_to_the_same_weights_and_leaves_the_stem(student: Student, tmp_path: Path) -> None:
    def towers() -> Towers:
        fresh = Towers()
        fresh.load_state_dict(student.towers.state_dict())
        return fresh.eval().requires_grad_(False)

    whole, cut = towers(), towers()
    loop = LoopConfig(epochs=2, batch_size=16, rate=3e-3, layer_decay=0.1, ema=0.5, channels_last=True)
    first = tune(whole, _lesson(), Run(tmp_path / "whole", loop, device="cpu"))

    class Killed(BaseException):
        pass

    calls: list[int] = []
    real = Towers.late

    def late(self: Towers, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and self.training is False and x.requires_grad is False:
            calls.append(1)
            if len(calls) == 4:  # in the second epoch, of two steps each
                raise Killed
        return real(self, x)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Towers, "late", late)
        tune(cut, _lesson(), Run(tmp_path / "cut", loop, device="cpu"))
    again = tune(cut, _lesson(), Run(tmp_path / "cut", loop, device="cpu"))
    assert first == again and set(first) == {"0"}
    assert torch.equal(_tail_of(whole), _tail_of(cut))
    assert not torch.equal(_tail_of(whole), _tail_of(student.towers))
    assert torch.equal(whole.semantic.conv_stem.weight, student.towers.semantic.conv_stem.weight)
    assert torch.equal(whole.judge.stem[0].weight, student.towers.judge.stem[0].weight)
    assert torch.equal(whole.semantic.bn2.running_mean, student.towers.semantic.bn2.running_mean)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_cached_features_are_those_of_the_network(student: Student, data: Path, tmp_path: Path) -> None:
    jobs = [(path, None) for path in rated(data, "oasis_scenes")[0]]
    frozen = features_of.Frozen(student.towers)
    stems, rest = frozen.extract(jobs, tmp_path / "f", "a", mirror=True, say=lambda _: None)
    inputs = batch([prepare(load_photo(job)) for job in jobs])
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    with torch.inference_mode():
        whole = student.towers(**tensors).numpy()
        mirrored = student.towers.stem(tensors["photo"].flip(2)).numpy()
    assert np.abs(stems[:, 1] - mirrored).max() < 0.02
    assert np.abs(stems[:, 0].astype(np.float32) - mirrored).max() > 0.02
    late = features_of.late_features(student.towers, stems)
    found = np.concatenate([late, rest], 1)
    assert found.shape == (5, FEATURES) and np.abs(found - whole).max() < 0.05

    def broken(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    frozen._run = broken
    assert np.array_equal(frozen.extract(jobs, tmp_path / "f", "a", mirror=True)[1], rest)
    judge = torch.from_numpy(rest[:, EARLY:][:, :JUDGE])
    small = torch.nn.functional.interpolate(
        tensors["photo"].permute(0, 3, 1, 2).float() / 127.5 - 1, size=(192, 192), mode="bilinear", align_corners=False
    )
    with torch.inference_mode():
        assert torch.allclose(student.towers.judge.features(small), judge, atol=1e-3)
    assert LATE + EARLY < FEATURES


def test_a_grey_tile_is_seen_as_three_equal_channels(student: Student) -> None:
    luma = torch.linspace(-1, 1, 112 * 112).reshape(1, 1, 112, 112)
    judge = student.towers.judge
    with torch.inference_mode():
        x = judge.stem(luma.expand(-1, 3, -1, -1))
        for block in judge.blocks[: judge.EARLY_BLOCKS]:
            x = block(x)
        assert torch.allclose(judge.early(luma), x, atol=1e-5)


def test_an_impossible_configuration_names_every_fault() -> None:
    faults = DistillConfig(rated=(), weights="best", ridge_teacher=0, heads=Strengths(opinion=-1)).faults()
    assert faults == [
        "rated must name a set at least",
        "weights must be one of published, random",
        "ridge_teacher must be above 0",
    ]
    assert Strengths(opinion=-1).faults() == ["opinion must be above 0"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_student_learns_from_pictures_of_known_quality(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "data", 20, 0)
    config = DistillConfig(
        rated=("tiny-photos",), crops="", photos=(), weights="random", teacher_features=0,
        loop=LoopConfig(epochs=1, batch_size=8, ema=0.9, layer_decay=0.1, channels_last=True),
    )  # fmt: skip

    def session(network: torch.nn.Module, _: object) -> object:  # torch in its place: an export takes ten seconds
        def look(names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:  # type: ignore[type-arg]
            with torch.inference_mode():
                stem, seen = network(*(torch.from_numpy(value) for value in feed.values()))
            return [{"stem": stem, "seen": seen}[name].numpy() for name in names]

        return look

    monkeypatch.setattr(features_of, "_session", session)
    trained = export.load_student(distill(tmp_path / "data", tmp_path / "run", config, say=lambda _: None))
    assert float(trained.scale.min()) > 0 and not torch.equal(_tail_of(trained.towers), _tail_of(student.towers))
    with torch.inference_mode():
        inputs = export.sample(3)
        distribution, attributes, technical, complexity, embedding = trained(**inputs)
    assert torch.allclose(distribution.sum(1), torch.ones(3), atol=1e-5)
    assert attributes.shape == (3, 4) and technical.shape == complexity.shape == (3,)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(3), atol=1e-4)


def test_the_student_is_taught_by_map_where_the_recipe_says_so(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "data", 20, 0)
    config = DistillConfig(
        rated=("tiny-photos",), crops="", photos=(), weights="random", teacher_features=0, map_weight=100.0
    )
    with pytest.raises(UsageError, match=r"map_weight needs MAP; give the recipe a section \[fusion\]"):
        distill(tmp_path / "data", tmp_path / "run", config, say=lambda _: None)
    asked: list[str] = []

    def predict(context: Context, images: list[str], name: str) -> np.ndarray:  # type: ignore[type-arg]
        asked.extend(images)
        return np.eye(10)[np.arange(len(images)) % 10]

    class Taught(Exception):
        """Carries what the student would be taught."""

    def tune(towers: object, lesson: Any, *_: object, **__: object) -> None:
        raise Taught(lesson.opinions[:, 0])

    monkeypatch.setattr(distill_stage.fusion, "predict", predict)
    monkeypatch.setattr(distill_stage, "tune", tune)
    context = Context(Recipe("x", fusion=FusionConfig(("tiny-photos",)), distill=config), tmp_path / "data", tmp_path)
    with pytest.raises(CgiaaError, match="the stage 'fusion' is not done"):
        distill_stage.run(context)
    record = {"fingerprint": context.recipe.fingerprint("fusion"), "results": {}}
    (context.folder("fusion") / "results.json").write_text(json.dumps(record))
    with pytest.raises(Taught) as caught:
        distill_stage.run(context)
    wanted = np.arange(len(asked)) % 10
    assert asked and np.corrcoef(caught.value.args[0], wanted)[0, 1] > 0.99


def test_tail_of_stem_is_the_tower(student: Student) -> None:
    photo = export.sample(2)["photo"]
    with torch.inference_mode():
        own = student.towers.semantic(photo.permute(0, 3, 1, 2).float() / 127.5 - 1)
        assert torch.allclose(student.towers.tail(student.towers.stem(photo)), own, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_export_gives_a_bundle_that_scores_as_torch_does(student: Student, tmp_path: Path) -> None:
    torch.save(student.state_dict(), tmp_path / "student.pt")
    record = {"a": {"srcc": 0.5, "n": 3}, "crop": {"least_gain": 0.07}}
    (tmp_path / "results.json").write_text(json.dumps(record))
    bundle, worst = export.export_student(tmp_path / "student.pt", tmp_path / "bundle", name="mine", version="7")
    assert (bundle.name, bundle.version, bundle.results) == ("mine", "7", record)
    assert bundle.manifest["crop"] == {"least_gain": 0.07} and bundle.manifest["outputs"]["crop"] == {"range": [0, 1]}
    engine = Engine(bundle, "cpu")
    inputs = prepare(photo_from_array(np.asarray(picture(3, 0.5))))
    with torch.inference_mode():
        stem = student.towers.stem(torch.from_numpy(inputs.photo[None]))
        assert student.crop is not None
        expected = student.crop(stem, torch.tensor([inputs.measures[ASPECT]]))
    assert engine.crops and np.allclose(engine.overlaps([inputs, inputs])[1], expected[0], atol=export.PARITY)
    assert max(worst.values()) < export.PARITY
    network = bundle.encoder.read_bytes()
    other = Student(crop=True).eval()  # other weights: the check must be able to fail
    assert max(export.parity(other, network).values()) > export.PARITY
    batch_of = onnx.load_from_string(network).graph.input[0].type.tensor_type.shape.dim[0]
    assert batch_of.dim_param


def test_what_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "student.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CgiaaError, match=r"student\.pt: not a student's checkpoint"):
        export.load_student(tmp_path / "student.pt")


def test_evaluate_measures_what_the_bundle_does(tiny_bundle: Path, data: Path) -> None:
    results = evaluation.evaluate(Engine(bundles.load(str(tiny_bundle)), "cpu"), data)
    assert results["oasis_scenes score"]["srcc"] == 1  # rated by brightness, scored by brightness
    assert results["fcdb test pair accuracy, composition"] == {"accuracy": 1.0, "accuracy_95": [1.0, 1.0], "n": 2}
    best, whole = (results[f"fcdb test IoU, {name}"]["mean"] for name in ("best crop", "whole frame"))
    assert best > whole == pytest.approx(0.6)
    dark = results["share of copies scored lower, dark"]
    assert dark["color_light"] == 1 and dark["n"] == 5
    assert {f"biq2021 test {s} technical" for s in ("ss01", "ss02", "ss03")} < set(results)


def test_crop_candidates_lie_inside_the_photo() -> None:
    boxes = evaluation.crop_candidates(300, 200)
    assert (0.0, 0.0, 300.0, 200.0) in boxes and len(boxes) == len(set(boxes)) > 40
    for x, y, w, h in boxes:
        assert x >= 0 and y >= 0 and x + w <= 300.001 and y + h <= 200.001 and w >= 180 and h >= 120


def test_an_unknown_evaluation_is_refused(tiny_bundle: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="no such evaluation: nothing; choose from oasis_scenes"):
        evaluation.evaluate(Engine(bundles.load(str(tiny_bundle)), "cpu"), data, ["nothing"])


def test_the_evaluate_command_prints_and_records(run_cli: RunCli, data: Path, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "own")
    done = run_cli("evaluate", bundle, "--data", data, "--on", "oasis_scenes", "--record")
    assert done.returncode == 0, done.stderr
    assert "oasis_scenes score" in done.stdout and "srcc 1.0 [" in done.stdout
    assert bundles.load(str(bundle)).results["oasis_scenes score"]["srcc"] == 1
    assert bundles.load(str(bundle)).results["srcc"] == 0.5  # what stood there stays


def test_export_of_a_missing_checkpoint_is_one_line(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("export-onnx", tmp_path / "none.pt", "--out", tmp_path / "b")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "none.pt" in done.stderr and not (tmp_path / "b").exists()


def test_training_without_its_data_is_one_line(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("train", "distill", "--data", tmp_path / "none", "--out", tmp_path / "run")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("cgiaa: ") and "; " in done.stderr


def test_support_vectors_follow_ratings_and_far_away_only_the_line_is_left() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, COMPONENTS**-0.5, (200, COMPONENTS)).astype(np.float32)
    x[:, 0] = rng.uniform(-2, 2, 200)
    y = 5 + np.cos(2 * x[:, 0]) + 0.3 * x[:, 0]  # no line says that
    head = fit_kernel(x[:150], y[:150], 3.0)
    found = head(torch.from_numpy(x[150:])).numpy()
    assert np.corrcoef(found, y[150:])[0, 1] > 0.9
    assert 1 < len(head.support) <= 150
    far = torch.zeros(2, COMPONENTS)
    far[:, 0] = torch.tensor([100.0, 200.0])
    np.testing.assert_allclose(np.diff(head(far)), 100 * head.line[0], rtol=1e-3)
    same = fit_kernel(x[:20], np.full(20, 4.0), 1.0)
    np.testing.assert_allclose(same(torch.from_numpy(x[:3])), 4.0, atol=1e-6)


def test_a_student_comes_back_with_the_photos_that_its_heads_keep(student: Student, tmp_path: Path) -> None:
    larger = Student(crop=True, support=(7, 3))
    torch.save(larger.state_dict(), tmp_path / "student.pt")
    loaded = export.load_student(tmp_path / "student.pt")
    assert len(loaded.technical.support) == 7 and len(loaded.complexity.support) == 3


def test_a_student_sees_with_a_wide_tower_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    wide = Wide({"kind": "timm", "name": "test_vit", "size": [160, 160]})
    made = Student(wide=wide).eval()
    torch.nn.init.zeros_(made.opinion.weight)
    torch.nn.init.normal_(made.opinion.weight[:, -wide.width :], std=0.02)
    torch.nn.init.constant_(made.opinion.bias, 5)
    inputs = export.sample(2)
    with torch.inference_mode():
        first = made(**inputs)
        torch.save(made.state_dict(), tmp_path / "student.pt")
        again = export.load_student(tmp_path / "student.pt")(**inputs)
        wide.tower.trunk.patch_embed.proj.weight.mul_(-1)  # type: ignore[union-attr, operator]
        other = made(**inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.allclose(first[0], other[0], atol=1e-3) and torch.equal(first[2], other[2])
