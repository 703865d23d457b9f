"""What a stage would cost: counted operations, kept activations, steps as the loop makes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cgiaa_training import plan as planning
from cgiaa_training.loop import LoopConfig
from cgiaa_training.plan import Plan, estimate, passes, throughput, together
from torch import nn


@pytest.fixture(autouse=True)
def fixed_throughput(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of a million operations a second, so that seconds tell operations."""
    monkeypatch.setattr(planning, "throughput", lambda *_: 1e6)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(64, 128, bias=False)


def test_operations_of_a_linear_layer_are_those_of_the_textbook() -> None:
    loop = LoopConfig(epochs=3, batch_size=8, accumulate=2)
    found = estimate("s", linear(), torch.ones(4, 64), 100, loop)
    forward_and_weights = 2 * (2 * 64 * 128)  # a sample; the input wants no gradient
    assert found.steps == 3 * (100 // 16)
    assert found.seconds == pytest.approx(forward_and_weights * 16 * found.steps / 1e6)
    assert found.parameters == found.trained == 64 * 128


def test_fewer_samples_than_a_batch_still_make_a_step_an_epoch() -> None:
    found = estimate("s", linear(), torch.ones(4, 64), 5, LoopConfig(epochs=2, batch_size=32))
    assert found.steps == 2


def test_memory_counts_what_training_keeps() -> None:
    frozen, learnt = nn.Linear(64, 64, bias=False).requires_grad_(False), nn.Linear(64, 32, bias=False)
    model = nn.Sequential(frozen, learnt)
    without = estimate("s", model, torch.ones(2, 64), 64, LoopConfig(batch_size=8))
    weights, trained, activations = 64 * 64 + 64 * 32, 64 * 32, 64 * 8  # the input of `learnt` is kept
    assert without.memory_bytes == 4 * (weights + 3 * trained + activations)
    assert without.trained == trained
    averaged = estimate("s", model, torch.ones(2, 64), 64, LoopConfig(batch_size=8, ema=0.99))
    assert averaged.memory_bytes - without.memory_bytes == 4 * weights
    mixed = estimate("s", model, torch.ones(2, 64), 64, LoopConfig(batch_size=8, precision="bf16"))
    assert without.memory_bytes - mixed.memory_bytes == 2 * activations


def test_a_model_without_weights_costs_the_same() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(8 * 36, 5))

    with torch.device("meta"):
        light, ghost = build(), torch.ones(2, 3, 8, 8)
    loop = LoopConfig(batch_size=4)
    real, dry = estimate("s", build(), torch.ones(2, 3, 8, 8), 40, loop), estimate("s", light, ghost, 40, loop)
    assert (dry.memory_bytes, dry.parameters, dry.steps) == (real.memory_bytes, real.parameters, real.steps)
    assert dry.seconds == pytest.approx(real.seconds)


def test_the_model_and_the_random_numbers_stay_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    estimate("s", model, torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), 40, LoopConfig())
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_the_loss_of_a_stage_can_be_given_and_its_batch_is_its_own() -> None:
    def loss(model: nn.Module, batch: dict[str, list[str]]) -> tuple[torch.Tensor, dict[str, float]]:
        return model(torch.ones(len(batch["texts"]), 64)).square().mean(), {"other": 1.0}

    found = estimate("s", linear(), {"texts": ["a", "b", "c", "d"]}, 64, LoopConfig(epochs=1, batch_size=32), loss=loss)
    plain = estimate("s", linear(), torch.ones(4, 64), 64, LoopConfig(epochs=1, batch_size=32))
    assert found.seconds == pytest.approx(plain.seconds)


def test_a_frozen_pass_is_forward_only() -> None:
    found = passes("s", linear(), torch.ones(4, 64), 100)
    assert found.seconds == pytest.approx(2 * 64 * 128 * 100 / 1e6)
    assert (found.steps, found.trained, found.memory_bytes) == (0, 0, 4 * 64 * 128)


def test_parts_of_a_stage_add_up() -> None:
    features = Plan("x", 100, 0, 1000, 0, 4000, 5.0)
    head = Plan("y", 80, 50, 10, 10, 9000, 2.0)
    assert together("fusion", features, head) == Plan("fusion", 100, 50, 1000, 10, 9000, 7.0)


def test_throughput_is_measured() -> None:
    assert 1e8 < throughput("cpu") < 1e14
    assert np.isfinite(throughput("cpu"))
