"""What an XMP packet says: its properties, who set them, and what this program noted there of its own doing.

XMP is RDF of a narrow kind (ISO 16684-1, section 7): `rdf:RDF` has `rdf:Description` elements about one photo; a
property is an attribute of one of these or an element inside, with text, a struct, or one of three kinds of list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from cgiaa_cli.annotate.tree import XML_NS, Attribute, Element, Source, read_source, walk

__all__ = [
    "DESCRIPTION",
    "FLAT",
    "HIERARCHICAL",
    "LABEL",
    "NAMESPACE",
    "RATING",
    "RDF",
    "URIS",
    "Human",
    "Key",
    "Packet",
    "Property",
    "Record",
    "digest",
    "is_unrated",
    "read_packet",
]

NAMESPACE = "urn:cgiaa:scores:1.0/"
"""Our own namespace: a name, not an address, so that it needs no host."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
URIS = {
    "cgiaa": NAMESPACE,
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
}
Key = tuple[str, str]
RATING: Key = (URIS["xmp"], "Rating")
LABEL: Key = (URIS["xmp"], "Label")
DESCRIPTION: Key = (URIS["dc"], "description")
FLAT: Key = (URIS["dc"], "subject")
HIERARCHICAL: Key = (URIS["lr"], "hierarchicalSubject")
TOUCHED = (RATING, LABEL, DESCRIPTION, FLAT, HIERARCHICAL)
# Windows' own, 1..99; where it is all there is, somebody rated the photo in Windows
_WINDOWS_RATINGS: tuple[Key, ...] = tuple((f"http://ns.microsoft.com/photo/1.0{end}", "Rating") for end in ("/", ""))
_LISTS = {(RDF, "Bag"), (RDF, "Seq"), (RDF, "Alt")}
_NOT_PROPERTIES = {(RDF, "about"), (RDF, "ID"), (RDF, "nodeID"), ("", "about"), ("", "ID")}


@dataclass(frozen=True)
class Record:
    """What we noted in a packet of what we wrote there.

    Attributes:
        rating, label: as we wrote them; None: we did not.
        rating_before, label_before: what stood there before, e.g. `0`; None: nothing.
        description: `digest` of the text.
        flat, hierarchical: the keywords that we added.
        left: what another program changed after we had written it, and which is the human's since: `rating`,
            `label`, `description`, and the families of keywords (see `xmp.family`).
        created: whether we made the packet (and the sidecar it is in).
    """

    rating: str | None = None
    rating_before: str | None = None
    label: str | None = None
    label_before: str | None = None
    description: str | None = None
    flat: tuple[str, ...] = ()
    hierarchical: tuple[str, ...] = ()
    left: frozenset[str] = frozenset()
    created: bool = False


@dataclass(frozen=True)
class Human:
    """What others than this program set. A rating of 0 is none: XMP takes no rating for 0."""

    rating: str | None = None
    label: str | None = None
    description: str | None = None
    flat: tuple[str, ...] = ()
    hierarchical: tuple[str, ...] = ()


@dataclass(frozen=True)
class Property:
    """One property where it stands; either an attribute of `owner` or an element in it."""

    key: Key
    owner: Element
    attribute: Attribute | None = None
    element: Element | None = None

    @property
    def container(self) -> Element | None:
        """The list that is its value."""
        element = self.element
        if element and len(element.children) == 1 and element.children[0].key in _LISTS:
            return element.children[0]
        return None

    @property
    def text(self) -> str:
        """Its value as text; of a list, the first item with text."""
        if self.attribute:
            return self.attribute.value.strip()
        assert self.element is not None
        if self.container:
            return next((text for text in self.items if text), "")
        return self.element.text.strip()

    @property
    def items(self) -> tuple[str, ...]:
        """The texts of its list; none where it is no list."""
        return tuple(li.text.strip() for li in self.container.children) if self.container else ()

    @property
    def is_blank(self) -> bool:
        """Whether it says nothing: no text, or a list of nothing."""
        if self.text:
            return False
        return self.element is None or all(e.key in _LISTS or e.key == (RDF, "li") for e in _below(self.element))


def _below(element: Element) -> Iterator[Element]:
    found = walk(element)
    next(found)
    return found


