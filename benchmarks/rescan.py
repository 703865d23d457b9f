"""How fast a `cgiaa scan` of an unchanged library is, beside a bare walk that stats every file.

    python benchmarks/rescan.py [--model BUNDLE] [--files 100000] [--runs 3]

Makes a library of tiny JPEGs in a temporary folder: hard links to a few files, 2,000 in a folder. The first
scan registers all of them (they are duplicates, so the network scores a few). Then it times, in turns, a
rescan as a process of its own, start-up included, and `os.scandir` with a stat of every entry.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PER_FOLDER = 2000
SOURCES = 20  # a file has no more than 65,000 links on ext4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="name or folder of the bundle; default: the one in use")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3, help="of each; the best one counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cgiaa-bench-") as temporary:
        library, db = Path(temporary) / "library", Path(temporary) / "cache.sqlite"
        make_library(library, options.files)
        first, _ = scan(library, db, options.model, options.files, unchanged=options.files - SOURCES)
        rescans, stats = [], []
        for _ in range(options.runs):
            rescans.append(scan(library, db, options.model, options.files, unchanged=options.files))
            stats.append(stat_all(library, options.files))
    report(options.files, first, rescans, stats)


def make_library(library: Path, files: int) -> None:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    sources = library.with_name("sources")
    sources.mkdir()
    for i in range(SOURCES):
        pixels = random.integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(sources / f"{i}.jpg", quality=80)
    for i in range(files):
        folder = library / f"{i // PER_FOLDER:04}"
        if i % PER_FOLDER == 0:
            folder.mkdir(parents=True)
        os.link(sources / f"{i % SOURCES}.jpg", folder / f"IMG_{i:07}.jpg")


def scan(library: Path, db: Path, model: str | None, files: int, unchanged: int) -> tuple[float, float]:
    """Wall seconds and peak memory (MB) of one scan, whose counts must be the expected ones."""
    command = [sys.executable, "-m", "cgiaa_cli", "scan", str(library), "--db", str(db)]
    command += ["--model", model] if model else []
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode or not re.match(rf"{files} photos: \d+ scored, {unchanged} unchanged, 0 failed", said):
        raise SystemExit(f"{' '.join(command[3:])}: exit {process.returncode}, {said}")
    return wall, usage.ru_maxrss / 1024


def stat_all(library: Path, files: int) -> float:
    """Wall seconds to list the tree and stat every file, in this process."""
    began = time.perf_counter()
    folders, found = [os.fspath(library)], 0
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    os.stat(entry.path)
                    found += 1
    wall = time.perf_counter() - began
    if found != files:
        raise SystemExit(f"{library}: {found} files")
    return wall


def report(files: int, first: float, rescans: list[tuple[float, float]], stats: list[float]) -> None:
    rescan, bare = min(wall for wall, _ in rescans), min(stats)
    peak = max(peak for _, peak in rescans)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {files} files\n")
    print("| | s | files/s |\n|---|---|---|")
    print(f"| first scan (reads and hashes all, scores {SOURCES}) | {first:.1f} | {files / first:,.0f} |")
    print(f"| rescan, start-up included, peak {peak:.0f} MB | {rescan:.2f} | {files / rescan:,.0f} |")
    print(f"| `os.scandir` and `os.stat` alone | {bare:.2f} | {files / bare:,.0f} |")


if __name__ == "__main__":
    main()
