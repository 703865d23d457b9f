"""What the tests of `cgiaa review` share: photos with all that is awkward, and its page served in a thread."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from conftest import picture
from PIL import Image

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.critique.kept import key_of
from cgiaa_cli.critique.session import Session
from cgiaa_cli.curation.select import Selection, select
from cgiaa_cli.review import server
from cgiaa_cli.review.app import make_app
from cgiaa_cli.review.gallery import Gallery
from cgiaa_cli.review.grouping import Grouping
from cgiaa_cli.review.pictures import Pictures
from cgiaa_cli.review.sidecars import Sidecars
from cgiaa_cli.review.state import Review

EVIL = "<img src=x onerror=alert(1)>.jpg"
TOKEN = "the-token"


def save(image: Image.Image, path: Path, taken: str = "", camera: str = "Testcam", lens: str = "") -> None:
    exif = Image.Exif()
    if taken:
        exif[0x0110] = camera
        exif.get_ifd(0x8769)[0x9003] = taken
    if lens:
        exif.get_ifd(0x8769)[0xA434] = lens
        exif.get_ifd(0x8769)[0x920A] = {"Zoom": 28.0, "Tele": 200.0}[lens]
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=92, exif=exif)


def make_photos(folder: Path, singles: int = 8) -> None:
    """Photos that are alone, one of them turned by EXIF and one with a name to fear; two copies; a burst of three."""
    for i in range(singles):
        single = picture(40 + i, 0.1 + 0.6 * i / singles).rotate(90 * i, expand=True)
        taken = f"2024:0{1 + i % 9}:01 10:00:00"
        save(single, folder / f"single{i:02}.jpg", taken, ("Alpha", "Beta")[i % 2], ("Zoom", "Tele")[i // 4 % 2])
    save(picture(77, 0.5).rotate(45), folder / "<" / EVIL, "2024:03:03 12:00:00", "<script>alert(2)</script>")
    shutil.copy(folder / "single01.jpg", folder / "single01 copy.jpg")
    wide = picture(2, 0.6, (340, 250))
    for i in range(3):
        frame = wide.crop((5 * i, 3 * i, 320 + 5 * i, 240 + 3 * i))
        save(frame, folder / "trip" / f"IMG_000{i}.jpg", f"2024:05:06 10:00:0{i}")
    exif = Image.Exif()
    exif[274] = 6  # upright once it is turned to the right
    picture(5, 0.4, (300, 200)).save(folder / "turned.jpg", exif=exif)
    picture(6, 0.3, (120, 90)).save(folder / "small.png")


def scan(folder: Path, db: Path, model: Path) -> None:
    """Score them, as a process of its own, so that nothing of it stays here."""
    env = os.environ | {"CGIAA_CONFIG": str(db.with_suffix(".toml"))}
    db.with_suffix(".toml").touch()
    command = [sys.executable, "-m", "cgiaa_cli", "scan", str(folder), "--db", str(db), "--model", str(model)]
    subprocess.run(command, env=env, check=True, capture_output=True)


class Client:
    """The page's side of a conversation."""

    def __init__(self, port: int, review: Review) -> None:
        self.port = port
        self.review = review
        self.address = f"http://127.0.0.1:{port}/{TOKEN}/"

    def ask(
        self, path: str, body: Any = None, *, token: str = TOKEN, method: str | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of an answer; a POST where there is a body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {"Host": f"127.0.0.1:{self.port}"}
        if body is not None:
            given |= {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method or ("GET" if body is None else "POST"), f"/{token}/{path}", data, given)
        answer = connection.getresponse()
        found = answer.status, answer.read(), {key.lower(): value for key, value in answer.getheaders()}
        connection.close()
        return found

    def json(self, path: str, body: Any = None) -> Any:
        status, data, _ = self.ask(path, body)
        assert status == 200, data
        return json.loads(data)

    def error(self, path: str, body: Any = None) -> tuple[int, str]:
        status, data, _ = self.ask(path, body)
        return status, json.loads(data)["error"]

    def number(self, name: str) -> int:
        """That of a photo."""
        return next(i for i, paths in enumerate(self.review.gallery.paths) if any(p.endswith(name) for p in paths))


@contextlib.contextmanager
def served(
    folder: Path,
    db: Path,
    model: Path,
    *,
    write: bool = False,
    groups: bool = True,
    failed: Mapping[str, str] | None = None,
) -> Iterator[Client]:
    """The page of a folder that was scanned."""
    with Session(db=db, model=str(model)) as session, Cache.open(db) as cache, server.bind(0) as listening:
        hits = select(session.cache, session.scorer, Selection([folder]))
        gallery = Gallery.of(cache, session.scorer, key_of(session.settings), hits)
        grouping = Grouping(gallery, db, lambda path, error: None, look=True)
        review = Review(cache, gallery, grouping, session, "photos", failed or {}, random.Random(0))
        pictures = Pictures(2)
        port = listening.getsockname()[1]
        running = server.make_server(make_app(review, pictures, Sidecars(review, write=write), TOKEN, port))
        if groups:
            grouping.start()
            assert grouping.done.wait(60) and grouping.error is None
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        try:
            yield Client(port, review)
        finally:
            running.should_exit = True
            thread.join()
            pictures.close()
