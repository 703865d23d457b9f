"""What the judge of critiques is compared with: a rule of keywords, and a bag of words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from cgiaa_models.text_judge import ABOUT
from numpy.typing import NDArray

__all__ = ["KEYWORDS", "BagOfWords", "by_keywords"]

Array = NDArray[Any]

KEYWORDS = {
    "color_light": r"colou?r\w*|light\w*|lit|tone[sd]?|tonal\w*|tonality|contrast\w*|satur\w*|expos\w*|overexposed|"
    r"underexposed|highlights?|shadows?|bright\w*|dark\w*|warm\w*|vibran\w*|hues?|palette|white balance|b&w|"
    r"black and white|monochrome|sunset|sunlight|flash|blown|silhouette\w*",
    "composition": r"compos\w*|crop\w*|fram(?:e|es|ed|ing)|thirds?|cent(?:er|re)\w*|off-cent(?:er|re)|balanced?|"
    r"symmetr\w*|angles?|perspective|horizons?|tilt\w*|placement|placed|lines?|leading|diagonal\w*|space|edges?|"
    r"corners?|foreground|point of view|pov|vertical\w*|horizontal\w*|clutter\w*|distract\w*",
    "depth_focus": r"focus\w*|sharp\w*|blur\w*|bokeh|dof|depth|oof|soft|aperture|f/?\d+(?:\.\d+)?|crisp\w*|"
    r"detail\w*|shallow|clarity",
}
"""Words of each attribute, as DPC-Captions and Food-IAC tell theirs apart; a text with none of them is general."""

_PATTERNS = {name: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for name, words in KEYWORDS.items()}


def by_keywords(texts: Sequence[str]) -> Array:
    """(N,) index into `ABOUT`: the attribute with the most keywords; the earlier one where there are as many."""
    found = []
    for text in texts:
        counts = {name: len(pattern.findall(text)) for name, pattern in _PATTERNS.items()}
        best = max(counts, key=lambda name: counts[name])
        found.append(ABOUT.index(best if counts[best] else "general"))
    return np.array(found, dtype=np.int64)


class BagOfWords:
    """TF-IDF of words and word pairs, with logistic regression for what a text is about and ridge for its score.

    Args:
        texts, about: N texts and their index into `ABOUT`.
        scores: (N,), NaN where there is none; with none at all, `polarity` is not to be called.
    """

    def __init__(self, texts: Sequence[str], about: Array, scores: Array) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression, Ridge

        self.words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        features = self.words.fit_transform(texts)
        self.classifier = LogisticRegression(C=5.0, max_iter=2000)
        self.classifier.fit(features, about)
        scored = ~np.isnan(scores)
        self.ridge = Ridge(alpha=2.0).fit(features[scored], scores[scored]) if scored.any() else None

    def about(self, texts: Sequence[str]) -> Array:
        """(N,) index into `ABOUT`."""
        return np.asarray(self.classifier.predict(self.words.transform(texts)))

    def polarity(self, texts: Sequence[str]) -> Array:
        """(N,) in about 1..10."""
        if self.ridge is None:
            raise ValueError("no text had a score")
        return np.asarray(self.ridge.predict(self.words.transform(texts)))
