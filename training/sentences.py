"""Comments as sentences, and which of them are worth learning from.

Amateurs' comments are full of what teaches a writer nothing: "nice shot", votes, greetings, the same words again. That
such safe comments make generated critiques useless, and that dropping them mends it, is from Ghosal et al. 2019
(Aesthetic image captioning from weakly-labelled photographs). Each drop has a reason, and the reasons are counted.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from cgiaa_cli.critique.safe import is_safe, words

__all__ = ["REASONS", "Rules", "Sieve", "clean", "is_english", "is_safe", "own_score", "split", "words"]

REASONS = ("too short", "too long", "safe", "not English", "duplicate")
"""Why `Sieve` drops a sentence, in the order in which it asks."""

_DASHES = "-\u2013\u2014"
_JUNK = re.compile(r"<[^>]+>|\[/?(?:b|i|u|url|img|quote|color|size)[^\]]*\]|https?://\S+|www\.\S+", re.IGNORECASE)
_SMILEY = re.compile(r"(?<!\w)[:;=8xX]['\u2019]?-?[)(DPpOo/\\|*](?!\w)|<3|\^_?\^")
_OWN_SCORE = re.compile(
    r"(?:^|(?<=[\s.!?,:;(\-\"])|(?<=\.\.\.))(?<!\d[.:,])"
    r"(?:(?:i(?:'ll| will)? )?(?:give|gave|giving) (?:it |this |you )*(?:an? )?)?"
    r"\(?(10|[1-9])(?:\s*/\s*10| out of 10)?\)?\s*(?:from me)?\s*[.!)]*\s*$",
    re.IGNORECASE,
)
# "at f/2.8", "approx. 5 m", "e.g. the sky", "No. 1", "vs. mine": a point there ends nothing
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|approx|vs|mr|mrs|ms|dr|st|no|f|fig|cf|esp|min|max|sec|deg)|\b(?-i:[A-Z]))\.$", re.IGNORECASE
)
_END = re.compile(
    # the space after a full stop is often left out: "done here.This is"
    r"(?<=[.!?\u2026])[\"'\u201d\u2019)\]]*(?:\s+|(?=[A-Z][a-z']|I\b))"
    r"|\s*\n+\s*|\s+(?=[\u2022*]\s)"
)

# Words that are in nearly every English comment; a sentence with enough of them needs no language model.
_ENGLISH_WORDS = """
    the and is it this that you your with have would could more but not was are be for of to from very just really
    like love well great good nice light lighting color colors colour colours focus shot photo image picture
    composition background sharp blur subject dof depth field black white contrast i'd i'm it's don't
"""
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_LANGUAGES = ["en", "es", "fr", "de", "it", "pt", "nl", "pl", "ru", "sv", "da", "no", "fi", "cs", "hu", "ro", "tr"]
_LANGUAGES += ["el", "id", "vi", "zh", "ja", "ko", "ar", "he", "uk", "bg", "hr", "sk", "sl", "lt", "lv", "et", "ca"]


def clean(text: str) -> str:
    """The text without markup, addresses, smileys, runs of the same mark and needless space; lines stay lines."""
    text = html.unescape(html.unescape(text)).replace("\r\n", "\n").replace("\r", "\n")
    text = _SMILEY.sub(" ", _JUNK.sub(" ", text))
    text = re.sub(r"\.{4,}", "...", re.sub(r"([!?,;:*_~=-])\1+", r"\1", text))
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r" +([.,!?;:])", r"\1", text)
    return re.sub(r"\s*\n\s*", "\n", text).strip(f" \n*_~,;:{_DASHES}")


def own_score(text: str) -> tuple[str, int | None]:
    """A comment without the score 1..10 that its writer put at the end ("Wonderful light. 8"), and that score.

    On DPChallenge many voters write down what they gave: the only true labels of polarity in amateurs' comments. A
    number after a word that counts or names ("iso 8", "top 10", "number 1") is no score.
    """
    found = _OWN_SCORE.search(text)
    if found is None:
        return text, None
    before = text[: found.start()].rstrip()
    last = words(before)[-1:] if before and (before[-1].isalnum() or before[-1] in "-'") else []
    counted = {"top", "number", "no", "iso", "f", "at", "of", "the", "than", "over", "under", "get", "about", "only"}
    if last and (last[0] in counted or before[-1] in "-'" or before[-1].isdigit()):
        return text, None
    return before.rstrip(f" (,;:{_DASHES}"), int(found[1])


def split(text: str) -> list[str]:
    """The sentences of a text that `clean` gave, in order; what is written without any full stop stays in one.

    Numbers and marks of a list are left out.
    """
    parts: list[str] = []
    start = 0
    for end in _END.finditer(text):
        before = text[start : end.start()]
        if not before.strip() or ("\n" not in end[0] and _ABBREVIATION.search(before)):
            continue
        parts.append(text[start : end.end()])
        start = end.end()
    parts.append(text[start:])
    return [part.strip(f" \n*\u2022{_DASHES}") for part in parts if words(part)]


def is_english(text: str) -> bool:
    """Whether a text is English; short ones are given the benefit of the doubt."""
    found = words(text)
    if not found:
        return False
    if sum(word in _ENGLISH for word in found) >= max(1, len(found) / 5):
        return True
    from py3langid import rank

    scores = {language: float(score) for language, score in rank(text) if language in _LANGUAGES}
    # on a handful of words the model is often wrong ("nice bokeh" is Slovenian to it), but then not by much
    return max(scores.values()) - scores["en"] < 2.5 * min(len(found), 8)


@dataclass(frozen=True)
class Rules:
    """What a sentence must be to be kept.

    Attributes:
        least_words, most_words: how long.
        safe, foreign, repeated: keep these too: praise that fits any photo, other languages, and a sentence that
            came before (marks and capitals do not make it another).
    """

    least_words: int = 4
    most_words: int = 60
    safe: bool = False
    foreign: bool = False
    repeated: bool = False

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = ["least_words must be 1 or more"] if self.least_words < 1 else []
        if self.most_words < self.least_words:
            faults.append("most_words must not be below least_words")
        return faults


class Sieve:
    """Keeps or drops sentences one after the other, and counts why.

    Attributes:
        dropped: how many by reason, see `REASONS`.
        kept: how many.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.kept = 0
        self._dropped: Counter[str] = Counter()
        self._seen: set[int] = set()

    @property
    def dropped(self) -> Mapping[str, int]:
        return {reason: self._dropped[reason] for reason in REASONS}

    def keeps(self, sentence: str) -> bool:
        """Whether a sentence stays."""
        reason = self._reason(sentence)
        if reason is not None:
            self._dropped[reason] += 1
            return False
        self.kept += 1
        return True

    def _reason(self, sentence: str) -> str | None:
        found = words(sentence)
        if len(found) < self.rules.least_words:
            return "too short"
        if len(found) > self.rules.most_words:
            return "too long"
        if not self.rules.safe and is_safe(sentence):
            return "safe"
        if not self.rules.foreign and not is_english(sentence):
            return "not English"
        key = hash(" ".join(found))  # 64 bits: among a hundred million sentences a clash is still unlikely
        if not self.rules.repeated and key in self._seen:
            return "duplicate"
        self._seen.add(key)
        return None
