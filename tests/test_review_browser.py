"""The page of `cgiaa review` in headless Chromium, used by mouse and keyboard; skipped where there is no browser.

pip install -e '.[browser,review]' and a Chromium: the system's, or one that `playwright install chromium` fetches
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import picture, write_tiny_bundle
from reviewing import EVIL, Client, make_photos, scan, served
from test_report_browser import browser, until

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.review import decisions

playwright = pytest.importorskip("playwright.sync_api", reason="the extra 'browser' is not installed")

__all__ = ["browser"]

Open = Callable[[], Any]
TITLE = "document.activeElement.title"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `photos` of 134 photos beside its cache and its bundle; not to be changed."""
    root = tmp_path_factory.mktemp("review")
    make_photos(root / "photos")
    for i in range(120):
        picture(200 + i, 0.05 + 0.002 * i, (96, 72)).rotate(90 * (i % 4), expand=True).save(
            root / "photos" / f"p{i:03}.png"
        )
    write_tiny_bundle(root / "tiny")
    scan(root / "photos", root / "cache.sqlite", root / "tiny")
    return root


@pytest.fixture
def client(library: Path, tmp_path: Path) -> Iterator[Client]:
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path / "page.sqlite"))
    with served(library / "photos", db, library / "tiny") as found:
        yield found


def open_page(context: Any, client: Client, wrong: list[str]) -> Any:
    page = context.new_page()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda request: request.url.startswith(client.address) or wrong.append(request.url))
    page.set_default_timeout(10_000)
    page.goto(client.address)
    playwright.expect(page.locator("#wall .tile").first).to_be_focused()
    until(page, "document.querySelector('#wall .tile')?.title")
    return page


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    found = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    yield found
    found.close()


@pytest.fixture
def page(context: Any, client: Client) -> Iterator[Any]:
    """The page; no error, no alert, nothing asked of anybody else."""
    wrong: list[str] = []
    yield open_page(context, client, wrong)
    context.close()
    assert wrong == []


def summary(page: Any, text: str) -> None:
    playwright.expect(page.locator("#summary")).to_have_text(text)


def shown(page: Any, selector: str) -> None:
    """Wait until a picture is decoded."""
    until(page, f"document.querySelector('{selector}')?.naturalWidth > 0")


def test_picks_and_rejects_by_keyboard(page: Any, client: Client) -> None:
    summary(page, "134 photos \u00b7 0 picks \u00b7 0 rejects \u00b7 0 choices")
    playwright.expect(page.locator('[data-section="failed"]')).to_be_hidden()  # there is none
    shown(page, "#wall .tile img")
    # only what is near the window exists
    assert page.locator("#wall .tile").count() < 60
    first = page.evaluate(TITLE)
    page.keyboard.press("p")
    summary(page, "134 photos \u00b7 1 pick \u00b7 0 rejects \u00b7 0 choices")
    tile = page.locator("#wall .tile").first
    assert "picked" in tile.get_attribute("class") and tile.locator(".sign").inner_text() == "\u2713"
    assert tile.locator("img").get_attribute("alt").startswith(f"{first}: overall score ")
    assert "picked" in tile.locator("img").get_attribute("alt")
    page.keyboard.press("X")  # rejects in its place, and goes on
    summary(page, "134 photos \u00b7 0 picks \u00b7 1 reject \u00b7 0 choices")
    until(page, TITLE)
    second = page.evaluate(TITLE)
    assert second != first
    page.keyboard.press("x")
    page.keyboard.press("x")  # once more takes it back
    summary(page, "134 photos \u00b7 0 picks \u00b7 1 reject \u00b7 0 choices")
    page.keyboard.press("End")
    until(page, TITLE)  # its row comes after the tile
    last = page.evaluate(TITLE)
    assert page.evaluate("Number(document.activeElement.dataset.place)") == 133 and last not in (first, second)
    page.keyboard.press("p")
    page.keyboard.press("Home")
    # as many steps back as there were; it leads to where they happened
    for title in (last, second, second, first):
        page.keyboard.press("u")
        until(page, f"document.activeElement.title === '{title}'")
    page.keyboard.press("Control+z")
    summary(page, "134 photos \u00b7 0 picks \u00b7 0 rejects \u00b7 0 choices")
    playwright.expect(page.locator("#undo")).to_be_disabled()
    page.keyboard.press("p")
    until(page, "document.querySelector('#summary').textContent.includes('1 pick')")
    page.reload()  # closed midway, opened again
    summary(page, "134 photos \u00b7 1 pick \u00b7 0 rejects \u00b7 0 choices")
    with Cache.open(client.review.cache.path) as cache:
        assert list(decisions.verdicts(cache).values()).count("pick") == 1


