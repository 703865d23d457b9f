"""The reference of every command is what the code gives."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cgiaa_cli import cli

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_commands", DOCS / "commands.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_code_gives(reference: ModuleType) -> None:
    for name, write in reference.FILES.items():
        assert (DOCS / name).read_text("utf-8") == write(), f"docs/{name} is old; run: python docs/commands.py"


def test_every_command_and_sub_command_is_there(reference: ModuleType) -> None:
    pages = {page.name: page for page in reference.pages()}
    assert {f"cgiaa {name}" for name in cli.COMMANDS} < pages.keys()
    assert {"cgiaa", "cgiaa cache info", "cgiaa config set", "cgiaa models use", "cgiaa train all"} < pages.keys()
    assert pages["cgiaa rank"].usage == "cgiaa rank [OPTIONS] PATH..."
    assert ("--top NUMBER", "How many photos. [default: 50; x>=1]") in pages["cgiaa rank"].panels["Order"]
    assert pages["cgiaa config get"].usage == "cgiaa config get KEY" and pages["cgiaa config"].group


def test_texts_cannot_become_markup(reference: ModuleType) -> None:
    assert reference._plain("a *b* `*c*` <d>") == "a \\*b\\* `*c*` \\<d>"
    assert reference._roff(".a\\b-c") == "\\&.a\\eb\\-c"


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_has_nothing_to_say_about_the_man_page() -> None:
    done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", DOCS / "cgiaa.1"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
