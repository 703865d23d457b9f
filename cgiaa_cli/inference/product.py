"""Products of a large matrix of bytes with a few columns, in ONNX Runtime: numpy has no quick ones of integers."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.inference import usable_cpus

__all__ = ["LARGEST", "products"]

LARGEST = 63  # of a column: older processors add two products in 16 bits, and 2 * 255 * 63 still fits

# the network c = MatMulInteger(a, b), opset 10, for a (n, d) uint8, b (d, k) int8 and c (n, k) int32; written by onnx,
# which is not needed to run it
_NETWORK = (
    b'\x08\x05:b\n\x18\n\x01a\n\x01b\x12\x01c"\rMatMulInteger\x12\x01gZ'
    b"\x15\n\x01a\x12\x10\n\x0e\x08\x02\x12\n\n\x03\x12\x01n\n\x03\x12\x01dZ\x15\n\x01b\x12\x10\n\x0e\x08\x03\x12"
    b"\n\n\x03\x12\x01d\n\x03\x12\x01kb\x15\n\x01c\x12\x10\n\x0e\x08\x06\x12\n\n\x03\x12\x01n\n\x03\x12\x01k"
    b"B\x04\n\x00\x10\n"
)


def products(matrix: NDArray[np.uint8], columns: NDArray[np.int8]) -> NDArray[np.int32]:
    """(N, K) products, exact, of (N, D), which may be mapped from a file, and (D, K) of at most `LARGEST`."""
    (found,) = _session().run(["c"], {"a": matrix, "b": np.ascontiguousarray(columns)})
    return np.asarray(found, np.int32)


@cache
def _session() -> Any:
    from cgiaa_cli.inference.engine import import_onnxruntime

    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    options.log_severity_level = 4
    return runtime.InferenceSession(_NETWORK, options, providers=["CPUExecutionProvider"])
