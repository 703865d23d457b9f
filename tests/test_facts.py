"""Measurements on constructed pictures with known answers, and on real photos that were changed in a known way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from cgiaa_cli.critique import light
from cgiaa_cli.critique.claims import MEASUREMENTS
from cgiaa_cli.critique.facts import KINDS, Facts, measure_facts, words
from cgiaa_cli.critique.focus import measure_focus
from cgiaa_cli.critique.frame import measure_frame, tilt
from cgiaa_cli.imaging.decode import Photo, decode

EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"


def photo(image: Image.Image) -> Photo:
    rgb = image.convert("RGB")
    luma = np.asarray(rgb.convert("L"))
    view = rgb.copy()
    view.thumbnail((768, 768))
    return Photo(np.asarray(view), luma, rgb.width, rgb.height, "png")


def facts(image: Image.Image) -> Facts:
    return measure_facts(photo(image))


def flat(colour: tuple[int, int, int], size: tuple[int, int] = (90, 60)) -> np.ndarray:
    return np.full((size[1], size[0], 3), colour, np.uint8)


def example(name: str) -> Image.Image:
    return Image.open(EXAMPLES / f"{name}.jpg").convert("RGB")


# --- light and colour --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("colour", "wanted"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((119, 119, 119), (50.03, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_has_the_published_values(colour: tuple[int, int, int], wanted: tuple[float, ...]) -> None:
    assert light.lab(flat(colour))[0, 0] == pytest.approx(wanted, abs=0.1)


def test_exposure_and_clipping_by_zone() -> None:
    view = flat((119, 119, 119))
    view[:20, 60:] = 255  # the zone at the top right
    view[40:, :30] = 0  # at the bottom left
    found = light.measure_light(view, light.lab(view))
    assert found.median == pytest.approx(50, abs=0.1)
    assert found.blown == found.blocked == pytest.approx(1 / 9)
    assert [round(z, 2) for z in found.blown_zones] == [0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert [round(z, 2) for z in found.blocked_zones] == [0, 0, 0, 0, 0, 0, 1, 0, 0]
    assert found.highlights == found.shadows == pytest.approx(1 / 9)


def test_range_in_stops_and_what_brightening_would_clip() -> None:
    view = np.concatenate([flat((188, 188, 188)), flat((99, 99, 99))])  # linear 0.5 and 0.125: two stops
    found = light.measure_light(view, light.lab(view))
    assert found.range_ev == pytest.approx(2, abs=0.1)
    assert light.clipping_after(view, 0) == 0
    assert light.clipping_after(view, 1.1) == pytest.approx(0.5)
    assert light.clipping_after(view, 3.1) == 1


def test_colourfulness_of_hasler_and_suesstrunk() -> None:
    assert light.colourfulness(flat((130, 130, 130))) == 0
    view = flat((255, 0, 0))
    # rg = 255, yb = 127.5, no spread: 0.3 * hypot
    assert light.colourfulness(view) == pytest.approx(0.3 * np.hypot(255, 127.5))
    faded = Image.blend(example("coffee").convert("L").convert("RGB"), example("coffee"), 0.5)
    assert light.colourfulness(np.asarray(faded)) < 0.6 * light.colourfulness(np.asarray(example("coffee")))


def test_cast_is_seen_in_greys_and_not_in_colours() -> None:
    warm, blue = flat((140, 130, 115)), flat((20, 60, 200))
    a, b, share = light.cast(light.lab(warm))
    assert b > 5 and abs(a) < 3 and share == 1
    assert light.cast(light.lab(blue)) == (0, 0, 0)


def test_a_wrong_white_balance_turns_the_cast() -> None:
    original = np.asarray(example("coffee")).astype(float)
    base = light.cast(light.lab(original.astype(np.uint8)))
    grey = np.asarray(example("astronaut")).astype(float)
    for gains, axis, sign in (((1.2, 1, 0.8), 1, 1), ((0.8, 1, 1.2), 1, -1)):
        turned = light.cast(light.lab(np.clip(grey * gains, 0, 255).astype(np.uint8)))
        straight = light.cast(light.lab(grey.astype(np.uint8)))
        assert (turned[axis] - straight[axis]) * sign > 1
    assert base[2] >= 0


def test_palette_names_and_shares() -> None:
    view = np.concatenate(
        [flat((220, 30, 30), (60, 60)), flat((30, 60, 200), (30, 60)), flat((250, 250, 250), (10, 60))], 1
    )
    found = light.palette(view, light.lab(view))
    assert [(s.name, round(s.share, 1)) for s in found] == [("red", 0.6), ("blue", 0.3), ("white", 0.1)]
    assert found == light.palette(view, light.lab(view))


@pytest.mark.parametrize(
    ("colours", "name"),
    [
        (((200, 40, 40), (210, 60, 50)), "one hue"),
        (((0, 150, 170), (230, 90, 60)), "complementary hues"),
        (((120, 120, 120), (90, 90, 90)), "none"),
    ],
)
def test_harmony(colours: tuple[tuple[int, int, int], ...], name: str) -> None:
    view = np.concatenate([flat(c) for c in colours])
    assert light.hue_harmony(light.lab(view))[0] == name


# --- focus -------------------------------------------------------------------------------------------------------


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"))


@pytest.mark.parametrize("name", ["coffee", "cat", "astronaut"])
def test_blur_of_a_known_width_is_told(name: str) -> None:
    image = example(name).convert("L")
    peaks = [measure_focus(grey(image.filter(ImageFilter.GaussianBlur(s)))).peak for s in (0, 1, 2, 4)]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] > 0.85 and peaks[3] < 0.45
    soft = measure_focus(grey(image.filter(ImageFilter.GaussianBlur(4))))
    assert soft.blur == "defocus" and soft.in_focus == 0 and soft.region is None
    assert measure_focus(grey(image)).blur == "none"


@pytest.mark.parametrize(("step", "angle"), [((0, 1), 0), ((1, 0), 90), ((1, 1), -45), ((-1, 1), 45)])
def test_motion_and_its_direction(step: tuple[int, int], angle: float) -> None:
    still = grey(example("coffee")).astype(np.float32)
    moved = sum(np.roll(still, (k * step[0], k * step[1]), (0, 1)) for k in range(11)) / 11
    found = measure_focus(moved.astype(np.uint8))
    assert (found.blur, found.motion_angle) == ("motion", angle)


def test_the_region_in_focus() -> None:
    image = example("grass").convert("L")
    soft = image.filter(ImageFilter.GaussianBlur(6))
    soft.paste(image.crop((256, 128, 512, 384)), (256, 128))
    found = measure_focus(grey(soft))
    assert found.region == pytest.approx((0.5, 0.25, 0.5, 0.5), abs=0.06)
    assert found.in_focus < 0.6 and measure_focus(grey(image)).in_focus > 0.95


@pytest.mark.parametrize("sigma", [2.0, 5.0, 12.0])
def test_noise_of_a_known_strength(sigma: float) -> None:
    noisy = np.random.default_rng(0).normal(128, sigma, (300, 400)).clip(0, 255).astype(np.uint8)
    assert measure_focus(noisy).noise == pytest.approx(sigma, rel=0.2)


def test_a_plain_picture_says_nothing_about_focus() -> None:
    found = measure_focus(np.full((300, 400), 120, np.uint8))
    assert found.textured == 0 and found.peak == 0 and found.region is None and np.isnan(found.map).all()


# --- frame -------------------------------------------------------------------------------------------------------


def scene(centre: tuple[float, float], size: tuple[int, int] = (600, 400)) -> Image.Image:
    """A textured orange disc before a grey ground."""
    image = Image.new("RGB", size, (110, 115, 120))
    x, y = centre[0] * size[0], centre[1] * size[1]
    ImageDraw.Draw(image).ellipse((x - 55, y - 55, x + 55, y + 55), fill=(230, 120, 30))
    noise = np.random.default_rng(0).normal(0, 12, (size[1], size[0], 1))
    disc = (np.asarray(image)[..., 0] > 200)[..., None]
    return Image.fromarray((np.asarray(image) + noise * disc).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("centre", [(0.5, 0.5), (1 / 3, 1 / 3), (2 / 3, 2 / 3), (0.7, 0.4)])
def test_the_subject_is_found_and_placed(centre: tuple[float, float]) -> None:
    found = facts(scene(centre)).frame
    assert found.subject.certainty > 0.6
    assert found.subject.centre == pytest.approx(centre, abs=0.02)
    assert found.subject.area == pytest.approx(np.pi * 55**2 / (600 * 400), rel=0.6)
    assert found.separation > 40 and found.cut == ()
    diagonal = np.hypot(600, 400)
    assert found.to_centre == pytest.approx(
        np.hypot((centre[0] - 0.5) * 600, (centre[1] - 0.5) * 400) / diagonal, abs=0.02
    )


def test_placement_in_words() -> None:
    assert words(facts(scene((0.5, 0.5))))["placement"] == {"centred"}
    assert "thirds" in words(facts(scene((1 / 3, 1 / 3))))["placement"]
    assert words(facts(scene((0.5, 0.5))))["clutter"] == {"simple"}


def test_balance_and_symmetry() -> None:
    right = facts(scene((0.8, 0.5))).frame
    left = facts(scene((0.2, 0.5))).frame
    assert right.balance > 0.5 and left.balance < -0.5
    assert facts(scene((0.5, 0.5))).frame.symmetry > 0.6 > right.symmetry


@pytest.mark.parametrize("name", ["brick", "rocket-launch"])
@pytest.mark.parametrize("degrees", [-4.0, 3.0, 6.0])
def test_a_photo_that_was_turned_by_known_degrees(name: str, degrees: float) -> None:
    def middle(turn: float) -> np.ndarray:
        # drawn, since the example photos have no horizon: posts and beams
        image = Image.new("RGB", (900, 600), (150, 150, 150))
        draw = ImageDraw.Draw(image)
        for k in range(6):
            draw.rectangle((80 + 140 * k, 0, 100 + 140 * k, 600), fill=(60, 60, 70))
            draw.rectangle((0, 60 + 100 * k, 900, 72 + 100 * k), fill=(200, 190, 180))
        turned = image.rotate(-turn, Image.Resampling.BICUBIC)  # clockwise is positive
        return light.lab(np.asarray(turned.crop((150, 100, 750, 500))))[..., 0]

    level, turned = tilt(middle(0)), tilt(middle(degrees))
    assert level == pytest.approx(0, abs=0.3) and turned == pytest.approx(degrees, abs=0.3), name


def test_no_tilt_is_told_where_nothing_shows_it() -> None:
    assert tilt(light.lab(np.asarray(example("grass")))[..., 0]) is None
    assert tilt(np.full((300, 400), 50, np.float32)) is None


def test_lines_that_converge_and_diagonals() -> None:
    image = Image.new("RGB", (600, 400), (200, 200, 200))
    draw = ImageDraw.Draw(image)
    for end in ((0, 20), (0, 380), (600, 20), (600, 380), (200, 400), (400, 400)):
        draw.line((300, 200, *end), fill=(30, 30, 30), width=5)
    found = facts(image).frame
    assert found.lines > 0.3 and found.converging > 0.6
    assert words(facts(image))["leading_lines"] == {"present"}


def test_clutter() -> None:
    busy = np.random.default_rng(0).integers(0, 2, (40, 60)) * 200
    image = Image.fromarray(busy.astype(np.uint8)).resize((600, 400), Image.Resampling.NEAREST).convert("RGB")
    assert facts(image).frame.clutter > 0.6
    assert facts(scene((0.5, 0.5))).frame.clutter < 0.1


# --- kinds and words ---------------------------------------------------------------------------------------------


def page(width: int = 600) -> Image.Image:
    image = Image.new("RGB", (width, 800), "white")
    draw = ImageDraw.Draw(image)
    for y in range(40, 760, 20):
        draw.text((50, y), "the quick brown fox jumps over the lazy dog and walks home again " * 2, fill="black")
    return image


def window() -> Image.Image:
    image = Image.new("RGB", (800, 600), (40, 44, 52))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 800, 40), fill=(30, 90, 160))
    for k in range(20):
        draw.rectangle((20, 60 + 26 * k, 180, 80 + 26 * k), fill=(70, 80, 90))
        draw.text((220, 62 + 26 * k), "def main(): return something(17, colour='green')", fill=(220, 180, 90))
    return image


def silhouette() -> Image.Image:
    image = Image.fromarray(np.tile(np.linspace(170, 245, 600).astype(np.uint8), (400, 1))).convert("RGB")
    ImageDraw.Draw(image).polygon([(200, 400), (300, 120), (400, 400)], fill=(3, 3, 4))
    return image


def cut_out() -> Image.Image:
    image = Image.new("RGB", (600, 400), "white")
    image.paste(example("cat").resize((240, 200)), (180, 100))
    return image


def framed(colour: str = "white") -> Image.Image:
    image = Image.new("RGB", (600, 400), colour)
    image.paste(example("coffee").resize((560, 360)), (20, 20))
    return image


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (example("coins"), "black_and_white"),
        (example("deep-field"), "night"),
        (silhouette(), "silhouette"),
        (page(), "document"),
        (page(1400), "document"),  # text beside an empty margin
        (cut_out(), "white_ground"),
        (framed(), "framed"),
        (framed("black"), "framed"),
        (window(), "screenshot"),
        (Image.new("RGB", (300, 200), (90, 90, 90)), "blank"),
        (picture(1, 0.4, (120, 90)), "tiny"),
        (picture(1, 0.4, (900, 300)), "panorama"),
    ],
)
def test_kinds(image: Image.Image, kind: str) -> None:
    assert kind in facts(image).kinds


def test_what_kinds_are_not_mistaken_for() -> None:
    moon = Image.new("RGB", (600, 400), (2, 2, 3))
    noise = np.random.default_rng(0).normal(0, 12, (400, 600, 1))
    ImageDraw.Draw(moon).ellipse((160, 60, 440, 340), fill=(190, 190, 185))
    bright = (np.asarray(moon)[..., :1] > 100) * noise
    moon = Image.fromarray((np.asarray(moon) + bright).clip(0, 255).astype(np.uint8))
    assert not facts(moon).kinds & {"silhouette", "framed"}  # a bright thing before a dark ground
    wall = np.random.default_rng(0).normal((150, 130, 110), 6, (300, 400, 3))
    assert "black_and_white" not in facts(Image.fromarray(wall.clip(0, 255).astype(np.uint8))).kinds
    border = words(facts(framed()))
    assert "highlights" not in border and "shadows" not in border and "exposure" in border


def test_texture_is_not_told_as_noise_nor_a_horizon_as_symmetry() -> None:
    texture = Image.effect_noise((600, 400), 40).convert("RGB")
    assert "noise" not in words(facts(texture))
    bands = np.repeat(np.random.default_rng(1).integers(40, 220, 100), 4)[:, None] + np.zeros((400, 600))
    bands += np.random.default_rng(2).normal(0, 3, bands.shape)
    assert words(facts(Image.fromarray(bands.clip(0, 255).astype(np.uint8)).convert("RGB")))["symmetry"] == {"absent"}


def test_verticals_that_lean_apart_tell_no_tilt() -> None:
    image = Image.new("RGB", (600, 400), (150, 150, 150))
    draw = ImageDraw.Draw(image)
    for k in range(3):  # a wall seen from aside: the left half leans, the right half stands
        draw.line((60 + 70 * k, 0, 20 + 70 * k, 400), fill=(60, 60, 70), width=8)
        draw.line((360 + 70 * k, 0, 360 + 70 * k, 400), fill=(60, 60, 70), width=8)
    assert tilt(light.lab(np.asarray(image))[..., 0]) is None


def test_cameras_follow_what_moves_sideways() -> None:
    ground = np.asarray(example("coffee").convert("RGB").resize((900, 600)), np.float32)
    moved = Image.fromarray((sum(np.roll(ground, k - 15, 1) for k in range(31)) / 31).astype(np.uint8))
    moved.paste(example("cat").convert("RGB").resize((300, 200)), (300, 200))
    assert "panning" in facts(moved).kinds
    assert "panning" not in facts(moved.transpose(Image.Transpose.ROTATE_90)).kinds


def test_what_is_dark_above_light_is_no_silhouette() -> None:
    assert "silhouette" not in facts(ImageOps.flip(silhouette())).kinds


def test_real_photos_are_not_called_documents_or_screenshots() -> None:
    for path in EXAMPLES.iterdir():
        found = measure_facts(decode(path.read_bytes()))
        assert not found.kinds & {"document", "screenshot", "blank", "tiny"}, path.name
        assert found.kinds <= set(KINDS)


def test_bokeh_and_a_toned_print() -> None:
    sharp = example("coffee").resize((900, 600))
    soft = sharp.filter(ImageFilter.GaussianBlur(9))
    mask = Image.new("L", sharp.size)
    ImageDraw.Draw(mask).ellipse((330, 180, 570, 420), fill=255)
    bright = Image.composite(Image.eval(sharp, lambda v: min(255, v + 90)), soft, mask)
    assert facts(bright).frame.subject.certainty > 0.4 and "bokeh" in facts(bright).kinds
    grey_ = np.asarray(example("astronaut").convert("L")).astype(np.float32)
    sepia = np.stack([grey_, grey_ * 0.93, grey_ * 0.8], -1).astype(np.uint8)
    assert "black_and_white" in facts(Image.fromarray(sepia)).kinds


def test_words_are_those_of_the_claims_and_follow_changes() -> None:
    base = example("astronaut")
    found = words(facts(base))
    assert set(found) <= set(MEASUREMENTS)
    for name, values in found.items():
        assert values and values <= set(MEASUREMENTS[name]), name
    dark = Image.eval(base, lambda v: int(v * 0.25))
    bright = Image.eval(base, lambda v: min(255, int(v * 2.5 + 40)))
    assert words(facts(dark))["exposure"] == {"dark"}
    assert "bright" in words(facts(bright))["exposure"] and words(facts(bright))["highlights"] == {"clipped"}
    assert words(facts(base.convert("L")))["palette"] == {"monochrome"}
    assert words(facts(base.filter(ImageFilter.GaussianBlur(5))))["sharpness"] == {"soft"}
    assert words(facts(base))["sharpness"] == {"sharp"}


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (20, 20), (64, 64)])
def test_odd_sizes_do_not_fail(size: tuple[int, int]) -> None:
    found = facts(Image.effect_noise(size, 60).convert("RGB"))
    assert (found.width, found.height) == size
    assert words(found)


def test_frame_of_a_picture_of_one_colour() -> None:
    found = measure_frame(light.lab(flat((90, 90, 90))), np.full((4, 6), np.nan, np.float32))
    assert found.subject.certainty == 0 and found.tilt is None and found.empty == 1
