"""Which format a file really has: told from its first bytes, because names lie (iPhones export JPEG as .HEIC).

The suffix decides in one case only: most RAW formats are TIFF inside, and their first bytes are those of any
TIFF, so there the name tells a RAW from a scan.

A file whose name promises a photo (`PHOTO_SUFFIXES`) is always handed to `decode`, whatever its bytes are: if
they are no photo it ends as a `PhotoError` that the user sees, and is never dropped in silence. A file whose
name promises something else (`OTHER_SUFFIXES`) is not even opened. Every other file is judged by `sniff`.
"""

from __future__ import annotations

__all__ = [
    "ADOPTING_SUFFIXES",
    "HEAD_BYTES",
    "OTHER_SUFFIXES",
    "PHOTO_SUFFIXES",
    "PLAIN",
    "RAW_SUFFIXES",
    "foreign",
    "sniff",
]

HEAD_BYTES = 64
"""How many bytes `sniff` and `foreign` want; fewer is allowed, and then less is told apart."""

PLAIN = ("jpeg", "png", "webp", "gif", "bmp", "avif")
"""Formats that every browser shows; the media type of each is `image/` and its name."""

RAW_SUFFIXES = frozenset(
    [
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".dng",
        ".raf",
        ".rw2",
        ".orf",
        ".nrw",
        ".pef",
        ".srw",
        ".sr2",
        ".rwl",
        ".3fr",
        ".iiq",
        ".erf",
        ".mef",
        ".mos",
    ]
)

ADOPTING_SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".jfif", ".heic", ".heif", ".hif"])
"""What cameras write beside a RAW of the same stem; the pair is one photo (see `library.walk`)."""

PHOTO_SUFFIXES = (
    ADOPTING_SUFFIXES
    | RAW_SUFFIXES
    | frozenset([".png", ".apng", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".dib", ".avif", ".heics", ".jxl", ".mpo"])
)

OTHER_SUFFIXES = frozenset(
    # videos and sound: some share the container of HEIF, and all are large
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".qt",
        ".avi",
        ".mkv",
        ".webm",
        ".mts",
        ".m2ts",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".3gp",
        ".3g2",
        ".flv",
        ".insv",
        ".lrv",
        ".braw",
        ".r3d",
        ".mp3",
        ".m4a",
        ".wav",
        ".aac",
        ".flac",
        ".ogg",
        ".xmp",
        ".pp3",
        ".json",
        ".aae",
        ".thm",
        ".cos",
        ".dop",
        ".on1",
        ".arp",
        ".rss",
        ".lrcat",
        ".lrdata",
        ".lrprev",
        ".ini",
        ".db",
        ".db-wal",
        ".db-shm",
        ".sqlite",
        ".sqlite3",
        ".cosessiondb",
        ".vrd",
        ".nksc",
        ".dr4",
        ".ctg",
        ".dat",
        ".bup",
        ".ifo",
        ".vob",
        ".gpx",
        ".kml",
        ".txt",
        ".md",
        ".rtf",
        ".pdf",
        ".doc",
        ".docx",
        ".xls",
        ".xlsx",
        ".ppt",
        ".pptx",
        ".odt",
        ".ods",
        ".csv",
        ".tsv",
        ".html",
        ".htm",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".log",
        ".svg",
        ".eps",
        ".ai",
        ".psd",
        ".psb",
        ".xcf",
        ".kra",
        ".afphoto",
        ".icc",
        ".icm",
        ".cube",
        ".lut",
        ".py",
        ".pyc",
        ".js",
        ".css",
        ".c",
        ".h",
        ".sh",
        ".exe",
        ".dll",
        ".so",
        ".zip",
        ".tar",
        ".gz",
        ".bz2",
        ".xz",
        ".zst",
        ".7z",
        ".rar",
        ".iso",
        ".dmg",
        ".part",
        ".tmp",
        ".bak",
        ".lnk",
        ".url",
        ".npy",
        ".npz",
        ".onnx",
        ".parquet",
        ".pt",
        ".safetensors",
    ]
)

_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split())
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
# the same TIFF structure under a magic number of the maker's own: Olympus (three), Panasonic
_RAW_MAGIC = (b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FUJIFILMCCD-RAW")
_BMP_HEADERS = frozenset((12, 16, 40, 52, 56, 64, 108, 124))


def sniff(head: bytes, suffix: str) -> str | None:
    """The format of a file.

    Args:
        head: its first bytes, ideally `HEAD_BYTES` of them.
        suffix: of its name, with the dot, in any case; may be empty.

    Returns:
        jpeg, png, webp, tiff, gif, bmp, avif, heif or raw; None if it is no photo (video, text, garbage).
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(_TIFF):
        is_raw = suffix.lower() in RAW_SUFFIXES or head[8:10] == b"CR"  # "CR" there: Canon's CR2
        return "raw" if is_raw else "tiff"
    if head.startswith(_RAW_MAGIC):
        return "raw"
    # two letters are too few to go by ("BM" starts many a text), so the header must make sense as well
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    return None


def _by_brand(head: bytes) -> str | None:
    """ISO base media: HEIF, AVIF, CR3 and videos differ only in their brands."""
    major = head[8:12]
    if major == b"crx ":
        return "raw"
    if major in _AVIF_BRANDS:
        return "avif"
    if major not in _HEIF_BRANDS:
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    compatible = {head[i : i + 4] for i in range(16, end - 3, 4)}
    # mif1 only says "some still picture"; the codec is named among the compatible brands
    if major in (b"mif1", b"mif2", b"msf1") and compatible & _AVIF_BRANDS:
        return "avif"
    return "heif"


def foreign(head: bytes) -> str | None:
    """What a file that `sniff` refuses is, in words for an error message; None if that is unknown too."""
    if head[4:8] == b"ftyp" or head[4:8] in (b"moov", b"mdat", b"wide") or head[:4] == b"\x1aE\xdf\xa3":
        return "a video"
    if head[:2] == b"\xff\x0a" or head[4:8] == b"JXL ":
        return "a JPEG XL picture"
    if head[4:8] == b"jP  " or head[:4] == b"\xff\x4f\xff\x51":
        return "a JPEG 2000 picture"
    for magic, name in (
        (b"8BPS", "a Photoshop document"),
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"RIFF", "a sound or video file"),
    ):
        if head.startswith(magic):
            return name
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "a web page or XML text"  # what a failed download leaves under the photo's name
    return None
