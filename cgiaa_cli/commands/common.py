"""What all commands share: how they speak, their exit codes, and the options of those that have no panels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgiaa_cli.paths import printable

__all__ = ["NOTHING", "SOME_FAILED", "Db", "Device", "Exclude", "Jobs", "Model", "Paths", "many", "say"]

NOTHING, SOME_FAILED = 1, 3

# readable: the walk says what it may not read, and goes on with the rest
Paths = Annotated[list[Path], typer.Argument(help="Folders and photos.", metavar="PATH...", readable=False)]
Db = Annotated[Path | None, typer.Option(help="The cache.")]
Model = Annotated[str | None, typer.Option(help="Bundle: a name or a folder.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Photos decoded at a time.")]
Exclude = Annotated[
    list[str] | None, typer.Option(help="Leave out names or paths that match, e.g. '*_edit.jpg'; repeatable.")
]


def say(message: str) -> None:
    """A line on stderr."""
    typer.echo(f"cgiaa: {printable(message)}", err=True)


def many(count: int, what: str) -> str:
    """`1 photo`, `2 photos`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
