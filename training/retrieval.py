"""What a common space of photos and texts is good for: finding one by the other, and judging by prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cgiaa_models.towers import DualEncoder
from cgiaa_training.metrics import correlations
from numpy.typing import NDArray

__all__ = ["PROMPTS", "prompt_scores", "recalls", "zero_shot"]

Array = NDArray[Any]
RANKS = (1, 5, 10)
PROMPTS = (
    ("a beautiful photo", "an ugly photo"),
    ("a good photograph with pleasing composition and light", "a bad photograph with poor composition and light"),
    ("an attractive, aesthetically pleasing picture", "an unattractive, unpleasant picture"),
)
"""Pairs of opposites; fixed before any set was looked at."""


def recalls(image: Array, text: Array, photo: Sequence[int]) -> dict[str, float]:
    """Recall@1/5/10 both ways, beside what chance gives.

    Args:
        image: (P, D) normalised embeddings of photos.
        text: (T, D) of texts.
        photo: for each text, the number of its photo.

    Returns:
        `text_to_image_r1` ... (its photo is among the first k), `image_to_text_r1` ... (one of its texts is), and
        `chance_...` of each, in 0..1; `pairs`, how many texts there were. Of equal similarities the wrong one wins.
    """
    own = np.asarray(photo)
    cosines = np.asarray(text, np.float64) @ np.asarray(image, np.float64).T  # (T, P)
    right = own[:, None] == np.arange(len(image))[None, :]
    found: dict[str, float] = {"pairs": len(text), "photos": len(image)}
    for name, scores, match in (("text_to_image", cosines, right), ("image_to_text", cosines.T, right.T)):
        best = np.where(match, scores, -np.inf).max(1)
        before = (np.where(match, -np.inf, scores) >= best[:, None]).sum(1)
        matches, candidates = match.sum(1), match.shape[1]
        for k in RANKS:
            found[f"{name}_r{k}"] = round(float((before < k).mean()), 4)
            found[f"chance_{name}_r{k}"] = round(float(np.mean(_chance(candidates, matches, k))), 4)
    return found


def _chance(candidates: int, matches: Array, k: int) -> Array:
    """Chance that one of `matches` is among k drawn of `candidates` without putting back."""
    missed = np.ones(len(matches))
    for drawn in range(min(k, candidates)):
        missed *= np.clip(candidates - matches - drawn, 0, None) / (candidates - drawn)
    return 1 - missed


def prompt_scores(model: DualEncoder, image: Array, prompts: Sequence[tuple[str, str]] = PROMPTS) -> Array:
    """How much nearer each photo (N, D) lies to the first of each pair of prompts, as CLIP-IQA (Wang et al. 2023).

    Returns:
        (N,) in 0..1: the mean, over pairs, of the softmax of both similarities at the model's temperature.
    """
    with torch.inference_mode():
        said = model.encode_text([text for pair in prompts for text in pair]).float().cpu().numpy()
        scale = float(model.scale)
    cosines = np.asarray(image) @ said.T
    margin = scale * (cosines[:, 0::2] - cosines[:, 1::2])
    return np.asarray((1 / (1 + np.exp(-margin))).mean(1))


def zero_shot(
    model: DualEncoder, image: Array, truth: Array, prompts: Sequence[tuple[str, str]] = PROMPTS
) -> Mapping[str, Any]:
    """SRCC and PLCC (with a 95 % interval) of `prompt_scores` with ratings (N,)."""
    return correlations(prompt_scores(model, image, prompts), np.asarray(truth))
