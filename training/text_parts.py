"""What writes, judges and reads critiques, for the bundle: exported from the stages that trained it, and measured.

`cgiaa_cli.critique.writer.load_writer` reads the files from the bundle's folder `text`. They are of a precision of
their own: they run on the CPU, word by word, where fp16 arithmetic has no use, and their activations depend on the
text, so int8 is the dynamic kind.
"""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.student import ASPECT
from cgiaa_models.towers import DualEncoder
from cgiaa_training.files import appearing
from cgiaa_training.held_out import inputs
from cgiaa_training.pairs import view_of
from cgiaa_training.precision import Inputs, convert, outputs_of
from cgiaa_training.run import Context
from cgiaa_training.search import image_map
from numpy.typing import NDArray

from cgiaa_cli.bundles import Bundle
from cgiaa_cli.critique.decode import OnnxDecoder
from cgiaa_cli.critique.judge import TextJudge
from cgiaa_cli.critique.prompt import ATTRIBUTES, EOS, LEVELS
from cgiaa_cli.critique.tokenizer import Tokenizer
from cgiaa_cli.critique.writer import COPIES, POINTS
from cgiaa_cli.errors import UsageError
from cgiaa_cli.inference.words import MAP

__all__ = ["PRECISIONS", "SEARCH", "Photos", "Seen", "carry_text", "export_text", "measure_text"]

Array = NDArray[Any]
PRECISIONS = ("fp32", "fp16", "int8-dynamic")
SEARCH = ("tower", "words")
TEXTS = 60  # held-out ones that are measured on


@dataclass(frozen=True)
class Seen:
    """Photos as an encoder reads them, and what it says of them: its output `embedding`, (N, F)."""

    batches: Sequence[Inputs]
    vectors: NDArray[np.float32]


class Photos:
    """What an encoder says of photos to fit maps on, and of those to check maps with: when it is first asked for.

    Args:
        encoder: encoder.onnx.
    """

    def __init__(self, encoder: bytes, known: Sequence[Inputs], checks: Sequence[Inputs]) -> None:
        self._encoder, self._known, self._checks = encoder, known, checks

    @cached_property
    def known(self) -> Seen:
        """The photos to fit on."""
        if not self._known:
            raise UsageError(
                "searching by words, and experts that see photos, need photos to export",
                mend="name sets in export.reference or export.calibration",
            )
        return self.see(self._known)

    @cached_property
    def checks(self) -> Seen:
        """The photos to check with."""
        return self.see(self._checks)

    def see(self, batches: Sequence[Inputs]) -> Seen:
        """Photos of which there is at least one."""
        return Seen(batches, outputs_of(self._encoder, batches)["embedding"])


def _database_texts(context: Context) -> list[str]:
    return [row["caption"] for row in _database(context)]


def _database(context: Context) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    path = context.out / "attributes" / "database" / "critiques.parquet"
    rows: list[dict[str, str]] = pq.read_table(path, columns=["caption", "attribute", "polarity", "split"]).to_pylist()
    return rows


