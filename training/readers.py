"""Files of labels -> rows, whatever their format; and the bytes of a photo, wherever it lies.

A row is a dict of column name to value as the file has it (strings in CSV, typed in JSON and Parquet). Files are
opened through fsspec, so that a root may be a folder, a bucket or anything else that it knows; what ends in .gz is
unpacked on the way.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.core import url_to_fs

from cgiaa_cli.errors import CgiaaError, ExtraMissingError
from cgiaa_cli.paths import escape

__all__ = ["FORMATS", "PHOTO_SUFFIXES", "Table", "exists", "format_of", "join", "read_image", "read_rows"]

Row = dict[str, Any]
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".heif")
PHOTO = "__photo__"
"""Column of a row that came with its photo (formats webdataset and folder): where the photo is."""

TEXTS = ("csv", "lines", "json", "jsonl", "karpathy", "comments")
"""Formats that are text."""
_BROKEN = (UnicodeDecodeError, csv.Error, json.JSONDecodeError, EOFError, zlib.error, tarfile.TarError, OSError)


@dataclass(frozen=True)
class Table:
    """One file of labels, or several of the same kind.

    Attributes:
        path: below the root; `{each}` in it is replaced by each of `each`.
        format: one of `FORMATS`.
        columns: names of the columns, for a format without a header; `{each}` is replaced here too.
        delimiter: between the columns of a CSV.
        each: see `path`.
        split, attribute: of all rows of it.
        image: where the photos of its rows lie, if elsewhere than the set's others.
    """

    path: str
    format: str = "csv"
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    each: tuple[str, ...] = ()
    split: str | None = None
    attribute: str | None = None
    image: str | None = None


def read_rows(table: Table, root: str) -> Iterator[tuple[str, int, Row]]:
    """The rows of a table below `root`, each after the name of its file and its number there, from 1.

    Raises:
        CgiaaError: a file is not there, cannot be read, or is not of the format that it should be.
    """
    for one in table.each or ("",):
        url = join(root, table.path.replace("{each}", one))
        columns = tuple(column.replace("{each}", one) for column in table.columns)
        try:
            for number, row in enumerate(FORMATS[table.format](url, columns, table.delimiter), 1):
                yield url, number, row
        except FileNotFoundError as error:
            raise CgiaaError(
                "no such data set", path=escape(url), mend="see docs/data.md for where to get it and how to lay it out"
            ) from error
        except _BROKEN as error:
            raise _unreadable(url, table.format, error) from error
        except ImportError as error:
            raise _without_package(url, error) from error


def _unreadable(url: str, kind: str, error: Exception) -> CgiaaError:
    if isinstance(error, UnicodeDecodeError) and kind in TEXTS:
        return CgiaaError("not text in UTF-8", path=escape(url), mend="save the file as UTF-8")
    return CgiaaError(f"cannot be read as {kind} ({error})", path=escape(url), mend="get the file anew")


def _without_package(url: str, error: ImportError) -> CgiaaError:
    """fsspec's own words name the package."""
    return CgiaaError(f"cannot be reached ({error})", path=escape(url), mend="pip install that package, then run again")


def format_of(path: str) -> str | None:
    """The format that a file's name tells; None: none that can be a manifest."""
    name = path.lower().removesuffix(".gz")
    if re.search(r"\.tar$", name):
        return "webdataset"
    return {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".json": "json", ".parquet": "parquet"}.get(
        PurePosixPath(name).suffix
    )


# --- places ----------------------------------------------------------------------------------------------------


def join(root: str, relative: str) -> str:
    """`relative` below `root`; an absolute path or an address stands for itself."""
    if "://" in relative or os.path.isabs(relative):
        return relative
    return f"{root.rstrip('/')}/{relative}" if root else relative


