"""The words in which standings are told; `compose` puts them together.

A lead is a subject and a predicate. A predicate comes in singular and plural; the bands are those of `compose.BANDS`.
None of them is rude, and none praises the photographer: they speak of the picture.
"""

from __future__ import annotations

__all__ = [
    "CONCEDE_FAULT",
    "CONCEDE_STRENGTH",
    "DISAGREE",
    "EVEN_HIGH",
    "EVEN_LOW",
    "EVEN_PARTS",
    "LEADS",
    "LIKELY_AGREE",
    "MIXED",
    "NAMES",
    "STRONGEST",
    "STRONGEST_AND_WEAKEST",
    "SUM_UP",
    "TONE_NAMES",
    "TONE_SUBJECTS",
    "WEAKEST",
]

NAMES = {
    "color_light": "colour and light",
    "composition": "composition",
    "depth_focus": "depth and focus",
    "general": "general feeling",
}
TONE_NAMES = {"color_light": "light and tone"}
"""Names in black and white."""

Subject = tuple[str, bool]  # and whether it is plural
Predicate = tuple[str, str]  # singular, plural
Lead = tuple[tuple[Subject, ...], tuple[tuple[Predicate, ...], ...]]


def _both(*predicates: str) -> tuple[Predicate, ...]:
    """`is|are good` -> ("is good", "are good"); `work|s well` -> ("works well", "work well")."""
    found = []
    for predicate in predicates:
        verb, _, rest = predicate.partition(" ")
        one, _, many = verb.partition("|")
        if many == "s":
            one, many = f"{one}s", one
        found.append((f"{one} {rest}".strip(), f"{many or one} {rest}".strip()))
    return tuple(found)


_BANDS: tuple[tuple[Predicate, ...], ...] = (
    _both(
        "is|are weak", "is|are poor", "is|are rather poor", "is|are not good", "is|are quite weak",
        "is|are poorly done", "is|are not convincing at all", "does|do not work", "lack|s interest",
        "is|are a clear weakness",
    ),
    _both(
        "is|are a little weak", "is|are not quite convincing", "lack|s something", "could be better",
        "is|are a bit weak", "is|are below average", "does|do not help it much", "is|are somewhat lacking",
        "is|are not strong",
        "is|are less than convincing", "need|s improvement",
    ),
    _both(
        "is|are average", "is|are neither weak nor strong", "is|are ordinary", "is|are adequate", "is|are acceptable",
        "is|are fair", "is|are all right", "is|are neither good nor bad", "is|are unremarkable", "is|are decent",
    ),
    _both(
        "is|are good", "work|s well", "serve|s it well", "is|are well handled", "is|are nicely done", "help|s it",
        "is|are pleasing", "is|are nicely handled", "is|are well done", "is|are rather good",
    ),
    _both(
        "is|are excellent", "is|are a real strength", "is|are beautiful", "is|are great", "is|are superb",
        "is|are a pleasure", "is|are very well done", "work|s beautifully", "is|are wonderful", "is|are very good",
    ),
)  # fmt: skip
_GENERAL: tuple[tuple[Predicate, ...], ...] = (
    _both(
        "is|are weak", "is|are poor", "is|are rather poor", "is|are not good", "is|are quite weak",
        "is|are far from good", "is|are not convincing at all", "is|are disappointing",
    ),
    _both(
        "is|are a little weak", "is|are not quite convincing", "is|are less than it could be", "could be better",
        "is|are below average", "is|are not strong", "is|are somewhat lacking", "lack|s something",
    ),
    _both(
        "is|are average", "is|are neither weak nor strong", "is|are ordinary", "is|are fair", "is|are all right",
        "is|are adequate", "is|are neither good nor bad", "is|are decent",
    ),
    _both(
        "is|are good", "is|are pleasing", "is|are rather good", "is|are above average", "is|are nice",
        "is|are very pleasing", "is|are a good one", "is|are appealing",
    ),
    _both(
        "is|are excellent", "is|are very strong", "is|are outstanding", "is|are great", "is|are superb",
        "is|are wonderful", "is|are beautiful", "is|are very good",
    ),
)  # fmt: skip

LEADS: dict[str, Lead] = {
    "color_light": (
        (
            ("Light and colour", True),
            ("Colour and light", True),
            ("The light and the colours", True),
            ("The use of light and colour", False),
            ("The handling of colour and light", False),
            ("The way light and colour are used", False),
            ("Its colour and light", True),
        ),
        _BANDS,
    ),
    "composition": (
        (
            ("The composition", False),
            ("Its composition", False),
            ("The composition of the picture", False),
            ("The composition of the frame", False),
            ("The way it is composed", False),
            ("The framing and the composition", True),
            ("The composition as a whole", False),
            ("The arrangement of the picture", False),
            ("The composition of the shot", False),
        ),
        _BANDS,
    ),
    "depth_focus": (
        (
            ("Depth and focus", True),
            ("Focus and depth", True),
            ("The focus and the depth", True),
            ("The handling of focus and depth", False),
            ("The use of depth and focus", False),
            ("The depth and the sharpness", True),
            ("Sharpness and depth", True),
            ("The way depth and focus are used", False),
            ("Its focus and depth", True),
        ),
        _BANDS,
    ),
    "general": (
        (
            ("The overall impression", False),
            ("The general impression of the photo", False),
            ("The general feeling of the picture", False),
            ("The impression that the photo leaves", False),
            ("As a whole the picture", False),
            ("Overall the photo", False),
            ("On the whole the picture", False),
            ("All in all the picture", False),
        ),
        _GENERAL,
    ),
}
TONE_SUBJECTS: tuple[Subject, ...] = (
    ("Light and tone", True),
    ("The light and the tones", True),
    ("The handling of light and tone", False),
    ("Its light and tones", True),
)

