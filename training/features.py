"""Features of the frozen towers for every training photo, computed once and kept in one file a set.

Interrupting is harmless: a file is written when it is whole and found again the next time. Its name changes with the
photos (which, in what order, how large and how old), their edits, the preprocessing and the weights. ONNX Runtime
computes them, on a CPU in a third of torch's time.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from cgiaa_models.student import FEATURES, LATE, Towers
from cgiaa_models.towers import DualEncoder
from cgiaa_training.data import Job, Place, load_photo, read_photo, stamps
from cgiaa_training.files import appearing, key_of, plain_name, require_space, reserve
from cgiaa_training.pairs import view_of
from numpy.typing import NDArray
from PIL import Image

from cgiaa_cli.imaging.decode import Photo
from cgiaa_cli.imaging.preprocess import SIZE, TILE, TILES, batch, prepare, preprocess_hash
from cgiaa_cli.inference.engine import import_onnxruntime

__all__ = ["Frozen", "extract_teacher", "extract_wide", "late_features", "points"]

Array = NDArray[Any]
Say = Callable[[str], None]
T = TypeVar("T")
TEACHER_SIZE = 224
BATCH = 16
STEM = (120, 15, 15)


class _Frozen(torch.nn.Module):
    """What of the student never learns: the stem of the semantic tower, and all of the judge."""

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.towers = towers

    def forward(self, photo: torch.Tensor, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        stem, early = self.towers.early(photo)
        return stem, torch.cat([early, self.towers.beside(photo, tiles)], 1)


class Frozen:
    """What the parts of `towers` that never learn see of photos; the network is built when the first set asks."""

    def __init__(self, towers: Towers) -> None:
        self.towers = towers
        self._weights = _digest(towers)  # now: what learns later is no part of what is kept
        self._run: Any = None

    def extract(
        self, jobs: Sequence[Job], folder: Path, name: str, *, mirror: bool = False, say: Say = print
    ) -> tuple[NDArray[np.float16], Array]:
        """Features of N photos, some of them edited.

        Args:
            folder, name: where results are kept, and what of; a name may be a path or an address, and stays in it.
            mirror: give the stem of every photo's mirror image, too.

        Returns:
            Stems (N, 1 or 2, 120, 15, 15), mapped into memory and not read, since they can be larger than that;
            and the features that follow those of `late_features` (N, FEATURES - LATE), float32.

        Raises:
            CgiaaError: a photo is missing or damaged, or the disk has no room.
        """
        key = key_of([stamps(jobs), preprocess_hash(), self._weights, mirror])
        stems, seen = (folder / f"{plain_name(name)}-{key}{suffix}" for suffix in (".stem.npy", ".npy"))
        if not (stems.exists() and seen.exists()):
            self._write(jobs, stems, seen, name, mirror, say)
        return np.load(stems, mmap_mode="r"), np.load(seen)

    def _write(self, jobs: Sequence[Job], stems: Path, seen: Path, name: str, mirror: bool, say: Say) -> None:
        shape = (len(jobs), 1 + mirror, *STEM)
        size, what = 2 * math.prod(shape), f"keeping what the towers see of {name}"
        require_space(stems.parent, size + 4 * len(jobs) * (FEATURES - LATE), what)
        rows = []
        # written and not mapped: a full disk kills a process that writes through a map
        with appearing(stems) as partial, partial.open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            reserve(file, stems.parent, file.tell() + size, what)
            for start, part in _batched(jobs, BATCH):
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    inputs = batch(list(pool.map(lambda job: prepare(load_photo(job)), part)))
                views, found = self._look(inputs, mirror)
                file.write(views.astype("<f2").tobytes())
                rows.append(np.concatenate([found, inputs["measures"]], 1))
                if start // BATCH % 8 == 0:
                    say(f"{name}: {start}/{len(jobs)}")
        _save(seen, np.concatenate(rows).astype(np.float32))

    def _look(self, inputs: Mapping[str, Array], mirror: bool) -> tuple[Array, Array]:
        if self._run is None:
            self._run = _session(_Frozen(self.towers), {"photo": (SIZE, SIZE, 3), "tiles": (TILES, TILE, TILE)})
        feed = {name: inputs[name] for name in ("photo", "tiles")}
        stem, found = self._run(["stem", "seen"], feed)
        views = [stem]
        if mirror:
            views += self._run(["stem"], {**feed, "photo": np.ascontiguousarray(feed["photo"][:, :, ::-1])})
        return np.stack(views, 1), found


def late_features(towers: Towers, stems: Array, batch_size: int = 64) -> NDArray[np.float32]:
    """What the semantic tower's tail makes of the first view of `Frozen.extract`'s stems: (N, LATE)."""
    found = []
    for start in range(0, len(stems), batch_size):
        part = torch.from_numpy(np.array(stems[start : start + batch_size, 0], np.float32))
        with torch.inference_mode():
            found.append(towers.late(part.contiguous(memory_format=torch.channels_last)).numpy())
    return np.concatenate(found)


def extract_teacher(
    trunk: torch.nn.Module, jobs: Sequence[Job], folder: Path, name: str, say: Say = print
) -> NDArray[np.float32]:
    """The teacher's features (N, 2048) of whole photos squeezed to 224 px; kept, and raises, as `Frozen.extract`."""
    size = (TEACHER_SIZE, TEACHER_SIZE)
    key = key_of([stamps(jobs), TEACHER_SIZE, _digest(trunk)])

    def look() -> Callable[[Array], Array]:
        run = _session(_Unit(trunk), {"photo": (*size, 3)})
        return lambda photos: run(["seen"], {"photo": photos})[0]

    def view(photo: Photo) -> Array:
        return np.asarray(Image.fromarray(photo.view).resize(size, Image.Resampling.BILINEAR))

    return _kept(jobs, folder / f"{plain_name(name)}-{key}.npy", view, look, say)


