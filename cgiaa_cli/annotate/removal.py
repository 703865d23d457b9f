"""Taking out of a packet what is ours, and the small edits that merging needs too."""

from __future__ import annotations

from dataclasses import replace

from cgiaa_cli.annotate.packet import (
    DESCRIPTION,
    FLAT,
    HIERARCHICAL,
    LABEL,
    NAMESPACE,
    RATING,
    Packet,
    Property,
    digest,
    read_packet,
)
from cgiaa_cli.annotate.tree import Edit, Element, apply, escape_text, walk

__all__ = ["cut", "edited", "remove", "set_text", "strip"]


def edited(packet: Packet, edits: list[Edit]) -> Packet:
    """The packet with the edits made, read again."""
    data = apply(packet.source.data, edits)
    return read_packet(replace(packet.source, data=data).file_bytes())


def strip(packet: Packet) -> Packet:
    """The packet without what is ours; a rating that we wrote over is there again."""
    edits: list[Edit] = []
    for owner in packet.descriptions:
        removed = _strip_description(packet, owner)
        if removed is None:
            edits.append(cut(packet, owner))
        else:
            edits += removed
    found = edited(packet, edits)
    elements = list(walk(found.source.root))
    if any(NAMESPACE in (e.namespace, *(a.namespace for a in e.attributes)) for e in elements):
        return found  # inside somebody else's struct, where it is not ours to remove
    return edited(found, [Edit(d.start, d.end) for e in elements for d in e.declared if d.value == NAMESPACE])


def _strip_description(packet: Packet, owner: Element) -> list[Edit] | None:
    """The edits inside one `rdf:Description`; None: nothing is left of it."""
    edits: list[Edit] = []
    left = 0
    for one in (p for p in packet.properties if p.owner is owner):
        found = _strip_property(packet, one)
        if found is None:
            left += 1
            continue
        edits += found
        left += any(edit.text for edit in found) or not _removes_all(one, found)
    if edits and not left and not owner.text.strip() and not _has_comments(packet, owner):
        return None
    return edits


def _has_comments(packet: Packet, owner: Element) -> bool:
    inside = packet.source.data[owner.open_end : owner.close_start]
    return b"<!--" in inside or b"<?" in inside


def _removes_all(one: Property, edits: list[Edit]) -> bool:
    whole = one.element or one.attribute
    assert whole is not None
    return any(edit.start <= whole.start and edit.end >= whole.end for edit in edits)


def _strip_property(packet: Packet, one: Property) -> list[Edit] | None:
    """The edits that take out what is ours of one property; None: nothing is."""
    noted = packet.record
    if one.key[0] == NAMESPACE:
        return [remove(packet, one)]
    for key, wrote, before in (
        (RATING, noted.rating, noted.rating_before),
        (LABEL, noted.label, noted.label_before),
    ):
        if one.key == key and wrote is not None and one.text == wrote:
            return [remove(packet, one) if before is None else set_text(one, before)]
    if one.key == DESCRIPTION and noted.description:
        if one.container is None:
            return [remove(packet, one)] if digest(one.text) == noted.description else None
        return _remove_items(packet, one, [digest(text) == noted.description for text in one.items])
    for key, ours in ((FLAT, noted.flat), (HIERARCHICAL, noted.hierarchical)):
        if one.key == key and ours and one.container is not None:
            return _remove_items(packet, one, [text in ours for text in one.items])
    return None


def _remove_items(packet: Packet, one: Property, ours: list[bool]) -> list[Edit] | None:
    assert one.container is not None
    if not any(ours):
        return None
    if all(ours):
        return [remove(packet, one)]
    return [cut(packet, li) for li, gone in zip(one.container.children, ours, strict=True) if gone]


def remove(packet: Packet, one: Property) -> Edit:
    if one.attribute:
        return Edit(one.attribute.start, one.attribute.end)
    assert one.element is not None
    return cut(packet, one.element)


def cut(packet: Packet, element: Element) -> Edit:
    """Remove an element with the white space before it."""
    return Edit(len(packet.source.data[: element.start].rstrip()), element.end)


def set_text(one: Property, text: str) -> Edit:
    """Give a property that is a plain value another one, where it stands."""
    value = escape_text(text)
    if one.attribute:
        return Edit(one.attribute.inner_start, one.attribute.inner_end, value.replace(b"'", b"&#39;"))
    element = one.element
    assert element is not None
    if element.is_empty_tag:
        return Edit(element.open_end - 2, element.open_end, b">" + value + f"</{element.raw}>".encode())
    return Edit(element.open_end, element.close_start, value)
