"""The one place where the program meets its training side, which comes with the extra `train`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cgiaa_cli.errors import ExtraMissingError

__all__ = ["needs_training"]

_OURS = ("cgiaa_cli", "cgiaa_training", "cgiaa_models")


@contextlib.contextmanager
def needs_training(what: str) -> Iterator[None]:
    """Around an import from `cgiaa_training`: says which extra to install when a package of it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OURS:
            raise
        raise ExtraMissingError("train", what) from error
