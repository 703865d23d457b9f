"""The program around its commands: help, versions, errors, exit codes."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import RunCli

from cgiaa_cli import __version__, cli
from cgiaa_cli.errors import CacheError, PhotoError

HEAVY = ("torch", "timm", "open_clip", "onnxruntime", "sqlite_utils", "numpy", "PIL")


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cgiaa_cli.cli import run; code = run(['--help']); "
        f"print('loaded', [m for m in {HEAVY} if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "loaded []" in done.stdout
    for name in cli.COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself_without_the_training_side(name: str) -> None:
    code = (
        f"import sys; from cgiaa_cli.cli import run; code = run(['{name}', '--help']); "
        f"print('loaded', [m for m in ('torch', 'timm', 'open_clip', 'cgiaa_training') if m in sys.modules]); "
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "loaded []" in done.stdout and "Usage: cgiaa" in done.stdout


def test_version_and_the_module_are_the_same_program(run_cli: RunCli) -> None:
    done = run_cli("--version")
    assert (done.returncode, done.stdout) == (0, f"cgiaa {__version__}\n")
    script = Path(sys.executable).with_name("cgiaa")
    assert subprocess.run([script, "--version"], capture_output=True, text=True).stdout == done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["rank"], ["rank", ".", "--top", "many"], ["scan", ".", "--no-such-option"], ["cache"]],
)
def test_wrong_usage_is_one_line_or_the_help(run_cli: RunCli, arguments: list[str]) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("cgiaa: ") or "Usage: cgiaa" in done.stderr + done.stdout


def test_a_traceback_only_with_debug(run_cli: RunCli, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-folder"
    plain = run_cli("rank", missing)
    assert plain.returncode == 2
    assert plain.stderr.count("\n") == 1 and str(missing) in plain.stderr
    for shown in (run_cli("rank", missing, "--debug"), run_cli("rank", missing, env={"CGIAA_DEBUG": "1"})):
        assert "Traceback" in shown.stderr and shown.stderr.endswith(plain.stderr)


def test_debug_after_two_dashes_is_a_path(run_cli: RunCli) -> None:
    done = run_cli("rank", "--", "--debug")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "--debug" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan", ""],
        ["rank", ".", ""],
        ["filter", ".", "--copy-to="],
        ["groups", "--", ""],
        ["critique", ""],
        ["scan", ".", "--db", ""],
    ],
)
def test_an_empty_path_is_not_the_current_folder(run_cli: RunCli, arguments: list[str]) -> None:
    done = run_cli(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "'.' is this folder" in done.stderr


def test_a_name_that_ends_in_an_equals_sign_is_a_path_after_two_dashes(run_cli: RunCli) -> None:
    assert "--x=: no such file or folder" in run_cli("scan", "--", "--x=").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("start", [["-m", "cgiaa_cli"], ["-c", "from cgiaa_cli.__main__ import main; main()"]])
def test_ctrl_c_while_modules_are_loaded_is_one_line(start: list[str], tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, *start, "--help"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", f"cgiaa: {cli.KEPT}\n")


def test_the_installed_script_is_the_module() -> None:
    (script,) = importlib.metadata.distribution("cgiaa").entry_points.select(group="console_scripts", name="cgiaa")
    assert script.value == "cgiaa_cli.__main__:main"


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def app(**_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CacheError("is locked", path="a.sqlite", mend="wait"), 2, "cgiaa: a.sqlite: is locked; wait\n"),
        (PhotoError("corrupt", "is damaged", path="b.jpg"), 3, "cgiaa: b.jpg: is damaged\n"),
        (KeyboardInterrupt(), 130, "cgiaa: interrupted; what was finished is kept\n"),
        (OSError(errno.ENOSPC, "full", "c.sqlite"), 2, "cgiaa: c.sqlite: the disk is full; free some space"),
        (MemoryError(), 2, "cgiaa: memory is full; close other programs"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), 2, "cgiaa: memory is full;"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 2, "cgiaa: memory is full;"),
        (ValueError("two\nlines"), 2, "cgiaa: internal error: ValueError: two lines; run again with --debug\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_errors_become_lines_and_codes(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, error)
    assert cli.run(["rank"]) == code
    assert capsys.readouterr().err.startswith(said)


def test_control_characters_of_a_name_do_not_reach_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, CacheError("is locked", path="a\x1b[2Jb\nc"))
    cli.run([])
    assert capsys.readouterr().err == "cgiaa: a\\x1b[2Jb\\nc: is locked\n"


def test_a_reader_that_goes_away_is_no_error(photos: Path, run_cli: RunCli, tmp_path: Path, tiny_bundle: Path) -> None:
    db = tmp_path / "cache.sqlite"
    assert run_cli("scan", photos, "--db", db).returncode == 0
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "cgiaa_cli", "rank", photos, "--no-scan", "--db", db, "--model", tiny_bundle],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_stdout_on_a_full_disk(photos: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cgiaa_cli", "--version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "disk is full" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "cgiaa_cli", "scan", str(tmp_path / "empty"), "--model", str(tiny_bundle)]
    command += ["--db", str(tmp_path / "cache.sqlite")]
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def hide(folder: Path, *modules: str) -> str:
    """A folder for PYTHONPATH that makes `modules` look as if they were not installed."""
    folder.mkdir()
    for module in modules:
        text = f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')\n"
        (folder / f"{module}.py").write_text(text)
    return str(folder)


def test_neither_onnxruntime_says_which_extra_to_install(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    done = run_cli("rank", photos, env={"PYTHONPATH": hide(tmp_path / "hidden", "onnxruntime")})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'cgiaa[cpu]' (or 'cgiaa[gpu]' for CUDA)" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["train", "distill", "--data", "d", "--out", "o"], ["export-onnx", "x.pt", "--out", "o"], ["evaluate"]],
)
def test_training_without_its_extra_names_it(run_cli: RunCli, tmp_path: Path, arguments: list[str]) -> None:
    hidden = hide(tmp_path / "hidden", "torch", "timm", "h5py", "onnx", "sklearn", "scipy")
    done = run_cli(*arguments, env={"PYTHONPATH": hidden})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "pip install 'cgiaa[train]'" in done.stderr
