"""Picks and rejects of `cgiaa review` in XMP: what a human decided, written down for other photo software.

They are not our opinion but the user's, so for everything else here they are as good as written by another program:
stars of `annotate` never replace them, and `taste` learns from them.

    reject   xmp:Rating -1, unless somebody gave stars   xmpDM:pick -1   (darktable, digiKam, Bridge; Lightroom's flag)
    pick                                                 xmpDM:pick 1

Where somebody else has already said pick or reject, in any sidecar or in the photo, nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cgiaa_cli.annotate.annotator import Outcome
from cgiaa_cli.annotate.decided import DM, FIELDS, NAMES, PICK, REVIEW, compare, made_by_review, take_back
from cgiaa_cli.annotate.packet import RATING, RDF, URIS, Key, Packet, is_unrated, read_packet
from cgiaa_cli.annotate.photo_file import packet_in
from cgiaa_cli.annotate.plan import Kept
from cgiaa_cli.annotate.removal import edited, set_text
from cgiaa_cli.annotate.sidecar import Namer, State, Style, delete_file, read_file, write_file
from cgiaa_cli.annotate.tree import Edit, escape_text
from cgiaa_cli.annotate.xmp import SIDECAR, Change, Merged
from cgiaa_cli.errors import SidecarError
from cgiaa_cli.paths import escape

__all__ = ["Verdicts", "decide"]

# what a verdict is written as: rating, flag
_VALUES: dict[str, dict[Key, str]] = {"pick": {PICK: "1"}, "reject": {RATING: "-1", PICK: "-1"}}


@dataclass(frozen=True)
class _Said:
    """What somebody else said of a photo in one place."""

    place: str
    rating: str | None
    pick: str | None

    @property
    def verdict(self) -> str | None:
        if self.pick in ("1", "-1"):
            return "pick" if self.pick == "1" else "reject"
        return "reject" if _number(self.rating) == -1 else None


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _said(place: str, packet: Packet) -> _Said:
    bare = take_back(packet)
    return _Said(place, bare.human.rating, bare.text(PICK))


def decide(raw: bytes | None, verdict: str | None, elsewhere: Sequence[_Said] = ()) -> Merged:
    """The packet with a verdict in it, in the place of an older one of ours.

    Args:
        raw: the packet as it is; None: there is none yet.
        verdict: pick or reject; None: none, so that an older one of ours is taken back.
        elsewhere: what others said of the photo in other places.

    Raises:
        ValueError: the packet cannot be read.
    """
    old = read_packet(SIDECAR if raw is None else raw)
    made = raw is None or made_by_review(old)
    base = take_back(old)
    kept: list[Kept] = []
    wanted = dict(_VALUES[verdict]) if verdict else {}
    here = _said("", base)
    for said in (here, *elsewhere):
        place = f"in {said.place}" if said.place else "by somebody else"
        if wanted and said.verdict is not None:
            value = "pick" if said.verdict == "pick" else "rejected"
            kept.append(Kept("pick", value, f"{'picked' if value == 'pick' else value} {place}"))
            wanted = {}
        elif RATING in wanted and not is_unrated(said.rating):
            kept.append(Kept("rating", said.rating, f"rated {place}"))
            del wanted[RATING]
    new = _written(base, wanted, made) if wanted else base
    if raw is not None and new.meaning() == old.meaning():
        return Merged(raw, False, (), tuple(kept))
    if raw is None and not wanted:
        return Merged(None, False, (), tuple(kept))
    compare(old, new)
    changes = tuple(
        Change(field, old.text(key), new.text(key)) for key, field in FIELDS.items() if old.text(key) != new.text(key)
    )
    if made and not wanted and not new.properties:
        return Merged(None, True, changes, tuple(kept))
    return Merged(new.source.file_bytes(), True, changes, tuple(kept))


def _written(base: Packet, wanted: dict[Key, str], made: bool) -> Packet:
    """The packet with these values, where they stand already or in a block of our own, and the notes."""
    edits: list[Edit] = []
    prefixes = {"xmp": URIS["xmp"], "xmpDM": DM}
    spelt = {RATING: "xmp:Rating", PICK: "xmpDM:pick"}
    used = {"cgiaareview": REVIEW}
    attributes = {f"cgiaareview:{NAMES[key]}": value for key, value in wanted.items()}
    for key, value in wanted.items():
        one = base.find(key)
        if one is None:
            attributes[spelt[key]] = value
            prefix = spelt[key].partition(":")[0]
            used[prefix] = prefixes[prefix]
        else:
            edits.append(set_text(one, value))
            attributes[f"cgiaareview:{NAMES[key]}Before"] = one.text
    if made:
        attributes["cgiaareview:CreatedPacket"] = "True"
    rdf = base.rdf
    if rdf.scope.get("rdf") != RDF:
        used = {"rdf": RDF} | used
    about = next((a.value for d in base.descriptions for a in d.attributes if a.name == "about"), "")
    lines = [f'<rdf:Description rdf:about="{escape_text(about).decode()}"']
    lines += [f'xmlns:{prefix}="{uri}"' for prefix, uri in used.items()]
    lines += [f'{name}="{escape_text(text).decode()}"' for name, text in attributes.items()]
    block = "\n    ".join(lines).encode() + b"/>"
    if rdf.is_empty_tag:
        edits.append(Edit(rdf.open_end - 2, rdf.open_end, b">\n  " + block + f"\n </{rdf.raw}>".encode()))
    else:
        at = rdf.children[-1].end if rdf.children else rdf.open_end
        edits.append(Edit(at, at, b"\n  " + block))
    return edited(base, edits)


class Verdicts:
    """Writes verdicts beside photos, one by one; for one run and one thread.

    Args:
        write: False: only say what would be done.
    """

    def __init__(self, *, write: bool) -> None:
        self._write = write
        self._names = Namer(Style.auto)

    def decide(self, files: Sequence[Path], verdict: str | None) -> Iterator[Outcome]:
        """Write what was decided on a photo; without a verdict, take back what was written.

        Args:
            files: the photo and its companions, absolute.
        """
        photo = files[0]
        if not photo.exists():
            yield Outcome(photo, photo, "failed", error=f"{escape(photo)}: no such file; scan its folder again")
            return
        names = self._names.names(files)
        states: dict[Path, State] = {}
        told: dict[Path, _Said] = {}
        for path in dict.fromkeys((*names.existing, *(names.targets if verdict else ()))):
            try:
                state = states[path] = read_file(path)
                if state.raw is not None:
                    told[path] = _said(path.name, read_packet(state.raw))
            except (SidecarError, ValueError) as error:
                states.pop(path, None)
                yield _failed(photo, path, error)
        inside = list(_inside(files))
        for path, state in states.items():
            elsewhere = [*(said for other, said in told.items() if other != path), *inside]
            outcome = self._sidecar(photo, path, state, verdict, elsewhere)
            if outcome is not None:
                yield outcome

    def _sidecar(
        self, photo: Path, path: Path, state: State, verdict: str | None, elsewhere: Sequence[_Said]
    ) -> Outcome | None:
        try:
            merged = decide(state.raw, verdict, elsewhere)
            if merged.changed and self._write:
                if merged.raw is None:
                    delete_file(path, state)
                else:
                    write_file(path, merged.raw, state)
        except (SidecarError, ValueError) as error:
            return _failed(photo, path, error)
        if not merged.changed:
            return Outcome(photo, path, "same", (), merged.kept) if verdict else None
        action = (
            "create" if state.raw is None else "delete" if merged.raw is None else "update" if verdict else "remove"
        )
        return Outcome(photo, path, action, merged.changes, merged.kept)


def _inside(files: Sequence[Path]) -> Iterator[_Said]:
    """What others said in the files themselves; a packet that cannot be read says nothing."""
    for file in files:
        try:
            packet = packet_in(file)
            if packet:
                yield _said("the photo itself" if file == files[0] else file.name, read_packet(packet))
        except (OSError, ValueError):
            continue


def _failed(photo: Path, target: Path, error: Exception) -> Outcome:
    line = str(error) if isinstance(error, SidecarError) else f"{escape(target)}: {error}; it is left as it is"
    return Outcome(photo, target, "failed", error=line)