def test_filters_and_orders(page: Any) -> None:
    title = page.evaluate(TITLE)
    page.keyboard.press("p")
    page.select_option("#show", "picks")
    playwright.expect(page.locator("#count")).to_have_text("1 of 134 photos")
    assert page.locator("#wall .tile").first.get_attribute("title") == title
    page.select_option("#show", "rejects")
    playwright.expect(page.locator("#wall")).to_contain_text("No photo meets all of these conditions.")
    page.select_option("#show", "all")
    page.select_option("#order", "path")
    playwright.expect(page.locator("#turn")).to_have_text("a to z")
    until(page, "document.querySelector('#wall .tile[data-place=\"0\"]')?.title.startsWith('<')")
    page.keyboard.press("/")
    page.keyboard.type("p01")
    playwright.expect(page.locator("#count")).to_have_text("10 of 134 photos")
    page.keyboard.press("Escape")  # leaves the field, not the words in it
    assert page.input_value("#find") == "p01"
    page.keyboard.press("r")
    until(page, "document.querySelector('#wall .tile[data-place=\"0\"]')?.title === 'p019.png'")


def test_filters_of_cameras_and_scores(page: Any) -> None:
    assert page.locator("#lens option").all_inner_texts() == ["any", "Tele (4)", "Zoom (4)"]
    page.select_option("#lens", "=Tele")
    playwright.expect(page.locator("#count")).to_have_text("4 of 134 photos")
    until(page, "document.querySelectorAll('#wall .tile .number').length === 4")
    until(page, "[...document.querySelectorAll('#wall .tile .number')].every((one) => one.innerText)")
    best = page.locator("#wall .tile .number").first.inner_text()
    page.fill("#least", best)  # as it stands there
    playwright.expect(page.locator("#count")).to_have_text("1 of 134 photos")
    page.select_option("#order", "technical")
    playwright.expect(page.locator("#which")).to_have_text("Technical quality")
    page.click("#everything")
    playwright.expect(page.locator("#count")).to_have_text("134 photos")
    assert page.input_value("#order") == "value" and page.inner_text("#turn") == "best first"
    page.check("#one")
    playwright.expect(page.locator("#count")).not_to_have_text("134 photos")


def test_scores_and_weak_spots(page: Any) -> None:
    page.select_option("#camera", "=Beta")
    playwright.expect(page.locator("#count")).to_have_text("4 of 134 photos")
    page.get_by_role("button", name="Scores").click()
    plots = page.locator(".plots svg")
    playwright.expect(plots).to_have_count(8)
    assert plots.first.get_attribute("aria-label").startswith("Overall: 4 photos, from ")
    assert page.inner_text("#left") == "4 of 134 photos"
    page.keyboard.press("5")
    tables = page.locator(".tables table")
    playwright.expect(tables).to_have_count(3)
    assert [text.split(" ")[0] for text in tables.locator("caption").all_inner_texts()] == ["Lens", "Focal", "Month"]
    assert "not known of 126 photos" in tables.first.inner_text()
    page.get_by_role("button", name="Zoom", exact=True).click()
    # leads to its photos, and to them alone
    playwright.expect(page.locator("#all")).to_be_visible()
    playwright.expect(page.locator("#count")).to_have_text("4 of 134 photos")
    assert page.input_value("#lens") == "=Zoom" and page.input_value("#camera") == ""
    page.keyboard.press("4")
    assert plots.first.get_attribute("aria-label").startswith("Overall: 4 photos, from ")
    page.keyboard.press("5")
    playwright.expect(tables).to_have_count(3)


