"""The sets that the embedded default learns from, as arrays; `manifest.load_set` reads them. See docs/data.md."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from cgiaa_training.manifest import DataSet, load_set, read_image
from fsspec.core import url_to_fs
from numpy.typing import NDArray
from PIL import Image

from cgiaa_cli.errors import CgiaaError, PhotoError
from cgiaa_cli.imaging.decode import VIEW_LONG_SIDE, Photo, decode
from cgiaa_cli.paths import escape

__all__ = [
    "Crop",
    "CropEdit",
    "Edit",
    "Job",
    "crops",
    "iou",
    "load_photo",
    "photo_from_array",
    "rated",
    "read_photo",
    "stamps",
]

Edit = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
Place = Path | str
"""Of a photo: a path, or an address for `manifest.read_image`, which as a Path would lose a slash."""
Job = tuple[Place, Edit | None]  # a photo, and what is done to its pixels first

MEND = "put it back, or leave out all such photos with cgiaa train data check SET --data DIR --leave-out"


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
    """The decoded photo of a job, edited where the job says so. Raises as `read_photo` does."""
    photo = read_photo(job[0])
    return photo if job[1] is None else photo_from_array(job[1](photo.view))


def read_photo(place: Place) -> Photo:
    """A decoded photo, wherever it lies.

    Raises:
        CgiaaError: it is missing or damaged. No PhotoError, which is about one of many that go on: training stops.
    """
    name = str(place)
    with _named(place):
        inner = name.partition("::")[0] if "://" in name else name  # the member of a shard, not the shard
        return decode(read_image(name), suffix=PurePosixPath(inner).suffix)


def stamps(jobs: Sequence[Job]) -> list[list[str]]:
    """What tells these photos, as they are now and are to be edited, from any others; for `files.key_of`.

    Raises:
        CgiaaError: one is missing.
    """
    files = {_file(place): place for place, _ in jobs}
    with ThreadPoolExecutor(16) as pool:  # a store that is far away takes its time to answer
        known = dict(zip(files, pool.map(_stamp, files, files.values()), strict=True))
    return [[str(place), known[_file(place)], *_told(edit)] for place, edit in jobs]


def _file(place: Place) -> str:
    """The file that a photo is in: of a shard's member, the shard."""
    name = str(place)
    return name.rpartition("::")[2] if name.startswith("tar://") else name


def _stamp(file: str, place: Place) -> str:
    with _named(place):
        if "://" in file:
            filesystem, path = url_to_fs(file)
            return str(filesystem.ukey(path))
        found = os.stat(file)
        return f"{found.st_size} {found.st_mtime_ns}"


def _told(edit: Edit | None) -> tuple[str, str]:
    """What an edit is by its fields, where it has any, and by what it does: its code may change under the same name."""
    if edit is None:
        return "", ""
    probe = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    return repr(edit) if is_dataclass(edit) else "", hashlib.sha256(edit(probe).tobytes()).hexdigest()[:16]


@contextlib.contextmanager
def _named(place: Place) -> Iterator[None]:
    """Errors of reading a photo, with its name."""
    try:
        yield
    except PhotoError as error:
        mend = error.mend if error.kind == "extra" else MEND  # else a package is missing, not the photo
        raise CgiaaError(error.cause, path=escape(place), mend=mend) from error
    except FileNotFoundError as error:
        raise CgiaaError("no such photo", path=escape(place), mend=MEND) from error
    except ImportError as error:  # as `readers` has it: fsspec's own words name the package
        mend = "pip install that package, then run again"
        raise CgiaaError(f"cannot be reached ({error})", path=escape(place), mend=mend) from error
    except MemoryError:
        raise
    except Exception as error:  # an OSError of a file; each kind of store has its own
        cause = getattr(error, "strerror", None) or error
        raise CgiaaError(f"cannot be read ({cause})", path=escape(place), mend=MEND) from error


def photo_from_array(rgb: NDArray[np.uint8]) -> Photo:
    """An edited picture (H, W, 3) as `decode` would give it, for crops and damaged copies."""
    image = Image.fromarray(rgb)
    luma = np.asarray(image.convert("L"))
    image.thumbnail((VIEW_LONG_SIDE, VIEW_LONG_SIDE), Image.Resampling.BILINEAR)
    return Photo(np.asarray(image), luma, rgb.shape[1], rgb.shape[0], "jpeg")
