"""What a generated text must be before anyone reads it: true of this photo, about its attribute, in its tone.

Every check gives the reason for which it drops a text; the reasons are counted and shown with `--format json`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.critique.claims import OWN, clash, contradictions, find_claims, merits, told
from cgiaa_cli.critique.judge import ABOUT
from cgiaa_cli.critique.odd import is_odd, stutters
from cgiaa_cli.critique.prompt import LEVELS, level_of
from cgiaa_cli.critique.safe import is_safe, words
from cgiaa_cli.errors import BundleError
from cgiaa_cli.paths import escape

__all__ = ["REASONS", "Copies", "Verifier", "copy_hash"]

REASONS = (
    "unfinished",  # cut off, too short, too long, repeats itself
    "silly",  # odd English, see odd.py
    "personal",  # speaks of I and you
    "foreign",  # a word that is no critic's: a name, a thing that the photo may not show, no English
    "safe",  # would fit any photo: "nice shot"
    "copy",  # a sentence of the training texts, word for word
    "false",  # a measurement contradicts it
    "unproven",  # claims what was not measured on this photo, or where in the frame something is
    "vague",  # claims nothing that can be measured and is not true of nearly every photo
    "off_topic",  # about another attribute, by the judge or by what it claims
    "unlikely",  # less likely than most that the decoder writes: odd English
    "tone",  # praises what scores low, or blames what is a merit, or the other way round
)
FEWEST, MOST = 4, 18  # words
SURE_TOPIC = 0.6  # probability of its own attribute
FLATTERED = 4  # levels, of ten, at which a general text praises nothing
TONE = 2  # levels, of ten, that praise and score may lie apart

_PERSONAL = re.compile(
    r"\b(?:i|i'm|i'd|i've|i'll|me|my|mine|we|our|us|you|your|yours|you're|you've|you'd|you'll|u|ur)\b", re.IGNORECASE
)
_TALK = re.compile(
    r"\b(?:challenge|ribbon|vote[sd]?|voting|contest|entry|congrat\w*|luck|bump\w*|welcome|thank\w*|title|comment\w*|"
    r"photographer|iso|raw|photoshop|lightroom|tripod|filter|lens|camera|mm|f/?\d|score[sd]?|posts?|dpc?)\b|[\d#@<>{}\[\]]|\?",
    re.IGNORECASE,
)
# where something is and how large, how hard the light is: no measurement says that
_UNSEEN = re.compile(
    r"\b(?:left|right|top|bottom|corners?|foreground|sides?|edges?|middle|upper|lower|small\w*|large\w*|big\w*|clos\w+|"
    r"far|(?:white|black|dark|plain) back\w*|in the background|details?|crop\w*|soft light\w*|"
    r"(?:light\w*|colou?rs?) (?:is|are|seems?|looks?) (?:\w+ ){0,3}(?:soft|harsh|busy|sharp|hot))\b",
    re.IGNORECASE,
)
_COLOUR = re.compile(r"\bcolou?r", re.IGNORECASE)
_PRAISE = re.compile(
    r"\b(?:good|great|nice|excellent|lovely|awesome|wonderful|perfect|well|fantastic|brilliant)\b", re.IGNORECASE
)
# words of another attribute: "the focus is good and the lighting is nice" is no critique of depth and focus
_OTHER = {
    "color_light": re.compile(r"\b(?:focus\w*|sharp\w*|compos\w+|framed|centred)\b", re.IGNORECASE),
    "composition": re.compile(r"\b(?:colou?rs?|light\w*|focus\w*|sharp\w*|contrast\w*|exposure)\b", re.IGNORECASE),
    "depth_focus": re.compile(
        r"\b(?:colou?rs?|light\w*|lit|shadows?|tones?|compos\w+|framed|placed|contrast\w*|exposure)\b", re.IGNORECASE
    ),
}
_WHOLE = re.compile(r"[.!]['\")]?$")


class Copies:
    """The sentences that the experts learned from, as sorted 48-bit hashes of their words.

    Args:
        path: copies.bin: little-endian, 6 bytes each, ascending.

    Raises:
        BundleError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            raw = np.frombuffer(path.read_bytes(), np.uint8)
            wide = np.zeros((len(raw) // 6, 8), np.uint8)
            wide[:, :6] = raw.reshape(-1, 6)
        except (OSError, ValueError) as error:
            raise BundleError(f"not an index of copies ({error})", path=escape(path), mend="export it again") from error
        self._hashes: NDArray[np.uint64] = wide.view("<u8")[:, 0]

    def __contains__(self, text: str) -> bool:
        found = np.searchsorted(self._hashes, np.uint64(copy_hash(text)))
        return bool(found < len(self._hashes) and self._hashes[found] == np.uint64(copy_hash(text)))

    @staticmethod
    def pack(texts: Collection[str]) -> bytes:
        """The content of copies.bin."""
        hashes = np.array(sorted({copy_hash(text) for text in texts}), "<u8")
        return bytes(hashes.view(np.uint8).reshape(-1, 8)[:, :6].tobytes()) if len(hashes) else b""


def copy_hash(text: str) -> int:
    """48 bits of a sentence's words, whatever its case and marks."""
    return int.from_bytes(hashlib.blake2b(" ".join(words(text)).encode(), digest_size=6).digest(), "little")


@dataclass(frozen=True)
class Verifier:
    """Checks texts against one another's photo.

    Attributes:
        common: words that a critique of any photo may use.
        copies: what must not be repeated word for word; None: no index.
        edges: by attribute, the nine tenths of the polarity of the training texts, ascending.
    """

    common: Collection[str]
    copies: Copies | None
    edges: Mapping[str, list[float]]

    def before_judging(
        self, attribute: str, text: str, finished: bool, holds: Mapping[str, Collection[str]]
    ) -> str | None:
        """A reason to drop a text that needs no judge; None: none was found.

        Args:
            attribute: one of `prompt.ATTRIBUTES`.
            finished: the decoder ended it by itself.
            holds: by measurement the words that hold of the photo, see `facts.words`.
        """
        said = words(text)
        if not finished or not FEWEST <= len(said) <= MOST or not _WHOLE.search(text) or stutters(said):
            return "unfinished"
        if is_odd(text):
            return "silly"
        if _PERSONAL.search(text):
            return "personal"
        if _TALK.search(text) or any(word not in self.common for word in said):
            return "foreign"
        if is_safe(text):
            return "safe"
        if self.copies is not None and text in self.copies:
            return "copy"
        claims = find_claims(text)
        colourless = set(holds.get("palette", ())) == {"monochrome"} and _COLOUR.search(text)
        if contradictions(claims, holds) or clash(claims) or colourless:
            return "false"
        if any(claim.measurement not in holds for claim in claims) or _UNSEEN.search(text):
            return "unproven"
        if attribute == "depth_focus" and "background" in said and "depth" not in told(claims):
            return "unproven"
        if any(claim.measurement not in OWN[attribute] for claim in claims):
            return "off_topic"
        if attribute in _OTHER and _OTHER[attribute].search(text):
            return "off_topic"
        return None if told(claims) else "vague"

    def after_judging(
        self, attribute: str, text: str, about: NDArray[np.float32], polarity: float, standing: float
    ) -> str | None:
        """A reason to drop a text, by what the judge said of it.

        Args:
            about: (5,) probabilities in the order of `judge.ABOUT`.
            polarity: 1..10.
            standing: share of the reference photos that score lower in this attribute, 0..1.
        """
        if float(about[ABOUT.index(attribute)]) < SURE_TOPIC:
            return "off_topic"
        wanted = 1 + min(LEVELS - 1, int(standing * LEVELS))
        level, merit = level_of(polarity, self.edges[attribute]), merits(find_claims(text))
        blames_merit, praises_fault = merit > 0 and level <= LEVELS // 2, merit < 0 and level > LEVELS // 2
        # "a good photo, but ..." is said of everything: not of what few score lower than
        flatters = attribute == "general" and wanted <= FLATTERED and _PRAISE.search(text) is not None
        return "tone" if abs(level - wanted) > TONE or blames_merit or praises_fault or flatters else None
