"""Bytes of a photo -> upright sRGB pixels, at the two scales that scoring needs.

Decoding is the bottleneck of a scan, so a large JPEG is decoded twice, each time cheaply: once to colour at an
eighth, a quarter or half of its size (libjpeg scales inside the DCT), once to native-scale luma (no chroma, no
colour conversion). The other formats have no such short cut.

Every failure is a `PhotoError`: truncated data are never scored as if they were whole.
"""

from __future__ import annotations

import functools
import io
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError

from cgiaa_cli.errors import PhotoError
from cgiaa_cli.imaging import formats

__all__ = ["DEFAULT_MAX_PIXELS", "VIEW_LONG_SIDE", "Photo", "decode", "require_photo"]

VIEW_LONG_SIDE = 768
DEFAULT_MAX_PIXELS = 300_000_000
"""Twice the largest camera sensor on sale; such a photo takes about 0.5 GB as JPEG and 2 GB as PNG to decode."""

_BYTES_PER_PIXEL = 8  # four channels of 16 bits without compression; no photo has more
_RAW_PREVIEW_LONG_SIDE = 1000  # px; a smaller preview is a thumbnail, too coarse to judge focus by
_DNG_VERSION = 50706
_ORIENTATION = 274
_BROKEN = "the file is damaged: restore it from a backup or export it again"
_CUT = "the file is incomplete: copy or download it again"

