"""`cgiaa taste`: learn what a user likes from the user's own ratings, and keep it where it beats the default."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cgiaa_cli.commands.choosing import NAMED, Db, Device, Exclude, Jobs, Model, NoScan
from cgiaa_cli.commands.common import NOTHING, SOME_FAILED, say
from cgiaa_cli.errors import UsageError
from cgiaa_cli.paths import absolute, escape, printable, unescape
from cgiaa_cli.taste import kept

if TYPE_CHECKING:
    from cgiaa_cli.bundles import Bundle
    from cgiaa_cli.cache.store import Cache

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Learn your own taste from your ratings, for `rank --taste`.")

Name = Annotated[str, typer.Argument(help="What the taste is called.")]
JSON = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def learn(  # its parameters are the command line
    name: Name,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders and photos whose own ratings are read: sidecars, then the photos themselves.",
            metavar="[PATH]...",
            readable=False,
        ),
    ] = None,
    ratings: Annotated[
        list[Path] | None,
        typer.Option(
            "--ratings", metavar="CSV", help="Columns path and rating (a number, pick or reject); repeatable."
        ),
    ] = None,
    choices: Annotated[
        bool,
        typer.Option(
            "--choices", help="Also the picks, rejects and choices made with `cgiaa review`, all that are in the cache."
        ),
    ] = False,
    measure: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="Open up to 400 rated photos to say in words what is liked."),
    ] = True,
    no_scan: NoScan = False,
    db: Db = None,
    model: Model = None,
    device: Device = None,
    jobs: Jobs = None,
    exclude: Exclude = None,
) -> None:
    """Learn from stars, rejects, picks and choices, and keep the result if it beats the default on those held out.

    Exit 1 if it does not, and then nothing is kept; 3 if some photos failed.
    """
    kept.check_name(name)
    if not paths and not ratings and not choices:
        raise UsageError(
            "no ratings are named", mend="name folders with rated photos, --ratings FILE.csv, or --choices"
        )
    from cgiaa_cli import bundles
    from cgiaa_cli.cache.store import Cache
    from cgiaa_cli.commands.scan import score_new
    from cgiaa_cli.pipeline import ScanOptions

    scan = ScanOptions((), db, model, device, jobs)
    bundle = bundles.load(model, verify=False)
    decided = _decided(db) if choices else _Decided()
    opinions, failed = _opinions(paths or [], ratings or [], exclude or [], decided)
    there = _there(opinions, decided)
    if there and not no_scan:
        score_new(replace(scan, paths=there))  # what cannot be scored is told as unknown later
    with Cache.open(db, create=not no_scan) as cache:
        good = _learn(name, bundle, cache, opinions, decided.pairs, measure)
    for path, error in failed:
        say(f"{path}: {error}")
    if failed or not good:
        raise typer.Exit(SOME_FAILED if failed else NOTHING)


@dataclass(frozen=True)
class _Decided:
    """What was decided on pages of `cgiaa review`.

    Attributes:
        verdicts: pick or reject, by escaped path.
        pairs: the better and the worse content of each choice.
        paths: those of the photos of the choices, as keys.
    """

    verdicts: dict[str, str] = field(default_factory=dict)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    paths: dict[str, float] = field(default_factory=dict)


def _decided(db: Path | None) -> _Decided:
    from cgiaa_cli.cache.store import Cache
    from cgiaa_cli.review import decisions

    with Cache.open(db, create=False) as cache:
        given = {content: verdict for content, verdict in decisions.verdicts(cache).items() if verdict}
        pairs = list(decisions.better_of(decisions.choices(cache)))
        if not given and not pairs:
            raise UsageError("nothing is decided yet", path=escape(cache.path), mend="decide with: cgiaa review PATH")
        where = decisions.paths_of(cache, {*given, *(content for pair in pairs for content in pair)})
    verdicts = {path: verdict for content, verdict in given.items() for path in where.get(content, ())}
    chosen = dict.fromkeys(content for pair in pairs for content in pair)
    return _Decided(verdicts, pairs, {path: 0.0 for content in chosen for path in where.get(content, ())})


def _opinions(
    paths: Sequence[Path], files: Sequence[Path], exclude: Sequence[str], decided: _Decided
) -> tuple[dict[str, float], list[tuple[str, str]]]:
    """Ratings by escaped path, those of files before those of pages before those of photos; what could not be read."""
    from cgiaa_cli.library.walk import Skipped, walk
    from cgiaa_cli.taste.ratings import PICKED, REJECTED, read_csv, read_xmp

    found: dict[str, float] = {}
    failed: list[tuple[str, str]] = []
    written = [read_csv(file) for file in files]

    def photos() -> Iterator[list[Path]]:
        for item in walk([absolute(path) for path in paths], exclude):
            if isinstance(item, Skipped):
                failed.append((escape(item.path), item.reason))
            else:
                yield [item.path, *item.companions]

    if paths:
        found.update(read_xmp(photos(), lambda path, error: failed.append((path, error))))
    for path, verdict in decided.verdicts.items():
        if verdict == "reject":
            found[path] = REJECTED
        else:
            found.setdefault(path, PICKED)  # stars say more
    for one in written:
        found |= one
    if not found and paths and not files and not decided.pairs:
        say("no photo there has a rating by somebody else than cgiaa")
    return found, failed


def _there(opinions: dict[str, float], decided: _Decided) -> list[Path]:
    """The photos that something is said of and that exist."""
    there = [photo for photo in map(unescape, opinions | decided.paths) if os.path.lexists(photo)]
    if opinions and not there:
        raise UsageError(
            f"not one of the {len(opinions)} rated photos is there, {next(iter(opinions))} for one",
            mend="a relative path starts in the CSV file's folder",
        )
    return there


def _learn(
    name: str,
    bundle: Bundle,
    cache: Cache,
    opinions: dict[str, float],
    chosen: Sequence[tuple[int, int]],
    measure: bool,
) -> bool:
    """Learn, say what came of it, and keep it where that is right; whether it was."""
    from cgiaa_cli.cache.store import now
    from cgiaa_cli.taste.explain import likings
    from cgiaa_cli.taste.learn import learn as fit
    from cgiaa_cli.taste.photos import facts_of, read_rated

    rated, paths, unknown = read_rated(cache, cache.scorer_id(*bundle.scorer), opinions, chosen)
    for path in unknown[:NAMED]:
        say(f"{path}: rated, but the cache has no scores of it; its rating is left out")
    if len(unknown) > NAMED:
        say(f"{len(unknown)} rated photos in all have no scores")
    with _counted() as done:
        facts = facts_of(rated, paths, measure, done)
    found = fit(rated)
    of = rated.rated  # the words are about ratings
    liked = likings(
        {fact: values[of] for fact, values in facts.items()}, found.held_out[of], rated.ratings[of], rated.default[of]
    )
    measured: dict[str, Any] = {
        "default": round(found.default, 4),
        "taste": round(found.taste, 4),
        "gain": round(found.gain[0], 4),
        "gain_95": [round(limit, 4) for limit in found.gain[1:]],
        "likes": [asdict(one) for one in liked],
    }
    if found.choices:
        measured["choices"] = {"made": len(rated.pairs)} | {k: round(v, 4) for k, v in asdict(found.choices).items()}
    taste = kept.Taste(name, bundle.scorer, now(), len(of), measured, tuple(one.words for one in liked), found.head)
    if not found.kept:
        taste = replace(taste, likes=())
    _print(taste)
    if not found.kept:
        older = f"; the older taste '{name}' stays" if name in kept.names() else ""
        say(f"not kept: the gain is not beyond doubt, so the default stays as good as it is{older}; rate more photos")
        return False
    kept.save(taste)
    typer.echo(f"kept; use it with: cgiaa rank PATH --taste {name}")
    return True


def _print(taste: kept.Taste) -> None:
    from cgiaa_cli.taste.explain import sentence

    told = taste.measured
    low, high = told["gain_95"]
    typer.echo(f"{taste.name}: {_learnt_from(taste)}, model {printable(taste.scorer[0])} {taste.scorer[1]}")
    if taste.ratings:
        typer.echo(f"agreement with ratings held out (SRCC): default {told['default']:.3f}, taste {told['taste']:.3f}")
    if chosen := told.get("choices"):
        shares = f"default {chosen['default']:.1%}, taste {chosen['taste']:.1%}"
        typer.echo(f"right about choices held out ({chosen['count']}): {shares}")
    typer.echo(f"gain {told['gain']:+.3f} (95 %: {low:+.3f} to {high:+.3f})")
    if low > 0:
        typer.echo(sentence(taste.likes))


def _learnt_from(taste: kept.Taste) -> str:
    chosen = taste.measured.get("choices", {}).get("made", 0)
    parts = [f"{taste.ratings} rated photos"] if taste.ratings else []
    return " and ".join([*parts, *([f"{chosen} choices"] if chosen else [])])


@app.command("list")
def list_(json_: JSON = False) -> None:
    """List the tastes that are kept."""
    rows = []
    for name in kept.names():
        try:
            taste = kept.load(name)
        except UsageError as error:
            say(str(error))
            continue
        rows.append({"name": name, **_row(taste)})
    if json_:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        gain, chosen = row["measured"]["gain"], row["measured"].get("choices")
        counts = [f"{row['ratings']} ratings"] if row["ratings"] or not chosen else []
        counts += [f"{chosen['made']} choices"] if chosen else []
        typer.echo(
            f"{row['name']}  {', '.join(counts)}  gain {gain:+.3f}  {printable(row['model'])}  {row['made'][:10]}"
        )
    if not rows:
        say("there is no taste yet; learn one: cgiaa taste learn NAME PATH")


def _row(taste: kept.Taste) -> dict[str, Any]:
    name, version, preprocess = taste.scorer
    return {
        "model": f"{name} {version}",
        "preprocess": preprocess,
        "made": taste.made,
        "ratings": taste.ratings,
        "measured": taste.measured,
        "likes": list(taste.likes),
    }


@app.command()
def show(name: Name, json_: JSON = False) -> None:
    """Say what a taste likes, and how much better than the default it was."""
    taste = kept.load(name)
    if json_:
        typer.echo(json.dumps({"name": name, **_row(taste)}, indent=2, ensure_ascii=False))
        return
    from cgiaa_cli.taste.explain import FACTS

    _print(taste)
    for one in taste.measured.get("likes", []):
        what = FACTS[one["fact"]][2] if one["fact"] in FACTS else printable(one["fact"])
        typer.echo(
            f"  {one['words']:26} {what} goes along with your ratings by {one['ratings']:+.2f}, "
            f"with the taste by {one['taste']:+.2f}"
        )


@app.command()
def forget(name: Name) -> None:
    """Delete a taste."""
    kept.forget(name)
    typer.echo(f"taste '{name}' is forgotten")


@contextmanager
def _counted() -> Iterator[Any]:
    """A line of progress on stderr, where that is a terminal."""
    on_terminal = sys.stderr.isatty()

    def show_count(count: int, total: int) -> None:
        if on_terminal:
            sys.stderr.write(f"\rmeasuring rated photos: {count} of {total}" + ("\n" if count == total else ""))
            sys.stderr.flush()

    yield show_count
