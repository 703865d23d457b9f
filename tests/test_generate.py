"""Nucleus sampling and beam search over a decoder whose probabilities are known."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgiaa_training.tokenizer import train_tokenizer
from numpy.typing import NDArray

from cgiaa_cli.critique.decode import OnnxDecoder, Sampling, beam, sample, write
from cgiaa_cli.critique.prompt import ATTRIBUTES, Prompt, choose_facts, control_tokens, level_of
from cgiaa_cli.errors import BundleError

END, VOCABULARY = 0, 6


class Chain:
    """A decoder whose next token depends on the last one alone; the cache holds the tokens read, to be checked.

    Args:
        table: (V, V) logits of the next token by the last.
    """

    def __init__(self, table: NDArray[Any], context: int = 40) -> None:
        self.table, self.context = table.astype(np.float32), context
        self.batches: list[int] = []

    def prefix(self, features: NDArray[Any] | None, count: int) -> NDArray[Any]:
        return np.zeros((count, 0, 1), np.float32)

    def start(self, count: int) -> NDArray[Any]:
        return np.zeros((1, 1, count, 1, 0, 1), np.float32)

    def step(
        self, ids: NDArray[Any], prefix: NDArray[Any], mask: NDArray[Any], past: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        self.batches.append(len(ids))
        read = np.concatenate((past[0, 0, :, 0, :, 0], ids), 1)
        assert mask.shape == read.shape
        return self.table[ids[:, -1]], read[None, None, :, None, :, None].astype(np.float32)


def certain(*path: int) -> NDArray[Any]:
    """A table that follows a path of tokens to its end."""
    table = np.full((VOCABULARY, VOCABULARY), -20.0)
    for a, b in itertools.pairwise(path):
        table[a, b] = 20.0
    return table


def test_follows_what_is_certain_and_ends() -> None:
    found = sample(Chain(certain(5, 1, 2, 3, END)), [[4, 5], [5]], end=END, sampling=Sampling(fewest=0))
    assert [(text, done) for text, _, done in found] == [([1, 2, 3], True)] * 2
    assert found[0][1] == pytest.approx(0, abs=1e-6)


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    chain = Chain(np.zeros((VOCABULARY, VOCABULARY)))
    free = Sampling(temperature=1, top_p=1, repetition=1, no_repeat=0, most=12)
    draws = [[t for t, _, _ in sample(chain, [[5]] * 4, end=END, sampling=free, seed=seed)] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert len({tuple(t) for t in draws[0]}) > 1
    # a candidate is what it is, whatever else is in the batch
    assert sample(chain, [[5]] * 2, end=END, sampling=free, seed=1)[1][0] == draws[0][1]


def test_the_nucleus_leaves_the_tail_out_and_keeps_its_shares() -> None:
    table = np.log(np.tile([1e-9, 0.5, 0.3, 0.15, 0.04, 0.01], (VOCABULARY, 1)))
    free = Sampling(temperature=1, top_p=0.9, repetition=1, no_repeat=0, most=400, fewest=400)
    ((text, _, done),) = sample(Chain(table, 500), [[1]], end=END, sampling=free)
    assert not done
    assert set(text) == {1, 2, 3}
    assert text.count(1) / len(text) == pytest.approx(0.5 / 0.95, abs=0.08)


def test_a_low_temperature_takes_the_likeliest() -> None:
    table = np.tile([-9.0, 1.0, 0.9, 0.8, 0.0, 0.0], (VOCABULARY, 1))
    cold = Sampling(temperature=0.01, top_p=1, repetition=1, no_repeat=0, most=10)
    assert sample(Chain(table), [[3]], end=END, sampling=cold)[0][0] == [1] * 10


def test_repetition_is_held_back() -> None:
    table = np.tile([-9.0, 2.0, 1.9, 1.8, 0.0, 0.0], (VOCABULARY, 1))
    cold = Sampling(temperature=0.01, top_p=1, repetition=1.5, no_repeat=0, most=3)
    assert sample(Chain(table), [[5]], end=END, sampling=cold)[0][0] == [1, 2, 3]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_run_comes_twice(n: int) -> None:
    free = Sampling(temperature=1, top_p=1, repetition=1, no_repeat=n, most=30, fewest=0)
    for seed in range(5):
        ((text, _, _),) = sample(Chain(np.zeros((40, 40))), [[1]], end=END, sampling=free, seed=seed)
        grams = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
        assert len(grams) == len(set(grams))


def test_silent_tokens_are_never_written_and_the_fewest_are() -> None:
    table = np.tile([9.0, 0.0, 8.0, 0.0, 0.0, 0.0], (VOCABULARY, 1))
    free = Sampling(temperature=1, top_p=1, repetition=1, no_repeat=0, most=20, fewest=5)
    found = sample(Chain(table), [[1]] * 8, end=END, silent=[END, 2], sampling=free)
    assert all(len(text) == 5 and done and not set(text) & {END, 2} for text, _, done in found)


def test_finished_texts_leave_the_batch() -> None:
    table = certain(5, 1, END)
    table[4] = certain(4, 2, 3, 1, END)[4]
    table[2], table[3] = certain(2, 3)[2], certain(3, 1)[3]
    chain = Chain(table)
    found = sample(chain, [[5], [4]], end=END, sampling=Sampling(fewest=0))
    assert [text for text, _, _ in found] == [[1], [2, 3, 1]]
    assert chain.batches == [2, 2, 1, 1]


def test_the_context_is_never_passed() -> None:
    free = Sampling(temperature=1, top_p=1, no_repeat=0, most=99, fewest=99)
    ((text, _, done),) = sample(Chain(np.zeros((9, 9)), context=10), [[1, 2, 3]], end=END, sampling=free)
    assert len(text) == 8  # the last one is written and never read
    assert not done
    assert sample(Chain(np.zeros((9, 9)), context=2), [[1, 2, 3, 4]], end=END)[0][0] == []


def test_beam_search_finds_the_best_of_all() -> None:
    random = np.random.default_rng(0)
    table = random.normal(0, 1.5, (VOCABULARY, VOCABULARY))
    logs = table - np.log(np.exp(table).sum(1, keepdims=True))
    texts = [p for n in range(1, 4) for p in itertools.product(range(1, VOCABULARY), repeat=n)]

    def score(text: tuple[int, ...]) -> float:
        path = (5, *text, END)
        return float(sum(logs[a, b] for a, b in itertools.pairwise(path)) / (len(text) + 1))

    best = max(texts, key=score)
    free = Sampling(repetition=1, no_repeat=0, most=4, fewest=1)
    found = beam(Chain(table), [5], end=END, beams=200, sampling=free)
    assert tuple(found[0][0]) == best
    assert found[0][1] == pytest.approx(score(best), abs=1e-5)
    assert len({tuple(t) for t, _, _ in found}) == len(found)


def test_beam_search_sees_past_a_greedy_start() -> None:
    table = np.full((VOCABULARY, VOCABULARY), -20.0)
    table[5, [1, 2]] = np.log([0.6, 0.4])
    table[1, [1, 2, 3, 4]] = np.log([0.25] * 4)  # the likelier start leads nowhere
    table[2, 3] = table[3, END] = 0.0
    table[4, END] = 0.0
    free = Sampling(repetition=1, no_repeat=0, most=6, fewest=1)
    assert beam(Chain(table), [5], end=END, beams=3, sampling=free)[0][0] == [2, 3]


def test_prompts_are_written_in_one_order() -> None:
    facts = (("tilt", "level"), ("exposure", "dark"), ("exposure", "dark"), ("contrast", ""))
    tokens = Prompt("composition", 3, "short", facts).tokens()
    assert tokens == ["<bos>", "<composition>", "<level_3>", "<short>", "<exposure:dark>", "<tilt:level>", "<says>"]
    assert Prompt("general").tokens() == ["<bos>", "<general>", "<says>"]
    assert set(tokens) <= set(control_tokens())
    for wrong in (Prompt("light", 3), Prompt("general", 11), Prompt("general", 1, facts=(("tilt", "odd"),))):
        with pytest.raises(ValueError, match="no such control"):
            wrong.tokens()


def test_levels_part_at_the_edges() -> None:
    edges = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert [level_of(p, edges) for p in (0.5, 1.0, 1.5, 9.5)] == [1, 1, 2, 10]


def test_only_plans_that_are_true_are_chosen() -> None:
    plans = [((("tilt", "tilted"),), 50), ((("tilt", "level"), ("clutter", "busy")), 1), ((), 1)]
    random = np.random.default_rng(0)
    holds = {"tilt": {"level"}, "clutter": {"busy", "simple"}}
    chosen = {tuple(choose_facts(plans, holds, random)) for _ in range(40)}
    assert chosen == {plans[1][0], ()}
    assert choose_facts(plans[:1], holds, random) == ()


def test_writing_gives_text_for_each_prompt(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["The light is soft. The frame is tight."] * 3, 400, tmp_path / "tokenizer.json")
    chain = Chain(np.zeros((len(tokenizer), len(tokenizer))), context=30)
    prompts = [Prompt(a, 1 + i) for i, a in enumerate(ATTRIBUTES)] * 2
    found = write(chain, tokenizer, prompts, Sampling(most=6), seed=1)
    assert len(found) == 8
    assert len({c.text for c in found}) == 8  # the same prompt twice is two candidates
    assert not any("<" in c.text and ">" in c.text for c in found)
    assert all(c.likelihood == pytest.approx(-np.log(len(tokenizer)), abs=1e-4) for c in found)


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "decoder.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(BundleError, match=r"decoder\.onnx: ONNX Runtime cannot load it"):
        OnnxDecoder(path, context=8)
