"""Tastes that are kept: JSON files in the user's data folder, each an overlay of the one bundle it was learnt with."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.paths import escape, printable

if TYPE_CHECKING:
    from cgiaa_cli.bundles import Bundle
    from cgiaa_cli.taste.learn import Head

__all__ = ["FORMAT", "Taste", "check_name", "forget", "load", "names", "save"]

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Taste:
    """One taste.

    Attributes:
        scorer: name, version with the network's hash and preprocessing of its bundle (see `Bundle.scorer`).
        made: when, ISO 8601.
        ratings: how many it was learnt from.
        measured: `default` and `taste` (SRCC with held-out ratings), `gain`, `gain_95`.
        likes: in words.
        head: what it is.
    """

    name: str
    scorer: tuple[str, str, str]
    made: str
    ratings: int
    measured: dict[str, Any]
    likes: tuple[str, ...]
    head: Head

    def require(self, bundle: Bundle) -> None:
        """Raise a UsageError if it was learnt with another bundle: its numbers mean nothing to this one."""
        if self.scorer != bundle.scorer:
            ours, other = (
                f"{printable(name)} {printable(version)}" for name, version, _ in (self.scorer, bundle.scorer)
            )
            raise UsageError(
                f"taste '{self.name}' was learnt with the model {ours}, this one is {other}",
                mend="learn it again with this model: cgiaa taste learn, or choose the other with --model",
            )


def _folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("cgiaa", appauthor=False) / "tastes"


def _path(name: str) -> Path:
    check_name(name)
    return _folder() / f"{name}.json"


def check_name(name: str) -> None:
    """Raise a UsageError if a taste cannot have this name."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{escape(name)}' cannot be the name of a taste", mend="use letters, digits and . _ -, for example: mine"
        )


def names() -> list[str]:
    """Of all tastes that are kept."""
    return sorted(path.stem for path in _folder().glob("*.json") if _NAME.fullmatch(path.stem))


def load(name: str) -> Taste:
    """A taste that is kept.

    Raises:
        UsageError: there is none of that name, or its file is damaged.
    """
    path = _path(name)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        known = f"there are: {', '.join(names())}" if names() else "there is none yet; learn one: cgiaa taste learn"
        raise UsageError(f"there is no taste '{name}'", mend=known) from None
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    try:
        return _parsed(name, json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(f"not a taste that this version can read ({why})", path=escape(path), mend="learn it again")


def _parsed(name: str, found: Any) -> Taste:
    from cgiaa_cli.taste.learn import SCORES, Head

    if found["format"] != FORMAT:
        raise ValueError(f"format {found['format']!r}")
    head = found["head"]
    vector = np.array(head["embedding"], np.float64)
    scores = np.array([head["scores"][key] for key in SCORES], np.float64)
    intercept = float(head["intercept"])
    if vector.ndim != 1 or not np.isfinite([*vector, *scores, intercept]).all():
        raise ValueError("weights that are no numbers")
    bundle, version, preprocess = found["scorer"]
    return Taste(
        name=name,
        scorer=(str(bundle), str(version), str(preprocess)),
        made=str(found["made"]),
        ratings=int(found["ratings"]),
        measured=dict(found["measured"]),
        likes=tuple(map(str, found["likes"])),
        head=Head(vector, scores, intercept),
    )


def save(taste: Taste) -> Path:
    """Keep a taste, in the place of an older one of its name; whole or not at all.

    Raises:
        CgiaaError: it cannot be written.
    """
    from cgiaa_cli.taste.learn import SCORES

    path = _path(taste.name)
    weights = {
        "embedding": [float(f"{number:.9g}") for number in taste.head.vector],
        "scores": dict(zip(SCORES, map(float, taste.head.scores), strict=True)),
        "intercept": taste.head.intercept,
    }
    text = json.dumps(
        {
            "format": FORMAT,
            "scorer": taste.scorer,
            "made": taste.made,
            "ratings": taste.ratings,
            "measured": taste.measured,
            "likes": taste.likes,
            "head": weights,
        },
        indent=1,
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text + "\n", "utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        cause = f"cannot be written: {error.strerror or error}"
        raise CgiaaError(cause, path=escape(path), mend="make its folder writable") from error
    return path


def forget(name: str) -> None:
    """Delete a taste.

    Raises:
        UsageError: there is none of that name, or it cannot be deleted.
    """
    path = _path(name)
    try:
        path.unlink()
    except FileNotFoundError:
        load(name)  # which says what there is
    except OSError as error:
        raise UsageError(error.strerror or str(error), path=escape(path), mend="make its folder writable") from error
