"""Critiques of photos in the cache: what `cgiaa critique`, `compare` and `annotate` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from cgiaa_cli import bundles
from cgiaa_cli.cache.store import Cache, scores_of
from cgiaa_cli.config import read_config
from cgiaa_cli.critique import kept
from cgiaa_cli.critique.apply import ACTIONS, improved, save_copy
from cgiaa_cli.critique.compare import Candidate
from cgiaa_cli.critique.critic import Critic, Critique, Settings
from cgiaa_cli.critique.facts import measure_facts
from cgiaa_cli.critique.judge import TextJudge, Tone
from cgiaa_cli.critique.overlay import draw
from cgiaa_cli.critique.reference import NAMES, values
from cgiaa_cli.critique.writer import load_writer
from cgiaa_cli.errors import CgiaaError, PhotoError
from cgiaa_cli.imaging.decode import Photo, decode
from cgiaa_cli.imaging.preprocess import prepare
from cgiaa_cli.inference.crops import Crop, best_crop
from cgiaa_cli.inference.engine import CROP, Engine
from cgiaa_cli.inference.scores import ATTRIBUTES
from cgiaa_cli.paths import absolute, escape, unescape
from cgiaa_cli.pipeline import ScanOptions, ScanRow, ScanSummary, open_engine, run_scan

__all__ = ["ACTIONS", "Session", "candidates", "critique_rows", "overlay", "write_copies", "write_overlay"]

Note = Callable[[str, str], None]
Load = Callable[[], Photo]


@dataclass
class Session:
    """An open cache with the bundle in use, and the critic on it.

    Attributes:
        settings: of the critiques; set before the first one.
    """

    db: Path | None = None
    model: str | None = None
    device: str | None = None
    jobs: int | None = None
    exclude: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)

    def __enter__(self) -> Session:
        self.bundle = bundles.load(self.model)
        self.cache = Cache.open(self.db)
        self.scorer = self.cache.scorer_id(*self.bundle.scorer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cache.close()

    @cached_property
    def engine(self) -> Engine:
        """The network, for photos that are not in the cache: improved copies."""
        return open_engine(self.bundle, self.device or read_config().device or "auto")

    @cached_property
    def critic(self) -> Critic:
        """Writes critiques; generated ones where the bundle has experts, in the right tone where it has a judge."""
        reference, about = self.bundle.manifest.get("reference"), self.bundle.text.get("judge")
        if about is None:
            return Critic(reference, None, self.settings)
        folder = self.bundle.folder / "text"
        judge = TextJudge(folder / "judge.onnx", folder / "judge-tokenizer.json", context=int(about["context"]))
        writer = load_writer(folder, judge) if "experts" in self.bundle.text else None
        return Critic(reference, writer, self.settings, Tone(judge, about["edges"]))

    def crop(self, photo: Photo) -> Crop | None:
        """The crop that the network would make; None where it makes none or is not sure enough of it."""
        section = self.bundle.manifest.get(CROP)
        if section is None or not self.engine.crops:
            return None
        crop = best_crop(self.engine.overlaps([prepare(photo)])[0])
        return crop if crop.gain >= section["least_gain"] else None

    def scan(
        self, paths: Sequence[Path], note: Note, on_progress: Callable[[ScanSummary], None] | None = None
    ) -> list[str]:
        """Score what is new below `paths`.

        Returns:
            Escaped paths of the photos that have scores: those of the first of `paths` first, each sorted.
        """
        found: list[str] = []

        def keep(row: ScanRow) -> None:
            if row.error_kind is None:
                found.append(row.path)

        run_scan(
            ScanOptions(paths, self.db, self.model, self.device, self.jobs, exclude=self.exclude),
            on_row=keep,
            on_failure=lambda row: note(row.path, str(row.error)),
            on_progress=on_progress,
        )
        roots = [escape(absolute(path)) for path in paths]
        return sorted(dict.fromkeys(found), key=lambda p: (_place(p, roots), p))


def _place(path: str, roots: Sequence[str]) -> int:
    """Which of the roots a path lies in, or is."""
    inside = (i for i, root in enumerate(roots) if path == root or path.startswith(root.rstrip("/") + "/"))
    return next(inside, len(roots))


def critique_rows(session: Session, paths: Sequence[str], note: Note) -> Iterator[tuple[dict[str, Any], Load]]:
    """The critique of each photo as a JSON object, and a function that decodes the photo.

    Args:
        paths: escaped; each has scores in the cache.
        note: told (path, error) of a photo that cannot be read; the rest goes on.
    """
    for path in paths:
        record = session.cache.records(session.scorer, [path]).get(path)
        scores = scores_of(record) if record else None
        if record is None or scores is None:
            continue
        row = kept.read(session.cache, session.scorer, record["hash"], session.settings)
        load = _loader(path)
        if row is None:
            try:
                found = session.critic.critique(load(), scores, record["hash"], crop=session.crop(load()))
            except (PhotoError, OSError) as error:
                note(path, error.cause if isinstance(error, PhotoError) else error.strerror or str(error))
                continue
            row = _row(found)
            kept.write(session.cache, session.scorer, record["hash"], session.settings, row)
        mine = kept.library_percentiles(session.cache, session.scorer, dict(scores.attributes))
        for name in ATTRIBUTES:
            row["attributes"][name]["library_percentile"] = mine[name] if mine else None
        yield {"path": path, "score": scores.score, "spread": scores.spread, **row}, load


def candidates(session: Session, paths: Sequence[str], note: Note) -> list[Candidate]:
    """Scores and measurements of photos that are in the cache, for `compare`.

    Args:
        paths: escaped; each has scores in the cache.
        note: told (path, error) of a photo that cannot be read; the rest goes on.
    """
    found = []
    for path in paths:
        record = session.cache.records(session.scorer, [path]).get(path)
        scores = scores_of(record) if record else None
        if scores is None:
            continue
        try:
            found.append(Candidate(path, scores, measure_facts(_loader(path)())))
        except (PhotoError, OSError) as error:
            note(path, error.cause if isinstance(error, PhotoError) else error.strerror or str(error))
    return found


def _loader(path: str) -> Load:
    found: list[Photo] = []

    def load() -> Photo:
        if not found:
            real = unescape(path)
            found.append(decode(real.read_bytes(), suffix=real.suffix))
        return found[0]

    return load


def _row(critique: Critique) -> dict[str, Any]:
    return {
        "kinds": list(critique.kinds),
        "notice": critique.notice,
        "attributes": {name: asdict(found) for name, found in critique.attributes.items()},
    }


def overlay(row: dict[str, Any], photo: Photo) -> Image.Image:
    """The evidence of a photo's critique, drawn on the photo."""
    return draw(photo.view, measure_facts(photo), _crop(row))


