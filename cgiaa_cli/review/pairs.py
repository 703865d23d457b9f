"""Which two photos to ask about next.

Three kinds of questions take turns: two frames of one group, two photos that rank next to each other, and any two. The
first say which details count, the second which photos are liked where the default score cannot tell. A taste that knew
only these would be sure of small differences and wrong about large ones, which is what the third are for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import combinations, pairwise

__all__ = ["Asked", "next_pair"]

PER_GROUP = 3
"""Questions about one group at most: of three thousand frames of one thing, more would say little."""

TRIES = 200
FEW = 60  # photos of which every pair is looked at before it is said that none is left

Pair = tuple[int, int]


@dataclass(frozen=True)
class Asked:
    """What is known of the photos, by their numbers.

    Attributes:
        values: what they are ordered by.
        groups: bursts and near-copies, whose frames are compared.
        family: of a photo the group that it is in, of whatever kind; two of one are only compared as such.
        out: rejected photos, which nobody wants to see again.
        asked: pairs that were asked about, each the lower number first.
    """

    values: Sequence[float]
    groups: Sequence[Sequence[int]]
    family: dict[int, int]
    out: Set[int]
    asked: Set[Pair]


def next_pair(known: Asked, chance: random.Random) -> tuple[Pair, bool] | None:
    """Two photos to choose between, in a random order, and whether they are of one group; None: no pair is left."""
    # by the number of answers: taking one back asks the same kind of question again
    turn = len(known.asked) % len(_KINDS)
    for kind in (*_KINDS[turn:], *_KINDS[:turn]):
        for left, right in kind(known, chance):
            if _sorted(left, right) not in known.asked:
                pair = (left, right) if chance.random() < 0.5 else (right, left)
                return pair, kind is _of_group
    return None


def _sorted(left: int, right: int) -> Pair:
    return (left, right) if left < right else (right, left)


def _of_group(known: Asked, chance: random.Random) -> Iterator[Pair]:
    """Neighbours in the order of each group, the best first."""
    told: dict[int, int] = {}
    for left, right in known.asked:
        family = known.family.get(left)
        if family is not None and family == known.family.get(right):
            told[family] = told.get(family, 0) + 1
    for group in known.groups:
        if told.get(known.family[group[0]], 0) < PER_GROUP:
            frames = sorted((i for i in group if i not in known.out), key=lambda i: -known.values[i])
            yield from pairwise(frames[: PER_GROUP + 1])


def _near(known: Asked, chance: random.Random) -> Iterator[Pair]:
    """Photos that rank next to each other."""
    yield from _drawn(known, chance, 1)


def _any(known: Asked, chance: random.Random) -> Iterator[Pair]:
    """Photos that rank anywhere."""
    yield from _drawn(known, chance, len(known.values))


def _drawn(known: Asked, chance: random.Random, reach: int) -> Iterator[Pair]:
    """Two photos at most `reach` places from each other, first of those that nobody was asked about."""
    order = sorted((i for i in range(len(known.values)) if i not in known.out), key=lambda i: -known.values[i])
    seen = {i for pair in known.asked for i in pair}
    for some, far in (([i for i in order if i not in seen], reach), (order, max(reach, 4))):
        for _ in range(TRIES if len(some) > 1 else 0):
            at = chance.randrange(len(some) - 1)
            other = min(at + chance.randint(1, far), len(some) - 1)
            if _strangers(known, some[at], some[other]):
                yield some[at], some[other]
    if len(order) <= FEW:
        yield from (pair for pair in combinations(order, 2) if _strangers(known, *pair))


def _strangers(known: Asked, left: int, right: int) -> bool:
    family = known.family.get(left)
    return family is None or family != known.family.get(right)


_KINDS = (_of_group, _near, _any)
