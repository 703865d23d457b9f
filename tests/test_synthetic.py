"""The rendered photos of the recipe tiny: a set as any other, whose critiques are true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cgiaa_training import synthetic
from cgiaa_training.manifest import load_set
from PIL import Image

ATTRIBUTES = ("color_light", "composition", "depth_focus", "general")


def test_synthetic_pictures_are_a_set_and_true(tmp_path: Path) -> None:
    synthetic.make(tmp_path, 20, 3)
    photos = load_set("tiny-photos", tmp_path)
    texts = load_set("tiny-critiques", tmp_path)
    assert len(photos.samples) == 20 and len(texts.samples) == 180
    assert {s.split for s in photos.samples} == {"train", "val", "test"}
    for sample in photos.samples:
        assert set(sample.labels) == {"score", "technical", "complexity", *ATTRIBUTES}
        mean = sum(i * p for i, p in enumerate(sample.distribution or (), 1))
        assert mean == pytest.approx(sample.labels["score"], abs=0.01)
        with Image.open(str(sample.image)) as picture:
            assert picture.size == (160, 120)
    of = {s.image: s for s in photos.samples}
    for text in texts.samples:
        if text.attribute in ATTRIBUTES:
            assert text.labels["score"] == of[text.image].labels[text.attribute]
        assert text.split == of[text.image].split
    again = tmp_path / "again"
    synthetic.make(again, 12, 3)
    for at in range(12):
        name = f"photos/{at:05d}.jpg"
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_what_the_critiques_claim_is_in_the_pixels() -> None:
    base = synthetic.imagine(np.random.default_rng(1))
    from dataclasses import replace

    good = replace(base, light="right", colour="rich", focus="sharp", place="left third", level=True, litter=0)

    def pixels(**changes: object) -> np.ndarray:  # type: ignore[type-arg]
        return np.asarray(synthetic.draw(replace(good, **changes)), np.float64)  # type: ignore[arg-type]

    def detail(picture: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(np.abs(np.diff(picture.mean(-1), axis=1)).mean())

    def chroma(picture: np.ndarray) -> float:  # type: ignore[type-arg]
        return float((picture.max(-1) - picture.min(-1)).mean())

    assert pixels(light="dark").mean() < 0.4 * pixels().mean() < 0.8 * pixels(light="blown").mean()
    assert chroma(pixels(colour="grey")) < 0.2 * chroma(pixels())
    assert detail(pixels(focus="blurred")) < 0.5 * detail(pixels())
    assert detail(pixels(focus="shallow")) < 0.5 * detail(pixels())  # most of it is background
    steepest = {focus: np.abs(np.diff(pixels(focus=focus).mean(-1), axis=1)).max() for focus in ("shallow", "blurred")}
    assert steepest["shallow"] > 1.5 * steepest["blurred"]  # and its subject has edges
    said = dict(synthetic.sentences(good, {"general": 8.5}, np.random.default_rng(0)))
    assert set(said) == {*ATTRIBUTES, "subject"}
    assert good.subject in said["subject"] and good.hue in said["subject"]
    rating, _ = synthetic.rate(good, np.random.default_rng(0))
    worse, _ = synthetic.rate(replace(good, focus="blurred"), np.random.default_rng(0))
    assert worse["depth_focus"] < rating["depth_focus"] - 3 and worse["composition"] == rating["composition"]
