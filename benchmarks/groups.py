"""How well and how quickly `cgiaa groups` groups.

    python benchmarks/groups.py quality --photos FOLDER... [--pick 100] [--others 600] [--imagededup PYTHON]
    python benchmarks/groups.py scale [--photos 25000,50000,100000]

`quality` makes a labelled set in a temporary folder: edited copies and simulated shots of real photos, among other
photos and among skies, and runs the command on it. With the name of a Python that has imagededup installed, that one is
measured on the same files. `scale` fills a cache with made-up photos, of which it knows the groups, and runs the
command with --no-scan as a process of its own. Both print Markdown.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from cgiaa_cli.bundles import About, load, write_bundle
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.imaging.look import SIDE, look

# --- quality ---------------------------------------------------------------------------------------------------------

Edit = Callable[[Image.Image, np.random.Generator], Image.Image]
SUFFIXES = (".jpg", ".jpeg", ".png")
FLAT_SKY = 6.0


def crop(share: float) -> Edit:
    """Cut off `share` of each side's length, at a random place."""

    def edit(image: Image.Image, chance: np.random.Generator) -> Image.Image:
        wide, tall = round(image.width * (1 - share)), round(image.height * (1 - share))
        left, top = int(chance.integers(image.width - wide + 1)), int(chance.integers(image.height - tall + 1))
        return image.crop((left, top, left + wide, top + tall))

    return edit


def lean(image: Image.Image, chance: np.random.Generator) -> Image.Image:
    """3 degrees, without the corners that it leaves empty."""
    turned = image.rotate(3, Image.Resampling.BICUBIC)
    x, y = round(0.055 * image.width), round(0.055 * image.height)
    return turned.crop((x, y, image.width - x, image.height - y))


def grade(image: Image.Image, chance: np.random.Generator) -> Image.Image:
    """Warmer, more saturated, more contrast."""
    image = ImageEnhance.Contrast(ImageEnhance.Color(image).enhance(1.5)).enhance(1.2)
    return from_array(np.asarray(image) * np.array([1.08, 1.0, 0.9]))


def expose(stops: float) -> Edit:
    """As if exposed for longer: in linear light, clipped."""

    def edit(image: Image.Image, chance: np.random.Generator) -> Image.Image:
        linear = (np.asarray(image) / 255) ** 2.2 * 2**stops
        return from_array(linear.clip(0, 1) ** (1 / 2.2) * 255)

    return edit


def neighbour(image: Image.Image, chance: np.random.Generator) -> Image.Image:
    """The next frame of a hand-held burst: shifted by up to 3 % of each side, with noise of its own."""
    margin = round(0.05 * max(image.size))
    dx, dy = (chance.uniform(-0.03, 0.03, 2) * image.size).round().astype(int)
    left, top = margin + int(dx), margin + int(dy)
    part = image.crop((left, top, left + image.width - 2 * margin, top + image.height - 2 * margin))
    return from_array(np.asarray(part) + chance.normal(0, 6, (part.height, part.width, 3)))


def from_array(values: Any) -> Image.Image:
    return Image.fromarray(np.asarray(values).clip(0, 255).astype(np.uint8))


COPIES: dict[str, Edit] = {
    "half the size": lambda image, _: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "JPEG quality 30": lambda image, _: image,
    "cropped by 5 %": crop(0.05),
    "cropped by 10 %": crop(0.10),
    "cropped by 20 %": crop(0.20),
    "turned by 90 degrees": lambda image, _: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 3 degrees": lean,
    "colours edited": grade,
}
SHOTS: dict[str, Edit] = {
    "1.5 stops darker": expose(-1.5),
    "1.5 stops lighter": expose(1.5),
    "next frame": neighbour,
    "frame after that": neighbour,
}


