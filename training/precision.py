"""One network at several precisions, and what each costs.

* `fp16`: weights are stored as fp16 and cast back when ONNX Runtime loads them: half the size, the arithmetic of fp32.
* `fp16-gpu`: arithmetic in fp16 too, for GPUs; inputs and outputs stay as they are.
* `int8`: weights and activations in 8 bits, whose ranges come from training photos (calibrated, static).
* `int8-dynamic`: weights in 8 bits, activations in ranges found at run time; for networks of matrix products.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cgiaa_training.metrics import correlations, srcc
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cgiaa_cli.critique.reference import NAMES
from cgiaa_cli.errors import CgiaaError, UsageError
from cgiaa_cli.inference.engine import import_onnxruntime
from cgiaa_cli.inference.scores import ATTRIBUTES

__all__ = ["PRECISIONS", "Inputs", "compare", "convert", "outputs_of", "percentiles", "timed"]

Inputs = Mapping[str, NDArray[Any]]
Array = NDArray[Any]
PRECISIONS = ("fp32", "fp16", "fp16-gpu", "int8", "int8-dynamic")
SMALL = 256  # numbers; a smaller constant stays in fp32: it may be an epsilon, and saves nothing
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
LEVELS = np.arange(1, 11)


def convert(network: bytes, precision: str, calibration: Sequence[Inputs] = ()) -> bytes:
    """The network (ONNX, fp32) at another precision.

    Args:
        calibration: inputs of training photos, in small batches; `int8` needs them.

    Raises:
        UsageError: no such precision, or `int8` without calibration.
        CgiaaError: the converter cannot treat this network.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}' is not known", mend=f"choose one of {', '.join(PRECISIONS)}")
    if precision == "fp32":
        return network
    if precision == "int8" and not calibration:
        raise UsageError("int8 needs training photos to calibrate on", mend="name sets in export.calibration")
    make: dict[str, Callable[[], bytes]] = {
        "fp16": lambda: _half_weights(network),
        "fp16-gpu": lambda: _half(network),
        "int8": lambda: _static(network, calibration),
        "int8-dynamic": lambda: _dynamic(network),
    }
    try:
        return make[precision]()
    except Exception as error:  # of onnx, protobuf and ONNX Runtime, which share no base
        raise CgiaaError(
            f"the network cannot be converted to {precision}: {type(error).__name__}: {error}",
            mend="leave that precision out of the recipe",
        ) from error


def compare(
    network: bytes,
    reference: bytes,
    batches: Sequence[Inputs],
    ratings: Mapping[tuple[str, str], Array] | None = None,
) -> dict[str, Any]:
    """What a precision costs and brings on held-out photos.

    Args:
        network, reference: at that precision, and at fp32.
        batches: inputs of the held-out photos, N in all.
        ratings: (N,) by name of the result and of the quantity; NaN where a photo is not rated.

    Returns:
        `bytes`, `size_ratio` and `speed_ratio` (of batches of 8, above 1 is faster) against fp32; by how much the
        score differs from fp32's (`score_mean_difference`, points of 1..10; `score_srcc`, their rank correlation);
        `largest_difference` of each output; and, by name of the result, SRCC and PLCC with the ratings.
    """
    ours, theirs = outputs_of(network, batches), outputs_of(reference, batches)
    result: dict[str, Any] = {
        "bytes": len(network),
        "size_ratio": round(len(network) / len(reference), 3),
        "speed_ratio": round(timed(reference, batches) / timed(network, batches), 2),
    }
    scores = [_quantity(found, "score") for found in (ours, theirs)]
    result["score_mean_difference"] = round(float(np.abs(scores[0] - scores[1]).mean()), 4)
    result["score_srcc"] = round(srcc(*scores), 4)
    result["largest_difference"] = {n: round(float(np.abs(ours[n] - theirs[n]).max()), 5) for n in theirs}
    for (title, quantity), truth in (ratings or {}).items():
        rated = ~np.isnan(truth)
        result[title] = correlations(_quantity(ours, quantity)[rated], truth[rated])
    return result


def percentiles(network: bytes, batches: Sequence[Inputs]) -> dict[str, list[float]]:
    """The 0th to the 100th percentile of every number of `cgiaa_cli.critique.reference.NAMES` among these photos."""
    found = outputs_of(network, batches)
    return {name: np.percentile(_quantity(found, name), range(101)).round(4).tolist() for name in NAMES}


def _quantity(outputs: Mapping[str, Array], name: str) -> Array:
    """(N,) of a quantity, as `inference.scores.Scores` has it."""
    if name == "score":
        return np.asarray(outputs["distribution"] @ LEVELS)
    return outputs["attributes"][:, ATTRIBUTES.index(name)] if name in ATTRIBUTES else outputs[name]


def outputs_of(network: bytes, batches: Sequence[Inputs]) -> dict[str, Array]:
    """Outputs by name for the inputs of all batches, put together."""
    session = _session(network)
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(names, dict(batch)) for batch in batches]
    return {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(names)}


