"""The pictures of docs/pictures that show a page: that of report and that of review, each in both themes.

python docs/pages.py             # with the environment of `make test`, the extra 'browser' and a Chromium

They are made of the example photos in a scratch folder, and used by mouse and keyboard.
"""

from __future__ import annotations

import io
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pictures import EXAMPLES, HERE, environment, said
from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 920, "height": 640}
GAP = 12
BELOW = "one.getBoundingClientRect().top > innerHeight"  # the window, where a picture is not asked for
DRAWN = f"[...document.images].every((one) => !one.checkVisibility() || {BELOW} || one.naturalWidth)"


def main() -> None:
    """Draw both."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        root = Path(scratch)
        shutil.copytree(EXAMPLES, root / "photos")
        # a container's root may not use the sandbox
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, use in {"report": report, "review": review}.items():
            # the pages' own policy forbids to ask them whether their pictures are there
            page = browser.new_page(viewport=SIZE, color_scheme="light", bypass_csp=True)
            shots = [shot(page) for _ in use(page, root)]
            page.close()
            draw(name, shots)
            print(name)
        browser.close()


def report(page: Any, root: Path) -> Iterator[None]:
    """Top picks, then a critique with its evidence; yields when a picture is to be taken."""
    said("cgiaa report photos -o gallery.html", root)
    page.goto((root / "gallery.html").as_uri())
    yield
    page.emulate_media(color_scheme="dark")
    page.locator("#picks .tile").first.click()
    page.keyboard.press("e")
    yield


def review(page: Any, root: Path) -> Iterator[None]:
    """Picks, a reject and two marked photos, then these side by side; yields when a picture is to be taken."""
    command = ["sh", "-c", "exec cgiaa review photos"]
    with subprocess.Popen(command, cwd=root, env=environment(root), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        page.goto(run.stdout.readline().strip())
        for name, key in [
            ("cat", "p"),
            ("deep-field", "p"),
            ("coins", "x"),
            ("rocket-launch", "c"),
            ("astronaut", "c"),
        ]:
            page.locator(f'#wall .tile[title="{name}.jpg"]').focus()
            page.keyboard.press(key)
        page.get_by_text("2 picks \u00b7 1 reject").wait_for()  # as the cache has it
        yield
        page.emulate_media(color_scheme="dark")
        page.keyboard.press("s")
        yield
        run.send_signal(signal.SIGINT)


def shot(page: Any) -> Image.Image:
    """What the window shows, once its pictures are there."""
    page.wait_for_function(DRAWN)
    return Image.open(io.BytesIO(page.screenshot(animations="disabled")))


def draw(name: str, shots: list[Image.Image]) -> None:
    """One PNG of pictures beside each other."""
    width, height = SIZE["width"], SIZE["height"]
    whole = Image.new("RGB", ((width + GAP) * len(shots) - GAP, height), "white")
    for i, one in enumerate(shots):
        whole.paste(one, (i * (width + GAP), 0))
    # a third of the bytes, and the colours of the legend stay apart
    few = whole.quantize(256, method=Image.Quantize.FASTOCTREE, kmeans=4)
    few.save(HERE / "pictures" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
