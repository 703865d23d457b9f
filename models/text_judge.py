"""The judge of critiques: what a text is about, and how much its writer thinks of that.

A sentence encoder (`towers.TextTower`) under two linear heads. Its memory of single words is helped by a bag of hashed
words and word pairs with linear heads of its own, fitted in closed form (see `training/attributes.py`); both opinions
are added. The bag is part of the graph, so the exported judge needs nothing but token ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cgiaa_models.towers import TextTower
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["ABOUT", "KnownWords", "TextJudge"]

ABOUT = ("color_light", "composition", "depth_focus", "general", "none")
"""What a text may be about: the four attributes of CG-IAA, or none of them."""

LOWEST, HIGHEST = 1.0, 10.0


class Bag(nn.Module):
    """TF-IDF over hashed words and pairs of neighbouring words, made from token ids.

    Args:
        buckets: size of the vector; a word and a pair fall into one of them by their ids.
        pad: id of what fills up.
    """

    idf: Tensor

    def __init__(self, buckets: int, pad: int) -> None:
        super().__init__()
        self.buckets, self.pad = buckets, pad
        self.register_buffer("idf", torch.ones(buckets))
        self.about = nn.Linear(buckets, len(ABOUT))
        self.polarity = nn.Linear(buckets, 1)
        for head in (self.about, self.polarity):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.requires_grad_(False)

    def features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) ids and mask -> (B, buckets), rows of length 1: (1 + log of the count) * idf, normalised."""
        # rolled, not sliced: the exported graph then takes texts of any length, one token too
        pairs = (ids.roll(1, 1) * 1_000_003 + ids * 7_919) % self.buckets
        second = torch.arange(ids.shape[1], device=ids.device) > 0
        there = torch.cat([mask, mask.roll(1, 1) * mask * second], 1).to(self.idf.dtype)
        at = torch.cat([ids * 15_485_863 % self.buckets, pairs], 1)
        counts = torch.zeros(ids.shape[0], self.buckets, dtype=self.idf.dtype, device=ids.device).scatter_add(
            1, at, there
        )
        weights = (counts > 0) * (1 + torch.log(counts.clamp_min(1))) * self.idf
        length: Tensor = weights.norm(dim=1, keepdim=True)
        return weights / length.clamp_min(1e-6)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L) ids and mask -> (B, 5) log-odds and (B,) polarity."""
        features = self.features(ids, mask)
        return self.about(features), self.polarity(features)[:, 0]


class KnownWords(nn.Module):
    """An embedding of which only some rows are kept; all other tokens are read as the unknown one.

    Half of a MiniLM-class encoder is words that no critique uses.

    Args:
        words: the whole embedding, (V, W).
        kept: ids of the rows to keep.
        unknown: id of the unknown token; it is kept.
    """

    table: Tensor

    def __init__(self, words: nn.Embedding, kept: Sequence[int], unknown: int) -> None:
        super().__init__()
        rows = sorted({unknown, *kept})
        table = torch.full((words.num_embeddings,), rows.index(unknown), dtype=torch.int64)
        table[rows] = torch.arange(len(rows))
        self.register_buffer("table", table)
        self.words = nn.Embedding.from_pretrained(words.weight[rows].detach().clone())

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) ids -> (B, L, W)."""
        found: Tensor = self.words(self.table[ids])
        return found


class TextJudge(nn.Module):
    """Texts -> what they are about, and their polarity.

    Args:
        blueprint: JSON-able: `text` (see `towers.TextTower`), `dropout`, `buckets` (of the bag; 0: none).
    """

    middle: Tensor
    spread: Tensor
    bag_polarity: Tensor
    bag_about: Tensor

    def __init__(self, blueprint: Mapping[str, Any]) -> None:
        super().__init__()
        self.blueprint = dict(blueprint)
        self.text = TextTower(blueprint["text"])
        self.dropout = nn.Dropout(blueprint["dropout"])
        self.about = nn.Linear(self.text.width, len(ABOUT))
        self.score = nn.Linear(self.text.width, 2)  # of what the text is about, and of the photo as a whole
        self.bag = Bag(blueprint["buckets"], blueprint["text"]["tokens"]["pad"]) if blueprint["buckets"] else None
        # learned scores have zero mean and unit deviation; these lead back to 1..10
        self.register_buffer("middle", torch.tensor(5.5))
        self.register_buffer("spread", torch.tensor(1.5))
        # share of the bag in the polarity and weight of its log-odds
        self.register_buffer("bag_polarity", torch.tensor(0.0))
        self.register_buffer("bag_about", torch.tensor(0.0))

    def encode(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L) ids and mask -> (B, 5) logits and (B, 2) standardised scores, of the encoder alone."""
        features = self.dropout(self.text(ids, mask).float())
        return self.about(features), self.score(features)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 5), in the order of `ABOUT`, and polarity (B,) in 1..10.

        Args:
            ids, mask: (B, L) int64, as `text.tokens` gives them.
        """
        logits, scores = self.encode(ids, mask)
        score = scores[:, 0]
        if self.bag is not None:
            about, polarity = self.bag(ids, mask)
            logits = torch.log_softmax(logits, 1) + self.bag_about * about
            score = (1 - self.bag_polarity) * score + self.bag_polarity * polarity
        return logits, (self.middle + self.spread * score).clamp(LOWEST, HIGHEST)

    @torch.inference_mode()
    def judge(self, texts: Sequence[str], batch: int = 64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(N, 5) probabilities in the order of `ABOUT`, and (N,) polarity in 1..10, of N texts of any length.

        Texts of like length go together, for speed; the answers come in the order of the texts.
        """
        about = np.zeros((len(texts), len(ABOUT)), np.float32)
        polarity = np.zeros(len(texts), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        device = self.middle.device
        was = self.training
        self.eval()
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            ids, mask = self.text.tokens([texts[i] for i in chosen])
            logits, scores = self(ids.to(device), mask.to(device))
            about[chosen] = torch.softmax(logits.float(), 1).cpu().numpy()
            polarity[chosen] = scores.float().cpu().numpy()
        self.train(was)
        return about, polarity

    def attribute(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, 5) probabilities in the order of `ABOUT`."""
        return self.judge(texts)[0]

    def polarity(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N,) in 1..10: the score that a critic who writes this would give to what it is about."""
        return self.judge(texts)[1]

    def groups(self) -> list[tuple[int, list[nn.Parameter]]]:
        """Parameters by depth, the heads at 0. The bag is fitted, not trained, and is left out."""
        heads = [*self.about.parameters(), *self.score.parameters()]
        layers = [[p for p in layer if p.requires_grad] for layer in self.text.layers()]
        return [(0, heads), *((d, layer) for d, layer in enumerate(reversed(layers), 1) if layer)]

    def freeze_words(self) -> None:
        """Keep the table of word vectors as it is: most of a small encoder's weights, and few texts to move them."""
        for module in self.text.modules():
            if isinstance(module, nn.Embedding) and module.num_embeddings > 1024:
                module.weight.requires_grad_(False)
