"""The experts at work: candidates for each attribute, checked, and the best that is left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.critique.claims import OWN, Claim, find_claims, merits, told
from cgiaa_cli.critique.decode import Candidate, OnnxDecoder, Sampling, write
from cgiaa_cli.critique.facts import Facts, words
from cgiaa_cli.critique.judge import TextJudge
from cgiaa_cli.critique.odd import stutters
from cgiaa_cli.critique.prompt import ATTRIBUTES, LEVELS, Prompt, choose_facts
from cgiaa_cli.critique.safe import words as said_words
from cgiaa_cli.critique.tokenizer import Tokenizer
from cgiaa_cli.critique.verify import Copies, Verifier
from cgiaa_cli.errors import BundleError
from cgiaa_cli.inference.scores import Scores
from cgiaa_cli.paths import escape

__all__ = ["Writer", "load_writer"]

Array = NDArray[Any]
EXPERTS, COPIES = "experts.json", "copies.bin"
POINTS = "experts.npy"
"""Where experts see photos: W and b (D, F + 1) from the encoder's `embedding` to the space that they learned in."""


# what experts are not told: read beside photos, more than half of what was measured was no leading line, and a frame
# without a plain area is not one that its subject fills
_UNSURE = {"leading_lines": {"present", "absent"}, "space": {"filled"}}
_MEANT = {
    "night": {"exposure", "shadows", "contrast", "saturation"},
    "low_key": {"exposure", "shadows", "contrast", "saturation"},
    "silhouette": {"exposure", "shadows"},
    "high_key": {"exposure", "highlights", "contrast"},
    "white_ground": {"exposure", "highlights"},
    "bokeh": {"depth"},
    "panning": {"motion_blur", "depth"},
    "black_and_white": {"saturation", "cast"},
}
"""By kind of photo the measurements that tell nothing against it: a night is dark."""
ODD = 7  # tenths of what the decoder writes and the checks leave, the least likely ones: odd English is among them
COOL = 0.6  # temperature; those tenths are of warmer texts, so that more than three in ten of these pass
WARM = 6.0  # mean b* of what is nearly grey, from which on somebody who looks calls the light warm
LOW = 0.35  # standing below which an attribute's text blames, and as far from 1, praises
SENTENCES = 2
"""Texts of different claims that a full critique is put together from, at most; a general one is a whole by itself."""


@dataclass(frozen=True)
class _Text:
    text: str
    stated: frozenset[str]  # measurements of which it claims something that holds


class Writer:
    """Writes critiques with a bundle's experts.

    Args:
        decoders: by attribute; several attributes may share one.
        plans: by attribute and level, see `prompt.choose_facts`.
        usual: by attribute, the nine tenths of the likelihood of what the decoder writes and the checks leave,
            ascending; a text below the `ODD`th is dropped.
        place: from the encoder's embedding of a photo to what a decoder that sees photos is shown; None: none sees.
    """

    def __init__(
        self,
        decoders: Mapping[str, OnnxDecoder],
        tokenizer: Tokenizer,
        plans: Mapping[str, Sequence[Any]],
        judge: TextJudge,
        verifier: Verifier,
        usual: Mapping[str, Sequence[float]],
        place: Callable[[Array], Array] | None = None,
    ) -> None:
        self._decoders = decoders
        self._tokenizer = tokenizer
        self._plans = {
            name: [[(facts, n) for facts, n in level if all(m in OWN[name] for m, _ in facts)] for level in levels]
            for name, levels in plans.items()
        }
        self._judge = judge
        self._verifier = verifier
        self._least = {name: tenths[ODD - 1] for name, tenths in usual.items() if tenths}
        self._place = place

    def write(
        self,
        facts: Facts,
        standings: Mapping[str, float],
        scores: Scores,
        count: int,
        seed: int,
        *,
        short: bool = False,
    ) -> dict[str, tuple[str, dict[str, int]]]:
        """By attribute the best of what passed every check ("" where nothing did), and why the others were dropped.

        Args:
            standings: by attribute, share of the reference photos that score lower, 0..1.
            count: candidates of each attribute.
            short: one candidate; else up to `SENTENCES` that claim different things.
        """
        holds = _told(facts)
        dice = np.random.default_rng(seed)
        prompts = {name: self._prompts(name, standings[name], holds, count, dice, short) for name in ATTRIBUTES}
        drawn = self._draw(prompts, scores, seed)
        dropped = {name: Counter[str]() for name in ATTRIBUTES}
        left: list[tuple[str, Candidate]] = []
        for name, candidates in drawn.items():
            unique = {candidate.text: candidate for candidate in candidates}
            for candidate in unique.values():
                reason = self._verifier.before_judging(name, candidate.text, candidate.finished, holds)
                if reason is None and candidate.likelihood < self._least.get(name, -np.inf):
                    reason = "unlikely"
                if reason is None:
                    left.append((name, candidate))
                else:
                    dropped[name][reason] += 1
        about, polarity = self._judge.judge([candidate.text for _, candidate in left])
        passed: dict[str, list[_Text]] = {name: [] for name in ATTRIBUTES}
        for (name, candidate), topic, praise in zip(left, about, polarity, strict=True):
            reason = self._verifier.after_judging(name, candidate.text, topic, float(praise), standings[name])
            claims = find_claims(candidate.text)
            if reason is None and name == "general" and _against(claims, standings):
                reason = "tone"
            if reason is not None:
                dropped[name][reason] += 1
                continue
            passed[name].append(_Text(candidate.text, told(claims)))
        most = {name: 1 if short or name == "general" else SENTENCES for name in ATTRIBUTES}
        return {
            name: (_together(texts, most[name], dice), dict(sorted(dropped[name].items())))
            for name, texts in passed.items()
        }

    def _prompts(
        self,
        name: str,
        standing: float,
        holds: Mapping[str, Collection[str]],
        count: int,
        dice: np.random.Generator,
        short: bool,
    ) -> list[Prompt]:
        level = 1 + min(LEVELS - 1, int(standing * LEVELS))
        plans = self._plans[name][level - 1]
        lengths = ("short",) if short else ("short", "medium")
        return [Prompt(name, level, lengths[i % len(lengths)], choose_facts(plans, holds, dice)) for i in range(count)]

    def _draw(self, prompts: Mapping[str, list[Prompt]], scores: Scores, seed: int) -> dict[str, list[Candidate]]:
        """Attributes that share a decoder are written in one batch."""
        found: dict[str, list[Candidate]] = {}
        for decoder in {id(d): d for d in self._decoders.values()}.values():
            names = [name for name in ATTRIBUTES if self._decoders[name] is decoder]
            asked = [prompt for name in names for prompt in prompts[name]]
            features = None
            if decoder.feature and self._place is not None:
                features = np.repeat(self._place(scores.embedding)[None], len(asked), 0)
            texts = write(decoder, self._tokenizer, asked, Sampling(COOL), seed=seed, features=features)
            for name in names:
                found[name], texts = texts[: len(prompts[name])], texts[len(prompts[name]) :]
        return found


