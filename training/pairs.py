"""Photos with texts as a training set: decoding, label-preserving views, and kept features of locked towers."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.towers import DualEncoder
from cgiaa_training.files import appearing, require_space
from cgiaa_training.manifest import Sample, load_set, read_image
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cgiaa_cli.errors import CgiaaError, PhotoError
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.paths import escape

__all__ = ["RESIZES", "PairData", "Pairs", "Views", "keep_features", "ratings_of", "view_of"]

Array = NDArray[Any]
RESIZES = ("squeeze", "cut")
BATCH = 32
_SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Pairs:
    """Photos, texts, and for each text the number of its photo."""

    photos: list[str]
    texts: list[str]
    photo: list[int]

    @staticmethod
    def of(samples: Sequence[Sample]) -> Pairs:
        """Samples that have both; texts on the same photo share it."""
        numbers: dict[str, int] = {}
        whole = [(str(s.image), str(s.text)) for s in samples]
        photo = [numbers.setdefault(image, len(numbers)) for image, _ in whole]
        return Pairs(list(numbers), [text for _, text in whole], photo)


@dataclass(frozen=True)
class Views:
    """How a photo becomes a tower's input; see `VlapConfig` for the fields."""

    resize: str = "squeeze"
    least_side: float = 0.9
    flip: bool = True
    count: int = 1
    seed: int = 0

    def draw(self, number: int, view: int, mirror: bool) -> tuple[float, float, float, float, bool]:
        """The crop (left, top, right, bottom as shares) and the mirroring of a view of photo `number`.

        View 0 is the whole frame, view 1 its mirror image (where mirroring is on), the others are random.
        """
        if view == 0 or (view == 1 and self.flip):
            return 0.0, 0.0, 1.0, 1.0, view == 1 and mirror
        rng = np.random.default_rng([self.seed, number, view])
        wide, tall = rng.uniform(self.least_side, 1, 2)
        left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - tall)
        return left, top, left + wide, top + tall, bool(mirror and self.flip and rng.integers(2))


def view_of(frame: Array, size: tuple[int, int], resize: str, crop: tuple[float, float, float, float, bool]) -> Array:
    """A tower's input (height, width, 3) uint8 from a decoded photo's `view` (h, w, 3) uint8."""
    height, width = frame.shape[:2]
    left, top, right, bottom, mirrored = crop
    box = (left * width, top * height, right * width, bottom * height)
    if resize == "cut":  # the largest middle part of the tower's own aspect
        side = min((box[2] - box[0]) / size[1], (box[3] - box[1]) / size[0])
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        box = (x - side * size[1] / 2, y - side * size[0] / 2, x + side * size[1] / 2, y + side * size[0] / 2)
    image = Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
    found = np.asarray(image)
    return np.ascontiguousarray(found[:, ::-1]) if mirrored else found


def _frame(path: str) -> Array:
    try:
        return decode(read_image(path), suffix=Path(path).suffix).view
    except (PhotoError, OSError) as error:
        cause = error.cause if isinstance(error, PhotoError) else "the photo cannot be read"
        raise CgiaaError(
            cause, path=escape(path), mend="run cgiaa train data check, and mend or drop what it names"
        ) from error


class PairData:
    """Pairs by index, for `loop.fit`; a tower whose features are kept is not run again.

    Attributes:
        features: "image": (P, V, width), "text": (T, width), where kept.
    """

    def __init__(self, model: DualEncoder, pairs: Pairs, views: Views) -> None:
        self.pairs, self.views = pairs, views
        self.size, self.tokens = model.image.size, model.text.tokens
        self.features: dict[str, Array] = {}
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.pairs.texts)

    def set_epoch(self, epoch: int) -> None:
        """Views are drawn anew for every epoch."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        photo, text = self.pairs.photo[index], self.pairs.texts[index]
        # a mirrored photo has its left on the right
        mirror = self.views.flip and not _SIDES.search(text)
        sample: dict[str, Any] = {"group": photo, "text": text}
        if "image" in self.features:
            kept = self.features["image"]
            usable = [v for v in range(kept.shape[1]) if mirror or not self.views.draw(photo, v, True)[4]]
            drawn = np.random.default_rng([self.views.seed, self.epoch, index]).choice(usable)
            sample["image_features"] = kept[photo, drawn]
        else:
            # views of the same photo differ by epoch; beyond 1 they are random
            crop = self.views.draw(photo, 2 + self.epoch, mirror)
            sample["photo"] = view_of(_frame(self.pairs.photos[photo]), self.size, self.views.resize, crop)
        if "text" in self.features:
            sample["text_features"] = self.features["text"][index]
        return sample

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A batch as `DualEncoder.forward` takes it, with `group`, the number of each photo."""
        batch = {"group": torch.tensor([s["group"] for s in samples])}
        for key in ("photo", "image_features", "text_features"):
            if key in samples[0]:
                batch[key] = torch.from_numpy(np.stack([s[key] for s in samples]))
        if "text_features" not in batch:
            batch["ids"], batch["mask"] = self.tokens([s["text"] for s in samples])
        return batch

    def embed_photos(self, model: DualEncoder) -> Array:
        """(P, D): the whole frames in the common space."""
        kept = self.features.get("image")
        features = kept[:, 0] if kept is not None else _photo_features(model, self, [0])[:, 0]
        device = model.logit_scale.device
        with torch.inference_mode():
            return model.place_image(torch.from_numpy(np.array(features)).to(device)).float().cpu().numpy()

    def embed(self, model: DualEncoder) -> tuple[Array, Array]:
        """(P, D) photos and (T, D) texts in the common space."""
        features = self.features["text"] if "text" in self.features else _text_features(model, self.pairs.texts)
        device = model.logit_scale.device
        with torch.inference_mode():
            text = model.place_text(torch.from_numpy(np.array(features)).to(device)).float().cpu().numpy()
        return self.embed_photos(model), text


