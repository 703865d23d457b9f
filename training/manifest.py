"""Training sets: one kind of sample for all of them, and a short description of each in sets/*.toml.

`load_set(NAME, ROOT)` reads a set whose description comes with cgiaa, one described in a TOML file of your own, or a
plain manifest: a CSV, JSONL or Parquet file with the columns of `ALIASES` (all but one may be missing), WebDataset
shards, or a folder of photos. What a description says is checked on the way: columns, ranges, splits.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cgiaa_training.describe import Description, Label, Layout, describe, set_names
from cgiaa_training.left_out import LEFT_OUT, left_out, place_of
from cgiaa_training.readers import PHOTO, Table, exists, format_of, join, read_image, read_rows

from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.paths import escape

__all__ = [
    "ALIASES",
    "SPLITS",
    "DataSet",
    "Description",
    "Sample",
    "load_set",
    "read_image",
    "set_names",
    "split_by",
]

SPLITS = ("train", "val", "test", "")
_SPLIT_NAMES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}
BINS = 10

Placed = tuple[Table, str, int, dict[str, Any]]
"""A row after its table, its file and its number there."""

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "image": ("image", "photo", "file", "path", "filename", "file_name"),
    "split": ("split", "set"),
    "text": ("text", "critique", "caption", "comment"),
    "attribute": ("attribute",),
    "group": ("group",),
    "distribution": ("distribution",),
}
"""Columns of a plain manifest, by each name that they may have. Every other column of numbers is a label."""

RANGES = {
    "score": (1.0, 10.0),
    "color_light": (1.0, 10.0),
    "composition": (1.0, 10.0),
    "depth_focus": (1.0, 10.0),
    "general": (1.0, 10.0),
    "technical": (1.0, 10.0),
    "complexity": (0.0, 100.0),
}
"""In what these labels are measured where a plain manifest's values fit; else its range is that of its values."""


@dataclass(frozen=True)
class Sample:
    """A photo with its labels, or a text on one, or both.

    Attributes:
        id: unique in its set.
        image: path of the photo, or an address for `read_image`; None: the set has only texts.
        split: one of `SPLITS`; "": the set has none.
        text: critique or caption.
        attribute: what the text is about: color_light, composition, depth_focus, general, or the set's own.
        labels: ratings in the set's own units; `Description.labels` has their ranges.
        distribution: shares of the scores 1..10.
        group: what a split may not tear apart: the photo that a text is about.
        extra: the other columns, as the set has them.
    """

    id: str
    image: str | None
    split: str
    text: str | None = None
    attribute: str | None = None
    labels: Mapping[str, float] = field(default_factory=dict)
    distribution: tuple[float, ...] | None = None
    group: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSet:
    """A loaded set; `dropped` counts, by reason, what was in its files and is not among the samples.

    `every` has, beside the samples, those whose photos are left out.
    """

    name: str
    samples: list[Sample]
    description: Description
    dropped: Mapping[str, int] = field(default_factory=dict)
    every: Sequence[Sample] = ()

    def of(self, *splits: str) -> list[Sample]:
        """The samples of these splits."""
        return [sample for sample in self.samples if sample.split in splits]


def load_set(name: str, root: Path | str) -> DataSet:
    """Read and check a set.

    Args:
        name: one of `set_names`, the path of a description (TOML), of a manifest (CSV, JSONL or Parquet, also .gz),
            of WebDataset shards (`part-{000..041}.tar`, `*.tar`) or of a folder of photos. A path is looked for
            below `root` too. A photo that a manifest names lies relative to the manifest.
        root: folder of the sets, or an address that fsspec knows.

    Raises:
        UsageError: no such set; a description that makes no sense.
        CgiaaError: a file or the photos are missing, a column is missing, a value is no number or out of its range,
            a split has an unknown name, or nothing is left.

    Photos that ROOT/left-out.txt names, a line each, are left out (`cgiaa train data check --leave-out` writes it).
    """
    base = str(root)
    layout, rows = describe(name, base), None
    if layout is None:
        layout, base, rows = _plain(name, base)
    samples, dropped = _samples(layout, base, rows or _rows(layout, base))
    unwanted = left_out(str(root))
    every, kept = samples, [s for s in samples if not (unwanted and s.image and place_of(s.image) in unwanted)]
    if len(kept) < len(samples):
        samples, dropped = kept, {**dropped, f"{LEFT_OUT} names them": len(samples) - len(kept)}
    if not samples:
        raise CgiaaError("no samples in it", path=escape(join(base, layout.tables[0].path)), mend="see docs/data.md")
    _require_photos([s.image for s in samples[:20] if s.image is not None], layout)
    short = name if name in set_names() else Path(name).name.partition(".")[0]
    about = layout.description
    if _unlisted(layout, base):
        about = replace(
            about, warnings=(*about.warnings, "without its photos and their lists every text is to learn from")
        )
    return DataSet(short, samples, about, dropped, every)


