"""From critiques to what a decoder learns to write: clean, impersonal sentences with their control tokens.

Little text of this kind exists, so whatever is English is learnt from, but marked by a trait that is never asked for:
`chatter` (contest, camera and software talk, greetings, questions, advice, names, numbers), `personal` ("I", "you").
"I think that ..." and "your" are turned into plain statements where that leaves a sentence.

Sentences about things that only their own photo shows ("the bird's eye") teach the language, but must not be written
about another photo: they get the trait `scene`. Such words are listed (`scene_words`); besides them, a word is for
every photo only if many critiques have it and if it does not come in bursts, in several critiques of one photo and
hardly elsewhere (Church and Gale 1995).
"""
# ruff: noqa: E501 -- an alternative is easier to check where it is not broken over lines

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cgiaa_training.sentences import is_safe

from cgiaa_cli.critique.claims import Claim, find_claims
from cgiaa_cli.critique.prompt import LENGTHS, Prompt, level_of
from cgiaa_cli.critique.scene_words import SCENE_WORDS

__all__ = ["Critique", "Unit", "chatter", "clean", "common_words", "make_units", "words"]

MOST_WORDS, FEWEST_WORDS = 40, 4


@dataclass(frozen=True)
class Critique:
    """One sentence or more about one photo.

    Attributes:
        photo: which photo it is about.
        attribute: one of `ATTRIBUTES`; polarity: 1..10.
        split: "train", "val" or "test".
        image: path of the photo, None where there is none.
    """

    text: str
    photo: str
    attribute: str
    polarity: float
    split: str = "train"
    image: str | None = None


@dataclass(frozen=True)
class Unit:
    """One text to learn, and what the decoder is told before it."""

    text: str
    prompt: Prompt
    source: Critique


