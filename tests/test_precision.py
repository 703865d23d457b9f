"""One network at several precisions, and what each costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from cgiaa_training import export, precision
from cgiaa_training.precision import compare, convert, outputs_of
from small_student import Small
from torch import Tensor, nn

from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.imaging.measure import MEASURES

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)  # torch.onnx has its own


@pytest.fixture(scope="module")
def network() -> bytes:
    return export.to_onnx(Small().eval().requires_grad_(False))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def batches() -> list[dict[str, np.ndarray]]:  # type: ignore[type-arg]
    return [{key: value.numpy() for key, value in export.sample(8, seed=i).items()} for i in range(3)]


class Words(nn.Module):
    """A table of word vectors, a product, and a gather that picks one position."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.middle, self.last = nn.Embedding(4000, 64), nn.Linear(64, 64), nn.Linear(64, 2)

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.last(torch.relu(self.middle(self.table(ids)))[:, 0])
        return found


def test_int8_stores_word_vectors_in_8_bits() -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 4000, (3, 5))
    program = torch.onnx.export(Words().eval(), (ids,), input_names=["ids"], output_names=["y"], verbose=False)
    assert program is not None
    network = program.model_proto.SerializeToString()
    small = convert(network, "int8-dynamic")
    assert len(small) < 0.35 * len(network)
    feed = [{"ids": ids.numpy()}]
    theirs, ours = outputs_of(network, feed)["y"], outputs_of(small, feed)["y"]
    assert 0 < np.abs(ours - theirs).max() < 0.1 * np.abs(theirs).max()


@pytest.mark.parametrize(("name", "most"), [("fp16", 0.01), ("fp16-gpu", 0.02), ("int8", 0.3), ("int8-dynamic", 0.1)])
def test_every_precision_scores_nearly_as_fp32(network: bytes, batches: Any, name: str, most: float) -> None:
    cost = compare(convert(network, name, batches), network, batches)
    assert cost["score_mean_difference"] < most and cost["score_srcc"] > 0.9
    assert max(cost["largest_difference"].values()) > 0
    assert set(cost["largest_difference"]) == {"distribution", "attributes", "technical", "complexity", "embedding"}
    assert cost["speed_ratio"] > 0


def test_fp16_stores_weights_in_half_and_rounds_each_once(network: bytes, batches: Any) -> None:
    half = onnx.load_from_string(convert(network, "fp16"))
    stored = {t.name: t for t in half.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    assert sum(np.prod(t.dims) for t in stored.values()) > 2500
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load_from_string(network).graph.initializer}
    for name, tensor in stored.items():
        original = before[name.removesuffix("_fp16")]
        assert np.array_equal(onnx.numpy_helper.to_array(tensor), original.astype(np.float16))
    onnx.checker.check_model(half)


def test_a_weight_too_large_for_fp16_stays_as_it_is() -> None:
    values = np.ones((16, 16), np.float32)
    values[0, 0] = 1e6
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 16])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 16])],
        [onnx.numpy_helper.from_array(values, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    x = {"x": np.eye(16, dtype=np.float32)}
    assert outputs_of(convert(model.SerializeToString(), "fp16"), [x])["y"][0, 0] == 1e6


def test_int8_leaves_the_heads_alone(network: bytes, batches: Any) -> None:
    heads = set(precision._heads(onnx.load_from_string(network)))
    products = [n for n in onnx.load_from_string(network).graph.node if n.op_type in precision.PRODUCTS]
    assert len(products) == 8 and len(heads) == 5
    quantised = onnx.load_from_string(convert(network, "int8", batches))
    kept = [t for t in quantised.graph.initializer if list(t.dims) == [10, 32 + len(MEASURES)]]
    assert len(kept) == 1 and kept[0].data_type == onnx.TensorProto.FLOAT
    assert sum(t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4 for t in quantised.graph.initializer) == 2


def test_what_cannot_be_converted_is_refused(network: bytes) -> None:
    with pytest.raises(UsageError, match="int8 needs training photos"):
        convert(network, "int8")
    with pytest.raises(UsageError, match="precision 'int4' is not known; choose one of fp32, fp16"):
        convert(network, "int4")
    with pytest.raises(CgiaaError, match="the network cannot be converted to fp16"):
        convert(b"not a network", "fp16")


def test_ratings_are_compared_with_their_own_quantity(network: bytes, batches: Any) -> None:
    said = outputs_of(network, batches)
    depth = said["attributes"][:, 2].astype(float)
    depth[:4] = np.nan  # not rated
    found = compare(
        network, network, batches, {("depth", "depth_focus"): depth, ("off", "technical"): -said["technical"]}
    )
    assert found["depth"]["srcc"] == 1 and found["depth"]["n"] == 20 and found["off"]["srcc"] == -1
