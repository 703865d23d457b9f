"""Merging what was found into an XMP packet, and taking it out again.

The rules, which `docs/annotate.md` tells users:

* What a human set stays: rating, label, caption, keywords, and every property of which we know nothing.
* Ours is what `packet.Record` says we wrote and what still has that value. It is replaced by the newer value.
* What we wrote and another program changed or removed is the human's from then on.

An edit first takes out what is ours and then puts in what is to be there, in a `rdf:Description` of our own.
Before the result is handed out, it is read again and compared: everything that is not ours must mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cgiaa_cli.annotate.decided import PICK, is_decided, made_by_review, take_back
from cgiaa_cli.annotate.packet import (
    DESCRIPTION,
    FLAT,
    HIERARCHICAL,
    LABEL,
    NAMESPACE,
    RATING,
    Human,
    Packet,
    read_packet,
)
from cgiaa_cli.annotate.plan import KEEP, Annotation, Kept, Plan, Policy
from cgiaa_cli.annotate.removal import strip

__all__ = ["EMBEDDED", "SIDECAR", "Change", "Merged", "merge", "undo"]

_EMPTY = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="cgiaa">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
"""
SIDECAR = b'<?xml version="1.0" encoding="UTF-8"?>\n' + _EMPTY
"""A sidecar that says nothing."""
EMBEDDED = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode() + _EMPTY + b'<?xpacket end="w"?>'
"""A packet for inside a photo that says nothing."""


@dataclass(frozen=True)
class Change:
    """One field that gets another value; None: it is not there."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Merged:
    """What became of a packet.

    Attributes:
        raw: the file's new bytes; None: nothing of use is left, so it should be deleted.
        changed: whether it means something else than before.
        changes, kept: for people.
    """

    raw: bytes | None
    changed: bool
    changes: tuple[Change, ...] = ()
    kept: tuple[Kept, ...] = ()


def merge(
    raw: bytes | None,
    annotation: Annotation,
    policy: Policy = KEEP,
    *,
    elsewhere: Sequence[tuple[str, Human]] = (),
    empty: bytes = SIDECAR,
) -> Merged:
    """The packet with the annotation in it.

    Args:
        raw: the packet as it is; None: there is none yet, and it begins as `empty`.
        elsewhere: what humans set in other places of the same photo, and the name of each place. A rating, label
            or caption there keeps ours from being written here. The keywords of the photo itself (named
            `the photo itself`) go along into a list that did not exist, because programs read the sidecar's
            list in the place of the photo's.

    Raises:
        ValueError: the packet cannot be read.
    """
    old = read_packet(empty if raw is None else raw)
    plan = Plan(old, annotation, policy, elsewhere, made=raw is None)
    new = plan.result()
    if raw is not None and new.meaning() == old.meaning():
        return Merged(raw, False, (), tuple(plan.kept))
    _compare(old, new)
    return Merged(new.source.file_bytes(), True, tuple(_changes(old, new)), tuple(plan.kept))


def undo(raw: bytes) -> Merged:
    """The packet without anything that is ours, and without the verdicts of `cgiaa review`.

    What we wrote and another program changed since stays. A packet that we made and that says nothing else is
    to be deleted.

    Raises:
        ValueError: the packet cannot be read.
    """
    old = read_packet(raw)
    if not old.is_annotated and not is_decided(old):
        return Merged(raw, False)
    bare = take_back(old)
    new = strip(bare)
    _compare(bare, new)
    if (old.record.created or made_by_review(old)) and not new.properties:
        return Merged(None, True, tuple(_changes(old, new)))
    return Merged(new.source.file_bytes(), True, tuple(_changes(old, new)))


def _changes(old: Packet, new: Packet) -> list[Change]:
    found = []
    for name, key in (("rating", RATING), ("pick", PICK), ("label", LABEL), ("description", DESCRIPTION)):
        before, after = old.text(key), new.text(key)
        if before != after:
            found.append(Change(name, before, after))
    for name, key in (("keywords", HIERARCHICAL), ("subjects", FLAT)):
        gone = [item for item in old.items(key) if item not in new.items(key)]
        come = [item for item in new.items(key) if item not in old.items(key)]
        if gone or come:
            found.append(Change(name, ", ".join(gone) or None, ", ".join(come) or None))
    scores = [{p.key[1]: p.text for p in one.properties if p.key[0] == NAMESPACE} for one in (old, new)]
    for name in dict.fromkeys((*scores[0], *scores[1])):
        if scores[0].get(name) != scores[1].get(name) and name not in _NOTES:
            found.append(Change(name, scores[0].get(name), scores[1].get(name)))
    return found


_NOTES = frozenset(
    [
        "WroteRating",
        "RatingBefore",
        "WroteLabel",
        "LabelBefore",
        "WroteDescription",
        "WroteSubject",
        "WroteHierarchicalSubject",
        "LeftAlone",
        "CreatedPacket",
    ]
)


def _compare(old: Packet, new: Packet) -> None:
    """The proof that nobody else's property changed; a failure is a fault of this program."""
    if old.meaning(others=True) != new.meaning(others=True) or old.human != new.human:
        raise ValueError("merging would have changed what others wrote, so it is left alone; please report this")
