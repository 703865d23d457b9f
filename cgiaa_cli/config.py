"""The user's config file: defaults for options that are the same on every run.

`config.toml` lies in the platform's config folder (`~/.config/cgiaa` on Linux); CGIAA_CONFIG names another one.
An option on the command line wins over an environment variable, which wins over this file.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import escape

__all__ = ["DEVICES", "Config", "config_path", "read_config", "write_model"]

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
        wanted = int if key == "jobs" else str
        if key not in Config.__dataclass_fields__:
            known = ", ".join(Config.__dataclass_fields__)
            raise ValueError(f"key '{key}' is not known (known are {known})")
        if type(value) is not wanted:
            raise ValueError(f"key '{key}' must be a {'number' if wanted is int else 'string'}")
    config = Config(**values)
    if config.device is not None and config.device not in DEVICES:
        raise ValueError(f"key 'device' must be one of {', '.join(DEVICES)}")
    if config.jobs is not None and config.jobs < 1:
        raise ValueError("key 'jobs' must be 1 or more")
    return config


def write_model(name: str) -> Path:
    """Set the key `model` and leave the rest of the file, comments too, as it is; make it where there is none."""
    path = config_path()
    if path.exists():
        read_config()  # a file that is wrong already is for the user to mend, not for us to rewrite
        text = path.read_text("utf-8")
    else:
        text = ""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(
            "the config file is UTF-8, which this name is not",
            path=escape(name),
            mend="give the bundle a name with: cgiaa models add FOLDER --name NAME",
        ) from None
    line = f"model = {json.dumps(name, ensure_ascii=False)}"
    text, found = re.subn(r"(?m)^[ \t]*model[ \t]*=.*$", lambda _: line, text, count=1)
    if not found:
        text = f"{line}\n{text}"
    try:
        written = _parse(text).model == name
    except ValueError:  # e.g. a control character in the name
        written = False
    if not written:
        raise UsageError(
            "key 'model' is written in a way that cannot be edited here",
            path=escape(path),
            mend=f"set it by hand: {line}",
        )
    try:
        _replace(path.resolve(), text)  # it may be a link into a folder of settings under version control
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror or error}", path=escape(path), mend=f"set it by hand: {line}"
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
