"""`cgiaa report`: a gallery to look at, as one page that needs nothing else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cgiaa_cli.commands import choosing as c
from cgiaa_cli.commands.common import NOTHING, SOME_FAILED, many, say
from cgiaa_cli.commands.critique import TITLES
from cgiaa_cli.commands.scan import progress
from cgiaa_cli.critique.session import Session, critique_rows, overlay
from cgiaa_cli.curation import select as selecting
from cgiaa_cli.curation.groups_photos import fill_looks
from cgiaa_cli.curation.select import Selection
from cgiaa_cli.errors import PhotoError
from cgiaa_cli.imaging.formats import PLAIN
from cgiaa_cli.inference import usable_cpus
from cgiaa_cli.paths import absolute, escape, printable
from cgiaa_cli.report.library import Library, critique_of, read_library
from cgiaa_cli.report.page import check_target, write_page
from cgiaa_cli.report.pictures import Beside, Inline, Shelf, thumbnails, webp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgiaa_cli.curation.select import Hit

__all__ = ["report", "title_of", "unreadable"]

HEAVY = 100_000_000  # bytes of a page that browsers open slowly

Note = Callable[[str, str], None]


class Thumbs(StrEnum):
    """Where the pictures go."""

    inline = "inline"
    beside = "beside"


def report(  # its parameters are the command line
    paths: c.Paths,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page.")] = Path("gallery.html"),
    top: Annotated[int, typer.Option(min=0, help="How many top picks.")] = 24,
    critiques: Annotated[int, typer.Option(min=0, help="How many of the best photos get a critique.")] = 24,
    thumbs: Annotated[
        Thumbs, typer.Option(help="Pictures in the page itself, or in a folder beside it.")
    ] = Thumbs.inline,
    force: Annotated[bool, typer.Option("--force", help="Replace a page that is there.")] = False,
    by: c.ByOption = None,
    weight: c.Weight = None,
    where: c.Where = None,
    no_scan: c.NoScan = False,
    db: c.Db = None,
    model: c.Model = None,
    device: c.Device = None,
    jobs: c.Jobs = None,
    exclude: c.Exclude = None,
) -> None:
    """Make a gallery as one page: top picks, groups, critiques, scores, weak attributes, a contact sheet.

    Exit 1 if nothing matched, and then there is no page; 3 if some photos failed.
    """
    page = _Page(absolute(output), top, critiques, thumbs, force)
    check_target(page.target, force=force)
    selection = Selection(paths, c.weights_of(by, weight), where=where, exclude=exclude or ())
    if no_scan:
        c.need_cache(db)
    with Session(db=db, model=model, device=device, jobs=jobs, exclude=tuple(exclude or ())) as session:
        failed = unreadable(session, selection, scan=not no_scan)
        hits = list(selecting.select(session.cache, session.scorer, selection))
        if hits:
            _make(session, hits, page, title_of(paths), failed, look=not no_scan)
        unknown = selecting.unknown(session.cache, paths) if no_scan else []
    for path in unknown:
        say(f"{escape(path)}: no photo of it is in the cache; leave out --no-scan to score them")
    for name, error in failed.items():
        say(f"{name}: {error}")
    if not hits:
        say("nothing matched; no page was written")
    if failed or not hits:
        raise typer.Exit(SOME_FAILED if failed else NOTHING)


def unreadable(session: Session, selection: Selection, *, scan: bool) -> dict[str, str]:
    """The error of each photo that cannot be read; with `scan` new ones are scored first."""
    failed: dict[str, str] = {}
    if scan:
        with progress(selection.paths, selection.exclude) as on_progress:
            session.scan(selection.paths, failed.__setitem__, on_progress)
    else:
        failures = selecting.failures(session.cache, session.scorer, selection)
        failed.update({str(row["path"]): str(row["error"]) for row in failures})
    return failed


@dataclass(frozen=True)
class _Page:
    """What is asked for."""

    target: Path
    top: int
    critiques: int
    thumbs: Thumbs
    force: bool


def _make(
    session: Session, hits: Sequence[Hit], page: _Page, title: str, failed: dict[str, str], *, look: bool
) -> None:
    """Write the page and say so; photos that cannot be opened go to `failed`."""
    note: Note = failed.__setitem__
    if look:
        with _counted("looking at photos of an older scan") as done:
            fill_looks(session.cache, hits, note, done)
    with _counted("finding groups") as done:
        done(0, 0)
        library = read_library(session.cache, session.scorer, hits, page.target.parent, note)
    wanted = frozenset(library.best[: page.critiques])
    shelf = Beside(page.target) if page.thumbs is Thumbs.beside else Inline()
    with _counted("making the page") as done:
        photos = _counting(_photos(session, library, wanted, shelf, note), len(library.rows), done)
        size = write_page(
            page.target, title, photos, lambda: _about(session, library, page.top, failed), force=page.force
        )
    shelf.done()
    counts = [many(len(library.rows), "photo"), many(len(library.groups), "group"), many(len(wanted), "critique")]
    typer.echo(printable(f"{escape(page.target)}: {', '.join(counts)}, {size / 1e6:.1f} MB"))
    if size > HEAVY:
        say("a page of that size opens slowly; --thumbs beside keeps the pictures in a folder")


def _about(session: Session, library: Library, top: int, failed: dict[str, str]) -> dict[str, Any]:
    """All of the page's data but the photos."""
    return {
        "made": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "bundle": f"{session.bundle.name} {session.bundle.version}",
        "attributes": TITLES,
        "plain": PLAIN,
        "picks": library.best[:top],
        "groups": library.groups,
        "weak": library.weak,
        "failed": {path.removeprefix(library.root): error for path, error in failed.items()},
    }


