"""`cgiaa rank`: the best (or worst, or most different) photos, in order."""

from __future__ import annotations

from typing import Annotated

import typer

from cgiaa_cli.commands import choosing as c

__all__ = ["rank"]


def rank(  # its parameters are the command line
    paths: c.Paths,
    top: c.Top = 50,
    by: c.ByOption = None,
    weight: c.Weight = None,
    taste: c.TasteOption = None,
    bottom: c.Bottom = False,
    diverse: Annotated[
        bool,
        typer.Option("--diverse", help="Photos that differ from each other.", rich_help_panel="Order"),
    ] = False,
    diversity: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="How much difference counts, from 0 to 1; 0.5 with --diverse alone.",
            rich_help_panel="Order",
        ),
    ] = None,
    one_per_group: Annotated[
        bool,
        typer.Option(
            "--one-per-group",
            help="Of copies and bursts only the keeper, see `cgiaa groups`; brackets, panoramas and what --keep-all "
            "names stay whole.",
            rich_help_panel="Order",
        ),
    ] = False,
    minimum: c.Minimum = None,
    maximum: c.Maximum = None,
    since: c.Since = None,
    until: c.Until = None,
    camera: c.Camera = None,
    lens: c.Lens = None,
    where: c.Where = None,
    format: c.FormatOption = None,
    null: c.Null = False,
    preview: c.Preview = False,
    copy_to: c.CopyTo = None,
    link_to: c.LinkTo = None,
    write: c.Write = False,
    no_scan: c.NoScan = False,
    db: c.Db = None,
    model: c.Model = None,
    device: c.Device = None,
    jobs: c.Jobs = None,
    exclude: c.Exclude = None,
) -> None:
    """Order photos by aesthetic score, best first, after scoring those that are new.

    Exit 1 if nothing matched, 3 if some photos failed.
    """
    # the names of the parameters are those of Request, so they are not listed again
    c.answer(c.Request(**dict(locals())))
