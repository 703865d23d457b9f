"""The model card of a run, written from its own records: nothing in it is typed by hand."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cgiaa_training.manifest import Description, load_set
from cgiaa_training.recipe import sets_of
from cgiaa_training.run import Context, commit

from cgiaa_cli import __version__

__all__ = ["model_card", "training_data"]

NAMES = {"--data": "DATA", "--out": "RUN"}  # what stands for the paths of a machine
LISTED = 6  # longer lists are no numbers for a card


def training_data(context: Context) -> list[dict[str, str]]:
    """`{"name", "licence", "use"}` of every set that shaped the bundle or checked it."""
    uses: dict[str, list[str]] = {}
    for stage in context.recipe.stages:
        for field, name in sets_of(getattr(context.recipe, stage)):
            uses.setdefault(name, []).append(f"{stage} ({field})")
    found = []
    for name, use in uses.items():
        about = _describe(name, context)
        found.append({"name": about.title, "licence": about.licence, "use": ", ".join(use), "url": about.url})
    return found


def model_card(context: Context, about: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        about: what the bundle says of itself, see `bundles.About`.
        results: of the `export` stage.
    """
    recipe = context.recipe
    parts = [
        f"# Model card of {about['name']} {about['version']}",
        _one_line(recipe.description) or f"Trained by the recipe `{recipe.name}`.",
        _shipped(about["more"]) + f" Licence: {about['licence']}.",
        "## How it was made",
        _made(context),
        "## Results on held-out photos",
        _table(("what", "value"), [(name, _numbers(value)) for name, value in results["held_out"].items()]),
        "Intervals are 95 % bootstrap. Measured with ONNX Runtime through the decode and preprocess of a scan.",
        *_learned(results["held_out"]),
    ]
    for stage in recipe.stages:
        record = context.record(stage)
        if record is not None and stage != "export":
            rows = list(_rows(record["results"]))
            parts += [f"## Results of the stage {stage}", _table(("what", "value"), rows)]
    parts += [
        "## What each precision costs",
        _precisions(results["precisions"]),
        "Score difference: mean, in points of 1..10, from fp32 on the held-out photos; speed: photos a second on the "
        "CPU that exported it, as a multiple of fp32's. Largest difference of fp32 in ONNX Runtime from torch, batches "
        f"of 1 and 8: {max(results['parity'].values()):.1e}.",
        *_text(results["text"]),
        "## Weights",
        _table(("weights", "licence", "use"), [(w["name"], w["licence"], w["use"]) for w in about["weights"]]),
        "## Data",
        _table(
            ("data", "licence", "use", "where from"),
            [(d["name"], d["licence"], d["use"], d.get("url", "")) for d in about["training_data"]],
        ),
        *_warnings(context),
        "The licences of photos do not pass to the weights by our reading, but some sets are for research only: "
        "whoever ships this commercially should have that checked.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _learned(held_out: Mapping[str, Any]) -> list[str]:
    """A warning where what is called held out is not."""
    if not any("(learned from)" in name for name in held_out):
        return []
    return [
        "Rows with `(learned from)` are of sets without a test split, whose photos were learned from: they say nothing "
        "of other photos. Give the set a column `split`."
    ]


def _shipped(more: Mapping[str, Any]) -> str:
    text = more.get("text", {})
    parts = [f"Precision of what is shipped: {more['precision']}"]
    if text:
        parts.append(f"of what reads and writes texts: {text['precision']}")
    if "from" in text:
        parts.append(f"these come from the bundle {text['from']}")
    if "cosine" in text.get("experts", {}):
        near = text["experts"]
        parts.append(
            f"experts see photos through a linear map: cosine {near['cosine']:.2f} on held-out photos with where they "
            f"are to be seen ({near['blind']:.2f} if all were seen as their mean)"
        )
    if "held_out" in text.get("search", {}):
        found, towers = text["search"]["held_out"], text["search"]["towers"]
        parts.append(
            f"search by words ({text['search']['kind']}): of {found['pairs']} held-out texts "
            f"{found['text_to_image_r1']:.0%} find their photo among {found['photos']} first, "
            f"{found['text_to_image_r10']:.0%} among the first ten (the towers themselves: "
            f"{towers['text_to_image_r1']:.0%} and {towers['text_to_image_r10']:.0%})"
        )
    return "; ".join(parts) + "."


def _made(context: Context) -> str:
    records = [(stage, context.record(stage)) for stage in context.recipe.stages if stage != "export"]
    rows = [
        (stage, r["commit"] or "-", f"{r['seconds']:.0f} s, {r.get('device', 'cpu')}", _public(str(r["command"])))
        for stage, r in records
        if r is not None
    ]
    rows.append(("export", commit() or "-", "-", _public(context.command)))  # its record is written after this
    version = f"Recipe `{context.recipe.name}`, seed {context.recipe.seed}; exported by cgiaa {__version__}."
    return f"{version}\n\n{_table(('stage', 'commit', 'time', 'command'), rows)}"


def _public(command: str) -> str:
    """A command without the paths of this machine: the bundle goes to others."""
    words = shlex.split(command)
    for at, word in enumerate(words):
        option, equals, _ = word.partition("=")
        if option in NAMES and equals:
            words[at] = f"{option}={NAMES[option]}"
        elif at and words[at - 1] in NAMES:
            words[at] = NAMES[words[at - 1]]
        elif at and words[at - 1] == "--recipe":
            words[at] = Path(word).name
    return f"`{shlex.join(words)}`" if words else "-"


def _describe(name: str, context: Context) -> Description:
    return load_set(name, context.data).description


def _warnings(context: Context) -> list[str]:
    names = dict.fromkeys(n for stage in context.recipe.stages for _, n in sets_of(getattr(context.recipe, stage)))
    lines = [f"- {name}: {line}" for name in names for line in _describe(name, context).warnings]
    return ["To know of these sets:", "\n".join(lines)] if lines else []


def _precisions(found: Mapping[str, Mapping[str, Any]]) -> str:
    titles = [key for key, value in next(iter(found.values())).items() if isinstance(value, dict) and "srcc" in value]
    head = ("precision", "MB", "size", "speed", "score difference", *(f"SRCC, {title}" for title in titles))
    rows = []
    for name, cost in found.items():
        row = [name, f"{cost['bytes'] / 1e6:.1f}", f"{cost['size_ratio']:.2f}", f"{cost['speed_ratio']:.2f}"]
        rows.append((*row, f"{cost['score_mean_difference']:.3f}", *(f"{cost[t]['srcc']:.3f}" for t in titles)))
    return _table(head, rows)


def _text(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not found:
        return []
    head = list(next(iter(found.values())))
    rows = [(name, *(_number(cost[key]) for key in head)) for name, cost in found.items()]
    return [
        "What reads and writes texts, on held-out ones:",
        _table(("precision", *(h.replace("_", " ") for h in head)), rows),
    ]


def _rows(results: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Every number of nested results with the way to it; what has intervals is one line."""
    for key, value in results.items():
        name = f"{before}, {key}" if before else str(key)
        if isinstance(value, dict):
            if any(str(k).endswith("_95") for k in value):
                yield name, _numbers(value)
            else:
                yield from _rows(value, name)
        elif isinstance(value, list):
            if len(value) <= LISTED and not any(isinstance(v, list | dict) for v in value):
                yield name, ", ".join(map(_number, value))
        elif value is not None:
            yield name, _number(value)


def _numbers(result: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for key, value in result.items():
        if key.endswith("_95"):
            # of too few items there is no interval
            parts[-1] += f" [{value[0]:.3f}, {value[1]:.3f}]" if value is not None else ""
        elif not isinstance(value, dict):
            parts.append(f"{key.upper() if key in ('srcc', 'plcc', 'emd') else key} {_number(value)}")
    return ", ".join(parts)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(head), *map(tuple, rows)]
    if len(lines) == 1:
        return ""
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join("| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(str(text).split())
