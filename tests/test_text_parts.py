"""Parts of the stage export that need no run: what towers are shown, and what a card tells of commands."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from cgiaa_training.card import _public
from cgiaa_training.data import photo_from_array
from cgiaa_training.pairs import view_of
from cgiaa_training.text_parts import Seen, _tower_points
from torch import Tensor

from cgiaa_cli.imaging.preprocess import batch, prepare


def test_a_cut_tower_is_shown_the_middle_of_the_whole_frame() -> None:
    rng = np.random.default_rng(0)
    frame = np.kron(rng.integers(0, 255, (6, 12, 3)), np.ones((40, 40, 1))).astype(np.uint8)  # 480 x 240
    seen: list[np.ndarray] = []  # type: ignore[type-arg]

    class Eye:
        image = SimpleNamespace(size=(64, 64))

        def encode_image(self, photo: Tensor) -> Tensor:
            seen.append(photo[0].numpy().astype(float))
            return torch.ones(len(photo), 2)

    for turned in (frame, np.ascontiguousarray(frame.transpose(1, 0, 2))):
        photo = prepare(photo_from_array(turned))
        _tower_points(Eye(), Seen([batch([photo])], np.zeros((1, 1), np.float32)), "cut")  # type: ignore[arg-type]
        wanted = view_of(turned, (64, 64), "cut", (0, 0, 1, 1, False)).astype(float)
        whole = view_of(turned, (64, 64), "squeeze", (0, 0, 1, 1, False)).astype(float)
        assert np.abs(seen[-1] - wanted).mean() < 12 < 40 < np.abs(seen[-1] - whole).mean()


def test_a_card_has_no_paths_of_the_machine() -> None:
    told = _public(
        "cgiaa train all --data '/home/me/My Photos/x' --out=/tmp/run --recipe /home/me/mine.toml --device cpu"
    )
    assert told == "`cgiaa train all --data DATA --out=RUN --recipe mine.toml --device cpu`"
    assert _public("") == "-"
