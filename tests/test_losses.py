"""Losses with known values and gradients; gradient caching against the plain gradient; the loss over processes."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from cgiaa_training.losses import cached_step, emd_loss, gathered, infonce, rank_loss, slices
from cgiaa_training.metrics import emd
from torch import Tensor, nn
from torch.nn import functional


def _unit(rows: int, dim: int, seed: int) -> Tensor:
    drawn = torch.randn(rows, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(drawn, dim=1)


def test_infonce_of_chance_and_of_a_perfect_match() -> None:
    same = torch.ones(8, 4, dtype=torch.float64) / 2
    assert infonce(same, same, torch.tensor(10.0)).item() == pytest.approx(math.log(8))
    eye = torch.eye(6, dtype=torch.float64)
    assert infonce(eye, eye, torch.tensor(100.0)).item() < 1e-6
    assert infonce(eye, eye.roll(1, 0), torch.tensor(100.0)).item() == pytest.approx(100, rel=1e-3)


def test_infonce_is_symmetric_and_its_gradient_is_right() -> None:
    image, text, scale = _unit(5, 3, 0).requires_grad_(), _unit(5, 3, 1).requires_grad_(), torch.tensor(4.0).double()
    assert infonce(image, text, scale).item() == pytest.approx(infonce(text, image, scale).item())
    group = torch.tensor([0, 1, 1, 2, 0])
    scale.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b, s: infonce(a, b, s), (image, text, scale))
    assert torch.autograd.gradcheck(lambda a, b, s: infonce(a, b, s, group), (image, text, scale))


def test_texts_on_the_same_photo_are_no_mistakes() -> None:
    """Two pairs on one photo that the towers place alike: with groups the loss is as small as it can be."""
    points = torch.eye(3, dtype=torch.float64)[[0, 0, 1, 2]]
    scale = torch.tensor(100.0)
    assert infonce(points, points, scale, torch.tensor([7, 7, 8, 9])).item() == pytest.approx(math.log(2) / 2, abs=1e-6)
    wrong = infonce(points, points, scale, torch.tensor([7, 8, 7, 9])).item()
    assert wrong > 10
    alone = torch.arange(4)
    image, text = _unit(4, 3, 0), _unit(4, 3, 1)
    assert infonce(image, text, scale, alone).item() == pytest.approx(infonce(image, text, scale).item())


def test_the_loss_teaches_the_temperature() -> None:
    """Where the match is right, a larger scale is better; where it is chance, a smaller one."""
    eye = torch.eye(4, dtype=torch.float64)
    for text, direction in ((eye, -1), (eye.roll(1, 0), 1)):
        scale = torch.tensor(2.0, requires_grad=True)
        infonce(eye, text, scale).backward()
        assert scale.grad is not None and math.copysign(1, scale.grad.item()) == direction


def test_emd_agrees_with_the_metric_and_its_gradient_is_right() -> None:
    p, q = (torch.softmax(3 * _unit(6, 10, seed), 1) for seed in (0, 1))
    assert emd_loss(p, q).item() == pytest.approx(emd(p.numpy(), q.numpy()).mean())
    one, last = torch.eye(10)[:1], torch.eye(10)[9:]
    assert emd_loss(one, last).item() == pytest.approx(math.sqrt(0.9))  # nine of ten steps of the sums differ by one
    assert torch.autograd.gradcheck(lambda x: emd_loss(torch.softmax(x, 1), q), (p.log().requires_grad_(),))


def test_emd_of_equals_is_zero_with_a_finite_gradient() -> None:
    p = torch.softmax(torch.randn(3, 10, generator=torch.Generator().manual_seed(0)), 1)
    predicted = p.clone().requires_grad_()
    loss = emd_loss(predicted, p)
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad is not None and torch.equal(predicted.grad, torch.zeros_like(p))


def test_rank_loss_counts_pairs_in_the_wrong_order() -> None:
    truth = torch.tensor([1.0, 2.0, 3.0])
    assert rank_loss(100 * truth, truth).item() == pytest.approx(0, abs=1e-6)
    assert rank_loss(-100 * truth, truth).item() == pytest.approx(400 / 3, rel=1e-4)  # differences 100, 100, 200
    assert rank_loss(torch.zeros(3), truth).item() == pytest.approx(math.log(2))
    predicted = torch.tensor([0.3, -0.2, 0.9, 0.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rank_loss(x, torch.tensor([1.0, 1.5, 4.0, 2.0]), 0.6), (predicted,))
    rank_loss(predicted, torch.ones(4)).backward()
    assert predicted.grad is not None and torch.equal(predicted.grad, torch.zeros(4, dtype=torch.float64))


# --- gradient caching ---------------------------------------------------------------------------------------------


class _Pair(nn.Module):
    """Two small towers with dropout: the second forward pass must draw what the first drew."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 4))
        self.b = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 4))
        self.logit_scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        a, b = (functional.normalize(x, dim=1) for x in (self.a(batch["a"]), self.b(batch["b"])))
        return a, b, self.logit_scale.exp()


