"""`cgiaa train`: build a bundle from photos and critiques, stage by stage or all at once."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cgiaa_cli.commands.training import needs_training
from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import escape, printable

__all__ = ["app"]

LEAKS = 3

# name of the stage: line in `cgiaa train --help`
STAGES = {
    "vlap": "VLAP: align photos and critiques in one space.",
    "attributes": "Sort critiques by attribute and polarity: the critique database.",
    "experts": "MAEL: the attributes' experts learn to write critiques.",
    "fusion": "MAP: predict score distributions from photo and critiques.",
    "distill": "The image-only student that ranks photos.",
    "export": "The bundle that --model takes, with its model card.",
}

app = typer.Typer(help="Train a bundle of your own.", no_args_is_help=True)
data_app = typer.Typer(help="Look into training data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

RecipeOption = Annotated[str, typer.Option("--recipe", help="Name of a recipe (see: cgiaa train recipes), or a file.")]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Folder or address of the training sets, see docs/data.md.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of the run; a run that was interrupted goes on in it.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Instead of the recipe's.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan: parameters, memory and time, and train nothing.")
]


@app.command("all")
def all_(
    out: OutOption,
    recipe: RecipeOption = "base",
    data: DataOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """All stages of the recipe, in order, without those that are done; ends with a bundle below OUT."""
    _run(None, out, recipe, data, device, seed, dry_run)


def _stage(name: str) -> Callable[..., None]:
    def command(
        out: OutOption,
        recipe: RecipeOption = "base",
        data: DataOption = None,
        device: DeviceOption = "auto",
        seed: SeedOption = None,
        dry_run: DryRunOption = False,
    ) -> None:
        _run(name, out, recipe, data, device, seed, dry_run)

    return command


for _name, _help in STAGES.items():
    app.command(_name, help=_help)(_stage(_name))


@app.command()
def recipes() -> None:
    """List the recipes that come with cgiaa."""
    with needs_training("training"):
        from cgiaa_training.recipe import load_recipe, recipe_names

        found_all = [load_recipe(name) for name in recipe_names()]
    for found in found_all:
        typer.echo(f"{found.name:16}  {found.description}  [{', '.join(found.stages)}]")


@data_app.command()
def check(
    sets: Annotated[list[str], typer.Argument(help="Names of sets (docs/data.md), or manifest files.")],
    data: Annotated[
        str, typer.Option("--data", metavar="DIR", help="Folder or address of the training sets.")
    ] = "data",
    leave_out: Annotated[
        bool,
        typer.Option("--leave-out", help="Name the missing and corrupt ones in DIR/left-out.txt; training skips them."),
    ] = False,
) -> None:
    """Find missing, corrupt, duplicated, leaking and disputed photos; exit 3 if there are any."""
    with needs_training("checking training data"):
        from cgiaa_training.check import check as look
        from cgiaa_training.left_out import leave_out as leave
    if leave_out and not Path(data).is_dir():
        raise UsageError("no folder to write left-out.txt to", path=escape(data), mend="leave out --leave-out")
    report = look(sets, data, _say)
    for line in report.lines():
        typer.echo(printable(line))
    if leave_out and report.unreadable:
        path = leave(report.unreadable, Path(data))
        typer.echo(f"{escape(path)} names the missing and corrupt photos: training goes without them")
    if report.faults:
        raise typer.Exit(LEAKS)


def _run(
    stage: str | None, out: Path, recipe: str, data: str | None, device: str, seed: int | None, dry_run: bool
) -> None:
    with needs_training("training"):
        from cgiaa_training.processes import is_first
        from cgiaa_training.recipe import load_recipe
        from cgiaa_training.run import make_context, run_stages

        chosen = load_recipe(recipe)  # which imports its stages
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    stages = chosen.stages if stage is None else (stage,)
    if dry_run:
        if is_first():
            _plan(chosen, stages, out, data, device)
        return
    context = make_context(chosen, data, out, device, _say)
    results = run_stages(context, stages, shlex.join(["cgiaa", *sys.argv[1:]]))
    if not is_first():
        return
    for name, found in results.items():
        for key, value in found.items():
            if not isinstance(value, dict | list):
                typer.echo(printable(f"{name:12}{key:40}  {_short(value)}"))
    bundle = out / "bundle"
    if "export" in results:
        typer.echo(f"{escape(bundle)} is ready: cgiaa rank FOLDER --model {escape(bundle)}")


def _plan(recipe: Any, stages: Sequence[str], out: Path, data: str | None, device: str) -> None:
    """Print what the stages would do; what has to be made for that is gone afterwards."""
    from tempfile import TemporaryDirectory

    from cgiaa_training.run import make_context, plan_stages

    with TemporaryDirectory() as spare:
        for line in plan_stages(make_context(recipe, data, out, device, _say, spare=Path(spare)), stages):
            typer.echo(printable(line))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _say(line: str) -> None:
    typer.echo(printable(f"cgiaa: {line}"), err=True)
