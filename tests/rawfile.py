"""A DNG written by hand: the one RAW format whose layout is public and small enough to build in a test."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}


def write_dng(
    sensor: NDArray[np.uint16], preview: bytes = b"", preview_size: tuple[int, int] = (0, 0), orientation: int = 1
) -> bytes:
    """A little-endian DNG.

    Args:
        sensor: (H, W) 16-bit values behind an RGGB filter.
        preview: a JPEG for the first directory, of `preview_size`; without one that is the sensor's.
        orientation: EXIF orientation of the whole.
    """
    height, width = sensor.shape
    one = struct.pack("<II", 1, 1)
    camera = [
        (50706, 1, 4, bytes([1, 4, 0, 0])),  # DNGVersion
        (50708, 2, 8, b"Testcam\0"),  # UniqueCameraModel
        (50721, 10, 9, struct.pack("<18i", *(n for i in range(9) for n in (int(i % 4 == 0), 1)))),  # ColorMatrix1
        (50728, 5, 3, one * 3),  # AsShotNeutral
    ]
    raw = [
        (254, 4, 1, struct.pack("<I", 0)),
        (256, 4, 1, struct.pack("<I", width)),
        (257, 4, 1, struct.pack("<I", height)),
        (258, 3, 1, struct.pack("<H", 16)),
        (259, 3, 1, struct.pack("<H", 1)),
        (262, 3, 1, struct.pack("<H", 32803)),  # colour filter array
        (273, 4, 1, None),
        (277, 3, 1, struct.pack("<H", 1)),
        (278, 4, 1, struct.pack("<I", height)),
        (279, 4, 1, struct.pack("<I", sensor.nbytes)),
        (33421, 3, 2, struct.pack("<HH", 2, 2)),
        (33422, 1, 4, bytes([0, 1, 1, 2])),
        (50717, 4, 1, struct.pack("<I", 65535)),  # WhiteLevel
    ]
    turned = (274, 3, 1, struct.pack("<H", orientation))
    if not preview:
        return _tiff([(raw + camera + [turned], sensor.astype("<u2").tobytes())])
    first = [
        (254, 4, 1, struct.pack("<I", 1)),
        (256, 4, 1, struct.pack("<I", preview_size[0])),
        (257, 4, 1, struct.pack("<I", preview_size[1])),
        (258, 3, 3, struct.pack("<HHH", 8, 8, 8)),
        (259, 3, 1, struct.pack("<H", 7)),
        (262, 3, 1, struct.pack("<H", 6)),
        (273, 4, 1, None),
        (277, 3, 1, struct.pack("<H", 3)),
        (278, 4, 1, struct.pack("<I", preview_size[1])),
        (279, 4, 1, struct.pack("<I", len(preview))),
        (330, 4, 1, None),
        turned,
    ]
    return _tiff([(first + camera, preview), (raw, sensor.astype("<u2").tobytes())])


def _tiff(directories: list[tuple[list[tuple[int, int, int, bytes | None]], bytes]]) -> bytes:
    """Directories in a row, each followed by its long values and its strip; 273 and 330 are filled in."""
    starts, at = [], 8
    for entries, strip in directories:
        starts.append(at)
        long = sum(_SIZES[kind] * count for _, kind, count, value in entries if value and len(value) > 4)
        at += 6 + 12 * len(entries) + long + len(strip) + len(strip) % 2
    out = b"II*\0" + struct.pack("<I", 8)
    for start, (entries, strip) in zip(starts, directories, strict=True):
        spill, table = b"", b""
        free = start + 6 + 12 * len(entries)
        after = free + sum(_SIZES[kind] * count for _, kind, count, value in entries if value and len(value) > 4)
        for tag, kind, count, value in sorted(entries, key=lambda entry: entry[0]):
            if value is None:
                value = struct.pack("<I", after if tag == 273 else starts[1])
            if len(value) > 4:
                table += struct.pack("<HHII", tag, kind, count, free + len(spill))
                spill += value
            else:
                table += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        out += struct.pack("<H", len(entries)) + table + b"\0\0\0\0" + spill + strip + b"\0" * (len(strip) % 2)
    return out