_STRIPPED = re.compile(
    r"^(?:(?:overall|well|also|again|so|and|but|however|actually|honestly|personally|wow|ok|okay|yes|no|oh|hmm|"
    r"in my (?:humble )?opinion|im(?:h)?o|for me|to me|as for \w+|i must say|i have to say|to be honest|all in all|"
    r"other than that|apart from that|having said that|that said|that being said|on the other hand|for instance|"
    r"for example|in addition|additionally|as well|in general|generally|unfortunately for me|secondly|firstly|first|"
    r"second|finally|lastly|once again|as always|very|composition|colou?rs?|lighting|focus|dof|depth of field)"
    r"\s*[,:;.\-]+\s*|(?:i (?:really |do |also |just |still |personally )*(?:think|feel|believe|find that|guess|suppose|must say|"
    r"would say)(?: that)?|it (?:seems|appears) to me(?: that)?|i'?d say(?: that)?|i'?m not sure (?:but )?|and|but|also|"
    r"so|because|then|however|well)\s+)+",
    re.I,
)
_NEVER: dict[str, re.Pattern[str]] = {
    "address": re.compile(r"https?:|www\.|\.com\b|@|[<>{}\[\]|\\^_=#*~]|&\w+;", re.I),
    "rude": re.compile(
        r"\b(?:god|sexy|sex|nude|naked|breasts?|butt|ass|damn|hell|crap|shit|fuck\w*|stupid|idiot|ugly|fat|boobs?|die|died|"
        r"dead|kill\w*|gun|blood\w*|drunk|beer|drugs?|cigarett?e?s?|smok\w+)\b",
        re.I,
    ),
}
_CHATTER: dict[str, re.Pattern[str]] = {
    "contest": re.compile(
        r"\b(?:challeng\w*|ribbon\w*|entr(?:y|ies|ant)|vot(?:e|ed|es|er|ers|ing)|scor(?:e|ed|es|ing)|rat(?:ed?|ing|ings)|"
        r"titles?|topic|theme|dpc\w*|congrat\w*|luck|bump\w*|winner|win|finish\w*|placing|points?\b(?! of)|blue|"
        r"contest|judge\w*|competition|submission|submitted|favou?rites?|fav|stock|dnmc|pb|personal best|top (?:ten|10|20))\b",
        re.I,
    ),
    "camera": re.compile(
        r"\b(?:f\s?/?\s?\d[\d.]*|iso|\d+\s?mm|lens(?:es)?|nikon|canon|sony|fuji\w*|olympus|pentax|panasonic|leica|sigma|"
        r"tripods?|monopod|shutter|apertures?|cameras?|photoshop\w*|ps|lightroom|gimp|cs\d|raw|jpe?g|filters?|flash(?:es)?|"
        r"megapixels?|software|post[- ]?(?:process\w*|production)?|process(?:ed|ing)|edit(?:ed|ing|or|s)?|exif|hdr|"
        r"layers?|curves?|levels?|histograms?|settings?|ev|stops?|zoom\w*|slider\w*|plug-?in\w*|usm|unsharp|cloned?|"
        r"cloning|healing|burn(?:ed|ing)?(?! out)|dodg\w+|dslr|slr|megs?|print(?:ed|ing|s)?|sensor|handheld|hand[- ]held|"
        r"speeds?|program|pixels?|files?|metering|diopter|teleconverter|reflector|softbox|strobe)\b|\d/\d",
        re.I,
    ),
    "talk": re.compile(
        r"^(?:hi|hey|hello|dear|thanks?|welcome|sorry|lol|haha|ha|hehe)\b|"
        r"\b(?:thanks?|thank you|critiqu\w+|comment\w*|website|web|upload\w*|monitor|screen|laptop|computer|download\w*|"
        r"descriptions?|described|mentioned|said|wrote|above|below|earlier|previous\w*|other (?:photos?|images?|shots?|"
        r"critics?|reviewers?)|learn\w*|beginner|practi[cs]e|keep (?:up|it up|shooting|going)|next time|good (?:job|work)|"
        r"well done|nice (?:job|work)|great (?:job|work)|wow|lol|imho|imo|btw|sorry|please|hope|wish|wonder\w*|curious|"
        r"question|ask\w*|guess\w*|remember|tutorial|book|magazine|calendar|wall|frame it|sell|husband|wife|kids?|mom|dad|"
        r"sister|brother|daughter|son|critic|"
        r"resolution|thumbnail|version|attempt\w*|try(?:ing)?|tried|suggest\w*|recommend\w*|advice|idea(?:s)?|reason|"
        r"honest\w*|opinion|taste|agree\w*|viewed|viewing|looked at|saw|seen|came back|at first)\b|:-?[)(dp]|;-?\)|\?|\.{2,}",
        re.I,
    ),
    "number": re.compile(r"\d"),
    "name": re.compile(r"(?<=[a-z,;] )(?!I\b|I'|B&W|DOF|BW|DoF|POV)[A-Z][a-z]+|\b[A-Z]{4,}\b"),
}
_PERSONAL = re.compile(
    r"\b(?:i|me|my|mine|myself|i'?m|i'?d|i'?ve|i'?ll|you|you'?\w+|yours?|yourself|we|us|our)\b", re.I
)
# what a writer says of himself or to the photographer, said of the photo; only where a plain statement is left
_MANY = (
    r"(?:(?:really|do|also|just|particularly|especially|still|very much|absolutely|quite|so|definitely|certainly) )*"
)
_WITHOUT = r"((?:(?!\b(?:you|i|he|she|they|we|how|that|which|if|but|be|been|way|fact|to|is|are|was|were)\b)[^.,;])+)"
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"^(?:i )?{_MANY}love (?:the|your|this) {_WITHOUT}$", re.I), r"Lovely \1"),
    (re.compile(rf"^(?:i )?{_MANY}(?:like|liked) (?:the|your|this) {_WITHOUT}$", re.I), r"Nice \1"),
    (re.compile(rf"^(?:i )?{_MANY}(?:enjoy|appreciate|admire) (?:the|your|this) {_WITHOUT}$", re.I), r"Pleasing \1"),
    (
        re.compile(
            rf"^(?:i(?:'d| would)|would|might)(?: have)? {_MANY}(?:prefer|preferred|like|liked|love|loved)"
            rf"(?: to see| to have seen| to have| seeing)? ((?:a|an|some|more|less|slightly|just a) {_WITHOUT[1:]}$",
            re.I,
        ),
        r"\1 would help",
    ),
    (re.compile(rf"^i(?:'d)? wish there (?:was|were|had been) {_WITHOUT}$", re.I), r"\1 would help"),
    (re.compile(r"^i (?:really )?(?:find|found) (the (?:(?!\b(?:i|you|and)\b)[\w' -]){3,40}) (?:to be )?((?:a (?:bit|little|tad)|very|too|quite|rather|"
                r"slightly|somewhat|really)(?: \w+){1,3}|\w+ing)$", re.I), r"\1 is \2"),
    (re.compile(rf"^you (?:have|have got|'ve got) ((?:a|an|some|good|great|nice|very|excellent|lovely|strong) {_WITHOUT[1:]}$", re.I),
     r"There is \1"),
)  # fmt: skip
_LEFT_OPEN = re.compile(r"\b(?:and|but|or|the|a|an|of|to|in|with|for|is|are|that|which|because|than)[.!]?$", re.I)
# a statement about something said before: without that, it is about nothing
_DANGLES = re.compile(
    r"^(?:that|this|these|those|it|they|he|she|his|her|their|there(?:fore|by)|which|who|where|then|thus|hence|if|"
    r"both|same|either|neither|another|the (?:other|latter|former|same|second|first))\b"
    r"(?! (?:image|photo\w*|picture|shot|is a|is an|scene|composition|portrait|has|capture|works?\b|makes for))",
    re.I,
)
_RUN_ON = re.compile(r"^[a-z][^.,;:!?]*$")  # a whole comment without capital or mark: where do its sentences end?
_RUN_ON_WORDS = 5
_SPELLING = {
    r"\bcolor": "colour", r"\bColor": "Colour", r"\b(un)?center(ed|ing)?\b": r"\1centre\2", r"\bgray": "grey",
    r"\bCentreed\b|\bcentreed\b": "centred", r"\bdof\b|\bDOF\b|\bDoF\b|\bD\.O\.F\.": "depth of field",
    r"\bB\s?&\s?W\b|\bb\s?&\s?w\b|\bBW\b|\bb/w\b|\bB/W\b": "black and white", r"\bcompo\b|\bcomp\b": "composition",
    r"\bpic\b": "picture", r"\bpics\b": "pictures", r"\bbg\b": "background", r"\bexcellant\b": "excellent",
    r"\bfavorite\b": "favourite", r"\bbackround\b": "background", r"\bteh\b": "the", r"\balot\b": "a lot",
    r"\bthats\b": "that's", r"\bdoesnt\b": "doesn't", r"\bdont\b": "don't", r"\bisnt\b": "isn't", r"\bto much\b": "too much",
}  # fmt: skip


