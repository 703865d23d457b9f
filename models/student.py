"""The embedded default: an image-only student with two small towers and small heads.

* a semantic tower (EfficientNet-Lite2, ImageNet) on the whole frame at 240 px;
* the judge's own tower (MobileNet v1, AVA) on the same frame at 192 px, kept because a few thousand
  photos do not carry its judgement into another tower;
* the judge's first blocks on native-scale tiles, and measurements, for technical quality;
* where it learned to crop, a head on the semantic tower's frozen map (models/crop.py);
* for GPUs, the image tower of the stage vlap beside these (`towers.Wide`).

Heads see the mean and the deviation over the frame of several levels of each tower, not of the last alone: quality
and complexity live in the early ones (hypercolumns, Hariharan et al. 2015). The heads of these two compare the photo
with those that were rated (`Kernel`); the others are linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import timm
import torch
from cgiaa_models.crop import CropHead
from cgiaa_models.judge import MobileNetV1
from timm.models.efficientnet import EfficientNet
from torch import Tensor, nn

from cgiaa_cli.imaging.measure import MEASURES

__all__ = [
    "ASPECT",
    "BESIDE",
    "COMPONENTS",
    "EARLY",
    "FEATURES",
    "GAMMA",
    "JUDGE",
    "LATE",
    "SEMANTIC",
    "TILES",
    "Kernel",
    "Student",
    "Towers",
    "tilted",
]


TAIL = 5  # the semantic tower's blocks from here on are tuned
JUDGE_SIZE = 192  # trained at 224; at 192 its opinion is as good (docs/training.md) for three quarters of the time
JUDGE_LEVELS = (4, 10)  # blocks whose output the heads see beside the last one's
EARLY = 2 * (24 + 48 + 88 + 120)  # mean and deviation of the semantic tower's frozen levels
SEMANTIC = 1280  # channels of its last level
LATE = SEMANTIC + 2 * (208 + 352)  # mean of the last level, then mean and deviation of its tuned levels
JUDGE = 1024  # channels of its last level
BESIDE = JUDGE + 2 * (256 + 512)  # with the moments of `JUDGE_LEVELS`
TILES = 4 * 256
GAMMA = 0.4  # of the kernel exp(-GAMMA |x - y|^2); two photos are 2 apart on the average
ASPECT = MEASURES.index("aspect")
COMPONENTS = 64  # principal components of all features, on which photos are compared
FEATURES = LATE + EARLY + BESIDE + TILES + len(MEASURES)


def moments(x: Tensor) -> list[Tensor]:
    """(B, C, H, W) -> mean and standard deviation over the frame, (B, C) each."""
    mean = x.mean((2, 3))
    return [mean, ((x * x).mean((2, 3)) - mean * mean).clamp(min=0).sqrt()]


def _through(blocks: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The output of the last of `blocks`, and the moments of each one's."""
    seen = []
    for block in blocks:
        x = block(x)
        seen += moments(x)
    return x, seen


