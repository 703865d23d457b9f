"""Camera settings, time and place of a photo, from its EXIF block.

exifread interprets the tags. Finding the block is done here: exifread's own search misses HEIF of several
brands, WebP and AVIF without the ``Exif`` prefix, CR3 and RAF, and would walk through a whole file; handing it
just the block keeps the cost far below a millisecond or two, whatever the file's size.
"""

from __future__ import annotations

import io
import logging
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import exifread

__all__ = ["Exif", "read_exif"]

# exifread logs every oddity of a file as a warning, and with no logging configured that reaches stderr
logging.getLogger("exifread").setLevel(logging.CRITICAL + 1)

_MAX_READS = 40_000  # a rich block takes about 3,000; a crafted one could keep exifread busy for minutes
_MAX_BLOCK = 1 << 18  # HEIF does not tell the end of the block where we look; EXIF fits 64 KiB elsewhere
_TIFF_START = re.compile(
    rb"(?:Exif\x00\x00)(?=II\*\x00|MM\x00\*)|(?=II\*\x00\x08\x00\x00\x00|MM\x00\*\x00\x00\x00\x08)"
)
_EXIF_POINTER, _GPS_POINTER = 0x8769, 0x8825


@dataclass(frozen=True)
class Exif:
    """What the camera wrote; None where it wrote nothing, or nothing that makes sense.

    Attributes:
        taken_at: local camera time, ``YYYY-MM-DDTHH:MM:SS``.
        camera: maker and model, the maker not doubled.
        lens: the lens's model.
        focal_length: mm, > 0 (not the 35 mm equivalent).
        aperture: f-number, > 0.
        shutter: exposure time in seconds, > 0.
        iso: > 0.
        latitude, longitude: decimal degrees, north and east positive, within 90 and 180.
    """

    taken_at: str | None = None
    camera: str | None = None
    lens: str | None = None
    focal_length: float | None = None
    aperture: float | None = None
    shutter: float | None = None
    iso: int | None = None
    latitude: float | None = None
    longitude: float | None = None


class _Reads(io.BytesIO):
    """Bytes that give up after `_MAX_READS` reads: the bound on what a hostile block can cost."""

    left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise EOFError("too many reads")
        return super().read(size)


def read_exif(data: bytes) -> Exif:
    """Read the EXIF block of a photo in any format of `formats.sniff`.

    Args:
        data: the file's bytes, whole or only the start (a block that is cut off gives what is still there).

    Returns:
        An `Exif`; all None if there is no block or it is garbage. Never raises, logs or prints.
    """
    try:
        tags: dict[str, Any] = {}
        for block in _blocks(data):
            tags |= exifread.process_file(_Reads(block), details=False, extract_thumbnail=False)
        return _interpret(tags) if tags else Exif()
    except Exception:
        # the block is optional decoration: whatever is wrong with it, the photo can still be scored
        return Exif()


def _interpret(tags: dict[str, Any]) -> Exif:
    aperture = _number(tags, "EXIF FNumber")
    if aperture is None:
        stops = _number(tags, "EXIF ApertureValue", low=-1.0)
        aperture = None if stops is None else round(2 ** (min(stops, 30.0) / 2), 1)
    shutter = _number(tags, "EXIF ExposureTime")
    if shutter is None:
        stops = _number(tags, "EXIF ShutterSpeedValue", low=-30.0)
        shutter = None if stops is None else 2 ** -min(stops, 30.0)
    void = _text(tags, "GPS GPSStatus") == "V"  # the receiver itself says that it had no fix
    return Exif(
        taken_at=_time(tags),
        camera=_camera(_text(tags, "Image Make"), _text(tags, "Image Model")),
        lens=_text(tags, "EXIF LensModel"),
        focal_length=_number(tags, "EXIF FocalLength"),
        aperture=aperture,
        shutter=shutter,
        iso=_iso(tags),
        latitude=None if void else _degrees(tags, "Latitude", "S", 90.0),
        longitude=None if void else _degrees(tags, "Longitude", "W", 180.0),
    )


def _values(tags: dict[str, Any], name: str) -> list[Any]:
    tag = tags.get(name)
    values = getattr(tag, "values", None)
    if isinstance(values, (str, bytes)):
        return [values]
    return list(values) if values else []


