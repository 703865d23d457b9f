"""Completion with Tab, as the shells ask for it, and in the shells that are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RunCli

SCRIPT = Path(sys.executable).with_name("cgiaa")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cgiaa ra", ["rank"]),
        ("cgiaa rank --div", ["--diverse", "--diversity"]),
        ("cgiaa rank --by c", ["color_light", "composition"]),
        ("cgiaa cache in", ["info"]),
        ("cgiaa config get d", ["db", "device"]),
        ("cgiaa rank ", []),  # the shell completes files
    ],
)
def test_bash_asks(run_cli: RunCli, line: str, expected: list[str]) -> None:
    asked = {"_CGIAA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = run_cli(env=asked)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, expected, "")


def shell(home: Path, *command: str) -> str:
    environment = os.environ | {"HOME": str(home), "PATH": f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"XDG_CONFIG_HOME": str(home / ".config"), "TERM": "dumb"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(home: Path, name: str) -> None:
    """Install as a user does: from a script, so that the shell is found as the parent of the program."""
    script = home / "install"
    script.write_text("cgiaa --install-completion\ntrue\n")
    assert f"{name} completion installed" in shell(home, name, str(script))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash(tmp_path: Path) -> None:
    install(tmp_path, "bash")
    ask = "COMP_WORDS=(cgiaa groups --k); COMP_CWORD=2; _cgiaa_completion cgiaa; echo ${COMPREPLY[@]}"
    assert shell(tmp_path, "bash", "--norc", "-c", f"source ~/.bashrc; {ask}") == "--kind --keep-all\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish(tmp_path: Path) -> None:
    install(tmp_path, "fish")
    assert shell(tmp_path, "fish", "-c", "complete -C 'cgiaa ra'").startswith("rank\tOrder photos")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh(tmp_path: Path) -> None:
    install(tmp_path, "zsh")
    # without a terminal there is no completion system: show what it would be given
    ask = "_arguments() { print -r -- $1 }; compdef() { }; words=(cgiaa ra); CURRENT=2; source ~/.zfunc/_cgiaa"
    assert "rank" in shell(tmp_path, "zsh", "-f", "-c", f"{ask}; _cgiaa_completion")
