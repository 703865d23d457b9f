"""The page of `cgiaa review` without a browser: who may ask, what is answered, decisions, sidecars."""

from __future__ import annotations

import json
import random
import shutil
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import RunCli, write_tiny_bundle
from reviewing import EVIL, Client, make_photos, scan, served

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.critique import kept
from cgiaa_cli.curation import groups_kept
from cgiaa_cli.errors import CacheError
from cgiaa_cli.report.library import read_library
from cgiaa_cli.review import decisions
from cgiaa_cli.review.gallery import as_shown
from cgiaa_cli.review.grouping import Grouping
from cgiaa_cli.review.pairs import FEW, PER_GROUP, Asked, next_pair


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `photos` beside its cache and its bundle; not to be changed."""
    root = tmp_path_factory.mktemp("review")
    make_photos(root / "photos")
    write_tiny_bundle(root / "tiny")
    scan(root / "photos", root / "cache.sqlite", root / "tiny")
    return root


@pytest.fixture(scope="module")
def running(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path_factory.mktemp("page") / "page.sqlite"))
    with served(library / "photos", db, library / "tiny") as client:
        yield client


@pytest.fixture
def page(running: Client) -> Client:
    """The page of which nothing is decided, and no critique made."""
    with running.review.cache.transaction() as conn:
        for table in ("decisions", "choices", "keep_all", "critiques"):
            conn.execute(f"DELETE FROM {table}")
    running.review._history.clear()
    return running


# who may ask


def test_only_who_knows_the_token_is_answered(page: Client) -> None:
    assert page.ask("state")[0] == 200
    for token in ("", "the-toke", "the-token2", "%FF", "other"):
        status, text, headers = page.ask("state", token=token)
        assert status == 403 and b"cgiaa review" in text and headers["cache-control"] == "no-store"
    for path in ("thumb/0.jpg", "original/0", "page.js", "page.css", ""):
        assert page.ask(path, token="other")[0] == 403
        assert page.ask(path)[0] == 200


def test_only_this_machine_by_its_name_is_answered(page: Client) -> None:
    assert page.ask("state", Host=f"localhost:{page.port}")[0] == 200
    # another site whose name points here
    for host in ("evil.example", f"evil.example:{page.port}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1.x:{page.port}"):
        assert page.ask("state", Host=host)[0] == 403


def test_only_the_page_itself_may_change_something(page: Client) -> None:
    body = {"verdicts": {"0": "pick"}}
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{page.port}", f"http://localhost:{page.port}"):
        assert page.ask("decide", body, Origin=origin)[0] == 403
    assert page.ask("decide", b"{}", method="DELETE", Origin="x")[0] == 403
    assert page.json("state")["picks"] == []
    assert page.json("decide", body)["picks"] == [0]
    assert page.ask("decide")[0] == 405


def test_headers_that_let_nothing_else_in(page: Client) -> None:
    _, text, headers = page.ask("")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers and b"http" not in text.replace(b"http-equiv", b"")
    program = page.ask("page.js")[1]
    assert b"{{" not in text and program.startswith(b'"use strict";')
    assert b"innerHTML" not in program and b"eval(" not in program
    assert (
        headers["content-type"].startswith("text/html") and page.ask("icon.svg")[2]["content-type"] == "image/svg+xml"
    )


def test_no_request_names_a_path(page: Client) -> None:
    for path in ("../../etc/passwd", "thumb/..%2f..%2fetc%2fpasswd.jpg", "thumb//etc/passwd.jpg", "review.html", "x"):
        assert page.ask(path)[0] == 404
    count = len(page.review.gallery)
    assert page.ask(f"thumb/{count}.jpg")[0] == 404 and page.ask("thumb/-1.jpg")[0] == 404
    for path in (
        f"original/{count}",
        "original/-1",
        "original/",
        "original//etc/passwd",
        "original/..%2f..%2fetc%2fpasswd",
    ):
        assert page.ask(path)[0] == 404
    assert page.ask("large/0.jpg")[0] == 404 and page.ask(f"critique/{count}")[0] == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("decide", {"verdicts": {"0": "love"}}),
        ("decide", {"verdicts": {"999": "pick"}}),
        ("decide", {"verdicts": {"x": "pick"}}),
        ("decide", {"verdicts": {}}),
        ("decide", {}),
        ("decide", []),
        ("decide", b"{"),
        ("choose", {"left": 0, "right": 0, "answer": "left"}),
        ("choose", {"left": 0, "right": 1, "answer": "both"}),
        ("choose", {"left": "0", "right": 1, "answer": "left"}),
        ("keep", {"at": 99, "keep": True}),
        ("photos?numbers=999", None),
        ("photos?numbers=a", None),
        ("list?order=hash", None),
        ("list?show=mine", None),
        ("list?least=many", None),
        ("groups?start=x", None),
    ],
)
def test_what_makes_no_sense_is_refused_and_said(page: Client, path: str, body: Any) -> None:
    status, said = page.error(path, body)
    assert status == 400 and said
    assert page.json("state") == {"picks": [], "rejects": [], "choices": 0, "steps": 0, "critiqued": []}


def test_a_body_has_a_limit(page: Client) -> None:
    assert page.ask("decide", b"{}", Content_Length=str(1 << 30))[0] == 413


# photos


def test_rows_of_photos(page: Client) -> None:
    numbers = page.json("list")["numbers"]
    assert numbers == list(range(len(page.review.gallery))) and len(numbers) == 14
    rows = page.json(f"photos?numbers={','.join(map(str, numbers))}")["photos"]
    assert [row["number"] for row in rows] == numbers
    assert [row["value"] for row in rows] == sorted((row["value"] for row in rows), reverse=True)
    by_name = {row["name"]: row for row in rows}
    assert by_name[EVIL]["camera"] == "<script>alert(2)</script>" and by_name[EVIL]["path"] == f"</{EVIL}"
    assert by_name["single01.jpg"]["copies"] == ["single01 copy.jpg"]  # one photo at two places
    assert (by_name["turned.jpg"]["width"], by_name["turned.jpg"]["height"]) == (200, 300)
    assert "latitude" not in by_name["turned.jpg"] and str(page.review.gallery.root) not in json.dumps(rows)


def test_orders_and_finding(page: Client) -> None:
    def names(query: str) -> list[str]:
        return [page.review.gallery.paths[i][0].rpartition("/")[2] for i in page.json(f"list?{query}")["numbers"]]

    every = names("")
    assert names("turned=1") == every[::-1]
    assert names("order=path")[0] == EVIL and names("order=path&turned=1")[-1] == EVIL
    assert names("order=technical")[0] != names("order=technical&turned=1")[0]
    taken = names("order=taken_at")
    assert taken[0] == "single00.jpg" and {taken[-1], taken[-2]} == {"small.png", "turned.jpg"}  # without a time
    assert names("find=BETA+2024-02-01") == ["single01.jpg"] and names("find=copy") == ["single01.jpg"]
    assert names("find=onerror") == [EVIL] and names("find=nowhere") == []
    best = names("one=1")
    assert len([name for name in best if name.startswith("IMG")]) == 1 and "single01.jpg" in best


def test_filters(page: Client) -> None:
    def names(query: str) -> set[str]:
        return {page.review.gallery.paths[i][0].rpartition("/")[2] for i in page.json(f"list?{query}")["numbers"]}

    kinds = page.json("kinds")
    assert dict(kinds["camera"]) == {"Alpha": 4, "Beta": 4, "Testcam": 3, "<script>alert(2)</script>": 1}
    assert dict(kinds["lens"]) == {"Zoom": 4, "Tele": 4}
    assert dict(kinds["focal"]) == {"24-34 mm": 4, "135-299 mm": 4}
    assert dict(kinds["month"])["2024-05"] == 4  # a single and the burst
    for kind, counts in kinds.items():
        for name, count in counts:
            assert len(names(urllib.parse.urlencode({kind: name}))) == count
    assert names("camera=Beta&lens=Tele") == {"single05.jpg", "single07.jpg"}
    assert names("camera=Beta&month=2024-02&focal=24-34+mm") == {"single01.jpg"} and names("lens=tele") == set()
    # limits are about what is ordered by, as it is written on the tiles
    rows = page.json("photos?numbers=" + ",".join(map(str, range(14))))["photos"]
    for order, score in (("value", "score"), ("complexity", "complexity")):
        shown = sorted(as_shown(row[score]) for row in rows)
        query = f"order={order}&least={shown[3]}&most={shown[9]}"
        assert names(query) == {row["name"] for row in rows if shown[3] <= as_shown(row[score]) <= shown[9]}
    assert names("least=11") == set() and len(names("most=11")) == 14
    # with what is decided, and one of each group
    frames = [page.number(f"IMG_000{i}.jpg") for i in range(3)]
    page.json("decide", {"verdicts": {frame: "pick" for frame in frames}})
    assert len(names("show=picks&camera=Testcam")) == 3 and len(names("show=picks&one=1")) == 1
    assert names("show=picks&camera=Alpha") == set()
    # those with a critique, each once it is made
    assert names("critiqued=1") == set()
    for name in ("single05.jpg", "IMG_0001.jpg"):
        page.json(f"critique/{page.number(name)}")
    assert names("critiqued=1") == {"single05.jpg", "IMG_0001.jpg"}
    assert page.json("state")["critiqued"] == sorted(page.number(f"{name}.jpg") for name in ("single05", "IMG_0001"))
    assert names("critiqued=1&camera=Beta") == {"single05.jpg"} and len(names("critiqued=0")) == 14


def test_finding_by_words_of_critiques(page: Client) -> None:
    found = lambda words: page.json(f"list?find={words}")["numbers"]  # noqa: E731
    assert found("lighthouse") == []
    for name, text in (("single05", "A Lighthouse leans."), ("single06", "The lighthouse is upright.")):
        number = page.number(f"{name}.jpg")
        row = {"kinds": ["night"], "notice": "", "attributes": {"composition": {"text": text}}}
        with Cache.open(page.review.cache.path) as other:  # another process made it meanwhile
            (key,) = other.conn.execute("SELECT hash FROM contents WHERE id = ?", (page.review.gallery.ids[number],))
            kept.write(other, page.review.gallery.scorer, key[0], page.review.session.settings, row)
        assert number in found("LIGHTHOUSE") and number in page.json("state")["critiqued"]
    first, second = page.number("single05.jpg"), page.number("single06.jpg")
    assert sorted(found("night")) == sorted((first, second))
    assert found("lighthouse+leans") == [first] and found("upright+single06+night") == [second]
    assert found("single05+upright") == [] and found("lighthouse&critiqued=1&camera=Beta") == [first]


def test_numbers_are_written_as_the_page_writes_them() -> None:
    # 5.125 is one of the few numbers that lie just between two, and goes up there
    numbers = {5.125: 5.13, 5.1249999: 5.13, 2.675: 2.67, 10.494: 10.49, 10.5: 11, 33.4: 33, 0.0: 0, 1.005: 1.0}
    assert {number: as_shown(number) for number in numbers} == numbers


def test_scores_and_weak_spots_are_those_of_report(page: Client, tmp_path: Path) -> None:
    gallery = page.review.gallery
    library = read_library(gallery.cache, gallery.scorer, gallery.hits(), tmp_path, lambda path, error: None)
    assert page.json("weak") == json.loads(json.dumps(library.weak))
    assert [row["name"] for row in page.json("weak")["focal"]] == ["24-34 mm", "135-299 mm"]
    scores = page.json("scores")
    assert {name: [row[name] for row in library.rows] for name in scores} == scores
    weakest = Counter(row["weakest"] for row in library.rows if row["weakest"])
    assert dict(page.json("kinds")["weakest"]) == weakest


def test_a_photo_that_another_process_has_forgotten(library: Path, tmp_path: Path) -> None:
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path / "page.sqlite"))
    with served(library / "photos", db, library / "tiny", groups=False) as page:
        gone = page.number("single02.jpg")
        with Cache.open(db) as cache, cache.transaction() as conn:
            conn.execute("DELETE FROM scores WHERE content_id = ?", (page.review.gallery.ids[gone],))
        assert page.json("scores")["score"][gone] is None
        assert sum(row["photos"] for row in page.json("weak")["lens"]) == 7
        assert gone not in page.json("list?least=0")["numbers"] and page.json("list?order=score")["numbers"][-1] == gone


# decisions


def test_decisions_are_kept_at_once_and_hang_on_the_bytes(page: Client) -> None:
    state = page.json("decide", {"verdicts": {"0": "pick", "1": "reject", "2": "pick"}})
    assert (state["picks"], state["rejects"], state["steps"]) == ([0, 2], [1], 1)
    gallery = page.review.gallery
    with Cache.open(page.review.cache.path) as other:  # another process sees it
        assert decisions.verdicts(other) == {gallery.ids[0]: "pick", gallery.ids[1]: "reject", gallery.ids[2]: "pick"}
    assert page.json("list?show=picks")["numbers"] == [0, 2]
    assert page.json("list?show=rejects")["numbers"] == [1]
    assert page.json("list?show=undecided&turned=1")["numbers"][-1] == 3
    # the same again is no step
    assert page.json("decide", {"verdicts": {"0": "pick"}})["steps"] == 1


def test_undo_as_many_steps_as_there_were(page: Client) -> None:
    page.json("decide", {"verdicts": {"0": "pick"}})
    page.json("decide", {"verdicts": {"0": "reject", "1": "pick"}})
    page.json("decide", {"verdicts": {"1": None}})
    page.json("choose", {"left": 3, "right": 2, "answer": "left"})
    page.json("choose", {"left": 2, "right": 3, "answer": "left"})  # asked again on another page
    assert page.json("state")["choices"] == 1 and page.json("state")["steps"] == 5
    first, second = page.review.gallery.ids[3], page.review.gallery.ids[2]
    made = lambda: decisions.choices(page.review.cache)  # noqa: E731
    assert list(made().values()) == [second]
    assert page.json("undo", {})["undone"] == {"pair": [2, 3]} and list(made().values()) == [first]
    assert page.json("undo", {})["undone"] == {"pair": [3, 2]} and made() == {}
    assert page.json("undo", {})["picks"] == [1]
    state = page.json("undo", {})
    assert (state["picks"], state["rejects"], state["undone"]) == ([0], [], {"photos": [0, 1]})
    state = page.json("undo", {})
    assert (state["picks"], state["steps"]) == ([], 0)
    assert page.json("undo", {})["undone"] is None


def test_two_pages_and_two_reviews_of_one_cache(page: Client, library: Path) -> None:
    with served(library / "photos", page.review.cache.path, library / "tiny", groups=False) as other:
        page.json("decide", {"verdicts": {"0": "pick"}})
        assert other.json("state")["picks"] == [0]
        other.json("decide", {"verdicts": {"0": "reject"}})
        assert page.json("state")["rejects"] == [0]
        # each takes back what it did
        assert page.json("undo", {})["rejects"] == [] and other.json("undo", {})["picks"] == [0]


def test_a_locked_cache_is_said_and_costs_no_step(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    page.json("decide", {"verdicts": {"0": "pick"}})

    def locked(*_: object) -> None:
        raise CacheError("another program kept it locked", path="c", mend="wait")

    monkeypatch.setattr(decisions, "decide", locked)
    assert page.error("undo", {}) == (503, "c: another program kept it locked; wait")
    monkeypatch.undo()
    assert page.json("undo", {})["picks"] == []


def test_our_own_mistake_is_one_line(page: Client, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr(page.review, "state", lambda: 1 / 0)
    assert page.error("state") == (500, "internal error: ZeroDivisionError: division by zero")
    monkeypatch.undo()
    assert page.json("state")["steps"] == 0
    assert capfd.readouterr().err == "cgiaa: internal error: ZeroDivisionError: division by zero\n"


# groups


def test_groups_with_their_keeper_and_keeping_all(page: Client) -> None:
    found = page.json("groups?start=0&count=10")
    assert found["ready"] and found["total"] == len(found["groups"]) == sum(found["kinds"].values())
    assert found["kinds"]["burst"] == 1 and found["kinds"]["duplicate"] == 1
    burst = page.json("groups?start=0&count=10&kind=burst")["groups"]
    assert len(burst) == 1
    members = burst[0]["members"]
    assert [member["kept"] for member in members] == [True, False, False] and members[1]["reason"]
    assert page.json("photos?numbers=" + str(members[1]["photo"]))["photos"][0]["group"] == burst[0]["at"]
    state = page.json("keep", {"at": burst[0]["at"], "keep": True})
    assert state["steps"] == 1 and state["group"]["keep_all"]
    assert all(member["kept"] for member in state["group"]["members"])
    _, contents = groups_kept.members_of(page.review.cache, burst[0]["id"])  # as `cgiaa groups` knows it
    assert len(contents) == 3
    count = lambda: page.review.cache.conn.execute("SELECT count(*) FROM keep_all").fetchone()[0]  # noqa: E731
    assert count() == 3
    assert page.json("keep", {"at": burst[0]["at"], "keep": True})["steps"] == 1  # it was so already
    assert page.json("undo", {})["undone"] == {"group": burst[0]["at"]} and count() == 0


def test_before_the_groups_are_found(library: Path, tmp_path: Path) -> None:
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path / "page.sqlite"))
    with served(library / "photos", db, library / "tiny", groups=False) as page:
        assert page.json("groups") == {"ready": False}
        assert page.error("keep", {"at": 0, "keep": True})[0] == 400
        assert page.json("pair")["group"] is False and page.json("photos?numbers=0")["photos"][0]["group"] is None
        assert page.json("list?one=1") == {"ready": False}


def test_groups_that_cannot_be_found_are_said(page: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Grouping(page.review.gallery, tmp_path, lambda path, error: None, look=False)
    wrong.start()
    assert wrong.done.wait(10) and "this is a folder" in str(wrong.error)
    monkeypatch.setattr(Grouping, "_find", lambda self, cache: 1 / 0)
    broken = Grouping(page.review.gallery, page.review.cache.path, lambda path, error: None, look=False)
    broken.start()
    assert broken.done.wait(10) and broken.error == "internal error: ZeroDivisionError: division by zero"


# pairs


def test_choices_between_two(page: Client) -> None:
    found = page.json("pair")
    assert found["group"] and found["asked"] == 0 and {row["name"][:3] for row in found["pair"]} == {"IMG"}
    seen = set()
    for _ in range(12):
        found = page.json("pair")
        left, right = (row["number"] for row in found["pair"])
        assert frozenset((left, right)) not in seen
        seen.add(frozenset((left, right)))
        page.json("choose", {"left": left, "right": right, "answer": random.Random(left).choice(("left", "skip"))})
    made = decisions.choices(page.review.cache)
    assert len(made) == 12 and page.json("state")["choices"] == len(decisions.better_of(made))
    # who is rejected is not asked about
    everybody = {str(i): "reject" for i in range(1, 14)}
    page.json("decide", {"verdicts": everybody})
    assert page.json("pair")["pair"] is None


def ask_all(known: Asked, most: int = 500) -> list[tuple[int, int]]:
    """All pairs that are asked about until none is left."""
    chance, asked = random.Random(1), set(known.asked)
    found = []
    while len(found) < most:
        answer = next_pair(Asked(known.values, known.groups, known.family, known.out, asked), chance)
        if answer is None:
            break
        pair = (min(answer[0]), max(answer[0]))
        assert pair not in asked
        asked.add(pair)
        found.append(pair)
    return found


def test_pairs_of_few_photos() -> None:
    assert ask_all(Asked([], [], {}, set(), set())) == []
    assert ask_all(Asked([5.0], [], {}, set(), set())) == []
    assert ask_all(Asked([5.0, 4.0], [], {}, set(), set())) == [(0, 1)]
    assert len(ask_all(Asked([5.0, 4.0, 3.0, 2.0], [], {}, set(), set()))) == 6  # each of them once
    assert ask_all(Asked([5.0, 4.0, 3.0], [], {}, {1}, set())) == [(0, 2)]


def test_pairs_of_three_thousand_identical_frames() -> None:
    frames = list(range(3000))
    found = ask_all(Asked([5.0] * 3000, [frames], dict.fromkeys(frames, 0), set(), set()))
    assert len(found) == PER_GROUP
    # with ten others beside them, there is more to ask
    more = Asked([5.0] * 3000 + [4.0] * 10, [frames], dict.fromkeys(frames, 0), set(), set())
    assert len(ask_all(more, 40)) == 40


def test_pairs_are_near_and_far_and_of_new_photos_first() -> None:
    values = [8 - i / 100 for i in range(400)]
    found = ask_all(Asked(values, [], {}, set(), set()), 100)
    gaps = [right - left for left, right in found]
    assert sum(gap <= 4 for gap in gaps) >= 30 and sum(gap > 40 for gap in gaps) >= 20
    assert len({i for pair in found for i in pair}) == 200  # nobody twice
    assert len(ask_all(Asked(values[: FEW + 5], [], {}, set(), set()), 300)) == 300


# sidecars


@pytest.fixture
def writing(library: Path, tmp_path: Path) -> Iterator[Client]:
    """A page that may write, of photos of its own."""
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path / "page.sqlite"))
    shutil.copytree(library / "photos", tmp_path / "photos")
    with Cache.open(db) as cache, cache.transaction() as conn:
        conn.execute("UPDATE files SET path = replace(path, ?, ?)", (f"{library}/photos/", f"{tmp_path}/photos/"))
    with served(tmp_path / "photos", db, library / "tiny", write=True) as client:
        yield client


def xmp(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.xmp"))


def test_nothing_is_written_without_write(page: Client, library: Path) -> None:
    page.json("decide", {"verdicts": {"0": "pick"}})
    found = page.json("sidecars")
    assert found["counts"] == {"create": 1} and not found["written"]
    assert page.ask("sidecars", {})[0] == 405 and xmp(library / "photos") == []
    assert b'"write":false' in page.ask("")[1]


def test_sidecars_are_planned_written_and_taken_back(writing: Client, tmp_path: Path, run_cli: RunCli) -> None:
    folder = tmp_path / "photos"
    both, other = writing.number("single01.jpg"), writing.number("IMG_0000.jpg")
    writing.json("decide", {"verdicts": {both: "pick", other: "reject"}})
    plan = writing.json("sidecars")
    assert plan["counts"] == {"create": 3} and xmp(folder) == []
    assert {file["target"] for file in plan["files"]} == {
        "single01.jpg.xmp",
        "single01 copy.jpg.xmp",
        "trip/IMG_0000.jpg.xmp",
    }
    done = writing.json("sidecars", {})
    assert done["written"] and len(xmp(folder)) == 3
    assert 'xmp:Rating="-1"' in (folder / "trip" / "IMG_0000.jpg.xmp").read_text()
    assert writing.json("sidecars")["counts"] == {"same": 3}
    # a verdict that is taken back is taken out of its sidecar
    writing.json("decide", {"verdicts": {other: None}})
    assert writing.json("sidecars")["counts"] == {"same": 2, "delete": 1}
    writing.json("sidecars", {})
    assert len(xmp(folder)) == 2
    # what somebody else wrote into one of them meanwhile stays
    mine = folder / "single01.jpg.xmp"
    label = 'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="Red"'
    mine.write_text(mine.read_text().replace('xmpDM:pick="1"', f'xmpDM:pick="1" {label}'))
    undone = run_cli("annotate", folder, "--undo", "--write")
    assert undone.returncode == 0 and "1 cleaned of what cgiaa wrote, 1 deleted" in undone.stderr
    assert xmp(folder) == [mine.name] and "Red" in mine.read_text() and "cgiaa:review" not in mine.read_text()


def test_the_order_of_a_taste(page: Client, library: Path) -> None:
    from cgiaa_cli.commands.review import _order
    from cgiaa_cli.curation.select import Selection
    from cgiaa_cli.taste import kept as tastes
    from cgiaa_cli.taste.learn import SCORES, Head

    session = page.review.session
    import numpy as np

    weights = np.zeros(len(SCORES))
    weights[0] = -1.0  # the user who likes what nobody likes
    dim = session.cache.conn.execute("SELECT dim FROM embeddings LIMIT 1").fetchone()[0]
    head = Head(np.zeros(dim), weights, 10.0)
    tastes.save(tastes.Taste("odd", session.bundle.scorer, "2026-01-01", 10, {}, (), head))
    asked = session.cache, session.scorer, Selection([library / "photos"]), None
    hits, plain = (list(_order(session, taste)(*asked)) for taste in ("odd", None))
    assert hits[0].content_id == plain[-1].content_id
