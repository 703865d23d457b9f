"""Small pictures of known quality, with ratings and critiques that are true of them, for CI and for trials.

Each picture is a place under a sky with one subject. What decides its ratings is drawn at random and written down:
the light (right, too dark, blown out), the colour (rich, natural, grey), where the subject stands (on a third, dead
centre, cut by the frame), whether the horizon is level, how much litter lies about, and the focus (all sharp,
subject sharp before a soft background, all blurred). Sentences are put together from the same facts.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cgiaa_training.files import appearing
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["Scene", "draw", "imagine", "make", "rate", "sentences"]

SIZE = (160, 120)  # width, height
FINE = 2  # drawn larger by this, for smooth edges
SUBJECTS = ("tree", "house", "boat", "lighthouse", "balloon")
TALL = {"balloon": 1.6, "lighthouse": 1.3}  # in sizes above the foot; the others are 1
SKIES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {  # at the top, and at the horizon
    "sunset": ((60, 70, 140), (255, 170, 90)),
    "midday": ((60, 130, 225), (190, 220, 245)),
    "overcast": ((150, 155, 165), (205, 205, 205)),
    "dawn": ((110, 120, 190), (245, 200, 190)),
}
GROUNDS: dict[str, tuple[int, int, int]] = {
    "grass": (80, 140, 60),
    "sand": (215, 185, 130),
    "water": (45, 95, 130),
    "heather": (135, 85, 130),
}
HUES: dict[str, tuple[int, int, int]] = {
    "red": (200, 45, 40),
    "yellow": (240, 200, 50),
    "white": (240, 238, 230),
    "blue": (50, 80, 190),
    "orange": (235, 125, 35),
}
BINS = np.arange(1, 11)


@dataclass(frozen=True)
class Scene:
    """What a picture shows and how well: everything that its ratings and sentences follow from.

    Attributes:
        light: "right", "dark" or "blown"; colour: "rich", "natural" or "grey".
        place: "left third", "right third", "centre" or "edge"; level: is the horizon straight.
        focus: "sharp", "shallow" (the subject alone is sharp) or "blurred"; litter: 0..30 small distractions.
        sky, ground, subject, hue: keys of the tables above, of `SUBJECTS` for the subject.
        seed: of the small things that no sentence mentions.
    """

    sky: str
    ground: str
    subject: str
    hue: str
    light: str
    colour: str
    place: str
    level: bool
    focus: str
    litter: int
    seed: int


def make(folder: Path, count: int, seed: int) -> None:
    """Render `count` pictures into `folder`/photos with two manifests that `manifest.load_set` reads.

    `tiny-photos.csv`: photos with `score`, the four attributes and `technical` on 1..10, `complexity` on 0..100, a
    distribution over 1..10 whose mean is the score, and a split (3 of 5 train, 1 val, 1 test).
    `tiny-critiques.jsonl`: two texts for each of the four attributes and one on the subject, with the score of the
    attribute and the photo's split. The same seed gives the same files, and a larger count adds to them.
    """
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    texts: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        scene = imagine(rng)
        name, split = f"photos/{index:05d}.jpg", ("train", "train", "train", "val", "test")[index % 5]
        with appearing(folder / name) as partial:
            draw(scene).save(partial, quality=92)
        ratings, distribution = rate(scene, rng)
        row = {"id": f"tiny-{index:05d}", "photo": name, "split": split, **ratings}
        rows.append({**row, "distribution": " ".join(f"{p:.5f}" for p in distribution)})
        for attribute, text in sentences(scene, ratings, rng):
            score = ratings["score"] if attribute == "subject" else ratings[attribute]
            texts.append({"photo": name, "text": text, "attribute": attribute, "score": score, "split": split})
    with appearing(folder / "tiny-photos.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["id", "photo", "split", "score"])
        writer.writeheader()
        writer.writerows(rows)
    with appearing(folder / "tiny-critiques.jsonl") as partial:
        partial.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")


def imagine(rng: np.random.Generator) -> Scene:
    """A scene at random; each respect is good or bad by itself, so that each can be learnt by itself."""

    def one(options: Sequence[str]) -> str:
        return str(options[int(rng.integers(len(options)))])

    return Scene(
        sky=one(list(SKIES)),
        ground=one(list(GROUNDS)),
        subject=one(SUBJECTS),
        hue=one(list(HUES)),
        light=one(("right", "right", "dark", "blown")),
        colour=one(("rich", "natural", "grey")),
        place=one(("left third", "right third", "centre", "edge")),
        level=bool(rng.random() < 0.7),
        focus=one(("sharp", "shallow", "blurred")),
        litter=int(rng.choice([0, 2, 10, 30])),
        seed=int(rng.integers(2**31)),
    )


# --- the picture -----------------------------------------------------------------------------------------------


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene: 160 x 120, RGB."""
    rng = np.random.default_rng(scene.seed)
    width, height = SIZE[0] * FINE, SIZE[1] * FINE
    horizon = float(rng.choice([0.36, 0.64])) * height + float(rng.uniform(-8, 8))
    slope = 0.0 if scene.level else float(rng.choice([-1, 1])) * float(rng.uniform(0.10, 0.16))
    picture = Image.fromarray(_backdrop(scene, rng, horizon, slope))
    pen = ImageDraw.Draw(picture)
    for _ in range(scene.litter):
        x, y = rng.uniform(0, width), rng.uniform(horizon, height)
        size = rng.uniform(3, 9)
        pen.rectangle((x, y, x + size, y + size), fill=tuple(int(v) for v in rng.integers(20, 256, 3)))
    if scene.focus == "shallow":
        picture = picture.filter(ImageFilter.GaussianBlur(5))
    along = {"left third": 1 / 3, "right third": 2 / 3, "centre": 0.5, "edge": 0.02}[scene.place]
    foot = horizon + 0.12 * height
    size = float(rng.uniform(0.28, 0.43)) * height
    size = min(size, 0.94 * foot / TALL.get(scene.subject, 1))  # only "edge" may cut the subject
    _draw_subject(ImageDraw.Draw(picture), scene, along * width, foot, size)
    picture = picture.resize(SIZE, Image.Resampling.BOX)
    if scene.focus == "blurred":
        picture = picture.filter(ImageFilter.GaussianBlur(2.2))
    return Image.fromarray(_develop(np.asarray(picture), scene, rng))


