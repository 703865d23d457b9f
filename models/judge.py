"""The AVA-trained judge: MobileNet v1, as NIMA (Talebi and Milanfar 2018) was trained by idealo.

Source of architecture: Howard et al. 2017; of the weights: idealo/image-quality-assessment (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["MobileNetV1"]

_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1),
    (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
        nn.ReLU6(),
    ]


class MobileNetV1(nn.Module):
    """Trunk and the judge's own softmax over the scores 1..10.

    Input (B, 3, H, W) scaled to -1..1; the judge was trained at 224 x 224.
    """

    EARLY_BLOCKS = 5  # up to stride 8, 256 channels: local detail, used on the native-scale tiles

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_bn(3, 32, 3, 2))
        channels = 32
        blocks = []
        for outputs, stride in _BLOCKS:
            blocks.append(
                nn.Sequential(*_conv_bn(channels, channels, 3, stride, channels), *_conv_bn(channels, outputs, 1, 1))
            )
            channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.classifier = nn.Linear(1024, 10)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1024), average-pooled."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def levels(self, x: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        """(B, 3, H, W) -> the maps (B, C, h, w) after the `wanted` blocks, in order, and after the last one."""
        x = self.stem(x)
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in wanted:
                found.append(x)
        return [*found, x]

    def early(self, luma: Tensor) -> Tensor:
        """(B, 1, H, W), scaled as the input -> (B, 256, H / 8, W / 8): what the first blocks see of a grey picture."""
        conv, norm, activation = self.stem
        assert isinstance(conv, nn.Conv2d)
        # three equal channels are one channel with the sum of their weights: the same numbers for less time
        grey = nn.functional.conv2d(luma, conv.weight.sum(1, keepdim=True), None, conv.stride, conv.padding)
        x: Tensor = activation(norm(grey))
        for block in self.blocks[: self.EARLY_BLOCKS]:
            x = block(x)
        return x

    def distribution(self, features: Tensor) -> Tensor:
        """(B, 1024) -> (B, 10) probabilities of the scores 1..10, as the judge itself says."""
        return torch.softmax(self.classifier(features), dim=1)
