"""How true, various and fitting a bundle's critiques are, over real photos: `cgiaa evaluate --critiques`.

    photos (fixed order) ──> engine and critic, as `cgiaa critique` uses them ──> what is printed
        │                                                                            │
        └── measurements (no claim may contradict them) ──────────┐                  ├── how much it varies
    PCCD's training comments ──> a judge of the report's own ─────┴── true, fitting ─┘

Nothing here has a part in writing or verifying: docs/critiques.md says what each number means.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cgiaa_training import textmetrics
from cgiaa_training.critique_judge import ReportJudge, comments, of_judge, of_verifier
from cgiaa_training.critique_sheet import ROWS, SHEET, thumbnail, write_rows, write_sheet
from cgiaa_training.manifest import load_set, read_image
from cgiaa_training.metrics import correlations, interval, share
from numpy.typing import NDArray
from scipy.stats import rankdata

from cgiaa_cli.critique.claims import contradictions, find_claims
from cgiaa_cli.critique.critic import GENERATED, MEASURED, NONE
from cgiaa_cli.critique.facts import measure_facts, words
from cgiaa_cli.critique.prompt import ATTRIBUTES
from cgiaa_cli.critique.reference import standing
from cgiaa_cli.critique.session import Session
from cgiaa_cli.errors import PhotoError
from cgiaa_cli.imaging.decode import Photo, decode
from cgiaa_cli.imaging.preprocess import prepare
from cgiaa_cli.inference import usable_cpus
from cgiaa_cli.paths import escape

__all__ = ["SETS", "Critiqued", "Text", "choose_photos", "critique_report", "of_texts", "own_or_other", "write"]

Array = NDArray[Any]
Holds = Mapping[str, Collection[str]]
Say = Callable[[str], None]
SETS = ("coco", "fcdb", "oasis_scenes", "oasis_objects_animals", "biq2021")
"""Everyday photos, photos from Flickr, scenes, objects and animals, and photos of every technical quality."""


@dataclass(frozen=True)
class Text:
    """One printed text.

    Attributes:
        photo: its number.
        standing: share of the reference photos that score lower in this attribute, 0..1.
        score: the stated score, 1..10.
    """

    text: str
    attribute: str
    source: str
    photo: int
    standing: float
    score: float


@dataclass(frozen=True)
class Critiqued:
    """A photo with its critique.

    Attributes:
        row: as `cgiaa critique --format json` prints it.
        holds: by measurement the words that hold, see `facts.words`.
        standings: by attribute, see `Text`.
        embedding: (D,) of the bundle's encoder.
        seconds: from the file's bytes to the texts.
        small: a thumbnail, JPEG.
    """

    row: dict[str, Any]
    holds: Holds
    standings: dict[str, float]
    embedding: Array
    seconds: float
    small: bytes


def choose_photos(data: Path, count: int, sets: Sequence[str] = SETS, seed: int = 0) -> list[str]:
    """`count` photos, from each of the sets in turn, in an order that the seed fixes.

    Raises:
        CgiaaError: a set is not below `data`.
    """
    queues = []
    for name in sets:
        photos = sorted({s.image for s in load_set(name, data).samples if s.image is not None})
        random.Random(f"{seed} {name}").shuffle(photos)
        queues.append(iter(photos))
    found: list[str] = []
    while queues and len(found) < count:
        for queue in list(queues):
            photo = next(queue, None)
            if photo is None:
                queues.remove(queue)
            elif len(found) < count:
                found.append(photo)
    return found


def critique_report(session: Session, data: Path, count: int, out: Path | None, say: Say) -> dict[str, dict[str, Any]]:
    """Everything that `docs/critiques.md` tells of a bundle: name of a result -> its numbers.

    Args:
        session: open; its bundle and settings are what is measured.
        data: folder of the sets of `SETS` and of PCCD.
        count: photos.
        out: where `critiques.jsonl` and a page to read go; None: nowhere.

    Raises:
        CgiaaError: a set is missing, or a photo cannot be read.
    """
    learn, held = comments(data)
    say(f"learning the report's judge from {len(learn)} comments")
    judge = ReportJudge(learn)
    found = list(write(session, choose_photos(data, count), say))
    if out is not None:
        write_rows(out / ROWS, [one.row for one in found])
        write_sheet(out / SHEET, [one.row for one in found], [one.small for one in found])
    results = of_texts(found, judge)
    results["report's judge on held-out PCCD"] = of_judge(judge, held)
    text = session.bundle.manifest.get("text", {})
    folder = session.bundle.folder / "text"
    if "judge" in text:
        results["bundle's judge on held-out PCCD"] = of_verifier(folder, int(text["judge"]["context"]), held)
    if "search" in text:
        results["critiques: similarity to own photo and another's (VLAP)"] = _similarity(folder, found)
    seconds = np.array([one.seconds for one in found])
    results["critiques: seconds a photo"] = {
        "median": round(float(np.median(seconds)), 3),
        "95 % below": round(float(np.percentile(seconds, 95)), 3),
        "cores": usable_cpus(),
        "n": len(found),
    }
    return results


def write(session: Session, photos: Sequence[str], say: Say) -> Iterator[Critiqued]:
    """Score, measure and critique photos one after the other.

    Raises:
        PhotoError: one cannot be read.
    """
    reference = session.bundle.manifest.get("reference")
    for number, place in enumerate(photos, 1):
        raw = read_image(place)
        start = time.perf_counter()
        photo = _decode(raw, place)
        scores = session.engine.run([prepare(photo)])[0]
        key = hashlib.blake2b(raw, digest_size=16).hexdigest()  # as a scan's: the texts are those of `cgiaa critique`
        facts = measure_facts(photo)
        critique = session.critic.critique(photo, scores, key, facts)
        seconds = time.perf_counter() - start
        row = {"path": escape(place), "score": scores.score, "spread": scores.spread, "kinds": list(critique.kinds)}
        row |= {"notice": critique.notice, "attributes": {n: asdict(a) for n, a in critique.attributes.items()}}
        stands = {name: standing(reference, name, scores.attributes[name])[0] for name in ATTRIBUTES}
        yield Critiqued(row, words(facts), stands, scores.embedding, seconds, thumbnail(photo.view))
        if number % 50 == 0:
            say(f"{number} photos")


def _decode(raw: bytes, place: str) -> Photo:
    try:
        return decode(raw, suffix=Path(place).suffix)
    except PhotoError as error:
        raise PhotoError(error.kind, error.cause, path=escape(place), mend=error.mend) from error


# --- what is measured ------------------------------------------------------------------------------------------------


def of_texts(found: Sequence[Critiqued], judge: ReportJudge) -> dict[str, dict[str, Any]]:
    """What can be said of the printed texts, given their photos and the report's judge."""
    texts = [text for number, one in enumerate(found) for text in _texts(number, one)]
    photographs = [one for one in found if not one.row["notice"]]
    tone, about = judge.tone([t.text for t in texts]), judge.about([t.text for t in texts])
    ranks = _ranks(texts, tone)
    results: dict[str, dict[str, Any]] = {}
    for name in (*ATTRIBUTES, "all"):
        rows = [i for i, t in enumerate(texts) if name in (t.attribute, "all")]
        chosen = [texts[i] for i in rows]
        sources = Counter(one.row["attributes"][a]["source"] for one in found for a in _of(name))
        numbers = {s: round(sources[s] / max(1, sources.total()), 4) for s in (GENERATED, MEASURED, NONE)}
        # neither scores nor tones of different attributes compare, ranks within their attribute do
        stated = [t.standing if name == "all" else t.score for t in chosen]
        toned = (ranks if name == "all" else tone)[rows]
        right = [ATTRIBUTES[about[i]] == texts[i].attribute for i in rows]
        results[f"critiques: {name}"] = numbers | _fit(toned, np.array(stated), np.array(right)) | _variety(chosen)
    results["critiques: candidates dropped"] = _dropped(photographs)
    results["critiques: claims against measurements"] = _contradictions(texts, found)
    results |= own_or_other(texts, ranks, found)
    return results


