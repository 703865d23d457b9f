"""Words as vectors in the space that a bundle's text tower shares with its photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import printable

if TYPE_CHECKING:
    from cgiaa_cli.bundles import Bundle
    from cgiaa_cli.curation.search import Query

__all__ = ["query_of", "require_tower"]


def require_tower(bundle: Bundle) -> None:
    """Raise a UsageError where a bundle has no text tower."""
    if "search" not in bundle.text:
        raise UsageError(
            f"the model {printable(bundle.name)} {printable(bundle.version)} cannot search by words: it has no text "
            "tower aligned with its photos",
            mend="search with --like PHOTO, or use a bundle trained with `search = true` in the recipe's [export]",
        )


def query_of(bundle: Bundle, words: str) -> Query:
    """What to look for."""
    raise NotImplementedError
