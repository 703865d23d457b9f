"""The config file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import RunCli

from cgiaa_cli.config import Config, config_path, read_config, write_model
from cgiaa_cli.errors import UsageError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings" / "cgiaa.toml"
    path.parent.mkdir()
    monkeypatch.setenv("CGIAA_CONFIG", str(path))
    return path


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert read_config() == Config()
    assert tmp_path in config_path().parents


def test_every_key(config: Path) -> None:
    config.write_text('model = "mine"\ndb = "/x/y.sqlite"\ndevice = "cpu"\njobs = 3\n')
    assert read_config() == Config("mine", "/x/y.sqlite", "cpu", 3)


def test_a_named_file_must_exist(config: Path) -> None:
    with pytest.raises(UsageError, match="CGIAA_CONFIG"):
        read_config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"model = ", "config file"),
        (b"modle = 'x'", "'modle' is not known"),
        (b"jobs = 'two'", "'jobs' must be a number"),
        (b"jobs = true", "'jobs' must be a number"),
        (b"jobs = 0", "1 or more"),
        (b"device = 'tpu'", "auto, cpu, cuda"),
        (b"model = 3", "'model' must be a string"),
        (b"\xff\xfe", "config file"),
    ],
)
def test_what_means_nothing_is_refused(config: Path, text: bytes, said: str) -> None:
    config.write_bytes(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_config()
    assert caught.value.path == str(config)


def test_a_folder_in_its_place(config: Path) -> None:
    config.mkdir()
    with pytest.raises(UsageError, match="directory"):
        read_config()


def test_choosing_a_model_keeps_the_rest(config: Path) -> None:
    write_model("first")
    assert config.read_text() == 'model = "first"\n'
    config.write_text("# mine\njobs = 2  # cores\nmodel = 'first' # old\ndevice = 'cpu'\n")
    assert write_model('a "b" \\c') == config
    assert read_config() == Config('a "b" \\c', None, "cpu", 2)
    assert config.read_text().startswith("# mine\njobs = 2  # cores\nmodel = ")
    assert [path.name for path in config.parent.iterdir()] == [config.name]


def test_a_file_that_is_wrong_is_not_rewritten(config: Path) -> None:
    config.write_text("modle = 'x'\n")
    with pytest.raises(UsageError):
        write_model("y")
    assert config.read_text() == "modle = 'x'\n"


def test_names_that_no_config_file_can_hold(config: Path) -> None:
    for name in ("/models/caf\udce9", "/models/\x7f"):
        with pytest.raises(UsageError, match=r"config file is UTF-8|cannot be edited"):
            write_model(name)
        assert not config.exists()


def test_a_config_file_that_is_a_link_stays_one(config: Path) -> None:
    real = config.with_name("dotfiles.toml")
    real.write_text("jobs = 2\n")
    config.symlink_to(real)
    write_model("mine")
    assert config.is_symlink() and read_config().model == "mine" and "jobs = 2" in real.read_text()


def test_a_config_folder_that_cannot_be_made(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("")
    monkeypatch.setenv("CGIAA_CONFIG", str(config / "below.toml"))
    with pytest.raises(UsageError, match=r"cannot be written.*by hand"):
        write_model("mine")


def test_a_value_that_cannot_be_edited_is_left(config: Path) -> None:
    text = 'db = """\nmodel = 1\n"""\n'
    config.write_text(text)
    with pytest.raises(UsageError, match="by hand"):
        write_model("y")
    assert config.read_text() == text


def test_the_command_line_wins_over_the_file(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f"db = {json.dumps(str(tmp_path / 'of-file.sqlite'))}\njobs = 1\n")
    assert run_cli("scan", photos, env={"CGIAA_DB": None}).returncode == 0
    assert (tmp_path / "of-file.sqlite").exists()
    chosen = tmp_path / "chosen.sqlite"
    assert run_cli("scan", photos, "--db", chosen).returncode == 0
    assert chosen.exists()