def _told(facts: Facts) -> dict[str, set[str]]:
    """By measurement the values that an expert may speak of."""
    meant = set[str]().union(*(_MEANT.get(kind, set()) for kind in facts.kinds))
    held = words(facts)
    unsure = {m: set(values) for m, values in _UNSURE.items()}
    if "filled" in held["space"]:
        unsure["clutter"] = {"simple"}
    if facts.colour.cast_b < WARM:
        unsure["cast"] = {"warm"}
    sure = {m: values - unsure.get(m, set()) for m, values in held.items() if m not in meant}
    return {m: values for m, values in sure.items() if values}


def _against(claims: Sequence[Claim], standings: Mapping[str, float]) -> bool:
    """Whether a general text praises what its own attribute's text blames, or the other way round."""
    for claim in claims:
        owner = next(name for name, measured in OWN.items() if claim.measurement in measured)
        merit = merits([claim])
        if (merit > 0 and standings[owner] < LOW) or (merit < 0 and standings[owner] > 1 - LOW):
            return True
    return False


def _together(texts: Sequence[_Text], most: int, dice: np.random.Generator) -> str:
    """One of the texts, and others that claim something else in other words; at most so many.

    Not the likeliest: what a decoder finds likeliest it would say of every photo.
    """
    chosen: list[_Text] = []
    for i in dice.permutation(len(texts)):
        said = frozenset[str]().union(*(c.stated for c in chosen))
        both = [word for text in (*chosen, texts[i]) for word in said_words(text.text)]
        if len(chosen) < most and not texts[i].stated & said and not stutters(both):
            chosen.append(texts[i])
    return " ".join(text.text for text in chosen)


def load_writer(folder: Path, judge: TextJudge, threads: int | None = None) -> Writer:
    """The writer of a bundle's folder `text`, as `training/export.py` fills it, with the judge of the same bundle.

    Raises:
        BundleError: a file is missing or is not what it should be.
    """
    path = folder / EXPERTS
    try:
        about = json.loads(path.read_text("utf-8"))
        networks = about["networks"]
        opened: dict[str, OnnxDecoder] = {}
        for network in networks.values():
            if network["decoder"] not in opened:
                mapper = folder / network["mapper"] if network["mapper"] else None
                decoder = OnnxDecoder(folder / network["decoder"], mapper, context=network["context"], threads=threads)
                opened[network["decoder"]] = decoder
        decoders = {name: opened[network["decoder"]] for name, network in networks.items()}
        edges, plans, common = about["edges"], about["plans"], frozenset(about["common"])
        usual = about.get("usual", {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"not the description of experts ({error})", path=escape(path), mend="export the bundle again"
        ) from error
    copies = Copies(folder / COPIES) if (folder / COPIES).exists() else None
    verifier = Verifier(common, copies, edges)
    sizes = {d.feature for d in opened.values() if d.feature}
    place = _placing(folder / POINTS, sizes) if sizes else None
    return Writer(decoders, Tokenizer(folder / "tokenizer.json"), plans, judge, verifier, usual, place)


def _placing(path: Path, sizes: set[int]) -> Callable[[Array], Array]:
    """The map in `path`: from an embedding (F,) to a point (D,) of length 1, as the experts were shown in training.

    Args:
        sizes: every D that a mapper takes.
    """

    def broken(why: object) -> BundleError:
        return BundleError(
            f"not where experts see photos ({why})",
            path=escape(path),
            mend="export the bundle again, or set export.experts = false in its recipe",
        )

    try:
        with path.open("rb") as file:  # which numpy leaves open when it fails
            loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            raise ValueError("an archive of arrays")
        matrix: Array = loaded.astype(np.float32)
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise ValueError("not a matrix of numbers")
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise broken(error.strerror if isinstance(error, OSError) else error) from error
    if sizes != {len(matrix)}:
        raise broken(f"{len(matrix)} rows for a mapper of {', '.join(map(str, sorted(sizes)))} numbers")

    def place(embedding: Array) -> Array:
        if len(embedding) != matrix.shape[1] - 1:
            raise broken(f"it is for embeddings of {matrix.shape[1] - 1} numbers, not {len(embedding)}")
        point = matrix[:, :-1] @ embedding.astype(np.float32) + matrix[:, -1]
        return np.asarray(point / max(float(np.linalg.norm(point)), 1e-9))

    return place
