"""The student's heads on standardised features: ridge regressions in closed form, and support vector regressions.

* score: the judge's distribution tilted (p_k ~ q_k exp(l k)) to the mean that the student's opinion asks for;
* technical, complexity: the ratings, by support vectors (`models.student.Kernel`);
* attributes: ratings of the attribute where there are some; else the score plus what tells an intact photo from one
  damaged in that respect (colour and light; blur), and for composition the crops that people prefer; `general` is
  the score alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from cgiaa_models.student import COMPONENTS, GAMMA, SEMANTIC, Kernel, Student
from cgiaa_training.ridge import Ridge, unit
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.svm import SVR

from cgiaa_cli.inference.scores import ATTRIBUTES

__all__ = ["Evidence", "Pool", "Strengths", "fit_heads", "fit_kernel"]

Array = NDArray[Any]
AVA_MEAN, AVA_SD = 5.4, 0.74  # of the mean opinion scores in AVA (Murray et al. 2012)
SHARE = 0.5  # of an attribute that its own evidence decides; the rest is the score
LINE = 0.1  # share of the linear part in the kernel
TOLERANCE = 0.1  # deviations from a rating that cost nothing
ENOUGH = 20  # ratings of an attribute, to learn it from them


@dataclass(frozen=True)
class Strengths:
    """How stiff each head is.

    Attributes:
        opinion: ridge (see `ridge.Ridge`) of the score: a stiff fit carries over to other kinds of photos.
        attributes: ridge of the four, once it is settled what each should say.
        evidence: ridge of what tells of one attribute.
        technical, complexity: C of the support vector regressions: the larger, the closer to the ratings.
    """

    opinion: float = 10.0
    attributes: float = 0.01
    evidence: float = 0.8
    technical: float = 1.0
    complexity: float = 3.0

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        return [f"{name} must be above 0" for name, value in vars(self).items() if value <= 0]


@dataclass(frozen=True)
class Pool:
    """All photos to learn from.

    Attributes:
        features: (N, FEATURES) of the student's towers.
        labels: ratings by name, (N,) with NaN where there are none: technical on 1..10, complexity on 0..100, the
            four attributes on 1..10.
        opinion: (N,) the teacher's, of beauty; zero mean, unit deviation.
    """

    features: Array
    labels: Mapping[str, Array]
    opinion: Array


@dataclass(frozen=True)
class Evidence:
    """Of single attributes.

    Attributes:
        intact: (M, FEATURES) of photos; `damaged`: of the same photos, by the name of the damage.
        pairs: (2 P, FEATURES) of two crops after each other; `preference`: (P,) above 0 where the first is better.
    """

    intact: Array
    damaged: Mapping[str, Array]
    pairs: Array
    preference: Array


def fit_heads(student: Student, pool: Pool, evidence: Evidence, strengths: Strengths) -> None:
    """Set the standardisation and every head of `student`."""
    student.mean.copy_(torch.from_numpy(pool.features.mean(0)))
    student.scale.copy_(torch.from_numpy(pool.features.std(0) + 1e-3))
    z = _z(student, pool.features)
    taught = Ridge(strengths.opinion).fit(z, pool.opinion)
    said = taught.predict(z)
    scale = AVA_SD / (said.std() + 1e-9)
    with torch.no_grad():  # the score's mean and deviation over the pool are those of AVA
        student.opinion.weight.copy_(torch.from_numpy(taught.weight[None] * scale))
        student.opinion.bias.fill_(float((taught.bias - said.mean()) * scale + AVA_MEAN))
    wanted = _attributes(student, z, unit(said), pool, evidence, strengths)
    _set(student.attributes, Ridge(strengths.attributes).fit(z, wanted))
    x = _compared(student, z)
    for name in ("technical", "complexity"):
        known = np.isfinite(pool.labels[name])
        if known.any():
            setattr(student, name, fit_kernel(x[known], pool.labels[name][known], getattr(strengths, name)))
    basis = PCA(min(student.embedding.out_features, *z[:, :SEMANTIC].shape), whiten=True, random_state=0)
    basis.fit(z[:, :SEMANTIC])
    rotation = basis.components_ / np.sqrt(basis.explained_variance_ + 1e-6)[:, None] ** 0.5
    with torch.no_grad():
        student.embedding.weight.zero_()
        student.embedding.bias.zero_()
        student.embedding.weight[: len(rotation)] = torch.from_numpy(rotation)
        student.embedding.bias[: len(rotation)] = torch.from_numpy(-rotation @ basis.mean_)


def _compared(student: Student, z: Array) -> Array:
    """Set the components on which photos are compared; those of the pool, (N, COMPONENTS) of mean square length 1."""
    basis = PCA(min(COMPONENTS, *z.shape), random_state=0).fit(z)
    scale = np.sqrt(basis.explained_variance_.sum()) + 1e-9
    layer = student.components
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[: len(basis.components_)] = torch.from_numpy(basis.components_ / scale)
        layer.bias[: len(basis.components_)] = torch.from_numpy(-basis.components_ @ basis.mean_ / scale)
        return np.asarray(layer(torch.from_numpy(z)).numpy())


def fit_kernel(x: Array, y: Array, strength: float) -> Kernel:
    """A support vector regression of ratings y (N,) on x (N, COMPONENTS), with the kernel of `Kernel` and a line."""
    middle, spread = y.mean(), y.std() + 1e-9
    wide = np.asarray(x, np.float64)
    lengths = (wide * wide).sum(1)
    products = wide @ wide.T
    kernel = np.exp(-GAMMA * np.clip(lengths[:, None] + lengths - 2 * products, 0, None)) + LINE * products
    found = SVR(kernel="precomputed", C=strength, epsilon=TOLERANCE).fit(kernel, (y - middle) / spread)
    kept = found.support_ if len(found.support_) else np.array([0])  # ratings that are all the same need none
    weight = found.dual_coef_[0] * spread if len(found.support_) else np.zeros(1)
    head = Kernel(len(kept))
    values = {"support": wide[kept], "weight": weight, "line": LINE * weight @ wide[kept]}
    for name, value in values.items():
        getattr(head, name).copy_(torch.from_numpy(value))
    head.bias.fill_(float(found.intercept_[0] * spread + middle))
    return head


def _attributes(
    student: Student, z: Array, opinion: Array, pool: Pool, evidence: Evidence, strengths: Strengths
) -> Array:
    """What each attribute should say of the pool: (N, 4) on 1..10."""
    wanted = []
    for name in ATTRIBUTES:
        rated = np.isfinite(pool.labels[name])
        if rated.sum() >= ENOUGH:
            wanted.append(Ridge(strengths.evidence).fit(z[rated], pool.labels[name][rated]).predict(z))
            continue
        own = _own(name, student, evidence, strengths.evidence)
        blend = opinion if own is None else unit((1 - SHARE) * opinion + SHARE * unit(own.predict(z)))
        wanted.append(AVA_MEAN + AVA_SD * blend)
    return np.stack(wanted, 1)


def _own(name: str, student: Student, evidence: Evidence, strength: float) -> Ridge | None:
    """What tells of this attribute alone; None where nothing does."""
    damages = {"color_light": ("colour", "dark"), "depth_focus": ("blur",)}
    if name in damages and len(evidence.intact):
        spoilt = [_z(student, evidence.damaged[damage]) for damage in damages[name]]
        truth = np.repeat([1.0, 0.0], [len(evidence.intact), sum(map(len, spoilt))])
        return Ridge(strength).fit(np.concatenate([_z(student, evidence.intact), *spoilt]), truth)
    if name == "composition" and len(evidence.preference):
        pairs = _z(student, evidence.pairs)
        return Ridge(strength, intercept=False).fit(pairs[0::2] - pairs[1::2], evidence.preference)
    return None


def _z(student: Student, features: Array) -> Array:
    return np.asarray(student.standardise(torch.from_numpy(np.asarray(features, np.float32))).numpy())


def _set(layer: torch.nn.Linear, ridge: Ridge) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(ridge.weight.T))
        layer.bias.copy_(torch.from_numpy(ridge.bias))
