"""What the encoder says of one photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ATTRIBUTES", "SCORES", "Scores"]

ATTRIBUTES = ("color_light", "composition", "depth_focus", "general")
SCORES = ("score", "spread", *ATTRIBUTES, "technical", "complexity")  # the numbers of a photo, as the cache calls them


@dataclass(frozen=True)
class Scores:
    """Scores of one photo.

    Attributes:
        score: mean of `distribution` over 1..10, as AVA's mean opinion score.
        spread: standard deviation of `distribution`: how much people would disagree.
        distribution: 10 probabilities of the scores 1..10, sum 1.
        attributes: the four of `ATTRIBUTES`, each 1..10.
        technical: technical quality (blur, exposure, noise), 1..10.
        complexity: visual complexity, 0..100 as SAVOIAS.
        embedding: (D,) float16, L2-normalised; near photos look alike.
    """

    score: float
    spread: float
    distribution: tuple[float, ...]
    attributes: dict[str, float]
    technical: float
    complexity: float
    embedding: NDArray[np.float16]
