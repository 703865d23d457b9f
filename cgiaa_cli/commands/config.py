"""`cgiaa config`: read and write the user's config file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cgiaa_cli.commands.common import NOTHING
from cgiaa_cli.config import DEVICES, KEYS, config_path, get_value, read_config, set_value, unset_value
from cgiaa_cli.paths import escape, printable

__all__ = ["app"]

MEANINGS = {
    "model": "bundle: a name or a folder (see `cgiaa models`)",
    "db": "file of the cache",
    "device": f"one of {', '.join(DEVICES)}",
    "jobs": "photos decoded at a time",
    "stars": "limits of the stars, as `cgiaa annotate --stars` takes them",
}
WINS = {"model": "CGIAA_MODEL", "db": "CGIAA_DB"}  # environment variables that win over the file

app = typer.Typer(
    help="Read and write the config file: defaults for options that are the same on every run.", no_args_is_help=True
)


class Format(StrEnum):
    """How to print."""

    table = "table"
    json = "json"


Key = Annotated[
    str,
    typer.Argument(
        help=f"One of {', '.join(KEYS)}.",
        autocompletion=lambda incomplete: [k for k in KEYS if k.startswith(incomplete)],
    ),
]


@app.command()
def path() -> None:
    """Print where the config file is, or would be."""
    typer.echo(escape(config_path()))


@app.command()
def show(
    format: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
) -> None:
    """Show every key, what the config file says of it, and what it is for."""
    values = asdict(read_config())
    if format is Format.json:
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    width = max((len(str(value)) for value in values.values() if value is not None), default=1)
    for key, value in values.items():
        meaning = MEANINGS[key]
        if os.environ.get(WINS.get(key, "")):
            meaning += f"; {WINS[key]} is set and wins"
        typer.echo(printable(f"{key:8}{'-' if value is None else value!s:{width}}  {meaning}"))


@app.command()
def get(key: Key) -> None:
    """Print what the config file says of a key; exit 1 if it says nothing."""
    value = get_value(key)
    if value is None:
        raise typer.Exit(NOTHING)
    typer.echo(value)


@app.command("set")
def set_(key: Key, value: Annotated[str, typer.Argument(help="What it is to be.")]) -> None:
    """Set a key, and leave the rest of the file with its comments as it is."""
    if check := _CHECKS.get(key):
        value = check(value)
    typer.echo(printable(f"{key} = {value} ({escape(set_value(key, value))})"))


@app.command()
def unset(key: Key) -> None:
    """Remove a key, so that the program's own default holds; exit 1 if it was not set."""
    written = unset_value(key)
    if written is None:
        raise typer.Exit(NOTHING)
    typer.echo(printable(f"{key} is not set any more ({escape(written)})"))


def _model(value: str) -> str:
    from cgiaa_cli import bundles

    found = bundles.load(value)
    return value if value in bundles.installed() else str(found.folder.absolute())


def _db(value: str) -> str:
    # `~` is for the program to expand; another relative path would mean another file in every folder
    return value if value.startswith("~") else str(Path(value).absolute())


def _stars(value: str) -> str:
    from cgiaa_cli.annotate.stars import parse_stars

    parse_stars(value)
    return value


# what the file itself cannot tell: `cgiaa_cli.config` checks the rest
_CHECKS: dict[str, Callable[[str], str]] = {"model": _model, "db": _db, "stars": _stars}
