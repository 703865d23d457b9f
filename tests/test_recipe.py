"""Recipes and the runner of their stages, with stages of the tests' own."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cgiaa_training
import fsspec
import pytest
from cgiaa_training import recipe as recipes
from cgiaa_training.loop import LoopConfig
from cgiaa_training.manifest import load_set
from cgiaa_training.recipe import Recipe, load_recipe
from cgiaa_training.run import Context, make_context, run_stages

from cgiaa_cli.errors import CgiaaError, DeviceError, UsageError


@dataclass(frozen=True)
class VlapConfig:
    width: int
    rate: float = 0.5
    sets: tuple[str, ...] = ()
    lock: bool | None = None
    loop: LoopConfig = field(default_factory=LoopConfig)

    def faults(self) -> list[str]:
        return ["width must be even"] if self.width % 2 else []


@dataclass(frozen=True)
class FusionConfig:
    weight: float = 1.0
    critiques: bool = True  # no name of a set: nothing is looked for


CALLS: list[str] = []


def vlap(context: Context) -> dict[str, Any]:
    CALLS.append("vlap")
    (context.folder("vlap") / "vlap.pt").write_text(str(context.recipe.vlap.width))
    return {"srcc": 0.5}


def fusion(context: Context) -> dict[str, Any]:
    CALLS.append("fusion")
    return {"from vlap": context.results("vlap")["srcc"], "seed": context.recipe.seed}


@pytest.fixture(autouse=True)
def stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cgiaa_training.vlap` and `.fusion` are those above."""
    CALLS.clear()
    for name, config, run in (("vlap", VlapConfig, vlap), ("fusion", FusionConfig, fusion)):
        module = ModuleType(f"cgiaa_training.{name}")
        setattr(module, f"{name.capitalize()}Config", config)
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_a_recipe_is_read_with_its_nested_tables(tmp_path: Path) -> None:
    text = 'seed = 7\n[vlap]\nwidth = 4\nrate = 1\nsets = ["a", "b"]\nloop = {epochs = 2}\n[fusion]\n'
    recipe = load_recipe(written(tmp_path, text))
    loop = LoopConfig(epochs=2)
    assert recipe == Recipe("mine", seed=7, vlap=VlapConfig(4, 1.0, ("a", "b"), None, loop), fusion=FusionConfig())
    assert type(recipe.vlap.rate) is float
    assert recipe.stages == ("vlap", "fusion")


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    text = """
sead = 1
[data]
synthetic = -1
[vlap]
rate = "fast"
sets = ["a", 3]
colour = 1
lock = 1
loop = {epochs = -1, batch_size = 0, speed = 3}
[fusion]
weight = true
"""
    with pytest.raises(UsageError) as caught:
        load_recipe(written(tmp_path, text))
    said = str(caught.value)
    for fault in (
        "sead: unknown",
        "data.synthetic must be 0",
        "vlap.rate: must be float",
        "vlap.sets[1]: must be str",
        "vlap.colour: unknown",
        "vlap.lock: must be bool",
        "vlap.loop.speed: unknown",
        "vlap.width: missing",
        "fusion.weight: must be float",
    ):
        assert fault in said, fault


def test_impossible_values_of_nested_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe(written(tmp_path, "[vlap]\nwidth = 3\nloop = {epochs = -1, precision = 'fp8'}\n"))
    said = str(caught.value)
    assert "vlap.width must be even" in said or "vlap.loop" in said
    assert said.count("epochs must be 0 or more") == 1 and "precision" in said


def test_sections_that_lack_each_other_are_named_with_the_other_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vlap", "fusion"):  # the real ones
        monkeypatch.delitem(sys.modules, f"cgiaa_training.{name}")
        monkeypatch.setattr(cgiaa_training, name, None, raising=False)  # an import binds it to another module
    rated = 'rated = ["mine.csv"]'
    text = f"""
sead = 1
[experts]
photo = true
[fusion]
{rated}
[export]
check = ["mine.csv"]
calibration = ["mine.csv"]
text_from = "nope"
"""
    with pytest.raises(UsageError) as caught:
        load_recipe(written(tmp_path, text))
    for fault in (
        "sead: unknown",
        "experts needs a section [attributes]",
        "experts.photo needs a section [vlap]",
        "fusion needs a section [vlap]",
        "export needs a section [distill]",
        "export.text_from brings texts of its own",
        "export.text_from: nope: no model bundle of that name",
    ):
        assert fault in str(caught.value), fault
    text = (
        f'[fusion]\n{rated}\n[distill]\n{rated}\n[vlap]\n[export]\ncheck = ["a"]\nsearch = "tower"\nreference = ["a"]'
    )
    with pytest.raises(UsageError, match=r"2 faults: .*without fusion.critiques needs a section \[experts\]"):
        load_recipe(written(tmp_path, text))
    whole = 'calibration = ["a"]\n'
    text = (
        text.replace("[vlap]\n", "").replace('rated = ["mine.csv"]', f'{rated}\ncritiques = "texts.csv"', 1)
        + f"\n{whole}"
    )
    with pytest.raises(UsageError, match=r"2 faults: fusion needs a section \[vlap\]; export.search needs"):
        load_recipe(written(tmp_path, text))
    text = f"[distill]\n{rated}\nteacher = 'nope'\n"
    with pytest.raises(UsageError, match=r"1 fault: distill\.teacher: nope: no model bundle of that name"):
        load_recipe(written(tmp_path, text))
    text = f"[distill]\n{rated}\nmap_weight = 1.0\n[export]\ncheck = ['a']\n{whole}"
    with pytest.raises(UsageError, match=r"1 fault: distill.map_weight needs a section \[fusion\]"):
        load_recipe(written(tmp_path, text))


