"""Looks at every photo of some sets: is it missing, corrupt, there twice, both held out and trained on, or rated twice.

Two photos are the same when their decoded pixels are (a copy under another name or in another lossless file), or
when they look alike to a perceptual hash and to a small copy in colour (a copy that was resized or saved again). Of
texts without photos only the groups are compared: the same photo's texts in two splits.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice, pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from cgiaa_training.manifest import DataSet, load_set, read_image
from numpy.typing import NDArray
from PIL import Image

from cgiaa_cli.errors import PhotoError
from cgiaa_cli.imaging.decode import decode
from cgiaa_cli.paths import escape

__all__ = ["Finding", "Report", "Row", "check"]

KINDS = ("missing", "corrupt", "duplicate", "leak", "disputed")
HELD_OUT = ("val", "test")
HASH_BITS = 63  # of the 64 of the DCT's corner, without the mean
NEAR_BITS = 4  # bits in which the hashes of two copies may differ
BANDS = NEAR_BITS + 1  # so one band at least of two near hashes is equal
NEAR_COLOUR = (1.0, 0.05)  # mean difference of their small copies, of 255: at most this, plus this of their deviation
SMALL = 16  # px a side of those
SHOWN = 20  # findings of a kind that are printed
PART = 256  # photos that are decoded before the next are asked for


Ratings = Mapping[tuple[int, str], Sequence[tuple[tuple[str, str], float]]]
"""By number of the set and photo: (split, label) and value."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: `kind` is one of `KINDS`; `other` is the photo it repeats; `mend` says what to do."""

    kind: str
    set: str
    photo: str
    cause: str
    other: str = ""
    mend: str = ""


@dataclass
class Row:
    """One set in the table: samples, their splits, and how many photos have what wrong with them."""

    name: str
    samples: int
    photos: int
    splits: dict[str, int]
    missing: int = 0
    corrupt: int = 0
    duplicates: int = 0
    leaks: int = 0
    disputed: int = 0


@dataclass
class Report:
    """What a check found.

    Attributes:
        rows: one a set.
        findings: all of them.
        warnings: what the sets' descriptions warn of, and what was dropped while loading.
    """

    rows: list[Row]
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def leaks(self) -> int:
        """Held-out photos (val, test) whose content is also in a training split, or in a set without splits."""
        return sum(row.leaks for row in self.rows)

    @property
    def faults(self) -> int:
        """Photos that are missing, corrupt, duplicated, leaking or disputed."""
        return sum(row.missing + row.corrupt + row.duplicates + row.leaks + row.disputed for row in self.rows)

    @property
    def unreadable(self) -> list[str]:
        """Escaped places of the photos that are missing or corrupt."""
        return list(dict.fromkeys(f.photo for f in self.findings if f.kind in ("missing", "corrupt")))

    def lines(self) -> Iterator[str]:
        """The table, the warnings, and the first findings of each kind, as lines to print."""
        wide = max(len("set"), *(len(row.name) for row in self.rows))
        numbers = ("samples", "photos", "missing", "corrupt", "duplicates", "leaks", "disputed")
        yield f"{'set':{wide}}  " + "  ".join(f"{name:>10}" for name in numbers) + "  splits"
        for row in self.rows:
            splits = ", ".join(f"{name or 'none'} {count}" for name, count in row.splits.items())
            yield f"{row.name:{wide}}  " + "  ".join(f"{getattr(row, name):>10}" for name in numbers) + f"  {splits}"
        yield from self.warnings
        for kind in KINDS:
            found = [finding for finding in self.findings if finding.kind == kind]
            for finding in found[:SHOWN]:
                cause = f"{finding.cause}{finding.other and f' {finding.other}'}"
                yield f"{kind}: {finding.photo}: {cause}{finding.mend and f'; {finding.mend}'}"
            if len(found) > SHOWN:
                yield f"{kind}: and {len(found) - SHOWN} more"