def split_by(samples: Iterable[Sample], val: float, test: float) -> list[Sample]:
    """The samples with a split of our own, where the set has none: the same at every run, and by `group`.

    Args:
        val, test: shares of the groups, 0..1; the rest is train.
    """
    parts = []
    for sample in samples:
        digest = hashlib.sha256((sample.group or sample.id).encode()).digest()
        at = int.from_bytes(digest[:8], "big") / 2**64
        parts.append(replace(sample, split="test" if at < test else "val" if at < test + val else "train"))
    return parts


# --- a plain manifest ------------------------------------------------------------------------------------------


def _plain(name: str, root: str) -> tuple[Layout, str, list[Placed]]:
    """The layout of a manifest, told from its columns, the folder that it lies in, and its rows."""
    url, kind = _find(name, root)
    folder, _, file = url.rpartition("/")
    table = Table(url, kind)
    rows = [row for _, _, row in read_rows(table, "")]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    rows = [{column: row.get(column) for column in columns} for row in rows]  # lines of JSON may leave some out
    roles = {role: next((c for c in names if c in columns), None) for role, names in ALIASES.items()}
    if PHOTO in columns:
        roles["image"] = PHOTO
        roles["id"] = roles["id"] or "__key__"
    if roles["image"] is None and roles["text"] is None:
        mend = f"name one {' or '.join(ALIASES['image'][:2])}, or text"
        if len(columns) == 1 and re.search(r"[;\t|]", columns[0]):
            mend = "separate the columns by commas, or by tabs in a .tsv; or describe the file, see docs/data.md"
        raise CgiaaError(
            f"no column of photos or texts; there are {', '.join(columns) or 'none'}", path=escape(url), mend=mend
        )
    bins = [c for c in (f"p{i}" for i in range(1, BINS + 1)) if c in columns]
    taken = {*bins, *(column for column in roles.values() if column is not None)}
    labels, guessed = _labels([c for c in columns if c not in taken], rows, url)
    distribution: Any = (roles["distribution"],) if roles["distribution"] else tuple(bins)
    warnings = [f"the range of {', '.join(guessed)} is that of the values: describe the set in a TOML file"]
    layout = Layout(
        Description(
            file, url, "yours", {n: label.range for n, label in labels.items()}, tuple(warnings if guessed else ())
        ),
        (table,),
        id=roles["id"] or roles["image"] or "",
        image="{" + roles["image"] + "}" if roles["image"] else None,
        split=roles["split"],
        text=roles["text"],
        attribute=roles["attribute"],
        group=roles["group"] or (roles["image"] if roles["text"] else None),
        distribution=distribution,
        distribution_optional=True,
        labels=labels,
        photos="optional" if roles["text"] else "needed",
    )
    return layout, folder or ".", [(table, url, number, row) for number, row in enumerate(rows, 1)]


def _find(name: str, root: str) -> tuple[str, str]:
    """Where a manifest lies, and its format."""
    kind, below = format_of(name), join(root, name)
    if kind == "webdataset":
        folder = name.partition("{")[0].partition("*")[0].rpartition("/")[0]
        return (name if folder and exists(folder) else below), kind
    for url in (name, below):
        if exists(url) and (kind is not None or url == below or "/" in name):
            return url, kind or "folder"
    if format_of(name) is not None:
        place, mend = below, "give the path of a file"
        if "/" in name:  # it was looked for as it is, too
            place = name
            mend += "" if name.startswith(f"{root}/") else f", or its path below {escape(root)}"
        raise CgiaaError("no such manifest", path=escape(place), mend=mend)
    raise UsageError(f"no such set: {name}", mend=f"name a manifest or one of {', '.join(set_names())}")


def _labels(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], url: str) -> tuple[dict[str, Label], list[str]]:
    """Columns of numbers as labels, and the names of those whose range had to be taken from the values."""
    labels, guessed = {}, []
    for column in columns:
        values = [_number(row.get(column)) for row in rows if row.get(column) not in (None, "")]
        if any(value is None for value in values) or not values:
            if column in RANGES and values:
                at = next(i for i, row in enumerate(rows, 1) if row.get(column) and _number(row[column]) is None)
                raise _fault(url, at, f"'{rows[at - 1][column]}' in column '{column}' is not a number")
            continue
        low, high = min(v for v in values if v is not None), max(v for v in values if v is not None)
        known = RANGES.get(column)
        if known is not None and known[0] <= low and high <= known[1]:
            low, high = known
        else:
            guessed.append(column)
        labels[column] = Label(column, (low, high), optional=True)
    return labels, guessed


# --- rows -> samples -------------------------------------------------------------------------------------------


