"""An XML document whose elements know where they stand in the text, so that it can be edited and not rewritten.

A sidecar belongs to other programs. Whatever writes it anew from a tree changes more than it means to: prefixes,
character references in attributes, comments, the wrapper around the packet. Here expat (the parser of Python's
standard library) reads the document, and an edit replaces one stretch of its bytes; every other byte stays.

Nothing of a document type is accepted, so there are no entities to expand.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from xml.parsers import expat

__all__ = [
    "XML_NS",
    "Attribute",
    "Edit",
    "Element",
    "Source",
    "apply",
    "clean_text",
    "escape_text",
    "read_source",
    "walk",
]

XML_NS = "http://www.w3.org/XML/1998/namespace"
MAX_DEPTH = 200  # a sidecar with masks inside masks has some twenty levels

_ATTRIBUTE = re.compile(rb"""(\s+)([^\s=/>]+)\s*=\s*("[^"]*"|'[^']*')""")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME_END = re.compile(rb"[\s/>]")
_DECLARED = re.compile(r"""^\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Attribute:
    """One attribute.

    Attributes:
        namespace, name: of the attribute; the namespace is empty where it has no prefix.
        value: as XML means it, references resolved.
        start, end: of the whole attribute, with the white space before it, in the document's bytes.
        inner_start, inner_end: of the value between its quotes.
    """

    namespace: str
    name: str
    value: str
    start: int
    end: int
    inner_start: int
    inner_end: int


@dataclass
class Element:
    """One element.

    Attributes:
        raw: its name as it stands, with the prefix.
        namespace, name: what that means.
        attributes: in order, without the declarations of namespaces, which are in `declared`.
        scope: prefix -> namespace, for what stands inside.
        text: character data directly inside, joined.
        start, open_end, close_start, end: `<a b="c">` is start..open_end, `</a>` close_start..end; in `<a/>`
            the last three are the same.
    """

    raw: str
    start: int
    scope: dict[str, str]
    namespace: str = ""
    name: str = ""
    attributes: list[Attribute] = field(default_factory=list)
    declared: list[Attribute] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)
    parent: Element | None = field(default=None, repr=False)
    text: str = ""
    open_end: int = 0
    close_start: int = 0
    end: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def is_empty_tag(self) -> bool:
        """Whether it is written `<a/>`."""
        return self.open_end == self.end

    def attribute(self, namespace: str, name: str) -> Attribute | None:
        """The attribute of this name."""
        return next((a for a in self.attributes if (a.namespace, a.name) == (namespace, name)), None)

    def prefix_of(self, namespace: str) -> str | None:
        """A prefix that stands for `namespace` inside this element."""
        return next((p for p, n in self.scope.items() if n == namespace and p), None)


@dataclass(frozen=True)
class Source:
    """A document as UTF-8, and how to get the file's own encoding back.

    Attributes:
        data: UTF-8, without a byte order mark.
        bom, encoding: what the file had.
    """

    data: bytes
    bom: bytes = b""
    encoding: str = "utf-8"

    @cached_property
    def root(self) -> Element:
        """The outermost element.

        Raises:
            ValueError: the document is not well-formed, or is more than XMP can be.
        """
        return _Parser(self.data).run()

    def file_bytes(self) -> bytes:
        """What the file is to hold."""
        return self.bom + (
            self.data
            if self.encoding == "utf-8"
            else self.data.decode("utf-8").encode(self.encoding, "xmlcharrefreplace")
        )


def read_source(raw: bytes) -> Source:
    """The document in a file.

    Raises:
        ValueError: it has an encoding that Python does not know, or is not in the one that it declares.
    """
    for bom, encoding in _BOMS:
        if raw.startswith(bom):
            return Source(raw[len(bom) :].decode(encoding).encode(), bom, encoding)
    head = raw[:200].decode("latin-1")
    declared = _DECLARED.match(head)
    encoding = declared[1].lower() if declared else "utf-8"
    if encoding in ("utf-8", "utf8", "us-ascii", "ascii"):
        raw.decode("utf-8")
        return Source(raw)
    try:
        return Source(raw.decode(encoding).encode(), b"", encoding)
    except LookupError:
        raise ValueError(f"its encoding {encoding} is not known") from None


def clean_text(text: str) -> str:
    """`text` without the characters that XML 1.0 cannot hold: most control characters, and halves of pairs."""
    return _NOT_XML.sub("", text)


def escape_text(text: str) -> bytes:
    """`text` as it stands in an element or between double quotes; what XML 1.0 cannot hold is left out."""
    kept = "".join(
        c for c in text if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff")
    )
    for char, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        kept = kept.replace(char, reference)
    for char in "\t\n\r":
        kept = kept.replace(char, f"&#{ord(char)};")
    return kept.encode()


@dataclass(frozen=True)
class Edit:
    """Put `text` in the place of the bytes start..end."""

    start: int
    end: int
    text: bytes = b""


def apply(data: bytes, edits: list[Edit]) -> bytes:
    """`data` with the edits made; those inside a stretch that another one removes go with it."""
    parts: list[bytes] = []
    at = 0
    for edit in sorted(edits, key=lambda e: (e.start, -e.end)):
        if edit.start < at:
            continue
        parts += [data[at : edit.start], edit.text]
        at = edit.end
    return b"".join([*parts, data[at:]])


class _Parser:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.open: list[Element] = []
        self.root: Element | None = None
        self.expat = expat.ParserCreate("utf-8")
        self.expat.buffer_text = True
        self.expat.ordered_attributes = True
        self.expat.StartElementHandler = self._start
        self.expat.EndElementHandler = self._end
        self.expat.CharacterDataHandler = self._text
        self.expat.StartDoctypeDeclHandler = self._doctype

    def run(self) -> Element:
        # expat takes a NUL for the end of a token; the padding of embedded packets may have some
        try:
            self.expat.Parse(self.data.rstrip(b"\0"), True)
        except expat.ExpatError as error:
            raise ValueError(f"it is not well-formed XML ({error})") from None
        assert self.root is not None
        return self.root

    def _doctype(self, *_: object) -> None:
        raise ValueError("it has a document type, which XMP must not have")

    def _start(self, raw: str, pairs: list[str]) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise ValueError(f"its elements are nested more than {MAX_DEPTH} deep")
        start = self.expat.CurrentByteIndex
        parent = self.open[-1] if self.open else None
        scope = dict(parent.scope) if parent else {"xml": XML_NS}
        element = Element(raw, start, scope, parent=parent)
        spans, element.open_end = self._spans(start)
        named = list(zip(pairs[::2], pairs[1::2], spans, strict=True))
        for name, value, span in named:
            prefix, colon, local = name.partition(":")
            if name == "xmlns" or (prefix == "xmlns" and colon):
                element.declared.append(Attribute("xmlns", local, value, *span))
                scope[local] = value
        element.namespace, element.name = self._resolve(raw, scope, scope.get("", ""))
        for name, value, span in named:
            if name != "xmlns" and not name.startswith("xmlns:"):
                element.attributes.append(Attribute(*self._resolve(name, scope, ""), value, *span))
        if parent:
            parent.children.append(element)
        else:
            self.root = element
        self.open.append(element)

    def _spans(self, start: int) -> tuple[list[tuple[int, int, int, int]], int]:
        """Of each attribute of the tag at `start`: its place and its value's; and where the tag ends."""
        found = _NAME_END.search(self.data, start + 1)
        at = found.start() if found else len(self.data)
        spans = []
        while match := _ATTRIBUTE.match(self.data, at):
            spans.append((match.start(), match.end(), match.start(3) + 1, match.end(3) - 1))
            at = match.end()
        return spans, self.data.index(b">", at) + 1

    @staticmethod
    def _resolve(raw: str, scope: dict[str, str], default: str) -> tuple[str, str]:
        prefix, colon, local = raw.partition(":")
        if not colon:
            return default, raw
        if prefix not in scope:
            raise ValueError(f"its prefix '{prefix}' stands for no namespace")
        return scope[prefix], local

    def _end(self, _: str) -> None:
        element = self.open.pop()
        if self.data[element.open_end - 2 : element.open_end] == b"/>":
            element.close_start = element.end = element.open_end
        else:
            element.close_start = self.expat.CurrentByteIndex
            element.end = self.data.index(b">", element.close_start) + 1

    def _text(self, text: str) -> None:
        if self.open:
            self.open[-1].text += text


def walk(element: Element) -> Iterator[Element]:
    """`element` and all below it, in the order of the document."""
    pending = [element]
    while pending:
        one = pending.pop()
        yield one
        pending.extend(reversed(one.children))