def test_a_bundle_without_texts_has_none_to_bring_along(tmp_path: Path, tiny_bundle: Path) -> None:
    text = f"[distill]\n[export]\ncheck = ['a']\ncalibration = ['a']\ntext_from = '{tiny_bundle}'\n"
    with pytest.raises(UsageError, match=r"1 fault: export.text_from: the model .*tiny has no texts"):
        load_recipe(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [("[vlap", "not a recipe"), ("seed = 1", "no stage"), ("vlap = 3", "must be a section")],
)
def test_what_is_no_recipe(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_recipe(written(tmp_path, text))


def test_a_recipe_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such recipe.*one of"):
        load_recipe(str(tmp_path / "none.toml"))


def context(tmp_path: Path, **changes: Any) -> Context:
    recipe = Recipe("mine", vlap=VlapConfig(4), fusion=FusionConfig())
    return Context(replace(recipe, **changes), tmp_path, tmp_path / "out")


def test_stages_run_once_and_hand_on_their_results(tmp_path: Path) -> None:
    first = run_stages(context(tmp_path), ("vlap", "fusion"), "cgiaa train all")
    assert first == {"vlap": {"srcc": 0.5}, "fusion": {"from vlap": 0.5, "seed": 0}}
    assert run_stages(context(tmp_path), ("vlap", "fusion")) == first
    assert CALLS == ["vlap", "fusion"]
    record = json.loads((tmp_path / "out" / "vlap" / "results.json").read_text())
    assert record["command"] == "cgiaa train all" and record["recipe"] == "mine"
    assert not list((tmp_path / "out").rglob("*.partial*"))


def test_a_stage_that_needs_another_says_which_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(CgiaaError, match=r"'vlap' is not done.*cgiaa train vlap --recipe mine"):
        run_stages(context(tmp_path), ("fusion",))
    with pytest.raises(UsageError, match="no stage 'distill'"):
        run_stages(context(tmp_path), ("distill",))


def test_results_of_another_recipe_are_not_taken_for_this_one(tmp_path: Path) -> None:
    run_stages(context(tmp_path), ("vlap",))
    for changes in ({"seed": 1}, {"vlap": VlapConfig(6)}):
        with pytest.raises(CgiaaError, match="another recipe"):
            run_stages(context(tmp_path, **changes), ("vlap",))
    # a later stage's settings do not make an earlier one stale
    run_stages(context(tmp_path, fusion=FusionConfig(2.0)), ("vlap",))
    assert CALLS == ["vlap"]


def test_settings_that_change_no_result_do_not_make_it_another_recipe(tmp_path: Path) -> None:
    def with_loop(**changes: int) -> Context:
        return context(tmp_path, vlap=VlapConfig(4, loop=LoopConfig(**changes)))

    run_stages(with_loop(save_every=10), ("vlap",))
    run_stages(with_loop(workers=4, keep=7), ("vlap",))
    assert CALLS == ["vlap"]
    with pytest.raises(CgiaaError, match="another recipe"):
        run_stages(with_loop(epochs=9), ("vlap",))


def test_results_of_other_data_are_not_taken_for_these(tmp_path: Path) -> None:
    def mine(first: str) -> Context:
        (tmp_path / "mine.csv").write_text(f"id,text,score\n{first},dull,1\nb,fine,9\n")
        return context(tmp_path, vlap=VlapConfig(4, sets=("mine.csv",)))

    run_stages(mine("a"), ("vlap", "fusion"))
    assert run_stages(mine("a"), ("vlap", "fusion"))
    with pytest.raises(
        CgiaaError, match=r"'vlap' was run with other data: mine.csv has changed since; use another --out"
    ):
        run_stages(mine("c"), ("vlap", "fusion"))
    path = tmp_path / "out" / "vlap" / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": {}}))
    with pytest.raises(CgiaaError, match="'fusion' was run with other data"):  # it learned from what vlap did
        run_stages(mine("c"), ("fusion",))
    for stage in ("vlap", "fusion"):
        path = tmp_path / "out" / stage / "results.json"
        record = json.loads(path.read_text())
        del record["data"]
        path.write_text(json.dumps(record))
    run_stages(mine("c"), ("vlap", "fusion"))  # older records do not say
    assert CALLS == ["vlap", "fusion"]


def test_a_stage_alone_does_not_go_on_from_one_that_had_other_data(tmp_path: Path) -> None:
    def mine(first: str) -> Context:
        (tmp_path / "mine.csv").write_text(f"id,text,score\n{first},dull,1\nb,fine,9\n")
        return context(tmp_path, vlap=VlapConfig(4, sets=("mine.csv",)))

    run_stages(mine("a"), ("vlap",))
    with pytest.raises(CgiaaError, match=r"'vlap' was run with other data: mine.csv has changed"):
        run_stages(mine("c"), ("fusion",))
    assert run_stages(mine("a"), ("fusion",)) and CALLS == ["vlap", "fusion"]


def test_the_command_to_run_first_can_be_run(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    found = load_recipe(written(tmp_path, "[vlap]\nwidth = 4\n[fusion]\n"))
    for data, said in ((tmp_path / "sets", f" --data {tmp_path}/sets"), (tmp_path / "out" / "data", "")):
        data.mkdir()
        where = make_context(found, data, tmp_path / "out")
        with pytest.raises(
            CgiaaError, match=f"cgiaa train vlap --recipe {tmp_path}/mine.toml{said} --out {tmp_path}/out$"
        ):
            run_stages(where, ("fusion",))


def test_a_damaged_record_and_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    run_stages(context(tmp_path), ("vlap",))
    path = tmp_path / "out" / "vlap" / "results.json"
    for text in (path.read_text()[:40], "[]", "{}", ""):
        path.write_text(text)
        with pytest.raises(CgiaaError, match=r"results.json: not the record of a stage.*delete it"):
            run_stages(context(tmp_path), ("vlap",))
    for out in (path, path / "below"):
        with pytest.raises(UsageError, match=r"results.json: not a folder; name another --out"):
            make_context(context(tmp_path).recipe, tmp_path, out)


def test_a_failed_stage_leaves_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Context) -> dict[str, Any]:
        raise CgiaaError("no")

    monkeypatch.setattr(sys.modules["cgiaa_training.fusion"], "run", fails)
    with pytest.raises(CgiaaError, match="no"):
        run_stages(context(tmp_path), ("vlap", "fusion"))
    assert (tmp_path / "out" / "vlap" / "results.json").exists()
    assert not (tmp_path / "out" / "fusion" / "results.json").exists()


def test_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgiaa_training.run.LEAST_SPACE", 1 << 60)
    with pytest.raises(CgiaaError, match=r"GB are free.*--out"):
        run_stages(context(tmp_path), ("vlap",))


def test_data_and_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = context(tmp_path).recipe
    with pytest.raises(UsageError, match="needs --data"):
        make_context(recipe, None, tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        make_context(recipe, tmp_path / "none", tmp_path)
    (tmp_path / "file.csv").touch()
    with pytest.raises(UsageError, match=r"file.csv: not a folder"):
        make_context(recipe, tmp_path / "file.csv", tmp_path)
    with pytest.raises(CgiaaError, match=r"nowhere://b/x: cannot be reached"):
        make_context(recipe, "nowhere://b/x", tmp_path)
    with pytest.raises(UsageError, match=r"memory://nothing: no such folder"):
        make_context(recipe, "memory://nothing", tmp_path)
    with fsspec.open("memory://sets/mine.csv", "w") as file:
        file.write("id,text\na,fine\n")
    far = make_context(replace(recipe, vlap=VlapConfig(4, sets=("mine.csv",))), "memory://sets", tmp_path / "far")
    assert run_stages(far, ("vlap",)) and load_set("mine.csv", far.data).samples[0].text == "fine"
    with pytest.raises(UsageError, match="'tpu' is not known"):
        make_context(recipe, tmp_path, tmp_path, "tpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceError, match="no CUDA device"):
        make_context(recipe, tmp_path, tmp_path, "cuda")
    assert make_context(recipe, tmp_path, tmp_path / "out").device == "cpu"


def test_synthetic_data_are_made_once(tmp_path: Path) -> None:
    recipe = replace(context(tmp_path).recipe, data=recipes.DataConfig(synthetic=4))
    made = make_context(recipe, None, tmp_path / "out").data
    files = {p: p.stat().st_mtime_ns for p in made.rglob("*") if p.is_file()}
    assert files and make_context(recipe, None, tmp_path / "out").data == made
    assert {p: p.stat().st_mtime_ns for p in made.rglob("*") if p.is_file()} == files


def test_a_plan_leaves_nothing(tmp_path: Path) -> None:
    recipe = replace(context(tmp_path).recipe, data=recipes.DataConfig(synthetic=4))
    (tmp_path / "spare").mkdir()
    planned = make_context(recipe, None, tmp_path / "out", spare=tmp_path / "spare")
    assert planned.data == tmp_path / "spare" / "data" and not (tmp_path / "out").exists()
