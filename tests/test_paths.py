"""Names as text and back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cgiaa_cli.paths import absolute, escape, open_regular, printable, unescape

NAMES = [
    b"plain.jpg",
    "Öl 🌅.jpg".encode(),
    b"caf\xe9.jpg",
    b"a\\x5c.jpg",
    b"a\\xzz.jpg",
    b"\\",
    b"a\nb",
    b"\xff\xfe\\x00",
]


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: bytes) -> None:
    text = escape(name)
    text.encode("utf-8")  # storable
    assert os.fsencode(unescape(text)) == name


def test_no_two_names_share_a_text() -> None:
    assert len({escape(name) for name in (b"\xe9", b"\\xe9", b"\\x5cxe9")}) == 3


def test_the_documented_forms() -> None:
    assert escape(b"caf\xe9.jpg") == "caf\\xe9.jpg"
    assert escape(b"a\\x41") == "a\\x5cx41"


def test_printable_and_absolute() -> None:
    assert printable("a\x1b[0m\nb") == "a\\x1b[0m\\nb"
    assert printable("a\u202eb\u2028") == "a\\u202eb\\u2028"
    assert printable("at 10.00\u202fAM\u3000\xa0") == "at 10.00\u202fAM\u3000\xa0"
    assert str(absolute("x/../y")) == os.path.join(os.getcwd(), "y")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_only_files_are_opened_and_a_fifo_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"abc"
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(other)
