"""How fast a first `cgiaa scan` is, beside the limit that the cost of decoding and of the network sets.

    python benchmarks/scan.py [--model BUNDLE] [--count 200] [--photos FOLDER] [--runs 3]

Makes JPEGs of 12 and 24 megapixels in a temporary folder (or takes those of FOLDER), measures what one photo
costs to read, decode and prepare in one thread and what it costs in the network, then scans all of them into
an empty cache by a process of its own, start-up included. The limit is cores / (CPU seconds of both for one
photo): what a scan would reach if it did nothing else and never waited. The photos are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

SIZES = {"12 MP": (4000, 3000), "24 MP": (6000, 4000)}
BATCH = 16
GOAL_RATIO, GOAL_MB = 0.85, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="name or folder of the bundle; default: the one in use")
    parser.add_argument("--count", type=int, default=200, help="photos to make or to take")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs to scan instead of made ones")
    parser.add_argument("--runs", type=int, default=3, help="scans; the best one counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cgiaa-bench-") as temporary:
        folder = Path(temporary) / "photos"
        folder.mkdir()
        elsewhere(take if options.photos else make, options.photos, folder, options.count)
        photos = sorted(folder.iterdir())
        decoding, inference = elsewhere(costs, options.model, photos)
        scans = [scan(folder, Path(temporary) / f"{i}.sqlite", options.model) for i in range(options.runs)]
    report(len(photos), decoding, inference, scans)


def elsewhere(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` in a process of its own.

    Linux counts the memory of the process that starts a scan as the scan's own, so this one stays small.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def take(photos: Path, folder: Path, count: int) -> None:
    """Name the first `count` JPEGs below `photos` in `folder`."""
    found = [p for p in sorted(photos.rglob("*")) if p.suffix.lower() in (".jpg", ".jpeg")][:count]
    if not found:
        raise SystemExit(f"{photos}: no JPEG")
    for i, photo in enumerate(found):
        (folder / f"{i:05}.jpg").symlink_to(photo.absolute())


def make(_: None, folder: Path, count: int) -> None:
    """Write `count` JPEGs, half of each size: noise of all scales, whose files are as large as a camera's."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for kind, (width, height) in SIZES.items():
        scene = Image.new("RGB", (width, height))
        for octave in range(2, 10):
            grain = random.integers(0, 256, (height >> octave, width >> octave, 3), np.uint8)
            larger = Image.fromarray(grain).resize((width, height), Image.Resampling.BICUBIC)
            scene = Image.blend(scene, larger, 0.5 if octave > 2 else 1.0)
        fine = random.normal(0, 3, (height, width, 1))
        pixels = (np.asarray(scene, np.float32) + fine).clip(0, 255).astype(np.uint8)
        for i in range(list(SIZES).index(kind), count, len(SIZES)):
            Image.fromarray(np.roll(pixels, 97 * i, axis=1)).save(folder / f"{i:05}.jpg", quality=90)


def costs(model: str | None, photos: Sequence[Path]) -> tuple[float, float]:
    """CPU seconds of one photo: decoding in one thread, and the network with all cores."""
    from cgiaa_cli import bundles
    from cgiaa_cli.imaging.decode import decode
    from cgiaa_cli.imaging.preprocess import prepare
    from cgiaa_cli.inference.engine import Engine

    engine = Engine(bundles.load(model), "cpu")
    prepare(decode(photos[0].read_bytes()))  # the first one imports
    began = time.thread_time()
    inputs = [prepare(decode(photo.read_bytes())) for photo in photos]
    decoding = time.thread_time() - began
    engine.run(inputs[:BATCH])  # the first one takes memory
    began = time.process_time()
    for i in range(0, len(inputs), BATCH):
        engine.run(inputs[i : i + BATCH])
    return decoding / len(photos), (time.process_time() - began) / len(photos)


def scan(folder: Path, db: Path, model: str | None) -> dict[str, float]:
    """Scan into a new cache: photos/s, CPU seconds and peak memory (MB) of the whole process."""
    command = [sys.executable, "-m", "cgiaa_cli", "scan", str(folder), "--db", str(db), "--device", "cpu"]
    command += ["--format", "jsonl", *(["--model", model] if model else [])]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        rows = [json.loads(line) for line in process.stdout]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode or not rows:
        raise SystemExit(f"{' '.join(command[3:])}: exit {process.returncode}, {len(rows)} photos")
    megapixels = sum(row["width"] * row["height"] for row in rows) / 1e6 / len(rows)
    cpu = usage.ru_utime + usage.ru_stime
    return {"rate": len(rows) / wall, "cpu": cpu, "peak": usage.ru_maxrss / 1024, "megapixels": megapixels}


def report(count: int, decoding: float, inference: float, scans: list[dict[str, float]]) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    best = max(scans, key=lambda s: s["rate"])
    limit = cores / (decoding + inference)
    peak = max(s["peak"] for s in scans)
    print(f"Python {platform.python_version()}, {cores} CPUs, {count} JPEGs of {best['megapixels']:.0f} MP\n")
    print("| `scan` into an empty cache | measured | goal |\n|---|---|---|")
    print(f"| read, decode, prepare: CPU s per photo | {decoding:.4f} | |")
    print(f"| network: CPU s per photo | {inference:.4f} | |")
    print(f"| scan: CPU s per photo, start-up included | {best['cpu'] / count:.4f} | |")
    print(f"| limit, photos/s | {limit:.1f} | |")
    print(f"| scan, photos/s, start-up included | {best['rate']:.1f} | |")
    print(f"| ratio | {best['rate'] / limit:.2f} | >= {GOAL_RATIO} |")
    print(f"| peak memory, MB | {peak:.0f} | < {GOAL_MB} |")


if __name__ == "__main__":
    main()
