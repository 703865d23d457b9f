"""One photo as a JSON object: the shape that `rank`, `filter` and `scan --format jsonl` print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cgiaa_cli.inference.scores import ATTRIBUTES

__all__ = ["row_json"]

_BEFORE = ("score", "spread")
_AFTER = (
    "technical",
    "complexity",
    "taken_at",
    "camera",
    "lens",
    "focal_length",
    "aperture",
    "shutter",
    "iso",
    "latitude",
    "longitude",
    "width",
    "height",
    "format",
    "bytes",
)


def row_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of one photo.

    Args:
        record: one row of files, contents and scores joined, by the names of the columns (a dict, or a
            `sqlite3.Row` turned into one); what is not there counts as null. `companions` is the cache's
            JSON text or a list; the attributes stand either as their own columns or under `attributes`.

    Returns:
        `path`, `score` (1..10), `spread`, `attributes` (each 1..10; null where there is no score),
        `technical` (1..10), `complexity` (0..100), `taken_at`, what EXIF says (mm, f-number, seconds,
        degrees), `width` and `height` (pixels, upright), `format`, `bytes`, `companions` (escaped paths);
        and, only where the photo failed, `error` and `error_kind`.
    """
    row: dict[str, Any] = {"path": record["path"]}
    failed = record.get("error_kind") is not None or record.get("error") is not None
    for key in _BEFORE:
        row[key] = None if failed else record.get(key)
    attributes = record.get("attributes") or {name: record.get(name) for name in ATTRIBUTES}
    scored = not failed and row["score"] is not None
    row["attributes"] = {name: attributes.get(name) for name in ATTRIBUTES} if scored else None
    for key in _AFTER:
        hidden = failed and key in ("technical", "complexity")
        row[key] = None if hidden else record.get(key)
    companions = record.get("companions") or []
    row["companions"] = json.loads(companions) if isinstance(companions, str) else list(companions)
    if failed:
        row["error"] = record.get("error")
        row["error_kind"] = record.get("error_kind")
    return row
