"""Writing with a decoder that keeps a cache: nucleus sampling and beam search in numpy, many candidates at once.

The networks stay outside: anything with the methods of `Decoder` will do, `OnnxDecoder` at run time and a wrapper
around the torch module in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.critique.prompt import EOS, Prompt
from cgiaa_cli.critique.tokenizer import Tokenizer
from cgiaa_cli.errors import BundleError
from cgiaa_cli.paths import escape

__all__ = ["Candidate", "Decoder", "OnnxDecoder", "Sampling", "beam", "open_network", "sample", "write"]

Array = NDArray[Any]
_NEVER = np.float32(-1e9)
HEAD = 64  # tokens that are sorted: nearly always the whole nucleus


class Decoder(Protocol):
    """One step of a causal decoder; shapes as in `OnnxDecoder`."""

    context: int

    def prefix(self, features: Array | None, count: int) -> Array:
        """(count, P, W) that stands before the text; P is 0 for a decoder that sees no photo."""
        ...

    def start(self, count: int) -> Array:
        """The empty cache of `count` texts."""
        ...

    def step(self, ids: Array, prefix: Array, mask: Array, past: Array) -> tuple[Array, Array]:
        """Logits (B, V) of the next token, and the cache."""
        ...


class OnnxDecoder:
    """A decoder as `training/export_experts.py` exports it, in ONNX Runtime.

    Args:
        network: decoder.onnx; inputs `ids` (B, T) int64, `prefix` (B, P, W) float32, `mask` (B, C + P + T) int64 and
            `past` (layers, 2, B, heads, C, W / heads) float32; outputs `logits` (B, V) and `present`.
        mapper: mapper.onnx, (B, D) `feature` -> `prefix`; None: a decoder that sees no photo.
        threads: of ONNX Runtime.

    Attributes:
        feature: D of what it is shown of a photo; 0: nothing.

    Raises:
        BundleError: a file cannot be loaded or is not such a network.
    """

    def __init__(self, network: Path, mapper: Path | None = None, *, context: int, threads: int | None = None) -> None:
        self.context = context
        self._session = open_network(network, threads)
        self._mapper = open_network(mapper, threads) if mapper else None
        shapes = {i.name: i.shape for i in self._session.get_inputs()}
        missing = {"ids", "prefix", "mask", "past"}.difference(shapes)
        if missing:
            raise BundleError(f"no input {', '.join(sorted(missing))}", path=escape(network), mend="export it again")
        self._past, self._width = shapes["past"], int(shapes["prefix"][2])
        self.feature = 0
        if mapper is not None and self._mapper is not None:
            found = {i.name: i.shape for i in self._mapper.get_inputs()}.get("feature", ())
            if len(found) != 2 or not isinstance(found[1], int):
                raise BundleError("no input feature of a fixed size", path=escape(mapper), mend="export it again")
            self.feature = found[1]

    def prefix(self, features: Array | None, count: int) -> Array:
        """See `Decoder`. No features: a photo that is not known."""
        if self._mapper is None:
            return np.zeros((count, 0, self._width), np.float32)
        if features is None:
            features = np.zeros((count, self.feature), np.float32)
        found: Array = self._mapper.run(["prefix"], {"feature": features.astype(np.float32)})[0]
        return found

    def start(self, count: int) -> Array:
        """See `Decoder`."""
        layers, two, _, heads, _, size = self._past
        return np.zeros((layers, two, count, heads, 0, size), np.float32)

    def step(self, ids: Array, prefix: Array, mask: Array, past: Array) -> tuple[Array, Array]:
        """See `Decoder`."""
        logits, present = self._session.run(
            ["logits", "present"], {"ids": ids, "prefix": prefix, "mask": mask, "past": past}
        )
        return logits, present


def open_network(path: Path, threads: int | None) -> Any:
    """An ONNX Runtime session on the CPU. Raises BundleError where the file is none."""
    from cgiaa_cli.inference.engine import import_onnxruntime

    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own classes, which share no base
        raise BundleError(
            f"ONNX Runtime cannot load it ({type(error).__name__})", path=escape(path), mend="export the bundle again"
        ) from error


@dataclass(frozen=True)
class Sampling:
    """How candidates are drawn.

    Attributes:
        temperature: above 0; below 1 sharpens the distribution.
        top_p: nucleus sampling (Holtzman et al. 2020): the smallest set of tokens that holds this share.
        repetition: what a token already written is divided by (Keskar et al. 2019); 1: nothing.
        no_repeat: no run of so many tokens twice; 0: any.
        most: tokens of a text at most.
        fewest: tokens before it may end.
    """

    temperature: float = 0.8
    top_p: float = 0.92
    repetition: float = 1.1
    no_repeat: int = 3
    most: int = 48
    fewest: int = 4


@dataclass(frozen=True)
class Candidate:
    """One text.

    Attributes:
        text: decoded, without control tokens.
        tokens: what was written.
        likelihood: mean natural logarithm of the tokens' probabilities, the end included, before temperature and cut.
        finished: it ended by itself.
    """

    text: str
    tokens: tuple[int, ...]
    likelihood: float
    finished: bool


def write(
    decoder: Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    sampling: Sampling | None = None,
    *,
    seed: int = 0,
    features: Array | None = None,
) -> list[Candidate]:
    """One candidate for each prompt, all in one batch; repeat a prompt for several.

    Args:
        features: (N, D) points of the photos for a decoder that sees them.
        seed: the same seed, prompts and decoder give the same texts.
    """
    asked = [[tokenizer.controls[token] for token in prompt.tokens()] for prompt in prompts]
    end, silent = tokenizer.controls[EOS], sorted(tokenizer.controls.values())
    found = sample(decoder, asked, end=end, silent=silent, sampling=sampling, seed=seed, features=features)
    return [Candidate(tokenizer.decode(t).strip(), tuple(t), likelihood, done) for t, likelihood, done in found]


def sample(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    end: int,
    silent: Sequence[int] = (),
    sampling: Sampling | None = None,
    seed: int = 0,
    features: Array | None = None,
) -> list[tuple[list[int], float, bool]]:
    """Nucleus sampling of one text for each prompt.

    Args:
        prompts: token numbers, of any lengths.
        end: the token that ends a text; silent: tokens that are never written (`end` still ends).

    Returns:
        (tokens without the prompt and the end, mean log likelihood, did it end by itself), in the prompts' order.
    """
    sampling = sampling or Sampling()
    randoms = [np.random.default_rng([seed, i]) for i in range(len(prompts))]
    state = _State.of(decoder, prompts, features)
    room = min(sampling.most, decoder.context - state.mask.shape[1] + 1)
    texts: list[list[int]] = [[] for _ in prompts]
    scores = [0.0] * len(prompts)
    finished = [False] * len(prompts)
    going = list(range(len(prompts)))
    for position in range(max(0, room)):
        likely = _log_softmax(state.logits)
        chosen = []
        for row, i in enumerate(going):
            open_ended = position < sampling.fewest
            logits = _allowed(state.logits[row], texts[i], sampling, end, silent, open_ended)
            token = _draw(logits, sampling, randoms[i])
            scores[i] += float(likely[row, token])
            finished[i] = token == end
            if not finished[i]:
                texts[i].append(token)
            chosen.append(token)
        stay = [row for row, i in enumerate(going) if not finished[i]]
        going = [going[row] for row in stay]
        if not going or position + 1 == room:
            break
        state = state.keep(stay).advance(decoder, [chosen[row] for row in stay])
    counts = [len(text) + done for text, done in zip(texts, finished, strict=True)]
    return [(t, s / max(1, n), d) for t, s, n, d in zip(texts, scores, counts, finished, strict=True)]


def beam(
    decoder: Decoder,
    prompt: Sequence[int],
    *,
    end: int,
    silent: Sequence[int] = (),
    beams: int = 5,
    sampling: Sampling | None = None,
    feature: Array | None = None,
) -> list[tuple[list[int], float, bool]]:
    """Beam search; of `sampling` only `no_repeat`, `most` and `fewest` count.

    Args:
        feature: (D,) of the photo.

    Returns:
        As `sample`: up to `beams` different texts, the likeliest (by the mean over its tokens) first.
    """
    sampling = sampling or Sampling()
    state = _State.of(decoder, [prompt], None if feature is None else feature[None])
    room = min(sampling.most, decoder.context - state.mask.shape[1] + 1)
    going: list[tuple[list[int], float]] = [([], 0.0)]
    done: list[tuple[list[int], float, bool]] = []
    for position in range(max(0, room)):
        options: list[tuple[float, int, int]] = []
        for row, (text, score) in enumerate(going):
            allowed = _allowed(state.logits[row], text, sampling, end, silent, position < sampling.fewest)
            likely = np.where(allowed > _NEVER / 2, _log_softmax(state.logits[row][None])[0], _NEVER)
            best = np.argpartition(-likely, min(beams, len(likely) - 1))[: beams + 1]
            options += [(score + float(likely[t]), row, int(t)) for t in best if likely[t] > _NEVER / 2]
        options.sort(key=lambda option: -option[0])
        done += [(going[r][0], s / (position + 1), True) for s, r, t in options[: 2 * beams] if t == end]
        stay = [(s, r, t) for s, r, t in options if t != end][:beams]
        going = [([*going[r][0], t], s) for s, r, t in stay]
        if not going or len(done) >= 2 * beams or position + 1 == room:
            break
        state = state.keep([r for _, r, _ in stay]).advance(decoder, [t for _, _, t in stay])
    if len(done) < beams:
        done += [(text, score / max(1, len(text)), False) for text, score in going]
    return sorted(done, key=lambda d: (not d[2], -d[1]))[:beams]


@dataclass(frozen=True)
class _State:
    """Where a batch stands: the next token's logits (B, V), the mask (B, C), the cache, and the decoder's width."""

    logits: Array
    mask: Array
    past: Array
    width: int

    @classmethod
    def of(cls, decoder: Decoder, prompts: Sequence[Sequence[int]], features: Array | None) -> _State:
        """After reading the prompts, padded on the left."""
        prefix = decoder.prefix(features, len(prompts))
        longest = max(len(prompt) for prompt in prompts)
        ids = np.zeros((len(prompts), longest), np.int64)
        mask = np.ones((len(prompts), prefix.shape[1] + longest), np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = prompt
            mask[row, prefix.shape[1] : prefix.shape[1] + longest - len(prompt)] = 0
        logits, past = decoder.step(ids, prefix, mask, decoder.start(len(prompts)))
        return cls(logits, mask, past, prefix.shape[2])

    def keep(self, rows: Sequence[int]) -> _State:
        """Only these rows, in this order."""
        if list(rows) == list(range(len(self.logits))):
            return self
        return _State(self.logits[rows], self.mask[rows], np.ascontiguousarray(self.past[:, :, rows]), self.width)

    def advance(self, decoder: Decoder, tokens: Sequence[int]) -> _State:
        """After one more token each."""
        mask = np.concatenate((self.mask, np.ones((len(tokens), 1), np.int64)), 1)
        nothing = np.zeros((len(tokens), 0, self.width), np.float32)
        logits, past = decoder.step(np.array(tokens, np.int64)[:, None], nothing, mask, self.past)
        return _State(logits, mask, past, self.width)


def _allowed(
    logits: Array, text: Sequence[int], sampling: Sampling, end: int, silent: Sequence[int], open_ended: bool
) -> Array:
    """The logits (V,) with what may not come next at a large negative number."""
    logits = logits.astype(np.float32, copy=True)
    if text and sampling.repetition != 1:
        seen = np.unique(np.array(text))
        logits[seen] = np.where(
            logits[seen] > 0, logits[seen] / sampling.repetition, logits[seen] * sampling.repetition
        )
    ending = logits[end]
    logits[list(silent)] = _NEVER
    logits[end] = _NEVER if open_ended else ending
    n = sampling.no_repeat
    if n and len(text) >= n:
        tail = tuple(text[len(text) - n + 1 :])
        for start in range(len(text) - n + 1):
            if tuple(text[start : start + n - 1]) == tail:
                logits[text[start + n - 1]] = _NEVER
    return logits


def _draw(logits: Array, sampling: Sampling, random: np.random.Generator) -> int:
    scaled = logits.astype(np.float64) / sampling.temperature
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    order = np.argpartition(-shares, min(HEAD, len(shares) - 1))[:HEAD]
    if shares[order].sum() < sampling.top_p:
        order = np.arange(len(shares))
    order = order[np.argsort(-shares[order], kind="stable")]
    sums = np.cumsum(shares[order])
    inside = int(np.searchsorted(sums, sampling.top_p))
    return int(order[np.searchsorted(sums[:inside], random.random() * sums[min(inside, len(sums) - 1)], side="right")])


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
