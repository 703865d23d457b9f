"""Packets in photos: found in every format, written only where everything else stays the same."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture
from PIL import Image
from rawfile import write_dng
from sidecars import DARKTABLE, EXIFTOOL, LIGHTROOM

from cgiaa_cli.annotate import embed as module
from cgiaa_cli.annotate.embed import Backend, backends, open_embedded
from cgiaa_cli.annotate.packet import RATING, read_packet
from cgiaa_cli.annotate.photo_file import packet_in, split
from cgiaa_cli.annotate.plan import Annotation
from cgiaa_cli.annotate.xmp import EMBEDDED, merge, undo
from cgiaa_cli.errors import ExtraMissingError, SidecarError

FOUND = Annotation({"Score": "6.13"}, 4, "Green", "A caption.", ("Aesthetics|Overall|6",), ("Overall 6",))
WAYS = {"exiftool": module._with_exiftool, "pyexiv2": module._with_pyexiv2}


@pytest.fixture(params=WAYS)
def way(request: Any) -> Backend:
    """Each of the two ways, where it is installed."""
    found = shutil.which("exiftool") if request.param == "exiftool" else importlib.util.find_spec("pyexiv2")
    if not found:
        pytest.skip(f"{request.param} is not installed")
    return WAYS[request.param]


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x010F], made[0x0110], made[0x0112] = "Maker", "Testcam 1", 6
    made[0x011A] = made[0x011B] = 72.0
    made.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    made.get_ifd(0x8769)[0x927C] = b"maker note \x00\x01\x02" * 20
    return made


def jpeg(path: Path, **more: Any) -> None:
    picture(1, 0.4).save(path, "JPEG", quality=90, exif=exif(), comment=b"hello", **more)


def tiff(path: Path, **more: Any) -> None:
    frame = picture(2, 0.4)
    frame.save(path, "TIFF", exif=exif(), save_all=True, append_images=[frame.resize((40, 30))], **more)


def dng(path: Path) -> None:
    preview = io.BytesIO()
    picture(3, 0.4, (48, 32)).save(preview, "JPEG")
    sensor = np.random.default_rng(4).integers(0, 60_000, (32, 48)).astype(np.uint16)
    path.write_bytes(write_dng(sensor, preview.getvalue(), (48, 32), orientation=6))


KINDS: dict[str, Callable[..., None]] = {
    "a.jpg": jpeg,
    "progressive.jpg": lambda path: jpeg(path, progressive=True, xmp=DARKTABLE),
    "edited.jpg": lambda path: jpeg(path, xmp=LIGHTROOM),
    "a.tif": tiff,
    "packed.tif": lambda path: tiff(path, compression="tiff_lzw"),
    "a.dng": dng,
}


@pytest.mark.parametrize("name", KINDS)
def test_there_and_back(tmp_path: Path, way: Backend, name: str) -> None:
    path = tmp_path / name
    KINDS[name](path)
    os.utime(path, ns=(10**18, 10**18))
    before, pixels = path.read_bytes(), _pixels(path)
    old = open_embedded(path)
    human = read_packet(old.packet).human if old.packet else None
    new = merge(old.packet, FOUND, empty=EMBEDDED).raw
    old.replace(new, [way], keep_time=True)
    assert path.stat().st_mtime_ns == 10**18
    after = path.read_bytes()
    assert after != before and split(after).rest == split(before).rest
    assert _pixels(path) == pixels
    inside = open_embedded(path)
    assert inside.packet is not None and packet_in(path) == inside.packet
    assert read_packet(inside.packet).text(RATING) == (human.rating if human and human.rating else "4")
    assert not merge(inside.packet, FOUND, empty=EMBEDDED).changed
    inside.replace(undo(inside.packet).raw, [way])
    assert path.stat().st_mtime_ns != 10**18
    found = packet_in(path)
    assert (read_packet(found).human if found else None) == human
    assert found is None or b"cgiaa" not in found
    assert split(path.read_bytes()).rest == split(before).rest
    assert {p.name for p in tmp_path.iterdir()} == {name, "home"}


def _pixels(path: Path) -> list[bytes]:
    if path.suffix == ".dng":
        rawpy = pytest.importorskip("rawpy")
        with rawpy.imread(str(path)) as raw:
            return [raw.raw_image.tobytes(), raw.extract_thumb().data, repr(raw.sizes).encode()]
    with Image.open(path) as image:
        frames = []
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            frames.append(image.tobytes() + repr(image.getexif().get(0x0112)).encode())
        return frames


def test_what_a_library_does_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    jpeg(path)
    before = path.read_bytes()
    new = merge(None, FOUND, empty=EMBEDDED).raw
    assert new is not None

    def put(photo: bytes, packet: bytes | None) -> bytes:
        body = b"http://ns.adobe.com/xap/1.0/\0" + (packet or b"")
        return photo[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + photo[2:]

    def fails(photo: bytes, packet: bytes | None) -> bytes:
        raise RuntimeError("no\nidea")

    bad: list[tuple[Backend, str]] = [
        (lambda photo, packet: put(photo[:-9] + b"x" + photo[-8:], packet), "more than the XMP"),
        (lambda photo, packet: put(photo.replace(b"Testcam 1", b"Testcam 2"), packet), "more than the XMP"),
        (lambda photo, packet: put(photo + b"x", packet), "more than the XMP"),
        (lambda photo, packet: put(photo, (packet or b"").replace(b"6.13", b"6.14")), "did not come back"),
        (lambda photo, packet: photo, "did not come back"),
        (lambda photo, packet: photo[:200], "damaged"),
        (lambda photo, packet: b"", "neither JPEG nor TIFF"),
        (fails, "no idea"),
    ]
    for way, said in bad:
        with pytest.raises(SidecarError, match=said):
            open_embedded(path).replace(new, [way])
        assert path.read_bytes() == before
    open_embedded(path).replace(new, [fails, put])
    assert packet_in(path) == new
    with pytest.raises(SidecarError, match="more than a JPEG can hold"):
        open_embedded(path).replace(new.replace(b"</x:xmpmeta>", b" " * 70_000 + b"</x:xmpmeta>"), [put])


def test_changed_meanwhile(tmp_path: Path, way: Backend) -> None:
    path = tmp_path / "a.jpg"
    jpeg(path)
    old = open_embedded(path)
    path.write_bytes(path.read_bytes() + b"theirs")
    with pytest.raises(SidecarError, match="meanwhile"):
        old.replace(merge(None, FOUND, empty=EMBEDDED).raw, [way])
    assert path.read_bytes().endswith(b"theirs")


def test_packets_in_several_pieces_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    jpeg(path, xmp=EXIFTOOL)
    data = path.read_bytes()
    body = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<x/>"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])
    with pytest.raises(SidecarError, match="several pieces"):
        open_embedded(path).replace(EXIFTOOL, [])


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\xff\xff", b"II*\0\x08\0\0\0", b"MM\0*" + b"\xff" * 9]
)
def test_damaged_photos(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert packet_in(path) is None
    with pytest.raises(SidecarError, match="cannot be embedded"):
        open_embedded(path)
    assert path.read_bytes() == data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_packets_are_found(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    more: dict[str, Any] = {"xmp": EXIFTOOL}
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        more = {"pnginfo": PngInfo()}
        more["pnginfo"].add_itxt("XML:com.adobe.xmp", EXIFTOOL.decode())
    elif kind == "TIFF":
        more = {"tiffinfo": {700: EXIFTOOL}}
    picture(1, 0.4).save(path, kind, **more)
    found = packet_in(path)
    assert found is not None and read_packet(found).human.rating == "-1"
    picture(1, 0.4).save(path, kind)
    assert packet_in(path) is None


def test_neither_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "pyexiv2", None)
    with pytest.raises(ExtraMissingError, match=r"cgiaa\[embed\]"):
        backends()
