"""A byte-level BPE tokenizer of the critiques' own, with the control tokens of `cgiaa_cli.critique.prompt`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cgiaa_training.files import appearing

from cgiaa_cli.critique.prompt import control_tokens
from cgiaa_cli.critique.tokenizer import Tokenizer

__all__ = ["extend_tokenizer", "train_tokenizer"]


def train_tokenizer(texts: Iterable[str], size: int, path: Path) -> Tokenizer:
    """Train on `texts` and write `path` (tokenizer.json).

    Args:
        size: of the vocabulary, control tokens and the 256 bytes included; fewer where the texts give no more.
    """
    from tokenizers import Tokenizer as Fast
    from tokenizers import decoders, models, pre_tokenizers, trainers

    fast = Fast(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=control_tokens(),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    fast.train_from_iterator(texts, trainer)
    with appearing(path) as partial:
        fast.save(str(partial))
    return Tokenizer(path)


def extend_tokenizer(name_or_folder: str, path: Path) -> Tokenizer:
    """A Hugging Face byte-level BPE tokenizer (GPT-2's) with the control tokens behind its own, written to `path`."""
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(name_or_folder).backend_tokenizer
    fast.add_special_tokens(control_tokens())
    fast.post_processor = None
    with appearing(path) as partial:
        fast.save(str(partial))
    return Tokenizer(path)