def _text(tags: dict[str, Any], name: str) -> str | None:
    """A text tag on one clean line; None if nothing readable is left of it."""
    values = _values(tags, name)
    if not values:
        return None
    value = values[0]
    if isinstance(value, int):  # written as BYTE or UNDEFINED instead of ASCII
        value = bytes(v & 255 for v in values).split(b"\x00", 1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if not isinstance(value, str):
        return None
    text = "".join(c if c.isprintable() else " " for c in value.split("\x00", 1)[0])
    return " ".join(text.split()) or None


def _float(value: Any) -> float | None:
    """A finite number from exifread's ratio, integer or one-element tuple; None for x/0 and the like."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    numerator, denominator = getattr(value, "num", None), getattr(value, "den", None)
    if denominator is not None:
        value = numerator / denominator if denominator and numerator is not None else None
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _number(tags: dict[str, Any], name: str, low: float = 0.0) -> float | None:
    """The first value of a tag if it is finite and greater than `low`."""
    values = _values(tags, name)
    number = _float(values[0]) if values else None
    return number if number is not None and number > low else None


def _iso(tags: dict[str, Any]) -> int | None:
    for name in ("EXIF ISOSpeedRatings", "EXIF PhotographicSensitivity"):
        iso = _number(tags, name)
        if iso is not None and iso < 65535:  # 65535: did not fit 16 bits, the real one is in the next tags
            return int(iso)
    for name in ("EXIF RecommendedExposureIndex", "EXIF ISOSpeed", "EXIF StandardOutputSensitivity"):
        iso = _number(tags, name)
        if iso is not None and iso < 1e8:
            return int(iso)
    return None


def _camera(make: str | None, model: str | None) -> str | None:
    """``Canon`` + ``Canon EOS R5`` -> ``Canon EOS R5``; ``NIKON CORPORATION`` + ``NIKON D750`` -> ``NIKON D750``."""
    if not make or not model:
        return model or make
    if model.split()[0].casefold() == make.split()[0].casefold():
        return model
    return f"{make} {model}"


def _time(tags: dict[str, Any]) -> str | None:
    for name in ("EXIF DateTimeOriginal", "EXIF DateTimeDigitized", "Image DateTime"):
        found = re.match(r"(\d{4})\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)", _text(tags, name) or "")
        if found is None:
            continue
        try:
            moment = datetime(*(int(part) for part in found.groups()))  # type: ignore[arg-type]
        except ValueError:  # 0000:00:00, month 13: an unset clock
            continue
        return moment.isoformat()
    return None


def _degrees(tags: dict[str, Any], axis: str, negative: str, limit: float) -> float | None:
    """Degrees, minutes and seconds (the latter two optional) as signed decimal degrees."""
    parts = [_float(value) for value in _values(tags, f"GPS GPS{axis}")[:3]]
    if not parts or any(part is None or part < 0 for part in parts):
        return None
    value: float = sum((part or 0.0) / 60.0**i for i, part in enumerate(parts))
    if value > limit:
        return None
    reference = (_text(tags, f"GPS GPS{axis}Ref") or "").upper()
    return -value if reference.startswith(negative) else value


def _blocks(data: bytes) -> Iterator[bytes]:
    """The TIFF structures that hold a file's EXIF: one, or for CR3 one for each directory."""
    if data.startswith(b"\xff\xd8"):
        yield from _jpeg_block(data, 0)
    elif data.startswith(b"\x89PNG"):
        yield from _chunk_block(data, 8, b"eXIf", ">I4s", overhead=12, align=1)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield from _chunk_block(data, 12, b"EXIF", "<4sI", overhead=8, align=2)
    elif data[4:12] == b"ftypcrx ":
        yield from _cr3_blocks(data)
    elif data[4:8] == b"ftyp":
        # the item's place is in the meta box, but eight fixed bytes are quicker to find and as certain
        found = _TIFF_START.search(data)
        if found:
            yield data[found.end() : found.end() + _MAX_BLOCK]
    elif data.startswith(b"FUJIFILMCCD-RAW") and len(data) > 92:
        yield from _jpeg_block(data, int.from_bytes(data[84:88], "big"))
    elif data[:2] in (b"II", b"MM"):
        yield data  # TIFF and the RAWs built on it: directories may lie anywhere; not copied


def _jpeg_block(data: bytes, start: int) -> Iterator[bytes]:
    at = start + 2
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1]
        if marker == 0xFF:  # padding between segments
            at += 1
            continue
        if marker in (0xD9, 0xDA):  # end, or start of the pixels
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\x00\x00":
            yield data[at + 10 : at + 2 + length]
            return
        at += 2 + max(2, length)


def _chunk_block(data: bytes, at: int, wanted: bytes, header: str, *, overhead: int, align: int) -> Iterator[bytes]:
    """The named chunk of a PNG or RIFF file; `overhead` is what surrounds a chunk's payload, in bytes."""
    while at + 8 <= len(data):
        first, second = struct.unpack_from(header, data, at)
        size, name = (first, second) if isinstance(first, int) else (second, first)
        if name == wanted:
            yield data[at + 8 : at + 8 + size].removeprefix(b"Exif\x00\x00")
            return
        at += overhead + size + (-size % align)


def _cr3_blocks(data: bytes) -> Iterator[bytes]:
    """CR3 keeps each directory as a TIFF of its own; give each the first directory that exifread expects."""
    for name, pointer in ((b"CMT1", None), (b"CMT2", _EXIF_POINTER), (b"CMT4", _GPS_POINTER)):
        at = data.find(name, 0, 1 << 16)
        if at < 4:
            continue
        block = data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
        if pointer is None:
            yield block
        elif block[:2] in (b"II", b"MM"):
            order = "<" if block[:2] == b"II" else ">"
            (directory,) = struct.unpack_from(order + "I", block, 4)
            entry = struct.pack(order + "HHHIII", 1, pointer, 4, 1, directory, 0)
            yield block[:4] + struct.pack(order + "I", len(block)) + block[8:] + entry
