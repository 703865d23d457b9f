"""Pixels: upright, in sRGB, of every format; and the ways in which a file is no photo."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from conftest import picture
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from rawfile import write_dng

from cgiaa_cli.errors import PhotoError
from cgiaa_cli.imaging.decode import VIEW_LONG_SIDE, decode, require_photo
from cgiaa_cli.imaging.formats import sniff

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (240, 240, 240)


def corners(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Upright: red top left, green top right, blue bottom left, white bottom right."""
    image = Image.new("RGB", size)
    half = (size[0] // 2, size[1] // 2)
    for i, colour in enumerate((RED, GREEN, BLUE, WHITE)):
        image.paste(colour, (i % 2 * half[0], i // 2 * half[1], (i % 2 + 1) * half[0], (i // 2 + 1) * half[1]))
    return image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def seen(view: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    height, width = view.shape[:2]
    return [view[y, x].astype(int) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]


def assert_corners(view: np.ndarray[Any, Any], tolerance: int = 12) -> None:
    for found, wanted in zip(seen(view), (RED, GREEN, BLUE, WHITE), strict=True):
        assert np.abs(found - np.array(wanted)).max() <= tolerance, (found, wanted)


TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "TIFF", "WEBP", "PNG"])
def test_every_orientation_comes_out_upright(orientation: int, format: str) -> None:
    stored = corners() if TURNS[orientation] is None else corners().transpose(TURNS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = decode(encoded(stored, format, exif=exif))
    assert (photo.width, photo.height) == (64, 48)
    assert photo.luma.shape == (48, 64)
    assert_corners(photo.view, 40 if format == "WEBP" else 20)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_every_format_gives_its_pixels(format: str) -> None:
    options = {"quality": 95} if format in ("JPEG", "WEBP", "AVIF") else {}
    data = encoded(corners(), format, **options)
    photo = decode(data)
    assert photo.format == format.lower() == sniff(data[:4096], ".heic")
    assert_corners(photo.view, 25)


def test_heif_and_jpeg_bytes_in_a_heic_file() -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    photo = decode(encoded(corners(), "HEIF", quality=95), suffix=".heic")
    assert photo.format == "heif"
    assert_corners(photo.view, 25)
    assert decode(encoded(corners(), "JPEG"), suffix=".heic").format == "jpeg"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1", "LA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        ramp = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(48, 0)
        photo = decode(encoded(Image.fromarray(ramp), "PNG"))
        assert photo.view[24, 0].max() <= 4 and photo.view[24, -1].min() >= 251
        assert abs(int(photo.view[24, 32, 0]) - 128) <= 6
        return
    image = corners().convert("L").convert("LA") if mode == "LA" else corners().convert(mode)
    photo = decode(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert photo.view.shape == (48, 64, 3) and photo.view.dtype == np.uint8
    if mode in ("P", "RGBA", "CMYK"):
        assert_corners(photo.view, 40)  # P: Pillow's own palette has steps of 51
    else:
        assert seen(photo.view)[3].min() > seen(photo.view)[2].max()  # white is lighter than blue


def test_a_profile_is_converted_to_srgb() -> None:
    """An sRGB profile changes nothing; a broken one is passed over; see the next test for another space."""
    flat = Image.new("RGB", (32, 32), (128, 128, 128))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = decode(encoded(flat, "JPEG", icc_profile=srgb, quality=95))
    assert np.abs(same.view.astype(int) - 128).max() <= 3
    broken = decode(encoded(flat, "JPEG", icc_profile=b"not a profile", quality=95))
    assert np.abs(broken.view.astype(int) - 128).max() <= 3


def test_the_first_frame_of_an_animation() -> None:
    frames = [corners(), Image.new("RGB", (64, 48), "black")]
    for format in ("GIF", "WEBP", "TIFF"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        assert seen(decode(data).view)[0][0] > 150, format


def test_a_large_jpeg_has_a_small_view_and_native_luma() -> None:
    large = picture(1, 0.5, (3000, 2000))
    photo = decode(encoded(large, "JPEG", quality=90))
    assert (photo.width, photo.height) == (3000, 2000)
    assert max(photo.view.shape[:2]) == VIEW_LONG_SIDE
    assert photo.luma.shape == (2000, 3000)
    small = np.asarray(large.resize((photo.view.shape[1], photo.view.shape[0])), int)
    assert np.abs(photo.view.astype(int) - small).mean() < 6
    native = np.asarray(large.convert("L"), int)
    assert np.abs(photo.luma.astype(int) - native).mean() < 4


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_cut_file_is_a_photo_error(format: str) -> None:
    data = encoded(picture(2, 0.5), format)
    with pytest.raises(PhotoError) as caught:
        decode(data[: len(data) // 2])
    assert caught.value.kind in ("truncated", "corrupt")


@pytest.mark.parametrize(
    ("data", "kinds"),
    [(b"", {"empty"}), (b"\xff\xd8\xff\xe0" + b"\0" * 500, {"corrupt", "truncated"}), (b"text", {"corrupt"})],
)
def test_what_is_no_photo_says_so(data: bytes, kinds: set[str]) -> None:
    with pytest.raises(PhotoError) as caught:
        decode(data)
    assert caught.value.kind in kinds


def test_a_bomb_names_the_limit_and_the_option() -> None:
    data = encoded(Image.new("L", (400, 300)), "PNG")
    with pytest.raises(PhotoError, match=r"--max-pixels") as caught:
        decode(data, max_pixels=100_000)
    assert caught.value.kind == "bomb"
    assert decode(data, max_pixels=120_000).width == 400


def test_more_bytes_than_a_photo_can_have_are_refused_unread() -> None:
    head = encoded(picture(2, 0.5), "JPEG")[:64]
    with pytest.raises(PhotoError, match=r"limit of 300000000; .*--max-pixels") as caught:
        require_photo(head, 2_400_000_001)
    assert caught.value.kind == "bomb"
    assert require_photo(head, 2_400_000_000, max_pixels=5) == "jpeg"
    assert require_photo(head, 2_400_000_001, max_pixels=300_000_001) == "jpeg"


def test_texts_of_a_png_may_be_long_but_no_bombs() -> None:
    long, bomb = PngInfo(), PngInfo()
    long.add_text("history", "a" * (2 << 20), zip=True)
    bomb.add_text("history", "a" * (17 << 20), zip=True)
    assert decode(encoded(picture(2, 0.5), "PNG", pnginfo=long)).format == "png"
    with pytest.raises(PhotoError, match="unpack to more than 16 MiB; save it again without metadata"):
        decode(encoded(picture(2, 0.5), "PNG", pnginfo=bomb))


def test_a_tiff_without_its_directory_is_cut() -> None:
    data = encoded(picture(2, 0.5), "TIFF", compression="tiff_lzw")  # libtiff writes the directory last
    with pytest.raises(PhotoError, match="too early") as caught:
        decode(data[:-200])
    assert caught.value.kind == "truncated"


def test_raw_and_heif_without_their_extras_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    data = encoded(corners(), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(PhotoError, match=r"cgiaa\[heif\]") as caught:
        decode(data, suffix=".heic")
    assert caught.value.kind == "extra"
    with pytest.raises(PhotoError, match=r"cgiaa\[raw\]") as caught:
        decode(b"II*\0\x10\0\0\0CR\x02\0" + b"\0" * 64, suffix=".cr2")
    assert caught.value.kind == "extra"


def sensor(size: tuple[int, int] = (640, 480)) -> np.ndarray[Any, Any]:
    """What a sensor behind an RGGB filter sees of `corners`."""
    rgb = (np.asarray(corners(size)).astype(np.float64) / 255) ** 2.2 * 60000
    found = rgb[..., 1].copy()
    found[0::2, 0::2], found[1::2, 1::2] = rgb[0::2, 0::2, 0], rgb[1::2, 1::2, 2]
    return found.astype(np.uint16)


def test_a_raw_without_a_preview_is_developed() -> None:
    pytest.importorskip("rawpy")
    photo = decode(write_dng(sensor()), suffix=".dng")
    assert (photo.format, photo.width, photo.height) == ("raw", 320, 240)
    red, green, blue, white = (pixel.argmax() for pixel in seen(photo.view))
    assert (red, green, blue) == (0, 1, 2) and white in (0, 1, 2)
    assert seen(photo.view)[3].min() > 200


@pytest.mark.parametrize("suffix", [".dng", ".tif"])
def test_a_raw_shows_its_preview(suffix: str) -> None:
    pytest.importorskip("rawpy")
    preview = encoded(corners((1200, 900)), "JPEG", quality=92)
    photo = decode(write_dng(sensor(), preview, (1200, 900)), suffix=suffix)
    assert (photo.format, photo.width, photo.height) == ("raw", 1200, 900)
    assert_corners(photo.view, 20)


@pytest.mark.parametrize("has_tag", [False, True])
def test_an_upright_raw(has_tag: bool) -> None:
    """The preview is turned once: by its own tag, or by the sensor's where it has none."""
    pytest.importorskip("rawpy")
    stored = corners((900, 1200)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    if has_tag:
        exif[0x0112] = 6
    preview = encoded(stored, "JPEG", quality=92, exif=exif)
    photo = decode(write_dng(sensor(), preview, (1200, 900), orientation=6), suffix=".dng")
    assert (photo.width, photo.height) == (900, 1200)
    assert_corners(photo.view, 20)


def test_a_small_or_broken_preview_is_passed_over() -> None:
    pytest.importorskip("rawpy")
    small = encoded(corners((160, 120)), "JPEG")
    assert decode(write_dng(sensor(), small, (160, 120)), suffix=".dng").width == 320
    broken = encoded(corners((1200, 900)), "JPEG")[:-400]
    assert decode(write_dng(sensor(), broken, (1200, 900)), suffix=".dng").width == 320


def test_damaged_raws_are_photo_errors() -> None:
    pytest.importorskip("rawpy")
    whole = write_dng(sensor())
    for data in (whole[:400], whole[: len(whole) // 2], b"IIRO" + b"\0" * 300):
        with pytest.raises(PhotoError) as caught:
            decode(data, suffix=".dng")
        assert caught.value.kind in ("truncated", "corrupt", "unsupported")
    with pytest.raises(PhotoError, match="--max-pixels"):
        decode(whole, suffix=".dng", max_pixels=1000)


def wide_gamut_profile() -> bytes:
    """A matrix profile in which red and green have changed places: no eye can miss its conversion."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    places = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 136 + 12 * i for i in range(count)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    profile[red : red + 8], profile[green : green + 8] = profile[green : green + 8], profile[red : red + 8]
    return bytes(profile)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_another_space_is_converted(format: str) -> None:
    options = {"quality": 95} if format in ("JPEG", "WEBP", "AVIF") else {}
    photo = decode(encoded(corners(), format, icc_profile=wide_gamut_profile(), **options))
    swapped = Image.merge("RGB", [corners().getchannel(i) for i in (1, 0, 2)])
    for found, wanted in zip(seen(photo.view), seen(np.asarray(swapped)), strict=True):
        assert np.abs(found - wanted).max() <= 25, (found, wanted)


@pytest.mark.parametrize(("values", "dtype"), [((0, 0.5, 1), "f"), ((0, 128, 255), "f"), ((0, 32768, 65535), "i")])
def test_wide_greys(values: tuple[float, ...], dtype: str) -> None:
    columns = np.array(values, np.float32 if dtype == "f" else np.int32).repeat(16)[None].repeat(32, 0)
    view = decode(encoded(Image.fromarray(columns), "TIFF")).view
    assert [int(view[16, x, 0]) for x in (8, 24, 40)] == pytest.approx([0, 128, 255], abs=1)


def test_transparency_lies_on_white() -> None:
    image = corners().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert decode(encoded(image, "PNG")).view.min() == 255
    palette = Image.new("P", (32, 32), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    assert decode(encoded(palette, "PNG", transparency=0)).view.min() == 255


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypisom", "video"),
        (b"8BPS", "Photoshop"),
        (b"%PDF-1.4", "PDF"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"<!DOCTYPE html>", "web page"),
    ],
)
def test_what_it_is_instead(head: bytes, name: str) -> None:
    with pytest.raises(PhotoError, match=name) as caught:
        decode(head + b"\0" * 64)
    assert caught.value.kind == "unsupported"


def test_no_memory_is_the_photos_fault_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cgiaa_cli.imaging.decode._flatten", exhausted)
    with pytest.raises(PhotoError, match="memory") as caught:
        decode(encoded(corners(), "PNG"))
    assert caught.value.kind == "bomb"
