"""Merging into packets that other programs wrote, and out again: what is theirs stays byte for byte."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from sidecars import CAPTURE_ONE, DARKTABLE, DIGIKAM, EXIFTOOL, LIGHTROOM, OTHERS

from cgiaa_cli.annotate.packet import (
    DESCRIPTION,
    FLAT,
    HIERARCHICAL,
    LABEL,
    NAMESPACE,
    RATING,
    Human,
    read_packet,
)
from cgiaa_cli.annotate.plan import INSIDE, Annotation, Policy
from cgiaa_cli.annotate.xmp import EMBEDDED, SIDECAR, merge, undo

FOUND = Annotation(
    {"Score": "6.13", "Composition": "7.62", "Bundle": "default", "BundleVersion": "1"},
    4,
    "Green",
    'Light from the left, "hard" & clear <here>.',
    ("Aesthetics|Overall|6", "Aesthetics|Composition|8"),
    ("Overall 6", "Composition 8"),
)
LATER = Annotation(
    {"Score": "5.02", "Bundle": "default", "BundleVersion": "2"},
    2,
    "Yellow",
    "Another text.",
    ("Aesthetics|Overall|5", "Aesthetics|Composition|8"),
    ("Overall 5", "Composition 8"),
)


def merged(raw: bytes | None, annotation: Annotation = FOUND, policy: Policy | None = None) -> bytes:
    result = merge(raw, annotation, policy or Policy()).raw
    assert result is not None
    return result


def rating(raw: bytes) -> str | None:
    return read_packet(raw).text(RATING)


def facts(raw: bytes) -> list[tuple[str, ...]]:
    """Every attribute and text with the way to it, by another parser than ours and without lists' positions."""
    found = []

    def visit(element: ET.Element, way: tuple[str, ...]) -> None:
        way = (*way, element.tag)
        found.extend((*way, name, value) for name, value in element.attrib.items())
        if (element.text or "").strip():
            found.append((*way, element.text or ""))
        for child in element:
            visit(child, way)

    visit(ET.fromstring(raw), ())
    return sorted(found)


@pytest.mark.parametrize("raw", OTHERS.values(), ids=OTHERS)
def test_what_others_wrote_stays(raw: bytes) -> None:
    result = merge(raw, FOUND)
    assert result.changed and result.raw is not None
    before, after = facts(raw), facts(result.raw)
    changed = [fact for fact in before if before.count(fact) > after.count(fact)]
    # nothing but a rating of 0 and an empty label, which are none
    assert all(fact[-1] == "0" and "Rating" in fact[-2] for fact in changed), changed
    human = read_packet(raw).human
    assert read_packet(result.raw).human == human
    again = merge(result.raw, FOUND)
    assert not again.changed and again.raw == result.raw
    assert undo(result.raw).raw == raw
    later = merged(result.raw, LATER)
    assert read_packet(later).human == human and undo(later).raw == raw


def test_what_is_written() -> None:
    raw = merged(None)
    packet = read_packet(raw)
    assert packet.text(RATING) == "4" and packet.text(LABEL) == "Green"
    assert packet.text(DESCRIPTION) == FOUND.description
    assert packet.items(HIERARCHICAL) == FOUND.hierarchical and packet.items(FLAT) == FOUND.flat
    assert {p.key[1]: p.text for p in packet.properties if p.key[0] == NAMESPACE}.items() >= FOUND.scores.items()
    assert raw.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<x:xmpmeta ')
    assert ET.fromstring(raw).tag == "{adobe:ns:meta/}xmpmeta"
    assert undo(raw).raw is None
    embedded = merge(None, FOUND, empty=EMBEDDED).raw
    assert embedded is not None and embedded.endswith(b'<?xpacket end="w"?>')
    assert undo(SIDECAR).changed is False


def test_ours_is_replaced() -> None:
    packet = read_packet(merged(merged(CAPTURE_ONE), LATER))
    assert packet.text(RATING) == "5"  # a human's
    assert packet.text(LABEL) == "Yellow" and packet.text(DESCRIPTION) == "Another text."
    assert packet.items(FLAT) == ("People", "Anna", *LATER.flat)
    assert packet.items(HIERARCHICAL) == ("People|Anna", *LATER.hierarchical)
    assert packet.text((NAMESPACE, "Score")) == "5.02" and packet.text((NAMESPACE, "Composition")) is None
    assert rating(merged(merged(None), LATER)) == "2"
    without = Annotation(LATER.scores)
    less = read_packet(merged(merged(None), without))
    assert less.text(RATING) is None and less.text(LABEL) is None and not less.items(FLAT)
    assert less.text(DESCRIPTION) == FOUND.description  # no critique is known now, so the older one stays


