"""MAP, multimodal aesthetics prediction: what a photo looks like and what its critiques say -> a score distribution.

CG-IAA (github.com/yzc-ippl/CG-IAA) joins the image's feature with those of the attribute experts' critiques and
projects them to the ten scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Fusion", "FusionShape"]

BINS = 10
LIMIT = 6.0  # of a standardised feature: one odd number must not rule


@dataclass(frozen=True)
class FusionShape:
    """What the head is built from.

    Attributes:
        dim: size of the space that photos and texts share.
        texts: critiques of a photo, one an attribute.
        hidden: size of the hidden layer; 0: a plain projection, as in the paper.
        dropout: share of the inputs and of the hidden layer that is not seen while it learns.
        image, text: whether it looks at the photo, and at the critiques; one alone is an ablation.
    """

    dim: int
    texts: int = 4
    hidden: int = 0
    dropout: float = 0.0
    image: bool = True
    text: bool = True


class Fusion(nn.Module):
    """Features of a photo and of its critiques -> probabilities of the scores 1..10."""

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: FusionShape) -> None:
        super().__init__()
        if not (shape.image or shape.text):
            raise ValueError("it must see the photo, the critiques, or both")
        self.shape = shape
        parts = shape.image + shape.text * shape.texts
        self.register_buffer("mean", torch.zeros(1 + shape.texts, shape.dim))
        self.register_buffer("scale", torch.ones(1 + shape.texts, shape.dim))
        width = parts * shape.dim
        layers: list[nn.Module] = [nn.Dropout(shape.dropout)]
        if shape.hidden:
            layers += [nn.Linear(width, shape.hidden), nn.GELU(), nn.Dropout(shape.dropout)]
        layers.append(nn.Linear(shape.hidden or width, BINS))
        self.layers = nn.Sequential(*layers)

    def fit_scale(self, image: Tensor, texts: Tensor) -> None:
        """Zero mean and unit deviation on these features (N, D), (N, T, D) from now on.

        Features of unit length lie in a narrow cone, so that what tells photos apart is a small part of each number.
        """
        parts = torch.cat([image[:, None], texts], 1)
        self.mean.copy_(parts.mean(0))
        self.scale.copy_(parts.std(0).clamp_min(1e-4))

    def forward(self, image: Tensor, texts: Tensor) -> Tensor:
        """(B, D) of the photo, (B, T, D) of its critiques, zero where there is none -> (B, 10), which sum to 1."""
        parts = (torch.cat([image[:, None], texts], 1) - self.mean) / self.scale
        absent = texts.abs().amax(2, keepdim=True) == 0
        known = torch.cat([torch.ones_like(absent[:, :1]), ~absent], 1)
        parts = torch.where(known, parts.clamp(-LIMIT, LIMIT), 0.0)  # a missing critique says the average thing
        seen = parts[:, 0 if self.shape.image else 1 : None if self.shape.text else 1]
        return torch.softmax(self.layers(seen.flatten(1)), 1)
