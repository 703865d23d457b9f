"""What is worth saying of a photo's measurements: observations, each with its numbers, its place and what to do.

An observation is true by construction: its condition is a measurement, and its sentences say no more than that. The
sentences come in several wordings, so that a folder of photos does not read like a form.
"""

from __future__ import annotations

from cgiaa_cli.critique import observe_frame, observe_light
from cgiaa_cli.critique.facts import Facts, words
from cgiaa_cli.critique.observation import Observation

__all__ = ["Observation", "observe"]


def observe(facts: Facts) -> list[Observation]:
    """Everything worth saying, in no order."""
    said = words(facts)
    return [found for rule in (*observe_light.RULES, *observe_frame.RULES) for found in rule(facts, said)]