def timed(network: bytes, batches: Sequence[Inputs], size: int = 8, rounds: int = 5) -> float:
    """Seconds a photo in batches of `size`: the fastest of some rounds, since others use the machine too."""
    session = _session(network)
    batch = {key: value[:size] for key, value in batches[0].items()}
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        session.run(None, batch)
        took.append(time.perf_counter() - start)
    return min(took) / len(next(iter(batch.values())))


def _session(network: bytes) -> Any:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def _half_weights(network: bytes) -> bytes:
    model = onnx.load_from_string(network)
    largest = float(np.finfo(np.float16).max)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < SMALL:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > largest:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _half(network: bytes) -> bytes:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load_from_string(network)
    return bytes(convert_float_to_float16(model, keep_io_types=True).SerializeToString())


def _static(network: bytes, calibration: Sequence[Inputs]) -> bytes:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # it comes without types
        def __init__(self) -> None:
            self._left = iter(calibration)

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self._left, None)
            return None if batch is None else dict(batch)

    with _prepared(network) as (source, target):
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,  # CPUs without VNNI add two products in 16 bits: 8-bit weights would overflow there
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(PRODUCTS),
            nodes_to_exclude=_heads(onnx.load(source)),
        )
        return target.read_bytes()


def _dynamic(network: bytes) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _prepared(network) as (source, target):
        model = onnx.load(source)
        quantize_dynamic(
            source,
            target,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            # a convolution in integers is slower than in floats here; a Gather is a table of word vectors
            op_types_to_quantize=["Gemm", "MatMul", "Gather"],
            nodes_to_exclude=[*_heads(model), *_picks(model)],
        )
        return _one_table(target.read_bytes())


def _one_table(network: bytes) -> bytes:
    """A table of word vectors that is the last product's matrix, too, stored once: with the product's finer ranges."""
    model = onnx.load_from_string(network)
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    words = [n for n in graph.node if n.op_type == "Gather" and n.input[0].endswith("_quantized")]
    for gather in words:
        stem, (table, ids), out = gather.input[0].removesuffix("_quantized"), gather.input, gather.output[0]
        product, scales = f"{stem}_Transposed_quantized", f"{stem}_Transposed_scale"
        after = [n for n in graph.node if out in n.input]
        if product not in stored or len(stored[scales].dims) != 1 or [n.op_type for n in after] != ["DequantizeLinear"]:
            continue
        last = [axis + 1 for axis in range(_rank(graph, ids))]
        place = list(graph.node).index(gather)
        made = [
            helper.make_node("Gather", [product, ids], [f"{stem}.picked"], axis=1),
            helper.make_node("Cast", [f"{stem}.picked"], [f"{stem}.cast"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", [f"{stem}.cast"], [f"{stem}.turned"], perm=[*last, 0]),
            helper.make_node("Gather", [scales, ids], [f"{stem}.scale"]),
            helper.make_node("Unsqueeze", [f"{stem}.scale", f"{stem}.axis"], [f"{stem}.factor"]),
            helper.make_node("Mul", [f"{stem}.turned", f"{stem}.factor"], [after[0].output[0]]),
        ]
        for node in (gather, *after):
            graph.node.remove(node)
        for node in reversed(made):
            graph.node.insert(place, node)
        graph.initializer.append(numpy_helper.from_array(np.array([-1]), f"{stem}.axis"))
        for name in (table, *after[0].input[1:]):
            if not any(name in n.input for n in graph.node):
                graph.initializer.remove(stored[name])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _rank(graph: onnx.GraphProto, name: str) -> int:
    """Axes of one of its inputs or inner values."""
    known = {v.name: v for v in (*graph.input, *graph.value_info)}
    return len(known[name].type.tensor_type.shape.dim)


def _picks(model: onnx.ModelProto) -> list[str]:
    """Names of the gathers that pick from activations, not from a table of weights."""
    tables = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2}
    return [node.name for node in model.graph.node if node.op_type == "Gather" and node.input[0] not in tables]


@contextmanager
def _prepared(network: bytes) -> Iterator[tuple[Path, Path]]:
    """Files for the quantiser: the network with shapes and merged operators, and where the result goes."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it recommends what is done here already
    try:
        with tempfile.TemporaryDirectory(prefix="cgiaa-") as folder:
            raw, source = Path(folder) / "raw.onnx", Path(folder) / "source.onnx"
            raw.write_bytes(network)
            quant_pre_process(str(raw), str(source), skip_symbolic_shape=True)
            yield source, Path(folder) / "target.onnx"
    finally:
        logger.setLevel(level)


def _heads(model: onnx.ModelProto) -> list[str]:
    """Names of the last products before the outputs: linear heads are small, and the scores feel every bit of them."""
    nodes = model.graph.node
    users: dict[str, list[int]] = {}
    for i, node in enumerate(nodes):
        for name in node.input:
            users.setdefault(name, []).append(i)
    more = [False] * len(nodes)  # whether a product comes later on some way to the outputs
    for i in range(len(nodes) - 1, -1, -1):  # nodes are in topological order
        after = [j for name in nodes[i].output for j in users.get(name, [])]
        more[i] = any(more[j] or nodes[j].op_type in PRODUCTS for j in after)
    return [node.name for i, node in enumerate(nodes) if node.op_type in PRODUCTS and not more[i]]