def chatter(text: str) -> str:
    """Why a sentence must not be written about a photo: contest, camera, talk, number, name, dangling; "" if it may."""
    for reason, pattern in _CHATTER.items():
        if pattern.search(text):
            return reason
    return "dangling" if _DANGLES.search(text) else ""


def words(text: str) -> list[str]:
    """Its words in small letters, without what belongs to no dictionary form: a trailing 's."""
    return [w.removesuffix("'s") for w in re.findall(r"[a-z][a-z'\u2019-]*", text.lower())]


def clean(text: str) -> tuple[str, str]:
    """(sentence, "") in the form in which it is learnt, or ("", why it is dropped).

    Returns:
        With a capital, one space between words, a full stop at its end, in British spelling.
    """
    text = re.sub(r"\s+", " ", text.replace("\u2019", "'").replace("\u2018", "'")).strip(" -,;:.!\"'")
    text = re.sub(r"[\u201c\u201d\"]", "", text)
    text = re.sub(r"!+", ".", text)
    for spelling, right in _SPELLING.items():
        text = re.sub(spelling, right, text)
    stripped = _STRIPPED.sub("", text).strip(" ,;:-")
    text = stripped or text
    for personal, plain in _REWRITES:
        text = personal.sub(plain, text)
    if not text.isascii():
        return "", "not ascii"
    for reason, pattern in _NEVER.items():
        if pattern.search(text):
            return "", reason
    count = len(text.split())
    if not FEWEST_WORDS <= count <= MOST_WORDS:
        return "", "short" if count < FEWEST_WORDS else "long"
    if _LEFT_OPEN.search(text) or text.count("(") != text.count(")"):
        return "", "broken"
    if not re.search(r"\b(?:you|you'\w+|yourself|i|me|my|we)\b", text, re.I):
        text = re.sub(r"\b(your|our)\b", "the", text, flags=re.I)
    return text[0].upper() + text[1:].rstrip(" .,;:") + ".", ""


