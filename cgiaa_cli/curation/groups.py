"""Groups of photos: copies, near-copies, bursts, exposure brackets and panoramas, each with the photo to keep.

    candidate pairs (groups_pairs)  ──>  a closer look at each (groups_alike)  ──>  merged, strongest first
    brackets and panoramas (groups_sequences)  ──>  groups of their own, from which nothing is left out

Merging is single linkage with a guard: two groups are only joined while they look alike as a whole, so a chain of
small steps cannot tie a day's photos together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cgiaa_cli.cache.store import Cache
from cgiaa_cli.curation import groups_pairs
from cgiaa_cli.curation.groups_alike import FLAT, LEAST_LIKENESS, Links, link
from cgiaa_cli.curation.groups_eyes import fill_eyes
from cgiaa_cli.curation.groups_keeper import keeper_of
from cgiaa_cli.curation.groups_pairs import NO_TIME
from cgiaa_cli.curation.groups_photos import Photos, fill_looks, read_photos
from cgiaa_cli.curation.groups_sequences import BURST_GAP, brackets, panoramas, windows
from cgiaa_cli.curation.select import Hit

__all__ = ["KINDS", "PROTECTED", "Group", "by_eyes", "culled", "find_groups", "one_per_group"]

KINDS = ("duplicate", "near_duplicate", "burst", "bracket", "panorama")
PROTECTED = ("bracket", "panorama")
"""Kinds of which every photo is wanted."""

COHESION = 0.72  # likeness of the mean embeddings of two groups that are joined


@dataclass(frozen=True)
class Group:
    """Photos that belong together.

    Attributes:
        id: 8 hex digits, the same for the same contents.
        kind: one of `KINDS`.
        keeper: index of the content to keep.
        members: indices of all contents, the keeper first, then by capture time and path.
        same: of each member the index of the content that it is a copy of, itself where it is none.
    """

    id: str
    kind: str
    keeper: int
    members: tuple[int, ...]
    same: tuple[int, ...]

    @property
    def protected(self) -> bool:
        """Whether every photo of it is wanted."""
        return self.kind in PROTECTED


def find_groups(photos: Photos) -> list[Group]:
    """All groups of two files or more, the best keepers first.

    Time and memory grow about as n log n, with the embeddings' k-means as n^1.5; see `groups_pairs`.
    """
    links = _links(photos)
    sequences = [("bracket", part) for part in brackets(photos)]
    taken = {int(i) for _, part in sequences for i in part}
    sequences += [("panorama", part) for part in panoramas(photos) if not taken.intersection(map(int, part))]
    clusters = _merge(photos, links, [part for _, part in sequences])
    copies = _copies(len(photos), links)
    kinds = {int(i): kind for kind, part in sequences for i in part}
    burst = _Forest(len(photos))
    for left, right in links.pairs[links.shot | links.same]:
        burst.join(int(left), int(right))
    groups = []
    for members in clusters:
        if len(members) == 1 and len(photos.paths[members[0]]) == 1:
            continue
        kind = next((kinds[i] for i in members if i in kinds), None) or _kind(members, copies, burst)
        groups.append(_group(photos, kind, members, copies))
    return _ordered(photos, groups)


def by_eyes(
    cache: Cache,
    photos: Photos,
    groups: Sequence[Group],
    note: Callable[[str, str], None],
    *,
    measure: bool | None = None,
) -> list[Group]:
    """The groups after a look at the faces in small ones: a keeper with closed eyes gives way; see `fill_eyes`."""
    fill_eyes(cache, photos, groups, note, measure=measure)
    return _ordered(photos, [_with_keeper(photos, group) for group in groups])


def _ordered(photos: Photos, groups: list[Group]) -> list[Group]:
    return sorted(groups, key=lambda g: (-photos.values[g.keeper], photos.paths[g.keeper]))


def culled(photos: Photos, groups: Iterable[Group]) -> Iterator[str]:
    """The paths that `--one-per-group` leaves out: all but the keeper's, of groups where not every photo is wanted."""
    for group in groups:
        for i in group.members:
            # of one content at several paths one is enough, whatever the group is
            yield from photos.paths[i][1:] if not photos.kept[i] else ()
            if i != group.keeper and not group.protected and not photos.kept[i]:
                yield photos.paths[i][0]


def one_per_group(
    cache: Cache, scorer: int, hits: Sequence[Hit], note: Callable[[str, str], None], *, look: bool = True
) -> list[Hit]:
    """Hits without those that give way to the keeper of their group, in the same order.

    Groups are made of the hits alone, so a keeper meets the same conditions; the value of a hit decides who that is.

    Args:
        note: told (escaped path, error) of a photo that cannot be looked at; it is in no group.
        look: whether to open photos that were scanned before the cache kept what they look like.

    Raises:
        CacheError: the cache cannot be read or written.
    """
    if look:
        fill_looks(cache, hits, note)
    photos = read_photos(cache, scorer, hits)
    unseen = np.flatnonzero(~photos.seen)
    if not look and len(unseen):
        what = f"this and {len(unseen) - 1} other photos of older scans are in no group"
        note(photos.paths[unseen[0]][0], f"{what}; leave out --no-scan to look at them")
    found = find_groups(photos)
    if look:
        found = by_eyes(cache, photos, found, note)
    left_out = set(culled(photos, found))
    return [hit for hit in hits if hit.path not in left_out]