@dataclass(frozen=True)
class _Seen:
    """A photo, or a group of texts without one (`small` is None), as it is compared.

    Attributes:
        name: the photo's place; the same file in two sets is one photo.
        uses: the splits that each set has it in.
        exact: hash of its pixels; bits: the perceptual one; small: (16, 16, 3), levels 0..255.
    """

    name: str
    uses: list[tuple[Row, frozenset[str]]]
    exact: bytes
    bits: int = 0
    small: NDArray[np.int16] | None = None


def check(names: Sequence[str], root: Path | str, say: Callable[[str], None] = lambda _: None) -> Report:
    """Load some sets and look at each of their photos.

    Photos of different sets are compared too: name the set that you train on and the one that you test with. A set
    without splits counts as one to train on.

    Args:
        names: as `manifest.load_set` takes them.
        root: folder of the sets.
        say: told how far it is.

    Raises:
        CgiaaError: a set cannot be loaded (see `load_set`); a bad photo is a finding, not an error.
    """
    sets = [load_set(name, root) for name in names]
    rows = [Row(s.name, len(s.samples), 0, dict(Counter(sample.split for sample in s.samples))) for s in sets]
    report = Report(rows, warnings=[line for s in sets for line in _warnings(s)])
    uses: dict[str, list[tuple[Row, frozenset[str]]]] = defaultdict(list)
    photos: set[str] = set()
    for found, row in zip(sets, rows, strict=True):
        splits = defaultdict(set)
        for sample in found.samples:
            splits[sample.image or f"{found.name}: {sample.group}"].add(sample.split)
        own = {sample.image for sample in found.samples if sample.image is not None}
        row.photos = len(own)
        photos |= own
        for name, parts in splits.items():
            uses[name].append((row, frozenset(parts)))
    seen = [_Seen(name, used, name.encode()) for name, used in uses.items() if name not in photos]
    for count, one in enumerate(_look({name: used for name, used in uses.items() if name in photos}, report), 1):
        if one is not None:
            seen.append(one)
        if count % 1000 == 0:
            say(f"{count} of {len(photos)} photos")
    _compare(seen, report, _ratings(sets))
    return report


def _ratings(sets: Sequence[DataSet]) -> Ratings:
    """A text's own score is none of its photo's."""
    found: dict[tuple[int, str], list[tuple[tuple[str, str], float]]] = defaultdict(list)
    for number, one in enumerate(sets):
        for s in one.samples:
            if s.image is not None and s.text is None:
                found[number, s.image] += [((s.split, label), value) for label, value in s.labels.items()]
    return found


def _warnings(found: DataSet) -> list[str]:
    dropped = [f"{found.name}: dropped {count} ({reason})" for reason, count in found.dropped.items()]
    return [f"{found.name}: {warning}" for warning in found.description.warnings] + dropped


# --- one photo -------------------------------------------------------------------------------------------------


def _look(photos: dict[str, list[tuple[Row, frozenset[str]]]], report: Report) -> Iterator[_Seen | None]:
    """What each photo looks like; None, and a finding for each set that it is in, where that cannot be told."""
    names = iter(photos)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while part := list(islice(names, PART)):
            for name, (kind, cause, seen) in zip(part, pool.map(_see, part), strict=True):
                for row, _ in photos[name] if seen is None else ():
                    report.findings.append(Finding(kind, row.name, escape(name), cause))
                    row.missing += kind == "missing"
                    row.corrupt += kind == "corrupt"
                yield None if seen is None else replace(seen, uses=photos[name])


def _see(name: str) -> tuple[str, str, _Seen | None]:
    """What is wrong with a photo and why, or else what it looks like."""
    try:
        photo = decode(read_image(name), suffix=PurePosixPath(name.partition("::")[0]).suffix)
    except FileNotFoundError:
        return "missing", "no such photo", None
    except PhotoError as error:
        return "corrupt", error.cause, None
    except OSError as error:
        return "corrupt", f"cannot be read ({error.strerror or error})", None
    image = Image.fromarray(photo.view)
    small = np.asarray(image.resize((SMALL, SMALL), Image.Resampling.BOX), np.int16)
    exact = blake2b(photo.view.tobytes(), digest_size=16, key=repr(photo.view.shape).encode()).digest()
    return "", "", _Seen(name, [], exact, _perceptual(image), small)