PRINTED = "[...document.querySelectorAll('[data-grid=\"all\"] img')].filter((one) => one.naturalWidth).length"


def test_contact_sheet(page: Any) -> None:
    page.keyboard.press("p")
    page.keyboard.press("2")
    page.evaluate(f"window.print = () => {{ window.printed = {PRINTED}; }}")
    page.keyboard.press("Control+p")
    until(page, "window.printed === 134")  # all of them, with their pictures
    assert page.inner_text("#print") == "Contact sheet"
    page.emulate_media(media="print", color_scheme="dark")
    for part in ("#filters", "#wall", "#groups", "#undo", ".top nav"):
        assert page.locator(part).first.is_hidden()
    assert page.inner_text("#paper") == "134 photos, by rank, best first"
    first = page.locator('[data-grid="all"] .tile').first
    assert first.is_visible() and first.locator(".sign").inner_text() == "\u2713"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) in (4, 5)
    # afterwards nothing of it is left, and from the browser's own menu it says how to
    assert page.locator('[data-grid="all"] .tile').count() == 0
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert "Contact sheet prints the photos" in page.inner_text('[data-grid="all"]')


def test_a_contact_sheet_can_be_stopped(page: Any) -> None:
    page.evaluate("window.print = () => { window.printed = 1; }; null")
    page.evaluate("document.getElementById('print').click(); document.getElementById('print').click();")
    until(page, "document.getElementById('print').textContent === 'Contact sheet'")
    assert page.evaluate("window.printed") is None


