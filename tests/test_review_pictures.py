"""What `cgiaa review` shows of the files themselves: pictures of every size, originals, evidence drawn on them."""

from __future__ import annotations

import io
import os
import shutil
import urllib.parse
from pathlib import Path

import pytest
from conftest import picture
from PIL import Image
from reviewing import EVIL, Client, served
from test_review import library, page, running

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.errors import PhotoError
from cgiaa_cli.review import pictures as pictures_module
from cgiaa_cli.review.pictures import Pictures

__all__ = ["library", "page", "running"]


def test_pictures_upright_at_three_sizes(page: Client) -> None:
    def size(path: str) -> tuple[int, int]:
        status, data, headers = page.ask(path)
        assert status == 200 and headers["content-type"] == "image/jpeg"
        return Image.open(io.BytesIO(data)).size

    turned = page.number("turned.jpg")
    assert size(f"thumb/{turned}.jpg") == (200, 300) == size(f"view/{turned}.jpg")
    path = page.review.gallery.paths[turned][0]
    assert page.ask(f"full/{turned}.jpg")[1] == Path(path).read_bytes()  # a browser turns it itself
    assert size(f"full/{page.number('small.png')}.jpg") == (120, 90)


def test_a_large_photo_in_other_formats_at_full_size(tmp_path: Path) -> None:
    pictures = Pictures(1)
    picture(1, 0.4, (1800, 1200)).save(tmp_path / "a.tiff")
    sides = {}
    for kind in pictures_module.SIZES:
        sides[kind] = max(Image.open(io.BytesIO(pictures.get(str(tmp_path / "a.tiff"), kind))).size)
    assert sides == {"thumb": 320, "view": 1600, "full": 1800}
    pytest.importorskip("pillow_heif")
    import pillow_heif

    pillow_heif.register_heif_opener()
    picture(1, 0.4, (900, 600)).save(tmp_path / "a.heic")
    assert Image.open(io.BytesIO(pictures.get(str(tmp_path / "a.heic"), "full"))).size == (900, 600)
    pictures.close()


def test_pictures_are_kept_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(pictures_module, "_make", lambda path, kind: made.append(path) or bytes(100))
    pictures = Pictures(1, room=450)
    for path in ("a", "b", "a", "c", "d", "a", "e", "b", "a"):
        assert len(pictures.get(path, "thumb")) == 100
    assert made == ["a", "b", "c", "d", "e", "b"]  # b was asked for longest ago when e came
    small = Pictures(1, room=300)
    assert small.get("x", "thumb") and small.get("x", "thumb") and made[-2:] == ["x", "x"]  # too large to be kept


def test_a_photo_that_is_gone(library: Path, tmp_path: Path) -> None:
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path / "page.sqlite"))
    shutil.copytree(library / "photos", tmp_path / "photos")
    with Cache.open(db) as cache, cache.transaction() as conn:
        conn.execute("UPDATE files SET path = replace(path, ?, ?)", (f"{library}/photos/", f"{tmp_path}/photos/"))
    with served(tmp_path / "photos", db, library / "tiny", write=True) as page:
        gone, damaged = page.number("single02.jpg"), page.number("single03.jpg")
        (tmp_path / "photos" / "single02.jpg").unlink()
        (tmp_path / "photos" / "single03.jpg").write_bytes(b"no photo")
        for number in (gone, damaged):
            for kind in ("thumb", "view", "evidence"):
                status, said = page.error(f"{kind}/{number}.jpg")
                assert status == 404 and said
        assert page.error(f"critique/{gone}")[0] == 404
        # what was decided on it is kept, and its sidecar is not written
        page.json("decide", {"verdicts": {gone: "pick"}})
        found = page.json("sidecars", {})
        assert found["counts"] == {"failed": 1} and "no such file" in found["files"][0]["error"]


def test_the_original_is_shown_or_a_download(library: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(library / "photos", folder)
    db = Path(shutil.copy(library / "cache.sqlite", tmp_path / "page.sqlite"))
    with Cache.open(db) as cache, cache.transaction() as conn:
        conn.execute("UPDATE files SET path = replace(path, ?, ?)", (f"{library}/photos/", f"{folder}/"))
    picture(1, 0.4).save(folder / "single02.jpg", "TIFF")
    (folder / "single03.jpg").write_bytes(b"<html><script>alert(3)</script>")
    (folder / "single04.jpg").unlink()
    if hasattr(os, "mkfifo"):
        (folder / "single05.jpg").unlink()
        os.mkfifo(folder / "single05.jpg")  # would keep a reader waiting for ever
    with served(folder, db, library / "tiny", groups=False) as page:
        for name, kind, how in (
            ("turned.jpg", "image/jpeg", "inline"),
            ("small.png", "image/png", "inline"),
            (EVIL, "image/jpeg", "inline"),
            ("single02.jpg", "application/octet-stream", "attachment"),
            ("single03.jpg", "application/octet-stream", "attachment"),
        ):
            status, data, headers = page.ask(f"original/{page.number(name)}")
            path = folder / "<" / name if name == EVIL else folder / name
            assert status == 200 and data == path.read_bytes() and headers["content-type"] == kind
            assert headers["content-disposition"] == f"{how}; filename*=UTF-8''{urllib.parse.quote(name)}"
            assert (
                headers["x-content-type-options"] == "nosniff" and "default-src" in headers["content-security-policy"]
            )
        for name in ("single04.jpg", "single05.jpg"):
            status, said = page.error(f"original/{page.number(name)}")
            assert status == 404 and name in said


def test_too_large_for_a_jpeg() -> None:
    with pytest.raises(PhotoError, match="too large to be shown"):
        pictures_module.jpeg(Image.new("L", (65_600, 1)), 80)


def test_a_critique_with_evidence(page: Client) -> None:
    number = page.number("single05.jpg")
    found = page.json(f"critique/{number}")
    assert set(found) == {"kinds", "notice", "attributes"}
    assert found["attributes"]["composition"]["text"]
    assert Image.open(io.BytesIO(page.ask(f"evidence/{number}.jpg")[1])).width > 200
    path = page.review.gallery.paths[number][0]
    os.rename(path, f"{path}.away")
    try:
        assert page.json(f"critique/{number}") == found  # kept in the cache
        assert page.error(f"evidence/{number}.jpg")[0] == 404
    finally:
        os.rename(f"{path}.away", path)
