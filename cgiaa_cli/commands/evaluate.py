"""`cgiaa evaluate`: what a bundle reaches on rated photos that it did not learn from."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cgiaa_cli import bundles
from cgiaa_cli.commands.training import needs_training
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.paths import escape, printable

__all__ = ["evaluate"]


class Format(StrEnum):
    """How to print."""

    table = "table"
    json = "json"


def evaluate(
    bundle: Annotated[str | None, typer.Argument(help="Name or folder; without it, the one in use.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the rated sets, see docs/data.md.")] = Path("data"),
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            help="oasis_scenes, biq2021, savoias, fcdb_pairs, fcdb_crop, damage (without it, all of these), "
            "or any other set of docs/data.md: its test photos.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Your own ratings: CSV, JSONL or Parquet with a column `photo` and one of numbers."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline", help="Measure beside it on the same photos: nima (AVA-trained), smartcrop (crops only)."
        ),
    ] = None,
    critiques: Annotated[
        bool, typer.Option("--critiques", help="Measure the critiques instead, see docs/critiques.md.")
    ] = False,
    count: Annotated[int, typer.Option(min=2, help="With --critiques: photos.")] = 500,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --critiques: write them there, beside their photos.")
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the results into the bundle.")] = False,
    photos: Annotated[
        Path | None, typer.Option("--photos", help="Write a CSV, one row a photo, the worst ranked first.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Measure a bundle on held-out photos, with 95 % bootstrap intervals."""
    if manifest is not None and on:
        raise UsageError("--manifest and --on exclude each other", mend="run them one after the other")
    if manifest is not None and record:
        raise UsageError("--record is for the sets of docs/data.md, not for --manifest", mend="leave one of them out")
    if critiques and (on or manifest is not None or baseline or photos is not None):
        raise UsageError("--critiques goes with --data, --count, --out and --record", mend="leave the others out")
    if out is not None and not critiques:
        raise UsageError("--out is for --critiques", mend="add --critiques, or leave it out")
    if critiques:
        results = _critiques(bundle, data, count, out, record=record, device=device)
    else:
        chosen, found = _scores(bundle, data, on or (), manifest, baseline or (), device)
        results = {one.name: one.numbers for one in found}
        if record:
            bundles.record(chosen, results)
        if photos is not None:
            _write_photos(photos, found)
    _print(results, format)


def _scores(
    bundle: str | None, data: Path, on: Sequence[str], manifest: Path | None, baselines: Sequence[str], device: str
) -> tuple[bundles.Bundle, list[Any]]:
    """The bundle, and what its scores reach on the sets or on the manifest."""
    with needs_training("evaluating a bundle"):
        from cgiaa_training.evaluate import look_of, measure, measure_manifest
    from cgiaa_cli.inference.engine import Engine

    chosen = bundles.load(bundle)
    look = look_of(Engine(chosen, device))
    if manifest is not None:
        return chosen, list(measure_manifest(look, manifest, baselines=baselines, say=_say))
    return chosen, list(measure(look, data, on, baselines=baselines, say=lambda name: _say(f"{name} ...")))


def _critiques(
    bundle: str | None, data: Path, count: int, out: Path | None, *, record: bool, device: str
) -> dict[str, Any]:
    """The report on a bundle's critiques, over a cache of its own."""
    with needs_training("evaluating critiques"):
        from cgiaa_training.critique_report import critique_report
    from tempfile import TemporaryDirectory

    from cgiaa_cli.critique.session import Session

    with TemporaryDirectory() as folder, Session(Path(folder) / "cache.db", bundle, device) as session:
        results: dict[str, Any] = critique_report(session, data, count, out, _say)
        if record:
            bundles.record(session.bundle, results)
    return results


def _print(results: dict[str, Any], format: Format) -> None:
    if format is Format.json:
        typer.echo(json.dumps(_defined(results), indent=2))
        return
    for name, numbers in results.items():
        typer.echo(printable(f"{name:44}  {_line(numbers)}"))


def _say(line: str) -> None:
    typer.echo(printable(line), err=True)


def _line(numbers: dict[str, Any]) -> str:
    parts: list[str] = []
    for key, value in numbers.items():
        if key.endswith("_95"):
            parts[-1] += f" [{value[0]:.3f}, {value[1]:.3f}]"
        else:
            parts.append(f"{key} {value}")
    return "  ".join(parts)


def _defined(value: Any) -> Any:
    """NaN, which JSON does not have, as null: the correlation of a constant is not defined."""
    if isinstance(value, dict):
        return {key: _defined(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _write_photos(path: Path, found: list[Any]) -> None:
    """A CSV of what was said of each photo and what people say; whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["result", "photo", "predicted", "rated", "rank_error"])
            for one in found:
                rows = zip(one.photos, one.predicted, one.truth, one.rank_errors(), strict=True)
                for photo, predicted, truth, off in sorted(rows, key=lambda row: -abs(row[3])):
                    writer.writerow([one.name, photo, f"{predicted:.4f}", f"{truth:.4f}", f"{off:.3f}"])
        os.replace(temporary, path)
    except OSError as error:
        raise CgiaaError(
            error.strerror or "cannot be written", path=escape(path), mend="name another --photos"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
