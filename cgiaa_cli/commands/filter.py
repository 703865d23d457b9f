"""`cgiaa filter`: all the photos that meet conditions, best first."""

from __future__ import annotations

from cgiaa_cli.commands import choosing as c

__all__ = ["filter_"]


def filter_(  # its parameters are the command line
    paths: c.Paths,
    by: c.ByOption = None,
    weight: c.Weight = None,
    taste: c.TasteOption = None,
    bottom: c.Bottom = False,
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
    """Print all photos that meet conditions, best first, after scoring those that are new.

    Exit 1 if nothing matched, 3 if some photos failed.
    """
    # the names of the parameters are those of Request, so they are not listed again
    c.answer(c.Request(**dict(locals())))
