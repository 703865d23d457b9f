"""The engine: right numbers from the small network, honest about the device, and every failure one error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cgiaa_cli.bundles import About, Bundle, load, write_bundle
from cgiaa_cli.errors import BundleError, CgiaaError, DeviceError, UsageError
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.imaging.preprocess import Inputs, prepare
from cgiaa_cli.inference import engine as module
from cgiaa_cli.inference import usable_cpus
from cgiaa_cli.inference.engine import CPU, CUDA, Engine, import_onnxruntime

GOOD = {
    "distribution": np.full((2, 10), 0.1, np.float32),
    "attributes": np.full((2, 4), 5, np.float32),
    "technical": np.full(2, 5, np.float32),
    "complexity": np.full(2, 50, np.float32),
    "embedding": np.full((2, 3), 3**-0.5, np.float32),
}


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load(str(tiny_bundle))


def inputs(photos: Path, *names: str) -> list[Inputs]:
    return [prepare(decode((photos / name).read_bytes())) for name in names]


def test_the_known_network_gives_its_known_answers(bundle: Bundle, photos: Path) -> None:
    engine = Engine(bundle, "cpu")
    assert (engine.device, engine.providers) == ("cpu", [CPU])
    bright, dark, sharp, blurred = engine.run(
        inputs(photos, "bright.jpg", "dark.jpg", "middle.jpg", "middle-blurred.jpg")
    )
    assert bright.score > sharp.score > dark.score
    assert sharp.technical > blurred.technical + 1
    assert sharp.complexity > blurred.complexity
    for one in (bright, dark, sharp, blurred):
        assert sum(one.distribution) == pytest.approx(1)
        mean = sum(level * share for level, share in enumerate(one.distribution, 1))
        assert one.score == pytest.approx(mean)
        variance = sum((level - mean) ** 2 * share for level, share in enumerate(one.distribution, 1))
        assert one.spread == pytest.approx(variance**0.5)
        assert one.embedding.dtype == np.float16
        assert np.linalg.norm(one.embedding.astype(np.float64)) == pytest.approx(1, abs=2e-3)
    assert bright.embedding @ sharp.embedding > bright.embedding @ dark.embedding
    assert list(bright.attributes) == ["color_light", "composition", "depth_focus", "general"]


def test_a_photo_scores_the_same_in_any_batch(bundle: Bundle, photos: Path) -> None:
    engine = Engine(bundle, threads=1)
    both = inputs(photos, "bright.jpg", "dark.jpg")
    together = engine.run(both)
    for alone, one in zip(both, together, strict=True):
        assert engine.run([alone])[0].score == pytest.approx(one.score, rel=1e-6)
    assert engine.run([]) == []


# what a network may do wrong


def with_outputs(bundle: Bundle, **changed: np.ndarray) -> Engine:
    engine = Engine(bundle, "cpu")
    engine._session = SimpleNamespace(run=lambda names, *_: [(GOOD | changed)[name] for name in names])
    return engine


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("distribution", np.full((2, 9), 1 / 9), r"distribution has shape \(2, 9\)"),
        ("distribution", np.full((2, 10), 0.2), "not probabilities"),
        ("distribution", np.tile([-0.5, 1.5] + [0.0] * 8, (2, 1)), "not probabilities"),
        ("attributes", np.zeros((2, 5)), r"attributes has shape \(2, 5\)"),
        ("technical", np.zeros((2, 1)), r"technical has shape \(2, 1\)"),
        ("complexity", np.array([1.0, np.nan]), "complexity has a value that is not finite"),
        ("embedding", np.zeros(2), r"embedding has shape \(2,\)"),
        ("embedding", np.zeros((1, 3)), r"embedding has shape \(1, 3\)"),
    ],
)
def test_nonsense_from_the_network_is_an_error(
    bundle: Bundle, photos: Path, name: str, value: np.ndarray, message: str
) -> None:
    two = inputs(photos, "bright.jpg", "dark.jpg")
    assert len(with_outputs(bundle).run(two)) == 2
    with pytest.raises(BundleError, match=message) as caught:
        with_outputs(bundle, **{name: value}).run(two)
    assert str(bundle.encoder) in str(caught.value)


def test_rounding_below_zero_is_no_error(bundle: Bundle, photos: Path) -> None:
    almost = np.tile([-1e-8, 1.0] + [0.0] * 8, (2, 1))
    (first, _) = with_outputs(bundle, distribution=almost).run(inputs(photos, "bright.jpg", "dark.jpg"))
    assert min(first.distribution) == 0 and first.score == pytest.approx(2) and first.spread == 0


def test_a_failing_run_is_an_error_of_the_device(bundle: Bundle, photos: Path) -> None:
    engine = Engine(bundle, "cpu")

    def fail(*_: object) -> None:
        raise RuntimeError("\n  out of memory in node 5\nmore")

    engine._session = SimpleNamespace(run=fail)
    one = inputs(photos, "bright.jpg")
    with pytest.raises(CgiaaError, match=r"failed on cpu: out of memory in node 5; .*smaller --batch-size"):
        engine.run(one)

    def exhausted(*_: object) -> None:
        raise MemoryError

    engine._session = SimpleNamespace(run=exhausted)
    with pytest.raises(MemoryError):
        engine.run(one)


def test_a_network_without_an_output_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = [SimpleNamespace(name=name) for name in GOOD if name not in ("technical", "embedding")]
    session = SimpleNamespace(get_providers=lambda: [CPU], get_outputs=lambda: outputs)
    monkeypatch.setattr(module, "_open", lambda *_: session)
    with pytest.raises(BundleError, match="has no output embedding, technical"):
        Engine(bundle)


def test_a_file_that_is_no_network(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_bundle(tmp_path / "junk", About("junk", "1", "none", 1, [], [], {}), {"encoder.onnx": b"junk"})
    with pytest.raises(BundleError, match=r"encoder\.onnx: ONNX Runtime .* cannot load it: "):
        Engine(load(str(tmp_path / "junk")), "cpu")
    assert capfd.readouterr() == ("", "")


# devices, with a stand-in for an ONNX Runtime with CUDA


class FakeOrt:
    """As much of onnxruntime as the engine uses; `got` are the providers that a session really gets."""

    __version__ = "9.9"

    class SessionOptions:
        def add_session_config_entry(self, key: str, value: str) -> None:
            pass

    def __init__(self, available: list[str], got: Callable[[list[str]], list[str]]) -> None:
        self.available, self.got = available, got
        self.asked: list[list[str]] = []

    def get_available_providers(self) -> list[str]:
        return self.available

    def set_default_logger_severity(self, level: int) -> None:
        assert level == 4  # fatal faults only

    def preload_dlls(self) -> None:
        getattr(self, "print", print)("Failed to load libcudnn.so.9")  # it looks up a global of its module

    def InferenceSession(self, path: str, options: object, **more: Any) -> object:
        self.asked.append(more["providers"])
        providers = self.got(more["providers"])
        outputs = [SimpleNamespace(name=name) for name in GOOD]
        return SimpleNamespace(get_providers=lambda: providers, get_outputs=lambda: outputs)


def no_driver(asked: list[str]) -> list[str]:
    if CUDA in asked:
        raise RuntimeError("CUDA failure 35: driver too old")
    return asked


def only_cpu(_: list[str]) -> list[str]:
    return [CPU]


@pytest.mark.parametrize(
    ("available", "got", "device", "result"),
    [
        ([CUDA, CPU], list, "auto", "cuda"),
        ([CUDA, CPU], list, "cuda", "cuda"),
        ([CUDA, CPU], list, "cpu", "cpu"),
        ([CUDA, CPU], no_driver, "auto", "cpu"),
        ([CUDA, CPU], only_cpu, "auto", "cpu"),
        ([CPU], list, "auto", "cpu"),
    ],
)
def test_the_device_is_the_one_that_the_session_got(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    available: list[str],
    got: Callable[[list[str]], list[str]],
    device: str,
    result: str,
) -> None:
    ort = FakeOrt(available, got)
    monkeypatch.setitem(sys.modules, "onnxruntime", ort)
    engine = Engine(bundle, device)
    assert engine.device == result
    assert (CUDA in engine.providers) == (result == "cuda")
    if device == "cpu":
        assert ort.asked == [[CPU]]
    assert capsys.readouterr().out == ""  # our stdout is for rows


@pytest.mark.parametrize(
    ("available", "got", "cause"),
    [
        ([CPU], list, "this ONNX Runtime offers CPUExecutionProvider"),
        ([CUDA, CPU], no_driver, "CUDA failure 35: driver too old"),
        ([CUDA, CPU], only_cpu, "the session did not get it"),
    ],
)
def test_cuda_that_ends_on_the_cpu_is_an_error(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    available: list[str],
    got: Callable[[list[str]], list[str]],
    cause: str,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", FakeOrt(available, got))
    with pytest.raises(DeviceError, match=f"CUDA cannot be used: {cause}; use --device cpu"):
        Engine(bundle, "cuda")


def test_an_unknown_device(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="device 'tpu' is not known; choose one of auto, cpu, cuda"):
        Engine(bundle, "tpu")


def test_usable_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == 1


# without ONNX Runtime


class Broken(MetaPathFinder):
    def __init__(self, error: ImportError) -> None:
        self.error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == "onnxruntime":
            raise self.error


def test_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CgiaaError, match=r"not installed; install it with: pip install 'cgiaa\[cpu\]'"):
        import_onnxruntime()


def test_an_onnxruntime_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    finder = Broken(ImportError("libfoo.so: cannot open shared object file"))
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    with pytest.raises(CgiaaError, match=r"cannot be imported: libfoo\.so.*; reinstall"):
        import_onnxruntime()
    finder.error = ModuleNotFoundError("No module named 'coloredlogs'", name="coloredlogs")
    with pytest.raises(ModuleNotFoundError, match="coloredlogs"):
        import_onnxruntime()
