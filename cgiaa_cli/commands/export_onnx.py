"""`cgiaa export-onnx`: a trained checkpoint, or a finished run, becomes a bundle that --model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgiaa_cli.bundles import Bundle
from cgiaa_cli.commands.training import needs_training
from cgiaa_cli.paths import escape

__all__ = ["export_onnx"]


def export_onnx(
    source: Annotated[Path, typer.Argument(metavar="CHECKPOINT|RUN", help="A student.pt, or the folder of a run.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the new bundle; replaced if it is there.")],
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16 (half the size), fp16-gpu, int8 (calibrated; of a run) or int8-dynamic. "
            "Without it: what the run's recipe ships, or fp32."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the bundle.")] = None,
    version: Annotated[str | None, typer.Option("--bundle-version", help="Its version.")] = None,
) -> None:
    """Turn a trained checkpoint or a finished run into a bundle.

    A checkpoint is first compared in ONNX Runtime with torch, at batch 1 and 8; a run's export stage did that.
    """
    if source.is_dir():
        from cgiaa_training.assemble import export_run

        _wrote(export_run(source, out, precision, name=name, version=version))
        return
    with needs_training("exporting a checkpoint"):
        from cgiaa_training.export import PARITY, export_student
    bundle, worst = export_student(
        source, out, name=name or "student", version=version or "1", precision=precision or "fp32"
    )
    for output, difference in worst.items():
        typer.echo(f"{output:12}  largest difference from torch {difference:.1e}  (limit {PARITY:g})")
    _wrote(bundle)


def _wrote(bundle: Bundle) -> None:
    size = sum((bundle.folder / file).stat().st_size for file in bundle.manifest["files"]) / 1e6
    precision = bundle.manifest.get("precision", "fp32")
    typer.echo(f"wrote {escape(bundle.folder)}: {bundle.name} {bundle.version}, {precision}, {size:.1f} MB")