def common_words(critiques: Iterable[Critique], least: int = 8, burst: float = 15.0) -> set[str]:
    """The words that a critique of any photo may use.

    Args:
        least: critiques that a word must be in.
        burst: how many times as often as chance a word may come back in another critique of the same photo.
    """
    by_photo: dict[str, list[set[str]]] = defaultdict(list)
    for critique in critiques:
        text, _ = clean(critique.text)
        if text:
            by_photo[critique.photo].append(set(words(text)))
    total = sum(len(texts) for texts in by_photo.values())
    count: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    for texts in by_photo.values():
        inside = Counter(w for text in texts for w in text)
        count.update(inside)
        for word, n in inside.items():
            pairs[word] += n * (n - 1)
            expected[word] += n * (len(texts) - 1)
    return {
        word
        for word, n in count.items()
        if word not in SCENE_WORDS
        and n >= least
        and (pairs[word] + 0.5) / (expected[word] * n / total + 0.5) <= burst  # smoothed: most words are rare
    }


def make_units(
    critiques: Sequence[Critique], level: Mapping[str, Sequence[float]], common: set[str]
) -> tuple[list[Unit], Counter[str]]:
    """Units of the critiques that are worth learning, and how many were dropped for which reason.

    Args:
        level: by attribute the polarities that part the ten levels (9 numbers).
        common: see `common_words`.
    """
    units, dropped, seen = [], Counter[str](), set()
    for critique in critiques:
        text, reason = clean(critique.text)
        if text.lower() in seen:
            reason = "duplicate"
        elif text and is_safe(text):
            reason = "safe"
        if reason:
            dropped[reason] += 1
            continue
        seen.add(text.lower())
        claims = find_claims(text)
        facts = [(c.measurement, c.value) for c in claims]
        count = len(text.split())
        length = next(name for name, most in LENGTHS.items() if count <= most)
        talk = chatter(text) or ("run-on" if count > _RUN_ON_WORDS and _RUN_ON.match(critique.text) else "")
        if talk:
            dropped[f"only for the language: {talk}"] += 1
        traits = ["chatter"] if talk else []
        traits += ["personal"] if _PERSONAL.search(text) else []
        traits += ["scene"] if not _for_any_photo(text, claims, common) else []
        prompt = Prompt(
            critique.attribute,
            level_of(critique.polarity, level[critique.attribute]),
            length,
            tuple(facts),
            tuple(traits),
        )
        units.append(Unit(text, prompt, critique))
    return units, dropped


def _for_any_photo(text: str, claims: Sequence[Claim], common: set[str]) -> bool:
    """Does it speak only of what any photo has? What is claimed ("golden light") is measured, so it may be said."""
    for claim in reversed(claims):
        text = text[: claim.start] + " " + text[claim.end :]
    return all(word in common for word in words(text))
