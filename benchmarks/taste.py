"""What `cgiaa taste` gains from 20 to 200 ratings, for simulated users on photos with known ratings.

    python benchmarks/taste.py --data DATA [--db CACHE] [--draws 20]

DATA holds `oasis_scenes` and `oasis_objects_animals` (see docs/data.md); the cache is made where it is not there. Two
users rate some of the photos with one to five stars, as many of each: `crowd` by the mean beauty that a hundred people
and more gave, and `own`, who adds to that a liking for warm and empty frames. The order is judged on the rest of the
photos (SRCC with the user's rating before it became stars). On two busy cores numpy is quicker with
OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli import bundles
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.paths import absolute, escape
from cgiaa_cli.pipeline import run_scan
from cgiaa_cli.taste.explain import likings
from cgiaa_cli.taste.learn import Rated, learn, srcc
from cgiaa_cli.taste.photos import facts_of, read_rated

SETS = ("oasis_scenes", "oasis_objects_animals")
COUNTS = (20, 50, 100, 200)

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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cgiaa-bench-") as temporary:
        db = options.db or Path(temporary) / "cache.sqlite"
        print("| photos | user | ratings | kept | default SRCC | gain, mean | gain, worst draw | gain if always kept "
              "| warmer / emptier said | s |\n|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
        for name in SETS:
            crowd = read(options.data / name, db)
            for user, found in (("crowd", crowd), ("own", own(crowd))):
                for count in COUNTS:
                    report(f"{name} ({len(crowd.photos)})", user, found, count, options.draws)


def read(folder: Path, db: Path) -> Set:
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = {row["file"]: float(row["beauty_mean_1_7"]) for row in csv.DictReader(file)}
    images = absolute(folder / "images")
    run_scan([images], db)
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
        random = np.random.default_rng(draw)
        order = random.permutation(len(photos))
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


if __name__ == "__main__":
    main()
