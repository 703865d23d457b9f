"""`cgiaa doctor`: what this installation is made of, what is wrong with it, and how to mend that."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import sqlite3
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cgiaa_cli import __version__, bundles
from cgiaa_cli.config import config_path, read_config
from cgiaa_cli.errors import CacheError, CgiaaError
from cgiaa_cli.paths import escape, printable

__all__ = ["Check", "doctor"]

# name: package, its module (None: importing it takes seconds), what it is for
EXTRAS: dict[str, tuple[str, str | None, str]] = {
    "heif": ("pillow-heif", "pillow_heif", "HEIC and HEIF photos"),
    "raw": ("rawpy", "rawpy", "RAW photos"),
    "parquet": ("pyarrow", "pyarrow", "Parquet output"),
    "watch": ("watchfiles", "watchfiles", "watching folders"),
    "review": ("starlette", "starlette", "the page of review"),
    "faces": ("opencv-python-headless", None, "seeing closed eyes in bursts"),
    "words": ("tokenizers", "tokenizers", "searching by words with CLIP-like models"),
    "train": ("torch", None, "training"),
}
LOOK_SECONDS = 5.0  # at a cache of many gigabytes


class State(StrEnum):
    """How a check went; `fatal` means that nothing can be scored."""

    ok = "ok"
    note = "note"
    problem = "problem"
    fatal = "fatal"


@dataclass(frozen=True)
class Check:
    """One line of the answer.

    Attributes:
        mend: what to do about it; None where there is nothing to do.
    """

    name: str
    state: State
    text: str
    mend: str | None = None


class Format(StrEnum):
    """How to print."""

    table = "table"
    json = "json"


def doctor(
    model: Annotated[str | None, typer.Option(help="Bundle to look at: a name or a folder.")] = None,
    db: Annotated[Path | None, typer.Option(help="Cache to look at.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    format: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
) -> None:
    """Check this installation and say how to mend it; exit 2 if nothing can be scored."""
    checks = [
        Check("python", State.ok, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Check("cgiaa", State.ok, __version__),
        _config(),
        _onnxruntime_packages(),
        *_scoring(model, device),
        *(_extra(*item) for item in EXTRAS.items()),
        _cache(db),
    ]
    if format is Format.json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        for check in checks:
            typer.echo(printable(f"{check.state:8} {check.name:12} {check.text}"))
            if check.mend:
                typer.echo(printable(f"{'':21} -> {check.mend}"))
    if any(check.state is State.fatal for check in checks):
        raise typer.Exit(2)


def _failed(name: str, error: CgiaaError) -> Check:
    where = f"{error.path}: " if error.path else ""
    return Check(name, State.fatal, where + error.cause, error.mend)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _config() -> Check:
    path = escape(config_path())
    try:
        config = read_config()
    except CgiaaError as error:
        return _failed("config", error)
    said = ", ".join(f"{key}={value}" for key, value in asdict(config).items() if value is not None)
    return Check("config", State.ok, f"{path} ({said or 'nothing set'})")


def _onnxruntime_packages() -> Check:
    found = {name: v for name in ("onnxruntime", "onnxruntime-gpu") if (v := _version(name))}
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    if len(found) == 2:  # they share one folder: whichever was installed last has overwritten the other
        mend = "pip uninstall onnxruntime onnxruntime-gpu; pip install 'cgiaa[cpu]' or 'cgiaa[gpu]', not both"
        return Check("onnxruntime", State.problem, f"both {text} are installed", mend)
    if not found:
        mend = "pip install 'cgiaa[cpu]' (or 'cgiaa[gpu]' for CUDA)"
        return Check("onnxruntime", State.fatal, "not installed", mend)
    return Check("onnxruntime", State.ok, text)


def _scoring(model: str | None, device: str | None) -> list[Check]:
    """The bundle, what was measured of it, and the providers of a session that really runs it."""
    try:
        bundle = bundles.load(model)
    except CgiaaError as error:
        return [_failed("bundle", error)]
    text = f"{bundle.name} {bundle.version}, every file as written, {escape(bundle.folder)}"
    checks = [Check("bundle", State.ok, text)]
    checks += [Check("result", State.ok, line) for line in bundle.measured() or ["none written down"]]
    try:
        from cgiaa_cli.inference.engine import Engine

        engine = Engine(bundle, device or read_config().device or "auto")
    except CgiaaError as error:
        return [*checks, _failed("session", error)]
    used = f"runs on {engine.device}, got {', '.join(engine.providers)}"
    return [*checks, Check("session", State.ok, used)]


def _extra(extra: str, what: tuple[str, str | None, str]) -> Check:
    package, module, needed_for = what
    name = f"extra {extra}"
    version = _version(package)
    if version is None:
        return Check(name, State.note, f"not installed; needed for {needed_for}", f"pip install 'cgiaa[{extra}]'")
    try:
        if module:
            importlib.import_module(module)
    except Exception as error:  # whatever a broken package raises
        cause = " ".join(f"{package} {version} cannot be imported ({type(error).__name__}: {error})".split())
        mend = f"pip install --force-reinstall {package}"
        return Check(name, State.problem, f"{cause}; needed for {needed_for}", mend)
    return Check(name, State.ok, f"{package} {version}")


def _cache(db: Path | None) -> Check:
    from cgiaa_cli.cache.connection import is_writable
    from cgiaa_cli.cache.store import default_path, guard

    try:
        path = db if db is not None else default_path()
        if not os.path.lexists(path):
            return _no_cache_yet(path)
        with guard(escape(path)):
            found = _look(path)
    except CgiaaError as error:
        return _failed("cache", error)
    if found != "sound" and not found.startswith("no fault"):
        mend = "move the file away; the next run makes a new one and scores the photos again"
        return Check("cache", State.fatal, f"{escape(path)}: {found}", mend)
    text = f"{escape(path)} ({path.stat().st_size / 1e6:.1f} MB, {found})"
    if not is_writable(path):
        mend = "rank and filter --no-scan work; to score photos make it and its folder writable, or choose another --db"
        return Check("cache", State.problem, f"{text}, but it is read-only", mend)
    return Check("cache", State.ok, text)


def _no_cache_yet(path: Path) -> Check:
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if above.is_dir() and os.access(above, os.W_OK):
        return Check("cache", State.ok, f"{escape(path)} (none yet)")
    mend = "choose another place with --db or CGIAA_DB"
    return Check("cache", State.fatal, f"{escape(path)} cannot be made: {escape(above)} is no writable folder", mend)


def _look(path: Path) -> str:
    """What SQLite finds wrong with the cache, or that it is sound; raises what opening and reading it raises."""
    from cgiaa_cli.cache.connection import connect_to_read
    from cgiaa_cli.cache.schema import check

    if path.is_dir():
        raise CacheError("this is a folder", path=escape(path), mend="give --db the name of a file")
    connection = connect_to_read(path, timeout=2)
    try:
        check(connection, escape(path))
        until = time.monotonic() + LOOK_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > until, 1000)
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0]).replace("ok", "sound")
    except sqlite3.OperationalError as error:
        if str(error) != "interrupted":
            raise
        return f"no fault found in the first {LOOK_SECONDS:.0f} s"
    finally:
        connection.close()
