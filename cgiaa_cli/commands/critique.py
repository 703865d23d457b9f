"""`cgiaa critique`: what is good and bad about photos, attribute by attribute, with evidence and advice."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cgiaa_cli.commands import common as c
from cgiaa_cli.commands.scan import progress
from cgiaa_cli.critique.critic import Settings
from cgiaa_cli.critique.session import ACTIONS, Session, critique_rows, write_copies, write_overlay
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.paths import escape, printable

__all__ = ["critique"]

TITLES = {
    "color_light": "Colour and light",
    "composition": "Composition",
    "depth_focus": "Depth and focus",
    "general": "General feeling",
}

Attribute = StrEnum("Attribute", {name: name for name in TITLES})  # type: ignore[misc]


class Style(StrEnum):
    """How much to say."""

    short = "short"
    full = "full"


class Format(StrEnum):
    """How to print."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    markdown = "markdown"


def critique(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Photos and folders; - reads paths from stdin, by line or NUL.", metavar="PATH..."),
    ],
    attribute: Annotated[list[Attribute] | None, typer.Option(help="Only this attribute; repeatable.")] = None,
    style: Annotated[Style, typer.Option(help="One sentence an attribute, or up to three.")] = Style.full,
    format: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.text,
    seed: Annotated[int, typer.Option(help="Draws other texts; the same seed gives the same.")] = 0,
    candidates: Annotated[
        int,
        typer.Option(
            min=0, help="Texts written for each attribute, to choose from; 0: from measurements alone, faster."
        ),
    ] = Settings.candidates,
    save_overlay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the evidence on the photo; a folder for several.")
    ] = None,
    apply: Annotated[
        str | None, typer.Option(metavar="ACTIONS", help="Make improved copies: crop, straighten or crop,straighten.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the improved copies go.")] = None,
    db: c.Db = None,
    model: c.Model = None,
    device: c.Device = None,
    jobs: c.Jobs = None,
    exclude: c.Exclude = None,
) -> None:
    """Say what is good and bad about photos, with the numbers behind it and what to do.

    Photos are scored first where they are new. Exit 1 if there was no photo, 3 if some failed.
    """
    actions = _actions(apply, out)
    named = [path for given in paths for path in _named(given)]
    failed: list[str] = []

    def note(path: str, error: str) -> None:
        failed.append(path)
        typer.echo(printable(f"cgiaa: {path}: {error}"), err=True)

    session = Session(db=db, model=model, device=device, jobs=jobs, exclude=tuple(exclude or ()))
    session.settings = replace(session.settings, seed=seed, short=style is Style.short, candidates=candidates)
    wanted = [str(a) for a in attribute] if attribute else list(TITLES)
    printer = _Printer(format, wanted)
    with session:
        with progress(named, exclude or ()) as on_progress:
            found = session.scan(named, note, on_progress)
        for row, photo in critique_rows(session, found, note):
            if save_overlay is not None:
                row["overlay"] = escape(write_overlay(row, photo(), save_overlay, several=len(found) > 1))
            if actions and out is not None:
                row["copy"] = _copy(session, row, actions, out, note)
            printer.show(row)
    printer.end()
    if failed:
        raise typer.Exit(c.SOME_FAILED)
    if not printer.count:
        typer.echo("cgiaa: no photo found", err=True)
        raise typer.Exit(c.NOTHING)


def _actions(apply: str | None, out: Path | None) -> list[str]:
    actions = [a.strip() for a in apply.split(",") if a.strip()] if apply else []
    for action in actions:
        if action not in ACTIONS:
            raise UsageError(f"--apply does not know '{action}'", mend=f"it knows {', '.join(ACTIONS)}")
    if bool(actions) != (out is not None):
        raise UsageError("--apply and --out DIR go together", mend="give both")
    return actions


def _named(path: Path) -> list[Path]:
    if str(path) != "-":
        return [path]
    text = sys.stdin.buffer.read()
    return [Path(os.fsdecode(line)) for line in text.split(b"\0" if b"\0" in text else b"\n") if line.strip()]


def _copy(session: Session, row: dict[str, Any], actions: list[str], out: Path, note: Any) -> dict[str, Any] | None:
    try:
        return write_copies(session, row, actions, out)
    except CgiaaError as error:
        note(row["path"], str(error))
        return None


class _Printer:
    """Prints rows as they come."""

    def __init__(self, format: Format, attributes: list[str]) -> None:
        self._format = format
        self._attributes = attributes
        self.count = 0

    def show(self, row: dict[str, Any]) -> None:
        row = row | {"attributes": {name: row["attributes"][name] for name in self._attributes}}
        if self._format is Format.json:
            typer.echo(("[\n" if not self.count else ",\n") + json.dumps(row, ensure_ascii=False), nl=False)
        elif self._format is Format.jsonl:
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            lines = _markdown(row) if self._format is Format.markdown else _text(row)
            typer.echo(("\n" if self.count else "") + "\n".join(printable(line) for line in lines))
        self.count += 1

    def end(self) -> None:
        if self._format is Format.json:
            typer.echo("\n]" if self.count else "[]")


def _text(row: dict[str, Any]) -> Iterator[str]:
    yield row["path"]
    if row["notice"]:
        yield f"  {row['notice']}"
        return
    for name, found in row["attributes"].items():
        yield f"  {TITLES[name]:18}{found['score']:5.2f}  {_stand(found)}"
        yield f"    {found['text']}"
        evidence = _evidence(found)
        if evidence:
            yield f"    measured: {evidence}"
        for advice in found["advice"]:
            yield f"    to do: {advice['text']}"
    yield from _copied(row)


def _copied(row: dict[str, Any]) -> Iterator[str]:
    if row.get("overlay"):
        yield f"  overlay: {row['overlay']}"
    if row.get("copy"):
        copy = row["copy"]
        yield f"  copy: {copy['path']}  ({', '.join(copy['done'])}), {_change(copy)}"


def _change(copy: dict[str, Any]) -> str:
    return ", ".join(f"{name} {copy['before'][name]:.2f} -> {copy['after'][name]:.2f}" for name in copy["before"])


def _stand(found: dict[str, Any]) -> str:
    parts = []
    if found["percentile"] is not None:
        parts.append(f"better than {found['percentile']:.0f} % of the reference photos")
    if found.get("library_percentile") is not None:
        parts.append(f"{found['library_percentile']:.0f} % of yours")
    return ", ".join(parts)


def _evidence(found: dict[str, Any]) -> str:
    shown = {k: v for k, v in found["evidence"].items() if k != "region"}
    text = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())
    region = found["evidence"].get("region")
    return text + (f", at {region[2]}x{region[3]}+{region[0]}+{region[1]}" if region else "")


def _markdown(row: dict[str, Any]) -> Iterator[str]:
    name = row["path"].replace("\\", "\\\\").replace("`", "\\`").replace("*", "\\*").replace("_", "\\_")
    yield f"## {name}"
    yield ""
    if row["notice"]:
        yield row["notice"]
        return
    for key, found in row["attributes"].items():
        stand = _stand(found)
        yield f"**{TITLES[key]}** {found['score']:.2f}{f' ({stand})' if stand else ''}: {found['text']}"
        for advice in found["advice"]:
            yield f"- {advice['text']}"
        yield ""
