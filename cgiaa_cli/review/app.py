"""The page over HTTP, for this machine and this user alone.

Every request, also that for a picture, has to know the token that its address begins with, and has to be sent to the
name that the server was started under: another site whose name points here (DNS rebinding) is refused. What changes
something has to come from the page itself. Photos have numbers; no request names a path.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from cgiaa_cli.errors import CgiaaError, PhotoError, UsageError
from cgiaa_cli.imaging.formats import PLAIN
from cgiaa_cli.paths import printable
from cgiaa_cli.report.page import SHARED, embed, program, template
from cgiaa_cli.review.gallery import KINDS, ORDERS, View
from cgiaa_cli.review.pictures import SIZES, Pictures, read
from cgiaa_cli.review.state import SHOWS, Review

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from cgiaa_cli.review.sidecars import Sidecars

__all__ = ["Guard", "make_app"]

MOST = 500  # rows of photos, and groups, in one answer
BODY = 1 << 22  # bytes that a request may have
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
SCRIPTS = ("base.js", "stage.js", "wall.js", "groups.js", "pair.js", "main.js")

Act = Callable[..., Any]


class Guard:
    """Lets only those requests through that know the token, the right host and, to change something, the origin."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app = app
        self._token = token.encode()
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        why = self._refusal(Request(scope)) if scope["type"] == "http" else "no such thing here"
        if why is None:
            await self.app(scope, receive, send_guarded)
        elif scope["type"] == "http":
            await PlainTextResponse(f"{why}\n", 403)(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> str | None:
        token = request.scope["path"].split("/")[1:2] or [""]
        if not secrets.compare_digest(token[0].encode("utf-8", "replace"), self._token):
            return "the address that `cgiaa review` printed is needed, with its token"
        host = request.headers.get("host", "")
        if host not in self._hosts:
            return "this page answers to 127.0.0.1 and localhost alone"
        if request.method not in ("GET", "HEAD") and request.headers.get("origin") != f"http://{host}":
            return "only the page itself may change something"
        return None


def make_app(review: Review, pictures: Pictures, sidecars: Sidecars, token: str, port: int) -> Guard:
    """The ASGI application.

    Args:
        sidecars: writes them only if it may.
        token: that every address begins with.
        port: that it is served at.
    """
    api = _Api(review, pictures)
    routes = [Route(f"/{name}", _file(kind, text)) for name, (kind, text) in _files(review, sidecars).items()]
    routes += [Route("/{kind:str}/{number:int}.jpg", api.picture), Route("/original/{number:int}", api.original)]
    reads: dict[str, Callable[[Request], Any]] = {
        "state": lambda request: review.state(),
        "list": api.list,
        "photos": api.photos,
        "kinds": lambda request: review.kinds(),
        "scores": lambda request: review.scores(),
        "weak": lambda request: review.weak(),
        "groups": api.groups,
        "pair": lambda request: review.pair(),
        "critique/{number:int}": lambda request: review.critique(api.number(request)),
        "sidecars": lambda request: sidecars.plan(),
    }
    writes: dict[str, Callable[[Any], Any]] = {
        "decide": lambda body: review.decide({_number(k): v for k, v in body["verdicts"].items()}),
        "undo": lambda body: review.undo(),
        "choose": lambda body: review.choose(body["left"], body["right"], body["answer"]),
        "keep": lambda body: review.keep(body["at"], bool(body["keep"])),
    }
    if sidecars.write:
        writes["sidecars"] = lambda body: sidecars.do()
    routes += [Route(f"/{name}", _read(act)) for name, act in reads.items()]
    routes += [Route(f"/{name}", _written(act), methods=["POST"]) for name, act in writes.items()]
    handlers: Any = {CgiaaError: _said, Exception: _broken}
    return Guard(Starlette(routes=[Mount(f"/{token}", routes=routes)], exception_handlers=handlers), token, port)


class _Api:
    """Requests that have to be read first."""

    def __init__(self, review: Review, pictures: Pictures) -> None:
        self.review = review
        self.pictures = pictures

    def number(self, request: Request) -> int:
        number = int(request.path_params["number"])
        if number >= len(self.review.gallery):
            raise HTTPException(404)
        return number

    async def picture(self, request: Request) -> Response:
        number, kind = self.number(request), request.path_params["kind"]
        if kind == "evidence":
            data = await run_in_threadpool(self.review.evidence, number)
        elif kind in SIZES:
            path = self.review.gallery.paths[number][0]
            # not among the threads that answer everything else: a click must not wait for pictures
            data = await asyncio.get_running_loop().run_in_executor(self.pictures.pool, self.pictures.get, path, kind)
        else:
            raise HTTPException(404)
        return Response(data, media_type="image/jpeg")

    async def original(self, request: Request) -> Response:
        path = self.review.gallery.paths[self.number(request)][0]
        data, kind = await run_in_threadpool(read, path)
        plain = kind in PLAIN
        name = quote(os.path.basename(path), safe="")
        how = f"{'inline' if plain else 'attachment'}; filename*=UTF-8''{name}"
        media_type = f"image/{kind}" if plain else "application/octet-stream"
        return Response(data, media_type=media_type, headers={"content-disposition": how})

    def list(self, request: Request) -> Any:
        asked = request.query_params
        order, show = asked.get("order", "value"), asked.get("show", "all")
        if order not in ORDERS or show not in SHOWS:
            raise UsageError("there is no such order, or nothing of that kind to show")
        view = View(
            order,
            asked.get("turned") == "1",
            asked.get("find", ""),
            critiqued=asked.get("critiqued") == "1",
            kinds={name: asked[name] for name in KINDS if name in asked},
            least=_limit(asked.get("least", "-inf")),
            most=_limit(asked.get("most", "inf")),
        )
        one = asked.get("one") == "1"
        if one and not self.review.grouping.done.is_set():
            return {"ready": False}
        return {"ready": True, "numbers": self.review.show(view, show, one=one)}

    def photos(self, request: Request) -> Any:
        numbers = [_number(text) for text in request.query_params.get("numbers", "").split(",")[:MOST]]
        if any(not 0 <= number < len(self.review.gallery) for number in numbers):
            raise UsageError("there is no such photo")
        return {"photos": self.review.rows(numbers)}

    def groups(self, request: Request) -> Any:
        asked = request.query_params
        start, count = _number(asked.get("start", "0")), _number(asked.get("count", "12"))
        return self.review.groups(max(start, 0), min(max(count, 0), MOST), asked.get("kind", ""))


def _number(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        raise UsageError("that is no number") from None


def _limit(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError("that is no number") from None


def _json(value: Any, status: int = 200) -> Response:
    # plain ASCII: EXIF may have what is no text
    return Response(json.dumps(value, ensure_ascii=True, allow_nan=False), status, media_type="application/json")


def _files(review: Review, sidecars: Sidecars) -> dict[str, tuple[str, str]]:
    """Type and text of what the page is made of; it is that of `report` with what is decided on it."""
    from cgiaa_cli.commands.critique import TITLES

    ours, theirs = (resources.files(f"cgiaa_cli.{name}") for name in ("review", "report"))
    head, tail = template("review", title=html.escape(review.title))
    failed = {path.removeprefix(review.gallery.root): error for path, error in review.failed.items()}
    about = {"count": len(review.gallery), "write": sidecars.write, "attributes": TITLES, "failed": failed}
    style = [theirs / "page.css", ours / "review.css"]
    scripts = [*(theirs / name for name in SHARED), *(ours / name for name in SCRIPTS)]
    return {
        "": ("text/html", head + embed(about) + tail),
        "icon.svg": ("image/svg+xml", (ours / "icon.svg").read_text("utf-8")),
        "page.css": ("text/css", "".join(part.read_text("utf-8") for part in style)),
        "page.js": ("text/javascript", program(part.read_text("utf-8") for part in scripts)),
    }


def _file(kind: str, text: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return Response(text, media_type=kind)

    return endpoint


def _read(act: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return _json(await run_in_threadpool(act, request))

    return endpoint


def _written(act: Callable[[Any], Any]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if int(request.headers.get("content-length") or BODY + 1) > BODY:
            raise HTTPException(413)
        try:
            body = json.loads(await request.body())
        except ValueError:
            raise UsageError("that is no JSON") from None
        try:
            return _json(await run_in_threadpool(act, body))
        except (AttributeError, KeyError, TypeError) as error:
            raise UsageError("that is not what is asked for") from error

    return endpoint


async def _said(request: Request, error: Exception) -> Response:
    """One of our errors, as a line that the page shows."""
    status = {PhotoError: 404, UsageError: 400}.get(type(error), 503)
    return _json({"error": printable(str(error))}, status)


async def _broken(request: Request, error: Exception) -> Response:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"cgiaa: internal error: {printable(what)}", file=sys.stderr)
    return _json({"error": f"internal error: {printable(what)}"}, 500)
