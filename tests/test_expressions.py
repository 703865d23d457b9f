"""`--where`: what it means, what it refuses, and that no text of the user becomes SQL."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from cgiaa_cli.curation.expressions import FIELDS, compile_where, period, prepare
from cgiaa_cli.errors import UsageError

ROWS: list[dict[str, Any]] = [
    {
        "score": 6.0,
        "technical": 5.0,
        "iso": 1600,
        "camera": "Canon EOS R5",
        "lens": "RF35mm F1.8",
        "aperture": 2.8,
        "taken_at": "2024-05-31T23:59:59",
        "width": 6000,
        "height": 4000,
        "format": "jpeg",
    },
    {
        "score": 4.0,
        "technical": 8.0,
        "iso": 100,
        "camera": "X",
        "lens": None,
        "aperture": 5.6,
        "taken_at": "2024-06-01T00:00:00",
        "width": 4000,
        "height": 6000,
        "format": "raw",
    },
    {
        "score": 8.5,
        "technical": 2.0,
        "iso": None,
        "camera": None,
        "lens": "Größe 50",
        "aperture": None,
        "taken_at": None,
        "width": 8000,
        "height": 2000,
        "format": "heif",
    },
]


@pytest.fixture(scope="module")
def matching() -> Callable[[str], list[int]]:
    conn = sqlite3.connect(":memory:")
    prepare(conn)
    columns = sorted({text for text, _ in FIELDS.values() if text[1] == "."})
    for table in "scf":
        names = [c[2:] for c in columns if c[0] == table]
        conn.execute(f"CREATE TABLE {table}(row, {', '.join(names)})")
        for i, row in enumerate(ROWS):
            values = [row.get(name) for name in names]
            conn.execute(f"INSERT INTO {table} VALUES ({','.join('?' * (len(names) + 1))})", (i, *values))

    def match(source: str) -> list[int]:
        sql = compile_where(source)
        text = f"SELECT s.row FROM s JOIN c ON c.row = s.row JOIN f ON f.row = s.row WHERE {sql.text} ORDER BY 1"
        return [row[0] for row in conn.execute(text, sql.parameters)]

    return match


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ('iso >= 1600 and lens ~ "35mm" and not camera = "X"', [0]),
        ("iso < 1e3", [1]),
        ("iso != 100", [0]),
        ("not iso = 100", [0]),
        ("iso = none", [2]),
        ("iso is null", [2]),
        ("iso is not none", [0, 1]),
        ("none != iso", [0, 1]),
        ("not (iso = none)", [0, 1]),
        ("camera = 'canon eos r5'", [0]),
        ("camera != 'x'", [0]),
        ("lens ~ 'GRÖSSE'", [2]),
        ("lens ~ 'größe'", [2]),
        ("lens !~ '35'", [2]),
        ("2.8 <= aperture < 5.6", [0]),
        ("1 < 2 < 3", [0, 1, 2]),
        ("width / height > 3.9", [2]),
        ("width > height", [0, 2]),
        ("width * height = 24e6", [0, 1]),
        ("height / width = 1.5", [1]),
        ("-score < -8", [2]),
        ("score - technical > 0 and score + technical > 10.8", [0]),
        ("score - 1 - 1 = 2", [1]),
        ("format in ('RAW', \"heif\")", [1, 2]),
        ("format not in ('raw', 'heif')", [0]),
        ("iso in (100)", [1]),
        ("iso not in (100)", [0]),
        ("taken_at = '2024-05'", [0]),
        ("taken_at != '2024-05'", [1]),
        ("taken_at <= '2024-05'", [0]),
        ("taken_at > '2024-05'", [1]),
        ("taken_at >= '2024'", [0, 1]),
        ("taken_at < '2024'", []),
        ("'2024-05' < taken_at", [1]),
        ("'2024-05-31' <= taken_at <= '2024-05-31'", [0]),
        ("taken_at in ('2024-06', '2020')", [1]),
        ("taken_at ~ '-06-'", [1]),
        ("taken_at = none", [2]),
        ("year = 2024 and month = 5 and hour >= 23", [0]),
        ("not year = 2024", []),
        ("iso = 100 or iso = 1600 and score > 100", [1]),
        ("(iso = 100 or iso = 1600) and score > 5", [0]),
        ("NOT ISO = 100 AND Score > 5", [0]),
        ("overall = score", [0, 1, 2]),
        ('camera = \'it\'\'s "so"\' or camera = "say ""x"""', []),
        ("((((iso=100))))", [1]),
        ("iso / 0 > 1", []),
        ("iso < 1" + "0" * 400, [0, 1]),
        ("iso < 1e999", [0, 1]),
        ("iso == 100", [1]),
        ("iso <> 100", [0]),
        (" and ".join(["iso = 100"] * 100), [1]),
    ],
)
def test_meaning(matching: Callable[[str], list[int]], source: str, wanted: list[int]) -> None:
    assert matching(source) == wanted


