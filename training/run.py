"""Running the stages of a recipe: in order, skipping what is done, each into its own folder below one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgiaa_training.files import appearing, require_space
from cgiaa_training.recipe import Recipe, stage_module

from cgiaa_cli import __version__
from cgiaa_cli.config import DEVICES
from cgiaa_cli.errors import CgiaaError, DeviceError, UsageError
from cgiaa_cli.paths import escape

__all__ = ["Context", "make_context", "plan_stages", "run_stages"]

Say = Callable[[str], None]
RESULTS = "results.json"
LEAST_SPACE = 1_000_000_000


@dataclass(frozen=True)
class Context:
    """What a stage is given.

    Attributes:
        data: root folder of the sets, see `manifest.load_set`.
        out: folder of the run; a stage's own is `folder(stage)`.
        device: `cpu` or `cuda`.
        say: takes a line for the user.
    """

    recipe: Recipe
    data: Path
    out: Path
    device: str = "cpu"
    say: Say = field(default=lambda _: None)

    def folder(self, stage: str) -> Path:
        """The stage's folder, made where it is not there."""
        folder = self.out / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def results(self, stage: str) -> dict[str, Any]:
        """What a stage that is done has measured.

        Raises:
            CgiaaError: it is not done, or was done with another recipe.
        """
        record = self.record(stage)
        if record is None:
            raise CgiaaError(
                f"the stage '{stage}' is not done",
                path=escape(self.out / stage),
                mend=f"run: cgiaa train {stage} --recipe {self.recipe.name} --out {escape(self.out)}",
            )
        return dict(record["results"])

    def record(self, stage: str) -> dict[str, Any] | None:
        """The record of a stage that is done; None where it is not.

        Raises:
            CgiaaError: it was done with another recipe.
        """
        path = self.out / stage / RESULTS
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if found["fingerprint"] != self.recipe.fingerprint(stage):
            raise CgiaaError(
                f"the stage '{stage}' was run with another recipe",
                path=escape(path),
                mend="use another --out, or delete the stage's folder to run it anew",
            )
        return found


def make_context(
    recipe: Recipe, data: Path | None, out: Path, device: str = "auto", say: Say = lambda _: None
) -> Context:
    """The context of a run; where the recipe asks for synthetic data and none is given, they are made in OUT/data.

    Raises:
        UsageError: no such device, or no data.
    """
    import torch

    if device not in DEVICES:
        raise UsageError(f"device '{device}' is not known", mend=f"choose one of {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("torch finds no CUDA device", mend="use --device cpu, or install a CUDA build of torch")
    kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if data is None and not recipe.data.synthetic:
        raise UsageError(f"the recipe {recipe.name} needs --data", mend="see docs/data.md for what lies in it")
    if data is not None and not data.is_dir():
        raise UsageError("no such folder", path=escape(data), mend="name the folder of the training sets")
    if data is None:
        from cgiaa_training.synthetic import make

        data = out / "data"
        if not data.exists():
            partial = out / "data.partial"
            shutil.rmtree(partial, ignore_errors=True)
            make(partial, recipe.data.synthetic, recipe.seed)
            partial.replace(data)
    return Context(recipe, data, out, kind, say)


def plan_stages(context: Context, stages: Sequence[str]) -> Iterator[str]:
    """A table of what the stages would do, from each stage's own `plan`; nothing is trained or written."""
    yield f"{'stage':12}{'samples':>10}{'steps':>8}{'parameters':>12}{'trained':>12}{'memory':>10}{'time':>10}"
    for stage in stages:
        _require_stage(context.recipe, stage)
        p = stage_module(stage).plan(context)
        sizes = f"{p.parameters / 1e6:>11.1f}M{p.trained / 1e6:>11.1f}M{p.memory_bytes / 1e9:>8.2f}GB"
        yield f"{stage:12}{p.samples:>10}{p.steps:>8}{sizes}{_duration(p.seconds):>10}"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _require_stage(recipe: Recipe, stage: str) -> None:
    if stage not in recipe.stages:
        raise UsageError(f"the recipe {recipe.name} has no stage '{stage}'", mend=f"it has {', '.join(recipe.stages)}")


def run_stages(context: Context, stages: Sequence[str], command: str = "") -> dict[str, dict[str, Any]]:
    """Run stages, without those that are done.

    Args:
        stages: names, in order; see `recipe.STAGES`.
        command: the user's command line, for the record.

    Returns:
        The results of every stage.

    Raises:
        UsageError: the recipe has no such stage.
        CgiaaError: of a stage; what the stages before it made stays.
    """
    for stage in stages:
        _require_stage(context.recipe, stage)
    require_space(context.out, LEAST_SPACE, "training")
    results = {}
    for stage in stages:
        if context.record(stage) is not None:
            context.say(f"{stage}: done before")
        else:
            context.say(f"{stage} ...")
            start = time.monotonic()
            found = stage_module(stage).run(context)
            _write(context, stage, found, time.monotonic() - start, command)
            context.say(f"{stage}: done in {time.monotonic() - start:.0f} s")
        results[stage] = context.results(stage)
    return results


def _write(context: Context, stage: str, results: dict[str, Any], seconds: float, command: str) -> None:
    record = {
        "stage": stage,
        "fingerprint": context.recipe.fingerprint(stage),
        "recipe": context.recipe.name,
        "command": command,
        "cgiaa": __version__,
        "commit": _commit(),
        "python": sys.version.split()[0],
        "device": context.device,
        "seconds": round(seconds, 1),
        "results": results,
    }
    with appearing(context.folder(stage) / RESULTS) as partial:
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _commit() -> str | None:
    """The commit of the sources, with `+` where they were changed since; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        asked = [["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no", "."]]
        head, changes = (subprocess.run(a, cwd=folder, capture_output=True, text=True) for a in asked)
    except OSError:  # no git
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "") if head.returncode == 0 else None
