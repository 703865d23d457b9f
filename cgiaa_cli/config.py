"""The user's config file: defaults for options that are the same on every run.

`config.toml` lies in the platform's config folder (`~/.config/cgiaa` on Linux); CGIAA_CONFIG names another one.
An option on the command line wins over an environment variable, which wins over this file.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import escape

__all__ = [
    "DEVICES",
    "KEYS",
    "Config",
    "config_path",
    "get_value",
    "read_config",
    "set_value",
    "unset_value",
]

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Config:
    """What the config file says; None where it says nothing.

    Attributes:
        model: name of a bundle or path of its folder.
        db: path of the cache.
        device: one of `DEVICES`.
        jobs: number of photos decoded at a time.
        stars: limits of the stars, as `annotate --stars` takes them.
    """

    model: str | None = None
    db: str | None = None
    device: str | None = None
    jobs: int | None = None
    stars: str | None = None


KEYS = tuple(field.name for field in fields(Config))


def config_path() -> Path:
    """Where the config file is, or would be."""
    from platformdirs import user_config_path

    named = os.environ.get("CGIAA_CONFIG")
    return Path(named) if named else user_config_path("cgiaa", appauthor=False) / "config.toml"


def read_config() -> Config:
    """Read the config file; without one, a `Config` that says nothing.

    Raises:
        UsageError: the file cannot be read, is not TOML, or has a key or value that means nothing.
    """
    path = config_path()
    try:
        return _parse(path.read_text("utf-8"))
    except FileNotFoundError:
        if os.environ.get("CGIAA_CONFIG"):
            raise UsageError("no such config file", path=escape(path), mend="correct or unset CGIAA_CONFIG") from None
        return Config()
    except OSError as error:
        raise UsageError(
            error.strerror or "cannot be read", path=escape(path), mend="make the config file readable"
        ) from error
    except ValueError as error:  # not UTF-8, not TOML, or what `_parse` refused
        raise UsageError(str(error), path=escape(path), mend="correct the config file") from error


def _parse(text: str) -> Config:
    values = tomllib.loads(text)
    for key, value in values.items():
        if key not in KEYS:
            raise ValueError(f"key '{key}' is not known ({_nearest(key)})")
        if type(value) is not _type(key):
            raise ValueError(f"key '{key}' must be a {'number' if _type(key) is int else 'string'}")
    config = Config(**values)
    if config.device is not None and config.device not in DEVICES:
        raise ValueError(f"key 'device' must be one of {', '.join(DEVICES)}")
    if config.jobs is not None and config.jobs < 1:
        raise ValueError("key 'jobs' must be 1 or more")
    return config


def _type(key: str) -> type:
    return int if key == "jobs" else str


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, KEYS, 1)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(KEYS)}"


def get_value(key: str) -> str | int | None:
    """What the config file says of `key`; None where it says nothing.

    Raises:
        UsageError: there is no such key, or the file is wrong.
    """
    _require_known(key)
    value: str | int | None = getattr(read_config(), key)
    return value


def set_value(key: str, text: str) -> Path:
    """Set one key and leave the rest of the file, comments too, as it is; make it where there is none.

    Raises:
        UsageError: the key or the value means nothing, or the file is wrong or cannot be written.
    """
    _require_known(key)
    value: str | int = text
    if _type(key) is int:
        try:
            value = int(text)
        except ValueError:
            raise UsageError(f"{key}: '{text}' is not a number", mend=f"write for example: {key} 4") from None
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            "the config file is UTF-8, which this name is not",
            path=escape(text),
            mend="give the file or folder another name",
        ) from None
    return _edit(lambda document: document.update({key: value}), f"{key} = {json.dumps(value, ensure_ascii=False)}")


def unset_value(key: str) -> Path | None:
    """Remove one key, and leave the rest as it is; None where it was not set.

    Raises:
        UsageError: there is no such key, or the file is wrong or cannot be written.
    """
    if get_value(key) is None:
        return None
    return _edit(lambda document: document.remove(key), f"remove {key}")


def _require_known(key: str) -> None:
    if key not in KEYS:
        raise UsageError(f"key '{key}' is not known", mend=_nearest(key))


def _edit(change: Callable[[Any], object], by_hand: str) -> Path:
    """Change the file's text as tomlkit does, which keeps what a person wrote around the values."""
    import tomlkit

    path = config_path()
    if path.exists():
        read_config()  # a file that is wrong already is for the user to mend, not for us to rewrite
    try:
        document = tomlkit.parse(path.read_text("utf-8") if path.exists() else "")
        change(document)
        text = tomlkit.dumps(document)
        _parse(text)
    except ValueError as error:
        raise UsageError(str(error), mend=f"nothing was written to {escape(path)}") from error
    try:
        _replace(path.resolve(), text)  # it may be a link into a folder of settings under version control
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror or error}", path=escape(path), mend=f"do it by hand: {by_hand}"
        ) from error
    return path


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
