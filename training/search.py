"""What searching photos by words needs of a trained pair: the text tower as ONNX, and a map for photos already scanned.

A scan keeps an embedding of every photo (the encoder's output `embedding`). `image_map` is the linear map from such
vectors to the pair's common space, so that a text finds photos without a second look at their pixels::

    score = normalise(W @ vector + b) @ text_tower(ids, mask)

Instead of the tower a table of word vectors can be had of it (`word_table`), which has a tenth of its bytes or less.

Where the vectors are the features that the image head itself reads and that head is linear, the map is exact
(`head_map`); from any others, e.g. the bundle's shorter embedding, it is fitted on photos alone.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.towers import DualEncoder
from cgiaa_models.word_table import WordTable
from cgiaa_training.alignment import ridge
from cgiaa_training.files import appearing
from numpy.typing import NDArray
from torch import Tensor, nn

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.inference.engine import import_onnxruntime
from cgiaa_cli.inference.words import TOKENIZER
from cgiaa_cli.paths import escape

__all__ = ["PARITY", "export_text_tower", "head_map", "image_map", "word_table"]

Array = NDArray[Any]
JUDGE_TOKENIZER = "judge-tokenizer.json"
PARITY = 1e-4  # largest difference of any coordinate of a normalised embedding
CHECKS = (
    "a dog",
    "sunset over the sea, long exposure, the horizon is level and the colours are warm",
    "The light is flat.",
    "",
    "an old wooden boat on a lake in the fog at dawn with mountains behind it and a red house on the far shore",
)


class _TextSide(nn.Module):
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.text, self.head = model.text, model.text_head

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return nn.functional.normalize(self.head(self.text(ids, mask)), dim=1)


def export_text_tower(
    model: DualEncoder, folder: Path, texts: Sequence[str] = CHECKS, table: WordTable | None = None
) -> dict[str, Any]:
    """Write `text.onnx`, its tokenizer and `text.json` into `folder`, after a parity check.

    `text.onnx` takes `ids` and `mask` (B, L) int64 and gives `vector` (B, D) float32, normalised. `text.json` says
    how texts become ids: `tokenizer` (only where the judge's is the same and stands in for it), `context` (most
    tokens), `pad`, `fixed` (all texts are filled up to `context`), `clean`; and
    `dim` and `scale` (1 / temperature) of the common space.

    Args:
        texts: what the check is made with, one by one and in one batch.
        table: stands in for the tower, see `word_table`.

    Returns:
        `text.json`'s contents with `parity`, the largest difference between ONNX Runtime and torch.

    Raises:
        CgiaaError: they differ by more than `PARITY`; nothing is written then.
    """
    model = model.eval()
    side = (_TextSide(model) if table is None else table).eval()
    network = _to_onnx(
        side, *model.text.tokens(["a photo of a dog", "two"]), fixed=model.text.tokens.description["fixed"]
    )
    session = import_onnxruntime().InferenceSession(network, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in (list(texts), *([text] for text in texts)):
        ids, mask = model.text.tokens(batch)
        given = {"ids": ids.numpy(), "mask": mask.numpy()}
        (found,) = session.run(["vector"], {i.name: given[i.name] for i in session.get_inputs()})
        with torch.inference_mode():
            worst = max(worst, float(np.abs(found - side(ids, mask).numpy()).max()))
    if not worst <= PARITY:
        raise CgiaaError(
            f"ONNX Runtime differs from torch by {worst:.2g} in text.onnx",
            path=escape(folder),
            mend="report this with the torch version",
        )
    tokens = {k: v for k, v in model.text.tokens.description.items() if k != "json"}
    dim = model.dim if table is None else table.linear.out_features
    says = {**tokens, "dim": dim, "scale": round(float(model.scale.detach()), 4), "parity": worst}
    folder.mkdir(parents=True, exist_ok=True)
    files = {"text.onnx": network}
    tokenizer = model.text.tokens.description["json"].encode()
    shared = folder / JUDGE_TOKENIZER  # half a megabyte that a bundle need not have twice
    if shared.exists() and shared.read_bytes() == tokenizer:
        says["tokenizer"] = shared.name
    else:
        files[TOKENIZER] = tokenizer
    files["text.json"] = (json.dumps(says, indent=2) + "\n").encode()
    for name, content in files.items():
        with appearing(folder / name) as partial:
            partial.write_bytes(content)
    return says


def _to_onnx(side: nn.Module, ids: Tensor, mask: Tensor, *, fixed: bool) -> bytes:
    batch = torch.export.Dim("batch", min=1, max=4096)
    shape: dict[int, Any] = {0: batch}
    if not fixed:
        shape[1] = torch.export.Dim("length", min=2, max=ids.shape[1] + 4096)
    with warnings.catch_warnings():  # it tells that the axes of both inputs are one, which is what we want
        warnings.filterwarnings("ignore", message="# The axis name")
        program = torch.onnx.export(
            side,
            (ids, mask),
            input_names=["ids", "mask"],
            output_names=["vector"],
            dynamic_shapes=(shape, shape),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise CgiaaError("torch.onnx gave no program", mend="install the torch version of constraints.txt")
    return bytes(program.model_proto.SerializeToString())


def head_map(model: DualEncoder) -> tuple[Array, Array]:
    """The image head as W (D, width) and b (D,), exact.

    Raises:
        CgiaaError: the head is not linear.
    """
    head = model.image_head
    if head.kind != "linear":
        raise CgiaaError(f"an image head '{head.kind}' is no linear map", mend="set heads.image to linear, or fit one")
    with torch.no_grad():
        weight = head.linear.weight / head.scale
        return weight.numpy(), (head.linear.bias - weight @ head.mean).numpy()


def word_table(model: DualEncoder, texts: Sequence[str], dim: int, strength: float = 0.01) -> tuple[WordTable, Array]:
    """A table of word vectors that says nearly what the text tower says.

    A text is the sum of what the tower says of each of its tokens alone, weighed by inverse document frequency; a ridge
    regression takes its direction to what the tower says of the whole text.

    Args:
        texts: such as will be asked for, 2 or more; frequencies and regression come from them.
        dim: D of the table; the space is cut down to the directions in which the texts differ most.
        strength: of the regression's penalty.

    Returns:
        The table, and the basis (D, model.dim) that takes vectors of photos to its space.
    """
    dim = min(dim, model.dim, len(texts))
    with torch.inference_mode():
        whole = np.concatenate([model.encode_text(list(texts[k : k + 128])).numpy() for k in range(0, len(texts), 128)])
    basis = np.linalg.svd(whole, full_matrices=False)[2][:dim]
    said = _of_tokens(model) @ basis.T
    numbers, mask = (part.numpy() for part in model.text.tokens(list(texts)))
    found = np.zeros((len(texts), len(said)), bool)
    found[np.arange(len(texts))[:, None], numbers] = mask > 0
    rows = said * np.log((len(texts) + 1) / (found.sum(0) + 1))[:, None]
    sums = np.stack([rows[line[keep > 0]].sum(0) for line, keep in zip(numbers, mask, strict=True)])
    sums /= np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-9)
    wanted = whole @ basis.T
    weight = ridge(sums - sums.mean(0), wanted - wanted.mean(0), strength)
    bias = wanted.mean(0) - weight @ sums.mean(0)
    tensors = (torch.from_numpy(np.asarray(part, np.float32)) for part in (rows, weight, bias))
    return WordTable(*tensors).requires_grad_(False), basis


def _of_tokens(model: DualEncoder) -> Array:
    """(V, model.dim): what the text tower says of each token of its vocabulary alone; zeros for what is no word."""
    tokenizer = model.text.tokens.tokenizer
    ids, mask = model.text.tokens(["a"])  # start, the word, end, and filling where the tower wants it
    frame = set(model.text.tokens([""])[0][0].tolist())
    plain = [
        number
        for token, number in tokenizer.get_vocab().items()
        if number not in frame and not (token.startswith(("[", "<")) and token.endswith(("]", ">")))
    ]
    at = next(i for i, number in enumerate(ids[0].tolist()) if number not in frame)
    found = np.zeros((tokenizer.get_vocab_size(), model.dim), np.float32)
    with torch.inference_mode():
        for k in range(0, len(plain), 512):
            batch = ids.repeat(len(plain[k : k + 512]), 1)
            batch[:, at] = torch.tensor(plain[k : k + 512])
            said = model.text_head(model.text(batch, mask.expand_as(batch)))
            found[plain[k : k + 512]] = nn.functional.normalize(said, dim=1).numpy()
    return found


def image_map(vectors: Array, embeddings: Array, strength: float = 0.01) -> tuple[Array, Array]:
    """W (D, F) and b (D,) from other vectors of photos (N, F) to their embeddings (N, D), by ridge regression.

    Args:
        strength: of the penalty, in units of the vectors' mean variance times N.
    """
    x, y = np.asarray(vectors, np.float64), np.asarray(embeddings, np.float64)
    weight = ridge(x - x.mean(0), y - y.mean(0), strength)
    return weight.astype(np.float32), (y.mean(0) - weight @ x.mean(0)).astype(np.float32)
