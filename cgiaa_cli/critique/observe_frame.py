"""What is worth saying of focus, depth and the frame.

Leading lines and a cut subject are measured but not told: read beside photos, what the measurements found was no such
thing in more than half of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.critique.facts import Facts
from cgiaa_cli.critique.focus import Focus
from cgiaa_cli.critique.observation import Evidence, Observation, Rule, Said, only, part

__all__ = ["RULES"]

CERTAIN = 0.55
"""Certainty of the subject from which on its place is told; below it, it is too often only a part of the subject."""

SURE_OF_IT = 0.7
"""Certainty from which on its separation is judged."""

EDGE = 0.02

SMALL = 320
"""px of the long side below which a photo shows little of its focus: the text says so."""

FOCUSED = 0.7
"""Sharpness, see `focus.sharpness_map`, of a cell that is called sharp where another is called soft."""


def _focus(facts: Facts, said: Said) -> Iterator[Observation]:
    focus = facts.focus
    evidence: Evidence = {"sharpest": round(focus.peak, 2), "in_focus_share": round(focus.in_focus, 2)}
    if "panning" in facts.kinds:
        yield Observation(
            "depth_focus",
            "motion_blur",
            0.3,
            (
                "Motion streaks the surroundings while some of it stays sharp",
                "The blur runs in one direction and tells of movement",
                "Movement blurs all but a part that stays sharp",
            ),
            evidence | {"motion_angle": focus.motion_angle},
            focus.region,
        )
    elif focus.blur == "motion":
        yield Observation(
            "depth_focus",
            "motion_blur",
            -0.8,
            (
                "Motion blur smears the detail in one direction",
                "The camera or the subject moved and detail is smeared one way",
                "Detail is smeared in one direction, as movement does it",
            ),
            evidence | {"motion_angle": focus.motion_angle},
            advice="Use a shorter shutter time or steady the camera; this cannot be mended afterwards.",
        )
    elif only(said, "sharpness", "soft"):
        yield Observation(
            "depth_focus",
            "sharpness",
            -0.8,
            (
                "Nothing in the frame is quite sharp",
                "The focus is soft throughout",
                "Even its sharpest parts stay soft",
                "Fine detail is missing everywhere",
            ),
            evidence,
            advice="Focus on the subject's nearest detail; sharpening will not bring this back.",
        )
    else:
        yield from _depth(facts, said, evidence)
        yield from _texture(facts, evidence)
        yield from _where_sharp(facts, evidence)
    if only(said, "noise", "noisy"):
        yield Observation(
            "depth_focus",
            "noise",
            -0.4,
            (
                "Noise shows in its smooth areas",
                "Its plain areas are noisy",
                "Noise roughens what should be smooth",
            ),
            {"noise": round(focus.noise, 1)},
            advice="Reduce the noise, or use a lower ISO and more light.",
        )


def _depth(facts: Facts, said: Said, evidence: Evidence) -> Iterator[Observation]:
    focus = facts.focus
    at = ", as far as this small size shows" if max(facts.width, facts.height) < SMALL else ""
    if "bokeh" in facts.kinds:
        yield Observation(
            "depth_focus",
            "depth",
            0.6,
            (
                "A soft background lets the sharp part stand out",
                "A shallow depth of field lifts the sharp part off its soft background",
                "The shallow depth of field separates what is sharp from what lies behind it",
                "The focus picks out one part and lets the background go soft",
            ),
            evidence,
            facts.frame.subject.box,
        )
    elif only(said, "depth", "deep") and _even(focus):
        yield Observation(
            "depth_focus",
            "depth",
            0.25,
            (
                f"Detail is sharp across the frame{at}",
                f"The depth of field is deep and detail is sharp all over{at}",
                f"It keeps detail throughout, with a deep depth of field{at}",
            ),
            evidence,
        )
    elif only(said, "sharpness", "sharp") and focus.peak > 0.9 and focus.in_focus > 0.75:
        yield Observation(
            "depth_focus",
            "sharpness",
            0.3,
            (
                f"Its detail is crisp{at}",
                f"Its edges are crisp{at}",
                f"Detail comes out sharp{at}",
                f"The focus brings out sharp detail{at}",
                f"Sharp edges speak for its focus{at}",
                f"Where it is in focus, detail is crisp{at}",
                f"Detail is crisp in {part(_sharp(focus.map) * focus.textured)} of the frame",
                f"Crisp detail takes up {part(_sharp(focus.map) * focus.textured)} of the frame",
            ),
            evidence,
            focus.region,
        )


def _texture(facts: Facts, evidence: Evidence) -> Iterator[Observation]:
    focus = facts.focus
    if focus.textured > 0.05:
        share = part(focus.textured)
        yield Observation(
            "depth_focus",
            "texture",
            0.0,
            (
                f"Detail to focus on covers {share} of the frame",
                f"There is detail for the focus in {share} of the frame",
                f"Detail shows in {share} of the frame",
                f"Texture covers {share} of the frame",
                f"What can be sharp at all fills {share} of the frame",
                f"The focus has detail to work with in {share} of the frame",
                f"Structure is found in {share} of the frame",
                f"Fine structure reaches over {share} of the frame",
                f"Of the whole frame, {share} has detail to it",
                f"The lens had texture to draw in {share} of the frame",
                f"The detail takes up {share} of it",
            ),
            {"textured_share": round(focus.textured, 2)},
        )
    if _even(focus) and "bokeh" not in facts.kinds:
        yield Observation(
            "depth_focus",
            "evenness",
            -0.3,
            (
                "Focus falls on everything alike and depth sets nothing apart",
                "All of it is about equally sharp, which leaves little sense of depth",
                "No plane is given more focus than another",
                "Focus does not single anything out",
                "The focus treats all of the frame alike",
            ),
            evidence | {"spread_of_sharpness": round(_spread(focus.map), 2)},
        )


def _even(focus: Focus) -> bool:
    """Whether all of the frame is about equally sharp."""
    return focus.in_focus > 0.9 and focus.textured > 0.3 and _spread(focus.map) < 0.1


def _spread(cells: NDArray[np.float32]) -> float:
    """How much sharpness differs between the cells with texture: from the 10th to the 90th percentile, 0..1."""
    known = cells[np.isfinite(cells)]
    return float(np.percentile(known, 90) - np.percentile(known, 10)) if known.size else 0.0


def _sharp(cells: NDArray[np.float32]) -> float:
    """Share of the cells with texture that are clearly in focus, 0..1."""
    known = cells[np.isfinite(cells)]
    return float((known >= FOCUSED).mean()) if known.size else 0.0


def _where_sharp(facts: Facts, evidence: Evidence) -> Iterator[Observation]:
    """Where the sharp cells lie, where they are a part of the frame only."""
    focus = facts.focus
    sharp = _sharp(focus.map)
    if not 0.1 < sharp < 0.7 or focus.textured < 0.3 or focus.peak < 0.88:
        return
    side = _side(np.nan_to_num(focus.map) >= 0.8 * focus.peak)
    where = f"towards the {side}" if side else ""
    share = part(sharp)
    yield Observation(
        "depth_focus",
        "focus_share",
        0.05,
        (
            f"Of its detail {share} is sharp and the rest softens",
            f"Focus reaches {share} of its detail",
            f"The sharpest detail lies {where}" if where else f"Sharp detail makes up {share} of its texture",
            f"Focus is strongest {where} and lets go elsewhere"
            if where
            else f"Focus holds {share} of what has texture",
        ),
        evidence | {"sharp_share": round(sharp, 2)} | ({"sharpest_side": side} if side else {}),
        focus.region,
    )


def _side(mask: NDArray[np.bool_]) -> str:
    """The side of the frame on which most of a mask of cells lies; empty where no side has clearly more."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return ""
    y, x = float((rows.mean() + 0.5) / mask.shape[0]), float((columns.mean() + 0.5) / mask.shape[1])
    lean = {"left": 0.5 - x, "right": x - 0.5, "top": 0.5 - y, "bottom": y - 0.5}
    best = max(lean, key=lambda name: lean[name])
    return best if lean[best] > 0.12 else ""


