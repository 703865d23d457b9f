"""Deciding, field by field, what of an annotation goes into a packet, and the edits that put it there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cgiaa_cli.annotate.packet import (
    DESCRIPTION,
    FLAT,
    HIERARCHICAL,
    LABEL,
    RATING,
    RDF,
    URIS,
    Human,
    Packet,
    Record,
    digest,
    is_unrated,
)
from cgiaa_cli.annotate.removal import edited, remove, set_text, strip
from cgiaa_cli.annotate.tree import Edit, Element, clean_text, escape_text

__all__ = ["INSIDE", "KEEP", "Annotation", "Kept", "Plan", "Policy", "family"]

REJECTED = -1
INSIDE = "the photo itself"
"""The name of the place that is the packet inside the photo."""


@dataclass(frozen=True)
class Annotation:
    """What is to be written about one photo.

    Attributes:
        scores: name in our namespace -> text, for every score, the bundle and its version.
        rating: 1..5; None: none.
        label: a colour's name; None: none.
        description: the critique; None: nothing is known, so an older one of ours stays.
        hierarchical: keywords like `Aesthetics|Composition|8`.
        flat: keywords like `Composition 8`.
    """

    scores: Mapping[str, str]
    rating: int | None = None
    label: str | None = None
    description: str | None = None
    hierarchical: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """What may be written over.

    Attributes:
        overwrite_rating: a human's rating of 0..5.
        overwrite_rejected: with it, also -1.
    """

    overwrite_rating: bool = False
    overwrite_rejected: bool = False


KEEP = Policy()
"""Write over nothing."""


@dataclass(frozen=True)
class Kept:
    """One field that is not ours to write, its value and why."""

    field: str
    value: str | None
    reason: str


def family(keyword: str) -> str:
    """What a keyword is about, without its number: the newer value of a score is of the same family."""
    return re.sub(r"[| ]\d+$", "", keyword)


@dataclass
class Plan:
    """One merge: what is decided, and the edits that do it."""

    old: Packet
    annotation: Annotation
    policy: Policy
    elsewhere: Sequence[tuple[str, Human]]
    made: bool
    kept: list[Kept] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    elements: list[bytes] = field(default_factory=list)
    prefixes: set[str] = field(default_factory=lambda: {"cgiaa"})

    def result(self) -> Packet:
        """The new packet."""
        noted = self.old.record
        self.base = strip(self.old)
        self.left = set(noted.left)
        now = Record(created=noted.created or self.made)
        now = self._rating(noted, now)
        now = self._label(noted, now)
        now = self._description(noted, now)
        now = replace(now, hierarchical=self._keywords(HIERARCHICAL, noted.hierarchical))
        now = replace(now, flat=self._keywords(FLAT, noted.flat))
        self._add_block(replace(now, left=frozenset(self.left)))
        return edited(self.base, self.edits)

    def _others(self, name: str) -> tuple[str | None, str]:
        """What a human set of this field in another place, and where."""
        for place, human in self.elsewhere:
            if (value := getattr(human, name)) is not None:
                return str(value), place
        return None, ""

    def _rating(self, noted: Record, now: Record) -> Record:
        current, wanted = self.old.text(RATING), self.annotation.rating
        other, place = self._others("rating")
        value = self.old.human.rating if is_unrated(current) else current
        ours = noted.rating is not None and current == noted.rating
        if noted.rating is not None and not ours:
            self.left.add("rating")
        rejected = _is_rejected(other) or (_is_rejected(current) and not ours)
        allowed = self.policy.overwrite_rating and (self.policy.overwrite_rejected or not rejected)
        if allowed:
            self.left -= {"rating"} if wanted is not None else set()
        elif ours and other is not None:
            self.kept.append(Kept("rating", other, _reason(other, place)))
            return now
        elif not ours:
            if not is_unrated(value):
                self.kept.append(Kept("rating", value, _reason(value, "")))
                return now
            if "rating" in self.left:
                self.kept.append(Kept("rating", current, "removed by another program since"))
                return now
            if other is not None:
                self.kept.append(Kept("rating", other, _reason(other, place)))
                return now
        if wanted is None:
            return now
        before = self._write(RATING, "xmp", "Rating", str(wanted))
        return replace(now, rating=str(wanted), rating_before=before)

    def _label(self, noted: Record, now: Record) -> Record:
        current, wanted = self.old.text(LABEL), self.annotation.label
        other, place = self._others("label")
        ours = noted.label is not None and current == noted.label
        if noted.label is not None and not ours:
            self.left.add("label")
        if wanted is None:
            return now
        if current and not ours:
            self.kept.append(Kept("label", current, "set by somebody else"))
        elif "label" in self.left:
            self.kept.append(Kept("label", current, "removed by another program since"))
        elif other is not None:
            self.kept.append(Kept("label", other, f"set in {place}"))
        else:
            before = self._write(LABEL, "xmp", "Label", wanted)
            return replace(now, label=wanted, label_before=before)
        return now

    def _write(self, key: tuple[str, str], prefix: str, name: str, value: str) -> str | None:
        """Write a plain value, where one stands already or in our block; returns what stood there."""
        one = self.base.find(key)
        if one is None:
            self.prefixes.add(prefix)
            self.attributes[f"{prefix}:{name}"] = value
            return None
        self.edits.append(set_text(one, value))
        return one.text

    def _description(self, noted: Record, now: Record) -> Record:
        older = next((t for t in self._captions() if digest(t) == noted.description), None)
        wanted = clean_text(self.annotation.description or "").strip() or older
        if noted.description and older is None:
            self.left.add("description")
        if wanted is None:
            return now
        one = self.base.find(DESCRIPTION)
        other, place = self._others("description")
        if one is not None and not one.is_blank:
            self.kept.append(Kept("description", one.text, "set by somebody else"))
        elif "description" in self.left:
            self.kept.append(Kept("description", None, "removed by another program since"))
        elif other is not None:
            self.kept.append(Kept("description", other, f"set in {place}"))
        else:
            if one is not None:
                self.edits.append(remove(self.base, one))
            self.prefixes.add("dc")
            text = b'     <rdf:li xml:lang="x-default">' + escape_text(wanted) + b"</rdf:li>\n"
            self.elements.append(_listed("dc:description", "Alt", text))
            return replace(now, description=digest(wanted))
        return now

    def _captions(self) -> list[str]:
        return [*self.old.items(DESCRIPTION), self.old.text(DESCRIPTION) or ""]

    def _keywords(self, key: tuple[str, str], noted: tuple[str, ...]) -> tuple[str, ...]:
        """Add keywords to a list; returns those that were not there before."""
        name = "flat" if key == FLAT else "hierarchical"
        here = self.old.items(key)
        self.left |= {f"{name}:{family(item)}" for item in noted if item not in here}
        one = self.base.find(key)
        theirs = self.base.items(key)
        inside = next((h for place, h in self.elsewhere if place == INSIDE), Human())
        along: tuple[str, ...] = getattr(inside, name)
        if theirs and not set(along) & set(noted):
            along = ()
        wanted = dict.fromkeys((*along, *getattr(self.annotation, name)))
        new = tuple(w for w in wanted if w not in theirs and f"{name}:{family(w)}" not in self.left)
        if not new:
            return ()
        if one is not None and one.is_blank and one.container is None:
            self.edits.append(remove(self.base, one))
            one = None
        if one is None:
            prefix = "dc" if key == FLAT else "lr"
            self.prefixes.add(prefix)
            items = b"".join(b"     <rdf:li>" + escape_text(item) + b"</rdf:li>\n" for item in new)
            self.elements.append(_listed(f"{prefix}:{key[1]}", "Bag", items))
            return new
        if one.container is None:
            self.kept.append(Kept("keywords" if name == "hierarchical" else "subjects", one.text, "not a list"))
            return ()
        self.edits.append(_append(self.base, one.container, new))
        return new

    def _add_block(self, now: Record) -> None:
        """Our own `rdf:Description`, after the others."""
        attributes = {f"cgiaa:{name}": text for name, text in self.annotation.scores.items()}
        notes = {"WroteRating": now.rating, "RatingBefore": now.rating_before, "WroteLabel": now.label}
        notes |= {"LabelBefore": now.label_before, "WroteDescription": now.description}
        notes |= {"CreatedPacket": "True" if now.created else None}
        attributes |= {f"cgiaa:{name}": text for name, text in notes.items() if text is not None}
        attributes |= self.attributes
        lists = {"WroteSubject": now.flat, "WroteHierarchicalSubject": now.hierarchical}
        for name, values in (lists | {"LeftAlone": tuple(sorted(now.left))}).items():
            if values:
                items = b"".join(b"     <rdf:li>" + escape_text(item) + b"</rdf:li>\n" for item in values)
                self.elements.append(_listed(f"cgiaa:{name}", "Bag", items))
        rdf, siblings = self.base.rdf, self.base.descriptions
        about = next((a.value for d in siblings for a in d.attributes if a.name == "about"), "")
        names = {prefix: URIS[prefix] for prefix in sorted(self.prefixes)}
        if rdf.scope.get("rdf") != RDF:
            names = {"rdf": RDF} | names
        lines = [f'<rdf:Description rdf:about="{escape_text(about).decode()}"']
        lines += [f'xmlns:{prefix}="{uri}"' for prefix, uri in names.items()]
        lines += [f'{name}="{escape_text(text).decode()}"' for name, text in attributes.items()]
        block = "\n    ".join(lines).encode()
        block += b">\n" + b"".join(self.elements) + b"  </rdf:Description>" if self.elements else b"/>"
        if rdf.is_empty_tag:
            end = f"\n </{rdf.raw}>".encode()
            self.edits.append(Edit(rdf.open_end - 2, rdf.open_end, b">\n  " + block + end))
        else:
            at = rdf.children[-1].end if rdf.children else rdf.open_end
            self.edits.append(Edit(at, at, b"\n  " + block))


def _is_rejected(rating: str | None) -> bool:
    try:
        return float(rating or 0) == REJECTED
    except ValueError:
        return False


def _reason(rating: str | None, place: str) -> str:
    what = "rejected" if _is_rejected(rating) else "rated"
    return f"{what} in {place}" if place else f"{what} by somebody else"


def _listed(name: str, kind: str, items: bytes) -> bytes:
    return f"   <{name}>\n    <rdf:{kind}>\n".encode() + items + f"    </rdf:{kind}>\n   </{name}>\n".encode()


def _append(packet: Packet, container: Element, items: Sequence[str]) -> Edit:
    """Add items to a list, in the way in which its last one is written."""
    prefix, colon, _ = container.raw.rpartition(":")
    tag = f"{prefix}{colon}li".encode()
    data = packet.source.data
    before = b""
    if container.children:
        last = container.children[-1]
        before = data[len(data[: last.start].rstrip()) : last.start]
    added = b"".join(before + b"<" + tag + b">" + escape_text(item) + b"</" + tag + b">" for item in items)
    if container.is_empty_tag:
        end = f"</{container.raw}>".encode()
        return Edit(container.open_end - 2, container.open_end, b">" + added + end)
    at = container.children[-1].end if container.children else container.open_end
    return Edit(at, at, added)
