"""Where the verdicts of `cgiaa review` stand in a packet, and taking them back.

A namespace of their own notes what was written and what stood there before.
"""

from __future__ import annotations

from cgiaa_cli.annotate.packet import RATING, Key, Packet, Property
from cgiaa_cli.annotate.removal import cut, edited, remove, set_text
from cgiaa_cli.annotate.tree import Edit, walk

__all__ = ["DM", "FIELDS", "NAMES", "PICK", "REVIEW", "compare", "is_decided", "made_by_review", "take_back"]

REVIEW = "urn:cgiaa:review:1.0/"
"""The namespace of the notes: a name, not an address."""

DM = "http://ns.adobe.com/xmp/1.0/DynamicMedia/"
PICK: Key = (DM, "pick")
"""Lightroom's flag: 1, 0, -1."""

NAMES: dict[Key, str] = {RATING: "Rating", PICK: "Pick"}
"""What a verdict may write, and what the note of it is called."""

FIELDS = {RATING: "rating", PICK: "pick"}


def made_by_review(packet: Packet) -> bool:
    """Whether the packet was not there before a verdict was written."""
    return packet.text((REVIEW, "CreatedPacket")) == "True"


def is_decided(packet: Packet) -> bool:
    """Whether a verdict of ours is noted here."""
    return any(one.key[0] == REVIEW for one in packet.properties)


def take_back(packet: Packet) -> Packet:
    """The packet without our verdict; what another program changed since stays."""
    if not is_decided(packet):
        return packet
    edits: list[Edit] = []
    for owner in packet.descriptions:
        mine = [one for one in packet.properties if one.owner is owner]
        own = [edit for one in mine if (edit := _removal(packet, one)) is not None]
        gone = sum(not edit.text for edit in own)
        # a block of which nothing is left goes whole; the block that we made has nothing but ours
        edits += [cut(packet, owner)] if own and gone == len(mine) and not owner.text.strip() else own
    found = edited(packet, edits)
    compare(packet, found)
    declared = [d for e in walk(found.source.root) for d in e.declared if d.value == REVIEW]
    return edited(found, [Edit(one.start, one.end) for one in declared])


def _removal(packet: Packet, one: Property) -> Edit | None:
    """The edit that takes out what is ours of a property; None: nothing is."""
    if one.key[0] == REVIEW:
        return remove(packet, one)
    name = NAMES.get(one.key)
    if name is None or packet.text((REVIEW, name)) != one.text:
        return None
    before = packet.text((REVIEW, f"{name}Before"))
    return remove(packet, one) if before is None else set_text(one, before)


def compare(old: Packet, new: Packet) -> None:
    """The proof that nothing but a verdict changed; a failure is a fault of this program."""

    def rest(packet: Packet) -> dict[Key, list[object]]:
        return {key: value for key, value in packet.meaning().items() if key not in NAMES and key[0] != REVIEW}

    if rest(old) != rest(new):
        raise ValueError("merging would have changed what others wrote, so it is left alone; please report this")
