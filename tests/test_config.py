"""The config file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import RunCli

from cgiaa_cli.config import KEYS, Config, config_path, get_value, read_config, set_value, unset_value
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
    set_value("model", "first")
    assert config.read_text() == 'model = "first"\n'
    config.write_text("# mine\njobs = 2  # cores\nmodel = 'first' # old\ndevice = 'cpu'\n")
    assert set_value("model", 'a "b" \\c') == config
    assert read_config() == Config('a "b" \\c', None, "cpu", 2)
    assert config.read_text().startswith("# mine\njobs = 2  # cores\nmodel = ")
    assert [path.name for path in config.parent.iterdir()] == [config.name]


def test_a_file_that_is_wrong_is_not_rewritten(config: Path) -> None:
    config.write_text("modle = 'x'\n")
    with pytest.raises(UsageError):
        set_value("model", "y")
    assert config.read_text() == "modle = 'x'\n"


def test_names_that_no_config_file_can_hold(config: Path) -> None:
    with pytest.raises(UsageError, match=r"caf\\xe9: the config file is UTF-8"):
        set_value("model", "/models/caf\udce9")
    assert not config.exists()
    for name in ("/models/\x7f", 'a\n"b" \\ ä'):
        set_value("model", name)
        assert get_value("model") == name


def test_a_config_file_that_is_a_link_stays_one(config: Path) -> None:
    real = config.with_name("dotfiles.toml")
    real.write_text("jobs = 2\n")
    config.symlink_to(real)
    set_value("model", "mine")
    assert config.is_symlink() and read_config().model == "mine" and "jobs = 2" in real.read_text()


def test_a_config_folder_that_cannot_be_made(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("")
    monkeypatch.setenv("CGIAA_CONFIG", str(config / "below.toml"))
    with pytest.raises(UsageError, match=r"cannot be written.*by hand"):
        set_value("model", "mine")


def test_comments_and_layout_survive(config: Path) -> None:
    text = '# mine\n\ndb   = """\nmodel = 1\n"""  # odd\n\n  jobs = 2 # cores\n# the end'
    config.write_text(text)
    set_value("jobs", "3")
    assert config.read_text() == text.replace("jobs = 2", "jobs = 3")
    set_value("device", "cpu")
    assert config.read_text() == text.replace("jobs = 2", "jobs = 3") + '\ndevice = "cpu"\n'
    assert unset_value("jobs") == config and unset_value("jobs") is None
    assert config.read_text() == '# mine\n\ndb   = """\nmodel = 1\n"""  # odd\n\n# the end\ndevice = "cpu"\n'
    assert read_config() == Config(db="model = 1\n", device="cpu")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("modle", "x", "'modle' is not known; did you mean 'model'?"),
        ("colour", "x", "'colour' is not known; known are model, db, device, jobs, stars"),
        ("jobs", "many", "'many' is not a number; write for example: jobs 4"),
        ("jobs", "0", "key 'jobs' must be 1 or more; nothing was written"),
        ("device", "tpu", "key 'device' must be one of auto, cpu, cuda"),
    ],
)
def test_what_means_nothing_is_not_written(config: Path, key: str, value: str, said: str) -> None:
    config.write_text("# mine\n")
    with pytest.raises(UsageError) as caught:
        set_value(key, value)
    assert said in str(caught.value) and config.read_text() == "# mine\n"
    if "not known" in said:
        for ask in (get_value, unset_value):
            with pytest.raises(UsageError, match="not known"):
                ask(key)


# the command


def test_the_command(run_cli: RunCli, tmp_path: Path, tiny_bundle: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("# kept\n")
    assert run_cli("config", "path").stdout == f"{file}\n"
    assert run_cli("config", "get", "jobs").returncode == 1
    assert run_cli("config", "set", "jobs", "2").stdout == f"jobs = 2 ({file})\n"
    assert run_cli("config", "get", "jobs").stdout == "2\n"
    assert run_cli("config", "set", "stars", "score:4.5,5,5.5,6,6.5").returncode == 0
    assert run_cli("config", "set", "db", "x.sqlite").returncode == 0
    assert get_and_json(run_cli) == {"model": None, "db": f"{Path.cwd()}/x.sqlite", "device": None, "jobs": 2} | {
        "stars": "score:4.5,5,5.5,6,6.5"
    }
    shown = run_cli("config", "show").stdout.splitlines()
    assert [line.split()[0] for line in shown] == list(KEYS)
    assert "x.sqlite" in shown[1] and shown[1].endswith("; CGIAA_DB is set and wins")
    assert run_cli("config", "unset", "jobs").returncode == 0
    assert run_cli("config", "unset", "jobs").returncode == 1
    assert run_cli("config", "set", "model", tiny_bundle).returncode == 0
    assert run_cli("config", "set", "db", "~/cache.sqlite").stdout.startswith("db = ~/cache.sqlite ")
    assert file.read_text().startswith("# kept\n")


def get_and_json(run_cli: RunCli) -> object:
    return json.loads(run_cli("config", "show", "--format", "json").stdout)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("stars", "1,2", "not five ascending limits"),
        ("model", "no-such-bundle", "no-such-bundle"),
        ("modle", "x", "did you mean 'model'?"),
        ("db", "", "'.' is this folder"),
    ],
)
def test_the_command_refuses(run_cli: RunCli, tmp_path: Path, key: str, value: str, said: str) -> None:
    done = run_cli("config", "set", key, value)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr and (tmp_path / "config.toml").read_text() == ""


def test_the_command_line_wins_over_the_file(run_cli: RunCli, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f"db = {json.dumps(str(tmp_path / 'of-file.sqlite'))}\njobs = 1\n")
    assert run_cli("scan", photos, env={"CGIAA_DB": None}).returncode == 0
    assert (tmp_path / "of-file.sqlite").exists()
    chosen = tmp_path / "chosen.sqlite"
    assert run_cli("scan", photos, "--db", chosen).returncode == 0
    assert chosen.exists()
