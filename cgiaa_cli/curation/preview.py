"""Thumbnails in a terminal: by the kitty or iTerm2 protocol, else in coloured half blocks."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import IO

from cgiaa_cli.errors import CgiaaError

__all__ = ["Protocol", "protocol_of", "thumbnail"]

COLUMNS, LINES = 40, 12  # of character cells, about twice as high as wide
CELL = 20  # pixels of a cell's height, where real pixels are sent
KITTY_CHUNK = 4096


class Protocol(StrEnum):
    """How a terminal shows pictures."""

    kitty = "kitty"
    iterm = "iterm"
    blocks = "blocks"


def protocol_of(stream: IO[str], env: Mapping[str, str] = os.environ) -> Protocol | None:
    """What the terminal behind `stream` can show; None where there is no terminal, or no colour is wanted."""
    term, program = env.get("TERM", ""), env.get("TERM_PROGRAM", "")
    if not stream.isatty() or term in ("", "dumb") or env.get("NO_COLOR"):
        return None
    if env.get("TMUX") or term.startswith(("screen", "tmux")):
        return Protocol.blocks  # it would not pass pictures on, and these variables are the outer terminal's
    if env.get("KITTY_WINDOW_ID") or term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return Protocol.kitty
    if program in ("iTerm.app", "WezTerm"):
        return Protocol.iterm
    return Protocol.blocks


def thumbnail(path: Path, protocol: Protocol) -> str:
    """The text that shows a photo's thumbnail; of a photo that cannot be shown, the reason."""
    from PIL import Image

    from cgiaa_cli.imaging.decode import decode

    try:
        if path.exists() and not path.is_file():  # reading a FIFO would wait for ever
            return "  (no preview: not a regular file)\n"
        photo = decode(path.read_bytes(), suffix=path.suffix)
    except OSError as error:
        return f"  (no preview: {error.strerror})\n"
    except CgiaaError as error:
        return f"  (no preview: {error.cause})\n"
    image = Image.fromarray(photo.view)
    if protocol is Protocol.blocks:
        image.thumbnail((COLUMNS, 2 * LINES))
        return "".join(_blocks(image))
    image.thumbnail((COLUMNS * CELL // 2, LINES * CELL))
    data = io.BytesIO()
    image.save(data, "PNG")
    text = base64.b64encode(data.getvalue()).decode()
    if protocol is Protocol.iterm:
        return f"\x1b]1337;File=inline=1;size={len(data.getvalue())}:{text}\a\n"
    return "".join(_kitty(text)) + "\n"


def _kitty(text: str) -> Iterator[str]:
    for start in range(0, len(text), KITTY_CHUNK):
        more = int(start + KITTY_CHUNK < len(text))
        # q=2: the terminal must not answer, nobody would read it
        control = f"a=T,f=100,q=2,m={more}" if start == 0 else f"m={more}"
        yield f"\x1b_G{control};{text[start : start + KITTY_CHUNK]}\x1b\\"


def _blocks(image: object) -> Iterator[str]:
    """Two pixels to a cell: the upper half block in the upper pixel's colour on the lower one's."""
    import numpy as np

    pixels = np.asarray(image)
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, pixels[-1:]])
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀" for a, b in zip(upper, lower, strict=True)
        )
        yield "  " + "".join(cells) + "\x1b[0m\n"