def _samples(layout: Layout, root: str, rows: Iterable[Placed]) -> tuple[list[Sample], dict[str, int]]:
    dropped: Counter[str] = Counter()
    lists = _split_lists(layout, root)
    photos: dict[Table, bool] = {}
    samples: list[Sample] = []
    for table, url, number, row in rows:
        if table not in photos:  # now that its rows could be read
            photos[table] = _photos(layout, table, root)
        if layout.text and not str(row.get(layout.text) or "").strip():
            dropped["no text"] += 1
            continue
        if layout.text and row.get(layout.id, "") is None:  # a text may not say which photo it is about
            row = {**row, layout.id: f"row-{number}"}
        try:
            sample = _sample(layout, table, row, photos[table], root, lists)
        except ValueError as error:
            raise _fault(url, number, str(error)) from error
        if sample.split == "drop":
            dropped["in none of the split lists"] += 1
        else:
            samples.append(sample)
    if layout.repeated == "drop":
        splits = defaultdict(set)
        for sample in samples:
            splits[sample.group].add(sample.split)
        torn = {group for group, found in splits.items() if len(found) > 1}
        dropped["photos in more than one split"] = len(torn)
        samples = [sample for sample in samples if sample.group not in torn]
    return _unique(samples), {reason: count for reason, count in dropped.items() if count}


def _rows(layout: Layout, root: str) -> Iterator[Placed]:
    """The rows of all tables; those on one photo made one where the layout says so."""
    if layout.rows == "samples":
        for table in layout.tables:
            for url, number, row in read_rows(table, root):
                yield table, url, number, row
        return
    merged: dict[tuple[str | None, str], list[Placed]] = {}
    for table in layout.tables:
        for url, number, row in read_rows(table, root):
            try:
                merged.setdefault((table.split, _key(layout, row)), []).append((table, url, number, row))
            except ValueError as error:
                raise _fault(url, number, str(error)) from error
    for rows in merged.values():
        table, url, number, _ = rows[0]
        whole = {key: value for *_, row in reversed(rows) for key, value in row.items()}  # the first one's word counts
        if layout.rows == "votes":
            whole |= _votes(layout, rows)
        yield table, url, number, whole


def _votes(layout: Layout, rows: Sequence[Placed]) -> dict[str, Any]:
    """The mean of what the raters gave, by column, and how many `votes` there were."""
    means: dict[str, Any] = {"votes": len(rows)}
    for label in layout.labels.values():
        given = []
        for _, url, number, row in rows:
            try:
                if _get(row, label.column) not in (None, ""):
                    given.append(_within(row[label.column], label))
            except ValueError as error:
                raise _fault(url, number, str(error)) from error
        means[label.column] = sum(given) / len(given) if given else None
    return means


def _sample(
    layout: Layout, table: Table, row: dict[str, Any], photos: bool, root: str, lists: Mapping[str, str] | None
) -> Sample:
    key = _key(layout, row)
    template = table.image or layout.image
    image = _fill(template, {**row, "key": key}) if photos and template is not None else None
    if image is None and photos and layout.photos == "needed":
        raise ValueError("no photo is named")
    distribution = _distribution(layout, row)
    labels = {}
    for name, label in layout.labels.items():
        if label.column == "distribution" and distribution is not None:
            labels[name] = sum(i * share for i, share in enumerate(distribution, 1))
        elif _get(row, label.column, label.optional) not in (None, ""):
            labels[name] = _within(row[label.column], label)
        elif not label.optional:
            raise ValueError(f"no value in column '{label.column}'")
    attribute = table.attribute or (_get(row, layout.attribute) if layout.attribute else None)
    kept = [column for column in row if not column.startswith("__")] if layout.keep is None else layout.keep
    return Sample(
        id=key,
        image=None if image is None else join(root, image),
        split=table.split or _split(layout, row, key, lists),
        text=str(_get(row, layout.text)).strip() if layout.text else None,
        attribute=layout.attributes.get(attribute or "", attribute) or None,
        labels=labels,
        distribution=distribution,
        group=_group(layout, row, key),
        extra={column: row.get(column) for column in kept},
    )


def _key(layout: Layout, row: Mapping[str, Any]) -> str:
    return _clean(layout, _get(row, layout.id))


def _group(layout: Layout, row: Mapping[str, Any], key: str) -> str:
    value = _get(row, layout.group) if layout.group else None
    return key if value in (None, "") else _clean(layout, value)


def _clean(layout: Layout, value: Any) -> str:
    if value is None or value == "":
        raise ValueError("a row without an id")
    return re.sub(layout.id_without, "", str(value)) if layout.id_without else str(value)


def _get(row: Mapping[str, Any], column: str, optional: bool = False) -> Any:
    if column not in row and not optional:
        known = ", ".join(key for key in row if not key.startswith("__"))
        raise ValueError(f"no column '{column}'; there are {known}")
    return row.get(column)


