"""Taste: what is read as a rating, what is learnt from ratings and when it is kept, and the command."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import RunCli, picture, write_tiny_bundle
from numpy.typing import NDArray
from sidecars import LIGHTROOM

from cgiaa_cli.annotate.plan import Annotation
from cgiaa_cli.annotate.xmp import EMBEDDED, merge
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation import search, select
from cgiaa_cli.curation.select import Selection
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.paths import escape
from cgiaa_cli.taste import kept
from cgiaa_cli.taste import learn as module
from cgiaa_cli.taste import photos as photos_module
from cgiaa_cli.taste.explain import likings, sentence
from cgiaa_cli.taste.learn import SCORES, Head, Rated, learn, ranks, srcc
from cgiaa_cli.taste.ratings import PICKED, REJECTED, read_csv, read_xmp

DM = b' xmlns:xmpDM="http://ns.adobe.com/xmp/1.0/DynamicMedia/" xmpDM:pick="%d"'


def packet(rating: str | None = None, pick: int | None = None, start: bytes = EMBEDDED) -> bytes:
    inside = (
        b' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="%s"' % rating.encode() if rating is not None else b""
    )
    inside += DM % pick if pick is not None else b""
    return start.replace(b"</rdf:RDF>", b'<rdf:Description rdf:about=""' + inside + b"/></rdf:RDF>")


def rated_as(folder: Path, raw: bytes, name: str = "a.jpg") -> float | None:
    photo = folder / name
    photo.write_bytes(b"\xff\xd8\xff\xd9")
    (folder / f"{name}.xmp").write_bytes(raw)
    found = dict(read_xmp([[photo]], lambda path, error: pytest.fail(error)))
    return found.get(escape(photo))


@pytest.mark.parametrize(
    ("rating", "pick", "value"),
    [
        ("3", None, 3.0),
        ("-1", None, REJECTED),
        ("0", None, None),
        (None, None, None),
        (None, 1, PICKED),
        (None, 0, None),
        ("5", -1, REJECTED),
        ("5", 1, 5.0),
        ("75", None, 4.0),
        ("many", None, None),
        ("nan", None, None),
        ("1000", None, None),
    ],
)
def test_ratings_in_sidecars(tmp_path: Path, rating: str | None, pick: int | None, value: float | None) -> None:
    assert rated_as(tmp_path, packet(rating, pick)) == value


def test_what_cgiaa_wrote_itself_is_no_opinion(tmp_path: Path) -> None:
    ours = merge(None, Annotation({"Score": "6"}, rating=4)).raw
    assert ours is not None and b'Rating="4"' in ours and rated_as(tmp_path, ours) is None
    assert rated_as(tmp_path, ours.replace(b'xmp:Rating="4"', b'xmp:Rating="2"'), "b.jpg") == 2.0
    theirs = merge(LIGHTROOM, Annotation({"Score": "6"}, rating=5)).raw
    assert theirs is not None and rated_as(tmp_path, theirs, "c.jpg") == 3.0


def test_a_sidecar_goes_before_the_photo_and_damage_is_told(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    picture(0, 0.5).save(photo, xmp=packet("2"))
    said: list[tuple[str, str]] = []
    read = lambda: dict(read_xmp([[photo], [tmp_path / "none.jpg"]], lambda *told: said.append(told)))  # noqa: E731
    assert read() == {str(photo): 2.0} and not said
    sidecar = tmp_path / "a.jpg.xmp"
    sidecar.write_bytes(packet("5"))
    assert read() == {str(photo): 5.0}
    sidecar.write_bytes(b"<nonsense")
    assert read() == {str(photo): 2.0} and said[0][0] == str(sidecar)
    sidecar.unlink()
    sidecar.symlink_to(tmp_path / "gone")
    assert read() == {str(photo): 2.0} and said[1] == (str(sidecar), "broken symbolic link")


def test_ratings_in_a_csv_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "b\\x41.jpg", "ü,1.jpg"):
        (folder / name).touch()
    file = folder / "r.csv"
    file.write_text(
        "\ufeffNote, Path ,RATING\nx,a.jpg,4\n,a.jpg,5\n,b\\x5cx41.jpg,Reject\n"
        f',"ü,1.jpg",pick\n,none.jpg,3.5\n,a.jpg,\n,,7\n,{folder}/a.jpg,9\n',
        "utf-8",
    )
    assert read_csv(file) == {
        escape(folder / "a.jpg"): 6.0,
        escape(folder / "b\\x41.jpg"): REJECTED,
        escape(folder / "ü,1.jpg"): PICKED,
        escape(folder / "none.jpg"): 3.5,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has none"),
        ("file,stars\na.jpg,3\n", "it has file, stars; name them in the first line"),
        ("path,rating\na.jpg,good\n", "line 2: 'good' is no rating; write a number, pick or reject"),
        ("path,rating\na.jpg,nan\n", "line 2: 'nan' is no rating"),
        ("path,rating\na.jpg,1e300\n", "is no rating"),
        ("path,rating\n" + "x" * 200_000 + ",1\n", "not CSV"),
        (None, "No such file"),
    ],
)
def test_a_csv_file_that_is_not_right(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "r.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError) as told:
        read_csv(file)
    assert said in str(told.value) and str(file) in str(told.value)


def made(count: int, seed: int = 0, taste: float = 1.0, noise: float = 0.3) -> tuple[Rated, NDArray[np.float64]]:
    """Photos of which a user likes one direction of the embedding, `taste` as much as the default score."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = random.normal(5, 1, (count, len(SCORES)))
    liking = scores[:, 0] + taste * 12**0.5 * vectors[:, 0] + noise * random.normal(size=count)
    return Rated(vectors, scores, np.round(liking)), liking


