"""What could be done about a photo: exposure, straightening, white balance, a crop, and what only its maker could do.

Advice in numbers says what it would cost: how much more would be clipped, how much of the frame would be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.critique.facts import Facts
from cgiaa_cli.critique.light import clipping_after
from cgiaa_cli.critique.observation import Evidence, Observation
from cgiaa_cli.inference.crops import Crop

__all__ = ["Advice", "advise", "crop_to", "exposure_change", "largest_level_box", "straighten"]

GREY = 50.0  # L* that the median of an ordinary exposure is brought towards
MOST_EV = 2.0
RATIOS = {"1:1": 1.0, "5:4": 1.25, "4:3": 4 / 3, "7:5": 1.4, "3:2": 1.5, "16:10": 1.6, "16:9": 16 / 9, "2:1": 2.0}
CLIP_COST = 0.01  # further share of the picture that a brighter exposure may clip


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes:
        kind: `exposure`, `straighten`, `white_balance`, `crop`, or `shoot` (only when taking the next one).
        attribute: the one it would help.
        text: a sentence in the imperative.
        evidence: its numbers: ev, clipped_after; degrees, kept; box (x, y, w, h in pixels), share (the same in shares
            of the frame), ratio, gain (predicted, in IoU with the crop that people would make).
    """

    kind: str
    attribute: str
    text: str
    evidence: Evidence = field(default_factory=dict)


def advise(view: NDArray[np.uint8], facts: Facts, observations: Sequence[Observation]) -> list[Advice]:
    """Advice for the faults among what was observed; a photo of a kind that is meant to be so has no such fault.

    Args:
        view: (h, w, 3) uint8 sRGB.
        observations: of one attribute, or of several.
    """
    found: list[Advice] = []
    for observation in observations:
        if not observation.advice:
            continue
        if observation.measurement == "exposure":
            found += exposure_change(view, facts)
        elif observation.measurement == "tilt":
            found += straighten(facts)
        elif observation.measurement == "cast":
            found.append(Advice("white_balance", observation.attribute, observation.advice, dict(observation.evidence)))
        else:
            found.append(Advice("shoot", observation.attribute, observation.advice))
    return found


def exposure_change(view: NDArray[np.uint8], facts: Facts) -> list[Advice]:
    """The change in EV that brings the median towards middle grey without clipping much more; none if it is small.

    The stops are those of linear light, as a raw converter's exposure slider counts them.
    """
    wanted = float(np.log2((_linear(GREY) + 1e-4) / (_linear(facts.light.median) + 1e-4)))
    limit = facts.light.blown_any + CLIP_COST
    # half of the way: a dark picture that is meant to be dark should not come out grey
    ev = float(np.clip(wanted / 2, -MOST_EV, MOST_EV))
    while ev > 0.3 and clipping_after(view, ev) > limit:
        ev -= 0.1
    if abs(ev) < 0.3:
        return []
    after = clipping_after(view, ev)
    verb = "Brighten" if ev > 0 else "Darken"
    cost = f"; {after:.0%} of it would then be clipped" if after > 0.005 else "; that clips next to nothing"
    evidence: Evidence = {"ev": round(ev, 1), "clipped_after": round(after, 3)}
    return [Advice("exposure", "color_light", f"{verb} it by {abs(ev):.1f} EV{cost}.", evidence)]


def _linear(lightness: float) -> float:
    """L* -> luminance, 0..1."""
    f = (lightness + 16) / 116
    return float(f**3 if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29))


def straighten(facts: Facts) -> list[Advice]:
    """Turning the photo back by its tilt, and the share of the frame that is kept."""
    tilt = facts.frame.tilt
    if tilt is None or abs(tilt) < 0.7:
        return []
    width, height = largest_level_box(facts.width, facts.height, tilt)
    kept = width * height / (facts.width * facts.height)
    back = "anticlockwise" if tilt > 0 else "clockwise"
    text = f"Straighten it by {abs(tilt):.1f} degrees {back}; {kept:.0%} of the frame is kept."
    return [Advice("straighten", "composition", text, {"degrees": round(-tilt, 2), "kept": round(kept, 3)})]


def crop_to(facts: Facts, crop: Crop) -> Advice:
    """The crop that people would likely make of the photo, in pixels."""
    x, y, w, h = crop.box
    left, top = round(x * facts.width), round(y * facts.height)
    width, height = round((x + w) * facts.width) - left, round((y + h) * facts.height) - top
    sides = (("left", x), ("right", 1 - x - w), ("top", y), ("bottom", 1 - y - h))
    cut = [name for name, share in sides if share > 0.01]
    less = " and ".join([", ".join(cut[:-1]), cut[-1]] if len(cut) > 1 else cut)
    ratio = _ratio(width / height)
    text = f"Crop it to {width} x {height} pixels ({ratio}) from {left}, {top}: less of the {less} of the frame."
    evidence: Evidence = {"box": [left, top, width, height], "share": [round(v, 4) for v in crop.box]}
    return Advice("crop", "composition", text, evidence | {"ratio": ratio, "gain": round(crop.gain, 3)})


def _ratio(aspect: float) -> str:
    """The usual name of width over height within 2 %, else a number: 3:2, 2:3, 1.85:1."""
    wide = max(aspect, 1 / aspect)
    name = next((name for name, value in RATIOS.items() if abs(wide / value - 1) < 0.02), f"{wide:.2f}:1")
    return name if aspect >= 1 else ":".join(reversed(name.split(":")))


def largest_level_box(width: int, height: int, degrees: float) -> tuple[int, int]:
    """Size in pixels of the largest box of the photo's own proportions within it after turning it by `degrees`."""
    angle = np.radians(abs(degrees))
    sine, cosine = float(np.sin(angle)), float(np.cos(angle))
    scale = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    return max(1, int(width * scale)), max(1, int(height * scale))
