"""The reading side of a scan: one answer for every file, one inference for equal bytes, bounded memory."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cgiaa_cli import readers as module
from cgiaa_cli.cache.store import Cache, FileEntry
from cgiaa_cli.errors import CacheError, PhotoError
from cgiaa_cli.imaging.preprocess import SIZE
from cgiaa_cli.library.walk import Found
from cgiaa_cli.readers import Claims, Crash, Done, Prepared, Readers, _decoded_bytes, _Gate


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[Claims]:
    with (
        Cache.open(tmp_path / "cache.sqlite") as cache,
        closing(Claims(cache, cache.scorer_id("tiny", "1", "abc"))) as opened,
    ):
        yield opened


@pytest.fixture
def readers(claims: Claims) -> Iterator[Readers]:
    made = Readers(2, claims, None)
    yield made
    made.stop()


def submit(readers: Readers, path: Path) -> None:
    size = path.stat().st_size if path.exists() else 10
    readers.submit(Found(path, size, 1), FileEntry(str(path), size, 1))


def failure(readers: Readers, path: Path) -> FileEntry:
    submit(readers, path)
    answer = readers.done.get(timeout=20)
    assert isinstance(answer, Done) and answer.content is None
    return answer.entry


def test_a_photo_becomes_inputs_with_its_hash_and_exif(readers: Readers, photos: Path) -> None:
    submit(readers, photos / "bright.jpg")
    item = readers.prepared.get(timeout=20)
    assert isinstance(item, Prepared)
    assert item.content.hash == item.entry.hash and len(item.content.hash) == 32
    assert (item.content.camera, item.content.taken_at) == ("Testcam 1", "2024-05-06T07:08:09")
    assert (item.content.width, item.content.height, item.content.format) == (320, 240, "jpeg")
    assert item.content.bytes == (photos / "bright.jpg").stat().st_size
    assert item.inputs.photo.shape == (SIZE, SIZE, 3)


def test_what_is_wrong_with_a_file_is_in_its_answer(readers: Readers, photos: Path) -> None:
    cut = photos / "cut.jpg"
    cut.write_bytes((photos / "bright.jpg").read_bytes()[:9000])
    assert failure(readers, cut).error_kind == "truncated"
    empty = photos / "empty.jpg"
    empty.touch()
    assert failure(readers, empty).error_kind == "empty"
    text = photos / "text.jpg"
    text.write_text("hello")
    assert failure(readers, text).error_kind in ("corrupt", "unsupported")
    lost = failure(readers, photos / "lost.jpg")
    assert lost.error_kind == "unreadable"
    assert lost.error == "No such file or directory; make it readable"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (MemoryError(), "bomb", "not enough memory to decode it; free some memory or use fewer --jobs"),
        (ValueError("x\ny"), "unsupported", "cannot be scored (ValueError: x y); please report it"),
        (PhotoError("corrupt", "torn"), "corrupt", "torn"),
        (PhotoError("extra", "needs it", mend="install it"), "extra", "needs it; install it"),
    ],
)
def test_a_photo_that_breaks_the_decoder_costs_only_itself(
    readers: Readers, photos: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, text: str
) -> None:
    def decode(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("cgiaa_cli.imaging.decode.decode", decode)
    entry = failure(readers, photos / "bright.jpg")
    assert entry.error_kind == kind
    assert entry.error is not None and entry.error.startswith(text)
    monkeypatch.undo()
    submit(readers, photos / "dark.jpg")
    assert isinstance(readers.prepared.get(timeout=20), Prepared)


def test_a_failure_of_the_cache_ends_the_scan(readers: Readers, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def claim(_: object) -> str:
        raise CacheError("it is damaged")

    monkeypatch.setattr(readers._claims, "claim", claim)
    submit(readers, photos / "bright.jpg")
    answer = readers.done.get(timeout=20)
    assert isinstance(answer, Crash) and isinstance(answer.error, CacheError)


def test_the_limit_of_pixels_reaches_the_decoder(claims: Claims, photos: Path) -> None:
    small = Readers(1, claims, 5000)
    try:
        entry = failure(small, photos / "bright.jpg")
        assert entry.error_kind == "bomb"
        assert "limit of 5000;" in str(entry.error)  # `pipeline` reads the limit in it
        submit(small, photos / "small.png")
        assert isinstance(small.prepared.get(timeout=20), Prepared)
    finally:
        small.stop()


def test_what_cannot_be_a_photo_is_not_read(claims: Claims, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgiaa_cli.imaging.decode.DEFAULT_MAX_PIXELS", 5000)
    padded = photos / "padded.jpg"
    padded.write_bytes((photos / "small.png").read_bytes()[:64] + bytes(40_000))
    noise = photos / "noise.jpg"
    noise.write_bytes(bytes(40_000))
    small = Readers(1, claims, 5000)
    try:
        for path, kind in ((padded, "bomb"), (noise, "corrupt")):
            entry = failure(small, path)
            assert entry.error_kind == kind and entry.hash is None  # so its bytes were not read
            assert kind != "bomb" or "limit of 5000;" in str(entry.error)
    finally:
        small.stop()


def test_a_fifo_in_the_place_of_a_photo_does_not_hang(readers: Readers, photos: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    entry = failure(readers, photos / "pipe.jpg")
    assert (entry.error_kind, entry.error) == ("unreadable", "not a regular file; make it readable")


def test_equal_bytes_wait_for_the_first_of_them(readers: Readers, photos: Path) -> None:
    copy = photos / "copy.jpg"
    copy.write_bytes((photos / "bright.jpg").read_bytes())
    submit(readers, photos / "bright.jpg")
    first = readers.prepared.get(timeout=20)
    assert isinstance(first, Prepared) and first.entry.hash
    submit(readers, copy)
    assert readers.done.get(timeout=20) is None
    waiting = readers._claims.release(first.entry.hash)
    assert [entry.path for entry in waiting] == [str(copy)]
    assert readers._claims.release(first.entry.hash) == []


def test_stopping_forgets_what_was_not_begun(claims: Claims, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    read = Readers._read

    def slow(self: Readers, path: Path, entry: FileEntry) -> object:
        begun.set()
        go.wait(20)
        return read(self, path, entry)

    monkeypatch.setattr(Readers, "_read", slow)
    one = Readers(1, claims, None)
    for name in ("bright.jpg", "dark.jpg", "middle.jpg"):
        submit(one, photos / name)
    begun.wait(20)
    threading.Timer(0.05, go.set).start()
    one.stop()
    assert one.prepared.get_nowait() is not None  # the one at hand was finished
    with pytest.raises(queue.Empty):
        one.prepared.get_nowait()
    one._work(photos / "dark.jpg", FileEntry("x", 1, 1))  # a late one does nothing
    with pytest.raises(queue.Empty):
        one.prepared.get_nowait()


def test_the_gate_holds_back_what_does_not_fit() -> None:
    gate = _Gate(100)
    first = gate.take(60)
    entered = threading.Event()

    def second() -> None:
        taken = gate.take(60)
        entered.set()
        gate.give(taken)

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(0.1)
    assert gate.take(40) == 40
    gate.give(40)
    gate.give(first)
    thread.join(20)
    assert entered.is_set()
    assert gate.take(5000) == 100  # larger than all: alone


def test_the_memory_of_a_photo_is_told_from_its_header(photos: Path) -> None:
    for name, per_pixel in (("bright.jpg", module.JPEG_BYTES), ("upright.png", module.OTHER_BYTES)):
        with (photos / name).open("rb") as file:
            assert _decoded_bytes(file, 1000) == 1000 + 320 * 240 * per_pixel
    with (photos / "text.raf").open("w+b") as file:
        file.write(b"unknown")
        assert _decoded_bytes(file, 30 << 20) == (30 << 20) + module.UNKNOWN_PIXELS * module.OTHER_BYTES
