"""What `rank` and `filter` share: their options, declared once, and what is done with them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from cgiaa_cli.cache.rows import row_json
from cgiaa_cli.cache.store import Cache, default_path
from cgiaa_cli.commands.common import NOTHING, SOME_FAILED, Paths, say
from cgiaa_cli.config import DEVICES
from cgiaa_cli.curation import select as selecting
from cgiaa_cli.curation.output import Format, Row, write_rows
from cgiaa_cli.curation.select import LIMITED, RANKED_BY, Selection, parse_numbers
from cgiaa_cli.curation.transfer import Mode, check_folder, report, transfer
from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import escape, unescape

if TYPE_CHECKING:
    from cgiaa_cli.bundles import Bundle

__all__ = ["By", "Order", "Paths", "Request", "answer", "need_cache", "weights_of"]

NAMED = 10  # failed photos that get a line of their own

By = StrEnum("By", {name: name for name in RANKED_BY})  # type: ignore[misc]

ByOption = Annotated[
    By | None,
    typer.Option(
        "--by", help="What to order by: overall, if --weight does not say otherwise.", rich_help_panel="Order"
    ),
]
Weight = Annotated[
    list[str] | None,
    typer.Option(
        "--weight",
        metavar="NAME=WEIGHT",
        help="Order by a weighted mean of the named scores, e.g. composition=2; repeatable. "
        "With --by, that score counts too, with weight 1 unless it is named here.",
        rich_help_panel="Order",
    ),
]
TasteOption = Annotated[
    str | None,
    typer.Option(
        "--taste",
        metavar="NAME",
        help="Order by what you like, as `cgiaa taste learn` has learnt it.",
        rich_help_panel="Order",
    ),
]
Bottom = Annotated[bool, typer.Option("--bottom", help="The worst first.", rich_help_panel="Order")]
Top = Annotated[int, typer.Option(min=1, help="How many photos.", rich_help_panel="Order")]
Minimum = Annotated[
    list[str] | None,
    typer.Option(
        "--min",
        metavar="NAME=NUMBER",
        help=f"Only with at least this, e.g. score=6; repeatable. Names: {', '.join(LIMITED)}.",
        rich_help_panel="Conditions",
    ),
]
Maximum = Annotated[
    list[str] | None,
    typer.Option(
        "--max",
        metavar="NAME=NUMBER",
        help="Only with at most this; repeatable.",
        rich_help_panel="Conditions",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="Only taken then or later: 2024, 2024-05, 2024-05-01 or 2024-05-01T18:30:00.",
        rich_help_panel="Conditions",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="Only taken then or earlier; 2024 includes December.",
        rich_help_panel="Conditions",
    ),
]
Camera = Annotated[str | None, typer.Option(help="Only cameras with this in the name.", rich_help_panel="Conditions")]
Lens = Annotated[str | None, typer.Option(help="Only lenses with this in the name.", rich_help_panel="Conditions")]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="CONDITION",
        help="""Only where this holds, e.g. 'iso >= 1600 and lens ~ "35mm" and not camera = "X"'. """
        "Names are those of the JSON output, and year, month, hour. A photo without a field meets no "
        "condition on it; 'lens = none' asks for that.",
        rich_help_panel="Conditions",
    ),
]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="How to print; by default a table.", rich_help_panel="Output"),
]
Null = Annotated[
    bool,
    typer.Option(
        "-0",
        "--null",
        help="Print paths, each ended by NUL, for xargs -0.",
        rich_help_panel="Output",
    ),
]
Preview = Annotated[
    bool,
    typer.Option("--preview", help="Show a thumbnail below each photo of the table.", rich_help_panel="Output"),
]
CopyTo = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Copy the photos and their RAWs there; says what it would do, without --write.",
        rich_help_panel="Output",
    ),
]
LinkTo = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The same with symbolic links.", rich_help_panel="Output"),
]
Write = Annotated[
    bool,
    typer.Option(
        "--write",
        help="Do what --copy-to or --link-to says. Nothing is ever overwritten.",
        rich_help_panel="Output",
    ),
]
NoScan = Annotated[
    bool,
    typer.Option("--no-scan", help="Only what is in the cache; do not look at the disk.", rich_help_panel="Scan"),
]
Db = Annotated[Path | None, typer.Option(help="The cache.", rich_help_panel="Scan")]
Model = Annotated[str | None, typer.Option(help="Bundle: a name or a folder.", rich_help_panel="Scan")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.", rich_help_panel="Scan")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Photos decoded at a time.", rich_help_panel="Scan")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="Leave out names or paths that match, e.g. '*_edit.jpg'; repeatable.", rich_help_panel="Scan"),
]


class Order(Protocol):
    """An order of photos by something that is not in the cache."""

    @property
    def name(self) -> str:
        """One of `output.EXTRA`: what the number is called in the output."""

    def open(self, bundle: Bundle) -> None:
        """Called before the scan; raises CgiaaError where what is needed is not to be had with this bundle."""

    def hits(self, cache: Cache, scorer: int, selection: Selection, limit: int | None) -> list[selecting.Hit]:
        """The photos of a selection in this order, their values among them; at most `limit`."""


@dataclass(frozen=True)
class Request:
    """One command line of `rank` or `filter`: its fields are the commands' parameters.

    Attributes:
        top: how many photos; None: all.
        diverse: by difference, too; so does a `diversity` (0..1).
        order: by what the cache does not keep, in the place of scores.
    """

    paths: list[Path]
    by: By | None
    weight: list[str] | None
    minimum: list[str] | None
    maximum: list[str] | None
    since: str | None
    until: str | None
    camera: str | None
    lens: str | None
    where: str | None
    bottom: bool
    format: Format | None
    null: bool
    preview: bool
    copy_to: Path | None
    link_to: Path | None
    write: bool
    no_scan: bool
    db: Path | None
    model: str | None
    device: str | None
    jobs: int | None
    exclude: list[str] | None
    top: int | None = None
    diverse: bool = False
    diversity: float | None = None
    one_per_group: bool = False
    order: Order | None = None
    taste: str | None = None

    def __post_init__(self) -> None:
        if self.null and self.format not in (None, Format.paths):
            raise UsageError(f"-0 does not go with --format {self.format}", mend="leave one of them out")
        if self.copy_to is not None and self.link_to is not None:
            raise UsageError("--copy-to does not go with --link-to", mend="leave one of them out")
        if self.write and self.copy_to is None and self.link_to is None:
            raise UsageError("--write has nothing to write", mend="add --copy-to DIR or --link-to DIR")
        if self.device not in (None, *DEVICES):
            raise UsageError(f"device '{self.device}' is not known", mend=f"choose one of {', '.join(DEVICES)}")
        if target := self.copy_to or self.link_to:
            check_folder(target)
        if self.diversity is not None and not 0 <= self.diversity <= 1:
            raise UsageError(f"--diversity must be from 0 to 1, not {self.diversity:g}")
        if self.taste is not None:
            from cgiaa_cli.taste.photos import ByTaste

            object.__setattr__(self, "order", ByTaste(self.taste))

    @property
    def how(self) -> Format:
        """The format to print in."""
        return self.format or (Format.paths if self.null else Format.table)

    def selection(self) -> Selection:
        """What to select; raises UsageError where the options do not make sense."""
        return Selection(
            paths=self.paths,
            weights=weights_of(self.by, self.weight, self.taste),
            minimum=parse_numbers("--min", self.minimum or (), LIMITED),
            maximum=parse_numbers("--max", self.maximum or (), LIMITED),
            since=self.since,
            until=self.until,
            camera=self.camera,
            lens=self.lens,
            where=self.where,
            exclude=self.exclude or (),
            worst_first=self.bottom,
        )


def weights_of(by: By | None, weight: list[str] | None, taste: str | None = None) -> dict[str, float]:
    """The weights of what to order by; raises UsageError where the options do not go together."""
    if taste is not None and (by is not None or weight):
        raise UsageError("--taste does not go with --by or --weight", mend="leave one of them out")
    weights = parse_numbers("--weight", weight or (), RANKED_BY)
    if by is not None:
        weights.setdefault(str(by), 1.0)
    return weights or {"overall": 1.0}


def need_cache(db: Path | None) -> None:
    """Say so and exit with 1 if there is no cache yet; where a folder may not be looked into, opening it says so."""
    where = db or default_path()
    if not os.path.lexists(where):
        say(f"{escape(where)}: there is no cache yet; leave out --no-scan, or make it with: cgiaa scan FOLDER")
        raise typer.Exit(NOTHING)


def answer(request: Request) -> None:
    """Scan what is new, select, print, and copy or link.

    Raises:
        typer.Exit: with 1 if nothing matched, 3 if some photos failed.
    """
    selection = request.selection()  # before the scan: a typing error must not cost an hour
    from cgiaa_cli import bundles

    if request.order:  # what is not to be had must not cost an hour either
        request.order.open(bundles.load(request.model, verify=False))
    skipped = [] if request.no_scan else _scan(request)
    if request.no_scan:
        need_cache(request.db)
    # the network itself is not run from here on, so the bundle's files need no check
    bundle = bundles.load(request.model, verify=False)
    with Cache.open(request.db, create=not request.no_scan) as cache:
        scorer = cache.scorer_id(*bundle.scorer)
        failed = skipped + [row_json(record) for record in selecting.failures(cache, scorer, selection)]
        failed.sort(key=lambda row: str(row["path"]))
        photos: list[list[Path]] = []
        rows = _rows(cache, scorer, selection, request)
        if request.copy_to or request.link_to:
            rows = _remembering(rows, photos)
        count = write_rows(
            rows,
            failed,
            request.how,
            null=request.null,
            ranked_by=request.order.name if request.order else _ranked_by(selection),
            after_row=_previewer(request),
        )
        scored = count > 0 or selecting.is_scored(cache, scorer)
        unknown = selecting.unknown(cache, request.paths) if request.no_scan else []
        unscored = selecting.unscored(cache, scorer, selection) if request.no_scan and scored else 0
    sys.stdout.flush()
    lost = _transfer(request, photos) if count else 0
    for path in unknown:
        say(f"{escape(path)}: no photo of it is in the cache; leave out --no-scan to score them")
    if unscored:
        some = "1 photo has" if unscored == 1 else f"{unscored} photos have"
        say(f"{some} no scores of this model yet; leave out --no-scan to score them")
    _say_failed(request, failed)
    if not count:
        hint = "" if scored or unknown else f": the cache has no scores of {bundle.name} {bundle.version}"
        hint += "; leave out --no-scan to score them" if request.no_scan and hint else ""
        say(f"nothing matched{hint}")
    if failed or lost:
        raise typer.Exit(SOME_FAILED)
    if not count:
        raise typer.Exit(NOTHING)


def _scan(request: Request) -> list[Row]:
    from cgiaa_cli.commands.scan import score_new
    from cgiaa_cli.pipeline import ScanOptions

    paths, exclude = request.paths, request.exclude or ()
    return score_new(ScanOptions(paths, request.db, request.model, request.device, request.jobs, exclude=exclude))


def _rows(cache: Cache, scorer: int, selection: Selection, request: Request) -> Iterator[Row]:
    for record in selecting.records(cache, scorer, _hits(cache, scorer, selection, request)):
        row = {"rank": record["rank"], "value": record["value"]} | row_json(record)
        yield row | {request.order.name: record["value"]} if request.order else row


def _hits(cache: Cache, scorer: int, selection: Selection, request: Request) -> Iterable[selecting.Hit]:
    """The photos to print, in order."""
    order = request.order.hits if request.order else selecting.select
    different = request.diverse or request.diversity is not None
    if not request.one_per_group and not different:
        return order(cache, scorer, selection, request.top)
    if request.one_per_group:
        from cgiaa_cli.curation.groups import one_per_group

        every = list(order(cache, scorer, selection, None))
        hits = one_per_group(cache, scorer, every, lambda p, e: say(f"{p}: {e}"), look=not request.no_scan)
        if not different:
            return hits[: request.top]
        order = lambda cache, scorer, selection, limit: hits[:limit]  # noqa: E731
    from cgiaa_cli.curation.diversity import DEFAULT_DIVERSITY, diverse

    much = DEFAULT_DIVERSITY if request.diversity is None else request.diversity
    return diverse(cache, scorer, selection, request.top or 1, much, order)  # only `rank` differs, and has a `top`


def _remembering(rows: Iterator[Row], photos: list[list[Path]]) -> Iterator[Row]:
    for row in rows:
        photos.append([unescape(path) for path in (row["path"], *row["companions"])])
        yield row


def _ranked_by(selection: Selection) -> str:
    names = [name for name, weight in selection.weights.items() if weight]
    return "value" if len(names) > 1 else names[0].replace("overall", "score")


def _previewer(request: Request) -> Callable[[Row], None] | None:
    if not request.preview:
        return None
    from cgiaa_cli.curation.preview import protocol_of, thumbnail

    protocol = protocol_of(sys.stdout)
    if protocol is None or request.how is not Format.table:
        say("--preview shows nothing here: it needs a table on a terminal with colours")
        return None

    def show(row: Row) -> None:
        sys.stdout.write(thumbnail(unescape(row["path"]), protocol))
        sys.stdout.flush()

    return show


def _transfer(request: Request, photos: list[list[Path]]) -> int:
    """Copy or link; returns how many files failed."""
    folder = request.copy_to or request.link_to
    if folder is None:
        return 0
    mode = Mode.copy if request.copy_to else Mode.link
    return report(transfer(photos, folder, mode, write=request.write), mode, say, write=request.write)


def _say_failed(request: Request, failed: list[Row]) -> None:
    """A line for each of the first failed photos, then their number; JSON has them all already."""
    if not failed or request.how in (Format.json, Format.jsonl):
        return
    for row in failed[:NAMED]:
        say(f"{row['path']}: {row['error']}")
    more = f", of which {NAMED} are named here, all with --format json" if len(failed) > NAMED else ""
    some = "1 photo" if len(failed) == 1 else f"{len(failed)} photos"
    say(f"{some} failed{more}; try again with: cgiaa scan --retry-failed {_where(request.paths)}")


def _where(paths: Sequence[Path]) -> str:
    """The folders, for a command to type; not a whole disk, which stands for all that is in the cache."""
    named = [path for path in paths if str(path) != path.anchor]
    return " ".join(map(_quoted, named[:3])) + (" ..." if len(named) > 3 else "") or "FOLDER"


def _quoted(path: Path) -> str:
    return shlex.quote(os.fsdecode(os.fsencode(path)))
