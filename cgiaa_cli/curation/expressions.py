"""`--where`: conditions over scores and EXIF fields, compiled to SQL whose every value is a parameter.

    iso >= 1600 and lens ~ "35mm" and not camera = "X"
    2.8 <= aperture < 5.6 or width / height > 2
    format in ("raw", "heif") and taken_at >= "2024-05"

Names are those of the JSON rows, and `year`, `month` and `hour` of `taken_at`. `=` and `~` (contains) do not
mind upper and lower case. A photo that lacks a field meets no condition on it, negated or not; `lens = none`
and `lens != none` ask for just that. Only names of the table `FIELDS` reach the SQL text.
"""

from __future__ import annotations

import calendar
import difflib
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cgiaa_cli.errors import UsageError
from cgiaa_cli.inference.scores import ATTRIBUTES

__all__ = ["FIELDS", "Sql", "compile_where", "contains", "period", "prepare"]

Kind = Literal["number", "text", "date", "bool", "none"]

# SQLite refuses expressions deeper than 1000, and Python nests functions for us: stay far from both
MAX_TOKENS = 500
MAX_DEPTH = 40


@dataclass(frozen=True)
class Sql:
    """A piece of SQL.

    Attributes:
        text: with a `?` for every value.
        parameters: the values, in order.
        tables: aliases of the tables it reads: `s` (scores), `c` (contents), `f` (files).
    """

    text: str
    parameters: tuple[float | str, ...] = ()
    tables: frozenset[str] = frozenset()


def _fields() -> dict[str, tuple[str, Kind]]:
    fields: dict[str, tuple[str, Kind]] = {"overall": ("s.score", "number")}
    for name in ("score", "spread", *ATTRIBUTES, "technical", "complexity"):
        fields[name] = (f"s.{name}", "number")
    for name in ("focal_length", "aperture", "shutter", "iso", "latitude", "longitude", "width", "height"):
        fields[name] = (f"c.{name}", "number")
    for name in ("camera", "lens", "format"):
        fields[name] = (f"c.{name}", "text")
    for name, start, length in (("year", 1, 4), ("month", 6, 2), ("hour", 12, 2)):
        fields[name] = (f"CAST(substr(c.taken_at, {start}, {length}) AS INTEGER)", "number")
    return fields | {
        "taken_at": ("c.taken_at", "date"),
        "bytes": ("c.bytes", "number"),
        "path": ("f.path", "text"),
    }