def _links(photos: Photos) -> Links:
    gaps = windows(photos, BURST_GAP)
    usable = photos.seen & (photos.detail >= FLAT)
    order = np.argsort(np.lexsort((np.arange(len(photos)), photos.seconds)))
    found = [
        groups_pairs.by_hash(photos.hash, usable, order),
        groups_pairs.by_time(photos.seconds, gaps, photos.cameras),
        groups_pairs.by_embedding(photos.vectors, LEAST_LIKENESS),
    ]
    return link(photos, groups_pairs.unique_pairs(found), gaps)


class _Forest:
    """Disjoint sets (Tarjan, 1975)."""

    def __init__(self, count: int) -> None:
        self.above = list(range(count))

    def root(self, i: int) -> int:
        while self.above[i] != i:
            self.above[i] = self.above[self.above[i]]
            i = self.above[i]
        return i

    def join(self, i: int, j: int) -> int:
        """Make one set of two; its root is the lower one."""
        low, high = sorted((self.root(i), self.root(j)))
        self.above[high] = low
        return low


class _Sets:
    """Photos as they are merged, with what decides whether two sets may be."""

    def __init__(self, photos: Photos, sequences: Sequence[NDArray[np.int64]]) -> None:
        self.forest = _Forest(len(photos))
        self.sums: dict[int, NDArray[np.float32]] = {}  # of the embeddings, of sets of more than one
        self.times: dict[int, set[int]] = {}  # the capture times of sets of more than one
        self.frames: dict[int, set[int]] = {}  # the capture times of sequences
        self.photos = photos
        for part in sequences:
            for i in part[1:]:
                self.join(self.forest.root(int(part[0])), self.forest.root(int(i)))
            self.frames[self.forest.root(int(part[0]))] = set(map(int, photos.seconds[part]))

    def mean(self, root: int) -> NDArray[np.float32]:
        return np.asarray(self.sums.get(root, self.photos.vectors[root]))

    def clock(self, root: int) -> set[int]:
        return self.times.get(root) or {int(self.photos.seconds[root])} - {int(NO_TIME)}

    def may_join(self, left: int, right: int, *, same: bool, shot: bool) -> bool:
        """A sequence only takes in copies and edits of its frames, which have their times or none."""
        for one, other in ((left, right), (right, left)):
            if one in self.frames and (shot or other in self.frames or not self.clock(other) <= self.frames[one]):
                return False
        alone = left not in self.sums and right not in self.sums
        return same or (shot and alone) or _likeness(self.mean(left), self.mean(right)) >= COHESION

    def join(self, left: int, right: int) -> None:
        mean = self.mean(left) + self.mean(right)
        small, large = sorted((self.clock(left), self.clock(right)), key=len)
        large |= small
        frames = self.frames.pop(left, None) or self.frames.pop(right, None)
        for root in (left, right):
            self.sums.pop(root, None)
            self.times.pop(root, None)
        root = self.forest.join(left, right)
        self.sums[root], self.times[root] = mean, large
        if frames is not None:
            self.frames[root] = frames


def _merge(photos: Photos, links: Links, sequences: Sequence[NDArray[np.int64]]) -> list[list[int]]:
    """Sets of photos, by links, the strongest first."""
    sets = _Sets(photos, sequences)
    for at in np.lexsort((-links.strength, ~links.same)):  # copies first: they are beyond doubt
        left, right = (sets.forest.root(int(i)) for i in links.pairs[at])
        if left != right and sets.may_join(left, right, same=bool(links.same[at]), shot=bool(links.shot[at])):
            sets.join(left, right)
    found: dict[int, list[int]] = {}
    for i in range(len(photos)):
        found.setdefault(sets.forest.root(i), []).append(i)
    return list(found.values())


def _likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def _copies(count: int, links: Links) -> _Forest:
    forest = _Forest(count)
    for left, right in links.pairs[links.same]:
        forest.join(int(left), int(right))
    return forest


def _kind(members: Sequence[int], copies: _Forest, burst: _Forest) -> str:
    if len({copies.root(i) for i in members}) == 1:
        return "duplicate"
    return "burst" if len({burst.root(i) for i in members}) == 1 else "near_duplicate"


def _group(photos: Photos, kind: str, members: list[int], copies: _Forest) -> Group:
    alike: dict[int, list[int]] = {}
    for i in members:
        alike.setdefault(copies.root(i), []).append(i)
    # of copies the most complete file stands for the picture, and the best picture is the keeper
    standing = {root: keeper_of(photos, "duplicate", part) for root, part in alike.items()}
    keys = "".join(sorted(photos.keys[i] for i in members))
    same = tuple(standing[copies.root(i)] for i in members)
    key = hashlib.blake2b(keys.encode(), digest_size=4).hexdigest()
    return _with_keeper(photos, Group(key, kind, members[0], tuple(members), same))


def _with_keeper(photos: Photos, group: Group) -> Group:
    keeper = keeper_of(photos, group.kind, sorted(set(group.same)))
    same = dict(zip(group.members, group.same, strict=True))
    ordered = sorted(group.members, key=lambda i: (i != keeper, photos.seconds[i], photos.paths[i]))
    return replace(group, keeper=keeper, members=tuple(ordered), same=tuple(same[i] for i in ordered))
