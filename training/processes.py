"""The processes that share a run, as `torchrun` or `fabric run` started them; told without torch."""

from __future__ import annotations

import os

__all__ = ["is_first", "launcher"]


def launcher() -> str:
    """Who started this process as one of several: `fabric`, `torchrun`, or "" for nobody, whatever else is set.

    A scheduler sets RANK, too: for processes that know nothing of each other.
    """
    if "LT_CLI_USED" in os.environ:
        return "fabric"
    return "torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else ""


def is_first() -> bool:
    """Whether this process speaks and writes for all of them."""
    return not launcher() or os.environ.get("RANK", "0") == "0"
