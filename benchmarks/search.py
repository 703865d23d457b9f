"""How long a search among a million photos takes, and with how much memory.

    python benchmarks/search.py [--photos 1000000] [--dim 256] [--runs 9] [--keep FOLDER]

Makes the synthetic cache of benchmarks/rank_million.py (with --keep in FOLDER, to be used again), then measures, each
in a process of its own: making the matrix beside the cache; extending it by a thousand photos; the similarities once it
is loaded, and a whole search; and the command `cgiaa search --like PHOTO`, start-up included. Prints a Markdown table:
the median of the runs and the best. "peak MB" counts the pages of the mapped matrix, which the system may take back.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rank_million import chunk, make_bundle, make_cache

from cgiaa_cli.bundles import load
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.cache.vectors import drop_matrices, open_matrix, unit
from cgiaa_cli.curation.search import Query, best_of, nearest
from cgiaa_cli.curation.select import Selection

MORE = 1_000
EVERYTHING = [Path("/photos")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256, help="numbers in an embedding")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--keep", type=Path, help="folder for the cache, which is used again if it is there")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)  # one process of this benchmark
    options = parser.parse_args()
    if options.step:
        STEPS[options.step](options.keep, options.photos, options.dim, options.runs)
        return
    with tempfile.TemporaryDirectory(prefix="cgiaa-bench-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_bundle(folder / "bundle")
        db = database(folder, options.photos, options.dim)
        if not db.exists():
            make_cache(db, options.photos, options.dim, load(str(folder / "bundle")).scorer)
        print(f"Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} CPUs\n")
        print(f"| {options.photos:,} photos x {options.dim} | median | best | CPU | peak MB |\n|---|---|---|---|---|")
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, "--keep", str(folder)]
            command += ["--photos", str(options.photos), "--dim", str(options.dim), "--runs", str(options.runs)]
            subprocess.run(command, check=True)


def database(folder: Path, photos: int, dim: int) -> Path:
    return folder / f"{photos}x{dim}.sqlite"


def row(name: str, work: Callable[[], object], runs: int, who: int = resource.RUSAGE_SELF) -> None:
    """Measure and print one row of the table."""
    walls, cpus = [], []
    for _ in range(runs):
        before, began = resource.getrusage(who), time.perf_counter()
        work()
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(who)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    peak = resource.getrusage(who).ru_maxrss / 1024
    cells = [f"{1000 * seconds:,.0f} ms" for seconds in (statistics.median(walls), min(walls), statistics.median(cpus))]
    print(f"| {name} | {' | '.join(cells)} | {peak:,.0f} |", flush=True)


def build(folder: Path, photos: int, dim: int, runs: int) -> None:
    with Cache.open(database(folder, photos, dim)) as cache:
        drop_matrices(cache)
        row("make the matrix", lambda: open_matrix(cache, scorer(cache, folder)), 1)


def extend(folder: Path, photos: int, dim: int, runs: int) -> None:
    with Cache.open(database(folder, photos, dim)) as cache:
        (start,) = cache.conn.execute("SELECT max(id) FROM contents").fetchone()
        with cache.transaction() as conn:
            for table, rows in chunk(np.random.default_rng(start), scorer(cache, folder), start, MORE, dim).items():
                conn.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)
        row(f"extend it by {MORE:,} photos", lambda: open_matrix(cache, scorer(cache, folder)), 1)


def search(folder: Path, photos: int, dim: int, runs: int) -> None:
    with Cache.open(database(folder, photos, dim)) as cache:
        key = scorer(cache, folder)
        matrix = open_matrix(cache, key)
        query = unit(np.random.default_rng(1).normal(size=(1, dim)).astype(np.float32)).ravel()
        row("load: the first product", lambda: matrix.likeness(query), 1)
        row("the similarity of every photo, loaded", lambda: matrix.likeness(query), runs)
        everything = Selection(EVERYTHING)
        best = lambda: best_of(matrix, cache, key, everything, Query(query), 50)  # noqa: E731
        row("the 50 most alike, exact, with their paths, loaded", best, runs)
        row(
            "the same with a check that the matrix is right",
            lambda: nearest(cache, key, everything, Query(query), 50),
            runs,
        )
        rare = Selection(EVERYTHING, where="iso = 1601")
        row("the same, where one in 16,667 meets the condition", lambda: nearest(cache, key, rare, Query(query), 50), 3)


def command(folder: Path, photos: int, dim: int, runs: int) -> None:
    """The command as a user starts it; the example's vector is in the cache, so no network runs."""
    import hashlib

    example = folder / "example.jpg"
    example.write_bytes(b"whatever")
    with Cache.open(database(folder, photos, dim)) as cache, cache.transaction() as conn:
        digest = hashlib.blake2b(b"whatever", digest_size=16).hexdigest()
        conn.execute("UPDATE contents SET hash = ? WHERE id = 7", (digest,))
    words = [sys.executable, "-m", "cgiaa_cli", "search", "--like", str(example), "/photos", "--no-scan", "--top", "50"]
    words += ["--db", str(database(folder, photos, dim)), "--model", str(folder / "bundle")]
    run = lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # noqa: E731
    run()
    row("`cgiaa search --like PHOTO --no-scan`, start-up included", run, 3, resource.RUSAGE_CHILDREN)


def scorer(cache: Cache, folder: Path) -> int:
    return cache.scorer_id(*load(str(folder / "bundle")).scorer)


STEPS = {"build": build, "extend": extend, "search": search, "command": command}


if __name__ == "__main__":
    main()