def _edges(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """By attribute the polarities that part the texts to learn from into ten levels of equal size."""
    edges = {}
    for attribute in ATTRIBUTES:
        found = [r["polarity"] for r in rows if r["attribute"] == attribute and r["split"] == "train"]
        edges[attribute] = np.quantile(found, np.arange(1, LEVELS) / LEVELS).round(4).tolist() if found else []
    return edges


def export_text(context: Context, folder: Path, photos: Photos) -> dict[str, Any]:
    """Networks, tokenizers and tables of the stages that the recipe has: `folder`/PRECISION, for each precision.

    Args:
        photos: as the encoder of the bundle sees them.

    Returns:
        The bundle's section "text": `judge` (`context`: its most tokens; `edges`: see `_edges`), `experts`
        (`attributes`; where they see photos, what `_fit_map` says of where they see them), `search` (see
        `_export_search`); empty where there is none of them.

    Raises:
        CgiaaError: such a stage is not done; ONNX Runtime differs from torch.
        UsageError: there are no photos to fit on.
    """
    shutil.rmtree(folder, ignore_errors=True)
    whole = folder / "fp32"
    whole.mkdir(parents=True)
    section: dict[str, Any] = {}
    if context.recipe.attributes is not None:
        from cgiaa_training.attributes import export_judge, load_judge
        from cgiaa_training.text_judge import with_known_words

        context.results("attributes")
        judge = load_judge(context.out / "attributes" / "judge.pt")
        export_judge(with_known_words(judge, _database_texts(context)), whole)
        context_size = int(judge.blueprint["text"]["tokens"]["context"])
        section["judge"] = {"context": context_size, "edges": _edges(_database(context))}
    wanted = context.recipe.experts is not None and context.recipe.export.experts
    if wanted and section:  # without a judge nothing that they write is verified
        from cgiaa_training import experts
        from cgiaa_training.export_experts import export_experts

        context.results("experts")
        trained = experts.load(context.folder("experts"))
        export_experts(trained, whole, weights="fp32")
        shutil.copyfile(context.folder("experts") / COPIES, whole / COPIES)
        section["experts"] = {"attributes": list(trained.networks)}
        if any(network.mapper is not None for network in trained.networks.values()):
            from cgiaa_training import vlap

            context.results("vlap")
            tower = vlap.load(context.out / "vlap" / "vlap.pt")
            points = [_tower_points(tower, seen, context.recipe.vlap.resize) for seen in (photos.known, photos.checks)]
            section["experts"] |= _fit_map(whole / POINTS, photos, *points)[1]
    if context.recipe.export.search:
        section["search"] = _export_search(context, whole, photos)
    for precision in PRECISIONS[1:]:
        (folder / precision).mkdir()
        for path in whole.iterdir():
            content = path.read_bytes()
            made = convert(content, precision) if path.suffix == ".onnx" else content
            (folder / precision / path.name).write_bytes(made)
    return section


def _export_search(context: Context, folder: Path, photos: Photos) -> dict[str, Any]:
    """What reads the words, and search.npy (D, F + 1): W and b from the encoder's embedding to their space.

    Returns:
        `kind`; `dim` (D); `cosine`: between where the map puts held-out photos and where the image tower does, mean;
        `held_out`: recall with `vlap`'s held-out pairs, as shipped, and of the two towers themselves (`towers`).
    """
    from cgiaa_training import vlap
    from cgiaa_training.retrieval import recalls
    from cgiaa_training.search import export_text_tower, word_table

    context.results("vlap")
    model = vlap.load(context.out / "vlap" / "vlap.pt")
    learnt, held = vlap.pairs(context)
    kind, table, basis = context.recipe.export.search, None, np.eye(model.dim)
    resize = context.recipe.vlap.resize
    if kind == "words":
        table, basis = word_table(model, learnt.texts, context.recipe.export.search_dim)
    says = export_text_tower(model, folder, table=table)
    points = [_tower_points(model, seen, resize) @ basis.T for seen in (photos.known, photos.checks)]
    matrix, near = _fit_map(folder / MAP, photos, *points)
    paired = photos.see(inputs(held.photos))
    with torch.inference_mode():
        whole = model.encode_text(held.texts).numpy()
        said = whole if table is None else table(*model.text.tokens(held.texts)).numpy()
    towers = recalls(_tower_points(model, paired, resize), whole, held.photo)
    return {
        "kind": kind,
        "dim": int(says["dim"]),
        "cosine": near["cosine"],
        "held_out": recalls(_placed(matrix, paired.vectors), said, held.photo),
        "towers": {name: value for name, value in towers.items() if name.startswith("text_to_image")},
    }


def carry_text(source: Bundle, folder: Path, photos: Photos) -> dict[str, Any]:
    """The text parts of another bundle for a new encoder: `folder`/PRECISION, its own alone.

    The judge reads no photo. The search by words, and experts where they see photos, have a map from the encoder's
    embedding, which is fitted anew: to where the other bundle puts the same photos.

    Returns:
        That bundle's section "text", `from` (its name and version) added; `cosine` (and `blind`) of `search` and
        `experts` is between where the two maps put the photos to check with, see `_fit_map`.

    Raises:
        UsageError: that bundle has no text parts.
    """
    section = copy.deepcopy(source.text)
    if not section:
        raise UsageError(
            f"the model {source.name} {source.version} has no texts to bring along",
            mend="name another in export.text_from",
        )
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / section["precision"]
    shutil.copytree(source.folder / "text", target)
    section["from"] = f"{source.name} {source.version}"

    def refit(path: Path) -> dict[str, float]:
        matrix, encoder = np.load(path), source.encoder.read_bytes()
        seen = [outputs_of(encoder, part.batches)["embedding"] for part in (photos.known, photos.checks)]
        return _fit_map(path, photos, *(_placed(matrix, vectors) for vectors in seen))[1]

    if "search" in section:
        kept = {name: section["search"][name] for name in ("kind", "dim")}
        section["search"] = {**kept, "cosine": refit(target / MAP)["cosine"]}
    if (target / POINTS).exists():
        section["experts"] |= refit(target / POINTS)
    return section


def _tower_points(model: DualEncoder, seen: Seen, resize: str) -> Array:
    """(N, D): where the image tower of `vlap` puts photos, seen as in training (`resize`, see `VlapConfig`)."""
    found = []
    for batch in seen.batches:
        photos = batch["photo"]
        if resize == "cut":  # the middle of the whole frame, which is here squeezed to a square
            height, width = model.image.size
            wide = 2.0 ** batch["measures"][:, ASPECT] * height / width
            views = [
                view_of(photo, model.image.size, "squeeze", _middle(min(1, 1 / w), min(1, w)))
                for photo, w in zip(photos, wide, strict=True)
            ]
            photos = np.stack(views)
        with torch.inference_mode():
            found.append(model.encode_image(torch.from_numpy(photos)).numpy())
    return np.concatenate(found)


def _middle(width: float, height: float) -> tuple[float, float, float, float, bool]:
    """The crop, as `pairs.view_of` takes it, of these shares of the frame."""
    return (1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2, False


def _fit_map(path: Path, photos: Photos, known: Array, checks: Array) -> tuple[Array, dict[str, float]]:
    """Write the map (D, F + 1), W and b, that takes embeddings of photos nearest to their points.

    Args:
        known, checks: (N, D) points of the photos to fit on, and of those to check with.

    Returns:
        The map, and how near it puts the photos to check with to their points, mean: `cosine`; `blind`: what the mean
        point of all photos reaches, for in some spaces they all lie close together.
    """
    weight, bias = image_map(photos.known.vectors, known)
    matrix = np.concatenate([weight, bias[:, None]], 1).astype(np.float32)
    with appearing(path) as partial, partial.open("wb") as file:
        np.save(file, matrix)
    guesses = {"cosine": _placed(matrix, photos.checks.vectors), "blind": _unit(known.mean(0)[None])}
    wanted = _unit(checks)
    return matrix, {name: round(float((points * wanted).sum(1).mean()), 4) for name, points in guesses.items()}


def _placed(matrix: Array, vectors: Array) -> Array:
    return _unit(vectors @ matrix[:, :-1].T + matrix[:, -1])


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9))