def keep_features(model: DualEncoder, data: PairData, folder: Path, name: str, say: Callable[[str], None]) -> None:
    """Run the towers that are locked whole over `data` once, and keep what they give in `folder`/features.

    What was kept by a run that was interrupted is used again; the file's name changes with the tower, the photos and
    the views. Photos that only check (`name` is not "train") are seen as they are.
    """
    place = folder / "features"
    views = list(range(data.views.count)) if name == "train" else [0]
    if model.is_frozen("image"):
        seen = [model.blueprint["image"], data.pairs.photos, asdict(data.views), views, _trace(model.image)]
        path = place / f"{name}-image-{_key(seen)}.npy"
        if not path.exists():
            require_space(place, 4 * len(data.pairs.photos) * len(views) * model.image.width, "keeping features")
            _write(path, _photo_features(model, data, views, lambda n: say(f"vlap: {name}, photo {n}")))
        data.features["image"] = np.load(path, mmap_mode="r")
    if model.is_frozen("text") and data.pairs.texts:
        path = place / f"{name}-text-{_key([model.blueprint['text'], data.pairs.texts, _trace(model.text)])}.npy"
        if not path.exists():
            _write(path, _text_features(model, data.pairs.texts))
        data.features["text"] = np.load(path, mmap_mode="r")


def ratings_of(name: str, root: Path | str) -> tuple[list[str], Array]:
    """Photos of a rated set and their first label, photos without it left out.

    Raises:
        CgiaaError: the set has no rated photos.
    """
    found = load_set(name, root)
    label = next(iter(found.description.labels), "")
    samples = [s for s in found.samples if s.image and label in s.labels]
    if len(samples) < 2:
        raise CgiaaError(f"the set '{name}' has no rated photos", mend="name others in vlap.rated, see docs/data.md")
    return [str(s.image) for s in samples], np.array([s.labels[label] for s in samples])


def _photo_features(
    model: DualEncoder, data: PairData, views: Sequence[int], say: Callable[[int], None] = lambda _: None
) -> Array:
    """(P, V, width) float32: the image tower's features of these views of every photo."""
    photos = data.pairs.photos
    found = np.empty((len(photos), len(views), model.image.width), np.float32)

    def inputs(number: int) -> Array:
        frame = _frame(photos[number])
        crops = [data.views.draw(number, view, True) for view in views]
        return np.stack([view_of(frame, data.size, data.views.resize, crop) for crop in crops])

    device = model.logit_scale.device
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(photos), BATCH):
            numbers = range(start, min(start + BATCH, len(photos)))
            stacked = torch.from_numpy(np.stack(list(pool.map(inputs, numbers))))
            with torch.inference_mode():
                features = model.image(stacked.flatten(0, 1).to(device))
            found[numbers.start : numbers.stop] = features.float().cpu().numpy().reshape(len(numbers), len(views), -1)
            if (start // BATCH) % 16 == 15:
                say(numbers.stop)
    return found


def _text_features(model: DualEncoder, texts: Sequence[str]) -> Array:
    """(T, width) float32; texts of like length go together, or the short ones would be filled up to the longest."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = np.empty((len(texts), model.text.width), np.float32)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        with torch.inference_mode():
            found[chosen] = model.text_features([texts[i] for i in chosen]).float().cpu().numpy()
    return found


def _trace(tower: torch.nn.Module) -> float:
    """A number that tells weights from others: published ones from random ones, say."""
    return float(sum(p.detach().double().abs().sum() for p in tower.parameters()))


def _key(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _write(path: Path, values: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as partial:
        np.save(partial, values)
