"""Bundles from what the `export` stage made. Only files are copied here, so nothing heavy is imported."""

from __future__ import annotations

import json
from pathlib import Path

from cgiaa_cli.bundles import About, Bundle, write_bundle
from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["ABOUT", "assemble", "export_run"]

ABOUT = "about.json"
"""In a folder of the files of a bundle: its `About`, and under `beside` which files lie elsewhere. Not called
bundle.json, so that a run has one bundle below it, which `--model RUN` finds."""


def assemble(folder: Path, out: Path, **other: str) -> Bundle:
    """The bundle of a folder with `ABOUT`, what `other` says replaced; `out` is replaced whole or not at all."""
    about = json.loads((folder / ABOUT).read_text("utf-8")) | other
    files = {path.name: path for path in sorted(folder.iterdir()) if path.name != ABOUT}
    files |= {name: folder / place for name, place in about.pop("beside").items()}
    return write_bundle(out, About(**about), files)


def export_run(
    folder: Path, out: Path, precision: str | None = None, *, name: str | None = None, version: str | None = None
) -> Bundle:
    """The bundle of a finished run at one of the precisions that its `export` stage made.

    Args:
        folder: of the run.
        out: becomes the bundle; replaced whole, or not at all.
        precision: None: the one that the recipe ships.
        name, version: instead of the recipe's.

    Raises:
        CgiaaError: that stage is not done, or did not make that precision.
    """
    stage = folder / "export"
    record = stage / "results.json"
    if not record.is_file():
        raise CgiaaError(
            "the stage 'export' of this run is not done",
            path=escape(folder),
            mend=f"run: cgiaa train export --recipe RECIPE --out {escape(folder)}",
        )
    precision = precision or str(json.loads(record.read_text("utf-8"))["results"]["shipped"])
    if not (stage / precision / ABOUT).is_file():
        made = sorted(path.parent.name for path in stage.glob(f"*/{ABOUT}"))
        raise CgiaaError(
            f"this run has no network at {precision}",
            path=escape(folder),
            mend=f"choose {' or '.join(made)}, or add it to the recipe's export.measured",
        )
    other = {key: value for key, value in (("name", name), ("version", version)) if value}
    return assemble(stage / precision, out, **other)
