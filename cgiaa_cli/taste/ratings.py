"""What a user thinks of photos: ratings in XMP and in a CSV file.

One scale for all: stars as they are, a rejected photo 0, a picked one without stars 4. Stars that this program wrote
itself are no opinion of the user, and `annotate.packet` tells which they are.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from cgiaa_cli.annotate.packet import Packet, is_unrated, read_packet
from cgiaa_cli.annotate.photo_file import packet_in
from cgiaa_cli.annotate.sidecar import Namer, Style, read_file
from cgiaa_cli.errors import SidecarError, UsageError
from cgiaa_cli.paths import absolute, escape, unescape

__all__ = ["PICKED", "REJECTED", "read_csv", "read_xmp"]

REJECTED, PICKED = 0.0, 4.0
WORDS = {"reject": REJECTED, "rejected": REJECTED, "pick": PICKED, "picked": PICKED}
MOST = 1e6  # no scale goes further, and squares of it are still numbers
_PICK = ("http://ns.adobe.com/xmp/1.0/DynamicMedia/", "pick")  # Lightroom's flags: 1, 0, -1


def read_xmp(photos: Iterable[Sequence[Path]], note: Callable[[str, str], None]) -> Iterator[tuple[str, float]]:
    """The ratings that users gave to photos, in sidecars or else in the photos themselves.

    Args:
        photos: each a photo and its companions, absolute.
        note: told (escaped path, error) of a sidecar that cannot be read.

    Yields:
        Escaped path of the photo and its rating.
    """
    namer = Namer(Style.auto)
    for files in photos:
        for packet in _packets(files, namer, note):
            value = _opinion(packet)
            if value is not None:
                yield escape(files[0]), value
                break


def _packets(files: Sequence[Path], namer: Namer, note: Callable[[str, str], None]) -> Iterator[Packet]:
    # a sidecar holds what is newer: programs write into it what they no longer write into the photo
    for path in namer.names(files).existing:
        try:
            raw = read_file(path).raw
            if raw is not None:
                yield read_packet(raw)
        except SidecarError as error:
            note(error.path or escape(path), error.cause)
        except ValueError as error:
            note(escape(path), str(error))
    for file in files:
        try:
            inside = packet_in(file)
            if inside:
                yield read_packet(inside)
        except (OSError, ValueError):
            continue  # a packet that cannot be read says nothing


def _opinion(packet: Packet) -> float | None:
    rating, pick = packet.human.rating, packet.text(_PICK)
    if pick == "-1":
        return REJECTED
    if rating is not None and not is_unrated(rating):
        try:
            value = float(rating)
        except ValueError:
            return None
        if not math.isfinite(value) or value > 99:
            return None
        if value > 5:  # Windows counts to 99
            value = 1 + round(value / 25)
        return REJECTED if value < 0 else value
    return PICKED if pick == "1" else None


def read_csv(path: Path) -> dict[str, float]:
    """Ratings from a CSV file with columns `path` and `rating`; a relative path starts where the file lies.

    A rating is a number of any scale, higher for better, or `pick` or `reject`; a row without one is no opinion.

    Returns:
        By escaped absolute path.

    Raises:
        UsageError: the file cannot be read, has other columns, or a rating is none.
    """
    name = escape(path)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            columns = [(column or "").strip().lower() for column in reader.fieldnames or ()]
            if not {"path", "rating"} <= set(columns):
                have = f"it has {', '.join(columns)}" if any(columns) else "it has none"
                raise UsageError(
                    f"a column path and a column rating are needed, {have}",
                    path=name,
                    mend="name them in the first line",
                )
            reader.fieldnames = columns
            return _rows(reader, path)
    except OSError as error:
        raise UsageError(error.strerror or str(error), path=name, mend="name a CSV file") from error
    except csv.Error as error:
        raise UsageError(f"not CSV ({error})", path=name, mend="name a CSV file") from error


def _rows(reader: csv.DictReader[str], path: Path) -> dict[str, float]:
    given: dict[str, list[float]] = {}
    for row in reader:
        where, text = (row["path"] or "").strip(), (row["rating"] or "").strip()
        if not where or not text:
            continue
        try:
            value = WORDS[text.lower()] if text.lower() in WORDS else float(text)
        except ValueError:
            value = math.nan
        if not abs(value) <= MOST:
            raise UsageError(
                f"line {reader.line_num}: '{text}' is no rating",
                path=escape(path),
                mend="write a number, pick or reject",
            )
        given.setdefault(_found(where, path), []).append(value)
    return {name: sum(values) / len(values) for name, values in given.items()}


def _found(text: str, csv_path: Path) -> str:
    """The photo that a path of a CSV file means, escaped and absolute."""
    raw = Path(os.fsdecode(os.fsencode(text)))
    folder = absolute(csv_path).parent
    for one in (raw, unescape(text)):  # as it is, or as this program prints it
        if os.path.lexists(folder / one):
            return escape(absolute(folder / one))
    return escape(absolute(folder / raw))