def exists(url: str) -> bool:
    """Is there a file or folder."""
    if "://" not in url:
        return os.path.exists(url)
    try:
        filesystem, path = url_to_fs(url)
        return bool(filesystem.exists(path))
    except ImportError as error:
        raise _without_package(url, error) from error
    except Exception as error:  # each kind of store has its own
        raise CgiaaError(
            f"cannot be reached ({type(error).__name__}: {error})",
            path=escape(url),
            mend="correct the address or your access to it, or copy the files into a folder",
        ) from error


def read_image(image: str) -> bytes:
    """The bytes of a photo: a path, an address that fsspec knows, or `tar://MEMBER::SHARD`; safe in threads.

    Raises:
        OSError: there is none (FileNotFoundError), or it cannot be read.
    """
    if "://" not in image:
        return Path(image).read_bytes()
    if not image.startswith("tar://"):
        with fsspec.open(image, "rb") as file:
            return cast(bytes, file.read())
    member, _, shard = image.removeprefix("tar://").partition("::")
    if member not in _members(shard):
        raise FileNotFoundError(image)
    start, size = _members(shard)[member]
    with fsspec.open(shard, "rb") as file:
        file.seek(start)
        return cast(bytes, file.read(size))


@functools.lru_cache(maxsize=4096)
def _members(shard: str) -> dict[str, tuple[int, int]]:
    """Where each file lies in a shard, (start, bytes): tar archives are not packed."""
    with fsspec.open(shard, "rb") as file, tarfile.open(fileobj=cast(BinaryIO, file), mode="r:") as archive:
        return {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}


def _text(url: str) -> Any:
    return fsspec.open(url, "rt", encoding="utf-8-sig", newline="", compression="infer")


def _binary(url: str) -> io.BytesIO:
    """The whole of a file that its reader must be able to seek in."""
    with fsspec.open(url, "rb", compression="infer") as file:
        return io.BytesIO(file.read())


# --- formats ---------------------------------------------------------------------------------------------------


def _csv(url: str, columns: Sequence[str], delimiter: str) -> Iterator[Row]:
    """With a header, unless `columns` are given."""
    if re.search(r"\.tsv(\.gz)?$", url):
        delimiter = "\t"
    with _text(url) as file:
        for row in csv.DictReader(file, list(columns) or None, delimiter=delimiter):
            row.pop(None, None)  # fields beyond the header
            yield row


def _lines(url: str, columns: Sequence[str], _: str) -> Iterator[Row]:
    """Columns between blanks, as in AVA.txt; what stands after the last one is left."""
    with _text(url) as file:
        for number, line in enumerate(file, 1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) < len(columns):
                raise CgiaaError(
                    f"line {number} has {len(fields)} columns instead of {len(columns)}",
                    path=escape(url),
                    mend="get the file anew",
                )
            yield dict(zip(columns, fields, strict=False))


def _json(url: str, *_: object) -> Iterator[Row]:
    """A list of objects."""
    yield from _objects(_load(url), url)


def _jsonl(url: str, *_: object) -> Iterator[Row]:
    """One object a line."""
    with _text(url) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield from _objects([json.loads(line)], url)
                except json.JSONDecodeError as error:
                    raise CgiaaError(
                        f"line {number} is not JSON ({error.msg})", path=escape(url), mend="correct that line"
                    ) from error


def _karpathy(url: str, *_: object) -> Iterator[Row]:
    """`{"images": [{"filename", "split", "sentences": [{"raw", ...}]}]}`: a row for each sentence (Karpathy 2015)."""
    for image in _objects(_field(_load(url), "images", url), url):
        for sentence in _objects(_field(image, "sentences", url), url):
            yield {**{key: value for key, value in image.items() if key != "sentences"}, **sentence}


def _comments(url: str, *_: object) -> Iterator[Row]:
    """`{"FILE": ["comment", ...]}`, as in DPC-Captions: rows of `file` and `text`."""
    whole = _load(url)
    if not isinstance(whole, dict):
        raise CgiaaError("not an object of photos and their comments", path=escape(url), mend="get the file anew")
    for name, comments in whole.items():
        for comment in comments:
            yield {"file": name, "text": comment}