def test_one_photo_with_its_critique(page: Any, client: Client) -> None:
    page.fill("#find", "single07")
    playwright.expect(page.locator("#count")).to_have_text("1 of 134 photos")
    page.locator("#wall .tile").first.click()
    dialog = page.locator("#photo")
    playwright.expect(dialog).to_be_visible()
    shown(page, "#photo .pane img")
    assert "Beta" in dialog.locator(".facts").inner_text() and dialog.locator(".score").count() == 6
    page.keyboard.press("k")
    playwright.expect(dialog.locator(".said article")).not_to_have_count(0)
    page.keyboard.press("e")
    shown(page, "#photo .evidence")
    assert dialog.locator(".evidence").get_attribute("alt").startswith("Evidence drawn on single07.jpg")
    page.keyboard.press("e")
    assert dialog.locator(".evidence").count() == 0
    dialog.get_by_role("button", name="Pick").click()
    playwright.expect(page.locator("#pick")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    playwright.expect(dialog).to_be_hidden()
    playwright.expect(page.locator("#wall .tile").first).to_be_focused()
    assert client.json("state")["picks"] == [client.number("single07.jpg")]


def test_photos_with_a_critique_have_a_badge_and_are_found_by_its_words(page: Any, client: Client) -> None:
    badges = page.locator("#wall .badge:visible")
    playwright.expect(badges).to_have_count(0)
    names = [tile.get_attribute("title") for tile in page.locator("#wall .tile").all()[:3]]
    page.keyboard.press("Enter")
    shown(page, "#photo .pane img")
    page.keyboard.press("k")
    playwright.expect(page.locator("#photo article").first).to_be_visible()
    page.keyboard.press("ArrowRight")
    playwright.expect(page.locator("#place")).to_have_text("2 of 134")
    page.keyboard.press("e")  # evidence is that of a critique
    shown(page, "#photo .evidence")
    page.keyboard.press("Escape")
    playwright.expect(badges).to_have_count(2)
    assert badges.first.get_attribute("title") == "has a critique"
    number = client.number(names[2])
    client.json(f"critique/{number}")  # on another page
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    playwright.expect(page.locator(f'#wall .tile[data-number="{number}"] .badge')).to_be_visible()
    # no name has it, and each of the critiques
    page.fill("#find", "the")
    playwright.expect(page.locator("#count")).to_have_text("3 of 134 photos")


def test_the_original_in_a_tab_of_its_own_or_downloaded(page: Any, client: Client, tmp_path: Path) -> None:
    number = client.number("small.png")
    page.fill("#find", "small")
    playwright.expect(page.locator("#count")).to_have_text("1 of 134 photos")
    page.locator("#wall .tile").first.click()
    for act in (
        lambda: page.locator("#original").click(),
        lambda: page.keyboard.press("o"),
        lambda: page.locator("#original").press("Enter"),
    ):
        with page.expect_popup() as opened:
            act()
        until(opened.value, "document.images[0]?.naturalWidth === 120")
        assert opened.value.url == f"{client.address}original/{number}"
        opened.value.close()
        playwright.expect(page.locator("#photo")).to_be_visible()
    picture(1, 0.4).save(tmp_path / "scan.tiff")
    client.review.gallery.paths[number] = (str(tmp_path / "scan.tiff"),)
    with page.expect_download() as got:
        page.keyboard.press("o")
    assert got.value.suggested_filename == "scan.tiff"
    assert Path(got.value.path()).read_bytes() == (tmp_path / "scan.tiff").read_bytes()


def test_what_is_said_of_a_place_frames_it(page: Any, client: Client) -> None:
    critiques = ((number, client.json(f"critique/{number}")["attributes"].values()) for number in range(20))
    number, found = next((n, found) for n, found in critiques if any(part["region"] for part in found))
    left, top, wide, high = next(part["region"] for part in found if part["region"])
    page.locator("#critiqued").check()
    playwright.expect(page.locator("#count")).to_have_text(f"{number + 1} of 134 photos")  # those that were asked for
    page.locator(f'#wall .tile[data-number="{number}"]').click()
    dialog = page.locator("#photo")
    shown(page, "#photo .pane img")
    page.keyboard.press("k")
    part = dialog.locator("article.place").first
    for zoomed in (False, True):
        part.hover()
        image, rect = (dialog.locator(f".pane {one}").bounding_box() for one in ("img", "rect"))
        row = client.json(f"photos?numbers={number}")["photos"][0]
        scale = image["width"] / row["width"]
        wanted = (image["x"] + left * scale, image["y"] + top * scale, wide * scale, high * scale)
        assert (rect["x"], rect["y"], rect["width"], rect["height"]) == pytest.approx(wanted, abs=5)  # with its stroke
        dialog.locator(".facts").hover()
        assert dialog.locator("rect").count() == 0
        if not zoomed:
            part.focus()
            assert dialog.locator("rect").count() == 1
            page.keyboard.press("z")
    page.keyboard.press("ArrowLeft")
    assert dialog.locator("rect").count() == 0


def transforms(page: Any, box: str) -> list[str]:
    return [
        image.evaluate("one => one.style.transform + one.style.width")
        for image in page.locator(f"{box} .pane img").all()
    ]


def test_side_by_side_zoom_and_move_together(page: Any) -> None:
    page.fill("#find", "IMG_000")
    playwright.expect(page.locator("#count")).to_have_text("3 of 134 photos")
    until(page, "document.querySelectorAll('#wall .tile').length === 3")
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.locator("#wall .tile").nth(2).click(modifiers=["Control"])
    playwright.expect(page.locator("#beside")).to_have_text("Side by side (3)")
    page.keyboard.press("s")
    figures = page.locator("#photo-stage figure")
    playwright.expect(figures).to_have_count(3)
    shown(page, "#photo .pane img")
    before = transforms(page, "#photo")
    assert len(set(before)) == 1
    page.keyboard.press("z")
    until(page, "document.querySelector('#photo .pane img').src.includes('/full/')")
    # 100 %: a pixel of the photo for one of the screen
    assert [one.partition(")")[2] for one in transforms(page, "#photo")] == ["320px"] * 3
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.mouse.move(*middle(page.locator("#photo .pane").first))
    page.mouse.wheel(0, -600)
    zoomed = transforms(page, "#photo")
    assert len(set(zoomed)) == 1 and zoomed != before
    page.keyboard.press("Shift+ArrowRight")
    moved = transforms(page, "#photo")
    assert len(set(moved)) == 1 and moved != zoomed
    x, y = middle(page.locator("#photo .pane").nth(1))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=4)
    page.mouse.up()
    dragged = transforms(page, "#photo")
    assert len(set(dragged)) == 1 and dragged != moved
    page.keyboard.press("z")
    assert transforms(page, "#photo") == before
    # the keys are about one of them
    page.keyboard.press("p")
    page.keyboard.press("Tab")
    page.keyboard.press("x")
    playwright.expect(figures.nth(0)).to_have_class(re.compile(r"\bpicked"))
    playwright.expect(figures.nth(1)).to_have_class(re.compile(r"\brejected"))
    summary(page, "134 photos \u00b7 1 pick \u00b7 1 reject \u00b7 0 choices")


