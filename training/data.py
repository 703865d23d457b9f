"""The sets that the embedded default learns from, as arrays; `manifest.load_set` reads them. See docs/data.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cgiaa_training.manifest import DataSet, load_set
from numpy.typing import NDArray
from PIL import Image

from cgiaa_cli.imaging.decode import VIEW_LONG_SIDE, Photo, decode

__all__ = [
    "DATA",
    "Crop",
    "CropEdit",
    "Edit",
    "Job",
    "crops",
    "iou",
    "load_photo",
    "photo_from_array",
    "rated",
    "unrated",
]

Edit = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
Job = tuple[Path, Edit | None]  # a photo, and what is done to its pixels first

DATA = [
    {"name": "BIQ2021 (sample)", "licence": "none stated", "use": "technical quality (train split)"},
    {
        "name": "FCDB",
        "licence": "labels MIT; photos for research purposes only",
        "use": "composition (train split)",
    },
    {"name": "OASIS objects and animals, beauty", "licence": "none stated", "use": "beauty ratings"},
    {
        "name": "SAVOIAS (sample)",
        "licence": "those of its sources, several non-commercial",
        "use": "complexity",
    },
    {"name": "COCO (sample)", "licence": "photo licences vary", "use": "photos without ratings"},
]


@dataclass(frozen=True)
class Crop:
    """Two crops of one photo (x, y, w, h in pixels) and the share of the votes for the first."""

    photo: int
    a: tuple[float, ...]
    b: tuple[float, ...]
    share_a: float


def rated(root: Path, name: str) -> tuple[list[Path], NDArray[np.float64], list[dict[str, str]]]:
    """Photos, ratings (the set's first label, in its own units) and label rows of one set.

    Raises CgiaaError when the set is not below `root`, or is not as it should be.
    """
    found = load_set(name, root)
    label = next(iter(found.description.labels))
    rows = [dict(sample.extra) for sample in found.samples]
    return _paths(found), np.array([sample.labels[label] for sample in found.samples]), rows


def unrated(root: Path, name: str) -> list[Path]:
    """All photos of a set without ratings, sorted. Raises CgiaaError when there are none."""
    return _paths(load_set(str(root / name / "images"), root))


def crops(root: Path) -> tuple[list[Path], list[dict[str, Any]], list[Crop]]:
    """FCDB: photos, their rows (`split`, `best_crop_xywh`) and every voted pair of crops."""
    found = load_set("fcdb", root)
    rows = [dict(sample.extra) for sample in found.samples]
    pairs = [
        Crop(
            i,
            tuple(p["crop_a_xywh"]),
            tuple(p["crop_b_xywh"]),
            p["votes_a"] / max(1, p["votes_a"] + p["votes_b"]),
        )
        for i, row in enumerate(rows)
        for p in row["pairs"]
    ]
    return _paths(found), rows, pairs


def _paths(found: DataSet) -> list[Path]:
    return [Path(sample.image) for sample in found.samples if sample.image is not None]


@dataclass(frozen=True)
class CropEdit:
    """An edit that cuts `box` (x, y, w, h) out of a picture (H, W, 3); at least 8 px a side."""

    box: tuple[float, ...]

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        x, y, w, h = self.box
        top, left = round(y), round(x)
        return picture[top : max(top + 8, round(y + h)), left : max(left + 8, round(x + w))]


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (x, y, w, h); 0..1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def load_photo(job: Job) -> Photo:
    """The decoded photo of a job, edited where the job says so."""
    photo = decode(job[0].read_bytes())
    return photo if job[1] is None else photo_from_array(job[1](photo.view))


def photo_from_array(rgb: NDArray[np.uint8]) -> Photo:
    """An edited picture (H, W, 3) as `decode` would give it, for crops and damaged copies."""
    image = Image.fromarray(rgb)
    luma = np.asarray(image.convert("L"))
    image.thumbnail((VIEW_LONG_SIDE, VIEW_LONG_SIDE), Image.Resampling.BILINEAR)
    return Photo(np.asarray(image), luma, rgb.shape[1], rgb.shape[0], "jpeg")
