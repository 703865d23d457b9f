"""Write docs/commands.md and docs/cgiaa.1, the reference of every command, from the code.

    python docs/commands.py

A test fails where the two files are not what this writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.main import get_command

from cgiaa_cli import __version__, cli

FOLDER = Path(__file__).parent
INTRODUCTION = f"""<!-- written by docs/commands.py: change the help texts in cgiaa_cli, then run it again -->

# Every command

What `--help` says, of cgiaa {__version__}. The pages beside this one tell what each is for, and how it is used.

To complete commands and options with Tab: `cgiaa --install-completion`, in a bash, zsh or fish of your own, and begin
a new one. In zsh the first Tab of a session only loads the completions; they come with the second.
"""
EXIT_CODES = {
    "0": "done",
    "1": "nothing matched",
    "2": "wrong usage or a fatal error, one line says which",
    "3": "some photos failed, the rest succeeded",
    "130": "interrupted; what was finished is kept",
}
ENVIRONMENT = {
    "CGIAA_DB": "the cache; --db wins over it, and it over the config file",
    "CGIAA_MODEL": "the bundle; --model wins over it, and it over the config file",
    "CGIAA_CONFIG": "the config file",
    "CGIAA_DEBUG": "1: show the traceback of an error",
    "NO_COLOR": "no colours",
}


@dataclass(frozen=True)
class Page:
    """One command.

    Attributes:
        name: as it is typed, `cgiaa cache info`.
        panels: parameters by heading, each as it is written on the command line and what it means.
        group: whether it only has commands of its own, which follow.
    """

    name: str
    usage: str
    help: str
    panels: dict[str, list[tuple[str, str]]]
    group: bool


def pages() -> Iterator[Page]:
    """Every command, in the order of `cgiaa --help`."""
    root = get_command(cli.app)
    context = root.make_context("cgiaa", [], resilient_parsing=True)
    yield _page(root, context, "cgiaa")
    for name in cli.COMMANDS:
        yield from _pages(cli.load_command(name), context, f"cgiaa {name}")


def _pages(command: Any, above: Any, name: str) -> Iterator[Page]:
    context = command.make_context(name.split()[-1], [], parent=above, resilient_parsing=True)
    yield _page(command, context, name)
    for sub in getattr(command, "commands", {}).values():
        if not sub.hidden:
            yield from _pages(sub, context, f"{name} {sub.name}")


def _page(command: Any, context: Any, name: str) -> Page:
    panels: dict[str, list[tuple[str, str]]] = {}
    usage = [name]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or "--help" in parameter.opts:
            continue
        written, meaning = record
        if parameter.param_type_name == "argument":
            written = parameter.metavar or parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
            usage.append(written if parameter.required or written.startswith("[") else f"[{written}]")
            panel = "Arguments"
        else:
            written = _typed(written)
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
        panels.setdefault(panel, []).append((written, " ".join(meaning.split())))
    group = hasattr(command, "commands")
    if group:
        usage.append("COMMAND ...")
    if len(panels) > ("Arguments" in panels):
        usage.insert(1, "[OPTIONS]")
    return Page(name, " ".join(usage), command.help or "", panels, group)


def _typed(written: str) -> str:
    """`--top <int range>` as `--top NUMBER`."""
    written = re.sub(r"<list\[(.*)\]>", r"<\1>", written).replace(" <bool>", "")
    written = re.sub(r"<(int|float)( range)?>", "NUMBER", written)
    return re.sub(r"<(path|Path)>", "PATH", written.replace("<str>", "TEXT"))


def markdown() -> str:
    """docs/commands.md."""
    parts = [INTRODUCTION]
    for page in pages():
        parts.append(f"## {page.name}\n\n{_plain(page.help)}\n\n    {page.usage}\n")
        for heading, rows in page.panels.items():
            lines = "\n".join(f"- `{written}`: {_plain(meaning)}" for written, meaning in rows)
            parts.append(f"{heading}:\n\n{lines}\n")
    return "\n".join(parts)


def _plain(text: str) -> str:
    """Text in which Markdown finds no markup but `code`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<])", r"\\\1", part) for part in parts)


def man() -> str:
    """docs/cgiaa.1."""
    root, *commands = pages()
    lines = [f'.TH CGIAA 1 "" "cgiaa {__version__}" "User Commands"', ".SH NAME"]
    lines += [_roff(f"cgiaa - {root.help[0].lower()}{root.help[1:].rstrip('.')}"), ".SH SYNOPSIS", _roff(root.usage)]
    lines += [".SH OPTIONS", *_panels(root), ".SH COMMANDS"]
    for page in commands:
        lines += [f".SS {_roff(page.usage)}", *_paragraphs(page.help), *_panels(page)]
    for heading, rows in (("EXIT STATUS", EXIT_CODES), ("ENVIRONMENT", ENVIRONMENT)):
        lines += [f".SH {heading}", *_rows(rows.items())]
    return "\n".join(lines) + "\n"


def _panels(page: Page) -> Iterator[str]:
    for rows in page.panels.values():
        yield from _rows(rows)


def _rows(rows: Any) -> Iterator[str]:
    for written, meaning in rows:
        yield from (".TP", f"\\fB{_roff(written)}\\fR", _roff(meaning.replace("`", "")))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.replace("`", "").split("\n\n"):
        yield from (".PP", _roff(" ".join(paragraph.split())))


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


FILES = {"commands.md": markdown, "cgiaa.1": man}

if __name__ == "__main__":
    for name, write in FILES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")
