"""Byte-level BPE as `tokenizers` trains it (tokenizer.json), in plain Python: a critique needs no further package.

It reads what `training/tokenizer.py` writes, and GPT-2's own tokenizer.json: model BPE, byte-level pre-tokenizer
and decoder, no normaliser. Encoding is checked against `tokenizers` in the tests.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path

from cgiaa_cli.errors import BundleError
from cgiaa_cli.paths import escape

__all__ = ["Tokenizer"]

# GPT-2's \p{L} and \p{N}, for Python's re: a letter is a word character that is neither digit nor underscore
_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


@functools.cache
def _byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    others = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + i) for i, byte in enumerate(others)}


class Tokenizer:
    """Text to token numbers and back.

    Args:
        path: tokenizer.json.

    Attributes:
        path: the file.
        controls: number by control token (`<bos>`, ...); text never encodes to one, and they decode to nothing.

    Raises:
        BundleError: the file is missing or is not such a tokenizer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            described = json.loads(path.read_text("utf-8"))
            model = described["model"]
            if model["type"] != "BPE" or described.get("normalizer") is not None:
                raise ValueError("not byte-level BPE")
            self._numbers: dict[str, int] = model["vocab"]
            merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
            self.controls: dict[str, int] = {t["content"]: t["id"] for t in described["added_tokens"] if t["special"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"not a tokenizer of byte-level BPE ({error})", path=escape(path), mend="export the bundle again"
            ) from error
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._pieces = {number: piece for piece, number in self._numbers.items()}
        self._letters = _byte_letters()
        self._bytes = {letter: byte for byte, letter in self._letters.items()}
        self._cache: dict[str, list[int]] = {}

    def __len__(self) -> int:
        """How many tokens there are, controls included."""
        last: int = max(*self._pieces, *self.controls.values())
        return 1 + last

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text."""
        numbers: list[int] = []
        for piece in _PIECES.findall(text):
            if piece not in self._cache:
                self._cache[piece] = self._merge("".join(self._letters[b] for b in piece.encode("utf-8")))
            numbers += self._cache[piece]
        return numbers

    def decode(self, numbers: Iterable[int]) -> str:
        """The text; bytes that are no UTF-8 (a character cut in two) become U+FFFD."""
        hidden = set(self.controls.values())
        letters = "".join(self._pieces[n] for n in numbers if n not in hidden and n in self._pieces)
        return bytes(self._bytes[letter] for letter in letters).decode("utf-8", "replace")

    def _merge(self, letters: str) -> list[int]:
        parts = list(letters)
        while len(parts) > 1:
            pairs = [
                (self._ranks.get((a, b), len(self._ranks)), i) for i, (a, b) in enumerate(itertools.pairwise(parts))
            ]
            rank, i = min(pairs)
            if rank == len(self._ranks):
                break
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return [self._numbers[part] for part in parts]
