"""Bundles: what is refused, and that nothing half-done is left behind; then the commands around them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import RunCli, write_tiny_bundle

from cgiaa_cli import bundles
from cgiaa_cli.errors import BundleError, UsageError


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return write_tiny_bundle(tmp_path / "own", name="own")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_bundle_is_found_in_or_below_a_folder(own: Path, tmp_path: Path) -> None:
    assert bundles.load(str(own)).name == "own"
    assert bundles.load(str(own.parent)).folder == own
    shutil.copytree(own, tmp_path / "copy")
    with pytest.raises(BundleError, match="2 model bundles"):
        bundles.load(str(tmp_path))
    with pytest.raises(BundleError, match=r"no bundle\.json"):
        bundles.load(str(tmp_path / "home"))
    with pytest.raises(BundleError, match="models list"):
        bundles.load("nonesuch")
    with pytest.raises(BundleError, match="models list"):
        bundles.load("x" * 300)
    shutil.copytree(own, tmp_path / "home" / "mine")
    assert bundles.load("~/mine").name == "own"  # as a config file says it


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(format=99), "format 99"),
        (lambda m: m.pop("name"), "'name'"),
        (lambda m: m.update(files=[]), "'files'"),
        (lambda m: m["files"].pop("encoder.onnx"), r"no encoder\.onnx"),
        (lambda m: m["files"].update({"../x": "0"}), "out of the bundle"),
        (lambda m: m["files"].update({"..": "0"}), "out of the bundle"),
        (lambda m: m["files"].update({"more.txt": "0"}), "missing from the bundle"),
        (lambda m: m["files"].update({"encoder.onnx": "0" * 64}), "sha256"),
        (lambda m: m.update(preprocess_hash="other"), "preprocessing other"),
    ],
)
def test_what_is_not_sound_is_refused(own: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    edit(own, change)
    with pytest.raises(BundleError, match=said) as caught:
        bundles.load(str(own))
    assert caught.value.path and caught.value.mend


@pytest.mark.parametrize("text", ["", "[]", "{", "\0"])
def test_a_manifest_that_is_none(own: Path, text: str) -> None:
    (own / "bundle.json").write_text(text)
    with pytest.raises(BundleError):
        bundles.load(str(own))


def test_one_changed_byte_is_noticed(own: Path) -> None:
    data = bytearray((own / "encoder.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (own / "encoder.onnx").write_bytes(data)
    with pytest.raises(BundleError, match="sha256"):
        bundles.load(str(own))
    assert bundles.load(str(own), verify=False).name == "own"


def test_adding(own: Path) -> None:
    assert bundles.add(str(own)).folder == bundles.models_folder() / "own"
    assert bundles.add(str(own)).name == "own"  # the same again: nothing to do
    assert set(bundles.installed()) == {"default", "own"}
    other = write_tiny_bundle(own.parent / "other", name="own", version="2")
    with pytest.raises(BundleError, match="--force"):
        bundles.add(str(other))
    assert bundles.load("own").version == "1"
    assert bundles.add(str(other), name="second").version == "2"
    assert bundles.add(str(other), force=True).version == "2"
    assert bundles.load("own").version == "2"
    assert sorted(path.name for path in bundles.models_folder().iterdir()) == ["own", "second"]


@pytest.mark.parametrize("name", ["default", "../x", "", ".hidden", "a b"])
def test_names_that_cannot_be_given(own: Path, name: str) -> None:
    if not name:
        edit(own, lambda m: m.update(name=""))
    with pytest.raises(UsageError, match="--name"):
        bundles.add(str(own), name=name)


def test_an_addition_that_fails_leaves_what_was(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles.add(str(own))
    other = write_tiny_bundle(own.parent / "other", name="own", version="2")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(OSError, match="No space"):
            bundles.add(str(other), force=True)
    assert bundles.load("own").version == "1"
    assert [path.name for path in bundles.models_folder().iterdir()] == ["own"]


def test_a_data_folder_that_cannot_be_written(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own.parent / "a file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(own.parent / "a file"))
    with pytest.raises(BundleError, match=r"cannot be written.*writable"):
        bundles.add(str(own))


def test_results_for_people(own: Path) -> None:
    result = {"srcc": 0.76861, "srcc_95": [0.70361, 0.82], "n": 220}
    edit(own, lambda m: m.update(results={"oasis": result, "speed": 3}))
    assert bundles.load(str(own)).measured() == ["oasis: srcc 0.7686 (95 %: 0.7036 to 0.82), n 220", "speed: 3"]


def test_results_are_recorded_beside_others(own: Path) -> None:
    bundles.record(bundles.load(str(own)), {"more": 1})
    assert bundles.load(str(own)).results == {"srcc": 0.5, "more": 1}


def test_which_bundle_is_in_force(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bundles.chosen() == "default"
    bundles.add(str(own))
    bundles.use("own")
    assert bundles.chosen() == "own" and bundles.load().name == "own"
    monkeypatch.setenv("CGIAA_MODEL", "default")
    assert bundles.chosen() == "default"


def test_an_installation_without_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bundles, "default_folder", lambda: tmp_path / "nowhere")
    with pytest.raises(BundleError, match="reinstall"):
        bundles.load("default")


# --- the commands --------------------------------------------------------------------------------------------


def test_list_show_verify_use_add(run_cli: RunCli, own: Path, photos: Path) -> None:
    added = run_cli("models", "add", own)
    assert added.returncode == 0 and "cgiaa models use own" in added.stdout
    without = {"CGIAA_MODEL": None}
    listed = json.loads(run_cli("models", "list", "--format", "json", env=without).stdout)
    assert [(row["name"], row["in_use"]) for row in listed] == [("default", True), ("own", False)]
    assert run_cli("models", "use", "own", env=without).returncode == 0
    table = run_cli("models", "list", env=without).stdout.splitlines()
    assert next(line for line in table if line.startswith("*")).split()[1:4] == ["own", "1", "MIT"]
    shown = run_cli("models", "show", env=without).stdout
    assert "own" in shown and "arithmetic" in shown and "srcc" in shown
    assert json.loads(run_cli("models", "show", "own", "--format", "json").stdout)["embedding_dim"] == 8
    verified = run_cli("models", "verify", "own")
    assert verified.returncode == 0 and verified.stdout.startswith("encoder.onnx  ok")
    assert json.loads(run_cli("models", "verify", "own", "--format", "json").stdout)["files"]["encoder.onnx"]["ok"]
    ranked = run_cli("rank", photos, "--format", "paths", env=without)
    assert ranked.returncode == 0 and ranked.stdout.splitlines()[0].endswith("bright.jpg")


def test_a_chosen_bundle_that_is_gone_or_damaged(run_cli: RunCli, own: Path, tmp_path: Path) -> None:
    (own / "encoder.onnx").write_bytes(b"")
    for arguments in (["models", "verify", own], ["rank", tmp_path, "--model", own], ["models", "use", own]):
        done = run_cli(*arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1 and "sha256" in done.stderr
    gone = run_cli("models", "list", env={"CGIAA_MODEL": "gone"})
    assert gone.returncode == 0 and "no model bundle of that name" in gone.stdout
