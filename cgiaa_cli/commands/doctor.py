"""`cgiaa doctor`: what this installation is made of, what is wrong with it, and how to mend that."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sqlite3
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cgiaa_cli import __version__, bundles
from cgiaa_cli.config import config_path, read_config
from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape, printable

__all__ = ["Check", "doctor"]

EXTRAS = {
    "heif": ("pillow-heif", "HEIC and HEIF photos"),
    "raw": ("rawpy", "RAW photos"),
    "parquet": ("pyarrow", "Parquet output"),
    "train": ("torch", "training"),
}


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
    results = json.dumps(bundle.results, ensure_ascii=False)
    checks.append(Check("results", State.ok, results if bundle.results else "none written down"))
    try:
        from cgiaa_cli.inference.engine import Engine

        engine = Engine(bundle, device or read_config().device or "auto")
    except CgiaaError as error:
        return [*checks, _failed("session", error)]
    used = f"runs on {engine.device}, got {', '.join(engine.providers)}"
    return [*checks, Check("session", State.ok, used)]


def _extra(extra: str, what: tuple[str, str]) -> Check:
    package, needed_for = what
    name = f"extra {extra}"
    if version := _version(package):
        return Check(name, State.ok, f"{package} {version}")
    mend = f"pip install 'cgiaa[{extra}]'"
    return Check(name, State.note, f"not installed; needed for {needed_for}", mend)


def _cache(db: Path | None) -> Check:
    path = _cache_path(db)
    if not path.exists():
        return Check("cache", State.ok, f"{escape(path)} (none yet)")
    try:
        with path.open("rb") as file:
            file.read(1)
        # mode=ro: looking must not make, migrate or repair anything
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)
        try:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        mend = "close the other program that uses it, or see whether the disk is full or read-only"
        return Check("cache", State.problem, f"{escape(path)}: {error}", mend)
    except (OSError, sqlite3.DatabaseError) as error:
        answer = str(error)
    if answer != "ok":
        mend = "move the file away; the next run makes a new one and scores the photos again"
        return Check("cache", State.fatal, f"{escape(path)}: {answer}", mend)
    return Check("cache", State.ok, f"{escape(path)} ({path.stat().st_size / 1e6:.1f} MB, sound)")


def _cache_path(db: Path | None) -> Path:
    if db is not None:
        return db
    from cgiaa_cli.cache.store import default_path

    return default_path()