def test_ranks_and_correlation() -> None:
    assert ranks(np.array([3.0, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]
    assert srcc(np.array([1.0, 2, 3]), np.array([1.0, 4, 9])) == pytest.approx(1)
    assert srcc(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert srcc(np.ones(3), np.arange(3.0)) == 0


def test_a_taste_is_learnt_and_kept() -> None:
    rated, _ = made(150)
    found = learn(rated)
    assert found.kept and found.taste > 0.85 > found.default + 0.1
    assert (
        found.gain[0] == pytest.approx(found.taste - found.default)
        and 0 < found.gain[1] < found.gain[0] < found.gain[2]
    )
    new, liking = made(400, seed=1)
    values = found.head(new.vectors, new.scores)
    assert srcc(values, liking) > srcc(new.default, liking) + 0.1
    assert abs(values.mean() - liking.mean()) < 0.3  # on the user's own scale
    assert found.held_out.tolist() == learn(rated).held_out.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_where_there_is_no_taste_the_default_stays(seed: int) -> None:
    rated, _ = made(60, seed, taste=0)
    found = learn(rated)
    assert not found.kept
    new, liking = made(300, seed + 50, taste=0)
    assert srcc(found.head(new.vectors, new.scores), liking) > srcc(new.default, liking) - 0.05


def test_the_endless_penalty_is_the_default() -> None:
    rated, _ = made(40)
    design = module._Design(rated)
    every = np.arange(40)
    fit = design.fit(every)
    endless = design.head(fit, math.inf)
    assert srcc(endless(rated.vectors, rated.scores), rated.default) == pytest.approx(1)
    assert not endless.vector.any()
    for strength in (0.001, 1.0):
        head = design.head(fit, strength)
        direct = design.predict(fit, strength, every)
        assert head(rated.vectors, rated.scores) == pytest.approx(direct)


@pytest.mark.parametrize("count", [9 + 3, 60])  # more features than photos, and fewer
def test_leaving_out_is_what_fitting_without_them_gives(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rated, _ = made(count)
    groups = np.arange(count)
    groups[3] = groups[7] = 1
    design = module._Design(rated)
    every = np.arange(count)

    def brute(strength: float) -> float:
        error = 0.0
        for group in np.unique(groups):
            train, test = every[groups != group], every[groups == group]
            # the penalty is of the photos that are there, in `choose` of all of them
            found = design.predict(design.fit(train), strength * count / len(train), test)
            error += float(((found - rated.ratings[test]) ** 2).sum())
        return error

    errors = [brute(strength) for strength in module.STRENGTHS]
    assert design.fit(every).choose(groups) == module.STRENGTHS[int(np.argmin(errors))]
    for strength, error in zip(module.STRENGTHS, errors, strict=True):
        solved: list[float] = []
        monkeypatch.setattr(module, "STRENGTHS", (strength,))
        minimum = np.argmin
        monkeypatch.setattr(np, "argmin", lambda values, into=solved: into.append(float(values[0])) or 0)
        design.fit(every).choose(groups)
        monkeypatch.setattr(np, "argmin", minimum)
        assert solved[0] == pytest.approx(error, rel=1e-6)


def test_the_interval_is_that_of_drawing_photos_anew() -> None:
    rated, _ = made(40)
    random = np.random.default_rng(0)
    other = rated.ratings + random.normal(size=40)
    low, high = module._Judged(rated, other, np.zeros(0), np.zeros(0, bool)).interval(np.random.default_rng(1))
    gains = []
    for _ in range(2000):
        drawn = random.integers(40, size=40)
        gains.append(srcc(other[drawn], rated.ratings[drawn]) - srcc(rated.default[drawn], rated.ratings[drawn]))
    assert (low, high) == pytest.approx(tuple(np.percentile(gains, (2.5, 97.5))), abs=0.03)


def test_photos_that_look_alike_are_on_one_side() -> None:
    rated, _ = made(30)
    vectors = np.repeat(rated.vectors[:15], 2, axis=0)
    twins = Rated(vectors, rated.scores, rated.ratings)
    assert twins.groups.tolist() == [i - i % 2 for i in range(30)]
    for train, test in module._folds(twins.groups, np.random.default_rng(0)):
        assert not set(twins.groups[train]) & set(twins.groups[test]) and len(train) + len(test) == 30
    assert twins.thinned().tolist() == list(range(30))
    many = Rated(np.repeat(rated.vectors[:2], [70, 20], axis=0), np.repeat(rated.scores, 3, axis=0), np.arange(90.0))
    assert many.thinned().tolist() == [*range(module.MOST_ALIKE), *range(70, 90)]
    one = np.zeros(30, np.int64)  # all photos are of one burst: there is nothing to hold out
    assert module._folds(one, np.random.default_rng(0)) == []


@pytest.mark.parametrize(
    ("ratings", "said"),
    [([], "0 rated photos are too few"), ([3], "1 rated photo is too few"), ([1, 2, 3, 4, 5], "5 rated photos are")],
)
def test_few_ratings_are_refused(ratings: list[float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Rated(np.zeros((len(ratings), 3)), np.zeros((len(ratings), 8)), np.array(ratings, np.float64))


def test_equal_ratings_are_refused() -> None:
    with pytest.raises(UsageError, match="all 12 ratings are 3: they say nothing"):
        Rated(np.zeros((12, 3)), np.zeros((12, 8)), np.full(12, 3.0))


def test_a_taste_in_words() -> None:
    rated, liking = made(200)
    warm, default = 12**0.5 * rated.vectors[:, 0], rated.default
    facts = {
        "cast_b": warm,
        "saturation": warm + 0.5 * np.random.default_rng(0).normal(size=200),
        "colorfulness": np.where(np.arange(200) % 2, warm, np.nan),
        "complexity": -warm,
        "luminance": np.full(200, 0.5),
        "noise": np.full(200, np.nan),
        "composition": default,  # says nothing beside the default score
        "technical": -warm,
    }
    found = likings(facts, liking, rated.ratings, default)
    assert {"cast_b", "complexity", "technical"} < {one.fact for one in found} and len(found) == 4
    assert len({one.fact for one in found} & {"saturation", "colorfulness"}) == 1  # of two for one thing, one
    assert sentence([one.words for one in found if one.fact in ("cast_b", "complexity", "technical")]) == (
        "you like warmer, emptier frames more than the default score does; technical quality counts less for you"
    )
    assert sentence([]).startswith("no single property")
    # what only the head believes is not said
    assert likings({"cast_b": warm}, liking, default + np.random.default_rng(1).normal(size=200), default) == []


def taste(name: str = "mine", scorer: tuple[str, str, str] = ("b", "1+abc", "p")) -> kept.Taste:
    measured = {"default": 0.5, "taste": 0.7, "gain": 0.2, "gain_95": [0.1, 0.3], "likes": []}
    head = Head(np.array([0.25, -1 / 3]), np.arange(8.0), 1.5)
    return kept.Taste(name, scorer, "2026-01-01T00:00:00+00:00", 40, measured, ("warmer",), head)


def test_tastes_are_kept_as_they_are() -> None:
    assert kept.names() == []
    path = kept.save(taste())
    kept.save(taste("other"))
    back = kept.load("mine")
    assert kept.names() == ["mine", "other"] and back.head.vector == pytest.approx([0.25, -1 / 3])
    assert (back.scorer, back.likes, back.measured) == (taste().scorer, ("warmer",), taste().measured)
    assert back.head.scores.tolist() == list(range(8)) and back.head.intercept == 1.5
    kept.forget("mine")
    assert not path.exists()
    with pytest.raises(UsageError, match="there is no taste 'mine'; there are: other"):
        kept.forget("mine")
    kept.forget("other")
    with pytest.raises(UsageError, match="there is none yet"):
        kept.load("mine")


@pytest.mark.parametrize("name", ["", ".", "../up", "a/b", "-x", "a b", "x" * 101])
def test_a_taste_has_a_plain_name(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a taste"):
        kept.load(name)


def test_a_damaged_taste_is_one_line() -> None:
    path = kept.save(taste())
    whole = json.loads(path.read_text())
    for change in ({"format": 2}, {"head": {}}, {"scorer": ["a"]}, {"ratings": "x"}):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(UsageError, match="not a taste that this version can read"):
            kept.load("mine")
    whole["head"]["intercept"] = math.nan
    for text in (json.dumps(whole), "{", "\0"):
        path.write_text(text)
        with pytest.raises(UsageError, match="learn it again"):
            kept.load("mine")
    path.unlink()
    path.mkdir()
    for use in (kept.load, kept.forget):
        with pytest.raises(UsageError, match=r"mine\.json"):
            use("mine")
    with pytest.raises(CgiaaError, match="cannot be written"):
        kept.save(taste())
    assert [found.name for found in path.parent.iterdir()] == ["mine.json"]


@pytest.fixture
def library(tmp_path: Path) -> tuple[Path, Path]:
    """Sixty photos, and ratings of a user who likes what is green."""
    folder = tmp_path / "library"
    folder.mkdir()
    rows: list[tuple[str, int]] = []
    random = np.random.default_rng(0)
    for i in range(60):
        green = random.uniform(-0.25, 0.25)
        pixels = np.asarray(picture(i, float(random.uniform(0.3, 0.6)), (96, 72)), np.float64)
        pixels *= np.array([1 - green, 1 + green, 1 - green])
        from PIL import Image

        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:02}.png")
        rows.append((f"{i:02}.png", 1 + round((green + 0.25) * 8)))
    ratings = folder / "ratings.csv"
    with ratings.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "rating"), *rows])
    return folder, ratings


def test_the_command_from_learning_to_forgetting(run_cli: RunCli, library: tuple[Path, Path], tmp_path: Path) -> None:
    folder, ratings = library
    with ratings.open("a") as file:
        file.write("gone.png,5\n")
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with ratings.open("a") as file:
        file.write("bad.png,5\n")
    done = run_cli("taste", "learn", "green", "--ratings", ratings)
    assert done.returncode == 0, done.stderr
    assert "green: 60 rated photos, model tiny 1+" in done.stdout and "greener" in done.stdout
    assert done.stdout.splitlines()[-1] == "kept; use it with: cgiaa rank PATH --taste green"
    for name in ("gone.png", "bad.png"):
        assert f"{folder / name}: rated, but the cache has no scores of it; its rating is left out" in done.stderr
    ranked = run_cli("rank", folder, "--no-scan", "--taste", "green", "--format", "json", "--top", "60")
    rows = json.loads(ranked.stdout)
    given = {Path(path).name: value for path, value in read_csv(ratings).items()}
    scored = [row for row in rows if "error" not in row]
    values = np.array([row["taste"] for row in scored])
    assert srcc(values, np.array([given[Path(row["path"]).name] for row in scored])) > 0.7
    assert list(values) == sorted(values, reverse=True) and scored[0]["value"] == values[0]
    assert run_cli("rank", folder, "--no-scan", "--taste", "green", "--diverse", "--top", "3").stdout.count("\n") == 4
    worst = run_cli("filter", folder, "--no-scan", "--taste", "green", "--bottom", "--format", "jsonl")
    assert json.loads(worst.stdout.splitlines()[0])["path"] == scored[-1]["path"]
    listed = run_cli("taste", "list")
    assert listed.stdout.startswith("green  60 ratings  gain +0.")
    assert json.loads(run_cli("taste", "list", "--json").stdout)[0]["name"] == "green"
    shown = run_cli("taste", "show", "green")
    assert "colour goes along with your ratings by" in shown.stdout or "tint goes along" in shown.stdout
    assert json.loads(run_cli("taste", "show", "green", "--json").stdout)["ratings"] == 60
    other = write_tiny_bundle(tmp_path / "other", darker=True)
    refused = run_cli("rank", folder, "--taste", "green", "--model", other)
    assert refused.returncode == 2 and "was learnt with the model tiny 1+" in refused.stderr and not refused.stdout
    assert "--by" in run_cli("rank", folder, "--taste", "green", "--by", "technical").stderr
    assert run_cli("taste", "forget", "green").stdout == "taste 'green' is forgotten\n"
    assert "there is no taste yet" in run_cli("taste", "list").stderr
    assert run_cli("rank", folder, "--taste", "green").returncode == 2


def test_of_very_many_ratings_some_are_learnt_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos_module, "MOST", 15)
    with Cache.open(tmp_path / "c.sqlite") as cache:
        scorer = cache.scorer_id("b", "1", "p")
        rated, _ = made(40)
        with cache.transaction() as conn:
            for i in range(40):
                conn.execute("INSERT INTO contents(id, hash) VALUES (?, ?)", (i + 1, f"{i}"))
                values = [scorer, i + 1, *map(float, rated.scores[i]), "[]"]
                conn.execute(f"INSERT INTO scores VALUES ({','.join('?' * 11)})", values)
                vector = rated.vectors[i].astype("<f2").tobytes()
                conn.execute("INSERT INTO embeddings VALUES (?, ?, 12, ?)", (scorer, i + 1, vector))
                for copy in "ab":
                    conn.execute(
                        "INSERT INTO files(path, content_id, size, companions) VALUES (?, ?, 1, '[]')",
                        (f"/p/{i:02}{copy}.jpg", i + 1),
                    )
        given = {f"/p/{i:02}{copy}.jpg": float(i + (copy == "b")) for i in range(40) for copy in "ab"}
        found, paths, unknown = photos_module.read_rated(cache, scorer, given | {"/p/none.jpg": 3.0})
    assert len(found) == len(paths) == 15 and unknown == ["/p/none.jpg"]
    numbers = [int(Path(path).name[:2]) for path in paths]
    assert found.ratings.tolist() == [i + 0.5 for i in numbers]  # a content has the mean of its ratings
    assert found.scores == pytest.approx(rated.scores[numbers]) and numbers == sorted(numbers)


@pytest.mark.parametrize("few", [10**6, 0])
@pytest.mark.parametrize("where", [None, "iso = 3", "iso = 3 and score > 6"])
@pytest.mark.parametrize(
    ("limit", "worst_first", "strength"),
    [(5, False, 4), (7, True, 4), (1000, False, 0.01), (9, False, 0), (None, True, 1)],
)
def test_the_order_by_taste_is_that_of_every_rating(
    tmp_path: Path,
    few: int,
    where: str | None,
    limit: int | None,
    worst_first: bool,
    strength: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(select, "FEW_FILES", few)
    monkeypatch.setattr(search, "FIRST", 3)
    rated, _ = made(200)
    vectors = rated.vectors.astype("<f2")
    vectors[150:170], rated.scores[150:170] = vectors[:20], rated.scores[:20]  # equal ratings
    vectors[190:] = 0  # ten without an embedding
    random = np.random.default_rng(1)
    head = Head(strength * random.normal(size=12), random.normal(size=len(SCORES)), -2.5)
    order = photos_module.ByTaste("mine")
    order._kept = replace(taste(), head=head)
    lengths = np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
    values = head(vectors.astype(float) / np.where(lengths > 0, lengths, 1), rated.scores)
    wanted: list[tuple[float, str, int]] = []
    with Cache.open(tmp_path / "c.sqlite") as cache:
        scorer = cache.scorer_id("b", "1", "p")
        with cache.transaction() as conn:
            for i in random.permutation(200).tolist():  # the matrix lies in another order than the scores
                conn.execute("INSERT INTO contents(id, hash, iso) VALUES (?, ?, ?)", (i + 1, f"{i}", i % 5))
                row = [scorer, i + 1, *map(float, rated.scores[i]), "[]"]
                conn.execute(f"INSERT INTO scores VALUES ({','.join('?' * 11)})", row)
                vector = vectors[i].tobytes() if i < 190 else b""
                conn.execute("INSERT INTO embeddings VALUES (?, ?, 12, ?)", (scorer, i + 1, vector))
                for copy in "ab"[: 1 + (i % 7 == 0)]:
                    path = f"/p/{i * 37 % 200:03}{copy}.jpg"
                    conn.execute(
                        "INSERT INTO files(path, content_id, size, companions) VALUES (?, ?, 1, '[]')", (path, i + 1)
                    )
                    if where is None or (i % 5 == 3 and ("score" not in where or rated.scores[i, 0] > 6)):
                        wanted.append((float(values[i]) * (1 if worst_first else -1), path, i + 1))
        hits = order.hits(cache, scorer, Selection([Path("/p")], where=where, worst_first=worst_first), limit)
    wanted = sorted((round(value, 4), path, key) for value, path, key in wanted)[:limit]
    assert [(hit.path, hit.content_id) for hit in hits] == [(path, key) for _, path, key in wanted]
    assert [hit.value for hit in hits] == pytest.approx([values[key - 1] for _, _, key in wanted], abs=1e-5)


def test_what_does_not_beat_the_default_is_not_kept(run_cli: RunCli, library: tuple[Path, Path]) -> None:
    folder, ratings = library
    run_cli("taste", "learn", "mine", "--ratings", ratings, "--no-measure")
    random = np.random.default_rng(0)
    names = [f"{i:02}.png" for i in range(60)]
    for name, stars in zip(names, random.integers(1, 6, 60), strict=True):
        (folder / f"{name}.xmp").write_bytes(packet(str(stars)))
    (folder / "59.png.xmp").write_bytes(b"<nonsense")
    done = run_cli("taste", "learn", "mine", folder, "--no-scan", "--no-measure")
    assert "not kept: the gain is not beyond doubt" in done.stderr and "the older taste 'mine' stays" in done.stderr
    assert done.returncode == 3 and "59.png.xmp: " in done.stderr and "59 rated photos" in done.stdout
    (folder / "59.png.xmp").unlink()
    assert run_cli("taste", "learn", "mine", folder, "--no-scan", "--no-measure").returncode == 1
    assert "gain" in run_cli("taste", "show", "mine").stdout


def test_ratings_that_teach_nothing_are_one_line(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"

    def told(text: str, *more: str | Path) -> str:
        file.write_text(text)
        done = run_cli("taste", "learn", "mine", "--ratings", file, *more)
        assert done.returncode == 2 and not done.stdout
        return done.stderr.splitlines()[-1]

    names = [path.relative_to(tmp_path) for path in sorted(photos.rglob("*.*"))]
    assert "not one of the 1 rated photos is there" in told("path,rating\nnone.jpg,3\n")
    five = "path,rating\n" + "".join(f"{name},{i}\n" for i, name in enumerate(names[:5]))
    assert "5 rated photos are too few to learn from; rate at least 10" in told(five)
    assert "a column path and a column rating are needed, it has a, b" in told("a,b\n1,2\n")
    assert "0 rated photos are too few" in told("path,rating\n")
    assert "cannot be the name" in run_cli("taste", "learn", "a/b", photos).stderr
    assert "no ratings are named" in run_cli("taste", "learn", "mine").stderr
    assert "device 'tpu' is not known" in run_cli("taste", "learn", "mine", photos, "--device", "tpu").stderr
    none = run_cli("taste", "learn", "mine", photos)
    assert none.returncode == 2 and "no photo there has a rating by somebody else than cgiaa" in none.stderr


def test_a_damaged_taste_does_not_hide_the_others(run_cli: RunCli, isolated: dict[str, str]) -> None:
    kept.save(taste())
    kept.save(taste("other")).write_text("{")
    done = run_cli("taste", "list")
    assert done.stdout.startswith("mine  40 ratings  gain +0.200  b 1+abc  2026-01-01") and "other.json" in done.stderr
