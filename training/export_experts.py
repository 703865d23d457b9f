"""Experts as ONNX: a decoder with its cache as one input and one output, and the prefix mapper beside it.

decoder.onnx: `ids` (B, T), `prefix` (B, P, W), `mask` (B, C + P + T), `past` (layers, 2, B, heads, C, W / heads)
-> `logits` (B, V) of the next token, `present`. mapper.onnx: `feature` (B, D) -> `prefix`. See `decode.OnnxDecoder`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.expert import Expert, Mapper
from cgiaa_training.expert_report import TorchDecoder
from cgiaa_training.experts import Experts
from cgiaa_training.files import appearing
from numpy.typing import NDArray
from torch import Tensor, nn

from cgiaa_cli.critique.decode import Decoder, OnnxDecoder
from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.paths import escape

__all__ = ["PARITY", "export_decoder", "export_experts", "parity", "store_half"]

Array = NDArray[Any]
PARITY = {"fp32": 2e-4, "fp16": 5e-2}
"""Largest difference of a logit from torch's, by how the weights are stored."""


class _Step(nn.Module):
    def __init__(self, expert: Expert) -> None:
        super().__init__()
        self.expert = expert

    def forward(self, ids: Tensor, prefix: Tensor, mask: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        return self.expert.step(ids, prefix, mask, past)


def export_decoder(expert: Expert, folder: Path, *, weights: str = "fp16", name: str = "decoder") -> dict[str, Path]:
    """Write an expert's networks into `folder`, after a parity check over several steps.

    Args:
        weights: "fp32", or "fp16": stored in half the bytes, computed in fp32 all the same.
        name: of the decoder's file; the mapper's is `name`-mapper.onnx.

    Returns:
        File name -> path.

    Raises:
        CgiaaError: ONNX Runtime differs from torch by more than `PARITY`; nothing is left then.
    """
    expert = expert.to("cpu").eval().requires_grad_(False)
    files = {f"{name}.onnx": _decoder(expert)}
    if expert.mapper is not None:
        files[f"{name}-mapper.onnx"] = _mapper(expert.mapper, expert.shape.feature)
    if weights == "fp16":
        files = {key: store_half(network) for key, network in files.items()}
    folder.mkdir(parents=True, exist_ok=True)
    paths = {key: folder / key for key in files}
    try:
        for key, path in paths.items():
            with appearing(path) as partial:
                partial.write_bytes(files[key])
        decoder = OnnxDecoder(paths[f"{name}.onnx"], paths.get(f"{name}-mapper.onnx"), context=expert.shape.context)
        worst = parity(expert, decoder)
        if worst > PARITY[weights]:
            raise CgiaaError(
                f"ONNX Runtime differs from torch by {worst:.2g}",
                path=escape(folder),
                mend="report this with the torch version",
            )
    except BaseException:
        for path in paths.values():
            path.unlink(missing_ok=True)
        raise
    return paths


def export_experts(experts: Experts, folder: Path, *, weights: str = "fp16") -> dict[str, Path]:
    """All that the run time needs to write: networks, tokenizer.json and experts.json.

    experts.json: `networks` (by attribute `decoder`, `mapper` or null, `context`), `edges`, `plans`, `common`, `usual`
    (see `training.experts.Experts`).
    """
    files: dict[str, Path] = {}
    networks: dict[str, dict[str, Any]] = {}
    names: dict[int, str] = {}
    for attribute, expert in experts.networks.items():
        alone = len({id(e) for e in experts.networks.values()}) == 1
        if id(expert) not in names:
            names[id(expert)] = "decoder" if alone else f"decoder-{attribute}"
            files |= export_decoder(expert, folder, weights=weights, name=names[id(expert)])
        name = names[id(expert)]
        mapper = f"{name}-mapper.onnx" if expert.mapper is not None else None
        networks[attribute] = {"decoder": f"{name}.onnx", "mapper": mapper, "context": expert.shape.context}
    about = {"networks": networks, "edges": experts.edges, "plans": experts.plans, "common": sorted(experts.common)}
    about["usual"] = experts.usual
    for name, text in (
        ("experts.json", json.dumps(about)),
        ("tokenizer.json", experts.tokenizer.path.read_text("utf-8")),
    ):
        files[name] = folder / name
        with appearing(files[name]) as partial:
            partial.write_text(text, "utf-8")
    return files


def parity(expert: Expert, decoder: OnnxDecoder, batches: Sequence[int] = (1, 3), steps: int = 4) -> float:
    """Largest difference of a logit between torch and ONNX Runtime over a padded prompt and `steps` more tokens."""
    both: tuple[Decoder, Decoder] = (TorchDecoder(expert), decoder)
    worst = 0.0
    for count in batches:
        random = np.random.default_rng(count)
        shape = expert.shape
        features = None
        if shape.feature:
            features = random.normal(size=(count, shape.feature)).astype(np.float32)
            features /= np.linalg.norm(features, axis=1, keepdims=True)
        ids = random.integers(0, shape.vocabulary, (count, 5))
        prefixes = [d.prefix(features, count) for d in both]
        length = prefixes[0].shape[1]
        mask = np.ones((count, length + 5), np.int64)
        for row in range(count):
            mask[row, length : length + min(row, 4)] = 0
        pasts = [d.start(count) for d in both]
        for _ in range(steps + 1):
            found = []
            for k, d in enumerate(both):
                logits, pasts[k] = d.step(ids, prefixes[k], mask, pasts[k])
                prefixes[k] = prefixes[k][:, :0]
                found.append(logits)
            worst = max(worst, float(np.abs(found[0] - found[1]).max()))
            ids = random.integers(0, shape.vocabulary, (count, 1))
            mask = np.concatenate((mask, np.ones((count, 1), np.int64)), 1)
    return worst


def store_half(network: bytes, least: int = 1024) -> bytes:
    """The same graph with its large fp32 weights stored as fp16 and cast back when it is loaded.

    ONNX Runtime folds the casts into constants, so it computes as before; only the rounding of the weights differs.

    Args:
        least: numbers from which on a weight is stored so.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(network)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or int(np.prod(weight.dims)) < least:
            continue
        name = weight.name
        half = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{name}.half")
        weight.CopyFrom(half)
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT, name=f"{name}.cast"))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _decoder(expert: Expert) -> bytes:
    s = expert.shape
    batch, length, before, cached = (
        torch.export.Dim(n, min=1, max=4096) for n in ("batch", "length", "before", "cached")
    )
    inputs = (
        torch.zeros(3, 4, dtype=torch.long),
        torch.zeros(3, 5, s.width),
        torch.ones(3, 15, dtype=torch.long),
        torch.zeros(s.layers, 2, 3, s.heads, 6, s.width // s.heads),
    )

    shapes = ({0: batch, 1: length}, {0: batch, 1: before}, {0: batch, 1: torch.export.Dim.AUTO}, {2: batch, 4: cached})
    return _export(_Step(expert), inputs, ["ids", "prefix", "mask", "past"], ["logits", "present"], shapes)


def _mapper(mapper: Mapper, feature: int) -> bytes:
    batch = torch.export.Dim("batch", min=1, max=4096)
    return _export(mapper, (torch.zeros(3, feature),), ["feature"], ["prefix"], ({0: batch},))


def _export(
    module: nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], shapes: tuple[Any, ...]
) -> bytes:
    with warnings.catch_warnings():  # it tells that axes of one name are one, which is what we want
        warnings.filterwarnings("ignore", message="# The axis name")
        program = torch.onnx.export(
            module.eval(),
            inputs,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise CgiaaError("torch.onnx gave no program", mend="install the torch version of constraints.txt")
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        part.ClearField("metadata_props")  # where in the sources it came from: longer than a small network
    return bytes(model.SerializeToString())
