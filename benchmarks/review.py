"""How quickly `cgiaa review` starts and answers, on caches of made-up photos.

    python benchmarks/review.py [--photos 1000,100000,100000+3000]

As in benchmarks/groups.py, `100000+3000` has 3,000 frames of one view among 100,000 photos. There are no files behind
the photos, so no pictures are made: what is measured is everything else. `groups` counts from the start; the page
answers beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from groups import DIM, make_cache

from cgiaa_cli.bundles import About, load, write_bundle

QUESTIONS = {
    "page": "",
    "all numbers": "list",
    "by composition": "list?order=composition",
    "by composition again": "list?order=composition&turned=1",
    "find": "list?find=0123",
    "find again": "list?find=0124",
    "kinds": "kinds",
    "one lens": "list?lens=RF50mm+F1.2+L+USM",
    "scores": "scores",
    "weak spots": "weak",
    "200 rows": "photos?numbers=" + ",".join(map(str, range(0, 1000, 5))),
    "state": "state",
    "next pair": "pair",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", default="1000,100000,100000+3000")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    names = ["photos", "address", *QUESTIONS, "decide", "groups", "peak MB"]
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for text in options.photos.split(","):
        count, _, one = text.partition("+")
        with tempfile.TemporaryDirectory(prefix="cgiaa-bench-") as temporary:
            bundle, db = Path(temporary) / "bundle", Path(temporary) / "cache.sqlite"
            write_bundle(bundle, About("b", "1", "none", DIM, [], [], {}), {"encoder.onnx": b"not a network"})
            make_cache(db, int(count), int(one or 0), load(str(bundle)).scorer)
            print(f"| {text} | {' | '.join(measure(db, bundle))} |", flush=True)


def measure(db: Path, bundle: Path) -> list[str]:
    command = [sys.executable, "-m", "cgiaa_cli", "review", "/photos", "--no-scan", "--db", str(db)]
    began = time.perf_counter()
    with subprocess.Popen([*command, "--model", str(bundle)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        address = run.stdout.readline().strip()
        seconds = [time.perf_counter() - began]
        for question in QUESTIONS.values():
            seconds.append(timed(address + question)[0])
        seconds.append(timed(address + "decide", {"verdicts": {"0": "pick"}})[0])
        while not timed(address + "groups?count=0")[1]["ready"]:
            time.sleep(0.2)
        seconds.append(time.perf_counter() - began)
        run.send_signal(signal.SIGINT)
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    return [f"{value:.2f}" for value in seconds] + [f"{usage.ru_maxrss / 1024:.0f}"]


def timed(address: str, body: Any = None) -> tuple[float, Any]:
    began = time.perf_counter()
    data = None if body is None else json.dumps(body).encode()
    origin = "/".join(address.split("/")[:3])
    with urllib.request.urlopen(urllib.request.Request(address, data, {"Origin": origin})) as answer:
        found = answer.read()
    return time.perf_counter() - began, json.loads(found) if found[:1] == b"{" else None


if __name__ == "__main__":
    main()
