"""What is worth saying of light and colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from cgiaa_cli.critique.facts import Facts
from cgiaa_cli.critique.light import Swatch, lab
from cgiaa_cli.critique.observation import Box, Evidence, Observation, Rule, Said, only, part

__all__ = ["RULES"]

ATTRIBUTE = "color_light"
GREYS = ("black", "grey", "white")
OPPOSITE, NEAR = 110.0, 75.0  # degrees of hue between colours that are called opposite, and that lie close together


def _exposure(facts: Facts, said: Said) -> Iterator[Observation]:
    light, kinds = facts.light, facts.kinds
    evidence: Evidence = {"median_lightness": round(light.median, 1)}
    special = next((k for k in ("white_ground", "silhouette", "night", "low_key", "high_key") if k in kinds), None)
    if special is not None:
        merit, measurement, sentences = _SPECIAL[special](facts)
        yield Observation(ATTRIBUTE, measurement, merit, sentences, evidence)
    elif only(said, "exposure", "dark") and light.mean < 40:
        ev = min(2.0, max(0.3, (45 - light.median) / 16))
        yield Observation(
            ATTRIBUTE,
            "exposure",
            -0.7,
            (
                "Most of the frame is dark",
                "The middle tones lie well below grey",
                "The photo is dark overall" if light.mean < 28 else "Much of the frame is dark",
                f"Deep shadow takes up {part(light.shadows)} of it" if light.shadows > 0.3 else "Dark tones prevail",
                "It looks underexposed" if light.highlights < 0.02 else "Its darker tones outweigh the light ones",
                "Most of its tones sit low",
            ),
            evidence | {"shadow_share": round(light.shadows, 2)},
            advice=f"Brighten it by about {ev:.1f} EV.",
        )
    elif only(said, "exposure", "bright"):
        ev = min(1.5, max(0.3, (light.median - 60) / 20))
        yield Observation(
            ATTRIBUTE,
            "exposure",
            -0.5 if light.blown_any >= 0.02 else 0.0,  # snow and sand are bright without a fault
            (
                "The photo is bright overall",
                "It leans towards overexposure" if light.blown_any >= 0.02 else "Light tones prevail",
                "The middle tones lie well above grey",
                "Most of its tones are light ones",
            ),
            evidence,
            advice=f"Darken it by about {ev:.1f} EV." if light.blown_any >= 0.02 else "",
        )
    elif only(said, "exposure", "normal") and not _clipped(said):
        yield Observation(
            ATTRIBUTE,
            "exposure",
            0.35,
            (
                "The exposure sits well",
                "It is evenly exposed",
                "The middle tones are neither dark nor bright",
                "The exposure is well balanced",
                "It is well exposed",
                "The exposure keeps both ends of the scale"
                if only(said, "highlights", "kept")
                else "It is well exposed",
            ),
            evidence,
        )


def _clipped(said: Said) -> bool:
    return only(said, "highlights", "clipped") or only(said, "shadows", "blocked")


_SPECIAL: dict[str, Callable[[Facts], tuple[float, str, tuple[str, ...]]]] = {
    "night": lambda facts: (
        0.1,
        "exposure",
        (
            f"Darkness takes up {part(facts.light.shadows)} of the frame",
            "What is lit stands out against the dark around it",
            "A few lights hold their own against the dark",
            "The lit parts carry it, with darkness all around",
        ),
    ),
    "silhouette": lambda facts: (
        0.3,
        "silhouette",
        (
            "The dark shapes stand against a bright ground as silhouettes",
            "The dark parts become plain shapes, as silhouettes do",
            "Silhouettes stand out against the bright part of the frame",
        ),
    ),
    "high_key": lambda facts: (
        0.1,
        "high_key",
        (
            "Nearly all of it is bright, a high-key look",
            "The tones stay near white, high key",
            "Light tones take up nearly all of it, in a high key",
        ),
    ),
    "low_key": lambda facts: (
        0.1,
        "low_key",
        (
            "Nearly all of it is dark, a low-key look",
            f"Deep shadow covers {part(facts.light.shadows)} of the frame, low key",
            "The tones stay near black, low key",
        ),
    ),
    "white_ground": lambda facts: (
        0.1,
        "exposure",
        (
            "It stands on plain white",
            f"Pure white takes up {part(facts.light.blown)} of it",
            "White without any tone surrounds what is shown",
            "Nothing but white lies around what is shown",
        ),
    ),
}


def _clipping(facts: Facts, said: Said) -> Iterator[Observation]:
    light = facts.light
    zone = max(range(9), key=lambda i: light.blown_zones[i])
    if only(said, "highlights", "clipped") and not facts.kinds & {"high_key", "white_ground"}:
        where, share = _ZONES[zone], light.blown_zones[zone]
        yield Observation(
            ATTRIBUTE,
            "highlights",
            -0.6 if share > 0.1 else -0.4,
            (
                f"The highlights {where} are blown to plain white",
                f"Detail is lost in blown highlights {where}",
                f"Part of the picture {where} has burnt out to white",
                f"Blown highlights {where} leave {part(share)} of that corner white"
                if zone in (0, 2, 6, 8)
                else f"Blown highlights {where} leave {part(share)} of that area white",
                f"The light {where} is so strong that the highlights are blown",
                f"The whites {where} are clipped",
            ),
            {"blown_share": round(light.blown, 3), "blown_share_of_zone": round(share, 3)},
            _box(zone),
            "Expose for the highlights next time; a raw file may still hold some of them.",
        )
    dark_is_meant = facts.kinds & {"night", "silhouette", "low_key"}
    if only(said, "shadows", "blocked") and not dark_is_meant:
        zone = max(range(9), key=lambda i: light.blocked_zones[i])
        where, share = _ZONES[zone], light.blocked_zones[zone]
        yield Observation(
            ATTRIBUTE,
            "shadows",
            -0.4,
            (
                f"The shadows {where} are blocked to black",
                f"Blocked shadows {where} hold no detail",
                f"Detail is lost in the shadows {where}",
                f"Black without detail takes up {part(share)} of the frame {where}"
                if zone == 4
                else f"The shadows {where} are lost to black",
            ),
            {"blocked_share": round(light.blocked, 3), "blocked_share_of_zone": round(share, 3)},
            _box(zone),
            "Lift the shadows, or fill them with a reflector or flash.",
        )


_ZONES = (
    "at the top left",
    "at the top",
    "at the top right",
    "on the left",
    "around the middle",
    "on the right",
    "at the bottom left",
    "at the bottom",
    "at the bottom right",
)


def _box(zone: int) -> Box:
    return (zone % 3 / 3, zone // 3 / 3, 1 / 3, 1 / 3)


def _contrast(facts: Facts, said: Said) -> Iterator[Observation]:
    light = facts.light
    evidence: Evidence = {"contrast": round(light.contrast, 1), "range_ev": round(light.range_ev, 1)}
    if only(said, "contrast", "low"):
        soft_is_meant = facts.kinds & {"high_key", "low_key", "night"}
        yield Observation(
            ATTRIBUTE,
            "contrast",
            0.0 if soft_is_meant else -0.45,
            (
                "The tones lie close together, with low contrast",
                "Low contrast leaves it flat",
                "There is little contrast between its lightest and darkest parts",
                "The contrast is low",
                f"Its tones span no more than {light.range_ev:.0f} stops and the contrast is low"
                if light.range_ev < 4.5
                else "The contrast stays low",
            ),
            evidence,
            advice="" if soft_is_meant else "Raise the contrast, or set the black and white points.",
        )
    elif only(said, "contrast", "high") and "white_ground" not in facts.kinds:
        yield Observation(
            ATTRIBUTE,
            "contrast",
            0.3,
            (
                "Strong contrast between light and dark gives it punch",
                "The contrast is high, from deep tones to bright ones",
                "Light and dark meet in strong contrast",
                f"The tones span about {light.range_ev:.0f} stops, with strong contrast",
                "The contrast between light and dark is strong",
            ),
            evidence,
        )
    elif light.range_ev > 4:
        yield Observation(
            ATTRIBUTE,
            "contrast",
            0.0,
            (
                f"The tones span about {light.range_ev:.0f} stops from dark to light",
                f"About {light.range_ev:.0f} stops lie between its darkest and its lightest tones",
            ),
            evidence,
        )


def _falloff(facts: Facts, said: Said) -> Iterator[Observation]:
    """Where the light lies, where one side is clearly brighter than the other."""
    zones = np.array(facts.light.zones).reshape(3, 3)
    sides = {
        "left": float(zones[:, 0].mean() - zones[:, 2].mean()),
        "right": float(zones[:, 2].mean() - zones[:, 0].mean()),
        "top": float(zones[0].mean() - zones[2].mean()),
        "bottom": float(zones[2].mean() - zones[0].mean()),
    }
    brightest = max(sides, key=lambda side: sides[side])
    middle = float(zones[1, 1] - np.delete(zones.ravel(), 4).mean())
    if facts.kinds & {"framed", "white_ground"}:
        return
    if sides[brightest] > 18:
        other = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[brightest]
        yield Observation(
            ATTRIBUTE,
            "falloff",
            0.1,
            (
                f"It is lightest at the {brightest} and darkest at the {other}",
                f"The light tones gather at the {brightest}, the dark ones at the {other}",
                f"Its tones darken from {brightest} to {other}",
                f"The {brightest} is its lighter part and the {other} its darker one",
                f"Light falls off from {brightest} to {other}",
            ),
            {"brighter_side": brightest, "by_lightness": round(sides[brightest], 1)},
        )
    elif middle > 14:
        yield Observation(
            ATTRIBUTE,
            "falloff",
            0.25,
            (
                "Its lightest tones lie well inside the frame and the edges are darker",
                "Darker edges surround the lighter inner part of the frame",
                "The light tones keep away from the edges",
            ),
            {"centre_brighter_by": round(middle, 1)},
        )
    elif max(abs(v) for v in sides.values()) < 7 and abs(middle) < 7:
        yield Observation(
            ATTRIBUTE,
            "falloff",
            0.0,
            (
                "Light and dark are spread evenly over the frame",
                "No side of the frame is much lighter than another",
                "The brightness hardly changes from one side to the other",
            ),
            {"largest_difference": round(max(abs(v) for v in sides.values()), 1)},
        )


# --- colour ----------------------------------------------------------------------------------------------------------


def _colour(facts: Facts, said: Said) -> Iterator[Observation]:
    colour = facts.colour
    if "black_and_white" in facts.kinds:
        yield Observation(
            ATTRIBUTE,
            "palette",
            0.15,
            (
                "In black and white, light and shape have to carry it",
                "It is a black-and-white picture, so tone does all the work",
                "Black and white leaves everything to light and shape",
                "Being black and white, it lives by its tones",
            ),
            {"saturation": round(colour.saturation, 1)},
        )
        return
    evidence: Evidence = {"colourfulness": round(colour.colourfulness, 1)}
    names = _names(colour.palette)
    strongest = _names(tuple(sorted(colour.palette, key=_weight, reverse=True)))
    if only(said, "saturation", "vivid"):
        yield Observation(
            ATTRIBUTE,
            "saturation",
            0.45,
            _vivid(" and ".join(strongest)),
            evidence | {"colours": " and ".join(strongest)},
        )
    elif only(said, "saturation", "muted"):
        yield Observation(
            ATTRIBUTE,
            "saturation",
            -0.1,
            (
                "The colours are muted",
                "It is quiet in colour",
                "Muted tones run through it",
                f"Its colours, mostly {names[0]}, are muted" if names else "The palette is muted",
            ),
            evidence,
        )
    if colour.clipped > 0.05 and only(said, "saturation", "vivid"):
        yield Observation(
            ATTRIBUTE,
            "clipped_colour",
            -0.4,
            (
                "Some colours are so strong that they have lost their detail",
                "The strongest colours have lost their detail",
                f"{part(colour.clipped).capitalize()} of it is colour pushed to its limit",
            ),
            {"clipped_colour_share": round(colour.clipped, 3)},
            advice="Lower the saturation or the vibrance a little.",
        )
    yield from _palette(facts, "neutral" in said.get("cast", {"neutral"}))
    yield from _cast(facts, said)


def _vivid(pair: str) -> tuple[str, ...]:
    tail = f", led by {pair}" if pair else ""
    return (
        f"The colours are vivid{tail}",
        f"Saturated colour runs through it{tail}",
        f"It is richly coloured{tail}",
        f"{pair.capitalize()} give it vivid colour" if " and " in pair else "Its colours are vivid and full",
        f"The colours are rich and vivid{tail}",
    )


def _weight(swatch: Swatch) -> float:
    """How much a colour strikes: its share of the picture times its chroma."""
    _, a, b = lab(np.array([[swatch.rgb]], np.uint8))[0, 0]
    return swatch.share * float(np.hypot(a, b))


def _names(palette: tuple[Swatch, ...], most: int = 2) -> list[str]:
    return list(dict.fromkeys(s.name for s in palette if s.name not in GREYS))[:most]


def _palette(facts: Facts, neutral: bool) -> Iterator[Observation]:
    """How the colours go together, and the leading one; `neutral`: whether the greys have no cast of their own."""
    colour = facts.colour
    coloured = [s for s in colour.palette if s.name not in GREYS]
    if not coloured:
        return
    hues = np.array([s.rgb for s in coloured], np.uint8)[None]
    _, a, b = lab(hues)[0].T
    angles, chroma = np.degrees(np.arctan2(b, a)) % 360, np.hypot(a, b)
    apart = np.abs((angles[:, None] - angles[None] + 180) % 360 - 180)
    evidence: Evidence = {"harmony": colour.harmony, "harmony_error": round(colour.harmony_error, 1)}
    strong = [i for i, c in enumerate(chroma) if c > 18]
    pairs = [(i, j) for i in strong for j in strong if i < j and coloured[i].name != coloured[j].name]
    opposite = next(((i, j) for i, j in pairs if apart[i, j] > OPPOSITE), None)
    close = max((float(apart[i, j]) for i in strong for j in strong), default=360.0)
    share = sum(s.share for s in coloured)
    if opposite is not None:
        one, two = (coloured[i].name for i in opposite)
        yield Observation(ATTRIBUTE, "palette_colours", 0.35, _opposite(one, two), evidence)
    elif neutral and colour.harmony == "one hue" and colour.harmony_error < 3 and len(_names(colour.palette, 9)) == 1:
        yield Observation(ATTRIBUTE, "palette_colours", 0.2, _single(coloured[0].name), evidence)
    elif pairs and close < NEAR and colour.harmony_error < 8 and share > 0.5:
        one, two = (coloured[i].name for i in pairs[0])
        yield Observation(ATTRIBUTE, "palette_colours", 0.3, _neighbours(one, two), evidence)
    leading = coloured[0]
    if leading.share > 0.25:
        yield Observation(
            ATTRIBUTE,
            "leading_colour",
            0.1,
            (
                f"{leading.name.capitalize()} takes up {part(leading.share)} of the frame",
                f"{leading.name.capitalize()} is its leading colour",
                f"The palette rests on {leading.name}",
                f"{leading.name.capitalize()} sets the tone of its colours",
            ),
            {"leading_colour": leading.name, "leading_share": round(leading.share, 2)},
        )


def _opposite(one: str, two: str) -> tuple[str, ...]:
    return (
        f"{one.capitalize()} and {two} play against each other",
        f"The contrast of {one} and {two} gives its colours tension",
        f"{one.capitalize()} answers {two}",
        f"Its colours set {one} against {two}",
        f"{one.capitalize()} and {two} lie far apart among its colours",
    )


def _single(name: str) -> tuple[str, ...]:
    return (
        f"The colours keep to one hue, {name}",
        f"It holds to a single hue, {name}",
        f"{name.capitalize()} is the only hue of note in it",
        f"All its colour is {name}",
    )


def _neighbours(one: str, two: str) -> tuple[str, ...]:
    return (
        f"Its colours, {one} and {two} above all, lie close together",
        f"{one.capitalize()} and {two} sit well together",
        f"The palette stays with related colours, {one} and {two} above all",
        f"{one.capitalize()} and {two} agree with each other",
    )


def _cast(facts: Facts, said: Said) -> Iterator[Observation]:
    found = said.get("cast", {"neutral"})
    colour = facts.colour
    if "neutral" in found:
        return
    strength = (colour.cast_a**2 + colour.cast_b**2) ** 0.5
    names = sorted(found & {"warm", "cool"}) or sorted(found)
    name = {"warm": "warm", "cool": "cool, bluish", "green": "greenish", "magenta": "magenta"}[names[0]]
    evidence: Evidence = {"cast_a": round(colour.cast_a, 1), "cast_b": round(colour.cast_b, 1)}
    unpleasant = names[0] in ("green", "magenta") and strength > 6
    mend = strength > 7 and colour.cast_share > 0.25 and not facts.kinds & {"night", "low_key"}
    yield Observation(
        ATTRIBUTE,
        "cast",
        -0.4 if unpleasant else 0.0,
        (
            f"A {name} cast lies over what should be neutral",
            f"The light has a {name} tint",
            f"A {name} tint lies over its greys",
            f"The light leaves a {name} cast on the greys",
        ),
        evidence,
        advice=f"For neutral greys shift white balance by {-colour.cast_b:+.0f} in b*, {-colour.cast_a:+.0f} in a*."
        if mend
        else "",
    )


RULES: tuple[Rule, ...] = (_exposure, _clipping, _contrast, _falloff, _colour)