def write_overlay(row: dict[str, Any], photo: Photo, target: Path, *, several: bool) -> Path:
    """Draw the evidence of a photo into `target`, or into a file of its name in it where there are several photos.

    Raises:
        CgiaaError: it cannot be written.
    """
    where = target / f"{unescape(row['path']).name}.overlay.png" if several or target.is_dir() else target
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        overlay(row, photo).save(where, "PNG")
    except OSError as error:
        raise CgiaaError(
            error.strerror or "cannot be written", path=escape(where), mend="name another --save-overlay"
        ) from error
    return where


def _crop(row: dict[str, Any]) -> list[float] | None:
    """The proposed crop, (x, y, w, h) in shares of the frame; None where none is."""
    for advice in _advice(row):
        if advice["kind"] == "crop":
            return [float(v) for v in advice["evidence"]["share"]]
    return None


def _advice(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for found in row["attributes"].values():
        yield from found["advice"]


def write_copies(session: Session, row: dict[str, Any], actions: Sequence[str], folder: Path) -> dict[str, Any] | None:
    """Make the improved copy that the critique advises; None where it advises none of `actions`.

    Returns:
        path, done (the actions), and the predicted scores before and after.

    Raises:
        CgiaaError: the photo cannot be opened at full size, or the copy cannot be written.
    """
    box = _crop(row) if "crop" in actions else None
    turn = next((a["evidence"]["degrees"] for a in _advice(row) if a["kind"] == "straighten"), None)
    degrees = float(turn) if turn is not None and "straighten" in actions else None
    if box is None and degrees is None:
        return None
    source = unescape(row["path"])
    image, profile = improved(source, degrees=degrees, box=box)
    target = save_copy(image, profile, source, folder)
    before, after = (
        values(session.engine.run([prepare(decode(p.read_bytes(), suffix=p.suffix))])[0]) for p in (source, target)
    )
    done = [name for name, used in (("crop", box), ("straighten", degrees)) if used is not None]
    shown = ("score", "composition")
    return {
        "path": escape(target),
        "done": done,
        "before": {name: round(before[name], 3) for name in NAMES if name in shown},
        "after": {name: round(after[name], 3) for name in NAMES if name in shown},
    }
