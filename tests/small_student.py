"""A student small enough for tests of what becomes of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cgiaa_cli.imaging.measure import MEASURES


class Small(nn.Module):
    """The inputs and outputs of a student, a score that follows brightness, and convolutions to quantise."""

    crop = None

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.AvgPool2d(10), nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU())
        self.middle = nn.Linear(16, 32)
        self.distribution, self.attributes = nn.Linear(32 + len(MEASURES), 10), nn.Linear(32, 4)
        self.technical, self.complexity, self.embedding = nn.Linear(32, 1), nn.Linear(32, 1), nn.Linear(32, 8)

    def forward(self, photo: Tensor, tiles: Tensor, measures: Tensor) -> tuple[Tensor, ...]:
        seen = self.middle(self.trunk(photo.permute(0, 3, 1, 2).float() / 255).mean((2, 3)))
        tilt = (photo.float().mean((1, 2, 3)) / 255)[:, None] * torch.arange(10.0)
        detail = tiles.float().mean((1, 2, 3))[:, None] / 2550
        return (
            torch.softmax(self.distribution(torch.cat([seen, measures], 1)) + tilt, 1),
            (self.attributes(seen) + 5).clamp(1, 10),
            (self.technical(seen) + 5 + detail).squeeze(1).clamp(1, 10),
            (self.complexity(seen) + 50).squeeze(1).clamp(0, 100),
            nn.functional.normalize(self.embedding(seen), dim=1),
        )
