"""The embedded default: an image-only student with two small towers and linear heads.

* a semantic tower (EfficientNet-Lite2, ImageNet) on the whole frame at 260 px;
* the judge's own tower (MobileNet v1, AVA) on the same frame at 224 px, kept because a few thousand
  photos do not carry its judgement into another tower;
* the judge's first blocks on native-scale tiles, and measurements, for technical quality.
"""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

from cgiaa_cli.imaging.measure import MEASURES
from cgiaa_models.judge import MobileNetV1

__all__ = ["FEATURES", "Student", "Towers"]


SEMANTIC, JUDGE, TILES = 1280, 1024, 512
FEATURES = SEMANTIC + JUDGE + TILES + len(MEASURES)


class Towers(nn.Module):
    """Everything up to the heads; its output can be cached, since it stays frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.semantic = timm.create_model("tf_efficientnet_lite2", pretrained=False, num_classes=0)
        self.judge = MobileNetV1()

    def forward(self, photo: Tensor, tiles: Tensor, measures: Tensor) -> Tensor:
        """Named inputs of the bundle -> (B, FEATURES).

        Args:
            photo: (B, 260, 260, 3) uint8 sRGB.
            tiles: (B, 4, 112, 112) uint8 luma, native scale.
            measures: (B, 14) float32.
        """
        x = photo.permute(0, 3, 1, 2).float() / 127.5 - 1
        small = nn.functional.interpolate(x, size=(224, 224), mode="bilinear", align_corners=False)
        count, size = tiles.shape[1], tiles.shape[2]
        t = (tiles.float() / 127.5 - 1).reshape(-1, 1, size, size).expand(-1, 3, -1, -1)
        local = self.judge.early(t).reshape(-1, count, TILES // 2)
        parts = [self.semantic(x), self.judge.features(small), local.mean(1), local.amax(1), measures]
        return torch.cat(parts, dim=1)


class Student(nn.Module):
    """Towers, a standardisation, and linear heads on it.

    Args:
        embedding_dim: size of the embedding (a projection of the semantic features).
    """

    def __init__(self, embedding_dim: int = 256) -> None:
        super().__init__()
        self.towers = Towers()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.distribution = nn.Linear(FEATURES, 10)
        self.attributes = nn.Linear(FEATURES, 4)
        self.technical = nn.Linear(FEATURES, 1)
        self.complexity = nn.Linear(FEATURES, 1)
        self.embedding = nn.Linear(SEMANTIC, embedding_dim)

    def standardise(self, features: Tensor) -> Tensor:
        """Zero mean and unit scale on the training photos, limited so that one odd number cannot rule."""
        return ((features - self.mean) / self.scale).clamp(-6, 6)

    def heads(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, FEATURES) standardised -> distribution, attributes, technical, complexity, embedding."""
        return (
            torch.softmax(self.distribution(z), dim=1),
            self.attributes(z).clamp(1, 10),
            self.technical(z).squeeze(1).clamp(1, 10),
            self.complexity(z).squeeze(1).clamp(0, 100),
            nn.functional.normalize(self.embedding(z[:, :SEMANTIC]), dim=1),
        )

    def forward(
        self, photo: Tensor, tiles: Tensor, measures: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The bundle's inputs -> the bundle's outputs (see docs/design.md for shapes and ranges)."""
        return self.heads(self.standardise(self.towers(photo, tiles, measures)))