def _separation(facts: Facts, said: Said) -> Iterator[Observation]:
    subject, separation = facts.frame.subject, facts.frame.separation
    if subject.certainty < SURE_OF_IT or subject.area > 0.4 or "bokeh" in facts.kinds:
        return
    evidence: Evidence = {"separation": round(separation, 1)}
    if separation > 25:
        yield Observation(
            "depth_focus",
            "subject",
            0.3,
            (
                "The subject stands out clearly from what is behind it",
                "Tone and focus part the subject from its surroundings",
                "The subject is well set off from the background",
                "The subject comes forward from its background",
            ),
            evidence,
            subject.box,
        )


# --- composition -----------------------------------------------------------------------------------------------------


def _placement(facts: Facts, said: Said) -> Iterator[Observation]:
    frame, subject = facts.frame, facts.frame.subject
    if subject.certainty < CERTAIN or subject.box[2] > 0.8 or subject.area > 0.5:
        return
    evidence: Evidence = {"to_centre": round(frame.to_centre, 2), "to_third": round(frame.to_third, 2)}
    where = said.get("placement", set())
    if where != {"centred"} and (subject.box[0] < EDGE or subject.box[0] + subject.box[2] > 1 - EDGE):
        return  # part of a sky or a wall more often than a subject
    if where == {"centred"}:
        yield Observation(
            "composition",
            "placement",
            0.05,
            (
                "The subject sits in the middle of the frame",
                "The subject is centred",
                "The composition puts its subject in the centre",
                "The subject takes the centre of the frame",
                "A centred subject makes for a plain, direct composition",
            ),
            evidence,
            subject.box,
        )
    elif "thirds" in where and "centred" not in where:
        yield Observation(
            "composition",
            "placement",
            0.45,
            (
                "The subject lies near a crossing of the thirds",
                "The subject is placed on a third",
                "The composition sets its subject on a third of the frame",
                "The subject is placed off-centre, close to the rule of thirds",
            ),
            evidence,
            subject.box,
        )
    elif where == {"off_centre"}:
        side = _off(subject.centre)
        yield Observation(
            "composition",
            "placement",
            0.0,
            (
                f"The subject is off-centre, towards the {side}",
                f"The weight of the subject lies towards the {side}",
                f"The composition moves its subject towards the {side}",
            ),
            evidence,
            subject.box,
        )


