"""How pleasant is what a caption tells of, as a language model sees it.

A language model has read what people call beautiful and what they call ugly. After "A lake at dawn. This photo is" it
expects the one sort of word rather than the other, without an example: such sentences with a gap bring out what it
knows (Petroni et al. 2019), and words fixed beforehand say what an answer means (Schick and Schütze 2021). A ridge on
what the teacher of beauty sees learns this opinion from photos with captions, and so has one of photos without.

The captions' opinions are kept in RUN/distill/language, a file for some hundred of them, whose name is a hash of the
model, the phrases and the texts: a run that was killed goes on, and one with other texts asks anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from cgiaa_training.files import appearing
from cgiaa_training.ridge import out_of_fold, unit
from cgiaa_training.run import Context
from cgiaa_training.teacher import open_model
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from cgiaa_cli.errors import CgiaaError

__all__ = ["LanguageConfig", "opinion", "pleasantness"]

PHRASES = ("{}. This photo is", "{}. The scene looks")
PLEASANT = ("beautiful", "pretty", "lovely", "gorgeous", "attractive", "stunning")
UNPLEASANT = ("ugly", "boring", "dirty", "disgusting", "unpleasant", "dull")
STRENGTH = 1.0  # of the ridge: more than the ratings' own, since a caption tells little of how its photo looks
CHUNK = 512  # texts between two saves
BATCH = 64


@dataclass(frozen=True)
class LanguageConfig:
    """Which language model has a say in what is beautiful.

    Attributes:
        model: a name as `training.teacher` has them; "": nobody is asked.
        weight: of its opinion beside that of the beauty teacher, which has 1; 0: it is not asked.
        captions: sets whose photos have texts that say what they show; of several on one photo the first counts.
    """

    model: str = ""
    weight: float = 0.3
    captions: tuple[str, ...] = ()

    @property
    def asked(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.model and self.weight)

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = ["weight must be 0 or more"] if self.weight < 0 else []
        return faults + (["captions must name a set for the model"] if self.model and not self.captions else [])


def opinion(context: Context, seen: NDArray[Any], texts: Sequence[str | None]) -> NDArray[Any]:
    """What the language model would say of photos, in zero mean and unit deviation over all of them.

    Args:
        seen: (N, F) features.
        texts: captions of the N photos, None where there is none; one at least. A photo with a caption is judged by a
            fit without it.

    Raises:
        CgiaaError: the model cannot be had, or does not know the words.
    """
    known = [i for i, text in enumerate(texts) if text is not None]
    said = np.full(len(seen), np.nan)
    said[known] = pleasantness(context, [str(texts[i]) for i in known])
    return unit(out_of_fold(seen, said, STRENGTH))


def pleasantness(context: Context, texts: Sequence[str]) -> NDArray[np.float64]:
    """(N,) in zero mean and unit deviation: the mean of the phrases, each brought to unit deviation first."""
    name, folder = context.recipe.distill.language.model, context.folder("distill") / "language"
    folder.mkdir(exist_ok=True)
    chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
    opened: list[Any] = []
    found = []
    for number, chunk in enumerate(chunks):
        key = json.dumps([name, PHRASES, PLEASANT, UNPLEASANT, list(chunk)])
        path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
        if not path.exists():
            context.say(f"distill: a language model reads captions {number * CHUNK}/{len(texts)}")
            model, tokenizer = opened = opened or list(open_model(name))
            odds = np.stack([_odds(model.to(context.device), tokenizer, _asked(chunk, p)) for p in PHRASES], 1)
            with appearing(path) as partial:
                np.save(partial, odds)
        found.append(np.load(path))
    whole = np.concatenate(found)
    return unit(np.mean([unit(column) for column in whole.T], 0))


def _asked(texts: Sequence[str], phrase: str) -> list[str]:
    return [phrase.format(text.strip().rstrip(".")) for text in texts]


def _odds(model: Any, tokenizer: Any, texts: Sequence[str]) -> NDArray[np.float64]:
    """(N,) mean log-likelihood, in nats, that a pleasant word comes next, less that of an unpleasant one."""
    device = next(model.parameters()).device
    pleasant, unpleasant = _tokens(tokenizer, PLEASANT), _tokens(tokenizer, UNPLEASANT)
    start = [int(tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id)]
    rows = [torch.tensor(start + tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # little padding
    found = np.zeros(len(rows))
    for k in range(0, len(order), BATCH):
        part = order[k : k + BATCH]
        lengths = torch.tensor([len(rows[i]) for i in part])
        ids = pad_sequence([rows[i] for i in part], batch_first=True)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        with torch.inference_mode():
            hidden = model.base_model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
            logits = model.get_output_embeddings()(hidden[torch.arange(len(part)), lengths - 1])
        # what makes likelihoods of logits is the same for all words, and falls out of the difference
        found[part] = (logits[:, pleasant].mean(1) - logits[:, unpleasant].mean(1)).cpu().numpy()
    return found


def _tokens(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """The words that are one token: a longer one's first token may begin another word."""
    split = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    found = [ids[0] for ids in split if len(ids) == 1]
    if not found:
        raise CgiaaError(
            f"the language model knows none of the words {', '.join(words)}",
            mend="name another model in distill.language",
        )
    return found
