"""`cgiaa review`: the gallery as a local page, with picks and rejects, side by side, and choices that teach taste."""

from __future__ import annotations

import secrets
import sys
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.commands import choosing as c
from cgiaa_cli.commands.common import NOTHING, SOME_FAILED, many, say
from cgiaa_cli.commands.report import title_of, unreadable
from cgiaa_cli.config import DEVICES
from cgiaa_cli.critique.kept import key_of
from cgiaa_cli.critique.session import Session
from cgiaa_cli.curation import select as selecting
from cgiaa_cli.curation.select import Selection
from cgiaa_cli.errors import UsageError
from cgiaa_cli.inference import usable_cpus
from cgiaa_cli.review import server
from cgiaa_cli.review.gallery import Gallery
from cgiaa_cli.review.grouping import Grouping
from cgiaa_cli.review.state import Review

if TYPE_CHECKING:
    from socket import socket

    from cgiaa_cli.curation.diversity import Ordered

__all__ = ["review"]


def review(  # its parameters are the command line
    paths: c.Paths,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="The page may write picks and rejects into XMP sidecars, when its button is pressed; without, it "
            "only shows what it would write.",
        ),
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of this machine; 0: any that is free.", show_default=False)
    ] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    by: c.ByOption = None,
    weight: c.Weight = None,
    taste: c.TasteOption = None,
    where: c.Where = None,
    no_scan: c.NoScan = False,
    db: c.Db = None,
    model: c.Model = None,
    device: c.Device = None,
    jobs: c.Jobs = None,
    exclude: c.Exclude = None,
) -> None:
    """Look through photos on a page of this machine alone: picks, rejects, side by side, choices between two.

    Prints the page's address and serves it until Ctrl-C. What is decided is kept in the cache at once. Exit 1 if
    nothing matched, 3 if some photos failed.
    """
    if device not in (None, *DEVICES):
        raise UsageError(f"device '{device}' is not known", mend=f"choose one of {', '.join(DEVICES)}")
    server.require()
    selection = Selection(paths, c.weights_of(by, weight, taste), where=where, exclude=exclude or ())
    if no_scan:
        c.need_cache(db)
    how = Session(db=db, model=model, device=device, jobs=jobs, exclude=tuple(exclude or ()))
    with server.bind(port) as listening, how as session:  # the port before the scan, which may take an hour
        order = _order(session, taste)
        failed = unreadable(session, selection, scan=not no_scan)
        hits = list(order(session.cache, session.scorer, selection, None))
        for name, error in failed.items():
            say(f"{name}: {error}")
        if not hits:
            hint = "; leave out --no-scan to score new photos" if no_scan else ""
            say(f"nothing matched; there is nothing to review{hint}")
            raise typer.Exit(SOME_FAILED if failed else NOTHING)
        with Cache.open(session.cache.path) as cache:
            gallery = Gallery.of(cache, session.scorer, key_of(session.settings), hits)
            grouping = Grouping(gallery, session.cache.path, lambda path, error: None, look=not no_scan)
            page = Review(cache, gallery, grouping, session, title_of(paths), failed)
            _serve(page, listening, write=write, open_=open_)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _order(session: Session, taste: str | None) -> Ordered:
    """The order of the photos; what it needs is asked for before a scan, which may take an hour."""
    if taste is None:
        return selecting.select
    from cgiaa_cli.taste.photos import ByTaste

    order = ByTaste(taste)
    order.open(session.bundle)
    return order.hits


def _serve(review: Review, listening: socket, *, write: bool, open_: bool) -> None:
    """Print the address and serve the page until Ctrl-C; then say what was decided."""
    from cgiaa_cli.review.app import make_app
    from cgiaa_cli.review.pictures import Pictures
    from cgiaa_cli.review.sidecars import Sidecars

    token, number = secrets.token_urlsafe(), listening.getsockname()[1]
    pictures = Pictures(review.session.jobs or usable_cpus())
    app = make_app(review, pictures, Sidecars(review, write=write), token, number)
    address = f"http://{server.HOST}:{number}/{token}/"
    typer.echo(address)
    sys.stdout.flush()  # whoever reads a pipe wants it now
    if sys.stderr.isatty():
        say(f"{many(len(review.gallery), 'photo')}; Ctrl-C ends it, and all that is decided is kept")
    if open_ and not webbrowser.open(address):
        say("no browser could be opened; open the address yourself")
    review.grouping.start()
    try:
        server.serve(app, listening)
    finally:
        pictures.close()
    count = review.counts()
    typer.echo(", ".join(many(count[f"{what}s"], what) for what in ("pick", "reject", "choice")))
