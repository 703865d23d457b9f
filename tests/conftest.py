"""What the tests share: a small real bundle, a folder of small real photos, and the program as a subprocess.

The bundle's network is a handful of arithmetic operators, so its answers are known: a brighter photo scores
higher, a sharper one has more technical quality, and photos with like colours lie near each other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageFilter

from cgiaa_cli import cli
from cgiaa_cli.bundles import About, write_bundle
from cgiaa_cli.imaging.measure import MEASURES
from cgiaa_cli.imaging.preprocess import SIZE

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a suite in the background: what it starts would ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

TINY_DIM = 8
TINY_RANGES = {
    "distribution": [0, 1],
    "attributes": [1, 10],
    "technical": [1, 10],
    "complexity": [0, 100],
    "embedding": [-1, 1],
}

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
Cgiaa = Callable[..., tuple[int, str, str]]


def tiny_encoder(darker: bool = False) -> bytes:
    """A network with the inputs and outputs of docs/design.md; see the module's text for what it answers."""
    node = helper.make_node
    nodes = [
        node("Cast", ["photo"], ["bytes"], to=TensorProto.FLOAT),
        node("Div", ["bytes", "c255"], ["pixels"]),
        node("ReduceMean", ["pixels", "axes_photo"], ["bright"], keepdims=0),  # (B,)
        node("Unsqueeze", ["bright", "axis_1"], ["bright_column"]),  # (B, 1)
        # distribution: brightness tilts a flat one
        node("Sub", ["bright_column", "half"], ["tilt"]),
        node("Mul", ["tilt", "levels"], ["logits"]),
        node("Softmax", ["logits"], ["distribution"], axis=1),
        # attributes: 1 + 9 * brightness * weight
        node("Mul", ["bright_column", "attribute_weights"], ["attributes_0"]),
        node("Add", ["attributes_0", "one"], ["attributes"]),
        # technical: 10 for a mean step of 32 or more between horizontal neighbours
        node("Cast", ["tiles"], ["luma"], to=TensorProto.FLOAT),
        node("Slice", ["luma", "start_0", "end_last", "axis_3"], ["left"]),
        node("Slice", ["luma", "start_1", "end_all", "axis_3"], ["right"]),
        node("Sub", ["right", "left"], ["steps"]),
        node("Abs", ["steps"], ["steps_abs"]),
        node("ReduceMean", ["steps_abs", "axes_photo"], ["detail"], keepdims=0),
        node("Div", ["detail", "c32"], ["detail_unit"]),
        node("Clip", ["detail_unit", "zero", "one"], ["detail_clipped"]),
        node("Mul", ["detail_clipped", "nine"], ["technical_0"]),
        node("Add", ["technical_0", "one"], ["technical"]),
        # complexity: the same, 0..100; `measures` must be read by something or it is no input
        node("Mul", ["detail_clipped", "hundred"], ["complexity_0"]),
        node("ReduceMean", ["measures", "axis_1"], ["measured"], keepdims=0),
        node("Mul", ["measured", "zero"], ["nothing"]),
        node("Add", ["complexity_0", "nothing"], ["complexity"]),
        # embedding: mean colour, 2 x 2 of green, and a constant so that grey has a direction too
        node("ReduceMean", ["pixels", "axes_space"], ["colour"], keepdims=0),
        node("Transpose", ["pixels"], ["channels_first"], perm=[0, 3, 1, 2]),
        node("Slice", ["channels_first", "start_1", "end_2", "axis_1"], ["green"]),
        node("AveragePool", ["green"], ["quarters"], kernel_shape=[SIZE // 2] * 2, strides=[SIZE // 2] * 2),
        node("Flatten", ["quarters"], ["quarters_flat"], axis=1),
        node("Concat", ["colour", "quarters_flat"], ["seven"], axis=1),
        node("Sub", ["seven", "half"], ["seven_centred"]),
        node("Pad", ["seven_centred", "pads", "tenth"], ["raw_embedding"]),
        node("ReduceL2", ["raw_embedding", "axis_1"], ["norm"], keepdims=1),
        node("Div", ["raw_embedding", "norm"], ["embedding"]),
    ]
    numbers = {"c255": 255.0, "c32": 32.0, "half": 0.5, "one": 1.0, "nine": 9.0, "hundred": 100.0}
    numbers |= {"zero": 0.0, "tenth": 0.1}
    whole = {"axes_photo": [1, 2, 3], "axes_space": [1, 2], "axis_1": [1], "axis_3": [3], "start_0": [0]}
    whole |= {"start_1": [1], "end_last": [-1], "end_all": [2**31], "end_2": [2], "pads": [0, 0, 0, 1]}
    constants: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {}
    constants |= {name: np.array(value, np.float32) for name, value in numbers.items()}
    constants |= {name: np.array(value, np.int64) for name, value in whole.items()}
    constants["levels"] = np.linspace(-4.5, 4.5, 10, dtype=np.float32)[None] * (-1 if darker else 1)
    constants["attribute_weights"] = np.array([[9.0, 7.0, 5.0, 8.0]], np.float32)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("photo", TensorProto.UINT8, ["batch", SIZE, SIZE, 3]),
            helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["batch", 4, 112, 112]),
            helper.make_tensor_value_info("measures", TensorProto.FLOAT, ["batch", len(MEASURES)]),
        ],
        [
            helper.make_tensor_value_info("distribution", TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info("attributes", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("technical", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("complexity", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", TINY_DIM]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_tiny_bundle(folder: Path, name: str = "tiny", version: str = "1", darker: bool = False) -> Path:
    """Write the small bundle into `folder`, e.g. one of its own for a test that damages it.

    With `darker`, a network that scores a darker photo higher.
    """
    write_bundle(
        folder,
        About(
            name=name,
            version=version,
            licence="MIT",
            embedding_dim=TINY_DIM,
            training_data=[{"name": "none", "licence": "none", "use": "none"}],
            weights=[{"name": "arithmetic", "licence": "MIT", "use": "all of it"}],
            outputs={output: {"range": limits} for output, limits in TINY_RANGES.items()},
            results={"srcc": 0.5},
        ),
        {"encoder.onnx": tiny_encoder(darker)},
    )
    return folder


def write_tiny_llama(folder: Path, texts: Sequence[str]) -> Path:
    """Write a small untrained Llama, with a tokenizer learned from `texts`, into `folder` as transformers reads it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    fast.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=600, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True,
    )  # fmt: skip
    made = LlamaForCausalLM(config)
    torch.nn.init.normal_(made.get_input_embeddings().weight, std=0.5)  # it stays frozen, and must tell words apart
    made.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """No test reads or writes the real home: settings, data and cache folders lie below tmp_path."""
    home = tmp_path / "home"
    home.mkdir()
    places = {"HOME": str(home), "USERPROFILE": str(home)}
    for kind in ("CONFIG", "DATA", "CACHE", "STATE"):
        places[f"XDG_{kind}_HOME"] = str(home / kind.lower())
    for key, value in places.items():
        monkeypatch.setenv(key, value)
    for key in ("CGIAA_DB", "CGIAA_CONFIG", "CGIAA_MODEL"):
        monkeypatch.delenv(key, raising=False)
    return places


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the small bundle; shared, so not to be changed (see `write_tiny_bundle`)."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def run_cli(isolated: dict[str, str], tmp_path: Path, tiny_bundle: Path) -> RunCli:
    """`run_cli(*args, env=None, input=None, timeout=120)`: the program as a subprocess, with tmp_path as its home.

    The cache is tmp_path/"cache.sqlite", the config file tmp_path/"config.toml", the model the small bundle.
    A value None in `env` removes that variable.
    """
    config = tmp_path / "config.toml"
    config.touch()

    def run(
        *args: str | os.PathLike[str],
        env: Mapping[str, str | None] | None = None,
        input: str | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        wanted: dict[str, str | None] = {**os.environ, **isolated}
        wanted |= {"CGIAA_DB": str(tmp_path / "cache.sqlite"), "CGIAA_CONFIG": str(config)}
        wanted |= {"CGIAA_MODEL": str(tiny_bundle), "COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"}
        # Rich takes a CI runner for a terminal, and then colours what the tests read
        wanted |= {"GITHUB_ACTIONS": None, "FORCE_COLOR": None, "PY_COLORS": None}
        wanted |= env or {}
        return subprocess.run(
            [sys.executable, "-m", "cgiaa_cli", *map(os.fspath, args)],
            env={key: value for key, value in wanted.items() if value is not None},
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
        )

    return run


@pytest.fixture
def cgiaa(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cgiaa:
    """`cgiaa(*args)`: exit code, stdout, stderr, in this process, with the places of `run_cli`."""
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("CGIAA_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("CGIAA_DB", str(tmp_path / "cache.sqlite"))
    monkeypatch.setenv("CGIAA_MODEL", str(tiny_bundle))

    def call(*args: object) -> tuple[int, str, str]:
        code = cli.run([os.fspath(a) if isinstance(a, Path) else str(a) for a in args])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def picture(seed: int, brightness: float, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A sharp made-up scene: sky-like gradient, a few blocks, fine texture. `brightness` is 0..1."""
    random = np.random.default_rng(seed)
    width, height = size
    down = np.linspace(1, 0.3, height)[:, None, None]
    scene = down * random.uniform(0.4, 1, 3) * np.ones((height, width, 1))
    for _ in range(6):
        top, left = int(random.integers(height - 30)), int(random.integers(width - 30))
        tall, wide = random.integers(25, 100, 2)
        scene[top : top + tall, left : left + wide] = random.uniform(0.1, 1, 3)
    scene += random.normal(0, 0.08, (height, width, 1))
    scene *= brightness / scene.mean()
    return Image.fromarray((scene.clip(0, 1) * 255).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of nine files that are photos (one in a subfolder); `bright.jpg` scores best."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0110] = "Testcam 1"  # Model
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"  # DateTimeOriginal
    middle = picture(1, 0.4)
    picture(0, 0.75).save(folder / "bright.jpg", quality=92, exif=exif)
    middle.save(folder / "middle.jpg", quality=92)
    middle.filter(ImageFilter.GaussianBlur(4)).save(folder / "middle-blurred.jpg", quality=92)
    picture(2, 0.12).save(folder / "dark.jpg", quality=92)
    picture(3, 0.5, (240, 320)).save(folder / "upright.png")
    picture(4, 0.3, (600, 200)).save(folder / "wide.png")
    picture(5, 0.35).convert("L").save(folder / "grey.jpg", quality=90)
    picture(6, 0.6).save(folder / "trip" / "beach.jpg", quality=92)
    picture(7, 0.2, (64, 48)).save(folder / "small.png")
    return folder
