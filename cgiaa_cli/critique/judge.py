"""The judge of critiques at run time: what a text is about and how much it praises, in ONNX Runtime.

`training/text_judge.py` learns and exports it. Its tokenizer.json (WordPiece with BERT's rules, uncased) is read in
plain Python; the tests compare that with `tokenizers`, which a user need not install.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.critique.decode import open_network
from cgiaa_cli.errors import BundleError
from cgiaa_cli.paths import escape

__all__ = ["ABOUT", "TextJudge", "Tone", "load_encoding"]

ABOUT = ("color_light", "composition", "depth_focus", "general", "none")

Encoding = Callable[[str], list[int]]


class TextJudge:
    """Judges texts.

    Args:
        network: judge.onnx: `ids`, `mask` (B, L) int64 -> `about` (B, 5) logits, `polarity` (B,) in 1..10.
        tokenizer: tokenizer.json of it.
        context: tokens of a text at most.

    Raises:
        BundleError: a file is missing or is not what it should be.
    """

    def __init__(self, network: Path, tokenizer: Path, *, context: int = 128, threads: int | None = None) -> None:
        self._session = open_network(network, threads)
        self._encode = load_encoding(tokenizer)
        self._context = context

    def judge(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(N, 5) probabilities in the order of `ABOUT`, and (N,) polarity in 1..10."""
        if not texts:
            return np.zeros((0, len(ABOUT)), np.float32), np.zeros(0, np.float32)
        encoded = [_cut(self._encode(text), self._context) for text in texts]
        longest = max(2, *map(len, encoded))
        ids, mask = (np.zeros((len(texts), longest), np.int64) for _ in range(2))
        for row, numbers in enumerate(encoded):
            ids[row, : len(numbers)], mask[row, : len(numbers)] = numbers, 1
        logits, polarity = self._session.run(["about", "polarity"], {"ids": ids, "mask": mask})
        shares = np.exp(logits - logits.max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True), polarity


class Tone:
    """Chooses among true texts by how they sound.

    Args:
        edges: by attribute, the nine tenths of the polarity of the training texts, ascending.
    """

    def __init__(self, judge: TextJudge, edges: Mapping[str, Sequence[float]]) -> None:
        self._judge = judge
        self._edges = edges

    def closest(self, attribute: str, texts: Sequence[str], standing: float) -> int:
        """Which text is most about the attribute and in the tone of its standing.

        Args:
            standing: share of the reference photos that score lower, 0..1; as much praise as that share of the training
                texts stays below is wanted.
        """
        edges = self._edges[attribute]
        if len(edges) < 2:  # no text about it was learned from
            return 0
        about, polarity = self._judge.judge(texts)
        outer = [2 * edges[0] - edges[1], *edges, 2 * edges[-1] - edges[-2]]
        share = np.interp(polarity, outer, np.linspace(0, 1, len(outer)))
        return int(np.argmin(np.abs(share - standing) + 1 - about[:, ABOUT.index(attribute)]))


def _cut(numbers: list[int], context: int) -> list[int]:
    """At most `context` tokens, the last one (BERT's [SEP]) kept."""
    return numbers if len(numbers) <= context else [*numbers[: context - 1], numbers[-1]]


def load_encoding(path: Path) -> Encoding:
    """A function text -> token numbers, from a tokenizer.json.

    Raises:
        BundleError: it is missing or of another kind.
    """
    try:
        return _WordPiece(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"not a tokenizer of the judge ({error})", path=escape(path), mend="export the bundle again"
        ) from error


class _WordPiece:
    """BERT's tokenizer (Devlin et al. 2019), uncased: words and marks, then the longest known pieces from the left."""

    def __init__(self, described: dict[str, Any]) -> None:
        model = described["model"]
        if model["type"] != "WordPiece" or not described["normalizer"]["lowercase"]:
            raise ValueError("not an uncased WordPiece")
        self._numbers: dict[str, int] = model["vocab"]
        self._unknown = self._numbers[model["unk_token"]]
        self._first, self._last = self._numbers["[CLS]"], self._numbers["[SEP]"]
        self._longest = int(model["max_input_chars_per_word"])

    def __call__(self, text: str) -> list[int]:
        return [self._first, *(n for word in _words(text) for n in self._pieces(word)), self._last]

    def _pieces(self, word: str) -> list[int]:
        if len(word) > self._longest:
            return [self._unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            end = next((e for e in range(len(word), start, -1) if mark + word[start:e] in self._numbers), None)
            if end is None:
                return [self._unknown]
            found.append(self._numbers[mark + word[start:end]])
            start = end
        return found


def _words(text: str) -> Iterator[str]:
    plain = unicodedata.normalize("NFD", text.lower())
    word = ""
    for c in plain:
        category = unicodedata.category(c)
        if category == "Mn" or (category.startswith("C") and c not in "\t\n\r"):
            continue
        if c.isspace() or _is_mark(c, category) or 0x4E00 <= ord(c) <= 0x9FFF:
            if word:
                yield word
            word = ""
            if not c.isspace():
                yield c
        else:
            word += c
    if word:
        yield word


def _is_mark(c: str, category: str) -> bool:
    """What BERT parts words at: every punctuation, and all of ASCII that is neither letter, digit nor space."""
    return category.startswith("P") or (c.isascii() and not c.isalnum() and not c.isspace())
