"""Picks and rejects in XMP: what is written, whose word stays, and that it is taken back to the last byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import picture
from sidecars import DARKTABLE, LIGHTROOM

from cgiaa_cli.annotate.annotator import Annotator, Options, Outcome
from cgiaa_cli.annotate.decided import DM, PICK, REVIEW
from cgiaa_cli.annotate.packet import RATING, read_packet
from cgiaa_cli.annotate.plan import Annotation
from cgiaa_cli.annotate.verdict import Verdicts, decide
from cgiaa_cli.annotate.xmp import EMBEDDED, SIDECAR, merge, undo
from cgiaa_cli.taste.ratings import PICKED, REJECTED, read_xmp

STARS = Annotation({"Score": "6"}, rating=4)


def said(raw: bytes | None) -> tuple[str | None, str | None]:
    """Rating and flag."""
    assert raw is not None
    packet = read_packet(raw)
    return packet.text(RATING), packet.text(PICK)


def written(rating: str | None = None, pick: str | None = None, start: bytes = SIDECAR) -> bytes:
    """A sidecar in which somebody else has these."""
    inside = f' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{rating}"' if rating is not None else ""
    inside += f' xmlns:xmpDM="{DM}" xmpDM:pick="{pick}"' if pick is not None else ""
    return start.replace(b"</rdf:RDF>", f'<rdf:Description rdf:about=""{inside}/></rdf:RDF>'.encode())


def test_a_new_sidecar_and_back() -> None:
    pick = decide(None, "pick")
    assert said(pick.raw) == (None, "1") and pick.changed and [c.field for c in pick.changes] == ["pick"]
    reject = decide(pick.raw, "reject")
    assert said(reject.raw) == ("-1", "-1")
    assert said(decide(reject.raw, "pick").raw) == (None, "1")
    again = decide(reject.raw, "reject")
    assert not again.changed and again.raw == reject.raw
    back = decide(reject.raw, None)
    assert back.raw is None and back.changed  # it was ours, and nothing is left
    assert undo(reject.raw or b"").raw is None
    assert not decide(None, None).changed


@pytest.mark.parametrize("theirs", [LIGHTROOM, DARKTABLE, written("0", "0"), written(start=EMBEDDED)])
@pytest.mark.parametrize("verdict", ["pick", "reject"])
def test_what_others_wrote_comes_back_as_it_was(theirs: bytes, verdict: str) -> None:
    before = read_packet(theirs).meaning()
    ours = decide(theirs, verdict)
    assert ours.raw is not None and REVIEW.encode() in ours.raw
    for back in (decide(ours.raw, None), undo(ours.raw)):
        assert back.raw is not None and read_packet(back.raw).meaning() == before
        assert REVIEW.encode() not in back.raw
    assert decide(decide(ours.raw, None).raw, verdict).raw == ours.raw


@pytest.mark.parametrize(
    ("rating", "pick", "verdict", "after", "kept"),
    [
        ("3", None, "reject", ("3", "-1"), "rated by somebody else"),
        ("3", None, "pick", ("3", "1"), None),
        ("0", "0", "reject", ("-1", "-1"), None),
        ("-1", None, "pick", ("-1", None), "rejected by somebody else"),
        ("-1", None, "reject", ("-1", None), "rejected by somebody else"),
        (None, "1", "reject", (None, "1"), "picked by somebody else"),
        ("5", "-1", "pick", ("5", "-1"), "rejected by somebody else"),
        ("good", None, "reject", ("good", "-1"), "rated by somebody else"),
    ],
)
def test_whose_word_stays(
    rating: str | None, pick: str | None, verdict: str, after: tuple[str | None, str | None], kept: str | None
) -> None:
    merged = decide(written(rating, pick), verdict)
    assert said(merged.raw) == after
    assert [one.reason for one in merged.kept] == ([kept] if kept else [])


def test_stars_of_annotate_and_verdicts_do_not_meet() -> None:
    # annotate after a reject: the reject is the user's word
    rejected = decide(None, "reject").raw
    both = merge(rejected, STARS)
    assert said(both.raw) == ("-1", "-1") and both.kept[0].reason == "rejected by somebody else"
    assert both.raw is not None and undo(both.raw).raw is None
    # a reject after annotate: our stars give way, and come back with it
    starred = merge(None, STARS).raw
    over = decide(starred, "reject")
    assert said(over.raw) == ("-1", "-1") and over.raw is not None
    assert said(decide(over.raw, None).raw) == ("4", None)
    assert undo(over.raw).raw is None
    assert [(c.field, c.before, c.after) for c in undo(over.raw).changes][:2] == [
        ("rating", "-1", None),
        ("pick", "-1", None),
    ]


def test_what_another_program_changed_since_is_theirs() -> None:
    ours = decide(None, "reject").raw
    assert ours is not None
    theirs = ours.replace(b'xmp:Rating="-1"', b'xmp:Rating="5"').replace(b'xmpDM:pick="-1"', b'xmpDM:pick="0"')
    back = decide(theirs, None)
    assert said(back.raw) == ("5", "0")
    assert said(decide(theirs, "pick").raw) == ("5", "1")


def test_elements_another_prefix_and_an_empty_packet() -> None:
    element = written().replace(
        b"</rdf:RDF>",
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:Rating>0</xmp:Rating>'
        b"</rdf:Description></rdf:RDF>",
    )
    ours = decide(element, "reject").raw
    assert said(ours) == ("-1", "-1") and said(decide(ours, None).raw) == ("0", None)
    odd = b'<x xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><RDF/></x>'
    ours = decide(odd, "pick").raw
    assert said(ours) == (None, "1") and read_packet(decide(ours, None).raw or b"").properties == []


def test_no_other_property_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    from cgiaa_cli.annotate import verdict

    monkeypatch.setattr(verdict, "_written", lambda base, wanted, made: read_packet(SIDECAR))
    with pytest.raises(ValueError, match="please report this"):
        decide(LIGHTROOM, "pick")


# beside photos


def photo_in(folder: Path, name: str = "a.jpg", packet: bytes | None = None) -> Path:
    photo = folder / name
    picture(0, 0.5, (64, 48)).save(photo, **({"xmp": packet} if packet else {}))
    return photo


def run(files: list[Path], verdict: str | None, write: bool = True) -> list[Outcome]:
    return list(Verdicts(write=write).decide(files, verdict))


def test_beside_a_photo(tmp_path: Path) -> None:
    photo = photo_in(tmp_path)
    sidecar = tmp_path / "a.jpg.xmp"
    before = photo.read_bytes()
    assert [o.action for o in run([photo], "reject", write=False)] == ["create"] and not sidecar.exists()
    assert [o.action for o in run([photo], "reject")] == ["create"]
    assert said(sidecar.read_bytes()) == ("-1", "-1")
    assert dict(read_xmp([[photo]], lambda *_: None)) == {str(photo): REJECTED}  # taste learns from it
    assert [o.action for o in run([photo], "reject")] == ["same"]
    assert [o.action for o in run([photo], "pick")] == ["update"]
    assert dict(read_xmp([[photo]], lambda *_: None)) == {str(photo): PICKED}
    assert [o.action for o in run([photo], None)] == ["delete"] and not sidecar.exists()
    assert run([photo], None) == [] and photo.read_bytes() == before
    sidecar.write_bytes(LIGHTROOM)
    run([photo], "pick")
    assert [o.action for o in run([photo], None)] == ["remove"]


def test_a_word_in_another_place_of_the_photo_counts(tmp_path: Path) -> None:
    photo = photo_in(tmp_path, packet=written("3", start=EMBEDDED))
    (outcome,) = run([photo], "reject")
    assert said((tmp_path / "a.jpg.xmp").read_bytes()) == (None, "-1")
    assert outcome.kept[0].reason == "rated in the photo itself"
    # a packet that cannot be read says nothing
    damaged = photo_in(tmp_path, "d.jpg", b"<nonsense")
    assert [o.action for o in run([damaged], "reject")] == ["create"]
    # in one of two sidecars
    raw = tmp_path / "b.cr2"
    raw.write_bytes(b"II*\0")
    (tmp_path / "b.xmp").write_bytes(written(pick="1"))
    (tmp_path / "b.cr2.xmp").write_bytes(SIDECAR)
    outcomes = run([raw], "reject")
    assert [o.action for o in outcomes] == ["same", "same"]
    assert {k.reason for o in outcomes for k in o.kept} == {"picked by somebody else", "picked in b.xmp"}


def test_what_cannot_be_written_costs_that_file_alone(tmp_path: Path) -> None:
    photo, other = photo_in(tmp_path), photo_in(tmp_path, "c.jpg")
    (tmp_path / "a.jpg.xmp").write_bytes(b"<nonsense")
    (outcome,) = run([photo], "pick")
    assert outcome.action == "failed" and "it is left as it is" in str(outcome.error)
    (tmp_path / "c.jpg.xmp").write_bytes(SIDECAR)
    (tmp_path / "c.jpg.xmp").chmod(0o444)
    (outcome,) = run([other], "pick")
    assert outcome.action == "failed" and "read-only" in str(outcome.error)
    (outcome,) = run([tmp_path / "gone.jpg"], "pick")
    assert outcome.action == "failed" and "no such file" in str(outcome.error)


def test_annotate_takes_it_back(tmp_path: Path) -> None:
    photo = photo_in(tmp_path)
    run([photo], "reject")
    annotator = Annotator(Options(write=True))
    assert [o.action for o in annotator.annotate([photo], STARS)] == ["update"]
    assert said((tmp_path / "a.jpg.xmp").read_bytes()) == ("-1", "-1")
    assert [o.action for o in annotator.undo([photo])] == ["delete"]
    assert not (tmp_path / "a.jpg.xmp").exists()
