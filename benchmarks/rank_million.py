"""How long `cgiaa rank --no-scan --top 50` takes from a cache of a million photos, and with how much memory.

    python benchmarks/rank_million.py [--photos 1000000] [--dim 256] [--keep FOLDER]

Makes a synthetic cache with the program's own schema in a temporary folder (with FOLDER, in it, to be used
again), runs the command as a process of its own, and prints a Markdown table: the best of some runs, because
the rest is noise of the machine. The first run of each case is not counted: it warms the page cache, and the first with
--taste makes the matrix beside the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cgiaa_cli.bundles import About, load, write_bundle
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.taste.kept import Taste, save
from cgiaa_cli.taste.learn import SCORES, Head

FOLDERS = 2000
CHUNK = 10_000
CAMERAS = ("Canon EOS R5", "NIKON Z 8", "SONY ILCE-7M4", "FUJIFILM X-T5", "Apple iPhone 15 Pro", None)
LENSES = ("RF50mm F1.2 L USM", "NIKKOR Z 35mm f/1.8 S", "FE 24-70mm F2.8 GM II", "XF35mmF1.4 R", None)

CASES: dict[str, list[str]] = {
    "default": [],
    "--by composition": ["--by", "composition"],
    "--weight composition=2 --weight technical=0.5": [
        *("--weight", "composition=2", "--weight", "technical=0.5"),
    ],
    "--where, one in 6": ["--where", "iso >= 1600 and lens ~ '35mm' and not camera = 'X'"],
    "--where, one in 16,667": ["--where", "iso = 1601"],
    "--by technical --where, one in 6": ["--by", "technical", "--where", "iso >= 1600 and lens ~ '35mm'"],
    "--diverse": ["--diverse"],
    "--taste": ["--taste", "benchmark"],
    "--taste --where, one in 6": ["--taste", "benchmark", "--where", "iso >= 1600 and lens ~ '35mm'"],
    "--taste --diverse": ["--taste", "benchmark", "--diverse"],
    "--since 2024 --min technical=7": ["--since", "2024", "--min", "technical=7"],
    "--until 2010 --min technical=7.5, one in 4,000": ["--until", "2010", "--min", "technical=7.5"],
    "--weight composition=1 --weight technical=2 --min score=5": [
        *("--weight", "composition=1", "--weight", "technical=2", "--min", "score=5"),
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256, help="numbers in an embedding")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for the cache, which is used again if it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cgiaa-bench-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bundle = make_bundle(folder / "bundle")
        db = folder / f"{options.photos}x{options.dim}.sqlite"
        if not db.exists():
            began = time.monotonic()
            make_cache(db, options.photos, options.dim, load(str(bundle)).scorer)
            print(f"made {db.stat().st_size / 1e9:.2f} GB in {time.monotonic() - began:.0f} s", file=sys.stderr)
        os.environ["XDG_DATA_HOME"] = str(folder / "data")
        make_taste(load(str(bundle)).scorer, options.dim)
        report(db, bundle, options.runs)


def make_bundle(folder: Path) -> Path:
    """A bundle without a network: with --no-scan nothing is run."""
    write_bundle(folder, About("benchmark", "1", "none", 0, [], [], {}), {"encoder.onnx": b"not a network"})
    return folder


def make_taste(scorer: tuple[str, str, str], dim: int) -> None:
    """A taste at random, in which the embedding counts for about as much as the scores."""
    random = np.random.default_rng(1)
    vector, scores = random.normal(size=dim), random.normal(0.5, 0.3, len(SCORES)) / 2
    scores[SCORES.index("complexity")] = 0
    head = Head(vector, scores, 0.0)
    save(Taste("benchmark", scorer, "2025-01-01T00:00:00+00:00", 100, {}, (), head))


def make_cache(db: Path, photos: int, dim: int, scorer_key: tuple[str, str, str]) -> None:
    """Photos with random scores in the store's own schema, one transaction per `CHUNK`."""
    partial = db.with_suffix(".part")
    partial.unlink(missing_ok=True)
    random = np.random.default_rng(0)
    with Cache.open(partial) as cache:
        scorer = cache.scorer_id(*scorer_key)
        for start in range(0, photos, CHUNK):
            with cache.transaction() as conn:
                for table, rows in chunk(random, scorer, start, min(CHUNK, photos - start), dim).items():
                    marks = ",".join("?" * len(rows[0]))
                    conn.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        cache.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    partial.rename(db)


def chunk(random: Any, scorer: int, start: int, count: int, dim: int) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of each table for `count` photos."""
    scores = np.clip(random.normal(5.4, 0.8, (count, 6)), 1, 10)
    shares = random.dirichlet(np.ones(10), count)
    vectors = random.normal(size=(count, dim)).astype(np.float32)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f2")
    tables: dict[str, list[tuple[Any, ...]]] = {n: [] for n in ("contents", "files", "scores", "embeddings")}
    iso = random.choice([100, 200, 400, 800, 1600, 3200, 6400], count)
    camera, lens = random.integers(len(CAMERAS), size=count), random.integers(len(LENSES), size=count)
    for i in range(count):
        key = start + i + 1
        taken = f"{2010 + key % 16}-{key % 12 + 1:02}-{key % 28 + 1:02}T{key % 24:02}:{key % 60:02}:00"
        rare = 1601 if key % 16_667 == 0 else int(iso[i])
        tables["contents"].append(
            (
                *(key, f"{key:032x}", 5_000_000, "jpeg", 6000, 4000, taken),
                *(CAMERAS[camera[i]], LENSES[lens[i]], 50.0, 2.8, 0.004, rare, 48.1, 11.5),
            )
        )
        path = f"/photos/{key % FOLDERS:04}/2024-05-01 Somewhere/IMG_{key:07}.JPG"
        tables["files"].append((path, key, 5_000_000, key, "[]", None, None, "2025-01-01T00:00:00+00:00", None))
        # rounded as the network's float32 are when they become text
        shares_text = json.dumps([float(np.float32(p)) for p in shares[i]])
        tables["scores"].append((scorer, key, float(scores[i, 0]), 1.4, *map(float, scores[i, 1:]), 50.0, shares_text))
        tables["embeddings"].append((scorer, key, dim, vectors[i].tobytes()))
    return tables


def cases() -> Iterator[tuple[str, list[str]]]:
    for name, arguments in CASES.items():
        yield name, ["/photos", *arguments]
    yield "one folder of 2000 (500 photos)", ["/photos/0007"]
    yield "half of the folders (500,000 photos)", [f"/photos/{i:04}" for i in range(0, FOLDERS, 2)]


def report(db: Path, bundle: Path, runs: int) -> None:
    size = db.stat().st_size / 1e9
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, cache of {size:.2f} GB\n")
    print("| `rank --no-scan --top 50` | wall s | CPU s | peak MB |\n|---|---|---|---|")
    for name, arguments in cases():
        command = [sys.executable, "-m", "cgiaa_cli", "rank", "--no-scan", "--top", "50"]
        command += ["--db", str(db), "--model", str(bundle), *arguments]
        measured = [measure(command) for _ in range(runs + 1)][1:]
        wall, cpu, peak = min(measured)
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |", flush=True)


def measure(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory (MB) of a process.

    Linux counts what this process had in memory when it forked, so the peak is an upper bound: never below
    the size of the benchmark itself.
    """
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = process.stdout.read().count(b"\n")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode or lines < 2:
        raise SystemExit(f"{' '.join(command[3:])[:200]}: exit {process.returncode}, {lines} lines")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
