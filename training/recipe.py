"""Recipes: TOML files that say what each stage of `cgiaa train` does; a stage without a section is left out.

A recipe is checked whole before anything runs, and every fault of it is listed at once.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import tomllib
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from cgiaa_cli import bundles
from cgiaa_cli.errors import BundleError, UsageError
from cgiaa_cli.paths import escape

__all__ = ["STAGES", "DataConfig", "Recipe", "load_recipe", "recipe_names", "sets_of", "stage_module"]

STAGES = ("vlap", "attributes", "experts", "fusion", "distill", "export")
"""In the order in which they run. Each is a module with `<Name>Config`, `run(context)` and `plan(context)`."""

FOLDER = Path(__file__).parent / "recipes"
SETS = {"sets", "rated", "labelled", "comments", "self_scored", "pairs", "crops", "photos", "captions"}
SETS |= {"critiques", "check", "calibration", "reference"}  # the fields of configurations that name sets
AIDS = ("save_every", "keep", "workers")  # settings of a loop that change nothing in what it finds


@dataclass(frozen=True)
class DataConfig:
    """Where the samples come from; which sets a stage reads, its own section says.

    Attributes:
        synthetic: so many photos are rendered, with true critiques, when no --data is given; 0: --data is needed.
    """

    synthetic: int = 0

    def faults(self) -> list[str]:
        """What is impossible about it."""
        return ["synthetic must be 0 or more"] if self.synthetic < 0 else []


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes:
        name: of the file, without its suffix.
        description: one line.
        seed: of everything random.
        source: the name or path that it was loaded by, for messages.
        vlap, attributes, experts, fusion, distill, export: configurations of the stages; None: left out.
    """

    name: str
    description: str = ""
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    vlap: Any = None
    attributes: Any = None
    experts: Any = None
    fusion: Any = None
    distill: Any = None
    export: Any = None
    source: str = field(default="", compare=False)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that it has, in order."""
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    def fingerprint(self, stage: str) -> str:
        """Changes when this stage or one before it is configured otherwise, or the seed is another."""
        before = [[s, asdict(getattr(self, s))] for s in self.stages[: self.stages.index(stage) + 1]]
        text = json.dumps([self.seed, asdict(self.data), _without_aids(before)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_aids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_aids(part) for key, part in value.items() if key not in AIDS}
    return [_without_aids(part) for part in value] if isinstance(value, list | tuple) else value


def recipe_names() -> list[str]:
    """The recipes that come with cgiaa."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def sets_of(config: Any) -> Iterator[tuple[str, str]]:
    """(name of the field, name of the set) for every set that a stage's configuration names."""
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from sets_of(value)
        elif one.name in SETS:
            names = value if isinstance(value, tuple) else (value,)
            yield from ((one.name, name) for name in names if isinstance(name, str) and name)


def stage_module(stage: str) -> types.ModuleType:
    """The module of a stage; imported when asked for, because each brings heavy packages."""
    return importlib.import_module(f"cgiaa_training.{stage}")


def load_recipe(name_or_file: str) -> Recipe:
    """Read and check a recipe.

    Args:
        name_or_file: one of `recipe_names`, or the path of a TOML file.

    Raises:
        UsageError: there is none, it is not TOML, or something in it is impossible; all faults are named.
    """
    path = FOLDER / f"{name_or_file}.toml"
    if name_or_file not in recipe_names():
        path = Path(name_or_file)
        if not path.is_file():
            known = ", ".join(recipe_names())
            raise UsageError("no such recipe", path=escape(path), mend=f"name a TOML file or one of {known}")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"not a recipe ({error})", path=escape(path), mend="correct the file") from error
    faults: list[str] = []
    values: dict[str, Any] = {"name": path.stem, "source": name_or_file}
    for key, value in table.items():
        if key in ("description", "seed"):
            values[key] = _plain(value, str if key == "description" else int, key, faults)
        elif key == "data" or key in STAGES:
            config = DataConfig if key == "data" else getattr(stage_module(key), f"{key.capitalize()}Config")
            values[key] = _build(config, value, key, faults)
        else:
            faults.append(f"{key}: unknown (known are description, seed, data, {', '.join(STAGES)})")
    if not faults and not any(values.get(stage) for stage in STAGES):
        faults.append(f"no stage: write a section [{']['.join(STAGES)}] or some of them")
    faults += _across({stage for stage in STAGES if stage in table}, values)
    if faults:
        many = "faults" if len(faults) > 1 else "fault"
        raise UsageError(f"{len(faults)} {many}: {'; '.join(faults)}", path=escape(path), mend="correct the recipe")
    return Recipe(**values)