def test_rating_of_a_human() -> None:
    kept = merge(LIGHTROOM, FOUND)
    assert kept.raw is not None and rating(kept.raw) == "3"
    assert (kept.kept[0].field, kept.kept[0].value) == ("rating", "3")
    over = merged(LIGHTROOM, policy=Policy(overwrite_rating=True))
    assert rating(over) == "4" and undo(over).raw == LIGHTROOM
    # asked for once, it is ours, and follows the score
    later = merged(over, LATER)
    assert rating(later) == "2" and undo(later).raw == LIGHTROOM


def test_rejected_stays() -> None:
    for policy in (Policy(), Policy(overwrite_rating=True)):
        result = merge(EXIFTOOL, FOUND, policy)
        assert result.raw is not None and rating(result.raw) == "-1"
        assert result.kept[0].reason == "rejected by somebody else"
    both = merged(EXIFTOOL, policy=Policy(overwrite_rating=True, overwrite_rejected=True))
    assert rating(both) == "4" and undo(both).raw == EXIFTOOL
    place = [("IMG.xmp", Human(rating="-1.0"))]
    result = merge(None, FOUND, Policy(overwrite_rating=True), elsewhere=place)
    assert result.raw is not None and rating(result.raw) is None and "IMG.xmp" in result.kept[0].reason


def test_no_stars_is_no_rating() -> None:
    result = merged(DARKTABLE)
    assert b'xmp:Rating="4"' in result and b'cgiaa:RatingBefore="0"' in result
    assert undo(result).raw == DARKTABLE
    below = Annotation(FOUND.scores)
    assert rating(merged(DARKTABLE, below)) == "0"
    assert undo(merged(result, below)).raw == DARKTABLE


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        (b'xmp:Rating="4"', b'xmp:Rating="5"', "5"),
        (b'xmp:Rating="4"', b'xmp:Rating="-1"', "-1"),
        (b'xmp:Rating="4"', b'xmp:Rating="0"', "0"),
        (b'xmp:Rating="4"', b"", None),
    ],
)
def test_a_changed_rating_is_the_humans(old: bytes, new: bytes, value: str | None) -> None:
    changed = merged(None).replace(old, new)
    for annotation in (FOUND, LATER):
        result = merge(changed, annotation)
        assert result.raw is not None and rating(result.raw) == value
        assert result.kept[0].field == "rating"
        assert b"WroteRating" not in result.raw
        changed = result.raw
        assert not merge(changed, annotation).changed
    out = undo(changed).raw
    if value is None:
        assert out is None
        assert rating(merged(changed, LATER, Policy(overwrite_rating=True))) == "2"
    else:
        assert out is not None and rating(out) == value


def test_changed_label_caption_and_keywords_are_the_humans() -> None:
    ours = merged(None)
    changed = ours.replace(b'xmp:Label="Green"', b'xmp:Label="Blue"').replace(b"Light from the left", b"Mine")
    changed = changed.replace(b"     <rdf:li>Composition 8</rdf:li>\n", b"", 1)
    result = merge(changed, LATER)
    assert result.raw is not None
    packet = read_packet(result.raw)
    assert packet.text(LABEL) == "Blue" and (packet.text(DESCRIPTION) or "").startswith("Mine")
    assert packet.items(FLAT) == ("Overall 5",)  # neither the removed one nor its next value
    assert packet.items(HIERARCHICAL) == LATER.hierarchical
    assert {k.field for k in result.kept} == {"label", "description"}
    out = undo(result.raw).raw
    assert out is not None
    assert read_packet(out).human == Human(label="Blue", description=packet.text(DESCRIPTION))
    assert not any(p.key[0] == NAMESPACE for p in read_packet(out).properties) and b"cgiaa:" not in out


def test_a_caption_in_another_language_is_a_caption() -> None:
    ours = merged(None)
    german = b'<rdf:li xml:lang="de">Meins</rdf:li>\n    </rdf:Alt>'
    both = ours.replace(b"</rdf:Alt>", german)
    packet = read_packet(merged(both, LATER))
    assert packet.items(DESCRIPTION) == ("Meins",)
    out = undo(both).raw
    assert out is not None and read_packet(out).items(DESCRIPTION) == ("Meins",)


def test_elsewhere() -> None:
    human = Human("2", "Red", "A caption", ("sea",), ("Nature|sea",))
    packet = read_packet(merge(None, FOUND, elsewhere=[("IMG.xmp", human)]).raw or b"")
    assert packet.text(RATING) is None and packet.text(LABEL) is None and packet.text(DESCRIPTION) is None
    assert packet.items(FLAT) == FOUND.flat
    # a list in the sidecar hides the photo's own, so its keywords come along, and go again
    place = [(INSIDE, human)]
    raw = merge(None, FOUND, elsewhere=place).raw
    assert raw is not None
    assert read_packet(raw).items(FLAT) == ("sea", *FOUND.flat)
    assert not merge(raw, FOUND, elsewhere=place).changed
    added = raw.replace(b"<rdf:li>sea</rdf:li>", b"<rdf:li>sea</rdf:li><rdf:li>sun</rdf:li>", 1)
    assert set(read_packet(merge(added, LATER, elsewhere=place).raw or b"").items(FLAT)) >= {"sea", "Overall 5"}
    assert undo(raw).raw is None
    # somebody rated in another place after we had rated here: ours goes
    assert rating(merge(merged(None), LATER, elsewhere=[("x.xmp", Human("5"))]).raw or b"") is None