SUM_UP = ("All in all,", "Overall,", "On balance,", "Taken together,", "In sum,", "On the whole,", "All told,")
CONCEDE_FAULT = (
    "{lead}, though {against}",
    "{lead}, but {against}",
    "{lead}, even though {against}",
    "{lead}, although {against}",
    "{lead}; still, {against}",
)
CONCEDE_STRENGTH = (
    "{lead}, though {against}",
    "{lead}, but {against}",
    "{lead}, although {against}",
    "{lead}, even though {against}",
    "{lead}, yet {against}",
)

# names stand where they need no verb: "colour and light" is two things, "composition" is one
STRONGEST_AND_WEAKEST = (
    "The photo owes more to {strong} than to {weak}",
    "The picture convinces by {strong} rather than by {weak}",
    "The viewer will like its {strong} more than its {weak}",
    "The best side of the picture is {strong}",
    "The weakest side of the picture is {weak}",
    "What speaks for the photo most is its {strong}",
    "What speaks against the photo most is its {weak}",
    "The photo does best in {strong}",
    "The photo does least well in {weak}",
    "Of all its sides the picture is carried most by {strong}",
    "Of all its sides the picture is held back most by {weak}",
    "The viewer will notice its {strong} before anything else",
    "The impression comes from {strong} more than from anything else",
    "The impression suffers from {weak} more than from anything else",
)
STRONGEST = (
    "What stands out in the photo is the {strong}",
    "The best side of the picture is {strong}",
    "The greatest strength of the photo is {strong}",
    "The picture is carried above all by its {strong}",
    "As a photo it is strong all round, most of all in {strong}",
    "The photo owes most to its {strong}",
    "Most of the effect of the picture comes from {strong}",
    "The picture is at its best in {strong}",
    "What makes the photo is the {strong}",
    "The viewer is won over by its {strong} first of all",
)
WEAKEST = (
    "The photo is held back most by its {weak}",
    "The weakest side of the picture is {weak}",
    "The main weakness of the photo is {weak}",
    "Work on {weak} would help the picture most",
    "The picture would gain most from better {weak}",
    "What the photo lacks most is better {weak}",
    "The picture falls short above all in {weak}",
    "Nothing in the photo is strong, {weak} least of all",
    "The picture loses most by its {weak}",
    "The photo suffers most from its {weak}",
)
EVEN_HIGH = (
    "Nothing in the picture lets it down",
    "The photo is good all round",
    "Every part of the picture plays its role well",
    "The picture has no weak side",
    "As a photo it holds up in every respect",
    "All parts of the picture go well together",
    "The picture works in every respect",
    "There is little in the photo that one would want changed",
)
EVEN_LOW = (
    "No part of the photo makes up for the others",
    "The picture is weak all round",
    "No side of the picture is strong enough to carry it",
    "All sides of the photo need work",
    "The picture falls short in every respect",
    "There is little in the photo to hold on to",
    "Nothing in the picture lifts it",
)
EVEN_PARTS = (
    "No side of the photo is far ahead of the others",
    "The picture is of a piece, with no part much better than another",
    "Nothing in the photo stands out either way",
    "No single thing makes or breaks the picture",
    "The sides of the picture are even in quality",
    "There is little to choose between the strong and the weak sides of the picture",
    "The photo has neither a great strength nor a great weakness",
    "The picture is as good in one respect as in another",
)
DISAGREE = (
    "People would disagree about the photo",
    "Opinions on the picture would differ widely",
    "The photo would divide its viewers",
    "Not everyone would see the picture that way",
    "Viewers would be of two minds about the picture",
    "The picture is likely to split opinion",
    "Some would like the photo much more than others",
)
MIXED = (
    "Opinions on the picture would differ somewhat",
    "Most viewers would agree about the photo, though not all",
    "The overall impression would vary a little from viewer to viewer",
    "Some viewers would think more of the photo, some less",
    "As with most photos, opinions would differ a little",
    "The impression may change with the viewer",
)
LIKELY_AGREE = (
    "Most people would see the picture about the same way",
    "Opinions on the photo would not differ much",
    "Viewers would largely agree about the picture",
    "Few would see the photo differently",
    "There would be little dispute about the picture",
)
