"""Taste from choices between two photos, and from picks and rejects: alone, and beside ratings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import RunCli
from numpy.typing import NDArray
from test_taste import library, made

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.errors import UsageError
from cgiaa_cli.review import decisions
from cgiaa_cli.taste import learn as module
from cgiaa_cli.taste.learn import FEWEST_CHOICES, Rated, learn, srcc
from cgiaa_cli.taste.photos import read_rated

__all__ = ["library"]


def chosen(
    count: int, of: int = 200, seed: int = 0, taste: float = 1.0, noise: float = 0.3
) -> tuple[Rated, NDArray[np.float64]]:
    """Photos between pairs of which a user chose, and how much each of them is liked."""
    rated, liking = made(of, seed, taste, noise)
    pairs = np.random.default_rng(seed).permutation(of)[: 2 * count].reshape(-1, 2)
    pairs = np.where((liking[pairs[:, 0]] >= liking[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    return Rated(rated.vectors, rated.scores, np.full(of, np.nan), pairs), liking


def test_a_taste_from_choices_alone() -> None:
    rated, _ = chosen(100)
    found = learn(rated)
    assert found.kept and found.choices is not None and found.choices.count == 100  # each of them was held out
    assert found.choices.taste > 0.8 > found.choices.default and (found.default, found.taste) == (0, 0)
    assert found.gain[0] == pytest.approx(2 * (found.choices.taste - found.choices.default))
    new, liking = made(400, seed=1)
    assert srcc(found.head(new.vectors, new.scores), liking) > srcc(new.default, liking) + 0.05


@pytest.mark.parametrize("seed", range(3))
def test_choices_at_random_teach_nothing(seed: int) -> None:
    rated, _ = chosen(100, seed=seed)
    random = np.random.default_rng(seed)
    turned = np.where(random.random(100)[:, None] < 0.5, rated.pairs, rated.pairs[:, ::-1])
    assert not learn(Rated(rated.vectors, rated.scores, rated.ratings, turned)).kept


def test_choices_that_the_default_is_right_about_leave_it() -> None:
    rated, _ = chosen(100, taste=0)
    found = learn(rated)
    assert not found.kept and found.choices is not None and found.choices.default > 0.85
    endless = module._Design(rated)
    head = endless.head(endless.fit(np.arange(100)), np.inf)
    assert srcc(head(rated.vectors, rated.scores), rated.default) == pytest.approx(1)


def test_ratings_and_choices_together() -> None:
    better = []
    for seed in range(4):
        rated, liking = chosen(100, of=200, seed=seed, noise=1.5)
        ratings, first = np.full(200, np.nan), np.arange(40)
        ratings[first] = np.round(liking[first])
        both = learn(Rated(rated.vectors, rated.scores, ratings, rated.pairs))
        alone = learn(Rated(rated.vectors[first], rated.scores[first], ratings[first]))
        assert both.choices is not None
        weights = np.array([40, both.choices.count])
        gains = np.array([both.taste - both.default, 2 * (both.choices.taste - both.choices.default)])
        assert both.gain[0] == pytest.approx((weights @ gains) / weights.sum())
        new, truth = made(400, seed=seed + 50, noise=0)
        better.append([srcc(one.head(new.vectors, new.scores), truth) for one in (both, alone)])
        assert abs(both.head(new.vectors, new.scores).mean() - truth.mean()) < 1  # still on the scale of the ratings
    together, by_ratings = np.mean(better, axis=0)
    assert together > by_ratings + 0.02


def test_ratings_that_are_too_few_or_equal_do_not_count_beside_choices() -> None:
    rated, liking = chosen(100, of=200)
    for ratings in (np.where(np.arange(200) < 5, liking, np.nan), np.where(np.arange(200) < 50, 4.0, np.nan)):
        some = Rated(rated.vectors, rated.scores, ratings, rated.pairs)
        assert not len(some.rated)
        assert learn(some).held_out.tolist() == learn(rated).held_out.tolist()


def test_few_choices_are_refused() -> None:
    rated, _ = chosen(FEWEST_CHOICES)
    with pytest.raises(UsageError, match=r"0 rated photos and 99 choices are too few to learn from; .* or choose 100"):
        Rated(rated.vectors, rated.scores, rated.ratings, rated.pairs[1:])
    with pytest.raises(UsageError, match="1 choice are too few"):
        Rated(rated.vectors, rated.scores, rated.ratings, rated.pairs[:1])


def test_both_photos_of_a_choice_are_held_out_together() -> None:
    rated, _ = chosen(100, of=200)
    assert all(rated.units[left] == rated.units[right] for left, right in rated.pairs)
    # of one photo against all others, only a tenth of them is held out with it
    star = np.column_stack([np.zeros(110, np.intp), np.arange(1, 111)])
    many = Rated(rated.vectors, rated.scores, rated.ratings, star)
    assert np.bincount(many.units).max() <= len(many) // module.UNITS
    found = learn(many)
    assert found.choices is not None and 0 < found.choices.count < 110
    # nothing to hold out: all photos look alike
    alike = Rated(np.repeat(rated.vectors[:1], 200, axis=0), rated.scores, rated.ratings, rated.pairs)
    nothing = learn(alike)
    assert not nothing.kept and nothing.choices is not None and nothing.choices.count == 0 and nothing.gain == (0, 0, 0)
    assert nothing.choices.taste == 0.5


def test_pairs_go_along_when_photos_are_thinned(tmp_path: Path) -> None:
    with Cache.open(tmp_path / "c.sqlite") as cache:
        scorer = cache.scorer_id("b", "1", "p")
        with cache.transaction() as conn:
            for i in range(100):
                conn.execute("INSERT INTO contents(id, hash) VALUES (?, ?)", (i + 1, f"{i}"))
                conn.execute(
                    f"INSERT INTO scores VALUES ({','.join('?' * 11)})", [scorer, i + 1, float(i), *[1.0] * 7, "[]"]
                )
                conn.execute(
                    "INSERT INTO embeddings VALUES (?, ?, 2, ?)", (scorer, i + 1, np.array([1, 0], "<f2").tobytes())
                )
                conn.execute("INSERT INTO files(path, content_id) VALUES (?, ?)", (f"/p/{i:02}.jpg", i + 1))
        pairs = [(i + 1, i + 31) for i in range(30)] + [(100, 777)]  # one of a photo that was forgotten
        ratings = {f"/p/{i:02}.jpg": float(i) for i in range(50, 100)}
        rated, paths, unknown = read_rated(cache, scorer, ratings, pairs)
    assert not unknown and len(rated.pairs) == 30
    assert [(paths[b], paths[w]) for b, w in rated.pairs] == [
        (f"/p/{i:02}.jpg", f"/p/{i + 30:02}.jpg") for i in range(30)
    ]
    assert np.isnan(rated.ratings).sum() == 50 and len(rated) == len(paths) < 100


# the command


def decide(tmp_path: Path, folder: Path, ratings: Path, count: int) -> None:
    """What a user who likes green decided on the page."""
    with ratings.open() as file:
        green = {row["path"]: float(row["rating"]) for row in csv.DictReader(file)}
    with Cache.open(tmp_path / "cache.sqlite") as cache:
        ids = dict(cache.conn.execute("SELECT path, content_id FROM files").fetchall())
        names = np.random.default_rng(0).permutation(sorted(green))
        done = 0
        for gap in range(1, 60):
            for left, right in zip(names, names[gap:], strict=False):
                if green[left] == green[right] or done == count:
                    continue
                one, other = ids[str(folder / left)], ids[str(folder / right)]
                better = one if green[left] > green[right] else other
                decisions.choose(cache, (min(one, other), max(one, other)), better)
                done += 1


def test_the_command_learns_from_the_page(run_cli: RunCli, library: tuple[Path, Path], tmp_path: Path) -> None:
    folder, ratings = library
    none = run_cli("taste", "learn", "green", "--choices")
    assert none.returncode == 2 and "there is no cache yet" in none.stderr
    run_cli("scan", folder)
    none = run_cli("taste", "learn", "green", "--choices")
    assert none.returncode == 2 and "nothing is decided yet; decide with: cgiaa review PATH" in none.stderr
    decide(tmp_path, folder, ratings, 200)
    done = run_cli("taste", "learn", "green", "--choices", "--no-measure")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "green: 200 choices, model tiny 1+" in done.stdout and "right about choices held out (" in done.stdout
    assert "SRCC" not in done.stdout
    shown = json.loads(run_cli("taste", "show", "green", "--json").stdout)
    assert shown["ratings"] == 0 and shown["measured"]["choices"]["made"] == 200
    assert run_cli("taste", "list").stdout.startswith("green  200 choices  gain +")
    rows = json.loads(
        run_cli("rank", folder, "--no-scan", "--taste", "green", "--format", "json", "--top", "60").stdout
    )
    with ratings.open() as file:
        green = {row["path"]: float(row["rating"]) for row in csv.DictReader(file)}
    assert (
        srcc(np.array([row["taste"] for row in rows]), np.array([green[Path(row["path"]).name] for row in rows])) > 0.5
    )


def test_picks_and_rejects_are_ratings(run_cli: RunCli, library: tuple[Path, Path], tmp_path: Path) -> None:
    folder, ratings = library
    run_cli("scan", folder)
    with ratings.open() as file:
        green = {row["path"]: float(row["rating"]) for row in csv.DictReader(file)}
    with Cache.open(tmp_path / "cache.sqlite") as cache:
        ids = dict(cache.conn.execute("SELECT path, content_id FROM files").fetchall())
        verdicts = {ids[str(folder / name)]: "pick" if value > 3 else "reject" for name, value in green.items()}
        decisions.decide(cache, verdicts)
        decisions.decide(cache, {ids[str(folder / "00.png")]: None})  # taken back
    done = run_cli("taste", "learn", "green", "--choices", "--no-measure")
    assert done.returncode == 0, done.stderr
    assert "green: 59 rated photos, model" in done.stdout and "choices" not in done.stdout
    # with stars in a file for all of them, those are what counts
    both = run_cli("taste", "learn", "green", "--choices", "--ratings", ratings, "--no-measure")
    plain = run_cli("taste", "learn", "green", "--ratings", ratings, "--no-measure")
    assert both.stdout == plain.stdout and "60 rated photos" in both.stdout
