"""The head that chooses a crop: it compares what lies within a box with what lies outside and along its rim.

What people cut away are mostly edges of a frame that are empty or distract, so a coarse map of an early level is
enough. Learned from the crops of FCDB (Chen et al. 2017) by `training/crops.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cgiaa_cli.inference.crops import CELLS, candidates

__all__ = ["CHANNELS", "CropHead"]

CHANNELS = 120  # of the map


class CropHead(nn.Module):
    """A map of the frame -> the overlap (IoU) of every candidate with the crop that people would make.

    Args:
        components: principal components of the map's channels that it looks at.
        hidden: size of the one hidden layer of a member.
        members: small networks that learn side by side; their mean is the answer.

    Attributes:
        prior: (N,) mean overlap of each candidate; the layers add what this photo changes of it.
    """

    inside: Tensor
    outside: Tensor
    rim: Tensor
    shape: Tensor
    mean: Tensor
    project: Tensor
    prior: Tensor

    def __init__(self, components: int = 24, hidden: int = 96, members: int = 4, dropout: float = 0.3) -> None:
        super().__init__()
        boxes = torch.from_numpy(candidates().copy())
        for name, weights in zip(("inside", "outside", "rim"), _pools(boxes), strict=True):
            self.register_buffer(name, weights, persistent=False)
        self.register_buffer("shape", _shapes(boxes), persistent=False)
        self.register_buffer("mean", torch.zeros(CHANNELS))
        self.register_buffer("project", torch.zeros(CHANNELS, components))
        self.register_buffer("prior", torch.zeros(len(boxes)))
        width = 4 * components + self.shape.shape[1] + 2
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(dropout), nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
            )
            for _ in range(members)
        )

    def forward(self, stem: Tensor, aspect: Tensor) -> Tensor:
        """(B, 120, 15, 15), and (B,) log2 of width over height -> (B, N), 0..1; while learning (members, B, N)."""
        seen = (stem.flatten(2).transpose(1, 2) - self.mean) @ self.project
        count = len(self.prior)
        inside, outside = self.inside @ seen, self.outside @ seen
        parts = [inside, outside, self.rim @ seen - inside, seen.mean(1, keepdim=True).expand(-1, count, -1)]
        parts.append(self.shape.unsqueeze(0).expand(stem.shape[0], -1, -1))
        wide = aspect.reshape(-1, 1, 1).expand(-1, count, 1)
        parts += [wide, wide * self.shape[:, :1]]
        told = torch.cat(parts, 2)
        changes = torch.stack([member(told).squeeze(2) for member in self.members])
        return (self.prior + (changes if self.training else changes.mean(0))).clamp(0, 1)


def _pools(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, cells) weights that take the mean over a box, over the rest, and over the box's outermost cells."""
    row = torch.arange(CELLS)
    x, y, w, h = (v.unsqueeze(1) for v in boxes.unbind(1))

    def box(edge: int) -> Tensor:
        across = (row >= x + edge) & (row < x + w - edge)
        down = (row >= y + edge) & (row < y + h - edge)
        return (down.unsqueeze(2) & across.unsqueeze(1)).flatten(1).float()

    whole = box(0)
    inside, outside, rim = (m / m.sum(1, keepdim=True).clamp_min(1) for m in (whole, 1 - whole, whole - box(1)))
    return inside, outside, rim


def _shapes(boxes: Tensor) -> Tensor:
    """(N, 11): place and size of each box, and their products: what people like of a crop whatever it shows."""
    x, y, w, h = (boxes.float() / CELLS).unbind(1)
    cx, cy = x + w / 2 - 0.5, y + h / 2 - 0.5
    return torch.stack([torch.log2(w / h), cx, cy, w, h, cx * cx, cy * cy, w * h, w * w, h * h, cx * cy], 1)