class Towers(nn.Module):
    """Everything up to the heads; its output can be cached, since it stays frozen."""

    def __init__(self) -> None:
        super().__init__()
        semantic = timm.create_model("tf_efficientnet_lite2", pretrained=False, num_classes=0)
        self.semantic = cast(EfficientNet, semantic)
        self.judge = MobileNetV1()

    def stem(self, photo: Tensor) -> Tensor:
        """(B, 240, 240, 3) uint8 sRGB -> (B, 120, 15, 15), the part of the tower that stays as it is."""
        return self.early(photo)[0]

    def early(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """As `stem`, and what the heads see of it: (B, EARLY)."""
        x = self.semantic.bn1(self.semantic.conv_stem(photo.permute(0, 3, 1, 2).float() / 127.5 - 1))
        x, seen = _through(self.semantic.blocks[:TAIL], x)
        return x, torch.cat(seen[2:], 1)  # not of the first block, which has but 16 channels

    def tail(self, x: Tensor) -> Tensor:
        """(B, 120, 15, 15) -> (B, 1280), pooled."""
        return self.late(x)[:, :SEMANTIC]

    def late(self, x: Tensor) -> Tensor:
        """As `tail`, with the moments of its levels: (B, LATE)."""
        x, seen = _through(self.semantic.blocks[TAIL:], x)
        last = self.semantic.bn2(self.semantic.conv_head(x)).mean((2, 3))
        return torch.cat([last, *seen], 1)

    def tail_parameters(self) -> Iterator[nn.Parameter]:
        """What `training/tune.py` learns."""
        for part in (self.semantic.blocks[TAIL:], self.semantic.conv_head, self.semantic.bn2):
            yield from part.parameters()

    def beside(self, photo: Tensor, tiles: Tensor) -> Tensor:
        """What the frozen judge sees: (B, BESIDE + TILES); inputs as in `forward`."""
        x = photo.permute(0, 3, 1, 2).float() / 127.5 - 1
        x = nn.functional.interpolate(x, size=(JUDGE_SIZE, JUDGE_SIZE), mode="bilinear", align_corners=False)
        *levels, last = self.judge.levels(x, JUDGE_LEVELS)
        parts = [last.mean((2, 3))] + [part for level in levels for part in moments(level)]
        count, size = tiles.shape[1], tiles.shape[2]
        early = self.judge.early((tiles.float() / 127.5 - 1).reshape(-1, 1, size, size))
        local = torch.cat(moments(early), 1).reshape(-1, count, TILES // 2)
        return torch.cat([*parts, local.mean(1), local.amax(1)], 1)

    def forward(self, photo: Tensor, tiles: Tensor, measures: Tensor) -> Tensor:
        """Named inputs of the bundle -> (B, FEATURES).

        Args:
            photo: (B, 240, 240, 3) uint8 sRGB.
            tiles: (B, 4, 112, 112) uint8 luma, native scale.
            measures: (B, 14) float32.
        """
        return self.see(photo, tiles, measures)[1]

    def see(self, photo: Tensor, tiles: Tensor, measures: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, with the map that `stem` gives before it."""
        x, early = self.early(photo)
        return x, torch.cat([self.late(x), early, self.beside(photo, tiles), measures], dim=1)


class Kernel(nn.Module):
    """A support vector regression (Drucker et al. 1997): a line, and what photos like this one were rated.

    Far from all photos that it learned from only the line is left.

    Args:
        count: photos that it keeps, S.
    """

    support: Tensor
    weight: Tensor
    line: Tensor
    bias: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("support", torch.zeros(count, COMPONENTS))
        self.register_buffer("weight", torch.zeros(count))
        self.register_buffer("line", torch.zeros(COMPONENTS))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, COMPONENTS), of mean square length 1 -> (B,)."""
        apart = (x * x).sum(1, keepdim=True) + (self.support * self.support).sum(1) - 2 * x @ self.support.T
        return torch.exp(-GAMMA * apart.clamp(min=0)) @ self.weight + x @ self.line + self.bias


class Student(nn.Module):
    """Towers, a standardisation, and heads on it.

    Args:
        embedding_dim: size of the embedding (a projection of the semantic features).
        crop: whether it chooses crops, too.
        support: photos that the heads of technical quality and complexity keep.
        wide: a larger tower (`towers.Wide`) whose features the heads see last; None: there is none.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        embedding_dim: int = 256,
        crop: bool = False,
        support: tuple[int, int] = (1, 1),
        wide: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.towers, self.wide = Towers(), wide
        features = FEATURES + (cast(int, wide.width) if wide is not None else 0)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.opinion = nn.Linear(features, 1)
        self.attributes = nn.Linear(features, 4)
        self.components = nn.Linear(features, COMPONENTS)
        self.technical, self.complexity = Kernel(support[0]), Kernel(support[1])
        self.embedding = nn.Linear(SEMANTIC, embedding_dim)
        self.crop = CropHead() if crop else None

    def standardise(self, features: Tensor) -> Tensor:
        """Zero mean and unit scale on the training photos, limited so that one odd number cannot rule."""
        return ((features - self.mean) / self.scale).clamp(-6, 6)

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, FEATURES, and those of a wide tower) -> distribution, attributes, technical, complexity, embedding."""
        z = self.standardise(features)
        x = self.components(z)
        judged = self.towers.judge.distribution(features[:, LATE + EARLY :][:, :JUDGE])
        return (
            tilted(judged, self.opinion(z).squeeze(1).clamp(1.5, 9.5)),
            self.attributes(z).clamp(1, 10),
            self.technical(x).clamp(1, 10),
            self.complexity(x).clamp(0, 100),
            nn.functional.normalize(self.embedding(z[:, :SEMANTIC]), dim=1),
        )

    def forward(self, photo: Tensor, tiles: Tensor, measures: Tensor) -> tuple[Tensor, ...]:
        """The bundle's inputs -> the bundle's outputs (see docs/design.md for shapes and ranges)."""
        stem, features = self.towers.see(photo, tiles, measures)
        if self.wide is not None:
            features = torch.cat([features, self.wide(photo)], 1)
        found = self.heads(features)
        return found if self.crop is None else (*found, self.crop(stem, measures[:, ASPECT]))


def tilted(distributions: Tensor, means: Tensor, rounds: int = 12) -> Tensor:
    """The distributions nearest (in KL) to `distributions` (B, 10) that have the wanted `means` (B,).

    They are p_k ~ q_k exp(t k); Newton's method finds t, since the mean's derivative by it is the variance. So the
    judge says how much people would disagree, and the student how good the photo is.
    """
    levels = torch.arange(1, 11, dtype=distributions.dtype, device=distributions.device)
    logits = torch.log(distributions + 1e-4)
    tilt = torch.zeros_like(means)
    for _ in range(rounds):
        p = torch.softmax(logits + tilt[:, None] * levels, dim=1)
        mean = (p * levels).sum(1)
        variance = (p * (levels - mean[:, None]) ** 2).sum(1)
        tilt = tilt + ((means - mean) / (variance + 1e-3)).clamp(-1, 1)
    return torch.softmax(logits + tilt[:, None] * levels, dim=1)
