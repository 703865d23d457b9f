"""The server: a socket of this machine alone, and uvicorn on it until somebody presses Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING

from cgiaa_cli.errors import CgiaaError, ExtraMissingError, UsageError

if TYPE_CHECKING:
    from uvicorn import Server

    from cgiaa_cli.review.app import Guard

__all__ = ["HOST", "bind", "make_server", "require", "serve"]

HOST = "127.0.0.1"
WAIT = 2  # seconds that answers under way may take once it ends


def require() -> None:
    """Raise an ExtraMissingError where Starlette or uvicorn is not installed."""
    try:
        import starlette
        import uvicorn
    except ImportError:
        raise ExtraMissingError("review", "the page of review") from None
    del starlette, uvicorn


def bind(port: int) -> socket.socket:
    """A socket at this port of this machine, 0: any that is free.

    Raises:
        UsageError: the port is taken, or may not be used.
        CgiaaError: there is none to be had.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # else a port is not free for a minute after the last review; Windows takes it for leave to share one
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((HOST, port))
        found.listen()
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            what = "another program listens there"
        elif error.errno == errno.EACCES:
            what = "this port is for the system"
        else:
            raise CgiaaError(
                f"no port of {HOST} can be opened: {error.strerror}", mend="look at the network"
            ) from error
        raise UsageError(f"--port {port}: {what}", mend="name another one, or leave it out for a free one") from error
    return found


def make_server(app: Guard) -> Server:
    """A server that logs nothing: what it would log has the token in it."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=WAIT,
        )
    )


def serve(app: Guard, listening: socket.socket) -> None:
    """Answer until Ctrl-C, which is how it ends; a second one does not wait for answers under way."""
    with contextlib.suppress(KeyboardInterrupt):
        make_server(app).run([listening])