@dataclass
class Labelled:
    """The files of the labelled set.

    Attributes:
        truth: name of a file -> the group it belongs to.
        edit: name of a file -> what was done to it; `original`, `other` or `sky` where nothing was.
        timed: names of files with a capture time.
    """

    folder: Path
    truth: dict[str, str] = field(default_factory=dict)
    edit: dict[str, str] = field(default_factory=dict)
    timed: set[str] = field(default_factory=set)

    def save(
        self,
        image: Image.Image,
        group: str,
        edit: str,
        *,
        at: int | None = None,
        shutter: float = 0.01,
        quality: int = 92,
    ) -> None:
        """Write a file, with EXIF if it has a time (seconds)."""
        name = f"{len(self.truth):05}.jpg"
        options: dict[str, Any] = {}
        if at is not None:
            exif = Image.Exif()
            exif[0x0110] = "Testcam"
            block = exif.get_ifd(0x8769)
            block[0x9003] = time.strftime("%Y:%m:%d %H:%M:%S", time.gmtime(at))
            block[0x829A], block[0x829D], block[0x8827] = shutter, 8.0, 100
            options["exif"] = exif
            self.timed.add(name)
        image.save(self.folder / name, quality=quality, **options)
        self.truth[name], self.edit[name] = group, edit


def upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        turned = ImageOps.exif_transpose(image)
        return turned.convert("RGB")