@pytest.mark.parametrize(
    ("source", "column", "what"),
    [
        ("", 1, "a value should be here"),
        ("   ", 1, "a value should be here"),
        ("iso >=", 7, "a value should be here"),
        ("iso >= and lens", 8, "a value should be here"),
        ("isoo > 5", 1, "did you mean 'iso'"),
        ("iso > 100 lens", 11, "the end should be here"),
        ("iso", 1, "not a condition"),
        ("iso > 1 and lens", 13, "not a condition"),
        ("not 5", 5, "not a condition"),
        ("iso > 'x'", 5, "cannot be compared"),
        ("camera > 5", 8, "cannot be compared"),
        ("iso ~ '5'", 5, "wants a text field"),
        ("lens ~ camera", 6, "wants a text field"),
        ("camera = 'X", 10, "no end"),
        ("iso > 35mm", 7, "not a name, a number"),
        ("iso & 5", 5, "not a name, a number"),
        ("iso > 5; DROP TABLE files", 8, "not a name, a number"),
        ("(iso > 5", 9, "')' should be here"),
        ("iso > 5)", 8, "the end should be here"),
        ("iso in 5", 8, "a list"),
        ("iso in (5", 10, "',' or ')'"),
        ("iso in ()", 9, "a value should be here"),
        ("iso in (none)", 9, "a value should be here"),
        ("iso not 5", 9, "'in' should follow"),
        ("iso < none", 5, "= none"),
        ("none = none", 6, "= none"),
        ("(iso > 5) > 3", 1, "cannot be compared"),
        ("camera + 1 = 2", 8, "wants numbers"),
        ("-camera = 'x'", 1, "wants a number"),
        ("taken_at > 5", 10, "cannot be compared"),
        ("taken_at > 'soon'", 10, "no date"),
        ("score = score.real", 14, ""),
        ("__class__ = 1", 1, "not known"),
        ("rowid = 1", 1, "not known"),
        ("s.hash = 'x'", 2, ""),
        ("camera = X", 10, "strings need quotes"),
        ("(" * 5000 + "iso > 1" + ")" * 5000, None, "too long"),
        ("(" * 200 + "iso > 1" + ")" * 200, None, "nested too deeply"),
        ("not " * 200 + "iso > 1", None, "nested too deeply"),
        ("- " * 200 + "iso > 1", None, "nested too deeply"),
        (" or ".join(["iso = 1"] * 2000), None, "too long"),
    ],
)
def test_refusals_show_the_place(source: str, column: int | None, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_where(source)
    message = str(caught.value)
    assert what in message
    assert message.startswith("--where, column ") and message.endswith("<-- here")
    assert "\n" not in message.strip() or "\n" in source
    assert len(message) < 400
    if column is not None:
        assert f"column {column}:" in message


def test_what_is_shown_ends_at_the_place() -> None:
    with pytest.raises(UsageError, match=r"; iso >= 1600 and lenz <-- here$"):
        compile_where('iso >= 1600 and lenz ~ "35mm"')


def test_strings_never_become_sql(matching: Callable[[str], list[int]]) -> None:
    for text in ("x' OR 1=1 --", "'; DROP TABLE c; --", "%", "_", "\\", "\0", "\ud800", "?", ":a", "x\n"):
        quoted = "'" + text.replace("'", "''") + "'"
        for source in (f"camera = {quoted}", f"camera ~ {quoted}", f"camera in ({quoted})"):
            sql = compile_where(source)
            assert text not in sql.text or text in "?_"
            assert matching(source) == []


def test_random_conditions_agree_with_python(matching: Callable[[str], list[int]]) -> None:
    """Three-valued logic, spelled out: a comparison with a missing field is neither true nor false."""
    chance = random.Random(1)
    names = ["score", "technical", "iso", "aperture", "width"]

    def make(depth: int) -> tuple[str, Callable[[dict[str, Any]], bool | None]]:
        kind = chance.choice(["and", "or", "not", "cmp", "cmp"]) if depth else "cmp"
        if kind == "cmp":
            name, sign = chance.choice(names), chance.choice(["<", "<=", ">", ">=", "=", "!="])
            number = chance.choice([2, 2.8, 4, 5.6, 8, 100, 1600, 4000])
            test = {
                "<": lambda a: a < number,
                "<=": lambda a: a <= number,
                ">": lambda a: a > number,
                ">=": lambda a: a >= number,
                "=": lambda a: a == number,
                "!=": lambda a: a != number,
            }[sign]
            return f"{name} {sign} {number}", lambda r: None if r[name] is None else test(r[name])
        text, holds = make(depth - 1)
        if kind == "not":
            return f"not ({text})", lambda r: None if holds(r) is None else not holds(r)
        other_text, other = make(depth - 1)

        def joined(r: dict[str, Any]) -> bool | None:
            both = (holds(r), other(r))
            deciding = kind == "or"
            if deciding in both:
                return deciding
            return None if None in both else not deciding

        return f"({text}) {kind} ({other_text})", joined

    for _ in range(500):
        text, holds = make(4)
        assert matching(text) == [i for i, row in enumerate(ROWS) if holds(row)], text


def test_random_garbage_is_refused_or_runs(matching: Callable[[str], list[int]]) -> None:
    chance = random.Random(2)
    pieces = [
        "iso",
        "camera",
        "taken_at",
        "'a'",
        '"',
        "'",
        "5",
        "(",
        ")",
        "and",
        "or",
        "not",
        "in",
        "=",
        "~",
        "none",
        "<",
        ",",
        "-",
        "/",
        "is",
        "2024",
        "'2024'",
        ";",
        "--",
        "/*",
        "\0",
        "é",
        "!~",
    ]
    ran = 0
    for _ in range(20_000):
        source = " ".join(chance.choices(pieces, k=chance.randint(1, 9)))
        try:
            compile_where(source)
        except UsageError:
            continue
        matching(source)
        ran += 1
    assert ran > 5


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "2024-01-01T00:00:00", "2024-12-31T23:59:59~"),
        ("2024-02", "2024-02-01T00:00:00", "2024-02-29T23:59:59~"),
        ("2023-02", "2023-02-01T00:00:00", "2023-02-28T23:59:59~"),
        ("2024-05-01", "2024-05-01T00:00:00", "2024-05-01T23:59:59~"),
        ("2024-05-01T18:30", "2024-05-01T18:30:00", "2024-05-01T18:30:59~"),
        ("2024-05-01 18:30:05", "2024-05-01T18:30:05", "2024-05-01T18:30:05~"),
        ("9999", "9999-01-01T00:00:00", "9999-12-31T23:59:59~"),
    ],
)
def test_periods(text: str, first: str, last: str) -> None:
    assert period(text) == (first, last)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "0000",
        "2024-00",
        "2024-13",
        "2024-02-30",
        "2024-05-01T",
        "2024-05-01T25:00",
        "2024-05-01T10:00Z",
        "2024-5-1",
        "today",
        "2024-05-01T10:00:00+02:00",
        "\u0662\u0660\u0662\u0664",
    ],
)
def test_no_periods(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        period(text)