def _parquet(url: str, *_: object) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ExtraMissingError("parquet", "reading a Parquet manifest", path=escape(url)) from error
    try:
        file = pyarrow.parquet.ParquetFile(_binary(url))
        for batch in file.iter_batches():
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise CgiaaError(f"cannot be read as parquet ({error})", path=escape(url), mend="write it anew") from error


def _xlsx(url: str, *_: object) -> Iterator[Row]:
    """The first sheet of a workbook, its first row being the header."""
    import zipfile

    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise ExtraMissingError("train", "reading a spreadsheet", path=escape(url)) from error
    try:
        book = openpyxl.load_workbook(_binary(url), read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError) as error:
        raise CgiaaError(f"not a spreadsheet ({error})", path=escape(url), mend="get the file anew") from error
    rows = book.worksheets[0].iter_rows(values_only=True)
    header = [str(name).strip() for name in next(rows, ())]
    for row in rows:
        if any(value is not None for value in row):
            yield dict(zip(header, row, strict=False))


def _webdataset(url: str, *others: object) -> Iterator[Row]:
    """WebDataset shards: files of one name but for their suffix are a sample; .json holds its columns, .txt its text.

    `url` may name many shards: `part-{0000..0041}.tar`, or with `*`.
    """
    for shard in _shards(url):
        samples: dict[str, dict[str, str]] = {}
        for member in _members(shard):
            folder, _, name = member.rpartition("/")
            stem, _, suffix = name.partition(".")
            samples.setdefault(f"{folder}/{stem}" if folder else stem, {})[suffix.lower()] = member
        for key, files in samples.items():
            row: Row = {"__key__": key}
            for suffix, member in files.items():
                place = f"tar://{member}::{shard}"
                if f".{suffix}" in PHOTO_SUFFIXES:
                    row[PHOTO] = place
                elif suffix == "json":
                    row |= json.loads(read_image(place))
                elif suffix == "txt":
                    row["text"] = read_image(place).decode("utf-8").strip()
            yield row


def _shards(url: str) -> list[str]:
    found = re.fullmatch(r"(.*)\{(\d+)\.\.(\d+)\}(.*)", url)
    if found:
        start, first, last, end = found.groups()
        return [f"{start}{i:0{len(first)}d}{end}" for i in range(int(first), int(last) + 1)]
    if "*" in url:
        filesystem, path = url_to_fs(url)
        shards = sorted(filesystem.glob(path))
        if not shards:
            raise FileNotFoundError(url)
        return [str(filesystem.unstrip_protocol(shard)) if "://" in url else shard for shard in shards]
    return [url]


def _folder(url: str, *_: object) -> Iterator[Row]:
    """Every photo below a folder, in the order of their names."""
    filesystem, path = url_to_fs(url)
    if not filesystem.isdir(path):
        raise FileNotFoundError(url)
    for photo in sorted(filesystem.find(path)):
        if photo.lower().endswith(PHOTO_SUFFIXES):
            row = {"id": photo.removeprefix(path).strip("/")}
            yield {**row, PHOTO: str(filesystem.unstrip_protocol(photo)) if "://" in url else photo}


def _load(url: str) -> Any:
    with _text(url) as file:
        return json.load(file)


def _field(whole: Any, name: str, url: str) -> Any:
    if not isinstance(whole, dict) or name not in whole:
        raise CgiaaError(f"no '{name}' in it", path=escape(url), mend="see docs/data.md for the format")
    return whole[name]


def _objects(rows: Any, url: str) -> Iterable[Row]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CgiaaError("not a list of objects", path=escape(url), mend="see docs/data.md for the format")
    return cast("list[Row]", rows)


FORMATS: dict[str, Callable[[str, Sequence[str], str], Iterator[Row]]] = {
    "csv": _csv,
    "lines": _lines,
    "json": _json,
    "jsonl": _jsonl,
    "karpathy": _karpathy,
    "comments": _comments,
    "parquet": _parquet,
    "xlsx": _xlsx,
    "webdataset": _webdataset,
    "folder": _folder,
}
