"""Stars and labels from scores: ranks in the user's library, or fixed limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgiaa_cli.annotate.stars import DEFAULT_STARS, Library, library, parse_labels, parse_stars
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.errors import UsageError
from cgiaa_cli.pipeline import ScanOptions, run_scan


def test_percentiles() -> None:
    photos = Library([1.0, 2.0, 2.0, 3.0])
    assert [photos.percentile(x) for x in (0.5, 1.0, 2.0, 3.0, 9.0)] == [0.0, 12.5, 50.0, 87.5, 100.0]
    assert Library([]).percentile(5.0) == 50.0 and Library([4.0]).percentile(4.0) == 50.0


def test_default_stars_of_a_library_of_a_thousand() -> None:
    photos = Library([i / 100 for i in range(1000)])
    stars = parse_stars(DEFAULT_STARS)
    given = [stars.rating(score, photos.percentile(score)) for score in photos.scores]
    assert [given.count(n) for n in (None, 1, 2, 3, 4, 5)] == [500, 250, 150, 70, 20, 10]
    assert given == sorted(given, key=lambda n: n or 0)


def test_absolute_stars() -> None:
    stars = parse_stars(" score:4.5,5, 5.5,6,6.5")
    assert [stars.rating(x, 99.9) for x in (4.49, 4.5, 5.2, 5.5, 6.49, 6.5, 10)] == [None, 1, 2, 3, 4, 5, 5]


@pytest.mark.parametrize(
    "text",
    [
        *("", "1,2,3,4", "1,2,3,4,5,6", "50,40,90,97,99", "50,50,90,97,99", "a,b,c,d,e", "score:0,1,2,3,4"),
        *("50,75,90,97,101", "score:4,5,6,7,11", "nan,1,2,3,4", "points:1,2,3,4,5"),
    ],
)
def test_stars_that_mean_nothing(text: str) -> None:
    with pytest.raises(UsageError):
        parse_stars(text)


def test_labels() -> None:
    labels = parse_labels(["Red=99.5", "Light blue=90"])
    assert [labels.label(5, p) for p in (0, 90, 99, 99.5)] == [None, "Light blue", "Light blue", "Red"]
    fixed = parse_labels(["a=b=score:6"])
    assert fixed.label(6.0, 0) == "a=b" and fixed.label(5.9, 100) is None
    assert parse_labels([]).label(9, 99) is None
    for texts in (["Red"], ["=5"], ["Red=x"], ["Red=101"], ["Red=5", "Blue=score:5"]):
        with pytest.raises(UsageError):
            parse_labels(texts)


def test_library_of_a_cache(photos: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    db = tmp_path / "cache.sqlite"
    (photos / "copy.jpg").write_bytes((photos / "bright.jpg").read_bytes())
    options = ScanOptions([photos], db, str(tiny_bundle), "cpu")
    run_scan(options)
    (photos / "dark.jpg").unlink()
    run_scan(options)
    with Cache.open(db) as cache:
        found = library(cache, 1)
        assert len(found.scores) == 8 and list(found.scores) == sorted(found.scores)
        assert len(library(cache, 2).scores) == 0
