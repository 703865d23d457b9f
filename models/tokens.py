"""Texts as token ids, by a tokenizer that is one JSON text: it travels in a checkpoint and in a bundle, needs no hub.

The format is that of Hugging Face's `tokenizers`, which the program reads at run time with the same library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor

__all__ = ["Tokens", "clip_tokenizer"]


class Tokens:
    """A tokenizer with a longest length.

    Args:
        description: JSON-able: `json` (the tokenizer's text), `context` (most tokens of a text), `pad` (id that fills
            up), `fixed` (whether every text is filled up to `context`, or to the longest of its batch) and `clean`
            (name of open_clip's function that texts go through first, "" for none).
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.description = dict(description)
        self.tokenizer = Tokenizer.from_str(description["json"])
        self.tokenizer.enable_truncation(description["context"])
        length = description["context"] if description["fixed"] else None
        token = self.tokenizer.id_to_token(description["pad"])
        self.tokenizer.enable_padding(pad_id=description["pad"], pad_token=token, length=length)
        self.clean = None
        if description["clean"]:
            from open_clip.tokenizer import get_clean_fn

            self.clean = get_clean_fn(description["clean"])

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask (1: a token, 0: filled up), both (B, L) int64."""
        cleaned = list(texts) if self.clean is None else [self.clean(text) for text in texts]
        found = self.tokenizer.encode_batch(cleaned)
        return torch.tensor([f.ids for f in found]), torch.tensor([f.attention_mask for f in found])


def clip_tokenizer() -> str:
    """CLIP's byte-pair encoding (Radford et al. 2021) as JSON, from the merges that ship with open_clip."""
    from open_clip.tokenizer import SimpleTokenizer

    simple = SimpleTokenizer()
    start, end = "<start_of_text>", "<end_of_text>"
    tokenizer = Tokenizer(
        models.BPE(vocab=simple.encoder, merges=list(simple.bpe_ranks), end_of_word_suffix="</w>", unk_token=end)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([start, end])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, simple.sot_token_id), (end, simple.eot_token_id)],
    )
    return str(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False))
