"""The parts of a photo's file that matter here: the XMP packet in it, and everything that is not the packet.

`packet_in` reads the packet of any format, to respect what a human set there. `split` takes a JPEG, TIFF or DNG
apart, so that `embed` can prove that nothing but the packet changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cgiaa_cli.paths import open_regular

__all__ = ["Parts", "packet_in", "split"]

SEARCHED = 4 << 20  # bytes from the start of other formats; their metadata stand in front
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_MORE = b"http://ns.adobe.com/xmp/extension/\0"
_BEGIN, _END = b"<x:xmpmeta", b"</x:xmpmeta>"
_COMMENT = 0xFE
_XMP_TAG = 700
_SUB_IFDS = {330: "sub", 34665: "exif", 34853: "gps", 40965: "interoperability"}
_DATA = {273: 279, 324: 325, 513: 514}  # offsets of pixels or previews -> their lengths
_FREE = {288, 289}  # a list of unused bytes
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_MAX_IFDS = 64


@dataclass
class Parts:
    """A photo's file without its XMP packet.

    Attributes:
        packet: the packet; None: there is none.
        extended: whether the packet goes on elsewhere in the file, as packets of more than 64 KiB do in JPEG.
        rest: a hash for each other part: compressed pixels, previews, tables, EXIF, colour profile.
    """

    packet: bytes | None = None
    extended: bool = False
    rest: list[str] = field(default_factory=list)


def packet_in(path: Path) -> bytes | None:
    """The XMP packet in a photo's file; None where there is none, or none is found.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        if not file.read(1):
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            with contextlib.suppress(ValueError, struct.error, IndexError):  # damaged, or no TIFF after all
                if data[:2] == b"\xff\xd8":
                    return _jpeg_packet(data)
                if data[:2] in (b"II", b"MM"):
                    return _tiff_packet(data)
            start = data.find(_BEGIN, 0, SEARCHED)
            end = data.find(_END, start)
            return bytes(data[start : end + len(_END)]) if 0 <= start < end else None


def split(data: bytes) -> Parts:
    """Take a JPEG, TIFF or DNG apart.

    Raises:
        ValueError: it is none of these, or its structure is damaged or unusual.
    """
    try:
        return _split_jpeg(data) if data[:2] == b"\xff\xd8" else _split_tiff(data)
    except (struct.error, IndexError) as error:
        raise ValueError("its structure is damaged") from error


def _hash(*parts: object) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else repr(part).encode())
    return found.hexdigest()


def _segments(data: bytes | mmap.mmap) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment before the pixels; then 0xDA with all the rest of the file."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("its segments are damaged")
        while data[at + 1] == 0xFF:
            at += 1
        marker = data[at + 1]
        if marker == 0xDA:
            yield marker, at, len(data)
            return
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if length < 2 or at + 2 + length > len(data):
            raise ValueError("its segments are damaged")
        yield marker, at + 4, at + 2 + length
        at += 2 + length


def _jpeg_packet(data: bytes | mmap.mmap) -> bytes | None:
    for marker, start, end in _segments(data):
        if marker == 0xE1 and data[start : start + len(_XMP_HEAD)] == _XMP_HEAD:
            return bytes(data[start + len(_XMP_HEAD) : end])
    return None


def _split_jpeg(data: bytes) -> Parts:
    parts = Parts()
    inserts, others = [], []
    for marker, start, end in _segments(data):
        body = data[start:end]
        if marker == 0xE1 and body.startswith(_XMP_HEAD):
            parts.extended = parts.extended or parts.packet is not None
            parts.packet = body[len(_XMP_HEAD) :]
        elif marker == 0xE1 and body.startswith(_XMP_MORE):
            parts.extended = True
        elif 0xE0 <= marker <= 0xEF or marker == _COMMENT:
            # their order among each other means nothing, and exiv2 ends a comment with NUL
            inserts.append(_hash(marker, body.rstrip(b"\0") if marker == _COMMENT else body))
        else:
            others.append(_hash(marker, body))
    parts.rest = sorted(inserts) + others
    return parts


class _Tiff:
    """Reads the directories (IFDs) of a TIFF; a RAW that looks like one will do."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.magic, self.first = struct.unpack(self.order + "HI", data[2:8])

    def directories(self) -> Iterator[tuple[str, dict[int, tuple[int, int, bytes]]]]:
        """(what it is, its tags) of each directory; a tag is its type, its count and its value's bytes."""
        pending = [("main", self.first)]
        seen: set[int] = set()
        while pending:
            kind, offset = pending.pop(0)
            if not offset or offset in seen:
                continue
            seen.add(offset)
            if len(seen) > _MAX_IFDS or offset + 2 > len(self.data):
                raise ValueError("its directories are damaged")
            (count,) = struct.unpack_from(self.order + "H", self.data, offset)
            tags = dict(self._tag(offset + 2 + 12 * i) for i in range(count))
            yield kind, tags
            for tag, name in _SUB_IFDS.items():
                if tag in tags:
                    pending += [(name, inner) for inner in self.numbers(tags[tag])]
            if kind in ("main", "sub"):
                pending.append((kind, *struct.unpack_from(self.order + "I", self.data, offset + 2 + 12 * count)))

    def _tag(self, at: int) -> tuple[int, tuple[int, int, bytes]]:
        tag, kind, count = struct.unpack_from(self.order + "HHI", self.data, at)
        size = _SIZES.get(kind, 1) * count
        start = at + 8 if size <= 4 else struct.unpack_from(self.order + "I", self.data, at + 8)[0]
        if start + size > len(self.data):
            raise ValueError("its directories are damaged")
        return tag, (kind, count, bytes(self.data[start : start + size]))

    def numbers(self, value: tuple[int, int, bytes]) -> tuple[int, ...]:
        """The integers of a tag."""
        kind, count, raw = value
        letter = {1: "B", 3: "H", 4: "I", 13: "I"}.get(kind)
        if letter is None:
            raise ValueError("its directories are damaged")
        return struct.unpack(f"{self.order}{count}{letter}", raw)


def _tiff_packet(data: bytes | mmap.mmap) -> bytes | None:
    for _, tags in _Tiff(data).directories():
        if _XMP_TAG in tags:
            return tags[_XMP_TAG][2] or None
    return None


def _split_tiff(data: bytes) -> Parts:
    if data[:2] not in (b"II", b"MM"):
        raise ValueError("it is neither JPEG nor TIFF")
    tiff, parts = _Tiff(data), Parts()
    if tiff.magic != 42:
        raise ValueError("it is a TIFF of an unusual kind")
    for kind, tags in tiff.directories():
        if _XMP_TAG in tags:
            parts.extended = parts.extended or parts.packet is not None
            parts.packet = tags[_XMP_TAG][2]
        for tag, value in sorted(tags.items()):
            if tag in _DATA and _DATA[tag] in tags:
                pairs = zip(tiff.numbers(value), tiff.numbers(tags[_DATA[tag]]), strict=True)
                blocks = [data[offset : offset + length] for offset, length in pairs]
                parts.rest.append(_hash(kind, tag, *blocks))
            elif tag != _XMP_TAG and tag not in _SUB_IFDS and tag not in _FREE:
                parts.rest.append(_hash(kind, tag, *value))
    return parts
