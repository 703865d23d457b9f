"""Linear maps between the features of two towers, in closed form: a start for the heads, or all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cgiaa_models.towers import DualEncoder, Head
from cgiaa_training.pairs import PairData
from numpy.typing import NDArray
from torch import nn

__all__ = ["cca", "ridge", "start_heads"]

Array = NDArray[Any]


def ridge(x: Array, y: Array, strength: float) -> Array:
    """The map W (K, F) with the least |x W' - y|^2 + penalty |W|^2, for centred x (N, F) and y (N, K).

    Args:
        strength: of the penalty, in units of the mean variance of x.
    """
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += strength * np.trace(gram) / len(gram)
    return np.asarray(np.linalg.solve(gram, x.T @ y).T)


def cca(x: Array, y: Array, dim: int, strength: float, power: float = 2.0) -> tuple[Array, Array, Array]:
    """Regularised canonical correlations (Hotelling 1936; Vinod 1976) of centred x (N, F) and y (N, K).

    Args:
        dim: how many directions; at most the smaller of F and K are not zero.
        strength: added to both covariances, in units of their mean variance.
        power: each direction is weighted by its correlation to this power: for retrieval, what hardly correlates
            must not count as much as what does (Gong et al. 2014).

    Returns:
        Maps (dim, F) and (dim, K), and the correlations (dim,), falling.
    """
    white_x, white_y = _whitening(x, strength), _whitening(y, strength)
    u, s, vt = np.linalg.svd(white_x @ (x.T @ y / len(x)) @ white_y, full_matrices=False)
    kept = min(dim, len(s))
    weight = np.sqrt(s[:kept] ** power)[:, None]
    a, b, found = np.zeros((dim, x.shape[1])), np.zeros((dim, y.shape[1])), np.zeros(dim)
    a[:kept], b[:kept], found[:kept] = weight * (u[:, :kept].T @ white_x), weight * (vt[:kept] @ white_y), s[:kept]
    return a, b, found


def _whitening(x: Array, strength: float) -> Array:
    covariance = x.T @ x / len(x)
    covariance[np.diag_indices_from(covariance)] += strength * np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors / np.sqrt(values) @ vectors.T)


def start_heads(model: DualEncoder, data: PairData, kind: str, strength: float) -> None:
    """Set the linear parts of both heads from kept features, all views of each photo together.

    Args:
        kind: "ridge": the image head gives the direction of the photo's text, as the text head "none" sees it;
            "cca": both give canonical directions.
    """
    image, text = data.features["image"], np.array(data.features["text"])
    views = image.shape[1]
    seen = np.array(image[data.pairs.photo]).reshape(-1, image.shape[2])  # (T * V, width)
    x, y = _standardised(model.image_head, seen), _standardised(model.text_head, text)
    y = np.repeat(y, views, axis=0)
    if kind == "ridge":
        _set(model.image_head, ridge(x, y / np.linalg.norm(y, axis=1, keepdims=True), strength))
        return
    a, b, _ = cca(x, y, model.dim, strength)
    _set(model.image_head, a)
    _set(model.text_head, b)


def _standardised(head: Head, features: Array) -> Array:
    """By the head's own scale, which is taken from these features."""
    there = torch.from_numpy(features).to(head.mean.device)
    head.fit_scale(there)
    with torch.no_grad():
        return np.asarray(head.standardise(there).double().cpu().numpy())


def _set(head: Head, weight: Array) -> None:
    layer = head.linear
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.zero_()