# name: (SQL over the tables s, c and f; kind)
FIELDS = _fields()

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<name>[^\W\d]\w*)
    | (?P<text>"(?:[^"]|"")*"|'(?:[^']|'')*')
    | (?P<sign><=|>=|==|!=|<>|!~|[=<>~()+\-*/,])""",
    re.VERBOSE,
)
_WORDS = ("and", "or", "not", "in", "is", "none", "null")
_COMPARISONS = {"=": "=", "==": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class _Node:
    """A part of the condition; `literal` is the string where it is a string in quotes."""

    sql: Sql
    kind: Kind
    literal: str | None = None


def compile_where(source: str) -> Sql:
    """The condition as SQL over `s` (scores), `c` (contents) and `f` (files).

    The connection that runs it must have gone through `prepare`.

    Raises:
        UsageError: it is not a condition; the message shows the place.
    """
    return _Parser(source).parse()


def prepare(connection: sqlite3.Connection) -> None:
    """Give a connection the function that `contains` may use."""
    connection.create_function(
        "casefold", 1, lambda value: value.casefold() if isinstance(value, str) else None, deterministic=True
    )


def contains(expression: Sql, needle: str) -> Sql:
    """Whether a text contains `needle`, upper or lower case; null where the text is null."""
    # SQLite's own lower() is quick and knows ASCII only
    name = "lower" if needle.isascii() else "casefold"
    folded = needle.lower() if needle.isascii() else needle.casefold()
    return Sql(f"instr({name}({expression.text}), ?) > 0", (*expression.parameters, folded), expression.tables)


_PERIOD = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?)?)?", re.ASCII)


def period(text: str) -> tuple[str, str]:
    """First and last moment of a year, month, day, minute or second, comparable with `taken_at`.

    Args:
        text: 2024, 2024-05, 2024-05-01, 2024-05-01T18:30 or 2024-05-01T18:30:05, in the camera's local time.

    Raises:
        ValueError: it is none of these.
    """
    match = _PERIOD.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is no date like 2024, 2024-05, 2024-05-01 or 2024-05-01T18:30:00")
    year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups())
    try:
        first = datetime(
            year or 0,
            1 if month is None else month,
            1 if day is None else day,
            hour or 0,
            minute or 0,
            second or 0,
        )
    except ValueError:
        raise ValueError(f"'{text}' is not a day of the calendar or a time of the day") from None
    last_month = month or 12
    last_day = day or calendar.monthrange(first.year, last_month)[1]
    last = first.replace(
        month=last_month,
        day=last_day,
        hour=23 if hour is None else hour,
        minute=59 if minute is None else minute,
        second=59 if second is None else second,
    )
    # "~" sorts after any fraction of that second
    return first.isoformat(), last.isoformat() + "~"


class _Parser:
    """Recursive descent, loosest first: or, and, not, comparison, + -, * /, sign, value."""

    def __init__(self, source: str) -> None:
        # an argument that is not UTF-8 has lone surrogates, which SQLite does not take
        self.source = source.encode("utf-8", "replace").decode()
        self.tokens = self._tokens()
        self.at = 0
        self.depth = 0

    def parse(self) -> Sql:
        node = self._or()
        if self._peek().kind != "end":
            raise self._error("'and', 'or' or the end should be here")
        self._want_bool(node, self.tokens[0])
        return node.sql

    def _tokens(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while at < len(self.source):
            match = _TOKEN.match(self.source, at)
            if match is None:
                rest = self.source[at:]
                bad = _Token("bad", rest.split()[0] if rest[0] not in "'\"" else rest, at)
                if rest[0] in "'\"":
                    raise self._error("the string has no end", bad)
                raise self._error("this is not a name, a number or a string in quotes", bad)
            kind, text = match.lastgroup or "", match.group()
            if kind == "name" and text.lower() in _WORDS:
                kind, text = "word", text.lower()
            if kind != "space":
                tokens.append(_Token(kind, text, at))
            at = match.end()
            if len(tokens) > MAX_TOKENS:
                raise self._error("the condition is too long", tokens[-1])
        return [*tokens, _Token("end", "", len(self.source.rstrip()))]

    def _peek(self) -> _Token:
        return self.tokens[self.at]

    def _next(self) -> _Token:
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def _take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these words or signs."""
        token = self._peek()
        if token.kind in ("word", "sign") and token.text in texts:
            return self._next()
        return None

    def _error(self, what: str, token: _Token | None = None) -> UsageError:
        token = token or self._peek()
        start = max(0, token.start - 30)
        shown = ("..." if start else "") + self.source[start : max(token.end, token.start + 1)]
        if len(token.text) > 40:
            shown = shown[: token.start - start + 43] + "..."
        return UsageError(f"--where, column {token.start + 1}: {what}", mend=f"{shown} <-- here")

    def _want_bool(self, node: _Node, token: _Token) -> None:
        if node.kind != "bool":
            raise self._error("this is a value, not a condition; compare it with something", token)

    def _joined(self, word: str, part: Callable[[], _Node]) -> _Node:
        start = self._peek()
        nodes = [part()]
        while self._take(word):
            self._want_bool(nodes[0], start)
            start = self._peek()
            nodes.append(part())
            self._want_bool(nodes[-1], start)
        return nodes[0] if len(nodes) == 1 else _Node(_join(nodes, f" {word.upper()} "), "bool")

    def _or(self) -> _Node:
        return self._joined("or", self._and)

    def _and(self) -> _Node:
        return self._joined("and", self._not)

    def _not(self) -> _Node:
        if not (token := self._take("not")):
            return self._comparison()
        start = self._peek()
        with _Deeper(self, token):
            node = self._not()
        self._want_bool(node, start)
        return _Node(Sql(f"(NOT {node.sql.text})", node.sql.parameters, node.sql.tables), "bool")

    def _comparison(self) -> _Node:
        left_token = self._peek()
        left = self._sum()
        found: list[_Node] = []
        while operator := self._operator():
            right_token = self._peek()
            if operator.text in ("in", "not in"):
                found.append(self._in(left, operator))
                break
            right = self._sum()
            for node, token in ((left, left_token), (right, right_token)):
                if node.kind == "bool":
                    raise self._error("a condition cannot be compared", token)
            found.append(_Node(self._compare(left, operator, right), "bool"))
            left, left_token = right, right_token
        if not found:
            return left
        return found[0] if len(found) == 1 else _Node(_join(found, " AND "), "bool")

    def _operator(self) -> _Token | None:
        if token := self._take("is"):
            return _Token("sign", "!=" if self._take("not") else "=", token.start)
        if token := self._take("not"):
            if not self._take("in"):
                raise self._error("'in' should follow 'not'")
            return _Token("word", "not in", token.start)
        return self._take("in", "~", "!~", *_COMPARISONS)

    def _in(self, left: _Node, operator: _Token) -> _Node:
        if not self._take("("):
            raise self._error("a list like (100, 200) should be here")
        equals = _Token("sign", "=", operator.start)
        options = []
        while True:
            if self._peek().kind == "word":
                raise self._error("a value should be here")
            options.append(_Node(self._compare(left, equals, self._sum()), "bool"))
            if self._take(")"):
                break
            if not self._take(","):
                raise self._error("',' or ')' should be here")
        sql = _join(options, " OR ")
        text = f"(NOT {sql.text})" if operator.text == "not in" else sql.text
        return _Node(Sql(text, sql.parameters, sql.tables), "bool")

    def _compare(self, left: _Node, operator: _Token, right: _Node) -> Sql:
        if operator.text in ("~", "!~"):
            if left.kind not in ("text", "date") or right.literal is None:
                raise self._error("'~' wants a text field, then a string in quotes", operator)
            found = contains(left.sql, right.literal)
            text = f"(NOT {found.text})" if operator.text == "!~" else f"({found.text})"
            return Sql(text, found.parameters, found.tables)
        sign = _COMPARISONS[operator.text]
        if "none" in (left.kind, right.kind):
            return self._compare_none(left, sign, right, operator)
        if left.literal is not None and right.kind == "date":
            left, sign, right = right, _MIRRORED[sign], left
        if left.kind == "date" and right.literal is not None:
            return self._compare_date(left, sign, right.literal, operator)
        if left.kind != right.kind:
            raise self._error(f"a {left.kind} cannot be compared with a {right.kind}", operator)
        nocase = " COLLATE NOCASE" if left.kind == "text" else ""
        return _merge(f"({left.sql.text} {sign} {right.sql.text}{nocase})", left, right)

    def _compare_none(self, left: _Node, sign: str, right: _Node, operator: _Token) -> Sql:
        node = right if left.kind == "none" else left
        if sign not in ("=", "<>") or node.kind == "none":
            raise self._error("a field can be '= none' or '!= none', nothing else", operator)
        return _merge(f"({node.sql.text} IS {'NOT ' if sign == '<>' else ''}NULL)", node)

    def _compare_date(self, field: _Node, sign: str, literal: str, operator: _Token) -> Sql:
        """A date stands for its whole period: `taken_at <= "2024"` includes December."""
        try:
            first, last = period(literal)
        except ValueError as error:
            raise self._error(str(error), operator) from None
        name = field.sql.text
        if sign in ("=", "<>"):
            no = "NOT " if sign == "<>" else ""
            return Sql(f"({name} {no}BETWEEN ? AND ?)", (first, last), field.sql.tables)
        value = first if sign in ("<", ">=") else last
        return Sql(f"({name} {sign} ?)", (value,), field.sql.tables)

    def _sum(self) -> _Node:
        return self._arithmetic(("+", "-"), self._product)

    def _product(self) -> _Node:
        return self._arithmetic(("*", "/"), self._signed)

    def _arithmetic(self, signs: tuple[str, str], part: Callable[[], _Node]) -> _Node:
        left = part()
        while token := self._take(*signs):
            right = part()
            if left.kind != "number" or right.kind != "number":
                raise self._error(f"'{token.text}' wants numbers on both sides", token)
            # SQLite would divide whole numbers as whole numbers
            first = f"CAST({left.sql.text} AS REAL)" if token.text == "/" else left.sql.text
            left = _Node(_merge(f"({first} {token.text} {right.sql.text})", left, right), "number")
        return left

    def _signed(self) -> _Node:
        if not (token := self._take("-", "+")):
            return self._value()
        with _Deeper(self, token):
            node = self._signed()
        if node.kind != "number":
            raise self._error(f"'{token.text}' wants a number", token)
        return _Node(_merge(f"({token.text} {node.sql.text})", node), "number")

    def _value(self) -> _Node:
        token = self._peek()
        if self._take("("):
            with _Deeper(self, token):
                node = self._or()
            if not self._take(")"):
                raise self._error("')' should be here")
            return node
        if self._take("none", "null"):
            return _Node(Sql("NULL"), "none")
        if token.kind == "number":
            # always a float: SQLite has no room for whole numbers of any size
            return _Node(Sql("?", (float(self._next().text),)), "number")
        if token.kind == "text":
            quote = self._next().text[0]
            literal = token.text[1:-1].replace(quote * 2, quote)
            return _Node(Sql("?", (literal,)), "text", literal)
        if token.kind == "name":
            return self._field(self._next())
        raise self._error("a value should be here")

    def _field(self, token: _Token) -> _Node:
        name = token.text.lower()
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(FIELDS)}"
            raise self._error(f"'{token.text}' is not known ({hint}; strings need quotes)", token)
        text, kind = FIELDS[name]
        return _Node(Sql(text, (), frozenset(re.findall(r"\b([scf])\.", text))), kind)


class _Deeper:
    """Counts the nesting: a thousand brackets are an error of the user, not of the program."""

    def __init__(self, parser: _Parser, token: _Token) -> None:
        self.parser = parser
        self.token = token

    def __enter__(self) -> None:
        self.parser.depth += 1
        if self.parser.depth > MAX_DEPTH:
            raise self.parser._error("the condition is nested too deeply", self.token)

    def __exit__(self, *_: object) -> None:
        self.parser.depth -= 1


def _merge(text: str, *nodes: _Node) -> Sql:
    parameters = tuple(p for node in nodes for p in node.sql.parameters)
    return Sql(text, parameters, frozenset().union(*(node.sql.tables for node in nodes)))


def _join(nodes: list[_Node], word: str) -> Sql:
    return _merge(f"({word.join(node.sql.text for node in nodes)})", *nodes)