def _backdrop(scene: Scene, rng: np.random.Generator, horizon: float, slope: float) -> NDArray[np.uint8]:
    """Sky, ground and their texture, (H, W, 3)."""
    width, height = SIZE[0] * FINE, SIZE[1] * FINE
    y, x = np.mgrid[:height, :width].astype(np.float32)
    edge = horizon + slope * (x - width / 2)
    top, low = (np.array(colour, np.float32) for colour in SKIES[scene.sky])
    share = np.clip(y / np.maximum(edge, 1), 0, 1)[..., None]
    picture = top * (1 - share) + low * share
    for _ in range(int(rng.integers(1, 5))):  # clouds
        at_x, at_y, wide = rng.uniform(0, width), rng.uniform(0, horizon), rng.uniform(15, 60)
        cloud = np.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / (wide / 4)) ** 2)[..., None]
        picture += cloud * (255 - picture) * float(rng.uniform(0.3, 0.8))
    ground = np.array(GROUNDS[scene.ground], np.float32) * float(rng.uniform(0.85, 1.15))
    depth = np.clip((y - edge) / (height - horizon + 1), 0, 1)[..., None]
    grain = rng.normal(0, 14, (height, width, 1)).astype(np.float32)
    below = (y > edge)[..., None]
    return np.asarray(np.clip(np.where(below, ground * (1.15 - 0.4 * depth) + grain, picture), 0, 255), np.uint8)


def _draw_subject(pen: ImageDraw.ImageDraw, scene: Scene, x: float, y: float, size: float) -> None:
    """The subject with its foot at (x, y), `size` pixels high."""
    hue, wood, dark = HUES[scene.hue], (90, 60, 40), (35, 30, 35)
    half = size / 4
    if scene.subject == "tree":
        pen.rectangle((x - half / 4, y - size / 2, x + half / 4, y), fill=wood)
        pen.ellipse((x - half * 1.3, y - size, x + half * 1.3, y - size * 0.35), fill=hue)
    elif scene.subject == "house":
        pen.rectangle((x - half * 1.3, y - size * 0.55, x + half * 1.3, y), fill=hue)
        pen.polygon([(x - half * 1.6, y - size * 0.55), (x, y - size), (x + half * 1.6, y - size * 0.55)], fill=wood)
        pen.rectangle((x - half / 3, y - size * 0.3, x + half / 3, y), fill=dark)
    elif scene.subject == "boat":
        pen.polygon([(x - half * 1.8, y - half), (x + half * 1.8, y - half), (x + half, y), (x - half, y)], fill=wood)
        pen.polygon([(x, y - size), (x, y - half * 1.2), (x + half * 1.4, y - half * 1.2)], fill=hue)
        pen.line((x, y - size, x, y - half), fill=dark, width=3)
    elif scene.subject == "lighthouse":
        pen.polygon([(x - half, y), (x + half, y), (x + half / 2, y - size * 1.1), (x - half / 2, y - size * 1.1)], hue)
        pen.rectangle((x - half / 2, y - size * 1.3, x + half / 2, y - size * 1.1), fill=dark)
    else:  # a balloon, in the air
        pen.ellipse((x - half * 1.4, y - size * 1.6, x + half * 1.4, y - size * 0.8), fill=hue)
        pen.line((x - half, y - size, x - half / 3, y - size * 0.6), fill=dark, width=2)
        pen.line((x + half, y - size, x + half / 3, y - size * 0.6), fill=dark, width=2)
        pen.rectangle((x - half / 3, y - size * 0.6, x + half / 3, y - size * 0.45), fill=wood)


