"""Running the stages of a recipe: in order, skipping what is done, each into its own folder below one."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cgiaa_training import preflight
from cgiaa_training.files import appearing, require_space
from cgiaa_training.processes import is_first
from cgiaa_training.readers import exists
from cgiaa_training.recipe import Recipe, stage_module

from cgiaa_cli import __version__
from cgiaa_cli.config import DEVICES
from cgiaa_cli.errors import CgiaaError, DeviceError, UsageError
from cgiaa_cli.paths import escape

__all__ = ["Context", "commit", "make_context", "plan_stages", "run_stages"]

Say = Callable[[str], None]
RESULTS = "results.json"
MADE = "data"  # folder of synthetic data in a run's
LEAST_SPACE = 1_000_000_000
PATIENCE = 600  # seconds that the other processes wait for the first one


@dataclass(frozen=True)
class Context:
    """What a stage is given.

    Attributes:
        data: root folder or address of the sets, see `manifest.load_set`.
        out: folder of the run; a stage's own is `folder(stage)`.
        device: `cpu` or `cuda`.
        say: takes a line for the user.
        command: the user's command line, for the records.
    """

    recipe: Recipe
    data: Path | str
    out: Path
    device: str = "cpu"
    say: Say = field(default=lambda _: None)
    command: str = ""

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
                mend=f"run: {self._command(stage)}",
            )
        return dict(record["results"])

    def _command(self, stage: str) -> str:
        words = ["cgiaa", "train", stage, "--recipe", self.recipe.source or self.recipe.name]
        if self.data != self.out / MADE:
            words += ["--data", str(self.data)]
        return shlex.join(map(escape, [*words, "--out", str(self.out)]))

    def record(self, stage: str) -> dict[str, Any] | None:
        """The record of a stage that is done; None where it is not.

        Raises:
            CgiaaError: it was done with another recipe, or its record is damaged.
        """
        path = self.out / stage / RESULTS
        if not path.exists():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            written, _ = found["fingerprint"], found["results"]
        except (ValueError, TypeError, KeyError) as error:
            raise CgiaaError(
                "not the record of a stage: cut off or changed",
                path=escape(path),
                mend="delete it to run the stage anew",
            ) from error
        if written != self.recipe.fingerprint(stage):
            raise CgiaaError(
                f"the stage '{stage}' was run with another recipe",
                path=escape(path),
                mend="use another --out, or delete the stage's folder to run it anew",
            )
        return found


def make_context(
    recipe: Recipe,
    data: Path | str | None,
    out: Path,
    device: str = "auto",
    say: Say = lambda _: None,
    *,
    spare: Path | None = None,
) -> Context:
    """The context of a run; where the recipe asks for synthetic data and none is given, they are made in OUT/data.

    Of several processes the first makes them, and says what is said.

    Args:
        spare: where they are made instead, if they are not there yet: for a plan, which leaves nothing in OUT.

    Raises:
        UsageError: no such device, no data, or OUT cannot be a folder.
    """
    import torch

    if device not in DEVICES:
        raise UsageError(f"device '{device}' is not known", mend=f"choose one of {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("torch finds no CUDA device", mend="use --device cpu, or install a CUDA build of torch")
    kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    _require_folder(out)
    if data is None and not recipe.data.synthetic:
        raise UsageError(f"the recipe {recipe.name} needs --data", mend="see docs/data.md for what lies in it")
    if data is not None and not exists(str(data)):
        raise UsageError("no such folder", path=escape(data), mend="name the folder of the training sets")
    if data is not None and "://" not in str(data) and not Path(data).is_dir():
        raise UsageError("not a folder", path=escape(data), mend="name the folder that the file lies in")
    if data is None:
        data = out / MADE
        if not data.exists():
            data = _make_data(recipe, spare or out) if is_first() or spare else _made_by_the_first(data)
    return Context(recipe, data, out, kind, say if is_first() else lambda _: None)


def _require_folder(out: Path) -> None:
    for place in (out, *out.parents):
        if place.exists():
            if not place.is_dir():
                raise UsageError("not a folder", path=escape(place), mend="name another --out")
            return


def _make_data(recipe: Recipe, folder: Path) -> Path:
    from cgiaa_training.synthetic import make

    partial = folder / f"{MADE}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    make(partial, recipe.data.synthetic, recipe.seed)
    return partial.replace(folder / MADE)


def _made_by_the_first(data: Path) -> Path:
    for _ in range(PATIENCE):
        if data.exists():
            return data
        time.sleep(1)
    raise CgiaaError(
        "the first process made no data", path=escape(data), mend="see what it says, or name an --out that all see"
    )


def plan_stages(context: Context, stages: Sequence[str]) -> Iterator[str]:
    """A table of what the stages would do, from each stage's own `plan`; nothing is trained or written.

    Raises:
        UsageError: the recipe has no such stage.
        CgiaaError: what a stage needs is not there, see `preflight.look`.
    """
    for stage in stages:
        _require_stage(context.recipe, stage)
    preflight.look(context.recipe, stages, context.data)
    yield f"{'stage':12}{'samples':>10}{'steps':>8}{'parameters':>12}{'trained':>12}{'memory':>10}{'time':>10}"
    for stage in stages:
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
    """Run stages, without those that are done; of several processes (`torchrun`) the first alone exports.

    Args:
        stages: names, in order; see `recipe.STAGES`.
        command: the user's command line, for the record.

    Returns:
        The results of every stage.

    Raises:
        UsageError: the recipe has no such stage.
        CgiaaError: what a stage needs is not there (nothing is run then), a stage was done with other data, or of a
            stage; what the stages before it made stays.
    """
    from cgiaa_training.engine import take_gpu

    for stage in stages:
        _require_stage(context.recipe, stage)
    take_gpu(context.device)
    require_space(context.out, LEAST_SPACE, "training")
    context = replace(context, command=command)
    data = _look(context, stages)
    results = {}
    for stage in stages:
        if stage == "export" and not is_first():
            continue
        if context.record(stage) is not None:
            context.say(f"{stage}: done before")
        else:
            context.say(f"{stage} ...")
            start = time.monotonic()
            found = stage_module(stage).run(context)
            _write(context, stage, found, time.monotonic() - start, data[stage])
            context.say(f"{stage}: done in {time.monotonic() - start:.0f} s")
        results[stage] = context.results(stage)
    return results


def _look(context: Context, asked: Sequence[str]) -> dict[str, dict[str, str]]:
    """The digests of each stage's sets, after a look at what those that are not done will need.

    The stages before those asked for are compared, too: what comes next learns from what they left.
    """
    order = context.recipe.stages
    stages = order[: 1 + max(map(order.index, asked), default=-1)]
    records = {stage: context.record(stage) for stage in stages}
    needs = preflight.look(context.recipe, [s for s in asked if records[s] is None], context.data)
    for line in needs.warnings:
        context.say(line)
    names = {stage: preflight.names_until(context.recipe, stage) for stage in stages}
    known = preflight.digests(sorted(set().union(*names.values())), context.data, needs.sets)
    found = {stage: {name: known[name] for name in known if name in names[stage]} for stage in stages}
    for stage, record in records.items():
        before = (record or {}).get("data", {})  # older versions wrote none
        changed = [name for name, digest in found[stage].items() if before.get(name, digest) != digest]
        if changed:
            raise CgiaaError(
                f"the stage '{stage}' was run with other data: {', '.join(map(escape, changed))} has changed since",
                path=escape(context.out / stage / RESULTS),
                mend="use another --out, or delete the folders of this stage and of those after it to run them anew",
            )
    return found


def _write(context: Context, stage: str, results: dict[str, Any], seconds: float, data: dict[str, str]) -> None:
    record = {
        "stage": stage,
        "fingerprint": context.recipe.fingerprint(stage),
        "recipe": context.recipe.name,
        "command": context.command,
        "cgiaa": __version__,
        "commit": commit(),
        "python": sys.version.split()[0],
        "device": context.device,
        "data": data,
        "seconds": round(seconds, 1),
        "results": results,
    }
    with appearing(context.folder(stage) / RESULTS) as partial:
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


def commit() -> str | None:
    """The commit of the sources, with `+` where they were changed since; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        asked = [["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no", "."]]
        head, changes = (subprocess.run(a, cwd=folder, capture_output=True, text=True) for a in asked)
    except OSError:  # no git
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "") if head.returncode == 0 else None
