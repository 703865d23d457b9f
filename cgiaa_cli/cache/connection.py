"""Connections to the cache's file: to write, and to read where nothing may be written."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from cgiaa_cli.cache.schema import MIGRATIONS, check, version_of
from cgiaa_cli.errors import CacheError

__all__ = ["BUSY_SECONDS", "connect", "connect_to_read", "is_writable", "open_to_read", "use_wal"]

BUSY_SECONDS = 30.0


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes, made where there is no file yet."""
    conn = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    # NORMAL in WAL mode cannot corrupt; a power cut may cost the last transactions, which are scored again
    conn.execute("PRAGMA synchronous = NORMAL")
    conn.execute("PRAGMA foreign_keys = ON")
    return conn


def is_writable(path: Path) -> bool:
    """Whether a cache that is there can be written: SQLite needs its folder, too."""
    return os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)


def connect_to_read(path: Path, timeout: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection that makes, migrates and repairs nothing, also where nothing may be written.

    To read a cache in WAL mode SQLite wants to make files beside it, and leaves them there if it may not write
    the cache. Where no such file of a writer is there, it is told that nobody writes (`immutable`).
    """
    log = path.with_name(path.name + "-wal")
    alone = not is_writable(path) and not (log.exists() and log.stat().st_size)
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    return sqlite3.connect(address, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def open_to_read(path: Path, name: str) -> sqlite3.Connection:
    """`connect_to_read` to a cache that is as it should be.

    Raises:
        CacheError: another program made it, or a newer or an older one of ours.
    """
    conn = connect_to_read(path)
    try:
        check(conn, name)
        if (version := version_of(conn)) < len(MIGRATIONS):
            raise CacheError(
                f"its schema has version {version} and is to be brought up to date, but it or its folder is read-only",
                path=name,
                mend="make both writable, or name a copy with --db",
            )
    except BaseException:
        conn.close()
        raise
    return conn


def use_wal(conn: sqlite3.Connection) -> None:
    """WAL: readers and the one writer do not wait for each other.

    SQLite does not wait for a lock when it changes the mode, so two processes that open a new cache at once
    must try again by hand. Where the file system cannot do WAL, the mode stays what it is.
    """
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
