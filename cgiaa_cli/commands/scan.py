"""`cgiaa scan`: score photos into the cache, without printing a ranking."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cgiaa_cli.cache.rows import row_json
from cgiaa_cli.commands import common as c
from cgiaa_cli.paths import absolute, printable
from cgiaa_cli.pipeline import ScanOptions, ScanRow, ScanSummary, run_scan

__all__ = ["progress", "scan", "score_new"]


class Format(StrEnum):
    """What to print on stdout."""

    summary = "summary"
    jsonl = "jsonl"


def scan(
    paths: c.Paths,
    db: c.Db = None,
    model: c.Model = None,
    device: c.Device = None,
    jobs: c.Jobs = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos scored at a time.")] = 16,
    exclude: c.Exclude = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Read every file, even if size and time are the same.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed in an earlier scan.")
    ] = False,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Refuse photos with more pixels.")] = None,
    format: Annotated[
        Format, typer.Option("--format", help="A line of counts, or every photo as a line of JSON.")
    ] = Format.summary,
) -> None:
    """Score photos into the cache. Exit 1 if there is no photo, 3 if some failed or were skipped."""
    excluded = exclude or []
    options = ScanOptions(paths, db, model, device, jobs, batch_size, excluded, recheck, retry_failed, max_pixels)
    with progress(paths, excluded) as on_progress:
        summary = run_scan(
            options,
            on_row=_print_row if format is Format.jsonl else None,
            on_failure=_say_failure,
            on_progress=on_progress,
        )
    if format is Format.summary:
        typer.echo(_line(summary))
    if summary.failed or summary.skipped:
        raise typer.Exit(c.SOME_FAILED)
    if not summary.photos:
        raise typer.Exit(c.NOTHING)


def _print_row(row: ScanRow) -> None:
    typer.echo(json.dumps(row_json(row.record), ensure_ascii=False))


def _say_failure(row: ScanRow) -> None:
    typer.echo(printable(f"cgiaa: {row.path}: {row.error}"), err=True)


def _line(summary: ScanSummary) -> str:
    counts = f"{summary.scored} scored, {summary.unchanged} unchanged, {summary.failed} failed"
    skipped = f", {summary.skipped} skipped" if summary.skipped else ""
    missing = f", {summary.missing} gone since the last scan" if summary.missing else ""
    return f"{summary.photos} photos: {counts}{skipped}{missing}"


def score_new(options: ScanOptions) -> list[dict[str, Any]]:
    """Score what is new, and show how far it is; returns what the cache has no row for: it could not even be read."""
    skipped: list[dict[str, Any]] = []

    def note(row: ScanRow) -> None:
        if row.record.keys() <= {"path", "error", "error_kind"}:
            skipped.append(row_json(row.record))

    with progress(options.paths, options.exclude) as on_progress:
        run_scan(options, on_failure=note, on_progress=on_progress)
    return skipped


@contextlib.contextmanager
def progress(paths: Sequence[Path], exclude: Sequence[str]) -> Iterator[Callable[[ScanSummary], None] | None]:
    """A progress bar on stderr while the block runs; None where stderr is no terminal.

    The total comes from a second walk beside the scan, which is ahead of it as soon as photos are scored; it
    begins with the first photo that has to be, so a rescan of unchanged photos is not slowed down by it.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failures]}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else rich would take what is meant for a pipe
    )
    task = bar.add_task("scanning", total=None, rate="", failures="")
    stopped = threading.Event()

    def count() -> None:
        total = _count(paths, exclude, stopped)
        if total is not None:
            bar.update(task, total=total)

    def show(summary: ScanSummary) -> None:
        done = summary.scored + summary.unchanged + summary.failed
        if done < summary.photos and counter.ident is None:
            counter.start()
        failures = f"{summary.failed} failed" if summary.failed else ""
        bar.update(task, completed=done, failures=failures)
        # rich knows no speed before the second update
        speed = bar.tasks[task].speed or done / max(bar.tasks[task].elapsed or 0.0, 0.1)
        bar.update(task, rate=f"{speed:.{speed < 10:d}f} photos/s" if done else "")

    counter = threading.Thread(target=count, daemon=True)
    with bar:
        try:
            yield show
        finally:
            stopped.set()
            if counter.ident is not None:
                counter.join()


def _count(paths: Sequence[Path], exclude: Sequence[str], stopped: threading.Event) -> int | None:
    """How many photos there are; None if the scan ended first or a path is wrong (the scan says so)."""
    from cgiaa_cli.errors import CgiaaError
    from cgiaa_cli.library.walk import walk

    total = 0
    try:
        items: Iterator[Any] = iter(walk([absolute(path) for path in paths], exclude))
        for item in items:
            if stopped.is_set():
                return None
            total += hasattr(item, "mtime_ns")
    except (CgiaaError, OSError):
        return None
    return total
