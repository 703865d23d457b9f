"""`cgiaa compare`: which of some photos is better, by how much, how sure that is, and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cgiaa_cli.commands import common as c
from cgiaa_cli.commands.critique import TITLES
from cgiaa_cli.commands.scan import progress
from cgiaa_cli.critique.compare import Comparison, compare
from cgiaa_cli.critique.session import Session, candidates
from cgiaa_cli.errors import UsageError
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import printable

__all__ = ["compare_"]


class Format(StrEnum):
    """How to print."""

    text = "text"
    json = "json"


def compare_(
    paths: Annotated[list[Path], typer.Argument(help="Two photos or more, or a folder of a burst.", metavar="PATH...")],
    format: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.text,
    db: c.Db = None,
    model: c.Model = None,
    device: c.Device = None,
) -> None:
    """Name the keeper of two photos or more, and the reason against each of the others.

    Exit 3 if some photos failed.
    """
    failed: list[str] = []

    def note(path: str, error: str) -> None:
        failed.append(path)
        typer.echo(printable(f"cgiaa: {path}: {error}"), err=True)

    with Session(db=db, model=model, device=device) as session:
        with progress(paths, ()) as on_progress:
            scored = session.scan(paths, note, on_progress)
        found = candidates(session, scored, note)
        if len(found) < 2:
            raise UsageError(f"{len(found)} photo to compare", mend="name two or more that can be read")
        result = compare(found, session.bundle.results)
    if format is Format.json:
        typer.echo(json.dumps(_json(result), ensure_ascii=False, indent=2))
    else:
        for line in _text(result):
            typer.echo(printable(line))
    if failed:
        raise typer.Exit(c.SOME_FAILED)


def _json(result: Comparison) -> dict[str, Any]:
    scores = result.keeper.scores
    keeper = {"path": result.keeper.path, "score": scores.score, "attributes": scores.attributes}
    return {"keeper": keeper, "rejects": [asdict(reject) for reject in result.rejects]}


def _text(result: Comparison) -> list[str]:
    lines = [f"keep    {result.keeper.path}  (score {result.keeper.scores.score:.2f})"]
    for reject in result.rejects:
        sure = f", {reject.confidence:.0%} sure" if reject.confidence is not None else ""
        lines.append(f"reject  {reject.path}  ({-reject.behind['score']:+.2f}{sure})")
        lines.append(f"        {reject.reason}")
        parts = (f"{TITLES[name].lower()} {-reject.behind[name]:+.2f}" for name in ATTRIBUTES)
        lines.append(f"        {', '.join(parts)}, technical {-reject.behind['technical']:+.2f}")
    return lines
