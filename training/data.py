"""The rated sets that the embedded default learns from. Where to get each: docs/training.md."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.errors import CgiaaError

__all__ = ["DATA", "Crop", "crop_edit", "crops", "rated", "unrated"]

DATA = [
    {"name": "BIQ2021 (sample)", "licence": "none stated", "use": "technical quality (train split)"},
    {"name": "FCDB", "licence": "labels MIT; photos for research purposes only", "use": "composition (train split)"},
    {"name": "OASIS objects and animals, beauty", "licence": "none stated", "use": "beauty ratings"},
    {"name": "SAVOIAS (sample)", "licence": "those of its sources, several non-commercial", "use": "complexity"},
    {"name": "COCO (sample)", "licence": "photo licences vary", "use": "photos without ratings"},
]
_LABEL = {
    "biq2021": "mos_0_1",
    "savoias": "complexity_0_100",
    "oasis_scenes": "beauty_mean_1_7",
    "oasis_objects_animals": "beauty_mean_1_7",
}


@dataclass(frozen=True)
class Crop:
    """Two crops of one photo (x, y, w, h in pixels) and the share of the votes for the first."""

    photo: int
    a: tuple[float, ...]
    b: tuple[float, ...]
    share_a: float


def rated(root: Path, name: str) -> tuple[list[Path], NDArray[np.float64], list[dict[str, str]]]:
    """Photos, ratings and label rows of one set. Raises CgiaaError when the set is not below `root`."""
    folder = root / name
    labels = folder / "labels.csv"
    if not labels.exists():
        raise CgiaaError("no such data set", path=str(labels), mend="see docs/training.md for where to get it")
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [folder / "images" / row["file"] for row in rows]
    return paths, np.array([float(row[_LABEL[name]]) for row in rows]), rows


def unrated(root: Path, name: str) -> list[Path]:
    """All photos of a set without ratings, sorted."""
    return sorted(p for p in (root / name / "images").iterdir() if p.suffix == ".jpg")


def crops(root: Path) -> tuple[list[Path], list[dict[str, Any]], list[Crop]]:
    """FCDB: photos, their rows (`split`, `best_crop_xywh`) and every voted pair of crops."""
    folder = root / "fcdb"
    rows = json.loads((folder / "labels.json").read_text())
    pairs = [
        Crop(
            i, tuple(p["crop_a_xywh"]), tuple(p["crop_b_xywh"]), p["votes_a"] / max(1, p["votes_a"] + p["votes_b"])
        )
        for i, row in enumerate(rows)
        for p in row["pairs"]
    ]
    return [folder / "images" / row["file"] for row in rows], rows, pairs


def crop_edit(box: tuple[float, ...]) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """An edit that cuts (x, y, w, h) out of a picture (H, W, 3); at least 8 px a side."""
    x, y, w, h = box
    top, left = round(y), round(x)
    bottom, right = max(top + 8, round(y + h)), max(left + 8, round(x + w))
    return lambda picture: picture[top:bottom, left:right]
