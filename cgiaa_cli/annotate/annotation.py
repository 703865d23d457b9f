"""From a row of the cache to what is written about the photo."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from cgiaa_cli.annotate.plan import Annotation
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.inference.scores import ATTRIBUTES

__all__ = ["ROOT", "Keywords", "annotation_of", "caption", "critiques_of"]

ROOT = "Aesthetics"
_NAMES = {
    "score": "Overall",
    "color_light": "Color and light",
    "composition": "Composition",
    "depth_focus": "Depth and focus",
    "general": "General feeling",
    "technical": "Technical quality",
}
_PROPERTIES = ("score", "spread", *ATTRIBUTES, "technical", "complexity")
Critiques = Callable[[int], str | None]


class Keywords(StrEnum):
    """Which keywords to write."""

    both = "both"
    hierarchical = "hierarchical"
    flat = "flat"
    none = "none"


def annotation_of(
    row: Mapping[str, Any],
    scorer: tuple[str, str, str],
    rating: int | None,
    label: str | None,
    keywords: Keywords = Keywords.both,
    critique: str | None = None,
) -> Annotation:
    """What to write about one photo.

    Args:
        row: as `cache.rows.row_json` makes it, of a photo with scores.
        scorer: name, version and preprocessing of the bundle.
        critique: text for the caption; None: there is none.
    """
    values = {**row, **row["attributes"]}
    scores = {_camel(name): f"{values[name]:.2f}" for name in _PROPERTIES if values.get(name) is not None}
    scores |= {"Bundle": scorer[0], "BundleVersion": scorer[1], "Preprocess": scorer[2]}
    # a whole number, halves up, so that 7 means "7 or so" to whoever filters by it
    levels = {title: int(values[name] + 0.5) for name, title in _NAMES.items() if values.get(name) is not None}
    hierarchical = tuple(f"{ROOT}|{title}|{level}" for title, level in levels.items())
    flat = tuple(f"{title} {level}" for title, level in levels.items())
    return Annotation(
        scores,
        rating,
        label,
        critique,
        hierarchical if keywords in (Keywords.both, Keywords.hierarchical) else (),
        flat if keywords in (Keywords.both, Keywords.flat) else (),
    )


def critiques_of(cache: Cache, scorer: int) -> Critiques | None:
    """A function from the id of a content to its critique in words, as `cgiaa critique` left it in the cache.

    Of several, made with other settings, the newest counts; its texts follow each other in the order of
    `ATTRIBUTES`. None where the cache is of a time before critiques were kept.

    Raises:
        CacheError: the cache cannot be read.
    """
    with cache.guard():
        columns = {row[1] for row in cache.conn.execute("PRAGMA table_info(critiques)")}
    if not {"scorer_id", "content_id", "made_at", "body"} <= columns:
        return None
    query = "SELECT body FROM critiques WHERE scorer_id = ? AND content_id = ? ORDER BY made_at DESC LIMIT 1"

    def critique(content: int) -> str | None:
        with cache.guard():
            found = cache.conn.execute(query, (scorer, content)).fetchone()
        return caption(json.loads(found[0])) if found else None

    return critique


def caption(critique: Mapping[str, Any]) -> str | None:
    """The texts of a row of `cgiaa critique`, one after the other; None where it has none."""
    attributes = critique.get("attributes") or {}
    texts = [str((attributes.get(name) or {}).get("text") or "").strip() for name in ATTRIBUTES]
    # what was said of one attribute is not said again of the next
    return " ".join(dict.fromkeys(text for text in texts if text)) or None


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