@dataclass(frozen=True)
class Packet:
    """A parsed packet.

    Attributes:
        source: the document it was read from.
        rdf: its `rdf:RDF`.
    """

    source: Source
    rdf: Element = field(repr=False)

    @property
    def descriptions(self) -> list[Element]:
        """The elements that hold the properties."""
        return [child for child in self.rdf.children if child.key == (RDF, "Description")]

    @cached_property
    def properties(self) -> list[Property]:
        """All properties of the photo, in order."""
        found = []
        for owner in self.descriptions:
            for attribute in owner.attributes:
                key = (attribute.namespace, attribute.name)
                if key not in _NOT_PROPERTIES and attribute.namespace != XML_NS:
                    found.append(Property(key, owner, attribute=attribute))
            found += [Property(child.key, owner, element=child) for child in owner.children]
        return found

    def find(self, key: Key) -> Property | None:
        """The property of this name."""
        return next((p for p in self.properties if p.key == key), None)

    def text(self, key: Key) -> str | None:
        """Its text, None where it is not there."""
        found = self.find(key)
        return found.text if found else None

    def items(self, key: Key) -> tuple[str, ...]:
        """The items of all lists of this name."""
        return tuple(item for p in self.properties if p.key == key for item in p.items)

    @cached_property
    def record(self) -> Record:
        """What we noted here; an empty one where nothing is ours."""

        def noted(name: str) -> str | None:
            return self.text((NAMESPACE, name))

        return Record(
            rating=noted("WroteRating"),
            rating_before=noted("RatingBefore"),
            label=noted("WroteLabel"),
            label_before=noted("LabelBefore"),
            description=noted("WroteDescription"),
            flat=self.items((NAMESPACE, "WroteSubject")),
            hierarchical=self.items((NAMESPACE, "WroteHierarchicalSubject")),
            left=frozenset(self.items((NAMESPACE, "LeftAlone"))),
            created=noted("CreatedPacket") == "True",
        )

    @property
    def is_annotated(self) -> bool:
        """Whether anything in our namespace is here."""
        return any(p.key[0] == NAMESPACE for p in self.properties)

    @cached_property
    def human(self) -> Human:
        """What others set."""
        noted = self.record
        rating = self.text(RATING)
        if noted.rating is not None and rating == noted.rating:
            rating = noted.rating_before
        if is_unrated(rating):
            windows = (self.text(key) for key in _WINDOWS_RATINGS)
            rating = next((value for value in windows if not is_unrated(value)), None)
        label = self.text(LABEL)
        if noted.label is not None and label == noted.label:
            label = noted.label_before
        texts = list(self.items(DESCRIPTION)) or [self.text(DESCRIPTION) or ""]
        captions = [text for text in texts if text and digest(text) != noted.description]
        return Human(
            rating=rating,
            label=label or None,
            description=captions[0] if captions else None,
            flat=tuple(item for item in self.items(FLAT) if item not in noted.flat),
            hierarchical=tuple(item for item in self.items(HIERARCHICAL) if item not in noted.hierarchical),
        )

    def meaning(self, *, others: bool = False) -> dict[Key, list[object]]:
        """Every property's value, however it was written down; bags without their order.

        Args:
            others: leave out our namespace and the five properties of which some part may be ours.
        """
        values: dict[Key, list[object]] = {}
        for one in self.properties:
            if others and (one.key[0] == NAMESPACE or one.key in TOUCHED):
                continue
            text = one.attribute.value if one.attribute else ""
            value = _value(one.element) if one.element else ("text", text, ())
            values.setdefault(one.key, []).append(value)
        return values


def read_packet(raw: bytes) -> Packet:
    """Read a sidecar, or the packet out of a photo.

    Raises:
        ValueError: it is not well-formed, or it is XML of another kind.
    """
    source = read_source(raw)
    rdf = next((element for element in walk(source.root) if element.key == (RDF, "RDF")), None)
    if rdf is None:
        raise ValueError("it is XML, but not XMP: it has no rdf:RDF")
    return Packet(source, rdf)


def digest(text: str) -> str:
    """A text's fingerprint, to know it again: repeating the text itself would double it."""
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def is_unrated(rating: str | None) -> bool:
    """Whether a rating says that there is none: absent, empty or 0 (ISO 16684-1: 0 is the default)."""
    if rating is None or not rating.strip():
        return True
    try:
        return float(rating) == 0
    except ValueError:
        return False


def _value(element: Element) -> object:
    """(kind, content, language and other qualifiers) of a property's or a list item's element."""
    qualifiers = tuple((a.name, a.value) for a in element.attributes if a.namespace == XML_NS)
    fields = [a for a in element.attributes if a.namespace not in (XML_NS, RDF)]
    resource = element.attribute(RDF, "resource")
    if resource:
        return "uri", resource.value, qualifiers
    if len(element.children) == 1 and element.children[0].key in _LISTS:
        kind = element.children[0].name
        items = [_value(li) for li in element.children[0].children]
        return kind, tuple(sorted(items, key=repr) if kind == "Bag" else items), qualifiers
    if len(element.children) == 1 and element.children[0].key == (RDF, "Description"):
        return "struct", _struct(element.children[0]), qualifiers
    if element.children or fields or element.attribute(RDF, "parseType"):
        return "struct", _struct(element), qualifiers
    return "text", element.text, qualifiers


def _struct(element: Element) -> object:
    found: list[object] = [
        ((a.namespace, a.name), ("text", a.value, ()))
        for a in element.attributes
        if a.namespace not in (XML_NS, RDF) and (a.namespace, a.name) not in _NOT_PROPERTIES
    ]
    found += [(child.key, _value(child)) for child in element.children]
    return tuple(sorted(found, key=repr))