def _ranks(texts: Sequence[Text], tone: Array) -> Array:
    """The rank of each text's tone among those about the same attribute, 0..1."""
    ranks = np.zeros(len(texts))
    for name in ATTRIBUTES:
        rows = [i for i, t in enumerate(texts) if t.attribute == name]
        if rows:
            ranks[rows] = (rankdata(tone[rows]) - 0.5) / len(rows)
    return ranks


def _of(name: str) -> Sequence[str]:
    return ATTRIBUTES if name == "all" else (name,)


def _texts(number: int, one: Critiqued) -> Iterator[Text]:
    for name, said in one.row["attributes"].items():
        if said["text"]:
            yield Text(said["text"], name, said["source"], number, one.standings[name], said["score"])


def _fit(tone: Array, stated: Array, right: Array) -> dict[str, Any]:
    """Tone against what is stated, and share about their attribute, by the report's judge."""
    if len(tone) < 2:
        return {"n": len(tone)}
    found, about = correlations(tone, stated), share(right)
    return {
        "polarity srcc": found["srcc"],
        "polarity srcc_95": found["srcc_95"],
        "about it": about["accuracy"],
        "about it_95": about["accuracy_95"],
        "n": len(tone),
    }


def _variety(texts: Sequence[Text]) -> dict[str, float]:
    said = [t.text for t in texts]
    return textmetrics.rounded(
        {
            "duplicates": textmetrics.duplicates(said),
            "distinct-1": textmetrics.distinct(said, 1),
            "distinct-2": textmetrics.distinct(said, 2),
            "self-BLEU": textmetrics.self_bleu(said),
        }
    )


