"""How quickly the page of `cgiaa report` opens, sorts and filters in Chromium.

    python benchmarks/report.py [--photos 1000,5000] [--pictures FOLDER] [--runs 5]

Needs the extra `browser` and a Chromium. Writes a page of made-up rows with thumbnails of real photos, each with
bytes of its own, in the page itself. A time ends when the frame after the change is drawn, and includes the 80 ms
that the page waits for the next key of somebody who types. The median of the runs counts.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import platform
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from cgiaa_cli.commands.critique import TITLES
from cgiaa_cli.report.page import write_page
from cgiaa_cli.report.pictures import thumbnails
from cgiaa_cli.report.weakest import focal_range

EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# label: (element, its new value; None: a click)
STEPS = {
    "order by composition": ("order", "composition"),
    "turn the order round": ("turn", None),
    "order by name": ("order", "path"),
    "find, the first time": ("find", "img_01"),
    "find": ("find", "img_012"),
    "show all": ("everything", None),
    "overall from 6": ("least", "6"),
    "one lens": ("lens", "=Lens 2"),
}
CHANGE = """([id, value]) => new Promise((done) => {
  const start = performance.now();
  const drawn = () => requestAnimationFrame(() => setTimeout(() => done(performance.now() - start), 0));
  new MutationObserver((_, self) => { self.disconnect(); drawn(); })
    .observe(document.querySelector('[data-grid="all"]'), { childList: true });
  const node = document.getElementById(id);
  if (value === null) node.click();
  else { node.value = value; node.dispatchEvent(new Event("input", { bubbles: true })); }
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", default="1000,5000", help="sizes of the galleries")
    parser.add_argument("--pictures", type=Path, default=EXAMPLES, help="photos for the thumbnails")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    paths = [str(path) for path in sorted(options.pictures.iterdir()) if path.suffix == ".jpg"]
    thumbs = [thumb for thumb in thumbnails(paths, 1, print) if thumb]
    sizes = [int(text) for text in options.photos.split(",")]
    columns = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        version = browser.version
        for size in sizes:
            page = Path(folder) / f"{size}.html"
            made = write_page(page, "made up", rows(size, thumbs), lambda n=size: about(n), force=False)
            runs = [
                measure(browser.new_page(viewport={"width": 1400, "height": 900}), page) for _ in range(options.runs)
            ]
            columns.append(
                {"page": f"{made / 1e6:.1f} MB"} | {key: median([run[key] for run in runs]) for key in runs[0]}
            )
        browser.close()
    print(f"Chromium {version}, {platform.machine()}, median of {options.runs}\n")
    print("| | " + " | ".join(f"{size:,} photos" for size in sizes) + " |\n|---|" + "---|" * len(sizes))
    for key in columns[0]:
        print(f"| {key} | " + " | ".join(column[key] for column in columns) + " |")


def median(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s"


def rows(count: int, thumbs: list[bytes]) -> Any:
    dice = random.Random(0)
    names = ("score", *TITLES, "technical")
    for i, thumb in zip(range(count), itertools.cycle(thumbs), strict=False):
        row: dict[str, Any] = {name: round(dice.gauss(5.5, 0.8), 3) for name in names}
        focal = dice.choice((24, 35, 50, 85, 200))
        row |= {"value": count - i, "spread": 1.4, "complexity": dice.randrange(100), "path": f"2024/IMG_{i:05}.jpg"}
        row |= {"name": f"IMG_{i:05}.jpg", "link": "", "copies": [], "best": True, "weakest": dice.choice(list(TITLES))}
        row |= {"taken_at": f"2024-{dice.randint(1, 12):02}-01T10:00:00", "camera": "Camera", "format": "jpeg"}
        row |= {"lens": f"Lens {dice.randrange(5)}", "focal_length": focal, "focal": focal_range(focal), "iso": 100}
        row |= {"aperture": 8.0, "shutter": 0.01, "width": 6000, "height": 4000}
        own = thumb + i.to_bytes(4, "little")  # after its end a picture may have anything
        yield row | {"thumb": "data:image/webp;base64," + base64.b64encode(own).decode()}


def about(count: int) -> dict[str, Any]:
    weak = {"lens": [], "focal": [], "month": []}
    data = {"made": "", "bundle": "none", "attributes": TITLES, "plain": [], "groups": [], "failed": {}, "weak": weak}
    return data | {"picks": list(range(min(24, count)))}


def measure(page: Page, path: Path) -> dict[str, float]:
    """Seconds of everything that is done with the page once."""
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.locator('[data-grid="all"] .tile').first.wait_for(state="attached")
    found = {"open": time.perf_counter() - start}
    page.evaluate("document.getElementById('all').scrollIntoView({ behavior: 'instant' })")
    page.wait_for_timeout(500)
    for label, step in STEPS.items():
        found[label] = page.evaluate(CHANGE, step) / 1000
    page.evaluate(CHANGE, ("everything", None))
    page.locator('[data-grid="all"] .tile').first.focus()
    start = time.perf_counter()
    page.keyboard.press("End")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")
    found["to the last photo, by keyboard"] = time.perf_counter() - start
    page.close()
    return found


if __name__ == "__main__":
    main()