# Pillow's own guard is one global number and warns before it refuses; `decode` checks each photo against the
# caller's limit before any pixel is decoded, and says which option raises it
Image.MAX_IMAGE_PIXELS = None
# of a text or a colour profile, unpacked; Pillow's own 1 MiB refuses PNGs with an edit history or a printer's profile
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20
# Pillow warns about damaged metadata that scoring does not use; pixels that are damaged raise
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        view: (h, w, 3) uint8, upright sRGB, long side at most 768 px (smaller photos are not enlarged).
        luma: (H, W) uint8, upright, native scale, in the photo's own colour space: for sharpness and noise.
        width, height: native size, upright: those of `luma`. Of a RAW, the size of what was judged: its
            embedded preview, or its half-size development.
        format: as `formats.sniff` names it.
    """

    view: NDArray[np.uint8]
    luma: NDArray[np.uint8]
    width: int
    height: int
    format: str


def decode(data: bytes, *, suffix: str = "", max_pixels: int = DEFAULT_MAX_PIXELS, side: int = VIEW_LONG_SIDE) -> Photo:
    """Decode a photo's first frame, upright, in sRGB.

    Args:
        data: the whole file.
        suffix: of the file's name, with the dot; only tells a RAW from a TIFF.
        max_pixels: refuse a photo of more pixels than this before decoding it.
        side: the longest that a side of `view` may be, for who wants to look at it and not to score it.

    Raises:
        PhotoError: empty, truncated, corrupt, bomb (too many pixels), extra (a package is missing) or
            unsupported. Nothing else is raised, whatever the bytes are.
    """
    kind = require_photo(data[: formats.HEAD_BYTES], len(data), suffix=suffix, max_pixels=max_pixels)
    _hush()
    try:
        _require_whole(data, kind)
        if kind == "raw":
            return _decode_raw(data, max_pixels, side)
        return _decode_image(data, kind, max_pixels, side)
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoError(
            "bomb", "not enough memory to decode it", mend="close other programs or lower --max-pixels"
        ) from error
    except Exception as error:  # Pillow's plugins raise anything from OSError to struct.error on bad data
        raise _explain(error, kind) from error


def require_photo(head: bytes, size: int, *, suffix: str = "", max_pixels: int = DEFAULT_MAX_PIXELS) -> str:
    """The format of a photo, told before all of it is read: what bears a photo's name may be a disk image.

    Args:
        head: the first `formats.HEAD_BYTES` bytes.
        size: of the file, bytes.
        suffix, max_pixels: as for `decode`.

    Returns:
        A format as `formats.sniff` names it.

    Raises:
        PhotoError: empty, no photo, or of more bytes than a photo of `max_pixels` can have (bomb).
    """
    if not size:
        raise PhotoError("empty", "the file has no bytes", mend="restore it from a backup or delete it")
    kind = formats.sniff(head, suffix)
    if kind is None:
        raise _not_a_photo(head)
    pixels = max(max_pixels, DEFAULT_MAX_PIXELS)  # a low limit is about pixels: animations have bytes for many
    if size > _BYTES_PER_PIXEL * pixels:
        raise PhotoError(
            "bomb",
            f"{size} bytes are more than {_BYTES_PER_PIXEL} for each pixel of the limit of {pixels}",
            mend="if the photo is genuine, raise the limit with --max-pixels",
        )
    return kind


def _hush() -> None:
    """Keep Pillow's warnings off stderr.

    `warnings.catch_warnings` is not thread-safe, so a permanent filter is put in front, again whenever
    something else (a test runner, say) has put its own before it. Doing that twice at once is harmless.
    """
    if not warnings.filters or warnings.filters[0] != _QUIET:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _not_a_photo(head: bytes) -> PhotoError:
    name = formats.foreign(head)
    if name is not None:
        return PhotoError("unsupported", f"this is {name}", mend="convert it to JPEG, or leave it out with --exclude")
    return PhotoError("corrupt", "the bytes are not those of any photo format", mend=_BROKEN)


def _explain(error: Exception, kind: str) -> PhotoError:
    text = " ".join(str(error).split())
    if isinstance(error, EOFError) or re.search(r"truncat|premature|unexpected end|end of file", text, re.I):
        return PhotoError("truncated", f"the {kind} data end too early", mend=_CUT)
    if "MAX_TEXT" in text:  # Pillow's text names its own constants
        return PhotoError(
            "unsupported",
            f"its texts or its colour profile unpack to more than {PngImagePlugin.MAX_TEXT_CHUNK >> 20} MiB",
            mend="save it again without metadata",
        )
    if isinstance(error, UnidentifiedImageError):
        if kind in ("tiff", "bmp", "avif"):  # formats of which Pillow reads a part
            return PhotoError(
                "unsupported",
                f"this kind of {kind} cannot be read, or its header is damaged",
                mend="save it as an 8-bit or 16-bit JPEG, PNG or TIFF",
            )
        text = "its header makes no sense"  # Pillow's text here is the address of a BytesIO
    return PhotoError("corrupt", f"the {kind} data are damaged ({text or type(error).__name__})", mend=_BROKEN)


def _require_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PhotoError(
            "bomb",
            f"{width} x {height} pixels are more than the limit of {max_pixels}",
            mend="if the photo is genuine, raise the limit with --max-pixels",
        )
    if width <= 0 or height <= 0:
        raise PhotoError("corrupt", "the picture has no pixels", mend=_BROKEN)


# --- whole or cut off ------------------------------------------------------------------------------------------


def _require_whole(data: bytes, kind: str) -> None:
    """Refuse data whose container says that bytes are missing; the decoders forgive some of these."""
    check = _WHOLE.get(kind)
    if check is not None and not check(data):
        raise PhotoError("truncated", f"the {kind} data end too early", mend=_CUT)


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether an end marker follows the start of the pixels (thumbnails in the header have markers, too)."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xDA:
            break
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) >= 0


def _png_is_whole(data: bytes) -> bool:
    return data.rfind(b"IEND") >= 0


def _riff_is_whole(data: bytes) -> bool:
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _tiff_is_whole(data: bytes) -> bool:
    """Whether the first directory, which most programs write behind the pixels, begins within the data."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    offset = data[8:16] if b"+" in data[2:4] else data[4:8]  # BigTIFF has longer ones
    return int.from_bytes(offset, order) < len(data)


