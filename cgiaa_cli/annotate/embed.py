"""Writing a packet into a JPEG, TIFF or DNG: through a library, and never without proof.

pyexiv2 (the extra `embed`), or the program exiftool, makes the new file from the old one's bytes. Both know
more of these formats than we do; neither is trusted. The result is taken apart and compared: the compressed
pixels, previews, tables, EXIF and colour profile must be the same bytes, and the packet must mean what was asked
for. Only then is it written, like a sidecar: whole, synced, and by a rename.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from cgiaa_cli.annotate.packet import read_packet
from cgiaa_cli.annotate.photo_file import Parts, split
from cgiaa_cli.annotate.sidecar import State, read_file, write_file
from cgiaa_cli.annotate.tree import read_source
from cgiaa_cli.errors import ExtraMissingError, SidecarError
from cgiaa_cli.paths import escape

__all__ = ["EMBEDDABLE", "Embedded", "backends", "open_embedded"]

EMBEDDABLE = frozenset([".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".dng"])
"""Suffixes of files that can be written into; proprietary RAWs never are."""

MAX_PHOTO = 1 << 30
MAX_IN_JPEG = 65_502  # bytes of a packet in one segment: 65,535 without its length and its name
_pyexiv2_lock = threading.Lock()  # its documentation: not thread-safe
Backend = Callable[[bytes, bytes | None], bytes]


def backends() -> list[Backend]:
    """The functions that put a packet (None: take the packet out) into a photo's bytes, in the order of trying.

    pyexiv2 comes first, because starting exiftool takes longer than all the rest; what pyexiv2 cannot do without
    changing something, exiftool may, which takes a packet over as it stands.

    Raises:
        ExtraMissingError: neither pyexiv2 nor exiftool is installed.
    """
    found: list[Backend] = [_with_pyexiv2] if _has_pyexiv2() else []
    if shutil.which("exiftool"):
        found.append(_with_exiftool)
    if not found:
        raise ExtraMissingError("embed", "writing into photos")
    return found


def _has_pyexiv2() -> bool:
    try:
        import pyexiv2  # noqa: F401
    except (ImportError, OSError):  # OSError: its library does not load on this system
        return False
    return True


class Embedded:
    """A photo whose packet can be replaced.

    Attributes:
        path: of the photo.
        packet: its packet; None: it has none.
    """

    def __init__(self, path: Path, state: State, parts: Parts) -> None:
        self.path = path
        self.packet = parts.packet
        self._state = state
        self._parts = parts

    def replace(self, packet: bytes | None, ways: Sequence[Backend], *, keep_time: bool = False) -> None:
        """Put another packet into the file (None: take it out), in the first of `ways` that changes nothing else.

        Raises:
            SidecarError: none does, or the file cannot be written. Nothing is changed then.
        """
        if self._parts.extended:
            raise self._refusal("its XMP is in several pieces, which cannot be replaced safely")
        refused: SidecarError | None = None
        for way in ways:
            try:
                new = self._proven(packet, way)
            except SidecarError as error:
                refused = refused or error
                continue
            write_file(self.path, new, self._state, keep_time=keep_time)
            return
        assert refused is not None
        raise refused

    def _proven(self, packet: bytes | None, way: Backend) -> bytes:
        """The new file's bytes, after the proof."""
        old = self._state.raw
        assert old is not None
        packet = _bare(packet) if packet is not None else None
        if packet is not None and old[:2] == b"\xff\xd8" and len(packet) > MAX_IN_JPEG:
            raise self._refusal(f"the packet would have {len(packet)} bytes, more than a JPEG can hold")
        try:
            new = way(old, packet)
            after = split(new)
            same = _means(after.packet, packet)
        except (ValueError, RuntimeError, OSError, subprocess.SubprocessError) as error:
            raise self._refusal(" ".join(str(error).split()) or type(error).__name__) from error
        if after.rest != self._parts.rest or after.extended:
            raise self._refusal("more than the XMP would have changed")
        if not same:
            raise self._refusal("the XMP did not come back as it was written")
        return new

    def _refusal(self, cause: str) -> SidecarError:
        return SidecarError(
            f"cannot be embedded: {cause}", path=escape(self.path), mend="the photo is as it was; leave out --embed"
        )


def open_embedded(path: Path) -> Embedded:
    """Read a photo to write into it.

    Raises:
        SidecarError: it cannot be read, or is not what its name says.
    """
    state = read_file(path, MAX_PHOTO)
    if state.raw is None:
        raise SidecarError("no such file", path=escape(path), mend="scan its folder again")
    try:
        return Embedded(path, state, split(state.raw))
    except ValueError as error:
        raise SidecarError(
            f"cannot be embedded: {error}", path=escape(path), mend="the photo is as it was; leave out --embed"
        ) from error


def _bare(packet: bytes) -> bytes:
    """A packet as it belongs into a photo: UTF-8, and no XML declaration, which exiftool would not take."""
    return re.sub(rb"^\s*<\?xml\s[^>]*\?>\s*", b"", read_source(packet).data)


def _means(found: bytes | None, wanted: bytes | None) -> bool:
    """Whether two packets say the same; a library may write one down in its own way."""
    if wanted is None or found is None:
        return found is None and wanted is None
    return read_packet(found).meaning() == read_packet(wanted).meaning()


def _with_pyexiv2(photo: bytes, packet: bytes | None) -> bytes:
    import pyexiv2

    with _pyexiv2_lock, pyexiv2.ImageData(photo) as image:
        if packet is None:
            image.clear_xmp()
        else:
            image.modify_raw_xmp(packet.decode("utf-8"))
        result: bytes = image.get_bytes()
    return result


def _with_exiftool(photo: bytes, packet: bytes | None) -> bytes:
    with tempfile.TemporaryDirectory(prefix="cgiaa-") as folder:
        source = Path(folder) / "packet.xmp"
        source.write_bytes(packet or b"")
        what = "-XMP:all=" if packet is None else f"-XMP<={source}"
        done = subprocess.run(["exiftool", "-q", "-m", what, "-"], input=photo, capture_output=True, timeout=120)
    if done.returncode or not done.stdout:
        raise ValueError(done.stderr.decode("utf-8", "replace") or "exiftool wrote nothing")
    return done.stdout
