"""What EXIF says of a photo, from files of several formats."""

from __future__ import annotations

import io
import struct

import pytest
from conftest import picture
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from cgiaa_cli.imaging.exif import read_exif


def tagged(format: str, time: str = "2024:05:06 07:08:09", make: str = "Canon") -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = make, "Canon EOS R5"
    details = exif.get_ifd(0x8769)
    details[0x9003] = time
    details[0x829A] = IFDRational(1, 250)
    details[0x829D] = IFDRational(28, 10)
    details[0x8827] = 400
    details[0x920A] = IFDRational(85, 1)
    details[0xA434] = "RF85mm F1.2 L USM"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "S", (IFDRational(33), IFDRational(30), IFDRational(36))
    gps[3], gps[4] = "E", (IFDRational(151), IFDRational(0), IFDRational(0))
    if format == "TIFF":  # Pillow writes a TIFF's sub-directories only from the plain tags
        exif[0x8769], exif[0x8825] = dict(details), dict(gps)
    data = io.BytesIO()
    picture(0, 0.5, (64, 48)).save(data, format, exif=exif)
    return data.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_all_fields(format: str) -> None:
    found = read_exif(tagged(format))
    assert found.taken_at == "2024-05-06T07:08:09"
    assert (found.camera, found.lens) == ("Canon EOS R5", "RF85mm F1.2 L USM")
    assert found.shutter == pytest.approx(0.004) and found.aperture == pytest.approx(2.8)
    assert (found.iso, found.focal_length) == (400, 85.0)
    assert found.latitude == pytest.approx(-33.51) and found.longitude == pytest.approx(151.0)


def test_heif() -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    assert read_exif(tagged("HEIF")).camera == "Canon EOS R5"


@pytest.mark.parametrize("time", ["0000:00:00 00:00:00", "2024:13:41 07:08:09", "yesterday", ""])
def test_a_clock_that_was_never_set_is_no_time(time: str) -> None:
    assert read_exif(tagged("JPEG", time=time)).taken_at is None


def test_the_maker_is_named_once() -> None:
    assert read_exif(tagged("JPEG", make="SIGMA")).camera == "SIGMA Canon EOS R5"


def test_no_exif_and_damaged_exif_say_nothing() -> None:
    plain = io.BytesIO()
    picture(0, 0.5, (64, 48)).save(plain, "JPEG")
    assert read_exif(plain.getvalue()).camera is None
    data = tagged("JPEG")
    start = data.index(b"Exif\0\0")
    for at in range(start + 6, start + 200, 7):
        read_exif(data[:at] + b"\xff" * 9 + data[at + 9 :])  # must not raise
    assert read_exif(b"").taken_at is None


def directory(order: str, *entries: tuple[int, int, int, bytes]) -> bytes:
    """A TIFF of one directory; an entry is tag, type, count and its four bytes of value."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(entries))
    return head + b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries) + b"\0\0\0\0"


@pytest.mark.parametrize("order", ["<", ">"])
def test_cr3_keeps_each_directory_apart(order: str) -> None:
    iso = struct.pack(order + "HH", 800, 0)
    boxes = b""
    for name, block in (
        (b"CMT1", directory(order, (0x0110, 2, 4, b"EOS\0"))),
        (b"CMT2", directory(order, (0x8827, 3, 1, iso))),
        (b"CMT4", directory(order, (0x0009, 2, 2, b"V\0\0\0"))),
    ):
        boxes += struct.pack(">I4s", 8 + len(block), name) + block
    found = read_exif(struct.pack(">I4s4sI", 16, b"ftyp", b"crx ", 1) + boxes)
    assert (found.camera, found.iso) == ("EOS", 800)


def test_raf_keeps_a_whole_jpeg() -> None:
    header = b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 100, 5000)
    assert read_exif(header.ljust(100, b"\0") + tagged("JPEG")).lens == "RF85mm F1.2 L USM"


def test_stops_stand_in_for_f_number_and_time_and_large_iso_overflows() -> None:
    exif = Image.Exif()
    details = exif.get_ifd(0x8769)
    details[0x9202], details[0x9201] = IFDRational(3, 1), IFDRational(-1, 1)  # f/2.8, 2 s
    details[0x8827], details[0x8832] = 65535, 102400
    gps = exif.get_ifd(0x8825)
    gps[9], gps[1], gps[2] = "V", "N", (IFDRational(33), IFDRational(30), IFDRational(36))
    data = io.BytesIO()
    picture(0, 0.5, (64, 48)).save(data, "JPEG", exif=exif)
    found = read_exif(data.getvalue())
    assert (found.aperture, found.shutter, found.iso) == (2.8, 2.0, 102400)
    assert found.latitude is None  # the receiver says that it had no fix


@pytest.mark.parametrize(
    "place", [(IFDRational(91), IFDRational(0), IFDRational(0)), (IFDRational(1, 0), IFDRational(0), IFDRational(0))]
)
def test_an_impossible_place_is_no_place(place: tuple[IFDRational, ...]) -> None:
    exif = Image.Exif()
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", place
    data = io.BytesIO()
    picture(0, 0.5, (64, 48)).save(data, "JPEG", exif=exif)
    assert read_exif(data.getvalue()).latitude is None