def _photos(session: Session, library: Library, wanted: Set[int], shelf: Shelf, note: Note) -> Iterator[dict[str, Any]]:
    """The rows with their pictures, and critiques of the wanted ones."""
    made = thumbnails(library.paths, session.jobs or usable_cpus(), note)
    with contextlib.closing(made):
        for i, (row, thumb) in enumerate(zip(library.rows, made, strict=True)):
            path, key = library.paths[i], library.keys[i]
            found = _critique(session, path, key, shelf, note) if thumb and i in wanted else {}
            yield row | {"thumb": shelf.put(key, thumb) if thumb else None} | found


def _critique(session: Session, path: str, key: str, shelf: Shelf, note: Note) -> dict[str, Any]:
    """A photo's critique, kept or new, with a large picture and one with the evidence."""
    from PIL import Image

    for row, load in critique_rows(session, [path], note):
        try:
            photo = load()
        except (PhotoError, OSError) as error:  # its critique was kept, and the photo is gone since it was scanned
            note(path, error.cause if isinstance(error, PhotoError) else error.strerror or str(error))
            return {"critique": critique_of(row)}
        large = shelf.put(f"{key}-large", webp(Image.fromarray(photo.view)))
        evidence = shelf.put(f"{key}-evidence", webp(overlay(row, photo)))
        return {"critique": critique_of(row), "large": large, "evidence": evidence}
    return {}


def title_of(paths: Sequence[Path]) -> str:
    """What a page of these folders is called."""
    named = [absolute(path) for path in paths[:3]]
    short = {path.name for path in named if path.name}
    names = [escape(path.name if len(short) == len(named) else path.parent.name / Path(path.name)) for path in named]
    return ", ".join(names) + (", ..." if len(paths) > 3 else "")


def _counting(rows: Iterator[dict[str, Any]], total: int, done: Callable[[int, int], None]) -> Iterator[dict[str, Any]]:
    for count, row in enumerate(rows):
        done(count, total)
        yield row


@contextlib.contextmanager
def _counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, where that is a terminal, moved by `done(count, total)`; a total of 0 is not known."""
    if not sys.stderr.isatty():
        yield lambda count, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda count, total: bar.update(task, completed=count, total=total or None, visible=True)