def extract_wide(
    wide: torch.nn.Module, jobs: Sequence[Job], folder: Path, name: str, device: str, say: Say = print
) -> NDArray[np.float32]:
    """(N, wide.width) of `towers.Wide`, which sees what the bundle will show it; kept, and raises, as `Frozen.extract`.

    By torch, on `device`: such a tower is too large for a CPU.
    """
    key = key_of([stamps(jobs), preprocess_hash(), _digest(wide)])

    def look() -> Callable[[Array], Array]:
        tower = wide.to(device)

        def run(photos: Array) -> Array:
            with torch.inference_mode():
                return np.asarray(tower(torch.from_numpy(photos).to(device)).float().cpu().numpy())

        return run

    return _kept(jobs, folder / f"{plain_name(name)}-{key}.npy", lambda photo: prepare(photo).photo, look, say)


def _kept(
    jobs: Sequence[Job],
    out: Path,
    view: Callable[[Photo], Array],
    look: Callable[[], Callable[[Array], Array]],
    say: Say,
) -> NDArray[np.float32]:
    """(N, D) of what a network, opened where it is needed, says of a view of each photo; kept in `out`."""
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        run, found = look(), []
        for start, part in _batched(jobs, BATCH):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                found.append(run(np.stack(list(pool.map(lambda job: view(load_photo(job)), part)))))
            if start // BATCH % 8 == 0:
                say(f"{out.stem.rpartition('-')[0]}: {start}/{len(jobs)}")
        _save(out, np.concatenate(found).astype(np.float16))
    return np.asarray(np.load(out), np.float32)


def points(model: DualEncoder, places: Sequence[Place], resize: str, device: str) -> Array:
    """(N, D) points of whole photos in the space of the stage `vlap`; `resize` as it was there, see `VlapConfig`.

    Raises:
        CgiaaError: a photo is missing or damaged.
    """

    def view(place: Place) -> Array:
        return view_of(read_photo(place).view, model.image.size, resize, (0, 0, 1, 1, False))

    found = []
    with ThreadPoolExecutor(os.cpu_count()) as pool, torch.inference_mode():
        for _, part in _batched(places, 2 * BATCH):
            pixels = torch.from_numpy(np.stack(list(pool.map(view, part))))
            found.append(model.encode_image(pixels.to(device)).float().cpu().numpy())
    return np.concatenate(found)


class _Unit(torch.nn.Module):
    """uint8 photos (B, H, W, 3) to a network that wants (B, 3, H, W) in 0..1."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network(photo.permute(0, 3, 1, 2).float() / 255)
        return found


def _session(network: torch.nn.Module, shapes: dict[str, tuple[int, ...]]) -> Callable[[list[str], Any], list[Array]]:
    """A network as a function (names of outputs, uint8 batches by name) -> outputs, run by ONNX Runtime.

    Its outputs are called `seen`, or `stem` and `seen` where it has two.
    """
    inputs = tuple(torch.zeros((2, *shape), dtype=torch.uint8) for shape in shapes.values())
    any_size = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():  # it tells that the batch axes are one, which is what we want
        warnings.filterwarnings("ignore", message="# The axis name")
        program = torch.onnx.export(
            network.eval(),
            inputs,
            input_names=list(shapes),
            output_names=["stem", "seen"][-len(shapes) :],
            dynamic_shapes=tuple({0: any_size} for _ in shapes),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    ort = import_onnxruntime()
    options, how = ort.SessionOptions(), ort.RunOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    how.only_execute_path_to_fetches = True  # of a mirror image only the stem is wanted
    session = ort.InferenceSession(program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda names, feed: session.run(names, feed, how)


def _save(path: Path, values: Array) -> None:
    with appearing(path) as partial, partial.open("wb") as file:
        np.save(file, values)


def _digest(network: torch.nn.Module) -> str:
    """Tells weights from others."""
    digest = hashlib.sha256()
    for name, values in network.state_dict().items():
        digest.update(name.encode() + values.cpu().numpy().tobytes())
    return digest.hexdigest()


def _batched(items: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    for start in range(0, len(items), size):
        yield start, items[start : start + size]
