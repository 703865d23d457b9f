"""`cgiaa annotate`: write what was found into XMP sidecars, or into the photos, and take it out again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cgiaa_cli import bundles
from cgiaa_cli.annotate.annotation import Keywords, annotation_of, critiques_of
from cgiaa_cli.annotate.annotator import Annotator, Options, Outcome
from cgiaa_cli.annotate.plan import Policy
from cgiaa_cli.annotate.report import Format, Report
from cgiaa_cli.annotate.sidecar import Style
from cgiaa_cli.annotate.stars import DEFAULT_STARS, FEW, Labels, Stars, library, parse_labels, parse_stars
from cgiaa_cli.cache.rows import row_json
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.commands import choosing as c
from cgiaa_cli.commands.common import NOTHING, SOME_FAILED, say
from cgiaa_cli.commands.scan import score_new
from cgiaa_cli.config import read_config
from cgiaa_cli.curation import select as selecting
from cgiaa_cli.curation.select import Selection
from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import absolute, escape, unescape
from cgiaa_cli.pipeline import ScanOptions

__all__ = ["annotate"]

_WHAT, _WHERE, _UNDO = "What is written", "Where", "Undo"


Write = Annotated[bool, typer.Option("--write", help="Do it; without, only say what would be written.")]
Limits = Annotated[
    str | None,
    typer.Option(
        metavar="LIMITS",
        help=f"Five limits for 1 to 5 stars: percentiles in your library ({DEFAULT_STARS} by default, or the "
        "config key 'stars'), or score:4.5,5,5.5,6,6.5.",
        rich_help_panel=_WHAT,
    ),
]
Label = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=LIMIT",
        help="A colour label from a percentile on, e.g. Green=97, or Green=score:6; repeatable.",
        rich_help_panel=_WHAT,
    ),
]
Words = Annotated[Keywords, typer.Option(help="Which keywords to add.", rich_help_panel=_WHAT)]
Rated = Annotated[bool, typer.Option("--overwrite-rating", help="Also where somebody rated.", rich_help_panel=_WHAT)]
Rejected = Annotated[
    bool,
    typer.Option(
        "--overwrite-rejected",
        help="With --overwrite-rating: also where somebody rejected (-1).",
        rich_help_panel=_WHAT,
    ),
]
Sidecar = Annotated[
    Style,
    typer.Option(
        help="IMG.xmp (adobe), IMG.CR2.xmp (darktable, digiKam), or what exists (auto).", rich_help_panel=_WHERE
    ),
]
Embed = Annotated[
    bool, typer.Option("--embed", help="Write into JPEG, TIFF and DNG themselves.", rich_help_panel=_WHERE)
]
KeepTime = Annotated[
    bool, typer.Option("--keep-time", help="With --embed: keep the photos' time of change.", rich_help_panel=_WHERE)
]
Undo = Annotated[
    bool,
    typer.Option("--undo", help="Take out what annotate and review wrote, and nothing else.", rich_help_panel=_UNDO),
]
AsFormat = Annotated[Format, typer.Option("--format", help="How to print.", rich_help_panel="Output")]


def annotate(  # its parameters are the command line
    paths: c.Paths,
    write: Write = False,
    stars: Limits = None,
    label: Label = None,
    keywords: Words = Keywords.both,
    overwrite_rating: Rated = False,
    overwrite_rejected: Rejected = False,
    sidecar: Sidecar = Style.auto,
    embed: Embed = False,
    keep_time: KeepTime = False,
    undo: Undo = False,
    format: AsFormat = Format.table,
    no_scan: c.NoScan = False,
    db: c.Db = None,
    model: c.Model = None,
    device: c.Device = None,
    jobs: c.Jobs = None,
    exclude: c.Exclude = None,
) -> None:
    """Write scores, stars, keywords and critiques where other photo software reads them: into XMP sidecars.

    What a human wrote stays. Exit 1 if there is no photo, 3 if some failed.
    """
    if overwrite_rejected and not overwrite_rating:
        raise UsageError("--overwrite-rejected goes with --overwrite-rating", mend="add --overwrite-rating")
    policy = Policy(overwrite_rating, overwrite_rejected)
    annotator = Annotator(Options(sidecar, policy, write, embed, keep_time))
    with Report(format, write=write, undo=undo) as report:
        if undo:
            _undo(paths, exclude or [], annotator, report)
        else:
            selection = Selection(paths, exclude=exclude or ())
            how = _How(parse_stars(stars or read_config().stars or DEFAULT_STARS), parse_labels(label or ()), keywords)
            failed = [] if no_scan else score_new(ScanOptions(paths, db, model, device, jobs, exclude=exclude or ()))
            bundle = bundles.load(model, verify=False)
            with Cache.open(db, create=not no_scan) as cache:
                failed += _annotate(cache, bundle, selection, how, annotator, report)
            for row in sorted(failed, key=lambda row: str(row["path"])):
                report.failed_photo(row)
                say(f"{row['path']}: {row['error']}")
    report.say_counts(say)
    if report.failed:
        raise typer.Exit(SOME_FAILED)
    if not report.photos:
        say("nothing matched")
        raise typer.Exit(NOTHING)


@dataclass(frozen=True)
class _How:
    """What to make of the scores."""

    stars: Stars
    labels: Labels
    keywords: Keywords


def _annotate(
    cache: Cache, bundle: bundles.Bundle, selection: Selection, how: _How, annotator: Annotator, report: Report
) -> list[dict[str, Any]]:
    """Annotate the photos with scores; returns those that could not be scored."""
    scorer = cache.scorer_id(*bundle.scorer)
    photos = library(cache, scorer)
    if not how.stars.absolute and len(photos.scores) < FEW:
        say(
            f"the stars are ranks among only {len(photos.scores)} photos in the cache; "
            "for fixed limits: --stars score:4.5,5,5.5,6,6.5"
        )
    critiques = critiques_of(cache, scorer)
    # by path: folder after folder, so each is looked into once
    hits = sorted(selecting.select(cache, scorer, selection), key=lambda hit: hit.path)
    contents = {hit.path: hit.content_id for hit in hits}
    wordless = 0
    for record in selecting.records(cache, scorer, hits):
        row = row_json(record)
        percentile = photos.percentile(row["score"])
        text = critiques(contents[row["path"]]) if critiques else None
        wordless += text is None
        annotation = annotation_of(
            row,
            bundle.scorer,
            how.stars.rating(row["score"], percentile),
            how.labels.label(row["score"], percentile),
            how.keywords,
            text,
        )
        files = [unescape(path) for path in (row["path"], *row["companions"])]
        report.photo(row["path"], row["score"])
        for outcome in annotator.annotate(files, annotation):
            _report(report, outcome)
    if wordless:
        say(f"{wordless} of {len(hits)} photos have no critique in the cache yet; make them with: cgiaa critique PATH")
    return [row_json(record) for record in selecting.failures(cache, scorer, selection)]


def _undo(paths: list[Path], exclude: list[str], annotator: Annotator, report: Report) -> None:
    for files in _found(paths, exclude, report):
        report.photo(escape(files[0]), None)
        for outcome in annotator.undo(files):
            _report(report, outcome)


def _found(paths: list[Path], exclude: list[str], report: Report) -> Iterator[list[Path]]:
    from cgiaa_cli.library.walk import Skipped, walk

    for item in walk([absolute(path) for path in paths], exclude):
        if isinstance(item, Skipped):
            report.failed_photo({"path": escape(item.path), "error": item.reason, "error_kind": "unreadable"})
            say(f"{escape(item.path)}: {item.reason}")
        else:
            yield [item.path, *item.companions]


def _report(report: Report, outcome: Outcome) -> None:
    report.add(outcome)
    if outcome.error:
        sys.stdout.flush()
        say(outcome.error)