def _develop(picture: NDArray[np.uint8], scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The exposure and the saturation of a scene, given to its pixels (H, W, 3)."""
    pixels = picture.astype(np.float32)
    grey = pixels.mean(-1, keepdims=True)
    pixels = grey + (pixels - grey) * {"rich": 1.4, "natural": 0.9, "grey": 0.12}[scene.colour]
    lift = {"right": 1.0, "dark": 0.28, "blown": 1.9}[scene.light] * float(rng.uniform(0.95, 1.05))
    return np.asarray(np.clip(pixels * lift, 0, 255), np.uint8)


# --- ratings ---------------------------------------------------------------------------------------------------


def rate(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Ratings of a scene with a little disagreement, and the distribution (10,) of its overall scores.

    Returns:
        `score`, `color_light`, `composition`, `depth_focus`, `general` and `technical` on 1..10, `complexity` on
        0..100; and the shares of the scores 1..10, of which `score` is the mean.
    """
    colour = {"right": 8.0, "dark": 3.6, "blown": 3.2}[scene.light]
    colour += {"rich": 1.2, "natural": 0.3, "grey": -1.4}[scene.colour]
    placed = {"left third": 8.4, "right third": 8.4, "centre": 5.6, "edge": 3.0}[scene.place]
    placed -= (0 if scene.level else 1.6) + scene.litter / 30
    focus = {"sharp": 7.6, "shallow": 9.0, "blurred": 2.4}[scene.focus]
    feeling = 0.35 * colour + 0.35 * placed + 0.3 * focus + (0.4 if scene.sky in ("sunset", "dawn") else 0)
    technical = 0.6 * {"sharp": 9.0, "shallow": 8.2, "blurred": 2.0}[scene.focus]
    technical += 0.4 * {"right": 9.0, "dark": 4.0, "blown": 3.0}[scene.light]
    raw = {"color_light": colour, "composition": placed, "depth_focus": focus, "general": feeling}
    raw["technical"] = technical
    noisy = {name: round(float(np.clip(v + rng.normal(0, 0.2), 1, 10)), 2) for name, v in raw.items()}
    shares = np.exp(-((BINS - float(np.clip(feeling + rng.normal(0, 0.2), 1, 10))) ** 2) / (2 * 1.4**2))
    shares /= shares.sum()
    busy = 12 + 2.2 * scene.litter + (6 if scene.focus == "sharp" else 0) + float(rng.normal(0, 2))
    complexity = round(float(np.clip(busy, 0, 100)), 2)
    return {"score": round(float(shares @ BINS), 4), **noisy, "complexity": complexity}, shares


# --- sentences -------------------------------------------------------------------------------------------------

LIGHT = {
    "right": (
        "the exposure is just right",
        "the light is well handled",
        "the {sky} light is exposed with care",
        "highlights and shadows both keep their detail",
    ),
    "dark": (
        "the picture is far too dark",
        "it is underexposed and the shadows swallow the {subject}",
        "there is too little light on the {subject}",
        "a longer exposure would have saved the shadows",
    ),
    "blown": (
        "the sky is blown out",
        "it is overexposed and the highlights are gone",
        "there is far too much light",
        "the bright parts are burnt to pure white",
    ),
}
COLOUR = {
    "rich": (
        "the {hue} {subject} and the {ground} show strong colours",
        "the colours are rich and vivid",
        "strong, saturated colours",
    ),
    "natural": (
        "the colours look natural",
        "the palette is calm and believable",
        "the tones of the {ground} are true to life",
    ),
    "grey": (
        "the colours are grey and lifeless",
        "it is nearly without colour",
        "the washed-out palette takes away the mood",
    ),
}
PLACE = {
    "third": (
        "the {subject} sits nicely on the {place}",
        "placing the {subject} on the {place} follows the rule of thirds",
        "the {subject} on the {place} leaves room to breathe",
    ),
    "centre": (
        "the {subject} is dead centre, which feels static",
        "a {subject} in the very middle makes the framing dull",
        "try to move the {subject} off the centre of the frame",
    ),
    "edge": (
        "the {subject} is cut off by the frame",
        "half of the {subject} is lost at the left edge",
        "the framing chops the {subject} in two",
    ),
}
LEVEL = {
    True: ("the horizon is level", "a straight horizon keeps the frame calm"),
    False: ("the horizon is tilted", "the horizon leans and should be straightened"),
}
LITTER = {
    "none": ("nothing distracts from the {subject}", "the foreground is clean"),
    "much": ("the foreground is cluttered", "too many small things on the {ground} distract the eye"),
}
FOCUS = {
    "sharp": (
        "everything is in sharp focus from front to back",
        "the depth of field is deep and the {subject} is crisp",
        "the focus is spot on and the {ground} shows fine detail",
    ),
    "shallow": (
        "the soft background makes the sharp {subject} stand out",
        "a shallow depth of field separates the {subject} beautifully",
        "the focus is on the {subject} and the rest falls into a gentle blur",
    ),
    "blurred": (
        "the whole picture is out of focus",
        "the {subject} is blurred and nothing is sharp",
        "the focus was missed",
    ),
}
FEELING = {
    "good": (
        "a lovely picture that I would hang on my wall",
        "a strong image with a fine {sky} mood",
        "I really like this view of the {subject}",
        "great work, the {sky} feels peaceful",
    ),
    "fair": (
        "a decent picture with some things to improve",
        "a fair attempt, the {subject} has promise",
        "not bad, but it does not hold me for long",
    ),
    "poor": (
        "a weak picture that does not work for me",
        "I am afraid that this {subject} leaves me cold",
        "this shot fails to please, better luck next time",
    ),
}
SUBJECT = (
    "a {hue} {subject} by the {ground} in {sky} light",
    "this is a {hue} {subject} under a {sky} sky",
    "the photo shows a {hue} {subject} and some {ground}",
)
JOINS = (". ", ", and ", "; ")


def sentences(scene: Scene, ratings: Mapping[str, float], rng: np.random.Generator) -> list[tuple[str, str]]:
    """(attribute, text) pairs, all true of the scene: two for each of the four attributes, one on the subject."""
    place = PLACE["third" if "third" in scene.place else scene.place]
    litter = [LITTER["none"]] if scene.litter == 0 else [LITTER["much"]] if scene.litter >= 10 else []
    feeling = FEELING["good" if ratings["general"] >= 7 else "fair" if ratings["general"] >= 5 else "poor"]
    light, colour, focus = LIGHT[scene.light], COLOUR[scene.colour], FOCUS[scene.focus]
    first, second = rng.permutation(len(focus))[:2]
    third, fourth = rng.permutation(len(feeling))[:2]
    return [
        ("color_light", _text(scene, rng, light, colour)),
        ("color_light", _text(scene, rng, light if rng.random() < 0.5 else colour)),
        ("composition", _text(scene, rng, place, LEVEL[scene.level])),
        ("composition", _text(scene, rng, place, *litter)),
        ("depth_focus", _text(scene, rng, [focus[first]])),
        ("depth_focus", _text(scene, rng, [focus[second]])),
        ("general", _text(scene, rng, [feeling[third]])),
        ("general", _text(scene, rng, [feeling[fourth]])),
        ("subject", _text(scene, rng, SUBJECT)),
    ]


def _text(scene: Scene, rng: np.random.Generator, *facts: Sequence[str]) -> str:
    """One of each of the facts' wordings, in either order, joined to one line."""
    chosen = [options[int(rng.integers(len(options)))] for options in facts]
    if rng.random() < 0.5:
        chosen.reverse()
    line = chosen[0]
    for fact in chosen[1:]:
        join = JOINS[int(rng.integers(len(JOINS)))]
        line += join + (fact[0].upper() + fact[1:] if join == ". " else fact)
    hue = "grey" if scene.colour == "grey" else scene.hue  # which hue it was can then hardly be seen
    line = line.format(sky=scene.sky, subject=scene.subject, hue=hue, ground=scene.ground, place=scene.place)
    line = re.sub(r"\ba (?=[aeiou])", "an ", line)
    return line[0].upper() + line[1:] + "."
