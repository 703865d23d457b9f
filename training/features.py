"""Features of the frozen towers for every training photo, computed once and kept in one file a set.

Interrupting is harmless: a set is written when it is done and skipped the next time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cgiaa_cli.imaging.decode import Photo, decode
from cgiaa_cli.imaging.preprocess import batch, prepare
from cgiaa_models.student import Towers

__all__ = ["extract", "extract_teacher", "judge_distribution", "photo_from_array"]

Edit = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def photo_from_array(rgb: NDArray[np.uint8]) -> Photo:
    """An edited picture (H, W, 3) as `decode` would give it, for crops and damaged copies."""
    image = Image.fromarray(rgb)
    luma = np.asarray(image.convert("L"))
    image.thumbnail((768, 768), Image.Resampling.BILINEAR)
    return Photo(np.asarray(image), luma, rgb.shape[1], rgb.shape[0], "jpeg")


def judge_distribution(towers: Towers, photos: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What the judge says with its own preprocessing (squash to 224, nearest): (N, 10)."""
    small = [np.asarray(Image.fromarray(p).resize((224, 224), Image.Resampling.NEAREST)) for p in photos]
    x = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        return towers.judge.distribution(towers.judge.features(x)).numpy()


def extract(
    towers: Towers, jobs: Sequence[tuple[Path, Edit | None]], out: Path, batch_size: int = 32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (N, FEATURES) and the judge's distributions (N, 10) of `jobs`, cached in `out` (.npz)."""
    if out.exists():
        with np.load(out) as saved:
            return saved["features"], saved["judge"]
    features, judge = [], []

    def load(job: tuple[Path, Edit | None]) -> tuple[Photo, NDArray[np.uint8]]:
        photo = decode(job[0].read_bytes())
        if job[1] is not None:
            photo = photo_from_array(job[1](photo.view))
        return photo, photo.view

    for part in _batched(jobs, batch_size):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            loaded = list(pool.map(load, part))
        tensors = {k: torch.from_numpy(v) for k, v in batch([prepare(p) for p, _ in loaded]).items()}
        with torch.inference_mode():
            features.append(towers(**tensors).numpy())
        judge.append(judge_distribution(towers, [view for _, view in loaded]))
        print(f"{out.name}: {sum(map(len, features))}/{len(jobs)}", flush=True)
    result = np.concatenate(features), np.concatenate(judge)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial.npz")
    np.savez(partial, features=result[0], judge=result[1])
    partial.replace(out)
    return result


def extract_teacher(trunk: torch.nn.Module, paths: Sequence[Path], out: Path) -> NDArray[np.float32]:
    """The teacher's features (N, 2048) of whole photos squeezed to 224 px, cached in `out` (.npy)."""
    if out.exists():
        return np.asarray(np.load(out), np.float32)
    found = []
    for i in range(0, len(paths), 32):
        views = [Image.fromarray(decode(path.read_bytes()).view) for path in paths[i : i + 32]]
        small = np.stack([np.asarray(v.resize((224, 224), Image.Resampling.BILINEAR)) for v in views])
        with torch.inference_mode():
            found.append(trunk(torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255).numpy())
    result = np.concatenate(found)
    partial = out.with_suffix(".partial.npy")
    np.save(partial, result)
    partial.replace(out)
    return result


def _batched(items: Sequence[tuple[Path, Edit | None]], size: int) -> Iterator[Sequence[tuple[Path, Edit | None]]]:
    for i in range(0, len(items), size):
        yield items[i : i + size]
