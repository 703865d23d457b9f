"""One photo after the other: where its annotation goes, what stands there already, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cgiaa_cli.annotate.decided import REVIEW
from cgiaa_cli.annotate.embed import EMBEDDABLE, Backend, Embedded, backends, open_embedded
from cgiaa_cli.annotate.packet import NAMESPACE, Human, read_packet
from cgiaa_cli.annotate.photo_file import packet_in
from cgiaa_cli.annotate.plan import INSIDE, KEEP, Annotation, Kept, Policy
from cgiaa_cli.annotate.sidecar import Namer, State, Style, delete_file, read_file, write_file
from cgiaa_cli.annotate.xmp import EMBEDDED, Change, Merged, merge, undo
from cgiaa_cli.errors import SidecarError
from cgiaa_cli.paths import escape

__all__ = ["ACTIONS", "Annotator", "Options", "Outcome"]

ACTIONS = ("create", "update", "same", "remove", "delete", "inside", "failed")
"""What becomes of a file: `remove` takes our part out, `delete` deletes a sidecar that held nothing else, `inside`
leaves our part in a photo because --embed was not given, `same` needs nothing."""


@dataclass(frozen=True)
class Options:
    """How to annotate.

    Attributes:
        write: False: only say what would be done.
        embed: write into JPEG, TIFF and DNG themselves.
        keep_time: photos that are written into keep their modification time.
    """

    style: Style = Style.auto
    policy: Policy = KEEP
    write: bool = False
    embed: bool = False
    keep_time: bool = False


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be done, with one file.

    Attributes:
        photo: that it is about.
        target: the sidecar, or the photo itself where it is embedded.
        action: one of `ACTIONS`.
    """

    photo: Path
    target: Path
    action: str
    changes: tuple[Change, ...] = ()
    kept: tuple[Kept, ...] = ()
    error: str | None = None


class Annotator:
    """Annotates photos one by one; for one run and one thread."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.names = Namer(options.style)
        if options.embed:
            _ = self.ways  # a missing program must be known before the first photo

    @cached_property
    def ways(self) -> list[Backend]:
        """How to write into photos."""
        return backends()

    def annotate(self, files: Sequence[Path], annotation: Annotation) -> Iterator[Outcome]:
        """Write a photo's annotation where it belongs.

        Args:
            files: the photo and its companions, absolute.
        """
        photo = files[0]
        if not os.path.lexists(photo):
            yield Outcome(photo, photo, "failed", error=f"{escape(photo)}: no such file; scan its folder again")
            return
        inside = [file for file in files if self.options.embed and file.suffix.lower() in EMBEDDABLE]
        outside = [file for file in files if file not in inside]
        existing = self.names.names(files).existing
        targets = dict.fromkeys(self.names.names(outside).targets if outside else ())
        states: dict[Path, State] = {}
        humans: list[tuple[Path, str, Human]] = list(_humans_inside(files))
        for path in dict.fromkeys((*existing, *targets)):
            try:
                state = states[path] = read_file(path)
                if state.raw is None:
                    continue
                packet = read_packet(state.raw)
                humans.append((path, path.name, packet.human))
            except (SidecarError, ValueError) as error:
                targets.pop(path, None)
                yield _failed(photo, path, error)
                continue
            if self.options.style is Style.auto or packet.is_annotated:
                targets[path] = None  # what exists is read by somebody, and ours there must not grow old
        for target in targets:
            elsewhere = [(place, human) for path, place, human in humans if path != target]
            yield self._sidecar(photo, target, states[target], annotation, elsewhere)
        for target in inside:
            elsewhere = [(place, human) for path, place, human in humans if path != target and place != INSIDE]
            yield self._embed(photo, target, annotation, elsewhere)

    def _sidecar(
        self, photo: Path, target: Path, state: State, annotation: Annotation, elsewhere: list[tuple[str, Human]]
    ) -> Outcome:
        try:
            merged = merge(state.raw, annotation, self.options.policy, elsewhere=elsewhere)
            if merged.changed and self.options.write:
                assert merged.raw is not None
                write_file(target, merged.raw, state)
        except (SidecarError, ValueError) as error:
            return _failed(photo, target, error)
        return Outcome(photo, target, _action(merged, state.raw), merged.changes, merged.kept)

    def _embed(self, photo: Path, target: Path, annotation: Annotation, elsewhere: list[tuple[str, Human]]) -> Outcome:
        try:
            embedded = open_embedded(target)
            merged = merge(embedded.packet, annotation, self.options.policy, elsewhere=elsewhere, empty=EMBEDDED)
            self._replace(embedded, merged)
        except (SidecarError, ValueError) as error:
            return _failed(photo, target, error)
        return Outcome(photo, target, _action(merged, embedded.packet), merged.changes, merged.kept)

    def _replace(self, embedded: Embedded, merged: Merged) -> None:
        if merged.changed and self.options.write:
            embedded.replace(merged.raw, self.ways, keep_time=self.options.keep_time)

    def undo(self, files: Sequence[Path]) -> Iterator[Outcome]:
        """Take out what we wrote about a photo; nothing is yielded where there is nothing of ours."""
        photo = files[0]
        for path in self.names.names(files).existing:
            try:
                state = read_file(path)
                if state.raw is None or not _may_be_ours(state.raw):
                    continue
                merged = undo(state.raw)
                if self.options.write and merged.raw is None:
                    delete_file(path, state)
                elif self.options.write and merged.changed and merged.raw is not None:
                    write_file(path, merged.raw, state)
            except (SidecarError, ValueError) as error:
                yield _failed(photo, path, error)
                continue
            if merged.changed:
                yield Outcome(photo, path, "delete" if merged.raw is None else "remove", merged.changes)
        for file in files:
            yield from self._undo_inside(photo, file)

    def _undo_inside(self, photo: Path, file: Path) -> Iterator[Outcome]:
        try:
            packet = packet_in(file)
        except OSError:
            return  # a photo that cannot be read has not been written by us
        if packet is None or not _may_be_ours(packet):
            return
        if not self.options.embed:
            yield Outcome(photo, file, "inside")
            return
        try:
            embedded = open_embedded(file)
            merged = undo(embedded.packet or b"")
            self._replace(embedded, merged)
        except (SidecarError, ValueError) as error:
            yield _failed(photo, file, error)
            return
        if merged.changed:
            yield Outcome(photo, file, "remove", merged.changes)


def _may_be_ours(packet: bytes) -> bool:
    return any(
        name.encode(encoding) in packet
        for name in (NAMESPACE, REVIEW)
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
    )


def _action(merged: Merged, before: bytes | None) -> str:
    if not merged.changed:
        return "same"
    return "create" if before is None else "update"


def _failed(photo: Path, target: Path, error: Exception) -> Outcome:
    line = str(error) if isinstance(error, SidecarError) else f"{escape(target)}: {error}; it is left as it is"
    return Outcome(photo, target, "failed", error=line)


def _humans_inside(files: Sequence[Path]) -> Iterator[tuple[Path, str, Human]]:
    """What humans set in the files themselves; a packet that cannot be read says nothing."""
    for file in files:
        try:
            packet = packet_in(file)
            human = read_packet(packet).human if packet else None
        except (OSError, ValueError):
            continue
        if human:
            yield file, INSIDE if file == files[0] else file.name, human
