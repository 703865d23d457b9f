"""`cgiaa cache`: look into the cache, clean it, export it."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cgiaa_cli.cache import maintain
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.commands.common import NOTHING, Db
from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import escape, printable

__all__ = ["app"]

app = typer.Typer(help="Look into the cache, clean it, export it.", no_args_is_help=True)


class Format(StrEnum):
    """How to print."""

    table = "table"
    json = "json"


class ExportFormat(StrEnum):
    """What to write."""

    parquet = "parquet"
    jsonl = "jsonl"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]


@app.command("info")
def info_(db: Db = None, format: FormatOption = Format.table) -> None:
    """Show where the cache is and what is in it."""
    with Cache.open(db, create=False) as cache:
        found = maintain.info(cache)
    if format is Format.json:
        _print_json(found)
        return
    failed = ", ".join(f"{count} {kind}" for kind, count in found["failed"].items())
    lines = [
        ("cache", found["path"]),
        ("size", f"{found['bytes'] / 1e6:.1f} MB"),
        ("schema", f"version {found['schema']}"),
        ("photo files", f"{found['files']} ({found['contents']} different scored)"),
        ("failed", f"{sum(found['failed'].values())}" + (f" ({failed})" if failed else "")),
        ("missing", f"{found['missing']}"),
        *(("folder", root) for root in found["roots"]),
        *(
            ("scores", f"{s['scores']} by {s['bundle']} {s['version']} (preprocess {s['preprocess']})")
            for s in found["scorers"]
        ),
    ]
    for name, text in lines:
        typer.echo(printable(f"{name:12}  {text}"))


@app.command()
def prune(
    db: Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only, remove nothing.")] = False,
    missing_roots: Annotated[
        bool,
        typer.Option("--missing-roots", help="Also drop folders of which not one photo is there."),
    ] = False,
    format: FormatOption = Format.table,
) -> None:
    """Forget the photos that are gone from the disk, and their scores.

    Where every photo of a scanned folder is gone, a disk may be unmounted: then nothing is removed (exit 2).
    """
    with Cache.open(db, create=False) as cache:
        pruned = maintain.prune(cache, missing_roots=missing_roots, dry_run=dry_run)
    if format is Format.json:
        _print_json(asdict(pruned) | {"dry_run": dry_run})
        return
    verb = "would remove" if dry_run else "removed"
    typer.echo(f"{verb} {pruned.files} files that are gone, and the scores of {pruned.contents} photos")


@app.command()
def vacuum(db: Db = None, format: FormatOption = Format.table) -> None:
    """Make the cache's file as small as it can be."""
    with Cache.open(db, create=False) as cache:
        before, after = maintain.vacuum(cache)
    if format is Format.json:
        _print_json({"bytes_before": before, "bytes_after": after})
    else:
        typer.echo(f"{before / 1e6:.1f} MB -> {after / 1e6:.1f} MB")


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="File to write.", metavar="FILE")],
    db: Db = None,
    format: Annotated[ExportFormat | None, typer.Option("--format", help="By default from the file's suffix.")] = None,
    bundle: Annotated[str | None, typer.Option(help="Only scores of the bundle of this name.")] = None,
    embeddings: Annotated[bool, typer.Option(help="With the embeddings.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Write scores and embeddings to a Parquet or JSONL file; exit 1 if there are none."""
    kind = format or _by_suffix(target)
    write = maintain.export_parquet if kind is ExportFormat.parquet else maintain.export_jsonl
    with Cache.open(db, create=False) as cache:
        rows = maintain.export_rows(cache, bundle=bundle, embeddings=embeddings)
        count = write(rows, target, force=force)
    typer.echo(printable(f"{count} rows -> {escape(target)}"))
    if not count:
        raise typer.Exit(NOTHING)


def _by_suffix(target: Path) -> ExportFormat:
    try:
        return ExportFormat(target.suffix.lower().removeprefix("."))
    except ValueError:
        raise UsageError(
            "the suffix does not tell what to write",
            path=escape(target),
            mend="add --format parquet or jsonl",
        ) from None


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
