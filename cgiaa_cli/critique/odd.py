"""English that nobody would write: what was read of a decoder's, one pattern a kind."""

from __future__ import annotations

import itertools
import re

__all__ = ["is_odd", "stutters"]

_WRONG = (
    # grammar
    r"\ba a\b",
    r"\ban (?![aeiouh])\w+",
    r"\b(?:is|are) (?:and|than|looks)\b",
    r"\bthe overall is\b",
    r"\bbut still works\b|\bneeds to be more\b",
    r"\b(?:too|also|as well|though|and|overall|made|much|is|are|of|however)\.?$",
    r"\b(?:is very well|good one|to it|a lot|to shooting|and simple|and clean|here that)\.?$",
    r"(?<!subject )\band the (?:subject|background|image|composition|lighting|sharpness|light)(?: matter)?\.$",
    # phrases that mean nothing
    r"^(?:not sure|a better)\b",
    r"\b(?:can be avoided|in all ways|the most things|could be (?:done|made)|should be better)\b",
    r"\b(?:a bit (?:on|empty)|no bit)\b",
    r"\b(?:(?:not a|are no) problems?|kind of thing|first impression|the fact that|to create the impression)\b",
    r"\b(?:lots? of elements|background elements|moving|lack of (?:space|background(?! clutter)))\b",
    r"\b(?:is|are) too much for\b|\bis too much going on\b|\ba very better\b",
    r"\b(?:use of|and) the subject (?:in|and|centred)\b|\band the composition is a good choice\b",
    r"\b(?:touch|choice|addition), but it works\b",
    r"\btoo much (?:centred|in the centre)\b",
    r"\b(?:and|is|are|not) in the frame\b",
    r"\b(?:lacks any|burnt out|is a problem)\b|\ba bit off\.?$",
    # things said of what they cannot be said of
    r"\bsubject (?:is|seems) (?:\w+ ){0,3}(?:cluttered|busy|empty|awkward|flat|well balanced)\b",
    r"(?<!around the )\bsubject is (?:\w+ ){0,3}distracting\b",
    r"\bcentre of (?:the|this) \w+ (?:is|looks|seems) (?:\w+ ){0,3}(?:good|nice|great|excellent|perfect|distracting)\b",
    r"\b(?:highlights|shadows) are (?:\w+ )?(?:sharp|clear)\b",
    r"\bsubject is too harsh\b|\bdiagonals?\b.*\bstand out\b",
    r"\bcontrast is (?:\w+ ){0,3}(?:dark|bright|soft)\b",
    r"\bsaturation (?:is|are) (?:\w+ ){0,3}(?:bright|dark|flat)\b",
    r"\b(?:blur is|not as bright|in focus and (?:crisp|sharp) image)\b",
    # one part of the sentence against the other
    r"\b(?:too|a (?:bit|little)) (?:\w+ )?(?:sharp|sharpness|crisp|simple|clean|good|nice|clear|perfect|great)\b",
    r"\b(?:but|though) (?:not (?:a |too |that |necessarily )?(?:bad|distract\w*)|there (?:is|are) no\b)",
    r"\b(?:busy|cluttered),? but the (?:background|subject) is\b",
    r"\b(?:distracting|dull|flat|harsh|dark) and (?:it )?makes\b",
    r"\b(?:focus, which is a good choice|centred, which makes it)\b",
    r"\bbut not sharp\.?$",
    r"\b(?:dark|busy|dull|flat|bright|saturated), which (?:could|may|might) be a good\b",
    r"\b(?:dull|muted|flat|low|dark|busy|cluttered|soft|noisy)\b[^.]*\bbut\b[^.]*\b(?:dull|low|dark|flat|harsh|bland|noisy|soft)\b",
)
_ODD = re.compile("|".join(_WRONG), re.IGNORECASE)
# a "but" without a blame on either side says nothing
_BUT = re.compile(r"\b(?:but|though|although|however|yet)\b", re.IGNORECASE)
_BLAME = re.compile(
    r"\b(?:not|no|\w+n't|too|bit|little|lack\w*|could|might|more|distract\w*|soft|dull|flat|dark|blur\w*|odd|harsh|busy|"
    r"weak|poor|muted|noisy|tilted|bright|low|empty|despite)\b",
    re.IGNORECASE,
)
_REPEATED = {"this", "that", "with", "very", "really", "subject", "image", "more"}


def is_odd(text: str) -> bool:
    """Whether a text is such English, or sets one merit against another."""
    return bool(_ODD.search(text) or (_BUT.search(text) and not _BLAME.search(text)))


def stutters(words: list[str]) -> bool:
    """Whether it says a thing twice: two words of some length that begin alike ("sharp", "sharpness")."""
    long = [word[:5] for word in words if len(word) > 3 and word not in _REPEATED]
    return any(a == b for a, b in itertools.pairwise(words)) or len(set(long)) < len(long)