def make_set(folder: Path, paths: Sequence[Path], pick: int, others: int) -> Labelled:
    """Edits of `pick` photos, every other one with capture times, slices of some more, and `others` beside them."""
    made = Labelled(folder)
    clock = 1_700_000_000
    for number, path in enumerate(paths[:pick]):
        image, chance = upright(path), np.random.default_rng(number)
        clock += 3600
        timed = number % 2 == 1
        made.save(image, path.name, "original", at=clock if timed else None)
        for name, edit in COPIES.items():
            quality = 30 if "quality" in name else 92
            made.save(edit(image, chance), path.name, name, at=clock if timed else None, quality=quality)
        # with times, a photo has either a bracket or a burst: a camera takes one or the other
        for shot, (name, edit) in enumerate(SHOTS.items()):
            if timed and ("stops" in name) != (number % 4 == 1):
                continue
            stops = {"1.5 stops darker": -1.5, "1.5 stops lighter": 1.5}.get(name, 0.0)
            at = clock + 1 + shot % 2 if timed else None
            made.save(edit(image, chance), path.name, name, at=at, shutter=0.01 * 2**stops)
    rest = paths[pick:]
    slices = pick // 4
    for path in rest[:slices]:
        image = upright(path)
        clock += 3600
        wide = round(0.45 * image.width)
        for frame in range(3):
            left = round(0.275 * frame * image.width)
            part = image.crop((left, 0, left + wide, image.height))
            made.save(part, path.name, "panorama", at=clock + 3 * frame)
    for number, path in enumerate(rest[slices : slices + others]):
        clock += 15  # as on a walk: near enough for a burst, were they alike
        made.save(upright(path), path.name, "other", at=clock if number % 2 else None)
    for path in rest[slices:]:
        image = upright(path)
        sky = image.crop((0, 0, image.width, image.height // 4))
        if look(np.asarray(sky.resize((260, 260)))).detail < FLAT_SKY:
            clock += 600
            made.save(sky, f"sky of {path.name}", "sky", at=clock)
    return made


def reported(groups: Iterable[Iterable[str]]) -> set[tuple[str, str]]:
    """All pairs within groups."""
    return {pair for group in groups for pair in combinations(sorted(set(group)), 2)}


def report_quality(made: Labelled, answers: dict[str, set[tuple[str, str]]]) -> None:
    """A table of recall by edit, then of precision and recall over all pairs."""
    by_group: dict[str, list[str]] = {}
    for name, group in made.truth.items():
        by_group.setdefault(group, []).append(name)
    true = reported(by_group.values())
    skies = {name for name, edit in made.edit.items() if edit == "sky"}
    print(f"| of {len(made.truth)} photos | n | {' | '.join(answers)} |\n|---|---|{'---|' * len(answers)}")
    for edit in [*COPIES, *SHOTS]:
        wanted = []
        for members in by_group.values():
            original = [name for name in members if made.edit[name] == "original"]
            wanted += [tuple(sorted((o, n))) for o in original for n in members if made.edit[n] == edit]
        shares = (f"{sum(pair in found for pair in wanted) / len(wanted):.1%}" for found in answers.values())
        print(f"| found with its original: {edit} | {len(wanted)} | {' | '.join(shares)} |")
    for title, value in (
        ("recall of all pairs", lambda found: f"{len(found & true) / len(true):.1%}"),
        ("precision of all pairs", lambda found: f"{len(found & true) / max(1, len(found)):.1%}"),
        ("wrong pairs", lambda found: str(len(found - true))),
        ("of them between skies", lambda found: str(sum(set(pair) <= skies for pair in found - true))),
    ):
        print(f"| {title} | {len(true) if 'recall' in title else ''} | {' | '.join(map(value, answers.values()))} |")


def report_kinds(made: Labelled, groups: list[dict[str, Any]]) -> None:
    """Which kinds the groups of the photos with times were given."""
    kinds = {Path(member["path"]).name: group["kind"] for group in groups for member in group["members"]}
    print("\n| kind of the groups with capture times | n | right |\n|---|---|---|")
    for kind, edits in (
        ("bracket", ["1.5 stops darker", "1.5 stops lighter"]),
        ("burst", ["next frame"]),
        ("panorama", ["panorama"]),
    ):
        names = [n for n in made.timed if made.edit[n] in edits]
        right = sum(kinds.get(name) == kind for name in names)
        print(f"| {kind}: photos | {len(names)} | {right / len(names):.1%} |")
    for kind in ("bracket", "panorama"):
        edits = {"bracket": {"1.5 stops darker", "1.5 stops lighter", "original"}, "panorama": {"panorama"}}[kind]
        wrong = [
            g
            for g in groups
            if g["kind"] == kind and not edits & {made.edit[Path(m["path"]).name] for m in g["members"]}
        ]
        print(f"| wrongly a {kind}: groups | | {len(wrong)} |")


IMAGEDEDUP = """
import json, sys
from imagededup.methods import PHash
found = PHash(verbose=False).find_duplicates(image_dir=sys.argv[1], max_distance_threshold=24, scores=True)
json.dump({name: [[other, int(d)] for other, d in others] for name, others in found.items()}, sys.stdout)
"""


def imagededup(python: str, folder: Path) -> dict[int, set[tuple[str, str]]]:
    """By threshold the pairs that imagededup's PHash reports, and those that follow: groups are transitive, too."""
    done = subprocess.run([python, "-c", IMAGEDEDUP, str(folder)], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    pairs = [(tuple(sorted((a, b))), d) for a, others in found.items() for b, d in others]
    return {limit: closed(pair for pair, distance in pairs if distance <= limit) for limit in range(2, 25)}


def closed(pairs: Iterable[tuple[str, ...]]) -> set[tuple[str, str]]:
    """All pairs within the connected components."""
    group: dict[str, list[str]] = {}
    for a, b in pairs:
        one, other = group.setdefault(a, [a]), group.setdefault(b, [b])
        if one is not other:
            one += other
            group.update((name, one) for name in other)
    return reported({id(members): members for members in group.values()}.values())


def f1(found: set[tuple[str, str]], true: set[tuple[str, str]]) -> float:
    return 2 * len(found & true) / (len(found) + len(true))


def quality(options: argparse.Namespace) -> None:
    every = sorted(p for folder in options.photos for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    random.Random(options.seed).shuffle(every)
    with tempfile.TemporaryDirectory(prefix="cgiaa-bench-") as temporary:
        folder = Path(temporary) / "photos"
        folder.mkdir()
        made = make_set(folder, every[: 4 * (options.pick + options.others)], options.pick, options.others)
        command = [sys.executable, "-m", "cgiaa_cli", "groups", str(folder), "--format", "json", "--no-measure"]
        command += ["--db", str(options.db or Path(temporary) / "cache.sqlite")]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        groups = json.loads(done.stdout)
        names = [[Path(m["path"]).name for m in group["members"]] for group in groups]
        answers = {"cgiaa groups": reported(names)}
        if options.imagededup:
            by_limit = imagededup(options.imagededup, folder)
            truth: dict[str, list[str]] = {}
            for name, group in made.truth.items():
                truth.setdefault(group, []).append(name)
            true = reported(truth.values())
            best = max(by_limit, key=lambda limit: f1(by_limit[limit], true))
            answers["imagededup PHash, its default of 10 bits"] = by_limit[10]
            answers[f"the same, its best here: {best} bits"] = by_limit[best]
    report_quality(made, answers)
    report_kinds(made, groups)
    if options.show:
        for a, b in sorted(pair for pair in answers["cgiaa groups"] if made.truth[pair[0]] != made.truth[pair[1]]):
            print(f"wrong: {made.edit[a]} {made.truth[a]} with {made.edit[b]} {made.truth[b]}", file=sys.stderr)


# --- scale -----------------------------------------------------------------------------------------------------------

DIM = 256
CHUNK = 5000


def scenes(chance: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Embeddings (count, DIM) that fall into loose clusters as real ones do, and thumbnails (count, 32, 32)."""
    centres = chance.normal(size=(200, DIM))
    vectors = centres[chance.integers(200, size=count)] * 0.7 + chance.normal(size=(count, DIM))
    waves = np.cos(np.outer(np.arange(10), (2 * np.arange(SIDE) + 1) * np.pi / (2 * SIDE)))
    falling = 1 / (1 + np.add.outer(np.arange(10), np.arange(10)))
    fields = waves.T @ (chance.normal(size=(count, 10, 10)) * falling) @ waves
    return vectors, 128 + 45 * fields / fields.std(axis=(1, 2), keepdims=True)


def make_cache(db: Path, photos: int, one_scene: int, scorer_key: tuple[str, str, str]) -> dict[str, int]:
    """Two thirds of the photos single, the others in bursts of 2 to 6 frames, and `one_scene` frames of one view.

    Returns:
        Path -> number of its true group.
    """
    chance = np.random.default_rng(0)
    truth: dict[str, int] = {}
    with Cache.open(db) as cache:
        scorer = cache.scorer_id(*scorer_key)
        sizes = [one_scene] if one_scene else []
        while sum(sizes) < photos:
            sizes.append(int(chance.integers(2, 7)) if chance.random() < 1 / 9 else 1)
        group = np.repeat(np.arange(len(sizes)), sizes)[:photos]
        clock = 1_500_000_000
        for start in range(0, len(sizes), CHUNK):
            some = sizes[start : start + CHUNK]
            vectors, thumbs = scenes(chance, len(some))
            rows: dict[str, list[tuple[Any, ...]]] = {
                n: [] for n in ("contents", "files", "scores", "embeddings", "looks")
            }
            for i, size in enumerate(some):
                clock += int(chance.integers(120, 4000))
                for _ in range(size):
                    key = len(truth) + 1
                    if key > photos:
                        break
                    clock += 1
                    path = f"/photos/{key // 500:04}/IMG_{key:07}.JPG"
                    truth[path] = int(group[key - 1])
                    vector = vectors[i] + 0.3 * chance.normal(size=DIM)
                    vector = (vector / np.linalg.norm(vector)).astype("<f2")
                    thumb = (thumbs[i] + chance.normal(0, 3, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)
                    seen = look(np.repeat(np.repeat(np.repeat(thumb[..., None], 3, -1), 8, 0), 8, 1))
                    taken = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(clock))
                    score = [float(v) for v in chance.normal(5.4, 0.6, 6)]
                    hash_ = seen.hash - (1 << 64) if seen.hash >> 63 else seen.hash
                    camera = (*("Canon EOS R5", "RF50mm F1.2 L USM", 50.0, 2.8), *(0.004, 100, None, None))
                    rows["contents"].append((key, f"{key:032x}", 5_000_000, "jpeg", 6000, 4000, taken, *camera))
                    rows["files"].append(
                        (path, key, 5_000_000, key, "[]", None, None, "2025-01-01T00:00:00+00:00", None)
                    )
                    rows["scores"].append((scorer, key, score[0], 1.4, *score[1:], 50.0, "[]"))
                    rows["embeddings"].append((scorer, key, DIM, vector.tobytes()))
                    rows["looks"].append((key, hash_, seen.detail, seen.thumb.tobytes()))
            with cache.transaction() as conn:
                for table, values in rows.items():
                    conn.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(values[0]))})", values)
    return truth


def scale(options: argparse.Namespace) -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    print("| photos | one view | wall s | CPU s | peak MB | groups | recall of pairs | precision of pairs |")
    print("|---|---|---|---|---|---|---|---|")
    for text in options.photos.split(","):
        count, _, one = text.partition("+")
        with tempfile.TemporaryDirectory(prefix="cgiaa-bench-") as temporary:
            bundle = Path(temporary) / "bundle"
            write_bundle(bundle, About("b", "1", "none", DIM, [], [], {}), {"encoder.onnx": b"not a network"})
            db = Path(temporary) / "cache.sqlite"
            truth = make_cache(db, int(count), int(one or 0), load(str(bundle)).scorer)
            measure_scale(db, bundle, truth, int(one or 0))


def measure_scale(db: Path, bundle: Path, truth: dict[str, int], one_view: int) -> None:
    command = [sys.executable, "-m", "cgiaa_cli", "groups", "/photos", "--no-scan", "--format", "json", "--no-measure"]
    output = db.with_name("groups.json")
    began = time.perf_counter()
    with (
        output.open("wb") as out,
        subprocess.Popen([*command, "--db", str(db), "--model", str(bundle)], stdout=out) as run,
    ):
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if run.returncode:
        raise SystemExit(f"exit {run.returncode}")
    groups = json.loads(io.TextIOWrapper(output.open("rb")).read())
    sizes: dict[int, int] = {}
    for number in truth.values():
        sizes[number] = sizes.get(number, 0) + 1
    true = sum(n * (n - 1) // 2 for n in sizes.values())
    found = right = 0
    for group in groups:
        numbers = [truth[m["path"]] for m in group["members"]]
        found += len(numbers) * (len(numbers) - 1) // 2
        right += sum(n * (n - 1) // 2 for n in np.unique(numbers, return_counts=True)[1])
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    share = f"{right / true:.1%} | {right / max(1, found):.1%}"
    print(
        f"| {len(truth):,} | {one_view:,} | {wall:.1f} | {cpu:.1f} | {peak:.0f} | {len(groups):,} | {share} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("quality")
    one.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of photos of different things")
    one.add_argument("--pick", type=int, default=100, help="photos that are edited")
    one.add_argument("--others", type=int, default=600, help="photos beside them")
    one.add_argument("--seed", type=int, default=5)
    one.add_argument("--imagededup", metavar="PYTHON", help="a Python that has imagededup installed")
    one.add_argument("--db", type=Path, help="a cache to keep")
    one.add_argument("--show", action="store_true", help="name the wrong pairs on stderr")
    one.set_defaults(run=quality)
    other = commands.add_parser("scale")
    other.add_argument("--photos", default="25000,50000,100000,100000+3000", help="N or N+FRAMES of one view, by comma")
    other.set_defaults(run=scale)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
