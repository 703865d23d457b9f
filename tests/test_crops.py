"""Choosing a crop: the candidates, the head that learns from people's crops, and what a user is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from cgiaa_models.crop import CHANNELS, CropHead
from cgiaa_training import evaluate
from cgiaa_training.crops import CropLesson, learn_crops, least_gain, overlaps
from cgiaa_training.data import iou
from cgiaa_training.loop import LoopConfig, Run
from cgiaa_training.manifest import Sample
from conftest import TINY_DIM, TINY_RANGES, RunCli, picture, tiny_encoder
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from test_facts import facts

from cgiaa_cli import bundles
from cgiaa_cli.critique.advice import crop_to
from cgiaa_cli.errors import BundleError
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.imaging.preprocess import prepare
from cgiaa_cli.inference.crops import CELLS, FEWEST, Crop, best_crop, candidates
from cgiaa_cli.inference.engine import Engine

WANTED = next(i for i, box in enumerate(candidates().tolist()) if box == [3, 0, 12, 15])  # the left fifth cut away


def bundle_that_crops(folder: Path, count: int | None = None, least: float = 0.05) -> Path:
    """The small bundle, with 0.6 for every candidate, and for the one without the left fifth 0.4 x brightness more."""
    model = onnx.load_from_string(tiny_encoder())
    weights = np.zeros((1, len(candidates()) if count is None else count), np.float32)
    weights[0, WANTED if count is None else 0] = 0.4
    model.graph.initializer.extend(
        [numpy_helper.from_array(weights, "crop_weights"), numpy_helper.from_array(np.float32(0.6), "crop_base")]
    )
    model.graph.node.extend(
        [
            helper.make_node("Mul", ["bright_column", "crop_weights"], ["crop_0"]),
            helper.make_node("Add", ["crop_0", "crop_base"], ["crop"]),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("crop", TensorProto.FLOAT, ["batch", weights.shape[1]]))
    bundles.write_bundle(
        folder,
        bundles.About(
            name="cropper",
            version="1",
            licence="MIT",
            embedding_dim=TINY_DIM,
            training_data=[{"name": "none", "licence": "none", "use": "none"}],
            weights=[{"name": "arithmetic", "licence": "MIT", "use": "all of it"}],
            outputs={output: {"range": limits} for output, limits in (TINY_RANGES | {"crop": [0, 1]}).items()},
            results={},
            more={"crop": {"least_gain": least}},
        ),
        {"encoder.onnx": model.SerializeToString()},
    )
    return folder


# --- candidates --------------------------------------------------------------------------------------------------


def test_candidates_lie_in_the_frame_and_have_their_mirror_images() -> None:
    boxes = candidates()
    assert boxes[0].tolist() == [0, 0, CELLS, CELLS] and len({tuple(b) for b in boxes.tolist()}) == len(boxes) == 784
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= CELLS).all() and boxes[:, 2:].min() == FEWEST
    mirrored = boxes.copy()
    mirrored[:, 0] = CELLS - boxes[:, 0] - boxes[:, 2]
    assert {tuple(b) for b in mirrored.tolist()} == {tuple(b) for b in boxes.tolist()}


def test_overlaps_are_those_of_the_boxes() -> None:
    best = np.array([[0.2, 0.1, 0.5, 0.8], [0, 0, 1, 1]])
    found = overlaps(best)
    boxes = candidates() / CELLS
    expected = [[iou(tuple(b), tuple(t)) for b in boxes] for t in best]
    assert np.allclose(found, expected)


def test_the_best_crop_is_told_with_its_gain() -> None:
    values = np.full(len(candidates()), 0.5, np.float32)
    values[[0, WANTED]] = 0.6, 0.75
    crop = best_crop(values)
    assert crop.box == pytest.approx((0.2, 0, 0.8, 1)) and crop.gain == pytest.approx(0.15)


def test_a_gain_is_sure_where_crops_bring_enough_on_the_average() -> None:
    true = np.tile([0.6, 0.7], (200, 1))
    true[:100, 1] = 0.5  # what is promised least is wrong
    predicted = np.stack([np.zeros(200), np.linspace(0, 0.4, 200)], 1)
    gain = least_gain(predicted, true)
    assert gain is not None and 0.1 < gain < 0.2  # half of the mistakes may be offered with all that is right
    real = (true[:, 1] - true[:, 0])[predicted[:, 1] >= gain]
    assert real.mean() - 1.96 * real.std() / len(real) ** 0.5 >= 0.05
    assert least_gain(predicted, np.tile([0.6, 0.64], (200, 1))) is None
    assert least_gain(predicted[-10:], true[-10:]) is None


# --- the head ----------------------------------------------------------------------------------------------------


def test_the_head_compares_inside_outside_and_rim() -> None:
    head = CropHead()
    values = torch.zeros(CELLS, CELLS)
    values[:, :3] = 1  # the left fifth
    flat = values.flatten()
    assert head.inside[0] @ flat == pytest.approx(0.2) and head.outside[0].abs().sum() == 0  # nothing is left outside
    assert head.inside[WANTED] @ flat == 0 and head.outside[WANTED] @ flat == pytest.approx(1)
    assert head.rim[0] @ flat == pytest.approx((15 + 2 + 2) / 56)
    torch.manual_seed(0)
    head.project.normal_()
    found = head.eval()(torch.rand(3, CHANNELS, CELLS, CELLS), torch.tensor([0.0, 0.5, -0.5]))
    assert found.shape == (3, len(candidates())) and found.min() >= 0 and found.max() <= 1


def crops_to_learn(count: int) -> tuple[list[Sample], np.ndarray]:  # type: ignore[type-arg]
    """Photos of which people cut away the side that a channel marks: left or right, a fifth to two fifths."""
    dice = np.random.default_rng(0)
    stems = dice.normal(0, 0.3, (count, 2, CHANNELS, CELLS, CELLS)).astype(np.float16)
    samples = []
    for i in range(count):
        cells = int(dice.integers(2, 6))
        left = bool(dice.integers(2))
        for view in (0, 1):
            stems[i, view, 5, :, slice(0, cells) if left != bool(view) else slice(CELLS - cells, CELLS)] += 3
        width = 300 * (CELLS - cells) // CELLS
        box = [300 - width if left else 0, 0, width, 200]
        samples.append(
            Sample(id=str(i), image="", split="train", extra={"best_crop_xywh": box, "width": 300, "height": 200})
        )
    return samples, stems


def test_the_head_learns_what_people_cut_away(tmp_path: Path) -> None:
    samples, stems = crops_to_learn(120)
    loop = LoopConfig(epochs=10, batch_size=24, rate=3e-3, save_every=1000)
    head, found = learn_crops(samples, stems, Run(tmp_path, loop, device="cpu"))
    held = found["held_out"]
    assert found["photos"] == 120 and held["chosen"] > held["one box"] + 0.05 and held["chosen"] > held["whole frame"]
    assert found["least_gain"] is not None
    with torch.inference_mode():
        chosen = head(torch.from_numpy(stems[:, 0].astype(np.float32)), torch.full((120,), np.log2(1.5)))
    boxes = candidates()[chosen.argmax(1)]
    true = np.array([s.extra["best_crop_xywh"][0] > 0 for s in samples])
    assert ((boxes[:, 0] > CELLS - boxes[:, 0] - boxes[:, 2]) == true).mean() > 0.9


def test_a_mirrored_photo_has_a_mirrored_crop() -> None:
    samples, stems = crops_to_learn(4)
    best = np.array([s.extra["best_crop_xywh"] for s in samples]) / np.array([300, 200, 300, 200])
    lesson = CropLesson(stems, best, np.zeros(4), np.arange(4), 0)
    boxes = candidates()
    for straight, mirrored in zip(*lesson.targets.transpose(1, 0, 2), strict=True):
        a, b = boxes[straight.argmax()], boxes[mirrored.argmax()]
        assert (a[0], a[2]) == (CELLS - b[0] - b[2], b[2])


def _bytes(folder: Path, image: Image.Image) -> bytes:
    image.save(folder / "photo.jpg", quality=95)
    return (folder / "photo.jpg").read_bytes()


# --- what a user is told -----------------------------------------------------------------------------------------


def test_advice_names_pixels_ratio_and_what_goes() -> None:
    advice = crop_to(facts(picture(1, 0.5).resize((600, 400))), Crop((0.2, 0, 0.8, 0.8), 0.1234))
    assert advice.text == "Crop it to 480 x 320 pixels (3:2) from 120, 0: less of the left and bottom of the frame."
    assert advice.evidence == {"box": [120, 0, 480, 320], "share": [0.2, 0, 0.8, 0.8], "ratio": "3:2", "gain": 0.123}
    tall = crop_to(facts(picture(1, 0.5).resize((400, 600))), Crop((0, 0, 1, 0.7), 0.1))
    assert tall.evidence["ratio"] == "1:1.05" and tall.text.endswith("less of the bottom of the frame.")
    assert crop_to(facts(picture(1, 0.5).resize((400, 600))), Crop((0, 0, 0.6, 0.6), 0.1)).evidence["ratio"] == "2:3"


def test_a_crop_is_advised_drawn_and_made_where_it_is_sure(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    bundle = bundle_that_crops(tmp_path / "bundle", least=0.2)
    done = run_cli("critique", photos / "bright.jpg", photos / "dark.jpg", "--model", bundle, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    kinds = {
        Path(row["path"]).name: [a["kind"] for a in row["attributes"]["composition"]["advice"]]
        for row in map(json.loads, done.stdout.splitlines())
    }
    assert "crop" in kinds["bright.jpg"] and "crop" not in kinds["dark.jpg"]  # a gain of 0.4 x brightness
    apply = ("critique", photos / "bright.jpg", "--model", bundle, "--apply", "crop", "--out", tmp_path / "better")
    made = run_cli(*apply, "--save-overlay", tmp_path / "why.png")
    assert made.returncode == 0, made.stderr
    (copy,) = (tmp_path / "better").iterdir()
    with Image.open(copy) as after, Image.open(photos / "bright.jpg") as before:
        assert after.size == (round(before.width * 0.8), before.height)
    assert (tmp_path / "why.png").exists()


def test_an_output_for_other_candidates_is_refused(tmp_path: Path) -> None:
    engine = Engine(bundles.load(str(bundle_that_crops(tmp_path / "bundle", count=5))), "cpu")
    photo = prepare(decode(_bytes(tmp_path, picture(3, 0.5))))
    with pytest.raises(BundleError, match="output crop is not one overlap for each of 784 crops"):
        engine.overlaps([photo])


def test_evaluate_takes_the_networks_own_crop(tmp_path: Path) -> None:
    (tmp_path / "fcdb" / "images").mkdir(parents=True)
    rows = []
    for i, level in enumerate((0.1, 0.7)):
        picture(i, level).resize((300, 200)).save(tmp_path / "fcdb" / "images" / f"{i}.jpg")
        row = {"file": f"{i}.jpg", "width": 300, "height": 200, "split": "test", "best_crop_xywh": [60, 0, 240, 200]}
        rows.append({**row, "pairs": []})
    (tmp_path / "fcdb" / "labels.json").write_text(json.dumps(rows))
    look = evaluate.look_of(Engine(bundles.load(str(bundle_that_crops(tmp_path / "bundle", least=0.2))), "cpu"))
    found = {f.name: f.numbers for f in evaluate.measure(look, tmp_path, ["fcdb_crop"])}
    assert found["fcdb test IoU, best crop"]["mean"] == pytest.approx(1)
    assert found["fcdb test IoU, whole frame"]["mean"] == pytest.approx(0.8)
    assert found["fcdb test crops offered"]["accuracy"] == 0.5  # the bright one
    assert found["fcdb test crops offered, gain in IoU"]["mean"] == pytest.approx(0.2)
