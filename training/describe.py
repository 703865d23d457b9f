"""Descriptions of sets: TOML files that say where a set's files lie and what is in their columns.

title = "OASIS, beauty of scenes"
url = "https://..."
licence = "none stated"
warnings = ["use it to check a model, not to train it"]
[[tables]]                        # see `readers.Table`
path = "oasis_scenes/labels.csv"
[columns]                         # see `Layout`
id = "file"
image = "oasis_scenes/images/{file}"
[labels]
score = { column = "beauty_mean_1_7", range = [1, 7] }
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cgiaa_training.readers import FORMATS, Table, join

from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import escape

__all__ = ["Description", "Label", "Layout", "SplitList", "describe", "set_names"]

FOLDER = Path(__file__).parent / "sets"


@dataclass(frozen=True)
class Description:
    """What a set is: `labels` holds the range of each label, in the set's own units."""

    title: str
    url: str
    licence: str
    labels: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Label:
    """A column of numbers and their range; column `distribution` stands for the mean of the distribution."""

    column: str
    range: tuple[float, float]
    optional: bool = False


@dataclass(frozen=True)
class SplitList:
    """A file that lists the photos of a split, in one column."""

    split: str
    path: str
    column: str = "id"
    format: str = "lines"


@dataclass(frozen=True)
class Layout:
    """How rows become samples.

    Attributes:
        description, tables: see there.
        id, split, text, attribute, group: columns; None: there is none.
        id_without: regular expression of what is cut from ids, groups and the entries of lists.
        image: where a photo lies below the root, with {COLUMN}, and {key} for the id as cut.
        distribution: ten columns of counts or shares of the scores 1..10, or one column of lists.
        keep: columns for `Sample.extra`; None: all.
        splits, attributes: the set's own words for ours.
        lists, otherwise: photos by split, instead of a column; the split of those in no list ("drop": left out).
        rows: "samples", a row each; "joined": rows on one photo, of several tables, are one; "votes": the same, and
            labels are means over the rows.
        repeated: "drop" leaves photos out that are in more than one split; "keep" leaves them to the check.
        photos: "needed", or "optional" for texts that are of use without.
    """

    description: Description
    tables: tuple[Table, ...]
    id: str = "id"
    id_without: str = ""
    image: str | None = None
    split: str | None = None
    text: str | None = None
    attribute: str | None = None
    group: str | None = None
    distribution: tuple[str, ...] = ()
    distribution_optional: bool = False
    keep: tuple[str, ...] | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    lists: tuple[SplitList, ...] = ()
    otherwise: str = ""
    rows: str = "samples"
    repeated: str = "keep"
    photos: str = "needed"


CHOICES = {
    "rows": ("samples", "joined", "votes"),
    "repeated": ("keep", "drop"),
    "photos": ("needed", "optional"),
    "otherwise": ("train", "val", "test", "", "drop"),
}
COLUMNS = ("id", "id_without", "image", "split", "text", "attribute", "group", "distribution", "keep")
RULES = ("splits", "attributes", "lists", *CHOICES)


def set_names() -> list[str]:
    """The sets whose descriptions come with cgiaa."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def describe(name: str, root: str = "") -> Layout | None:
    """The layout of a set that is described: one of `set_names`, or a TOML file; None: it is neither.

    Raises:
        UsageError: there is no such TOML file, or it makes no sense; all its faults are named.
    """
    path = FOLDER / f"{name}.toml"
    if name not in set_names():
        if not name.endswith(".toml"):
            return None
        path = next((p for p in (Path(name), Path(join(root, name))) if p.is_file()), Path(name))
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError("no such description", path=escape(path), mend="give the path of a TOML file") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"not a description ({error})", path=escape(path), mend="correct the file") from error
    faults: list[str] = []
    layout = _layout(table, faults)
    if layout is None or faults:
        raise UsageError(
            f"cannot be a set: {'; '.join(faults)}", path=escape(path), mend="see docs/data.md for what may be in it"
        )
    return layout


def _layout(whole: Mapping[str, Any], faults: list[str]) -> Layout | None:
    for key in whole:
        if key not in ("title", "url", "licence", "warnings", "tables", "columns", "labels", "rules"):
            faults.append(f"{key}: unknown")
    for key in ("title", "url", "licence", "tables"):
        if key not in whole:
            faults.append(f"{key} is missing")
    tables = tuple(t for t in (_build(Table, part, "tables", faults) for part in whole.get("tables", [])) if t)
    for table in tables:
        if table.format not in FORMATS:
            faults.append(f"tables: format {table.format} is none of {', '.join(FORMATS)}")
        if table.format == "lines" and not table.columns:
            faults.append("tables: format lines needs columns")
    columns, rules = dict(whole.get("columns", {})), dict(whole.get("rules", {}))
    faults += [f"columns: {key} is unknown" for key in columns if key not in COLUMNS]
    faults += [f"rules: {key} is unknown" for key in rules if key not in RULES]
    for key, options in CHOICES.items():
        if rules.get(key, options[0]) not in options:
            faults.append(f"rules: {key} may be {', '.join(o or 'empty' for o in options)}")
    try:
        re.compile(columns.get("id_without", ""))
    except re.error as error:
        faults.append(f"columns: id_without is no regular expression ({error})")
    labels = {
        name: label
        for name, part in whole.get("labels", {}).items()
        if (label := _build(Label, part, f"labels.{name}", faults))
    }
    for name, label in labels.items():
        if len(label.range) != 2 or not label.range[0] < label.range[1]:
            faults.append(f"labels.{name}: range is [lowest, highest]")
    lists = tuple(s for s in (_build(SplitList, part, "rules.lists", faults) for part in rules.pop("lists", [])) if s)
    if faults:
        return None
    description = Description(
        whole["title"],
        whole["url"],
        whole["licence"],
        {name: (float(label.range[0]), float(label.range[1])) for name, label in labels.items()},
        tuple(whole.get("warnings", ())),
    )
    return Layout(description, tables, labels=labels, lists=lists, **_tuples(columns), **rules)


def _build(kind: type[Any], part: Any, where: str, faults: list[str]) -> Any:
    names = {f.name for f in fields(kind)}
    if not isinstance(part, dict):
        faults.append(f"{where}: not a table")
        return None
    faults += [f"{where}: {key} is unknown" for key in part if key not in names]
    try:
        return kind(**{key: value for key, value in _tuples(part).items() if key in names})
    except TypeError as error:
        faults.append(f"{where}: {error.args[0].rpartition(') ')[2]}")
        return None


def _tuples(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in part.items()}