def _fill(template: str, row: Mapping[str, Any]) -> str | None:
    """The template with the row's values in it; None: one of them is empty."""
    values = {column: _get(row, column) for column in re.findall(r"\{(\w[^{}]*)\}", template)}
    if any(value in (None, "") for value in values.values()):
        return None
    return re.sub(r"\{(\w[^{}]*)\}", lambda match: str(values[match[1]]), template)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _within(value: Any, label: Label) -> float:
    number, (low, high) = _number(value), label.range
    if number is None:
        raise ValueError(f"'{value}' in column '{label.column}' is not a number")
    if not low <= number <= high:
        raise ValueError(f"{number:g} in column '{label.column}' is out of its range {low:g}..{high:g}")
    return number


def _distribution(layout: Layout, row: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Shares of the scores 1..10, from shares or counts in ten columns, or from a list in one."""
    if not layout.distribution:
        return None
    values: Any = [_get(row, column, layout.distribution_optional) for column in layout.distribution]
    if len(values) == 1:
        values = re.split(r"[\s,;]+", values[0].strip("[] ")) if isinstance(values[0], str) else values[0]
    if layout.distribution_optional and (values is None or all(v in (None, "") for v in values)):
        return None
    numbers = [_number(value) for value in values]
    if len(numbers) != BINS or any(n is None or n < 0 for n in numbers):
        raise ValueError(f"a distribution is {BINS} numbers of 0 or more, not {values}")
    counts = [n for n in numbers if n is not None]
    if sum(counts) <= 0:
        raise ValueError("a distribution without votes")
    return tuple(count / sum(counts) for count in counts)


# --- splits and photos -----------------------------------------------------------------------------------------


def _split(layout: Layout, row: Mapping[str, Any], key: str, lists: Mapping[str, str] | None) -> str:
    if lists is not None:
        return lists.get(_group(layout, row, key), layout.otherwise)
    if layout.split is None:
        return layout.otherwise
    value = str(_get(row, layout.split) or "")
    split = layout.splits.get(value, _SPLIT_NAMES.get(value.lower(), value.lower()))
    if split not in SPLITS:
        raise ValueError(f"unknown split '{value}' in column '{layout.split}'; it may be train, val, test or empty")
    return split


def _split_lists(layout: Layout, root: str) -> dict[str, str] | None:
    """Which split each photo is in, where lists of photos say so."""
    if not layout.lists or _unlisted(layout, root):
        return None
    found: dict[str, str] = {}
    for part in layout.lists:
        columns = (part.column,) if part.format == "lines" else ()
        for url, number, row in read_rows(Table(part.path, part.format, columns), root):
            try:
                found[_clean(layout, _get(row, part.column))] = part.split
            except ValueError as error:
                raise _fault(url, number, str(error)) from error
    return found


def _unlisted(layout: Layout, root: str) -> bool:
    """Are neither the lists of splits nor the photos there, of texts that are of use without."""
    if not layout.lists or layout.photos != "optional" or any(exists(join(root, part.path)) for part in layout.lists):
        return False
    return not any(_photos(layout, table, root) for table in layout.tables)


def _photos(layout: Layout, table: Table, root: str) -> bool:
    """Are the photos there; asked of their folder only (`cgiaa train data check` looks at each)."""
    template = table.image or layout.image
    if template is None:
        return False
    folder = template.partition("{")[0].rpartition("/")[0]
    if not folder or exists(join(root, folder)):
        return True
    if layout.photos == "optional":
        return False
    raise CgiaaError(
        "the photos of the set are not there",
        path=escape(join(root, folder)),
        mend="see docs/data.md for where to get them and how to lay them out",
    )


def _require_photos(some: Sequence[str], layout: Layout) -> None:
    """Of the first photos one at least must be there: else the manifest and the folder do not belong together."""
    if some and layout.photos == "needed" and not any(image.startswith("tar://") or exists(image) for image in some):
        raise CgiaaError(
            "no such photo, nor those that follow it in the set",
            path=escape(some[0]),
            mend="photos lie relative to their manifest; see docs/data.md for the layout of known sets",
        )


def _unique(samples: list[Sample]) -> list[Sample]:
    """Samples on one photo get ids of their own: PHOTO, PHOTO#2, PHOTO#3."""
    seen: Counter[str] = Counter()
    for i, sample in enumerate(samples):
        seen[sample.id] += 1
        if seen[sample.id] > 1:
            samples[i] = replace(sample, id=f"{sample.id}#{seen[sample.id]}")
    return samples


def _fault(url: str, number: int, cause: str) -> CgiaaError:
    return CgiaaError(f"row {number}: {cause}", path=escape(url), mend="correct the file, or see docs/data.md")
