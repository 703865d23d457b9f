"""Photos that training does without, as ROOT/left-out.txt names them: one a line, escaped, below ROOT where it can be.

Large sets are known to lack some photos, and to have some that are damaged. The same photo may be spelled in many
ways (`data/a.jpg`, `./data/a.jpg`): places are compared normalised.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cgiaa_training.files import appearing
from cgiaa_training.readers import exists, join, read_image

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["LEFT_OUT", "below", "leave_out", "left_out", "place_of"]

LEFT_OUT = "left-out.txt"


def leave_out(photos: Iterable[str], root: Path) -> Path:
    """Name photos (escaped places) beside those that are named already; returns the file."""
    path, here = root / LEFT_OUT, escape(os.getcwd())
    named = left_out(str(root)) | {_placed(photo, here) for photo in photos}
    with appearing(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in sorted(_cut(photo, str(root)) for photo in named)), "utf-8")
    return path


def left_out(root: str) -> set[str]:
    """These photos, as `place_of` has them.

    Raises:
        CgiaaError: the file cannot be read, or is no text.
    """
    place = join(root, LEFT_OUT)
    if not exists(place):
        return set()
    try:
        lines = read_image(place).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CgiaaError("not text in UTF-8", path=escape(place), mend="save the file as UTF-8") from error
    except OSError as error:
        cause = f"cannot be read ({error.strerror or error})"
        raise CgiaaError(cause, path=escape(place), mend="make it a file that you may read, or delete it") from error
    base = place_of(root)
    return {_placed(line, base) for line in lines if line.strip()}


def place_of(photo: str) -> str:
    """A photo's place (as `manifest.Sample.image` has it), escaped and normalised: one for all its spellings."""
    return _placed(escape(photo), escape(os.getcwd()))


def below(photo: str, root: Path | str) -> str:
    """The same without the root where the photo lies below it: as it was when the whole folder is moved."""
    return _cut(place_of(photo), str(root))


def _placed(photo: str, base: str) -> str:
    """Of an escaped place below `base`; of a shard's member the shard is below it."""
    member, mark, file = photo.partition("::") if photo.startswith("tar://") else ("", "", photo)
    file = join(base, file.rstrip())
    # a name with a line break must stay in its line
    return f"{member}{mark}{file if '://' in file else os.path.abspath(file)}".replace("\n", "\\x0a")


def _cut(placed: str, root: str) -> str:
    member, mark, file = placed.partition("::") if placed.startswith("tar://") else ("", "", placed)
    return f"{member}{mark}{file.removeprefix(os.path.join(place_of(root), ''))}"
