"""The pictures of docs/pictures that show a terminal: the commands of `SHOWN`, run on the example photos.

python docs/pictures.py          # with the environment of `make test`

They run in a scratch folder with a cache of its own, as a user would type them; what they print is drawn as it is.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from PIL import Image, ImageEnhance
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples" / "photos"
WIDTH = 110
SHOWN: dict[str, list[str]] = {
    "rank": ["cgiaa rank Photos --top 6", "cgiaa rank Photos --by composition --where 'technical >= 5' --top 3"],
    "critique": ["cgiaa critique Photos/coffee.jpg"],
    "compare": ["cgiaa compare Photos/cat.jpg Photos/coffee.jpg"],
    "groups": ["cgiaa groups Photos"],
    "search": ["cgiaa search 'a cup on a table' Photos --top 3", "cgiaa search --like Photos/moon.jpg Photos --top 2"],
    "taste": ["cgiaa taste learn mine --ratings stars.csv"],
    "annotate": ["cgiaa annotate Photos/coffee.jpg Photos/cat.jpg", "cgiaa annotate Photos/coffee.jpg --write"],
    "watch": ["(sleep 4; cp Photos/moon.jpg Photos/new.jpg) & timeout -s INT 12 cgiaa watch Photos"],
    "config": ["cgiaa config set jobs 2", "cgiaa config show"],
}

STARS = {
    "rocket-launch.jpg": 5, "deep-field.jpg": 5, "cat.jpg": 5, "moon.jpg": 4, "cameraman.jpg": 4, "astronaut.jpg": 4,
    "coffee.jpg": 3, "coffee-pale.jpg": 2, "coins.jpg": 2, "brick.jpg": 1, "grass.jpg": 1, "clock-shaken.jpg": 1,
}  # fmt: skip


def main() -> None:
    """Draw all of them."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        photos(root / "Photos")
        rows = [f"Photos/{name},{stars}" for name, stars in STARS.items()]
        (root / "stars.csv").write_text("\n".join(["path,rating", *rows]) + "\n")
        said("cgiaa scan Photos", root)
        for name, commands in SHOWN.items():
            draw(name, [(command, said(command, root)) for command in commands])
            print(name)


def photos(folder: Path) -> None:
    """The example photos, a burst of the cat, and two edits of the coffee."""
    folder.mkdir()
    for path in EXAMPLES.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    with Image.open(EXAMPLES / "cat.jpg") as cat, Image.open(EXAMPLES / "coffee.jpg") as coffee:
        for i in range(3):
            exif = Image.Exif()
            taken = datetime(2026, 5, 3, 10, 0) + timedelta(seconds=i)
            exif[0x0110] = "Example"
            exif.get_ifd(0x8769)[0x9003] = taken.strftime("%Y:%m:%d %H:%M:%S")
            frame = cat.crop((6 * i, 0, cat.width - 12 + 6 * i, cat.height))
            frame.save(folder / f"IMG_{101 + i}.jpg", quality=95 - 20 * i, exif=exif)
        coffee.resize((coffee.width // 2, coffee.height // 2)).save(folder / "coffee-small.jpg")
        ImageEnhance.Color(coffee).enhance(0.2).save(folder / "coffee-pale.jpg")


def said(command: str, root: Path) -> str:
    """What a command prints, errors too."""
    env = environment(root)
    done = subprocess.run(
        ["sh", "-c", command], cwd=root, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.stdout.replace(str(root), "~").rstrip()


def environment(root: Path) -> dict[str, str]:
    """That of a user whose home is the scratch folder."""
    quiet = {"HOME": str(root), "XDG_DATA_HOME": str(root), "XDG_CONFIG_HOME": str(root), "XDG_CACHE_HOME": str(root)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | quiet | {"COLUMNS": str(WIDTH), "PATH": path}


def draw(name: str, sessions: list[tuple[str, str]]) -> None:
    """One SVG of commands and answers, without the web font that rich would load."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for command, answer in sessions:
        console.print(Text(f"$ {command}", style="bold"))
        console.print(Text(answer))
    svg = console.export_svg(title=f"cgiaa {name}", unique_id=name)
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (HERE / "pictures" / f"{name}.svg").write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE))


if __name__ == "__main__":
    main()