def _off(centre: tuple[float, float]) -> str:
    x, y = centre[0] - 0.5, centre[1] - 0.5
    if abs(x) >= abs(y):
        return "right" if x > 0 else "left"
    return "bottom" if y > 0 else "top"


def _arrangement(facts: Facts, said: Said) -> Iterator[Observation]:
    frame = facts.frame
    if only(said, "clutter", "busy"):
        yield Observation(
            "composition",
            "clutter",
            -0.4,
            (
                "The frame is busy, with detail nearly everywhere",
                f"Busy detail covers {part(frame.clutter)} of the frame",
                "Fine detail takes up most of the frame",
                "The composition is busy",
                "Detail competes for attention all over the frame",
            ),
            {"clutter": round(frame.clutter, 2)},
        )
    elif only(said, "space", "empty"):
        yield Observation(
            "composition",
            "space",
            0.25,
            (
                f"Plain areas make up {part(frame.empty)} of the frame",
                "Plenty of negative space keeps it simple",
                "Empty space gives the composition room",
                f"The composition leaves {part(frame.empty)} of the frame empty",
                "Negative space takes up most of the frame",
            ),
            {"empty_share": round(frame.empty, 2)},
        )
    elif only(said, "clutter", "simple") and frame.clutter < 0.12:
        yield Observation(
            "composition",
            "clutter",
            0.25,
            (
                "The frame is kept simple",
                "Little distracts from what is shown",
                "The arrangement is plain and clear",
                "It is a simple composition",
                "The composition does with few elements",
            ),
            {"clutter": round(frame.clutter, 2)},
        )
    elif only(said, "space", "filled"):
        yield Observation(
            "composition",
            "space",
            0.0,
            (
                "Hardly any of the frame is left plain",
                "There is texture in nearly all of the frame",
                "The composition leaves next to no empty area",
            ),
            {"empty_share": round(frame.empty, 2)},
        )
    yield from _layout(facts)
    yield from _sides(facts, said)
    yield from _stand(facts, said)