def middle(locator: Any) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_groups(page: Any, client: Client) -> None:
    page.keyboard.press("2")
    burst = page.locator(".card", has_text="burst, 3 photos")
    playwright.expect(burst).to_be_visible()
    assert burst.locator("b").count() == 1 and burst.locator("p[title]").count() == 3
    burst.get_by_role("button", name="Pick the keeper, reject the others").click()
    summary(page, "134 photos \u00b7 1 pick \u00b7 2 rejects \u00b7 0 choices")
    assert burst.locator(".tile.rejected").count() == 2
    page.keyboard.press("u")  # one step
    summary(page, "134 photos \u00b7 0 picks \u00b7 0 rejects \u00b7 0 choices")
    burst.get_by_role("button", name="Keep all").click()
    playwright.expect(page.get_by_role("button", name="No longer keep all")).to_be_visible()
    assert burst.locator("b").count() == 3
    burst.get_by_role("button", name="Side by side").click()
    playwright.expect(page.locator("#photo-stage figure")).to_have_count(3)
    page.keyboard.press("Escape")
    page.select_option("#kind", "burst")
    playwright.expect(page.locator("#groups-count")).to_have_text("1 group")
    playwright.expect(page.locator(".card")).to_have_count(1)


def test_a_or_b(page: Any, client: Client) -> None:
    page.keyboard.press("a")
    figures = page.locator("#pair-stage figure")
    playwright.expect(figures).to_have_count(2)
    # no score that would tell what to like
    assert not re.search(r"\d\.\d\d", page.inner_text("#pair"))
    names = figures.all_inner_texts()
    page.keyboard.press("ArrowLeft")
    summary(page, "134 photos \u00b7 0 picks \u00b7 0 rejects \u00b7 1 choice")
    until(
        page, f"![...document.querySelectorAll('#pair-stage figure')].every((one) => {names!r}.includes(one.innerText))"
    )
    page.keyboard.press("ArrowDown")  # neither is no choice, and is not asked again
    page.get_by_role("button", name="Right").click()
    summary(page, "134 photos \u00b7 0 picks \u00b7 0 rejects \u00b7 2 choices")
    made = decisions.choices(client.review.cache)
    assert len(made) == 3 and list(made.values()).count(None) == 1
    for _ in range(3):
        page.keyboard.press("u")
    summary(page, "134 photos \u00b7 0 picks \u00b7 0 rejects \u00b7 0 choices")
    until(
        page, f"[...document.querySelectorAll('#pair-stage figure')].every((one) => {names!r}.includes(one.innerText))"
    )
    page.keyboard.press("z")
    until(page, "document.querySelector('#pair .pane img').src.includes('/full/')")


def test_hostile_names_and_texts(page: Any) -> None:
    page.fill("#find", "onerror")
    playwright.expect(page.locator("#count")).to_have_text("1 of 134 photos")
    tile = page.locator("#wall .tile").first
    playwright.expect(tile.locator(".name")).to_have_text(EVIL)
    tile.click()
    playwright.expect(page.locator("#photo-title")).to_have_text(f"</{EVIL}")
    assert "<script>alert(2)</script>" in page.inner_text("#photo .facts")
    assert page.locator("img[src=x]").count() == 0


def test_two_pages_at_once(page: Any, context: Any, client: Client) -> None:
    wrong: list[str] = []
    other = open_page(context, client, wrong)
    other.keyboard.press("p")
    summary(other, "134 photos \u00b7 1 pick \u00b7 0 rejects \u00b7 0 choices")
    page.bring_to_front()
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    summary(page, "134 photos \u00b7 1 pick \u00b7 0 rejects \u00b7 0 choices")
    page.keyboard.press("u")  # the history is that of the review, not of the page
    summary(page, "134 photos \u00b7 0 picks \u00b7 0 rejects \u00b7 0 choices")
    assert wrong == []


