"""`cgiaa groups`: copies, bursts, brackets and panoramas, each with the photo to keep and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from cgiaa_cli import bundles
from cgiaa_cli.cache.rows import row_json
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.commands.choosing import Db, Device, Exclude, Jobs, Model, NoScan
from cgiaa_cli.commands.common import NOTHING, SOME_FAILED, say
from cgiaa_cli.commands.scan import progress
from cgiaa_cli.curation.groups import KINDS, Group, by_eyes, find_groups
from cgiaa_cli.curation.groups_eyes import MEASURED_PHOTOS, Note, measurable
from cgiaa_cli.curation.groups_kept import decide, members_of, remember
from cgiaa_cli.curation.groups_photos import Photos, fill_looks, read_photos
from cgiaa_cli.curation.groups_reasons import group_rows
from cgiaa_cli.curation.output import _bold, _folder_prefix
from cgiaa_cli.curation.select import Hit, Selection, failures, select
from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import printable
from cgiaa_cli.pipeline import ScanOptions, ScanRow, run_scan

__all__ = ["groups"]

Kind = StrEnum("Kind", {name: name for name in KINDS})  # type: ignore[misc]


class Format(StrEnum):
    """How to print."""

    table = "table"
    json = "json"


Paths = Annotated[
    list[Path],
    typer.Argument(
        help="Folders and photos; with --keep-all, groups by their id or by one of their photos.",
        metavar="PATH...",
        readable=False,
    ),
]
Kinds = Annotated[list[Kind] | None, typer.Option("--kind", help="Only groups of this kind; repeatable.")]
AsFormat = Annotated[Format, typer.Option("--format", help="How to print.", rich_help_panel="Output")]
Measure = Annotated[
    bool | None,
    typer.Option(
        "--measure/--no-measure",
        help="Open the photos of small groups to see closed eyes and to say what is measurably better in the keeper; "
        "by default where those are 100 at most.",
        show_default=False,
        rich_help_panel="Output",
    ),
]
KeepAll = Annotated[
    bool,
    typer.Option(
        "--keep-all", help="Remember that every photo of the named groups is wanted.", rich_help_panel="Decisions"
    ),
]
Forget = Annotated[bool, typer.Option("--forget", help="Take --keep-all back.", rich_help_panel="Decisions")]


def groups(
    paths: Paths,
    kind: Kinds = None,
    format: AsFormat = Format.table,
    measure: Measure = None,
    keep_all: KeepAll = False,
    forget: Forget = False,
    no_scan: NoScan = False,
    db: Db = None,
    model: Model = None,
    device: Device = None,
    jobs: Jobs = None,
    exclude: Exclude = None,
) -> None:
    """Find copies, near-copies, bursts, exposure brackets and panoramas, after scoring new photos.

    Each group has a keeper; brackets and panoramas are kept whole. Nothing is deleted. Exit 1 if there is no group, 3
    if some photos failed.
    """
    if keep_all or forget:
        if keep_all and forget:
            raise UsageError("--keep-all does not go with --forget", mend="leave one of them out")
        _decide(db, [str(path) for path in paths], keep=keep_all)
        return
    failed: dict[str, str] = {}

    def note(path: str, error: str) -> None:
        failed[path] = error

    excluded = exclude or ()
    if not no_scan:
        with progress(paths, excluded) as shows:
            tell = partial(_note_row, note)
            options = ScanOptions(paths, db, model, device, jobs, exclude=excluded)
            run_scan(options, on_failure=tell, on_progress=shows)
    bundle = bundles.load(model, verify=False)  # the network itself is not run from here on
    with Cache.open(db, create=not no_scan) as cache:
        selection = Selection(paths, exclude=excluded)
        if no_scan:
            _note_failures(cache, bundle, selection, note)
        photos = _photos(cache, bundle, selection, note, look=not no_scan)
        found = find_groups(photos)
        if not cache.read_only:
            remember(cache, [(group.id, [int(photos.ids[i]) for i in group.members]) for group in found])
        shown = [group for group in found if not kind or group.kind in kind]
        _say_unmeasured(shown, format, measure)
        shown = by_eyes(cache, photos, shown, note, measure=measure)
        rows = group_rows(photos, shown, note, measure=measure)
        _print_json(rows) if format is Format.json else _print_table(rows)
    for path, error in failed.items():
        say(f"{path}: {error}")
    if not shown:
        say("no group was found")
    if failed or not shown:
        raise typer.Exit(SOME_FAILED if failed else NOTHING)


def _note_row(note: Note, row: ScanRow) -> None:
    note(row.path, str(row.error))


def _note_failures(cache: Cache, bundle: bundles.Bundle, selection: Selection, note: Note) -> None:
    """Note the photos that could not be read when they were scanned."""
    for record in failures(cache, cache.scorer_id(*bundle.scorer), selection):
        row = row_json(record)
        note(str(row["path"]), str(row["error"]))


def _photos(cache: Cache, bundle: bundles.Bundle, selection: Selection, note: Note, *, look: bool) -> Photos:
    """What the cache knows of the selected photos.

    Args:
        look: whether to look at those of older scans; otherwise it is said how many take no part.
    """
    scorer = cache.scorer_id(*bundle.scorer)
    hits = list(select(cache, scorer, selection))
    if look:
        _look(cache, hits, note)
    photos = read_photos(cache, scorer, hits)
    if not look and not photos.seen.all():
        say(f"{(~photos.seen).sum()} photos of older scans take no part; leave out --no-scan to look at them")
    return photos


def _decide(db: Path | None, names: Sequence[str], *, keep: bool) -> None:
    with Cache.open(db, create=False) as cache:
        named = [members_of(cache, name) for name in names]  # all of them, before any is decided on
        for group_id, contents in named:
            decide(cache, contents, keep=keep)
            what = "every photo is kept from now on" if keep else "the decision to keep all is taken back"
            typer.echo(f"{group_id}  {len(contents)} photos: {what}")


def _look(cache: Cache, hits: Sequence[Hit], note: Note) -> None:
    """Look at photos of older scans, with a line of progress on a terminal."""
    on_terminal = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if on_terminal:
            end = "\n" if done == total else ""
            sys.stderr.write(f"\rlooking at photos of an older scan: {done} of {total}{end}")
            sys.stderr.flush()

    fill_looks(cache, hits, note, show)


def _say_unmeasured(shown: Sequence[Group], format: Format, measure: bool | None) -> None:
    count = len(measurable(shown))
    if measure is None and count > MEASURED_PHOTOS and format is Format.table:
        say(f"the reasons are from scores alone; --measure opens the {count} photos of small groups, too")


def _print_json(rows: Iterable[dict[str, Any]]) -> None:
    utf8 = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    before = "[\n"
    for row in rows:
        sys.stdout.write(f"{before}  {json.dumps(row, ensure_ascii=not utf8)}")
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    here = _folder_prefix()
    for row in rows:
        note = ", kept whole" if row["protected"] else ", kept whole as was decided" if row["keep_all"] else ""
        kind = row["kind"].replace("_", "-")
        sys.stdout.write(f"{_bold(row['id'], sys.stdout)}  {kind}, {len(row['members'])} photos{note}\n")
        for member in row["members"]:
            path = printable(member["path"].removeprefix(here))
            sys.stdout.write(f"  {'keep' if member['kept'] else '-':4}  {member['score']:5.2f}  {path}\n")
            sys.stdout.write(f"               {printable(member['reason'])}\n")
