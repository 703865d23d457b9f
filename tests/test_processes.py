"""Several processes of one run: who is first, what it alone does, and what the others wait for."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from cgiaa_training import run
from cgiaa_training.engine import take_gpu
from cgiaa_training.processes import is_first
from cgiaa_training.recipe import DataConfig, Recipe
from cgiaa_training.run import Context, make_context, run_stages
from conftest import Cgiaa

from cgiaa_cli.errors import CgiaaError

RECIPE = Recipe("mine", data=DataConfig(synthetic=4))
NAMES = ("RANK", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", "LT_CLI_USED")


def be(monkeypatch: pytest.MonkeyPatch, **told: str) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("told", "first"),
    [
        ({}, True),
        ({"RANK": "1"}, True),  # a scheduler's: nobody else does what this one leaves
        ({"RANK": "0", "TORCHELASTIC_RUN_ID": "x"}, True),
        ({"RANK": "1", "TORCHELASTIC_RUN_ID": "x"}, False),
        ({"RANK": "1", "LT_CLI_USED": "1"}, False),
        ({"RANK": "0", "LT_CLI_USED": "1"}, True),
    ],
)
def test_the_first_alone_speaks_and_exports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: dict[str, str], first: bool
) -> None:
    @dataclass(frozen=True)
    class Config:
        pass

    def export(_: Context) -> dict[str, Any]:
        return {"bytes": 1}

    module = ModuleType("cgiaa_training.export")
    module.run = export  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    be(monkeypatch, **told)
    assert is_first() == first
    said: list[str] = []
    context = make_context(Recipe("mine", export=Config()), tmp_path, tmp_path / "out", "cpu", said.append)
    assert run_stages(context, ("export",)) == ({"export": {"bytes": 1}} if first else {})
    assert bool(said) == first


def test_the_others_wait_for_the_data_that_the_first_makes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            (tmp_path / "data").mkdir()

    monkeypatch.setattr(time, "sleep", sleep)
    be(monkeypatch, RANK="1", TORCHELASTIC_RUN_ID="x")
    assert make_context(RECIPE, None, tmp_path, "cpu").data == tmp_path / "data" and len(slept) == 3
    assert not list((tmp_path / "data").iterdir())
    monkeypatch.setattr(run, "PATIENCE", 2)
    with pytest.raises(CgiaaError, match="the first process made no data"):
        make_context(RECIPE, None, tmp_path / "elsewhere", "cpu")
    for told in ({"RANK": "1"}, {"RANK": "0", "TORCHELASTIC_RUN_ID": "x"}):
        be(monkeypatch, **told)
        assert list(Path(make_context(RECIPE, None, tmp_path / str(len(told)), "cpu").data).iterdir())


def test_each_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    be(monkeypatch, LOCAL_RANK="1")
    take_gpu("cuda")  # alone, whatever a scheduler says
    be(monkeypatch, LOCAL_RANK="1", TORCHELASTIC_RUN_ID="x")
    take_gpu("cpu")
    assert taken == []
    take_gpu("cuda")
    assert taken == [1]


def test_the_command_prints_in_the_first_alone(cgiaa: Cgiaa, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "run_stages", lambda *_: {"vlap": {"srcc": 0.5}})
    for rank, said in (("0", "0.5"), ("1", "")):
        be(monkeypatch, RANK=rank, TORCHELASTIC_RUN_ID="x")
        status, out, _ = cgiaa("train", "vlap", "--recipe", "tiny", "--out", tmp_path / "out", "--device", "cpu")
        assert status == 0 and (said in out if said else out == ""), out
