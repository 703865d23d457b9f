"""`cgiaa models`: the model bundles on this machine."""

from __future__ import annotations

import json
import textwrap
from enum import StrEnum
from typing import Annotated, Any

import typer

from cgiaa_cli import bundles
from cgiaa_cli.errors import BundleError
from cgiaa_cli.paths import escape, printable

__all__ = ["app"]

LICENCE_WIDTH = 30  # `show` has the whole text

app = typer.Typer(help="List, verify, add and choose model bundles.", no_args_is_help=True)


class Format(StrEnum):
    """How to print."""

    table = "table"
    json = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
Name = Annotated[str | None, typer.Argument(help="Name or folder; without it, the bundle in use.")]


@app.command("list")
def list_(format: FormatOption = Format.table) -> None:
    """List the installed bundles and mark the one in use."""
    current = bundles.chosen()
    rows = [_row(name, current) for name in bundles.installed()]
    if current not in {row["name"] for row in rows}:
        rows.append(_row(current, current))
    if format is Format.json:
        _print_json(rows)
        return
    cells = [["", "name", "version", "licence", "folder"]]
    for row in rows:
        mark = "*" if row["in_use"] else " "
        licence = textwrap.shorten(row["licence"], LICENCE_WIDTH, placeholder=" ...")
        cells.append([mark, row["name"], row["version"], licence, row["error"] or row["folder"]])
    _print_table(cells)


def _row(name: str, current: str) -> dict[str, Any]:
    row = {"name": escape(name), "in_use": name == current, "version": "-", "licence": "-"}
    row |= {"folder": None, "error": None}
    try:
        bundle = bundles.load(name, verify=False)
    except BundleError as error:
        return row | {"error": str(error)}
    licence = str(bundle.manifest.get("licence", "-"))
    return row | {"version": bundle.version, "licence": licence, "folder": escape(bundle.folder)}


@app.command()
def show(name: Name = None, format: FormatOption = Format.table) -> None:
    """Show what a bundle is made of and what was measured of it."""
    bundle = bundles.load(name, verify=False)
    if format is Format.json:
        _print_json(bundle.manifest | {"folder": escape(bundle.folder)})
        return
    manifest = bundle.manifest
    cells = [["name", bundle.name], ["version", bundle.version], ["folder", escape(bundle.folder)]]
    cells += [[key, str(manifest[key])] for key in ("created", "licence", "preprocess_hash") if key in manifest]
    for key in ("training_data", "weights"):
        for item in manifest.get(key, []):
            cells.append([key, ", ".join(str(part) for part in item.values())])
    cells += [["result", line] for line in bundle.measured()]
    _print_table(cells)


@app.command()
def verify(name: Name = None, format: FormatOption = Format.table) -> None:
    """Compare every file of a bundle with its sha256; exit 2 if one differs."""
    bundle = bundles.load(name)
    files = {file: {"sha256": sha, "ok": True} for file, sha in bundle.manifest["files"].items()}
    if format is Format.json:
        _print_json({"name": bundle.name, "version": bundle.version, "files": files})
    else:
        _print_table([[file, "ok", bundle.manifest["files"][file]] for file in files])


@app.command()
def use(name: Annotated[str, typer.Argument(help="Name of an installed bundle, or a folder.")]) -> None:
    """Use a bundle from now on, where --model and CGIAA_MODEL do not say otherwise."""
    written = bundles.use(name)
    typer.echo(f"{escape(name)} is in use now ({printable(escape(written))})")


@app.command()
def add(
    folder: Annotated[str, typer.Argument(help="Folder with one bundle in or below it.")],
    name: Annotated[str | None, typer.Option(help="Name to give it; its own by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another bundle of that name.")] = False,
) -> None:
    """Copy a bundle to where it can be used by name."""
    bundle = bundles.add(folder, name=name, force=force)
    typer.echo(f"added {bundle.folder.name} {bundle.version}; use it with: cgiaa models use {bundle.folder.name}")


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(cells: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(printable(line.rstrip()))