def test_rated_in_windows() -> None:
    rated = DIGIKAM.replace(b'   xmp:Rating="4"\n', b"")
    assert rating(merged(rated)) is None
    assert rating(merged(rated.replace(b'MicrosoftPhoto:Rating="75"', b'MicrosoftPhoto:Rating="0"'))) == "4"


RDF = b'xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
DC = b'xmlns:d="http://purl.org/dc/elements/1.1/"'


@pytest.mark.parametrize(
    "raw",
    [
        b"<r:RDF " + RDF + b"/>",
        b"<r:RDF " + RDF + b"></r:RDF>",
        b"<r:RDF " + RDF + b"><r:Description r:about='x'/></r:RDF>",
        b"<RDF xmlns='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><Description about=''/></RDF>",
        b"<r:RDF " + RDF + b"><r:Description " + DC + b"><d:subject><r:Bag/></d:subject></r:Description></r:RDF>",
        b"<r:RDF " + RDF + b"><r:Description " + DC + b"><d:subject/><d:description/></r:Description></r:RDF>",
        b"<r:RDF " + RDF + b"><r:Description " + DC + b" d:description='' d:subject=''/></r:RDF>",
    ],
)
def test_unusual_packets(raw: bytes) -> None:
    result = merged(raw)
    ET.fromstring(result)
    packet = read_packet(result)
    assert packet.items(FLAT) == FOUND.flat and packet.text(DESCRIPTION) == FOUND.description
    assert sum(p.key == FLAT for p in packet.properties) == 1
    assert not merge(result, FOUND).changed
    out = undo(result).raw
    assert out is not None and b"cgiaa" not in out and not read_packet(out).items(FLAT)


def test_keywords_that_are_no_list_stay() -> None:
    raw = b"<r:RDF " + RDF + b"><r:Description " + DC + b" d:subject='sea'/></r:RDF>"
    result = merge(raw, FOUND)
    assert result.raw is not None and b"d:subject='sea'" in result.raw and b"<dc:subject>" not in result.raw
    assert ("subjects", "sea") in [(k.field, k.value) for k in result.kept]
    assert undo(result.raw).changed


def test_a_keyword_that_was_there_is_not_ours() -> None:
    raw = LIGHTROOM.replace(b"<rdf:li>Travel</rdf:li>", b"<rdf:li>Composition 8</rdf:li>")
    result = merged(raw)
    assert read_packet(result).items(FLAT).count("Composition 8") == 1
    assert undo(result).raw == raw


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "iso-8859-1"])
def test_encodings(encoding: str) -> None:
    text = DIGIKAM.decode().replace("UTF-8", encoding.replace("-sig", "").upper())
    raw = text.encode(encoding)
    result = merged(raw, Annotation(FOUND.scores, 3, description="Größe — ok"))
    assert read_packet(result).items(FLAT) == ("Vögel",)
    assert ET.fromstring(result) is not None
    assert undo(result).raw == raw


BOMB = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "well-formed"),
        (LIGHTROOM[:900], "well-formed"),
        (b"\x00\x01 no XML", "well-formed"),
        (LIGHTROOM.replace(b"</rdf:RDF>", b"</rdf:rdf>"), "well-formed"),
        (b"<html><body/></html>", "not XMP"),
        (BOMB + LIGHTROOM, "document type"),
        (b"<a>" * 10_000 + b"</a>" * 10_000, "nested"),
        (LIGHTROOM.replace(b'    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"\n', b""), "crs"),
        (DIGIKAM.replace("ö".encode(), b"\xf6"), "utf-8"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "klingon"),
    ],
)
def test_what_cannot_be_read(raw: bytes, said: str) -> None:
    for action in (lambda: merge(raw, FOUND), lambda: undo(raw)):
        with pytest.raises(ValueError, match=said):
            action()


def test_characters_that_xml_cannot_hold() -> None:
    raw = merged(None, Annotation(FOUND.scores, description="a\x00b\ud800c\n\td\x1b[31m"))
    assert read_packet(raw).text(DESCRIPTION) == "abc\n\td[31m"
    assert not merge(raw, Annotation(FOUND.scores, description="a\x00b\ud800c\n\td\x1b[31m")).changed