def measure_text(context: Context, folder: Path) -> dict[str, dict[str, Any]]:
    """What each precision that `export_text` made costs, on texts that were held out.

    Returns:
        By precision `bytes` and `size_ratio`; where there are experts, `perplexity`; where there is a judge,
        `same_attribute` (share of texts that it gives the attribute that fp32 gives) and `polarity_difference` (mean,
        in points of 1..10).
    """
    found: dict[str, dict[str, Any]] = {}
    held: Sequence[Any] = []
    if (folder / "fp32" / "experts.json").exists():
        from cgiaa_training import experts

        held = experts.read_units(context)[1][1][:TEXTS]
    judges = (folder / "fp32" / "judge.onnx").exists()
    texts = [unit.text for unit in held] or (_judged_texts(context) if judges else [])
    judged: list[Any] = []
    for precision in PRECISIONS:
        files = folder / precision
        size = sum(path.stat().st_size for path in files.iterdir())
        found[precision] = {"bytes": size}
        found[precision]["size_ratio"] = round(size / found["fp32"]["bytes"], 3)
        if judges:
            judged.append(TextJudge(files / "judge.onnx", files / "judge-tokenizer.json").judge(texts))
            same = judged[-1][0].argmax(1) == judged[0][0].argmax(1)
            found[precision]["same_attribute"] = round(float(same.mean()), 4)
            apart = np.abs(judged[-1][1] - judged[0][1])
            found[precision]["polarity_difference"] = round(float(apart.mean()), 4)
        if held:
            found[precision]["perplexity"] = round(_perplexity(files, held), 3)
    return found


def _judged_texts(context: Context) -> list[str]:
    """Held-out sentences of the critique database."""
    rows = _database(context)
    held = [row["caption"] for row in rows if row["split"] != "train"]
    return (held or [row["caption"] for row in rows])[:TEXTS]


def _perplexity(folder: Path, units: Sequence[Any]) -> float:
    """Of held-out texts given their controls, photos unknown; by the decoder of each text's attribute."""
    about = json.loads((folder / "experts.json").read_text("utf-8"))
    tokenizer = Tokenizer(folder / "tokenizer.json")
    decoders: dict[str, OnnxDecoder] = {}
    total, count = 0.0, 0
    for unit in units:
        network = about["networks"][unit.prompt.attribute]
        name = network["decoder"]
        if name not in decoders:
            mapper = folder / network["mapper"] if network["mapper"] else None
            decoders[name] = OnnxDecoder(folder / name, mapper, context=network["context"])
        asked = [tokenizer.controls[token] for token in unit.prompt.tokens()]
        text = [*tokenizer.encode(unit.text), tokenizer.controls[EOS]]
        room = network["context"] - len(asked) - decoders[name].prefix(None, 1).shape[1]
        total -= _likelihood(decoders[name], asked, text[:room])
        count += len(text[:room])
    return float(np.exp(total / max(1, count)))


def _likelihood(decoder: OnnxDecoder, asked: Sequence[int], text: Sequence[int]) -> float:
    """Sum of the natural logarithms of the probabilities of `text` after `asked`."""
    prefix = decoder.prefix(None, 1)
    past, mask = decoder.start(1), np.ones((1, prefix.shape[1] + len(asked)), np.int64)
    ids, total = np.array([asked]), 0.0
    for token, following in itertools.zip_longest(text, text[1:]):
        logits, past = decoder.step(ids, prefix, mask, past)
        highest = logits[0].max()
        total += float(logits[0, token] - highest - np.log(np.exp(logits[0] - highest).sum()))
        if following is not None:
            ids, prefix = np.array([[token]]), prefix[:, :0]
            mask = np.concatenate([mask, np.ones((1, 1), np.int64)], 1)
    return total