def test_the_review_has_ended(context: Any, library: Path, tmp_path: Path) -> None:
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path / "page.sqlite"))
    with served(library / "photos", db, library / "tiny", groups=False) as client:
        page = open_page(context, client, [])
    page.keyboard.press("p")
    playwright.expect(page.locator("#wrong")).to_be_visible()
    assert "The review has ended. What was decided is kept" in page.inner_text("#wrong")


def test_sidecars_are_shown_and_written(context: Any, library: Path, tmp_path: Path) -> None:
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path / "page.sqlite"))
    shutil.copytree(library / "photos", tmp_path / "photos")
    with Cache.open(db) as cache, cache.transaction() as conn:
        conn.execute("UPDATE files SET path = replace(path, ?, ?)", (f"{library}/photos/", f"{tmp_path}/photos/"))
    for write in (False, True):
        wrong: list[str] = []
        with served(tmp_path / "photos", db, library / "tiny", write=write, groups=False) as client:
            page = open_page(context, client, wrong)
            if not write:
                page.keyboard.press("p")
                summary(page, "134 photos \u00b7 1 pick \u00b7 0 rejects \u00b7 0 choices")
            page.keyboard.press("w")
            about = page.locator("#sidecars-about")
            playwright.expect(about).to_have_text(re.compile("^1 to make. Nothing is written"))
            assert not list((tmp_path / "photos").rglob("*.xmp"))
            cells = page.locator("#sidecars tbody td")
            wrapping = [cells.nth(i).evaluate("(cell) => getComputedStyle(cell).whiteSpace") for i in (0, 1)]
            assert wrapping == ["nowrap"] * 2  # of what is done and of the verdict, beside however long a name
            if write:
                page.click("#sidecars-write")
                playwright.expect(about).to_have_text("1 made.")
                assert len(list((tmp_path / "photos").rglob("*.xmp"))) == 1
            playwright.expect(page.locator("#sidecars-write")).to_be_hidden()
            page.close()
        assert wrong == []


def test_dark_light_and_keys(page: Any) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) != light
    page.keyboard.press("d")
    assert page.inner_text("#theme") == "Theme: light" and page.evaluate(colour) == light
    page.keyboard.press("?")
    playwright.expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("p")  # a key of the page behind does nothing
    page.keyboard.press("Escape")
    summary(page, "134 photos \u00b7 0 picks \u00b7 0 rejects \u00b7 0 choices")
    # whoever cannot see the colours reads the names
    assert page.locator("button:not([title]):visible").count() == 0


def test_one_photo_alone(context: Any, library: Path, tmp_path: Path) -> None:
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path / "page.sqlite"))
    wrong: list[str] = []
    failed = {str(library / "photos" / name): "no photo" for name in ("a.jpg", EVIL)}
    with served(library / "photos" / "turned.jpg", db, library / "tiny", failed=failed) as client:
        page = open_page(context, client, wrong)
        summary(page, "1 photo \u00b7 0 picks \u00b7 0 rejects \u00b7 0 choices")
        for key in ("ArrowRight", "ArrowDown", "End", "PageDown", "s", "Enter"):
            page.keyboard.press(key)
        playwright.expect(page.locator("#place")).to_have_text("1 of 1")
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        playwright.expect(page.locator("#groups-count")).to_have_text("No photo belongs to another.")
        page.keyboard.press("3")
        playwright.expect(page.locator("#pair-stage")).to_have_text("It takes two photos to choose between.")
        page.keyboard.press("ArrowLeft")
        summary(page, "1 photo \u00b7 0 picks \u00b7 0 rejects \u00b7 0 choices")
        playwright.expect(page.get_by_role("button", name="Unreadable (2)")).to_be_visible()
        page.keyboard.press("6")
        assert page.locator("#failed li").all_inner_texts() == ["a.jpg: no photo", f"{EVIL}: no photo"]
        page.close()
    assert wrong == []
