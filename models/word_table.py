"""A text tower that is a table of word vectors: what a large one says of each word, weighed by how much a word tells.

Static embeddings distilled from a sentence encoder (Tulkens and van Dongen 2024, Model2Vec; weights after Arora et al.
2017): order and grammar are lost, which short descriptions of photos hardly need, and so are nine tenths of the bytes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["WordTable"]


class WordTable(nn.Module):
    """Tokens -> one vector of length 1.

    Args:
        words: (V, D) vectors; rows of zeros are words that say nothing.
        weight, bias: (D, D) and (D,): from the direction of the sum to the common space.
    """

    def __init__(self, words: Tensor, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(words)
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(bias)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) token numbers and which of them count -> (B, D)."""
        told = (self.words(ids) * mask.unsqueeze(-1)).sum(1)
        return nn.functional.normalize(self.linear(nn.functional.normalize(told, dim=1)), dim=1)