def _perceptual(image: Image.Image) -> int:
    """pHash: signs of the 8 x 8 slowest waves of a 32 x 32 grey copy about their median, without the mean."""
    from scipy.fft import dctn

    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), np.float64)
    waves = dctn(grey)[:8, :8].ravel()[1:]
    bits = 0
    for above in waves > np.median(waves):
        bits = bits << 1 | int(above)
    return bits


# --- two photos ------------------------------------------------------------------------------------------------


def _compare(seen: Sequence[_Seen], report: Report, ratings: Ratings) -> None:
    """Findings for each photo that repeats one before it, leaks, or is rated in two ways."""
    for group in _groups(seen):
        taught = next((one for one in group if any(parts - set(HELD_OUT) for _, parts in one.uses)), None)
        for place, one in enumerate(group):
            leaking = False
            for row, parts in one.uses:
                held = parts & set(HELD_OUT)
                if held and taught is not None:
                    other = "itself" if taught is one else escape(taught.name)
                    cause = f"held out ({', '.join(sorted(held))}), and also trained on:"
                    mend = "leave it out of one of the splits"
                    report.findings.append(Finding("leak", row.name, escape(one.name), cause, other, mend))
                    row.leaks += 1
                    leaking = True
            if place and not leaking:
                row, first = one.uses[0][0], escape(group[0].name)
                report.findings.append(Finding("duplicate", row.name, escape(one.name), "the same photo as", first))
                row.duplicates += 1
        for number, row in enumerate(report.rows):
            _dispute([one.name for one in group], number, row, report, ratings)


def _dispute(photos: Sequence[str], number: int, row: Row, report: Report, ratings: Ratings) -> None:
    """A finding for each copy whose rating in a set is another than that of the first in the same split."""
    first: dict[tuple[str, str], tuple[str, float]] = {}
    for photo in photos:
        for (split, label), value in ratings.get((number, photo), ()):
            other, wanted = first.setdefault((split, label), (photo, value))
            if value != wanted:
                cause = f"its {label} is {value:g}, and also {wanted:g}:"
                named = "itself" if other == photo else escape(other)
                mend = "leave one out, or give it their mean"
                report.findings.append(Finding("disputed", row.name, escape(photo), cause, named, mend))
                row.disputed += 1
                break


def _groups(seen: Sequence[_Seen]) -> Iterator[list[_Seen]]:
    """Those of the same content, together."""
    parent = list(range(len(seen)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    exact: dict[bytes, int] = {}
    buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, one in enumerate(seen):
        parent[i] = find(exact.setdefault(one.exact, i))
        if one.small is None or parent[i] != i:
            continue  # a copy bit by bit is compared through the first
        keys = [(band, one.bits >> at & (1 << width) - 1) for band, (at, width) in enumerate(_bands())]
        for j in {j for key in keys for j in buckets[key]}:
            if _near(one, seen[j]):
                parent[find(i)] = find(j)
        for key in keys:
            buckets[key].append(i)
    together = defaultdict(list)
    for i, one in enumerate(seen):
        together[find(i)].append(one)
    yield from together.values()


def _bands() -> list[tuple[int, int]]:
    """Where each band of a hash begins and how many bits it has."""
    edges = [band * HASH_BITS // BANDS for band in range(BANDS + 1)]
    return [(low, high - low) for low, high in pairwise(edges)]


def _near(a: _Seen, b: _Seen) -> bool:
    if a.small is None or b.small is None or (a.bits ^ b.bits).bit_count() > NEAR_BITS:
        return False
    fixed, share = NEAR_COLOUR
    return float(np.abs(a.small - b.small).mean()) < fixed + share * float(a.small.std())
