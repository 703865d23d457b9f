"""`cgiaa review` as a process: from the address it prints to Ctrl-C, and what it refuses."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from conftest import RunCli, picture
from reviewing import save
from test_review import library

from cgiaa_cli.errors import CgiaaError, ExtraMissingError, UsageError
from cgiaa_cli.review import server

__all__ = ["library"]


class Command:
    """`cgiaa review` as a process of its own."""

    def __init__(self, library: Path, tmp_path: Path, *args: str) -> None:
        env = os.environ | {"CGIAA_DB": str(tmp_path / "own.sqlite"), "CGIAA_CONFIG": str(tmp_path / "none.toml")}
        (tmp_path / "none.toml").touch()
        env |= {"CGIAA_MODEL": str(library / "tiny")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cgiaa_cli", "review", *args],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def page(self) -> Any:
        """The data that stands in the page, with its title."""
        text = self.read("").decode()
        found = re.search(r"<h1>(.*?)</h1>.*<script type=.application/json. id=.data.>(.*?)</script>", text, re.DOTALL)
        assert found
        return {"title": found[1]} | json.loads(found[2])

    def ask(self, path: str, body: Any = None) -> Any:
        return json.loads(self.read(path, body))

    def read(self, path: str, body: Any = None) -> bytes:
        parts = urllib.parse.urlsplit(self.address)
        connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=30)
        origin = {"Origin": f"http://{parts.netloc}"}
        data = None if body is None else json.dumps(body)
        with contextlib.closing(connection):
            connection.request("GET" if data is None else "POST", f"{parts.path}{path}", data, origin)
            return connection.getresponse().read()

    def end(self) -> tuple[int, str, str]:
        """Ctrl-C; the exit code and what was printed."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


def test_the_command_from_start_to_end(library: Path, tmp_path: Path) -> None:
    first = Command(library, tmp_path, str(library / "photos"), "--by", "technical")
    assert first.address.startswith("http://127.0.0.1:") and len(first.address.split("/")[3]) >= 43
    page = first.page()
    assert (page["title"], page["count"], page["write"]) == ("photos", 14, False) and len(page["attributes"]) == 4
    first.ask("decide", {"verdicts": {"0": "pick", "1": "reject", "2": "reject"}})
    pair = first.ask("pair")["pair"]
    first.ask("choose", {"left": pair[0]["number"], "right": pair[1]["number"], "answer": "right"})
    assert first.end() == (0, "1 pick, 2 rejects, 1 choice\n", "")
    # the next one goes on where that one was left, whatever its order
    second = Command(library, tmp_path, str(library / "photos"), "--no-scan", "--where", 'camera = "Testcam"')
    state = second.ask("state")
    assert second.address != first.address and second.page()["count"] == 3
    assert state["choices"] == 1 and state["steps"] == 0
    second.process.send_signal(signal.SIGTERM)
    second.process.communicate(timeout=30)


def test_it_is_closed_midway(library: Path, tmp_path: Path) -> None:
    first = Command(library, tmp_path, str(library / "photos"))
    first.ask("decide", {"verdicts": {"5": "pick"}})
    first.process.kill()
    first.process.communicate(timeout=30)
    second = Command(library, tmp_path, str(library / "photos"), "--no-scan")
    assert second.ask("state")["picks"] == [5]
    assert second.end()[0] == 0


def test_a_port_that_is_taken(library: Path, run_cli: RunCli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_cli("review", library / "photos", "--port", str(port))
    assert done.returncode == 2 and done.stdout == ""
    said = f"cgiaa: --port {port}: another program listens there; name another one, or leave it out for a free one\n"
    assert done.stderr == said


def test_ports_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> None:
        def bind(self: socket.socket, address: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(server.socket.socket, "bind", bind)

    refuse(server.errno.EACCES)
    with pytest.raises(UsageError, match="--port 80: this port is for the system"):
        server.bind(80)
    refuse(server.errno.EADDRNOTAVAIL)
    with pytest.raises(CgiaaError, match=r"no port of 127\.0\.0\.1 can be opened"):
        server.bind(0)


def test_no_photos_and_one(library: Path, tmp_path: Path, run_cli: RunCli) -> None:
    (tmp_path / "empty").mkdir()
    done = run_cli("review", tmp_path / "empty")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cgiaa: nothing matched; there is nothing to review\n"
    done = run_cli("review", tmp_path / "empty", "--no-scan", "--db", tmp_path / "none.sqlite")
    assert done.returncode == 1 and "there is no cache yet; leave out --no-scan" in done.stderr
    done = run_cli("review", tmp_path / "empty", "--no-scan", "--db", library / "cache.sqlite")
    assert done.returncode == 1 and "nothing to review; leave out --no-scan to score new photos" in done.stderr
    save(picture(1, 0.5), tmp_path / "one" / "a.jpg")
    (tmp_path / "one" / "b.jpg").write_bytes(b"\xff\xd8\xff no photo")
    one = Command(library, tmp_path, str(tmp_path / "one"))
    assert list(one.page()["failed"]) == ["b.jpg"]
    assert one.page()["count"] == 1 and one.ask("pair")["pair"] is None
    assert one.ask("list")["numbers"] == [0] and one.ask("groups") is not None
    code, out, err = one.end()
    assert code == 3 and out == "0 picks, 0 rejects, 0 choices\n" and "b.jpg: " in err
    again = Command(library, tmp_path, str(tmp_path / "one"), "--no-scan")  # the cache knows of it
    assert list(again.page()["failed"]) == ["b.jpg"] and again.end()[0] == 3


def test_wrong_options(run_cli: RunCli, photos: Path) -> None:
    for args, said in (
        (("--device", "tpu"), "device 'tpu' is not known"),
        (("--taste", "mine", "--by", "general"), "--taste does not go with --by or --weight"),
        (("--taste", "mine"), "there is no taste 'mine'"),
        (("--port", "70000"), "less than or equal to 65535"),
    ):
        done = run_cli("review", photos, *args)
        assert done.returncode == 2 and said in done.stderr, done.stderr


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ExtraMissingError) as told:
        server.require()
    assert str(told.value) == (
        "the page of review needs the extra 'review'; install it with: pip install 'cgiaa[review]'"
    )
    assert told.value.exit_code == 2


def test_opening_it_in_the_browser(library: Path, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    script.chmod(0o755)
    os.environ["BROWSER"] = f"{script} %s"
    try:
        one = Command(library, tmp_path, str(library / "photos"), "--open")
        end = time.monotonic() + 20
        while not (opened.exists() and opened.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        assert one.ask("state")["steps"] == 0 and opened.read_text().strip() == one.address
        assert one.end()[0] == 0
    finally:
        del os.environ["BROWSER"]
