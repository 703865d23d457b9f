"""Files that are whole or not there, and photos that cannot be read for other reasons than the photo."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path

import pytest
from cgiaa_training import data
from cgiaa_training.data import read_photo
from cgiaa_training.files import appearing, reserve

from cgiaa_cli.errors import CgiaaError


def test_machines_and_processes_that_share_a_folder_write_to_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)
    names = set()
    for host, rank in (("one", "0"), ("two", "0"), ("two", "1"), ("a/b", "0")):
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        monkeypatch.setenv("RANK", rank)
        with appearing(tmp_path / "a.json") as partial:
            partial.write_text(host)
            assert partial.parent == tmp_path and partial.suffix == ".json"
        names.add(partial)
    assert len(names) == 4 and not list(tmp_path.glob(".*partial*")) and (tmp_path / "a.json").exists()


def test_room_that_a_limit_denies_is_not_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with (
        (tmp_path / "a").open("wb") as file,
        pytest.raises(CgiaaError, match=r"it needs 0.0 MB \(too large for the file system or a limit"),
    ):
        reserve(file, tmp_path, 9, "it")


def test_full_memory_and_a_missing_package_are_not_the_photos_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(CgiaaError, match=r"^s3://b/a\.jpg: cannot be reached \(.*s3fs.*\); pip install that package"):
        read_photo("s3://b/a.jpg")

    def full(_: str) -> bytes:
        raise MemoryError

    monkeypatch.setattr(data, "read_image", full)
    with pytest.raises(MemoryError):
        read_photo(tmp_path / "a.jpg")