def _loss(outputs: tuple[Tensor, ...], batch: Mapping[str, Tensor]) -> Tensor:
    return infonce(*outputs[:3], batch["group"])


def _batch(count: int = 10) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(3)
    batch = {"group": torch.arange(count) // 2 * 2}
    return batch | {k: torch.randn(count, n, generator=drawn, dtype=torch.float64) for k, n in (("a", 6), ("b", 5))}


@pytest.mark.parametrize("size", [1, 3, 4, 10, 64])
def test_cached_gradients_are_the_plain_ones(size: int) -> None:
    torch.manual_seed(0)
    plain = _Pair(0.0).double()
    cached = copy.deepcopy(plain)
    expected = _loss(plain(_batch()), _batch())
    expected.backward()
    found = cached_step(size, _loss)(cached, _batch(), lambda t: t.backward())
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    for (name, p), q in zip(plain.named_parameters(), cached.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None
        assert p.grad.abs().max() > 1e-6, name
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_cached_gradients_with_dropout_are_those_of_the_parts_as_they_were_drawn() -> None:
    torch.manual_seed(0)
    plain = _Pair(0.5).double()
    cached = copy.deepcopy(plain)
    torch.manual_seed(7)
    parts = [plain(part) for part in slices(_batch(), 4)]
    outputs = (torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), parts[0][2])
    _loss(outputs, _batch()).backward()
    after = torch.rand(1)
    torch.manual_seed(7)
    cached_step(4, _loss)(cached, _batch(), lambda t: t.backward())
    assert torch.equal(torch.rand(1), after), "the step uses up as many random numbers as a plain pass"
    for p, q in zip(plain.parameters(), cached.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-9, atol=1e-12)


# --- several processes --------------------------------------------------------------------------------------------


def test_one_process_gathers_itself() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert gathered(rows) is rows


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = _Pair(0.0).double()
    own = {k: v[rank * 5 : rank * 5 + 5] for k, v in _batch().items()}
    a, b, scale = model(own)
    loss = infonce(gathered(a), gathered(b), scale, gathered(own["group"]))
    loss.backward()
    gradients = []
    for p in model.parameters():
        assert p.grad is not None
        torch.distributed.all_reduce(p.grad)
        gradients.append(p.grad / 2)  # what DistributedDataParallel does
    if rank == 0:
        torch.save([loss.detach(), *gradients], f"{folder}/found.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_worker, (str(tmp_path),), nprocs=2)
    torch.manual_seed(0)
    model = _Pair(0.0).double()
    expected = _loss(model(_batch()), _batch())
    expected.backward()
    loss, *gradients = torch.load(tmp_path / "found.pt", weights_only=True)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for p, found in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(found, p.grad, rtol=1e-9, atol=1e-12)
