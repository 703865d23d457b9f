"""Searches by words, with a text tower of a table: each word is a direction among the small bundle's embeddings."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from cgiaa_models.tokens import Tokens, clip_tokenizer
from conftest import TINY_DIM, TINY_RANGES, RunCli, tiny_encoder
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer

from cgiaa_cli.bundles import About, Bundle, load, write_bundle
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation import select
from cgiaa_cli.curation.search import nearest
from cgiaa_cli.curation.select import Selection
from cgiaa_cli.errors import BundleError, ExtraMissingError
from cgiaa_cli.inference.words import _CLEAN, _embed, _encoding, query_of

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "dark")
SAYS = {"context": 6, "pad": 0, "fixed": False, "clean": "lower", "dim": 3, "scale": 10.0}


def tower(table: np.ndarray, length: int | str = "length") -> bytes:
    """ids (B, L), mask -> the normalised sum of the words' rows of `table`."""
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "ids"], ["rows"]),
        node("Cast", ["mask"], ["seen"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["seen", "last"], ["seen_column"]),
        node("Mul", ["rows", "seen_column"], ["kept"]),
        node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        node("ReduceL2", ["sum", "middle"], ["norm"], keepdims=1),
        node("Div", ["sum", "norm"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length]) for name in ("ids", "mask")],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", table.shape[1]])],
        [
            numpy_helper.from_array(table.astype(np.float32), "table"),
            numpy_helper.from_array(np.array([-1], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "middle"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def word_pieces() -> str:
    normalizer = {"type": "BertNormalizer", "lowercase": True}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "max_input_chars_per_word": 100}
    return json.dumps({"normalizer": normalizer, "model": {**model, "vocab": {w: i for i, w in enumerate(WORDS)}}})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bundle with a text tower: colours are three of its embedding's coordinates."""
    table = np.zeros((len(WORDS), 3))
    table[4:7] = 2 * np.eye(3) - 1
    table[7] = -1
    matrix = np.zeros((3, TINY_DIM + 1), np.float32)
    matrix[:, :3] = np.eye(3)
    folder = tmp_path_factory.mktemp("words") / "bundle"
    np.save(folder.parent / "search.npy", matrix)
    write_bundle(
        folder,
        About(
            name="tiny",
            version="1",
            licence="MIT",
            embedding_dim=TINY_DIM,
            training_data=[],
            weights=[],
            outputs={output: {"range": limits} for output, limits in TINY_RANGES.items()},
            more={"text": {"search": {"dim": 3}}},
        ),
        {
            "encoder.onnx": tiny_encoder(),
            "text/text.onnx": tower(table),
            "text/text-tokenizer.json": word_pieces().encode(),
            "text/text.json": json.dumps(SAYS).encode(),
            "text/search.npy": folder.parent / "search.npy",
        },
    )
    return folder


@pytest.fixture
def damaged(bundle: Path, tmp_path: Path) -> Iterator[tuple[Bundle, Path]]:
    """A copy whose text files may be changed."""
    folder = tmp_path / "copy"
    shutil.copytree(bundle, folder)
    yield load(str(folder)), folder / "text"


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    folder = tmp_path / "colours"
    folder.mkdir()
    for name, colour in {"r": (230, 20, 20), "g": (20, 230, 20), "b": (20, 20, 230), "k": (5, 5, 5)}.items():
        Image.new("RGB", (64, 48), colour).save(folder / f"{name}.png")
    return folder


def test_words_find_photos(run_cli: RunCli, bundle: Path, colours: Path) -> None:
    for words, first in (("green", "g"), ("Blue", "b"), ("a  DARK", "k"), ("red red &amp; red", "r")):
        done = run_cli("search", words, colours, "--format", "json", "--model", bundle)
        rows = json.loads(done.stdout)
        assert done.returncode == 0 and Path(rows[0]["path"]).stem == first, done.stderr
        assert len(rows) == 4 and rows[0]["similarity"] > 0.9 > rows[1]["similarity"]
    everywhere = run_cli("search", "green", "--top", "1", "--format", "paths", "--model", bundle)
    assert everywhere.stdout == f"{colours / 'g.png'}\n"
    table = run_cli("search", "green", colours, "--where", "score > 1", "--model", bundle)
    assert "similarity" in table.stdout.splitlines()[0]


def test_the_matrix_is_of_the_words_space(
    run_cli: RunCli, bundle: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cli("scan", colours, "--model", bundle)
    monkeypatch.setattr(select, "FEW_FILES", 0)
    loaded = load(str(bundle))
    with Cache.open(tmp_path / "cache.sqlite") as cache:
        hits = nearest(cache, cache.scorer_id(*loaded.scorer), Selection([colours]), query_of(loaded, "blue"), 2)
    assert Path(hits[0].path).stem == "b" and len(list(tmp_path.glob("*.npy"))) == 1


def test_a_long_text_is_cut_and_ends_as_texts_end(damaged: tuple[Bundle, Path]) -> None:
    _, folder = damaged
    table = np.eye(len(WORDS))
    (folder / "text.onnx").write_bytes(tower(table))
    seen = np.flatnonzero(_embed(folder, "red green blue dark dark dark dark"))
    assert [WORDS[i] for i in seen] == ["[CLS]", "[SEP]", "red", "green", "blue", "dark"]
    assert [WORDS[i] for i in np.flatnonzero(_embed(folder, ""))] == ["[CLS]", "[SEP]"]
    (folder / "text.json").write_text(json.dumps(SAYS | {"fixed": True}))
    (folder / "text.onnx").write_bytes(tower(table, 6))
    assert [WORDS[i] for i in np.flatnonzero(_embed(folder, "red"))] == ["[CLS]", "[SEP]", "red"]


def test_clips_tokens_are_those_that_training_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text-tokenizer.json"
    path.write_text(clip_tokenizer(), "utf-8")
    ours = _encoding(path, 9)
    theirs = Tokens({"json": clip_tokenizer(), "context": 9, "pad": 0, "fixed": True, "clean": "lower"})
    for text in ("a photo of a dog", "Sunset  OVER the sea!", "", "one two three four five six seven eight nine ten"):
        ids, mask = theirs([text])
        assert ours(_CLEAN["lower"](text)) == ids[0, : int(mask.sum())].tolist()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ExtraMissingError, match=r"searching by words with this model needs the extra 'words'"):
        _encoding(path, 9)


def test_texts_are_cleaned_as_open_clip_does() -> None:
    from open_clip.tokenizer import get_clean_fn

    for kind in ("lower", "whitespace", "canonicalize"):
        for text in ("A_dog's  day,\tnot &lt;bad&gt;!", " Café ", "", "5.5 * 3"):
            assert _CLEAN[kind](text) == get_clean_fn(kind)(text)
    assert _CLEAN[""](" A b") == " A b"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("search.npy", None, "search.npy: not what searching by words needs (["),
        ("search.npy", b"nonsense", "search.npy: not what"),
        ("text.json", b"{}", "text.json: not what searching by words needs ('context')"),
        ("text.json", json.dumps(SAYS | {"clean": "magic"}).encode(), "'magic'"),
        ("text-tokenizer.json", b"{}", "text-tokenizer.json: not what"),
        ("text.onnx", b"nonsense", "text.onnx: ONNX Runtime cannot load it"),
        ("text.onnx", tower(np.ones((2, 3))), "text.onnx: not what searching by words needs (InvalidArgument)"),
        ("text.onnx", tower(np.ones((8, 2))), "3 rows for words of 2 numbers"),
    ],
)
def test_a_bundle_that_is_not_right_is_one_line(
    damaged: tuple[Bundle, Path], name: str, content: bytes | None, said: str
) -> None:
    loaded, folder = damaged
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(BundleError) as told:
        query_of(loaded, "red")
    assert said in str(told.value) and str(folder) in str(told.value)


def test_a_map_for_other_embeddings_is_refused(damaged: tuple[Bundle, Path]) -> None:
    loaded, folder = damaged
    np.save(folder / "search.npy", np.ones((3, 5)))
    query = query_of(loaded, "red")
    assert query.place is not None
    with pytest.raises(BundleError, match="it is for embeddings of 4 numbers, not 8"):
        query.place(np.ones((1, 8), np.float32))
    np.save(folder / "search.npy", np.full((3, 9), np.nan))
    with pytest.raises(BundleError, match="not a matrix of numbers"):
        query_of(loaded, "red")


def test_the_tokenizer_is_the_one_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "text-tokenizer.json"
    path.write_text(clip_tokenizer(), "utf-8")
    assert _encoding(path, 77)("a dog") == Tokenizer.from_file(str(path)).encode("a dog").ids