def _across(given: set[str], values: dict[str, Any]) -> list[str]:
    """What sections lack in each other. A section that is wrong in itself is there, but tells nothing of its needs."""

    def said(stage: str, name: str) -> Any:
        return getattr(values.get(stage), name, None)

    written = values.get("fusion") is not None and not said("fusion", "critiques")
    needs = [
        ("experts", "experts" in given, "attributes"),
        ("experts.photo", said("experts", "photo"), "vlap"),
        ("fusion", "fusion" in given, "vlap"),
        ("fusion without fusion.critiques", written, "experts"),
        ("distill.wide", said("distill", "wide"), "vlap"),
        ("distill.map_weight", said("distill", "map_weight"), "fusion"),
        ("export", "export" in given, "distill"),
        ("export.search", said("export", "search"), "vlap"),
    ]
    faults = [f"{what} needs a section [{other}]" for what, asked, other in needs if asked and other not in given]
    if said("export", "text_from") and given & {"attributes", "experts"}:
        faults.append("export.text_from brings texts of its own: leave it out, or [attributes] and [experts]")
    for stage, name in (("export", "text_from"), ("distill", "teacher")):
        source = said(stage, name)
        try:
            if source and not bundles.load(source).text and name == "text_from":
                faults.append(f"export.text_from: the model {escape(source)} has no texts to bring along")
        except BundleError as error:
            faults.append(f"{stage}.{name}: {error.path}: {error.cause}")
    return faults


def _build(config: type, table: Any, where: str, faults: list[str]) -> Any:
    """An instance of a dataclass from a TOML table; adds to `faults` and gives None where it is wrong."""
    if not isinstance(table, dict):
        faults.append(f"{where}: must be a section")
        return None
    hints = typing.get_type_hints(config)
    known = {f.name: f for f in fields(config)}
    found: dict[str, Any] = {}
    before = len(faults)
    for key, value in table.items():
        if key not in known:
            faults.append(f"{where}.{key}: unknown (known are {', '.join(known)})")
        elif is_dataclass(hints[key]):
            found[key] = _build(typing.cast(type, hints[key]), value, f"{where}.{key}", faults)
        else:
            found[key] = _plain(value, hints[key], f"{where}.{key}", faults)
    for name, one in known.items():
        if one.default is MISSING and one.default_factory is MISSING and name not in table:
            faults.append(f"{where}.{name}: missing")
    if len(faults) > before:
        return None
    built = config(**found)
    own = built.faults() if hasattr(built, "faults") else []
    for f in fields(config):  # defaults of a nested table can be wrong together with what was written
        inner = getattr(built, f.name)
        own += [f"{f.name}.{fault}" for fault in inner.faults()] if is_dataclass(type(inner)) else []
    faults += [f"{where}.{fault}" for fault in dict.fromkeys(own)]
    return built


def _plain(value: Any, wanted: Any, where: str, faults: list[str]) -> Any:
    """A number, string, yes or no, or list of such; as `wanted`, a type annotation, says."""
    options = typing.get_args(wanted) if typing.get_origin(wanted) in (types.UnionType, typing.Union) else (wanted,)
    for option in options:
        if typing.get_origin(option) is tuple and isinstance(value, list):
            inner = typing.get_args(option)[0]
            return tuple(_plain(item, inner, f"{where}[{i}]", faults) for i, item in enumerate(value))
        if option is float and type(value) is int:
            return float(value)
        if type(value) is option:
            return value
    names = " or ".join(getattr(o, "__name__", str(o)) for o in options if o is not type(None))
    faults.append(f"{where}: must be {names}, not {value!r}")
    return None