def _dropped(found: Sequence[Critiqued]) -> dict[str, Any]:
    """Candidates that the verifier dropped, a photo, by reason."""
    reasons: Counter[str] = Counter()
    for one in found:
        for said in one.row["attributes"].values():
            reasons.update(said["dropped"])
    return {reason: round(count / max(1, len(found)), 2) for reason, count in reasons.most_common()}


def _contradictions(texts: Sequence[Text], found: Sequence[Critiqued]) -> dict[str, Any]:
    claims = [(claim, found[t.photo].holds) for t in texts for claim in find_claims(t.text)]
    wrong = sum(bool(contradictions([claim], holds)) for claim, holds in claims)
    measured = sum(claim.measurement in holds for claim, holds in claims)
    return {"contradicted": wrong, "measured claims": measured, "claims": len(claims), "texts": len(texts)}


# --- the wrong photo -------------------------------------------------------------------------------------------------


def own_or_other(
    texts: Sequence[Text], ranks: Array, found: Sequence[Critiqued], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Does a text fit its own photo better than another one, drawn at random?

    A text fits a photo by the share of its claims that the photo's measurements bear out (a half where it makes none
    that was measured), plus one minus the distance between the tone's rank among all texts of its attribute and the
    photo's standing in it.

    Args:
        ranks: of the tones, see `_ranks`.

    Returns:
        For the sum and for each part: `rate`, how often the own photo is ahead, ties counting half, and `margin`, the
        mean difference.
    """
    other = _others([t.photo for t in texts], len(found), seed)
    pairs = [(text, (text.photo, q)) for text, q in zip(texts, other, strict=True)]
    true = np.array([[_borne_out(t.text, found[p].holds) for p in pair] for t, pair in pairs])
    stands = np.array([[found[p].standings[t.attribute] for p in pair] for t, pair in pairs])
    toned = 1 - np.abs(ranks[:, None] - stands)
    parts = {"claims and tone": true + toned, "claims": true, "tone": toned}
    results = {f"critiques: own photo or another, {name}": _prefer(*scores.T) for name, scores in parts.items()}
    of_photos = _by_photo(parts["claims and tone"], [t.photo for t in texts])
    return results | {"critiques: own photo or another, all texts of a photo": _prefer(*of_photos.T)}


def _by_photo(scores: Array, photos: Sequence[int]) -> Array:
    """(P, 2): the mean over the texts of each photo."""
    each = [np.mean([scores[i] for i, p in enumerate(photos) if p == photo], 0) for photo in sorted(set(photos))]
    return np.array(each).reshape(-1, 2)


def _others(photos: Sequence[int], count: int, seed: int) -> list[int]:
    """For each photo number another one, drawn at random, the same for all texts of a photo; itself only where there
    is just one."""
    dice = random.Random(seed)
    other = [(photo + dice.randrange(1, count)) % count if count > 1 else photo for photo in range(count)]
    return [other[photo] for photo in photos]


def _borne_out(text: str, holds: Holds) -> float:
    claims = [claim for claim in find_claims(text) if claim.measurement in holds]
    return 1 - len(contradictions(claims, holds)) / len(claims) if claims else 0.5


def _prefer(own: Array, other: Array) -> dict[str, Any]:
    difference = own - other
    ahead = (difference > 1e-9) + 0.5 * (np.abs(difference) <= 1e-9)
    low, high = interval(lambda rows: float(ahead[rows].mean()), len(ahead))
    return {
        "rate": round(float(ahead.mean()), 4),
        "rate_95": [low, high],
        "margin": round(float(difference.mean()), 4),
        "n": len(ahead),
    }


def _similarity(folder: Path, found: Sequence[Critiqued], seed: int = 0) -> dict[str, Any]:
    """Cosine of text and photo in the space of VLAP's towers; it took no part in writing or verifying."""
    from cgiaa_models.tokens import Tokens

    from cgiaa_cli.critique.decode import open_network
    from cgiaa_cli.inference.words import tokenizer_of

    says = json.loads((folder / "text.json").read_text("utf-8"))
    tokens = Tokens({**says, "json": tokenizer_of(folder, says).read_text("utf-8")})
    tower, matrix = open_network(folder / "text.onnx", None), np.load(folder / "search.npy")
    texts = [text for number, one in enumerate(found) for text in _texts(number, one)]
    vectors = []
    for start in range(0, len(texts), 64):
        ids, mask = tokens([t.text for t in texts[start : start + 64]])
        given = {"ids": ids.numpy(), "mask": mask.numpy()}
        vectors.append(tower.run(["vector"], {i.name: given[i.name] for i in tower.get_inputs()})[0])
    placed = np.stack([matrix[:, :-1] @ one.embedding.astype(np.float32) + matrix[:, -1] for one in found])
    placed /= np.linalg.norm(placed, axis=1, keepdims=True)
    said, own = np.concatenate(vectors), [t.photo for t in texts]
    other = _others(own, len(found), seed)
    return _prefer((said * placed[own]).sum(1), (said * placed[other]).sum(1))
