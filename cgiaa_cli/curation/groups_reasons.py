"""Groups as they are printed: every member with the reason why it is kept or gives way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cgiaa_cli.curation.groups import Group
from cgiaa_cli.curation.groups_eyes import MEASURED_PHOTOS, Note, measurable
from cgiaa_cli.curation.groups_keeper import keeper_reason, reason_for
from cgiaa_cli.curation.groups_photos import Photos, open_photo
from cgiaa_cli.inference import usable_cpus

if TYPE_CHECKING:
    from cgiaa_cli.critique.facts import Facts

__all__ = ["group_rows"]


def group_rows(
    photos: Photos, groups: Sequence[Group], note: Note, *, measure: bool | None = None
) -> Iterator[dict[str, Any]]:
    """Each group as a JSON object.

    Args:
        note: told (escaped path, error) of a photo that cannot be measured; scores alone then give the reason.
        measure: whether to open photos and measure them; None: where those are `MEASURED_PHOTOS` at most.

    Yields:
        id, kind, keeper (escaped path), protected (every photo of it is wanted), keep_all (so it was decided), and
        members: of each file path, reason, score, closed_eyes (of how many faces; None: nobody looked), and kept
        (False: --one-per-group leaves it out); the keeper first.
    """
    wanted = [] if measure is False else measurable(groups)
    if measure is None and len(wanted) > MEASURED_PHOTOS:
        wanted = []
    with ThreadPoolExecutor(usable_cpus(), thread_name_prefix="cgiaa-measure") as pool:
        facts = dict(zip(wanted, pool.map(lambda i: _measured(photos.paths[i][0], note), wanted), strict=True))
    for group in groups:
        yield {
            "id": group.id,
            "kind": group.kind,
            "keeper": photos.paths[group.keeper][0],
            "protected": group.protected,
            "keep_all": bool(photos.kept[list(group.members)].all()),
            "members": list(_members(photos, group, facts)),
        }


def _members(photos: Photos, group: Group, facts: dict[int, Facts | None]) -> Iterator[dict[str, Any]]:
    for i, copy_of in zip(group.members, group.same, strict=True):
        first, *others = photos.paths[i]
        score = round(float(photos.scores[i, 0]), 3)
        kept = bool(photos.kept[i])
        is_kept = kept or group.protected or i == group.keeper
        # of copies one was looked at
        eyes = photos.eyes.get(i) or photos.eyes.get(copy_of)
        known = {"score": score, "closed_eyes": eyes.closed if eyes else None}
        yield {"path": first, "reason": _reason(photos, group, i, copy_of, facts), **known, "kept": is_kept}
        for path in others:
            yield {"path": path, "reason": f"the same bytes as {first}", **known, "kept": kept}


def _reason(photos: Photos, group: Group, i: int, copy_of: int, facts: dict[int, Facts | None]) -> str:
    if group.protected or i == group.keeper:
        return keeper_reason(photos, group.kind, group.members, i)
    if photos.kept[i]:
        return "kept, as was decided"
    if copy_of != i:
        return reason_for(photos, "duplicate", copy_of, i)
    return reason_for(photos, group.kind, group.keeper, i, _better(facts.get(group.keeper), facts.get(i)))


def _better(keeper: Facts | None, other: Facts | None) -> str | None:
    """What is measurably better in the keeper, most of all."""
    from cgiaa_cli.critique.compare import differences

    if keeper is None or other is None:
        return None
    return next(iter(differences(keeper, other)), None)


def _measured(path: str, note: Note) -> Facts | None:
    from cgiaa_cli.critique.facts import measure_facts

    photo = open_photo(path)
    if isinstance(photo, str):
        note(path, photo)
        return None
    return measure_facts(photo)