def _boxes_are_whole(data: bytes) -> bool:
    """Whether the last top-level box of an ISO file (HEIF, AVIF, CR3) ends within the data."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        elif size == 0:  # to the end of the file, whatever that is
            return True
        if size < 8:  # not a box: something was appended
            return True
        at += size
    return at <= len(data)


_WHOLE: dict[str, Callable[[bytes], bool]] = {
    "jpeg": _jpeg_is_whole,
    "png": _png_is_whole,
    "webp": _riff_is_whole,
    "tiff": _tiff_is_whole,
    "heif": _boxes_are_whole,
    "avif": _boxes_are_whole,
}


# --- formats that Pillow reads -----------------------------------------------------------------------------------

_PILLOW = {
    "jpeg": ("JPEG",),  # MPO is opened through JPEG; its first frame is the photo
    "png": ("PNG",),
    "webp": ("WEBP",),
    "tiff": ("TIFF",),
    "gif": ("GIF",),
    "bmp": ("BMP",),
    "avif": ("AVIF",),
    "heif": ("HEIF",),
}


def _decode_image(data: bytes, kind: str, max_pixels: int, side: int, orientation: int | None = None) -> Photo:
    """Decode what Pillow can.

    Args:
        orientation: EXIF orientation 1..8 to use instead of the file's own.
    """
    if kind == "heif":
        _register_heif()
    with Image.open(io.BytesIO(data), formats=_PILLOW[kind]) as image:
        width, height = image.size
        _require_pixels(width, height, max_pixels)
        if kind == "tiff" and _DNG_VERSION in getattr(image, "tag_v2", {}):
            return _decode_raw(data, max_pixels, side)  # a DNG under a TIFF's name: this frame is its thumbnail
        native = None
        scale = side / max(width, height)
        if kind == "jpeg" and scale <= 0.5 and image.mode in ("RGB", "L"):
            native = _jpeg_luma(data)
            image.draft(image.mode, (max(1, round(width * scale)), max(1, round(height * scale))))
        image.load()
        if orientation is None:
            orientation = _orientation(image, kind)
        profile = image.info.get("icc_profile")
        flat = _flatten(image)
        if native is None:
            native = np.asarray(flat if flat.mode == "L" else flat.convert("L"))
        if max(flat.size) > side:
            flat = flat.copy() if flat is image else flat
            flat.thumbnail((side, side), Image.Resampling.BILINEAR)
        view = np.asarray(_to_srgb(flat, profile))
    luma = _upright(native, orientation)
    return Photo(np.ascontiguousarray(_upright(view, orientation)), luma, luma.shape[1], luma.shape[0], kind)


def _jpeg_luma(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        image.draft("L", image.size)
        image.load()
        return np.asarray(image if image.mode == "L" else image.convert("L"))


def _orientation(image: Image.Image, kind: str) -> int:
    """EXIF orientation 1..8, read after the pixels: PNG may store it behind them, TIFF is turned by then."""
    if kind == "heif":
        return 1  # libheif has turned the pixels; the EXIF tag is a leftover of the camera's
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # unreadable EXIF is no orientation, not an unreadable photo
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn (H, W, ...) by an EXIF orientation: a view of the same memory, because turning 24 MP costs time."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode -> L, RGB or CMYK, 8 bits a channel, without transparency.

    Transparent pictures are laid on white: the page or viewer that shows them mostly is, and dropping alpha
    would show whatever colours an editor left under the transparent parts.
    """
    mode = image.mode
    if mode in ("RGB", "L", "CMYK") and "transparency" not in image.info:
        return image
    if mode == "1":
        return image.convert("L")
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_to_bytes(np.asarray(image)))
    if mode == "LAB":
        transform = ImageCms.buildTransform(_LAB, _SRGB, "LAB", "RGB")
        lab = ImageCms.applyTransform(image, transform)
        return lab if lab is not None else image.convert("RGB")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("LA").convert("RGBA") if mode == "La" else image.convert("RGBA")
        alpha = rgba.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return rgba.convert("RGB")
        paper = Image.new("RGB", rgba.size, "white")
        paper.paste(rgba, mask=alpha)
        return paper
    return image.convert("RGB")


