"""`cgiaa watch`: score photos as they arrive in some folders, until it is interrupted."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from cgiaa_cli.cache.rows import row_json
from cgiaa_cli.commands import common as c
from cgiaa_cli.commands.scan import progress
from cgiaa_cli.curation.select import excluder
from cgiaa_cli.errors import CgiaaError, ExtraMissingError, UsageError
from cgiaa_cli.library.settle import Settling, group_key
from cgiaa_cli.library.walk import Found, is_passed_by, walk
from cgiaa_cli.paths import absolute, escape, printable
from cgiaa_cli.pipeline import ScanOptions, ScanRow, ScanSummary, run_scan

__all__ = ["watch"]

Result = TypeVar("Result")
TICK_MS = 500  # how often to see whether a file has settled
UNDECODED = "Unable to decode path"  # what watchfiles says of a name that is not UTF-8


class Format(StrEnum):
    """How to print a photo."""

    line = "line"
    jsonl = "jsonl"


def watch(
    paths: Annotated[list[Path], typer.Argument(help="Folders.", metavar="PATH...", readable=False)],
    poll: Annotated[
        bool,
        typer.Option(
            "--poll", help="Look again and again, and do not wait to be told: for network drives, which tell nothing."
        ),
    ] = False,
    settle: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Score a file that nothing has happened to for so long; with --poll also how often to look.",
        ),
    ] = 2.0,
    format: Annotated[
        Format, typer.Option("--format", help="The score and the path, or a line of JSON as `scan` prints it.")
    ] = Format.line,
    db: c.Db = None,
    model: c.Model = None,
    device: c.Device = None,
    jobs: c.Jobs = None,
    exclude: c.Exclude = None,
) -> None:
    """Score what is new in some folders, then every photo that arrives or changes there, until Ctrl-C (exit 130).

    Prints a row for each photo once it is scored. Nothing is removed, from the folders or from the cache.
    """
    roots = _roots(paths)
    changes = _changes(roots, poll, settle)
    excluded = excluder(roots, exclude or ())
    settling = Settling(settle)
    options = ScanOptions(roots, db, model, device, jobs, exclude=exclude or ())
    print_new = _print_json if format is Format.jsonl else _print_line
    score = partial(run_scan, on_new=print_new, on_failure=_say_failure)

    next(changes)  # from here on nothing is missed, so the scan may take its time
    with progress(roots, exclude or ()) as on_progress:
        _say_start(score(options, leave=_unfinished(settling, settle), on_progress=on_progress))
    for changed in changes:
        for path in changed:
            if not excluded(escape(path)) and not _is_passed_by(path, roots):
                settling.touch(path)
        _while_there(lambda photos: score(replace(options, paths=photos, exclude=())), _photos(settling, excluded))


def _roots(paths: Sequence[Path]) -> list[Path]:
    roots = [absolute(path) for path in paths]
    walk(roots)  # which raises where one does not exist
    for root in roots:
        if not root.is_dir():
            raise UsageError("not a folder", path=escape(root), mend="name the folder it is in")
    return roots


def _changes(roots: Sequence[Path], poll: bool, settle: float) -> Iterator[list[str]]:
    """Paths to which something happened, at least every `TICK_MS`, from the first `next` on.

    watchfiles stops at a name that is not UTF-8. Then it begins again, and the folders themselves are among the paths,
    since what else happened is not known.

    Raises:
        ExtraMissingError: watchfiles is not installed.
        CgiaaError: the system cannot watch the folders, or one of them is gone.
    """
    lost: list[str] = []
    while True:
        try:
            for changed in _told(roots, poll, settle):
                yield lost + changed
                lost = []
            return
        except (OSError, RuntimeError) as error:  # watchfiles' own: too many folders for the system, say
            what = " ".join(str(error).split())
            if UNDECODED not in what:
                mend = "try --poll"
                raise CgiaaError(f"cannot be watched: {what}", path=escape(roots[0]), mend=mend) from error
        lost = [str(root) for root in roots]
        time.sleep(TICK_MS / 1000)  # a file that is being written would end it again at once


def _told(roots: Sequence[Path], poll: bool, settle: float) -> Iterator[list[str]]:
    """What watchfiles tells, until it stops."""
    try:
        import watchfiles
    except ImportError:
        raise ExtraMissingError("watch", "watching folders") from None
    for changes in watchfiles.watch(
        *roots,
        watch_filter=None,  # `walk` decides what is a photo
        rust_timeout=TICK_MS,
        yield_on_timeout=True,
        force_polling=poll or None,
        poll_delay_ms=int(settle * 1000),
        ignore_permission_denied=True,
    ):
        for root in roots:
            if not os.path.isdir(root):
                raise CgiaaError("the folder is gone", path=escape(root), mend="mount or make it, and begin again")
        # a folder's own changes are those of its files; a new one may have had some before it was watched
        added, deleted = watchfiles.Change.added, watchfiles.Change.deleted
        yield sorted(p for c, p in changes if c is not deleted and (c is added or not os.path.isdir(p)))


def _unfinished(settling: Settling, settle: float) -> Callable[[Found], bool]:
    """For the scan at the start: whether a photo may still be written; then it has to settle like those that come."""

    def unfinished(photo: Found) -> bool:
        fresh = abs(time.time() - photo.mtime_ns / 1e9) < settle
        for file in (photo.path, *photo.companions) if fresh else ():
            settling.touch(str(file))
        return fresh

    return unfinished


def _is_passed_by(path: str, roots: Sequence[Path]) -> bool:
    """Whether a scan would not enter the folder that this is, or one that it is in, below a watched one."""
    for root in roots:
        if Path(path).is_relative_to(root):
            *folders, name = Path(path).relative_to(root).parts or ("",)
            return any(map(is_passed_by, folders)) or (is_passed_by(name) and os.path.isdir(path))
    return False


def _photos(settling: Settling, excluded: Callable[[str], bool]) -> list[Path]:
    """The photos that have settled, with the files that each of them belongs together with."""
    wanted: dict[str, set[tuple[str, str]]] = {}
    for path in settling.take():
        if os.path.isdir(path):
            for file in _walk([Path(path)]):
                settling.touch(str(file))
        else:
            wanted.setdefault(os.path.dirname(path), set()).add(group_key(path))
    found: list[Path] = []
    for folder, keys in wanted.items():
        try:
            files = [os.path.join(folder, name) for name in os.listdir(folder)]
        except OSError:  # it has gone meanwhile
            continue
        found += _walk([Path(file) for file in files if group_key(file) in keys and not excluded(escape(file))])
    return found


def _walk(paths: Sequence[Path]) -> list[Path]:
    """The photos among files and below folders, and their RAWs; what is not a photo is not worth a line here."""
    found = [item for item in _while_there(lambda there: list(walk(there)), paths) or () if isinstance(item, Found)]
    return [file for photo in found for file in (photo.path, *photo.companions)]


def _while_there(act: Callable[[Sequence[Path]], Result], paths: Sequence[Path]) -> Result | None:
    """`act` on those of the paths that exist; None if there is none. A path may go at any moment."""
    while paths:
        try:
            return act(paths)
        except UsageError:
            there = [path for path in paths if path.exists()]
            if len(there) == len(paths):
                raise
            paths = there
    return None


def _print_line(row: ScanRow) -> None:
    if row.scores:
        _print(printable(f"{row.scores.score:5.2f}  {row.path}"))


def _print_json(row: ScanRow) -> None:
    _print(json.dumps(row_json(row.record), ensure_ascii=False))


def _print(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()  # whoever reads a pipe wants it now


def _say_failure(row: ScanRow) -> None:
    typer.echo(printable(f"cgiaa: {row.path}: {row.error}"), err=True)


def _say_start(summary: ScanSummary) -> None:
    if sys.stderr.isatty():
        typer.echo(f"cgiaa: watching {summary.photos} photos; Ctrl-C ends it", err=True)
