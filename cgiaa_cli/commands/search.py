"""`cgiaa search`: photos like an example, or those that words describe."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.cache.vectors import unit, unpack
from cgiaa_cli.commands import choosing as c
from cgiaa_cli.curation.search import Query, nearest
from cgiaa_cli.curation.select import Hit, Selection
from cgiaa_cli.errors import PhotoError, UsageError
from cgiaa_cli.paths import absolute, escape, open_regular

if TYPE_CHECKING:
    from cgiaa_cli.bundles import Bundle
    from cgiaa_cli.inference.engine import Engine

__all__ = ["search"]


def search(  # its parameters are the command line
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="The words, quoted, then folders and photos to search in; with --like only those. Without any, all "
            "that is in the cache.",
            metavar="TEXT|PATH",
        ),
    ] = None,
    like: Annotated[
        list[Path] | None,
        typer.Option(
            "--like", metavar="PHOTO", help="Photos that look like this one; repeatable: like all of them together."
        ),
    ] = None,
    top: c.Top = 50,
    one_per_group: Annotated[
        bool,
        typer.Option(
            "--one-per-group", help="Of copies and bursts only one, see `cgiaa groups`.", rich_help_panel="Order"
        ),
    ] = False,
    minimum: c.Minimum = None,
    maximum: c.Maximum = None,
    since: c.Since = None,
    until: c.Until = None,
    camera: c.Camera = None,
    lens: c.Lens = None,
    where: c.Where = None,
    format: c.FormatOption = None,
    null: c.Null = False,
    preview: c.Preview = False,
    copy_to: c.CopyTo = None,
    link_to: c.LinkTo = None,
    write: c.Write = False,
    no_scan: c.NoScan = False,
    db: c.Db = None,
    model: c.Model = None,
    device: c.Device = None,
    jobs: c.Jobs = None,
    exclude: c.Exclude = None,
) -> None:
    """Find photos that look like an example, or that words describe, the most alike first.

    New photos are scored first. Words need a bundle with a text tower. Exit 1 if nothing matched, 3 if some photos
    failed.
    """
    given = dict(locals())
    words, paths = _told(given.pop("what") or [], given.pop("like"))
    order = _Alike(words, like or [], model, device)
    if not paths:  # everything in the cache; nothing is looked for on the disk
        paths, given["no_scan"] = [Path(absolute(".").anchor)], True
    c.answer(c.Request(**given, paths=paths, by=None, weight=None, bottom=False, order=order))


def _told(what: Sequence[str], like: Sequence[Path] | None) -> tuple[str, list[Path]]:
    """The words and the paths of a command line."""
    if like:
        return "", [Path(path) for path in what]
    if not what:
        raise UsageError("nothing to search for", mend="give words, or an example: cgiaa search --like PHOTO")
    if not what[0].strip() or (len(what) == 1 and os.sep in what[0] and os.path.lexists(what[0])):
        raise UsageError(
            f"'{escape(what[0])}' is no words", mend='put them first: cgiaa search "a dog" FOLDER, or use --like PHOTO'
        )
    return what[0], [Path(path) for path in what[1:]]


@dataclass
class _Alike:
    """The order of `search`."""

    words: str
    like: Sequence[Path]
    model: str | None
    device: str | None
    name: str = field(default="similarity", init=False)

    def open(self, bundle: Bundle) -> None:
        if self.words:
            from cgiaa_cli.inference.words import require_tower

            require_tower(bundle)
        for path in self.like:
            _read(path)

    def hits(self, cache: Cache, scorer: int, selection: Selection, limit: int | None) -> list[Hit]:
        if self.words:
            from cgiaa_cli import bundles
            from cgiaa_cli.inference.words import query_of

            bundle = bundles.load(self.model)  # verified, as it is run
            return nearest(cache, scorer, selection, query_of(bundle, self.words), limit)
        vectors = np.stack([self._vector(cache, scorer, path) for path in self.like])
        examples = frozenset(escape(absolute(path)) for path in self.like)  # one knows these
        return nearest(cache, scorer, selection, Query(unit(vectors.mean(0)[None]).ravel(), without=examples), limit)

    def _vector(self, cache: Cache, scorer: int, path: Path) -> NDArray[np.float32]:
        """The embedding of an example, from the cache where it has one of these bytes."""
        from cgiaa_cli.imaging.decode import decode
        from cgiaa_cli.imaging.preprocess import prepare

        data = _read(path)
        text = (
            "SELECT e.vector FROM contents c JOIN embeddings e ON e.content_id = c.id "
            "WHERE c.hash = ? AND e.scorer_id = ?"
        )
        with cache.guard():
            found = cache.conn.execute(text, (hashlib.blake2b(data, digest_size=16).hexdigest(), scorer)).fetchone()
        if found and found[0]:
            return unit(unpack([found[0]], len(found[0]) // 2)).ravel()
        try:
            photo = decode(data, suffix=path.suffix)
        except PhotoError as error:
            raise UsageError(error.cause, path=escape(path), mend="give --like a photo that can be read") from error
        return unit(self._engine.run([prepare(photo)])[0].embedding[None].astype(np.float32)).ravel()

    @cached_property
    def _engine(self) -> Engine:
        from cgiaa_cli import bundles
        from cgiaa_cli.config import read_config
        from cgiaa_cli.pipeline import open_engine

        bundle = bundles.load(self.model)  # verified, as it is run
        return open_engine(bundle, self.device or read_config().device or "auto")


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise UsageError(error.strerror or str(error), path=escape(path), mend="name a photo with --like") from error
