"""Which of the files that changed lately are finished: those that nothing has happened to for a while.

A photo that is still being copied looks like a broken one. Whoever copies it does not tell when he is done, so a
file is taken as whole once its size and time have stayed the same for some seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

__all__ = ["Settling", "group_key"]

_Stamp = tuple[int, int]


class Settling:
    """Changed files, kept until they are finished.

    Args:
        seconds: how long nothing may happen to a file.
        clock: seconds, as `time.monotonic` gives them.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._files: dict[str, tuple[_Stamp | None, float]] = {}

    def touch(self, path: str) -> None:
        """Note that something happened to a file or folder just now."""
        self._files[path] = (_stamp(path), self._clock())

    def take(self) -> list[str]:
        """The finished ones, once each, sorted; those that are gone by now are forgotten.

        A RAW and its JPEG are one photo, so what shares a name but for the suffix is finished together.
        """
        now = self._clock()
        late = [path for path, (_, since) in self._files.items() if now - since >= self._seconds]
        for path in late:
            stamp = _stamp(path)
            if stamp is None:
                del self._files[path]
            elif stamp != self._files[path][0]:
                self._files[path] = (stamp, now)
        waiting = {group_key(path) for path, (_, since) in self._files.items() if now - since < self._seconds}
        ready = [path for path in late if path in self._files and group_key(path) not in waiting]
        for path in ready:
            del self._files[path]
        return sorted(ready)


def group_key(path: str) -> tuple[str, str]:
    """Folder and stem: the same for a RAW, its JPEG and its sidecar."""
    folder, name = os.path.split(path)
    return folder, os.path.splitext(name)[0].casefold()


def _stamp(path: str) -> _Stamp | None:
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return info.st_size, info.st_mtime_ns