def _to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) grey of 16 or 32 bits, integer or float -> uint8.

    16-bit values use their full range. The range of wider ones is nowhere written down: 0..1, 0..255 and
    0..65535 are taken as such when everything lies inside, and anything else is stretched to its extremes.
    """
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    wide = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(wide.min()), float(wide.max())
    if low >= 0 and high <= 65535:
        is_float = values.dtype.kind == "f"
        top = 1.0 if is_float and high <= 1 else 255.0 if is_float and high <= 255 else 65535.0
        low, high = 0.0, top
    return np.asarray((wide - low) * (255.0 / max(high - low, 1e-30)) + 0.5, np.uint8)


# --- colour ------------------------------------------------------------------------------------------------------

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """An L, RGB or CMYK picture -> RGB in sRGB. A profile that is broken or of another space is left out."""
    if isinstance(profile, bytes) and profile:
        transform = _transform(profile, image.mode)
        if transform is not None:
            try:
                turned = ImageCms.applyTransform(image, transform)
                if turned is not None:
                    return turned
            except ImageCms.PyCMSError:
                pass
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB; None if there is nothing to do, or nothing that can be done.

    Building one takes milliseconds and a library has few profiles, so they are kept. Whether a profile is
    sRGB is judged by what it does to colours: names lie, and there are hundreds of spellings.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB")
        if mode == "RGB":
            levels = np.linspace(0, 255, 9).astype(np.uint8)
            cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, 81, 3)
            turned = np.asarray(ImageCms.applyTransform(Image.fromarray(cube), transform), np.int16)
            if np.abs(turned - cube).max() <= 2:
                return None
        return transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


# --- HEIF and RAW: optional packages -----------------------------------------------------------------------------

_REGISTERING = threading.Lock()


def _missing(extra: str, what: str) -> PhotoError:
    return PhotoError("extra", f"{what} photos need the extra '{extra}'", mend=f"pip install 'cgiaa[{extra}]'")


def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise _missing("heif", "HEIF") from error
    with _REGISTERING:
        if "HEIF" not in Image.OPEN:
            pillow_heif.register_heif_opener()


def _decode_raw(data: bytes, max_pixels: int, side: int) -> Photo:
    """The camera's own JPEG inside a RAW if it is large enough (it is what the photographer saw), else a
    half-size development with the camera's white balance."""
    try:
        import rawpy
    except ImportError as error:
        raise _missing("raw", "RAW") from error
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            sizes = raw.sizes
            _require_pixels(sizes.width, sizes.height, max_pixels)
            photo = _raw_preview(rawpy, raw, max_pixels, side)
            if photo is not None:
                return photo
            rgb = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
    except rawpy.LibRawError as error:
        raise _explain_raw(rawpy, error) from error
    image = Image.fromarray(rgb)
    luma = np.asarray(image.convert("L"))
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return Photo(np.asarray(image), luma, luma.shape[1], luma.shape[0], "raw")


def _raw_preview(rawpy: Any, raw: Any, max_pixels: int, side: int) -> Photo | None:
    """The embedded JPEG, upright; None if there is none, or it is small or damaged."""
    try:
        thumb = raw.extract_thumb()
    except rawpy.LibRawError:
        return None
    if thumb.format != rawpy.ThumbFormat.JPEG:
        return None
    preview = bytes(thumb.data)
    try:
        with Image.open(io.BytesIO(preview), formats=("JPEG",)) as image:
            width, height = image.size
            tagged = _orientation(image, "jpeg")
        if max(width, height) < _RAW_PREVIEW_LONG_SIDE:
            return None
        orientation = _preview_orientation(raw.sizes, width, height, tagged)
        _require_whole(preview, "jpeg")
        return replace(_decode_image(preview, "jpeg", max_pixels, side, orientation), format="raw")
    except (PhotoError, OSError, ValueError, SyntaxError):
        return None  # the sensor's data may still be whole; developing them will tell


def _preview_orientation(sizes: Any, width: int, height: int, tagged: int) -> int:
    """How to turn an embedded JPEG: by its own tag, else as LibRaw turns the sensor's picture (`flip`).

    Some cameras store the preview turned already: then its shape, and not the sensor's, is the upright one.
    """
    if tagged != 1:
        return tagged
    orientation = {3: 3, 5: 8, 6: 6}.get(sizes.flip, 1)  # LibRaw: 3 half turn, 5 left, 6 right
    if orientation in (6, 8) and (width > height) != (sizes.width > sizes.height):
        return 1
    return orientation


def _explain_raw(rawpy: Any, error: Exception) -> PhotoError:
    name = type(error).__name__
    if "FileUnsupported" in name:
        return PhotoError(
            "unsupported",
            "this camera's RAW is unknown to LibRaw, or its header is damaged",
            mend="upgrade rawpy, or convert the file to DNG or JPEG",
        )
    if "IOError" in name:
        return PhotoError("truncated", "the raw data end too early", mend=_CUT)
    text = error.args[0] if error.args else name
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return PhotoError("corrupt", f"the raw data are damaged ({text})", mend=_BROKEN)