def _layout(facts: Facts) -> Iterator[Observation]:
    """Where the detail lies, where one side of the frame is plain."""
    textured = np.isfinite(facts.focus.map)
    rows, columns = textured.shape
    if rows < 6 or columns < 6 or "framed" in facts.kinds:
        return
    third, across = rows // 3, columns // 3
    sides = {
        "top": (textured[:third], textured[-third:], "bottom"),
        "bottom": (textured[-third:], textured[:third], "top"),
        "left": (textured[:, :across], textured[:, -across:], "right"),
        "right": (textured[:, -across:], textured[:, :across], "left"),
    }
    bare, (here, there, other) = min(sides.items(), key=lambda side: float(side[1][0].mean() - side[1][1].mean()))
    if float(here.mean()) > 0.3 or float(there.mean()) < 0.6:
        return
    yield Observation(
        "composition",
        "layout",
        0.1,
        (
            f"The {bare} is left plain and the detail gathers towards the {other}",
            f"Detail gathers towards the {other}, with the {bare} kept plain",
            f"The composition rests on the {other} of the frame and leaves the {bare} plain",
            f"A plain {bare} balances the detail towards the {other}",
        ),
        {"plain_side": bare, "detail_there": round(float(here.mean()), 2)},
    )


def _sides(facts: Facts, said: Said) -> Iterator[Observation]:
    frame = facts.frame
    if only(said, "symmetry", "present") and "framed" not in facts.kinds:
        yield Observation(
            "composition",
            "symmetry",
            0.4,
            (
                "Left and right mirror each other",
                "It is built on symmetry about the middle",
                "The composition is nearly symmetrical",
                "Symmetry holds the composition together",
            ),
            {"symmetry": round(frame.symmetry, 2)},
        )
    elif abs(frame.balance) > 0.45:
        side, other = ("right", "left") if frame.balance > 0 else ("left", "right")
        yield Observation(
            "composition",
            "balance",
            -0.2,
            (
                f"Most of the visual weight lies on the {side}",
                f"It leans on its {side} half and the {other} has little to answer with",
                f"The composition is heavier on the {side}",
                f"The detail on the {side} outweighs the {other}",
            ),
            {"balance": round(frame.balance, 2)},
        )
    elif abs(frame.balance) < 0.12 and frame.clutter > 0.02:
        yield Observation(
            "composition",
            "balance",
            0.22,
            (
                "Left and right carry about the same weight",
                "The composition is balanced between left and right",
                "Its detail is spread evenly between left and right",
                "The weight of the composition is even from side to side",
            ),
            {"balance": round(frame.balance, 2)},
        )


def _stand(facts: Facts, said: Said) -> Iterator[Observation]:
    frame = facts.frame
    if "panorama" in facts.kinds:
        yield Observation(
            "composition",
            "format",
            0.0,
            ("The long format spreads the scene out", "The composition is a long strip"),
            {"ratio": round(max(facts.width, facts.height) / min(facts.width, facts.height), 2)},
        )
    if only(said, "tilt", "tilted") and frame.tilt is not None:
        way, back = ("clockwise", "anticlockwise") if frame.tilt > 0 else ("anticlockwise", "clockwise")
        degrees = f"{abs(frame.tilt):.1f} degrees"
        yield Observation(
            "composition",
            "tilt",
            -0.4,
            (
                f"The picture leans by about {degrees}",
                f"Its lines tilt {way} by some {degrees}",
                f"It is tilted {way} by about {degrees}",
            ),
            {"tilt": round(frame.tilt, 2)},
            advice=f"Straighten it by {degrees} {back}.",
        )


RULES: tuple[Rule, ...] = (_focus, _separation, _placement, _arrangement)
