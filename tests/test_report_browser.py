"""The page of `cgiaa report` in headless Chromium, clicked through; skipped where there is no browser.

pip install -e '.[browser]' and a Chromium: the system's, or one that `playwright install chromium` fetches
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import picture, write_tiny_bundle
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="the extra 'browser' is not installed")

EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
EVIL = "<img src=x onerror=alert(1)>.jpg"
DATA = "JSON.parse(document.getElementById('data').textContent)"
MEMBERS = f"{DATA}.groups.map((group) => group.members.length).reduce((a, b) => a + b, 0)"
GRID = '[data-grid="all"]'


def save(image: Image.Image, path: Path, taken: str = "", lens: str = "") -> None:
    exif = Image.Exif()
    if taken:
        exif[0x0110] = "Testcam"
        block = exif.get_ifd(0x8769)
        block[0x9003], block[0xA434] = taken, lens
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90, exif=exif)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 150 photos, so that not all tiles are made at once."""
    root = tmp_path_factory.mktemp("gallery")
    for i in range(146):
        single = picture(i, 0.05 + 0.002 * i, (96, 72)).rotate(90 * (i % 4), expand=True)
        taken = f"2024:0{1 + i % 3}:03 {10 + i // 60}:{i % 60:02}:00"
        save(single, root / "photos" / f"p{i:03}.jpg", taken, ("Zoom", "Tele")[i % 2])
    # the brightest, which the small network likes best
    shutil.copy(EXAMPLES / "clock-shaken.jpg", root / "photos" / "clock.jpg")
    wide = picture(900, 0.9, (340, 250))
    for i in range(2):
        save(
            wide.crop((6 * i, 3 * i, 320 + 6 * i, 240 + 3 * i)),
            root / "photos" / f"burst{i}.jpg",
            f"2024:07:03 10:00:0{i}",
        )
    save(picture(901, 0.85), root / "photos" / EVIL)
    (root / "config.toml").touch()
    env = os.environ | {
        "CGIAA_DB": str(root / "cache.sqlite"),
        "CGIAA_CONFIG": str(root / "config.toml"),
        "CGIAA_MODEL": str(write_tiny_bundle(root / "tiny")),
    }
    command = [sys.executable, "-m", "cgiaa_cli", "report", "photos", "-o", "gallery.html", "--critiques", "3"]
    subprocess.run(command, cwd=root, env=env, check=True, capture_output=True)
    return root / "gallery.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        path = next(filter(None, map(shutil.which, NAMES)), None)
        try:
            # a container's root may not use the sandbox
            found = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser: {error.message.splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, gallery: Path) -> Iterator[Any]:
    """The page, opened from the disk; no error, no alert, nothing fetched from anywhere else."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda request: re.match(r"(file|data):", request.url) or wrong.append(request.url))
    page.goto(gallery.as_uri())
    page.set_default_timeout(10_000)
    yield page
    context.close()
    assert wrong == []


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page's own policy forbids Playwright's way, which is to have the page evaluate it."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never came true: {condition}")


def tiles(page: Any) -> Any:
    return page.locator(f"{GRID} .tile")


def expect_count(page: Any, text: str) -> None:
    playwright.expect(page.locator("#count")).to_have_text(text)


def test_the_way_through_the_page(page: Any) -> None:
    # the first picks are shown, and every picture says what it is
    assert page.locator('[data-grid="picks"] .tile').count() == 24
    assert page.locator("main img:not([alt]), main img[alt='']").count() == 0
    assert page.locator(".plots svg[aria-label]").count() == 8
    assert "150 photos" in page.inner_text("#summary")
    # tiles are made as they are reached
    assert tiles(page).count() == 120
    tiles(page).nth(119).scroll_into_view_if_needed()
    playwright.expect(tiles(page)).to_have_count(150)
    # a weak spot leads to its photos
    page.get_by_role("button", name="Tele", exact=True).click()
    expect_count(page, "73 of 150 photos")
    assert "73 photos" in page.locator(".plots svg").first.get_attribute("aria-label")
    # the order turns round
    page.select_option("#order", "technical")
    best = [float(text) for text in tiles(page).locator(".number").all_text_contents()]
    assert best == sorted(best, reverse=True)
    page.click("#turn")
    worst = [float(text) for text in tiles(page).locator(".number").all_text_contents()]
    assert worst == sorted(best)
    # limits hold for the score that the photos are ordered by
    page.fill("#least", str(best[9]))
    page.fill("#most", str(best[0]))
    playwright.expect(tiles(page)).to_have_count(sum(best[9] <= value <= best[0] for value in best))
    page.click("#everything")
    expect_count(page, "150 photos")
    page.check("#one")
    best_of_groups = page.evaluate(f"{DATA}.photos.filter((photo) => photo.best).length")
    expect_count(page, f"{best_of_groups} of 150 photos")
    page.check("#critiqued")
    expect_count(page, "3 of 150 photos")
    page.fill("#find", "no such photo")
    expect_count(page, "0 of 150 photos")
    assert "No photo meets all" in page.inner_text(GRID)


def test_one_photo_with_its_critique(page: Any) -> None:
    page.locator('[data-grid="picks"] .tile[title="clock.jpg"]').click()
    dialog = page.locator("#photo")
    playwright.expect(dialog).to_be_visible()
    assert dialog.locator(".said h3").count() >= 4
    image = dialog.locator("img").first
    plain = image.get_attribute("src")
    page.keyboard.press("e")
    assert image.get_attribute("src") != plain and image.get_attribute("alt").startswith("Evidence drawn on")
    page.keyboard.press("e")
    dialog.locator("article.place").first.hover()
    box, frame = dialog.locator("rect").bounding_box(), dialog.locator(".picture").bounding_box()
    assert (
        box["width"] > 20 and frame["x"] - 3 <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"] + 3
    )
    at = int(page.inner_text("#place").split()[0]) - 1
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#place") == f"{at + 2} of 24"
    page.keyboard.press("Escape")
    playwright.expect(dialog).to_be_hidden()
    next_one = page.locator('[data-grid="picks"] .tile').nth(at + 1)
    assert page.evaluate("document.activeElement.title") == next_one.get_attribute("title")


def test_groups_and_hostile_names(page: Any) -> None:
    card = page.locator(".card", has_text="burst, 2 photos")
    assert card.locator(".tile.keep").count() == 1 and card.inner_text().count("keep: ") == 1
    card.locator(".tile").nth(1).click()
    assert "Gives way: " in page.inner_text(".said") and page.inner_text("#place") == "2 of 2"
    page.click("#close")
    # of a large group the first two dozen are shown, the others at a click
    others = page.get_by_role("button", name=re.compile(r"and \d+ others")).first
    large = page.locator(".card", has=others)
    assert large.locator(".tile").count() == 24
    more = int(others.inner_text().split()[1])
    others.click()
    playwright.expect(page.locator(".member")).to_have_count(page.evaluate(MEMBERS))
    assert more > 0 and others.count() == 0
    page.fill("#find", "onerror")
    expect_count(page, "1 of 150 photos")
    assert tiles(page).first.text_content().startswith(EVIL)
    tiles(page).first.click()
    assert page.inner_text("#photo-title") == EVIL
    # the original is where the link says
    until(page, "document.querySelector('#photo img').naturalWidth > 0")
    assert page.locator("#original").get_attribute("href").endswith("/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E.jpg")


def test_by_keyboard_alone(page: Any) -> None:
    page.keyboard.press("5")
    title = "document.activeElement.title"
    names = [tile.get_attribute("title") for tile in tiles(page).all()]
    assert page.evaluate(title) == names[0]
    page.keyboard.press("ArrowRight")
    assert page.evaluate(title) == names[1]
    page.keyboard.press("ArrowDown")
    columns = names.index(page.evaluate(title)) - 1
    assert columns > 2
    page.keyboard.press("End")
    assert tiles(page).count() == 150 and page.evaluate(title) == tiles(page).last.get_attribute("title")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.inner_text("#place") == "1 of 150"
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    assert page.input_value("#order") == "score"
    page.keyboard.press("r")
    assert page.inner_text("#turn") == "worst first"
    page.keyboard.press("/")
    page.keyboard.type("p14")
    expect_count(page, "6 of 150 photos")
    playwright.expect(tiles(page).first).to_be_in_viewport()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    playwright.expect(page.locator("#help")).to_be_visible()


def test_dark_and_light(page: Any) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colour)
    assert dark != light
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: light" and page.evaluate(colour) == light
    page.click("#theme")
    page.emulate_media(color_scheme="light")
    assert page.inner_text("#theme") == "Theme: dark" and page.evaluate(colour) == dark
    page.reload()
    assert page.inner_text("#theme") == "Theme: dark"


def test_contact_sheet(page: Any) -> None:
    page.evaluate("window.print = () => { window.printed = document.querySelectorAll('.grid img').length; }")
    page.click("#print")
    until(page, "window.printed > 150")
    page.select_option("#lens", "=Zoom")
    page.emulate_media(media="print", color_scheme="dark")
    assert (
        page.locator("#picks").is_hidden() and page.locator("#filters").is_hidden() and tiles(page).first.is_visible()
    )
    assert page.inner_text("#paper") == "73 of 150 photos, by rank, best first"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) in (2, 3)


def test_pictures_beside_the_page(browser: Any, gallery: Path, tmp_path: Path) -> None:
    root = gallery.parent
    env = os.environ | {"CGIAA_DB": str(root / "cache.sqlite"), "CGIAA_CONFIG": str(root / "config.toml")}
    env["CGIAA_MODEL"] = str(root / "tiny")
    command = [sys.executable, "-m", "cgiaa_cli", "report", "photos", "-o", "b e.html", "--thumbs", "beside"]
    subprocess.run([*command, "--critiques", "1"], cwd=root, env=env, check=True, capture_output=True)
    stick = tmp_path / "stick"  # the page and its folder alone
    stick.mkdir()
    shutil.copy(root / "b e.html", stick)
    shutil.copytree(root / "b e_files", stick / "b e_files")
    page = browser.new_page()
    page.goto((stick / "b e.html").as_uri())
    until(page, "document.querySelector('.tile img').naturalWidth > 0")
    # a photo without a large picture, whose original is not here: its thumbnail
    page.locator('[data-grid="picks"] .tile').nth(3).click()
    until(page, "document.querySelector('#photo img').naturalWidth > 0")
    assert ".thumbs" in page.locator("#photo img").first.get_attribute("src")
    page.close()
