"""Words as a vector in the space that a bundle's text tower shares with its photos.

`training/search.py` exports what is read here: `text.onnx` (ids, mask -> vector), its tokenizer, and `search.npy`, the
linear map from embeddings of photos to that space.
"""

from __future__ import annotations

import html
import json
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.errors import BundleError, ExtraMissingError, UsageError
from cgiaa_cli.paths import escape, printable

if TYPE_CHECKING:
    from cgiaa_cli.bundles import Bundle
    from cgiaa_cli.curation.search import Query

__all__ = ["MAP", "TOKENIZER", "query_of", "require_tower", "tokenizer_of"]

MAP, TOKENIZER = "search.npy", "text-tokenizer.json"


def require_tower(bundle: Bundle) -> None:
    """Raise a UsageError where a bundle has no text tower."""
    if "search" not in bundle.text:
        raise UsageError(
            f"the model {printable(bundle.name)} {printable(bundle.version)} cannot search by words: it has no text "
            "tower aligned with its photos",
            mend="search with --like PHOTO, or train a model with export.search = 'words' in its recipe",
        )


def query_of(bundle: Bundle, words: str) -> Query:
    """What to look for; for a bundle with a text tower.

    Raises:
        BundleError: a file of it is missing or is not what it should be.
        ExtraMissingError: its tokenizer needs a package that is not installed.
    """
    from cgiaa_cli.curation.search import Query

    folder = bundle.folder / "text"
    try:
        matrix: NDArray[np.float32] = np.load(folder / MAP, allow_pickle=False).astype(np.float32)
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise ValueError("not a matrix of numbers")
    except (OSError, ValueError, EOFError) as error:
        raise _broken(folder / MAP, error) from error
    vector = _embed(folder, words)
    if len(vector) != len(matrix):
        raise _broken(folder / MAP, f"{len(matrix)} rows for words of {len(vector)} numbers")
    weight, bias = matrix[:, :-1], matrix[:, -1]

    def place(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if vectors.shape[1] != weight.shape[1]:
            raise _broken(folder / MAP, f"it is for embeddings of {weight.shape[1]} numbers, not {vectors.shape[1]}")
        return np.asarray(vectors @ weight.T + bias, np.float32)

    return Query(vector, place, f"words {bundle.manifest['files'].get(f'text/{MAP}')}")


def tokenizer_of(folder: Path, says: Mapping[str, Any]) -> Path:
    """The tokenizer of a text tower: its own, or the judge's where both have the same; `says`: its text.json."""
    return folder / Path(says.get("tokenizer", TOKENIZER)).name


def _broken(path: Path, why: object) -> BundleError:
    return BundleError(f"not what searching by words needs ({why})", path=escape(path), mend="export the bundle again")


def _embed(folder: Path, words: str) -> NDArray[np.float32]:
    """(D,) of length 1."""
    from cgiaa_cli.critique.decode import open_network

    try:
        says = json.loads((folder / "text.json").read_text("utf-8"))
        tokenizer = tokenizer_of(folder, says)
        context, pad, fixed, clean = int(says["context"]), int(says["pad"]), bool(says["fixed"]), _CLEAN[says["clean"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(folder / "text.json", error) from error
    numbers = _encoding(tokenizer, context)(clean(words))
    if len(numbers) > context:
        numbers = [*numbers[: context - 1], numbers[-1]]  # the last one ends a text
    length = context if fixed else max(2, len(numbers))
    ids, mask = np.full((1, length), pad, np.int64), np.zeros((1, length), np.int64)
    ids[0, : len(numbers)], mask[0, : len(numbers)] = numbers, 1
    network = open_network(folder / "text.onnx", None)
    given = {"ids": ids, "mask": mask}
    try:
        found = network.run(["vector"], {one.name: given[one.name] for one in network.get_inputs()})[0]
    except Exception as error:  # ONNX Runtime's own classes, which share no base
        raise _broken(folder / "text.onnx", type(error).__name__) from error
    vector: NDArray[np.float32] = np.asarray(found, np.float32).reshape(-1)
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _encoding(path: Path, context: int) -> Callable[[str], list[int]]:
    """Text to token numbers: in plain Python where that is enough, else with the package `tokenizers`."""
    from cgiaa_cli.critique.judge import load_encoding

    try:
        return load_encoding(path)
    except BundleError:
        pass  # of another kind, e.g. CLIP's
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ExtraMissingError("words", "searching by words with this model") from None
    try:
        tokenizer: Any = Tokenizer.from_file(str(path))
    except Exception as error:  # it raises plain Exception
        raise _broken(path, " ".join(str(error).split())) from error
    tokenizer.enable_truncation(context)
    tokenizer.no_padding()
    return lambda text: list(tokenizer.encode(text).ids)


def _plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


def _canonical(text: str) -> str:
    return " ".join(text.replace("_", " ").translate(str.maketrans("", "", string.punctuation)).lower().split())


# as open_clip cleans texts, but for the mending of wrong encodings: nobody types those
_CLEAN: dict[str, Callable[[str], str]] = {
    "": str,
    "whitespace": _plain,
    "lower": lambda text: _plain(text).lower(),
    "canonicalize": lambda text: _canonical(html.unescape(text)),
}
