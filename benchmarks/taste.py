"""What `cgiaa taste` gains from 20 to 200 ratings, for simulated users on photos with known ratings.

    python benchmarks/taste.py --data DATA [--db CACHE] [--draws 20] [--choices]

DATA holds `oasis_scenes` and `oasis_objects_animals` (see docs/data.md); the cache is made where it is not there. Two
users rate some of the photos with one to five stars, as many of each: `crowd` by the mean beauty that a hundred people
and more gave, and `own`, who adds to that a liking for warm and empty frames. The order is judged on the rest of the
photos (SRCC with the user's rating before it became stars). With --choices they choose between two photos instead, as
the page of `cgiaa review` asks them to, of one half of the photos, and the order of the other half is judged; a third
user, `chance`, answers at random, so nothing of his should ever be kept. On two busy cores numpy is quicker with
OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli import bundles
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.paths import absolute, escape
from cgiaa_cli.pipeline import ScanOptions, run_scan
from cgiaa_cli.review.pairs import Asked, next_pair
from cgiaa_cli.taste.explain import likings
from cgiaa_cli.taste.learn import Rated, learn, srcc
from cgiaa_cli.taste.photos import facts_of, read_rated

SETS = ("oasis_scenes", "oasis_objects_animals")
COUNTS = (20, 50, 100, 200)
CHOICES = (100, 200)

Floats = NDArray[np.float64]


@dataclass
class Set:
    """All photos of one set with the rating of a user, and what is known of each."""

    photos: Rated
    facts: dict[str, Floats]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--db", type=Path, help="the cache; by default one in a temporary folder")
    parser.add_argument("--draws", type=int, default=20, help="of rated photos, for each number of ratings")
    parser.add_argument("--choices", action="store_true", help="choices between two photos in the place of stars")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cgiaa-bench-") as temporary:
        db = options.db or Path(temporary) / "cache.sqlite"
        what = "choices" if options.choices else "ratings"
        said = "right about choices, default / taste" if options.choices else "warmer / emptier said"
        print(f"| photos | user | {what} | kept | default SRCC | gain, mean | gain, worst draw | gain if always kept "
              f"| {said} | s |\n|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
        for name in SETS:
            crowd = read(options.data / name, db)
            users = {"crowd": crowd, "own": own(crowd)} | ({"chance": crowd} if options.choices else {})
            for user, found in users.items():
                for count in CHOICES if options.choices else COUNTS:
                    title = f"{name} ({len(crowd.photos)})"
                    (report_choices if options.choices else report)(title, user, found, count, options.draws)


def read(folder: Path, db: Path) -> Set:
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = {row["file"]: float(row["beauty_mean_1_7"]) for row in csv.DictReader(file)}
    images = absolute(folder / "images")
    run_scan(ScanOptions([images], db))
    with Cache.open(db) as cache:
        scorer = cache.scorer_id(*bundles.load(verify=False).scorer)
        photos, paths, unknown = read_rated(
            cache, scorer, {escape(images / file): value for file, value in rows.items()}
        )
    assert not unknown
    return Set(photos, facts_of(photos, paths, True))


def own(crowd: Set) -> Set:
    """The user who likes warm and empty frames, too."""
    liking = unit(crowd.photos.ratings) + unit(crowd.facts["cast_b"]) - unit(crowd.facts["complexity"])
    return Set(Rated(crowd.photos.vectors, crowd.photos.scores, liking), crowd.facts)


def unit(values: Floats) -> Floats:
    known = np.nan_to_num(values, nan=float(np.nanmean(values)))
    return np.asarray((known - known.mean()) / known.std())


def report(name: str, user: str, found: Set, count: int, draws: int) -> None:
    photos = found.photos
    kept, default, gains, always, seconds = 0, [], [], [], []
    words = np.zeros(2, int)
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(photos))
        if len(photos) - count < 20:  # too few to judge by
            return
        rated, rest = order[:count], order[count:]
        stars = 1 + np.argsort(np.argsort(photos.ratings[rated])) * 5 // count
        began = time.perf_counter()
        learnt = learn(Rated(photos.vectors[rated], photos.scores[rated], stars.astype(float)))
        seconds.append(time.perf_counter() - began)
        default.append(srcc(photos.default[rest], photos.ratings[rest]))
        always.append(srcc(learnt.head(photos.vectors[rest], photos.scores[rest]), photos.ratings[rest]) - default[-1])
        gains.append(always[-1] if learnt.kept else 0.0)
        kept += learnt.kept
        facts = {key: values[rated] for key, values in found.facts.items()}
        said = {one.words for one in likings(facts, learnt.held_out, stars.astype(float), photos.default[rated])}
        words += [learnt.kept and "warmer" in said, learnt.kept and "emptier" in said]
    print(
        f"| {name} | {user} | {count} | {kept} of {draws} | {np.mean(default):.3f} | {np.mean(gains):+.3f} "
        f"| {min(gains):+.3f} | {np.mean(always):+.3f} | {words[0]} / {words[1]} | {np.median(seconds):.1f} |",
        flush=True,
    )


def report_choices(name: str, user: str, found: Set, count: int, draws: int) -> None:
    photos = found.photos
    kept, default, gains, always, seconds, right = 0, [], [], [], [], []
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(photos))
        pool, rest = order[: len(photos) // 2], order[len(photos) // 2 :]
        values, chance = photos.default[pool].tolist(), random.Random(draw)
        pairs: dict[tuple[int, int], tuple[int, int]] = {}
        while len(pairs) < count:
            asked = next_pair(Asked(values, [], {}, set(), pairs.keys()), chance)
            assert asked is not None
            one, other = sorted(asked[0])
            liked = (
                chance.random() < 0.5 if user == "chance" else photos.ratings[pool[one]] > photos.ratings[pool[other]]
            )
            pairs[one, other] = (one, other) if liked else (other, one)
        began = time.perf_counter()
        none = np.full(len(pool), np.nan)
        learnt = learn(Rated(photos.vectors[pool], photos.scores[pool], none, np.array(list(pairs.values()))))
        seconds.append(time.perf_counter() - began)
        default.append(srcc(photos.default[rest], photos.ratings[rest]))
        always.append(srcc(learnt.head(photos.vectors[rest], photos.scores[rest]), photos.ratings[rest]) - default[-1])
        gains.append(always[-1] if learnt.kept else 0.0)
        kept += learnt.kept
        assert learnt.choices is not None
        right.append((learnt.choices.default, learnt.choices.taste))
    shares = " / ".join(f"{share:.0%}" for share in np.mean(right, axis=0))
    print(
        f"| {name} | {user} | {count} | {kept} of {draws} | {np.mean(default):.3f} | {np.mean(gains):+.3f} "
        f"| {min(gains):+.3f} | {np.mean(always):+.3f} | {shares} | {np.median(seconds):.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
