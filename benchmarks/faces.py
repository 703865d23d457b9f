"""How well `cgiaa groups` sees that somebody's eyes are closed in one frame of a burst.

    python benchmarks/faces.py --photos FOLDER [--look PICTURE] [--scenes FOLDER...] [--people 2000]

`benchmarks/faces.csv` says where the eyes are in photos of public sets: `open`, `shut`, or looking `down`. FOLDER holds
a folder SET/images for each set. Of each photo with open eyes bursts of four frames are made, hand-held: turned,
shifted, lighter or darker, with noise, saved as JPEG; in one frame the eyes are closed, drawn (skin and lashes), or by
the shut eyes of another face. The frames are files that the program decodes. `--look` saves a picture of what was made.
Prints Markdown.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.imaging.faces import Eyes, Face, closed_eyes, find_faces

Picture = NDArray[np.uint8]
Grid = NDArray[np.float32]
FRAMES = 4


@dataclass(frozen=True)
class Portrait:
    """A photo and where its eyes are, px: `pupils[0]` is the left one of the picture."""

    name: str
    kind: str
    image: Picture
    pupils: NDArray[np.float32]

    @property
    def apart(self) -> float:
        return float(np.hypot(*(self.pupils[1] - self.pupils[0])))

    def grid(self, eye: int) -> tuple[Grid, Grid]:
        """Of each pixel how far it lies along the line of the eyes and across it, in units of their distance."""
        height, width = self.image.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = x - self.pupils[eye][0], y - self.pupils[eye][1]
        (cos, sin) = (self.pupils[1] - self.pupils[0]) / self.apart
        return (x * cos + y * sin) / self.apart, (y * cos - x * sin) / self.apart


def read(folder: Path) -> list[Portrait]:
    with open(Path(__file__).with_suffix(".csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        pupils = [[float(row[f"{side}_{axis}"]) for axis in "xy"] for side in ("left", "right")]
        image = cv2.imread(str(folder / row["photo"].replace("/", "/images/")))
        if image is None:
            raise SystemExit(f"{row['photo']} is not below {folder}")
        found.append(Portrait(row["photo"], row["eyes"], np.asarray(image, np.uint8), np.array(pupils, np.float32)))
    return found


# --- closing eyes ----------------------------------------------------------------------------------------------------


def step(value: Grid, wide: float) -> Grid:
    """From 1 below 0 to 0 above it."""
    return np.asarray(1 / (1 + np.exp(np.clip(value / wide, -50, 50))), np.float32)


def drawn(face: Portrait) -> Picture:
    """Skin between what is above and below each eye, a lid with its fold, and the line of the lashes."""
    out = face.image.astype(np.float32)
    (cos, sin), apart = (face.pupils[1] - face.pupils[0]) / face.apart, face.apart
    above, below = -0.17, 0.18
    for eye in range(2):
        u, v = face.grid(eye)
        soft = cv2.GaussianBlur(out, (0, 0), max(0.6, 0.045 * apart))

        def row(at: float, u: Grid = u, eye: int = eye, soft: Grid = soft) -> Grid:
            x = face.pupils[eye][0] + (u * cos - at * sin) * apart
            y = face.pupils[eye][1] + (u * sin + at * cos) * apart
            return np.asarray(cv2.remap(soft, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)

        share = ((v - above) / (below - above)).clip(0, 1)[..., None]
        lid = row(above) * (1 - share) + row(below) * share
        fold = 0.10 * np.exp(-(((v + 0.10 + 0.03 * np.cos(5 * u)) / 0.025) ** 2)) * (np.abs(u) < 0.26)
        lid *= (1 + 0.05 * np.exp(-((u / 0.16) ** 2) - (v / 0.06) ** 2) - fold)[..., None]
        lashes = np.exp(-(((v - 0.075 + 0.55 * u**2) / 0.026) ** 2)) * step(np.abs(u) - 0.235, 0.015)
        lid *= (1 - 0.62 * lashes)[..., None]
        mask = step(np.sqrt((u / 0.31) ** 2 + ((v - 0.005) / 0.165) ** 2) - 0.92, 0.05)[..., None]
        out = out * (1 - mask) + lid * mask
    return np.asarray(out.clip(0, 255), np.uint8)


def borrowed(face: Portrait, donor: Portrait) -> Picture:
    """The shut eyes of another face, as light as what is around the eyes here."""

    def triangle(p: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array([p[0], p[1], p[0] + [-(p[1] - p[0])[1], (p[1] - p[0])[0]]], np.float32)

    size = face.image.shape[1], face.image.shape[0]
    moved = cv2.getAffineTransform(triangle(donor.pupils), triangle(face.pupils))
    other = cv2.warpAffine(donor.image, moved, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    other = cv2.cvtColor(other, cv2.COLOR_BGR2YCrCb).astype(np.float32)
    out = cv2.cvtColor(face.image, cv2.COLOR_BGR2YCrCb).astype(np.float32)
    for eye in range(2):
        u, v = face.grid(eye)
        r = np.sqrt((u / 0.33) ** 2 + ((v - 0.01) / 0.2) ** 2)
        ring = np.exp(-(((r - 1) / 0.12) ** 2))[..., None]
        wide = 0.15 * face.apart
        here, there = (cv2.GaussianBlur(p * ring, (0, 0), wide) for p in (out, other))
        colour = here / np.maximum(cv2.GaussianBlur(ring, (0, 0), wide)[..., None], 1e-6)
        light = other[..., :1] * (here / np.maximum(there, 1e-3))[..., :1].clip(0.2, 5)
        mask = step(r - 0.9, 0.06)[..., None]
        out = out * (1 - mask) + np.concatenate([light, colour[..., 1:]], -1) * mask
    return np.asarray(cv2.cvtColor(out.clip(0, 255).astype(np.uint8), cv2.COLOR_YCrCb2BGR), np.uint8)


# --- bursts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """A frame of a burst: the file, and where the middle between the eyes is, shares of the long side."""

    data: bytes
    x: float
    y: float


def hand_held(face: Portrait, chance: np.random.Generator) -> Frame:
    """Turned by about a degree, shifted by up to 2 %, 1/4 of a stop lighter or darker, with noise, as JPEG."""
    height, width = face.image.shape[:2]
    zoom = 1.06 + chance.uniform(0, 0.03)
    moved = cv2.getRotationMatrix2D((width / 2, height / 2), chance.normal(0, 1), zoom)
    moved[:, 2] += chance.uniform(-0.02, 0.02, 2) * (width, height)
    frame = cv2.warpAffine(
        face.image, moved, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    ).astype(np.float32)
    light = (frame / 255) ** 2.2 * 2 ** chance.uniform(-0.25, 0.25)
    frame = light.clip(0, 1) ** (1 / 2.2) * 255 + chance.normal(0, chance.uniform(1, 3), frame.shape)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(chance.integers(80, 95))]
    data = cv2.imencode(".jpg", frame.clip(0, 255).astype(np.uint8), quality)[1].tobytes()
    x, y = moved @ [*face.pupils.mean(0), 1] / max(height, width)
    return Frame(data, float(x), float(y))


def found(frame: Frame) -> list[Face]:
    return find_faces(decode(frame.data).luma)


def the_face(faces: Sequence[Face], frame: Frame) -> Face | None:
    near = (f for f in faces if max(abs(f.x - frame.x), abs(f.y - frame.y)) < f.size / 2)
    return next(near, None)


@dataclass
class Count:
    """What came of bursts.

    Attributes:
        there: bursts whose face is found in most frames.
        right: frames with closed eyes of which that is said.
        wrong: frames with open eyes of which it is said.
        frames: with open eyes.
    """

    bursts: int = 0
    there: int = 0
    right: int = 0
    wrong: int = 0
    frames: int = 0

    def add(
        self, frames: Sequence[Sequence[Face]], marks: Sequence[Frame], eyes: Sequence[Eyes], shut: int | None
    ) -> None:
        self.bursts += 1
        here = sum(the_face(f, m) is not None for f, m in zip(frames, marks, strict=True))
        self.there += 2 * here > len(frames)
        for number, seen in enumerate(eyes):
            if number == shut:
                self.right += seen.closed > 0
            else:
                self.frames += 1
                self.wrong += seen.closed > 0


def bursts(
    faces: Sequence[Portrait], close: Callable[[Portrait], Picture] | None, chance: np.random.Generator
) -> Count:
    """Bursts of each face, with the eyes closed in the last frame if `close` is given."""
    count = Count()
    for face in faces:
        frames = [hand_held(face, chance) for _ in range(FRAMES - (close is not None))]
        if close:
            frames.append(hand_held(replace(face, image=close(face)), chance))
        seen = [found(frame) for frame in frames]
        count.add(seen, frames, closed_eyes(seen), FRAMES - 1 if close else None)
    return count


def unchanged(face: Portrait) -> Face | None:
    """The face as it is found in the photo itself."""
    x, y = face.pupils.mean(0) / max(face.image.shape[:2])
    grey = cv2.cvtColor(face.image, cv2.COLOR_BGR2GRAY)
    return the_face(find_faces(np.asarray(grey, np.uint8)), Frame(b"", float(x), float(y)))


# --- what must not be ------------------------------------------------------------------------------------------------


def people(faces: Sequence[Portrait], pairs: int, chance: np.random.Generator) -> tuple[int, int]:
    """Pairs of frames that show different people at one place, and in how many of them eyes are called closed."""
    single = []
    for face in faces:
        frame = hand_held(face, chance)
        one = the_face(found(frame), frame)
        if one:
            single.append(replace(one, x=0.5, y=0.5, size=0.2))
    wrong = 0
    for _ in range(pairs):
        a, b = chance.choice(len(single), 2, replace=False)
        wrong += any(eyes.closed for eyes in closed_eyes([[single[a]], [single[b]]]))
    return pairs, wrong


def scenes(folders: Sequence[Path], chance: np.random.Generator) -> tuple[int, int, int]:
    """Photos without people: how many there are, those with a face, and bursts of them with closed eyes."""
    count = with_face = wrong = 0
    for path in (p for folder in folders for p in sorted(folder.iterdir())):
        image = cv2.imread(str(path))
        if image is None:
            continue
        middle = np.array([[0, 0], [1, 0]], np.float32)
        place = Portrait(path.name, "", np.asarray(image, np.uint8), middle)
        seen = [found(hand_held(place, chance)) for _ in range(FRAMES)]
        eyes = closed_eyes(seen)
        count, with_face = count + 1, with_face + any(e.faces for e in eyes)
        wrong += any(e.closed for e in eyes)
    return count, with_face, wrong


def seconds(faces: Sequence[Portrait], chance: np.random.Generator) -> tuple[float, float]:
    """Seconds a photo as the sets have them, and enlarged to 24 megapixels, decoding left out."""
    took = []
    for enlarge in (False, True):
        frames = []
        for face in faces[:8]:
            image = cv2.resize(face.image, (6000, 4000)) if enlarge else face.image
            frames.append(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
        began = time.process_time()
        for frame in frames:
            closed_eyes([find_faces(np.asarray(frame, np.uint8))] * 2)
        took.append((time.process_time() - began) / len(frames))
    return took[0], took[1]


# --- the page --------------------------------------------------------------------------------------------------------


def sheet(faces: Sequence[Portrait], donors: Sequence[Portrait]) -> Picture:
    """A few faces as they are, with drawn and with borrowed lids."""

    def cut(face: Portrait, image: Picture) -> Picture:
        (x, y), d = face.pupils.mean(0), face.apart
        left, top = max(0, int(x - 1.1 * d)), max(0, int(y - 0.9 * d))
        part = image[top : int(y + 1.3 * d), left : int(x + 1.1 * d)]
        return np.asarray(cv2.resize(part, (160, 160), interpolation=cv2.INTER_CUBIC), np.uint8)

    tiles = [
        np.hstack([cut(f, f.image), cut(f, drawn(f)), cut(f, borrowed(f, donors[i % len(donors)]))])
        for i, f in enumerate(faces[:: max(1, len(faces) // 20)][:20])
    ]
    return np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles) - 1, 2)])


def rows(args: argparse.Namespace) -> Iterator[str]:
    portraits = read(args.photos)
    by = {kind: [p for p in portraits if p.kind == kind] for kind in ("open", "shut", "down")}
    donors = by["shut"]
    if args.look:
        cv2.imwrite(str(args.look), sheet(by["open"], donors))
    chance = np.random.default_rng(args.seed)

    def lend(face: Portrait) -> Picture:
        return borrowed(face, donors[int(chance.integers(len(donors)))])

    yield f"| bursts of {FRAMES} frames | bursts | face found | closed frame named | open frame wrongly named |"
    yield "|---|---|---|---|---|"
    kinds = (
        ("closed in one frame, drawn", by["open"], drawn),
        ("closed in one frame, shut eyes of another face", by["open"], lend),
        ("open in all", by["open"], None),
        ("closed or looking down in all", by["shut"] + by["down"], None),
    )
    for name, faces, close in kinds:
        c = bursts(faces, close, chance)
        right = f"{c.right} ({c.right / c.bursts:.0%})" if close else ""
        yield f"| {name} | {c.bursts} | {c.there} ({c.there / c.bursts:.0%}) | {right} | {c.wrong} of {c.frames} |"
    alone = [face for p in by["shut"] + by["down"] if (face := unchanged(p))]
    fooled = sum(face.eyes is not None for face in alone)
    yield f"\nOf {len(alone)} faces with shut or lowered eyes the cascades find a pair of eyes in {fooled}."
    pairs, wrong = people(by["open"], args.people, chance)
    yield f"Two different people at one place, both with open eyes: {wrong} of {pairs} pairs called closed."
    if args.scenes:
        count, with_face, wrong = scenes(args.scenes, chance)
        yield f"Photos without people: a face in {with_face} of {count} bursts, closed eyes in {wrong}."
    small, large = seconds(by["open"], chance)
    yield f"CPU seconds a photo: {small:.3f} as they are, {large:.3f} at 24 megapixels, decoding left out."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--look", type=Path)
    parser.add_argument("--scenes", type=Path, nargs="*", default=[])
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=5)
    for line in rows(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
