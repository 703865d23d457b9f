"""An attribute expert of MAEL: a prefix mapper over the photo's embedding, and a causal decoder that writes.

ClipCap's design (Mokady et al. 2021, github.com/rmokady/CLIP_prefix_caption), as CG-IAA uses it (github.com/yzc-ippl/
CG-IAA): a transformer turns one embedding into `prefix_length` vectors that stand before the text. The decoder is
GPT-2's (pre-norm, tied embeddings, GELU): with its weights where they are at hand, or a small one of our own, which may
have rotary positions (Su et al. 2021) instead of learned ones. Either keeps its keys and values in one tensor, so that
the exported graph needs one input and one output for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Decoder", "Expert", "ExpertShape", "load_gpt2"]


@dataclass(frozen=True)
class ExpertShape:
    """What an expert is built from.

    Attributes:
        vocabulary: tokens.
        width, layers, heads: of the decoder.
        context: positions at most, prefix included.
        rotary: rotary positions; False: learned ones.
        feature: dimensions of the photo's embedding; 0: no photo, no mapper.
        prefix_length, mapper_depth: of the mapper.
        dropout: in training.
    """

    vocabulary: int
    width: int = 256
    layers: int = 4
    heads: int = 4
    context: int = 64
    rotary: bool = True
    feature: int = 0
    prefix_length: int = 10
    mapper_depth: int = 2
    dropout: float = 0.1


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, bias: Tensor | None, past: Tensor | None, turn: tuple[Tensor, Tensor] | None, causal: bool
    ) -> tuple[Tensor, Tensor]:
        """(B, N, W) -> (B, N, W) and the keys and values (2, B, H, C + N, W / H).

        Args:
            bias: (B, 1, N, C + N), added to the attention; None with `causal`: each sees what is before it.
            past: (2, B, H, C, W / H).
            turn: cosines and sines (B or 1, 1, N, W / H) of rotary positions.
        """
        b, n, w = x.shape
        q, k, v = self.into(x).view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        if turn is not None:
            q, k = _rotate(q, *turn), _rotate(k, *turn)
        if past is not None:
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, is_causal=causal)
        return self.out(y.transpose(1, 2).reshape(b, n, w)), torch.stack((k, v))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, heads, dropout)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        past: Tensor | None = None,
        turn: tuple[Tensor, Tensor] | None = None,
        causal: bool = False,
    ) -> tuple[Tensor, Tensor]:
        y, present = self.attention(self.norm_1(x), bias, past, turn, causal)
        x = x + self.drop(y)
        return x + self.drop(self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))), present


class Mapper(nn.Module):
    """One embedding -> the vectors that stand before the text."""

    def __init__(self, shape: ExpertShape) -> None:
        super().__init__()
        self.length = shape.prefix_length
        self.into = nn.Linear(shape.feature, shape.prefix_length * shape.width)
        self.constant = nn.Parameter(torch.randn(shape.prefix_length, shape.width) * 0.02)
        self.blocks = nn.ModuleList(_Block(shape.width, shape.heads, shape.dropout) for _ in range(shape.mapper_depth))

    def forward(self, feature: Tensor) -> Tensor:
        """(B, D), of unit length, or zero where the photo is not known -> (B, prefix_length, W)."""
        told = self.into(feature).view(feature.shape[0], self.length, -1)
        x = torch.cat((told, self.constant.expand(feature.shape[0], -1, -1)), 1)
        for block in self.blocks:
            x, _ = block(x)
        return x[:, self.length :]


class Decoder(nn.Module):
    """GPT-2's decoder over embedded tokens, with a cache."""

    def __init__(self, shape: ExpertShape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = None if shape.rotary else nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(_Block(shape.width, shape.heads, shape.dropout) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.drop = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Hidden states (B, N, W) of embedded tokens, and the cache.

        Args:
            x: (B, N, W).
            mask: (B, C + N), 1 where there is something, 0 for padding; None: no cache and no padding on the left.
            past: (layers, 2, B, H, C, W / H), C of which may be 0.

        Returns:
            (B, N, W) after the last norm; (layers, 2, B, H, C + N, W / H).
        """
        n = x.shape[1]
        if mask is None:
            bias, at = None, torch.arange(n, device=x.device)[None]
        else:
            cached = 0 if past is None else past.shape[4]
            earlier = torch.arange(cached + n, device=x.device)
            seen = earlier[None, :] <= (torch.arange(n, device=x.device) + cached)[:, None]
            # a large number, not infinity: a row of padding sees nothing, and its softmax must stay a number
            bias = (1.0 - (seen[None, None] & (mask[:, None, None, :] > 0)).to(x.dtype)) * -1e9
            at = (mask.cumsum(1) - 1).clamp(min=0).narrow(1, cached, n)
        turn = None
        if self.positions is None:
            turn = _turn(at, self.shape.width // self.shape.heads, x.dtype)
        else:
            x = x + self.positions(at)
        x = self.drop(x)
        presents = []
        for i, block in enumerate(self.blocks):
            x, present = block(x, bias, None if past is None else past[i], turn, mask is None)
            presents.append(present)
        return self.norm(x), torch.stack(presents)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., W) -> (..., V); the embedding is the head."""
        return F.linear(hidden, self.tokens.weight)


class Expert(nn.Module):
    """Mapper and decoder. Without a photo (`shape.feature` is 0) it is driven by its control tokens alone."""

    def __init__(self, shape: ExpertShape) -> None:
        super().__init__()
        self.shape = shape
        self.mapper = Mapper(shape) if shape.feature else None
        self.decoder = Decoder(shape)
        self.apply(_start)
        for block in self.decoder.blocks:  # GPT-2: residual branches start small, the deeper the smaller
            assert isinstance(block, _Block)
            for layer in (block.attention.out, block.down):
                nn.init.normal_(layer.weight, std=0.02 / (2 * shape.layers) ** 0.5)

    def prefix(self, feature: Tensor | None, count: int) -> Tensor:
        """(B, D) -> (B, P, W); P is 0 where there is no mapper. No feature: a photo that is not known."""
        weight = self.decoder.tokens.weight
        if self.mapper is None:
            return weight.new_zeros(count, 0, self.shape.width)
        found: Tensor = self.mapper(weight.new_zeros(count, self.shape.feature) if feature is None else feature)
        return found

    def forward(self, ids: Tensor, feature: Tensor | None = None, where: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of the token after each of `ids` (B, T), padded on the right.

        Args:
            where: (B, T) yes or no: logits (M, V) of these positions only, for the head costs most.
        """
        prefix = self.prefix(feature, ids.shape[0])
        hidden, _ = self.decoder(torch.cat((prefix, self.decoder.tokens(ids)), 1))
        hidden = hidden[:, prefix.shape[1] :]
        return self.decoder.logits(hidden if where is None else hidden[where])

    def step(self, ids: Tensor, prefix: Tensor, mask: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, V) of the next token, and the cache.

        Args:
            ids: (B, T): the whole prompt, padded on the left, or the one new token.
            prefix: (B, P, W) in the first step, (B, 0, W) afterwards.
            mask: (B, C + P + T), 0 for padding.
            past: (layers, 2, B, H, C, W / H); C is 0 in the first step.
        """
        x = torch.cat((prefix, self.decoder.tokens(ids)), 1)
        hidden, present = self.decoder(x, mask, past)
        return self.decoder.logits(hidden[:, -1]), present

    def nothing(self, count: int) -> Tensor:
        """The cache before the first step."""
        s = self.shape
        return self.decoder.tokens.weight.new_zeros(s.layers, 2, count, s.heads, 0, s.width // s.heads)


def load_gpt2(name_or_folder: str, vocabulary: int, **others: int | float) -> Expert:
    """An expert whose decoder has the weights of a Hugging Face GPT-2.

    Args:
        name_or_folder: on the hub, or a local folder.
        vocabulary: with the control tokens, whose embeddings start at the mean of the others.
        others: `feature`, `prefix_length`, `mapper_depth`, `dropout` of the `ExpertShape`.

    Raises:
        OSError: no such model (from transformers).
    """
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(name_or_folder)
    c, state = theirs.config, theirs.state_dict()
    shape = ExpertShape(vocabulary, c.n_embd, c.n_layer, c.n_head, c.n_positions, rotary=False, **others)  # type: ignore[arg-type]  # of the four fields that the docstring names
    expert = Expert(shape)
    names = {"norm_1": "ln_1", "norm_2": "ln_2", "attention.into": "attn.c_attn", "attention.out": "attn.c_proj"}
    names |= {"up": "mlp.c_fc", "down": "mlp.c_proj"}
    tokens = state["transformer.wte.weight"]
    more = tokens.mean(0).expand(max(0, vocabulary - len(tokens)), -1)
    ours = {
        "tokens.weight": torch.cat((tokens, more))[:vocabulary],
        "positions.weight": state["transformer.wpe.weight"],
    }
    ours |= {f"norm.{part}": state[f"transformer.ln_f.{part}"] for part in ("weight", "bias")}
    for layer in range(c.n_layer):
        for name, their in names.items():
            for part in ("weight", "bias"):
                value = state[f"transformer.h.{layer}.{their}.{part}"]
                # their linear layers (Conv1D) hold the transposed weight
                turned = value.T if part == "weight" and value.ndim == 2 else value
                ours[f"blocks.{layer}.{name}.{part}"] = turned.contiguous()
    expert.decoder.load_state_dict(ours)
    return expert


def _turn(at: Tensor, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, 1, N, width) of rotary positions `at` (B, N)."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device=at.device, dtype=torch.float32) / width)
    angles = at[:, None, :, None].float() * rates
    angles = torch.cat((angles, angles), -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cosine + torch.cat((-x[..., half:], x[..., :half]), -1) * sine


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
