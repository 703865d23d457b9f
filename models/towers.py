"""Two towers, one of photos and one of texts, whose outputs meet in one normalised space.

A network is built from a blueprint: a JSON-able description that travels with the weights, so that a trained pair
loads with no hub and none of the packages that its weights came from. `training/pretrained.py` makes blueprints and
fills in published weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from cgiaa_models.student import JUDGE, JUDGE_SIZE, SEMANTIC, Towers
from cgiaa_models.tokens import Tokens
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["HEADS", "DualEncoder", "Head", "Heads", "ImageTower", "TextTower"]

HEADS = ("none", "linear", "mlp")
LARGEST_SCALE = 100.0  # of the logits, as CLIP's (Radford et al. 2021)
_TOP = ("proj", "text_projection")  # parameters, not modules, that stand before the blocks and act after them


@dataclass(frozen=True)
class Heads:
    """What leads from the two towers into the common space.

    Attributes:
        dim: size of the space.
        image, text: "none" (the tower's own output, of size `dim`), "linear", or "mlp" (linear plus one hidden
            layer whose part is zero at first).
        hidden: size of that layer.
        dropout: share of a tower's features that the heads do not see while they learn.
        temperature: to begin with; it is learned.
    """

    dim: int = 512
    image: str = "linear"
    text: str = "linear"
    hidden: int = 1024
    dropout: float = 0.0
    temperature: float = 0.07

    def faults(self) -> list[str]:
        """What is impossible about it, a phrase each."""
        faults = [f"{name} must be 1 or more" for name in ("dim", "hidden") if getattr(self, name) < 1]
        for name in ("image", "text"):
            if getattr(self, name) not in HEADS:
                faults.append(f"{name} must be one of {', '.join(HEADS)}")
        if not 0 <= self.dropout < 1:
            faults.append("dropout must be 0 or more and below 1")
        if not 1 / LARGEST_SCALE <= self.temperature <= 1:
            faults.append(f"temperature must lie in {1 / LARGEST_SCALE}..1")
        return faults


class Head(nn.Module):
    """(B, width) features of a tower -> (B, dim), not normalised.

    `mean` and `scale` standardise the features where `fit_scale` was called; until then they change nothing.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, kind: str, width: int, heads: Heads) -> None:
        super().__init__()
        if kind == "none" and width != heads.dim:
            raise ValueError(f"a head 'none' needs dim = {width}, the size of the tower's output")
        self.kind = kind
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.dropout = nn.Dropout(heads.dropout)
        if kind != "none":
            self.linear = nn.Linear(width, heads.dim)
            nn.init.zeros_(self.linear.bias)
            if width == heads.dim:  # published towers whose outputs already agree start from that
                nn.init.eye_(self.linear.weight)
        if kind == "mlp":
            self.inner = nn.Linear(width, heads.hidden)
            self.outer = nn.Linear(heads.hidden, heads.dim, bias=False)
            nn.init.zeros_(self.outer.weight)

    def fit_scale(self, features: Tensor) -> None:
        """Zero mean and unit deviation on these features (N, width) from now on."""
        self.mean.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp_min(1e-4))

    def standardise(self, features: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        return (features - self.mean) / self.scale

    def forward(self, features: Tensor) -> Tensor:
        x: Tensor = self.dropout(self.standardise(features))
        if self.kind == "none":
            return x
        y: Tensor = self.linear(x)
        if self.kind == "mlp":
            y = y + self.outer(functional.gelu(self.inner(x)))
        return y


class ImageTower(nn.Module):
    """Photos -> features.

    Args:
        blueprint: `kind` and what that kind needs:
            "cgiaa": models/student.py's towers, the whole frame only (no tiles, no measurements);
            "timm": `name`, `mean`, `std`;
            "open_clip": `model` (its configuration), `mean`, `std`.
            Each has `size`, the (height, width) that it takes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, blueprint: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind = str(blueprint["kind"])
        self.size: tuple[int, int] = (int(blueprint["size"][0]), int(blueprint["size"][1]))
        if self.kind == "cgiaa":
            self.trunk: nn.Module = Towers()
            self.width = SEMANTIC + JUDGE
        elif self.kind == "timm":
            import timm

            trunk: Any = timm.create_model(blueprint["name"], pretrained=False, num_classes=0)
            self.trunk = trunk
            self.width = int(getattr(trunk, "head_hidden_size", None) or trunk.num_features)
        else:
            self.trunk = _open_clip(blueprint["model"]).get_submodule("visual")
            self.width = int(blueprint["model"]["embed_dim"])
        for name in ("mean", "std"):
            values = torch.tensor(blueprint.get(name, [0.5] * 3)).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, photo: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 sRGB, of any size (it is squeezed to the tower's) -> (B, width)."""
        if tuple(photo.shape[1:3]) != self.size:
            x = photo.permute(0, 3, 1, 2).float()
            x = functional.interpolate(x, size=self.size, mode="bilinear", align_corners=False, antialias=True)
            photo = x.round().to(torch.uint8).permute(0, 2, 3, 1)
        if isinstance(self.trunk, Towers):
            x = photo.permute(0, 3, 1, 2).float() / 127.5 - 1
            small = functional.interpolate(x, size=(JUDGE_SIZE, JUDGE_SIZE), mode="bilinear", align_corners=False)
            return torch.cat([self.trunk.tail(self.trunk.stem(photo)), self.trunk.judge.features(small)], 1)
        x = (photo.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        found: Tensor | tuple[Tensor, ...] = self.trunk(x)
        return found[0] if isinstance(found, tuple) else found  # CoCa also gives its tokens

    def layers(self) -> list[list[nn.Parameter]]:
        """Parameters by layer, from the bottom up."""
        if isinstance(self.trunk, Towers):
            semantic, judge = self.trunk.semantic, self.trunk.judge
            own = [[semantic.conv_stem, semantic.bn1], *semantic.blocks, [semantic.conv_head, semantic.bn2]]
            return _aligned([_parameters(part) for part in own], [_parameters(b) for b in (judge.stem, *judge.blocks)])
        if self.kind == "timm":
            return _timm_layers(self.trunk)
        if hasattr(self.trunk, "trunk"):  # open_clip's wrapper around a timm network
            head = list(self.trunk.get_submodule("head").parameters())
            return [*_timm_layers(self.trunk.get_submodule("trunk")), *([head] if head else [])]
        return _layers(self.trunk)


class TextTower(nn.Module):
    """Token ids -> features.

    Args:
        blueprint: `kind`, `tokens` (see `tokens.Tokens`) and what the kind needs:
            "open_clip": `model` (its configuration);
            "transformers": `config` of a Hugging Face encoder and `pool`, "mean" or "cls".
    """

    def __init__(self, blueprint: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind = str(blueprint["kind"])
        self.tokens = Tokens(blueprint["tokens"])
        if self.kind == "open_clip":
            self.trunk: nn.Module = _open_clip(blueprint["model"]).get_submodule("text")
            self.width = int(blueprint["model"]["embed_dim"])
        else:
            from transformers import AutoConfig, AutoModel

            settings = dict(blueprint["config"])
            trunk: Any = AutoModel.from_config(AutoConfig.for_model(settings.pop("model_type"), **settings))
            if getattr(trunk, "pooler", None) is not None:
                trunk.pooler = None  # sentence encoders pool by themselves
            self.trunk = trunk
            self.width = int(trunk.config.hidden_size)
            self.pool = str(blueprint["pool"])

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) ids and mask, as `tokens` gives them -> (B, width)."""
        if self.kind == "open_clip":
            found: Tensor | tuple[Tensor, ...] = self.trunk(ids)
            return found[0] if isinstance(found, tuple) else found
        seen = None if mask.is_meta else mask  # transformers looks at its values, which are not there in a plan
        states: Tensor = self.trunk(input_ids=ids, attention_mask=seen).last_hidden_state
        if self.pool == "cls":
            return states[:, 0]
        weight = mask.unsqueeze(-1).to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1).clamp_min(1)

    def layers(self) -> list[list[nn.Parameter]]:
        """Parameters by layer, from the bottom up."""
        return _layers(self.trunk)


class Wide(nn.Module):
    """A pair's image tower that a student sees with, beside its own; a checkpoint of it tells how it is built.

    Args:
        blueprint: see `ImageTower`.
    """

    blueprint: Tensor

    def __init__(self, blueprint: Mapping[str, Any]) -> None:
        super().__init__()
        self.tower = ImageTower(blueprint)
        self.register_buffer("blueprint", torch.tensor(list(json.dumps(dict(blueprint)).encode()), dtype=torch.uint8))

    @staticmethod
    def of(blueprint: Tensor) -> Wide:
        """The one of a checkpoint's `blueprint`, without its weights."""
        return Wide(json.loads(bytes(blueprint.tolist())))

    @property
    def width(self) -> int:
        """How many features it gives."""
        return self.tower.width

    def forward(self, photo: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 sRGB of any size -> (B, width)."""
        found: Tensor = self.tower(photo)
        return found


class DualEncoder(nn.Module):
    """An image tower, a text tower, their heads, and a learned temperature.

    Args:
        blueprint: JSON-able: `image` (see `ImageTower`), `text` (see `TextTower`), `heads` (see `Heads`).
    """

    def __init__(self, blueprint: Mapping[str, Any]) -> None:
        super().__init__()
        self.blueprint = dict(blueprint)
        self.heads = Heads(**blueprint["heads"])
        self.image = ImageTower(blueprint["image"])
        self.text = TextTower(blueprint["text"])
        self.image_head = Head(self.heads.image, self.image.width, self.heads)
        self.text_head = Head(self.heads.text, self.text.width, self.heads)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / self.heads.temperature)))
        self.locked: dict[str, int] = {}

    @staticmethod
    def describe(image: Mapping[str, Any], text: Mapping[str, Any], heads: Heads) -> dict[str, Any]:
        """A blueprint of its parts."""
        return {"image": dict(image), "text": dict(text), "heads": asdict(heads)}

    @property
    def dim(self) -> int:
        """Size of the common space."""
        return self.heads.dim

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied with: 1 / temperature, at most 100."""
        return self.logit_scale.clamp(max=math.log(LARGEST_SCALE)).exp()

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Both embeddings (B, D), normalised, and the scale.

        Args:
            batch: `photo` or, of a locked tower, `image_features`; `ids` and `mask`, or `text_features`.
        """
        image = batch["image_features"] if "image_features" in batch else self.image(batch["photo"])
        text = batch["text_features"] if "text_features" in batch else self.text(batch["ids"], batch["mask"])
        return self.place_image(image), self.place_text(text), self.scale

    def place_image(self, features: Tensor) -> Tensor:
        """(B, width of the image tower) -> (B, D), normalised."""
        return functional.normalize(self.image_head(features), dim=1)

    def place_text(self, features: Tensor) -> Tensor:
        """(B, width of the text tower) -> (B, D), normalised."""
        return functional.normalize(self.text_head(features), dim=1)

    def encode_image(self, photo: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 sRGB -> (B, D), normalised."""
        return self.place_image(self.image(photo))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """B texts -> (B, D), normalised."""
        return self.place_text(self.text_features(texts))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """B texts -> (B, width of the text tower)."""
        ids, mask = self.text.tokens(texts)
        device = self.logit_scale.device
        found: Tensor = self.text(ids.to(device), mask.to(device))
        return found

    def lock(self, tower: str, unlocked: int = 0) -> None:
        """Keep a tower as it is (LiT, Zhai et al. 2022), but for its last layers.

        Args:
            tower: "image" or "text".
            unlocked: how many layers, from the top, still learn.
        """
        getattr(self, tower).requires_grad_(False)
        layers = getattr(self, tower).layers()
        for layer in layers[max(0, len(layers) - unlocked) :]:
            for parameter in layer:
                parameter.requires_grad_(True)
        self.locked[tower] = unlocked
        self.train(self.training)

    def is_frozen(self, tower: str) -> bool:
        """Whether nothing of a tower learns, so that its features can be kept."""
        return not any(p.requires_grad for p in getattr(self, tower).parameters())

    def train(self, mode: bool = True) -> DualEncoder:
        """As `nn.Module.train`, but what is locked stays in eval mode: its batch statistics are not ours to move."""
        super().train(mode)
        for tower in self.locked:
            for module in getattr(self, tower).modules():
                if not any(p.requires_grad for p in module.parameters()):
                    module.training = False
        return self

    def recompute(self) -> None:
        """Give up speed for memory: activations are computed again in the backward pass (gradient checkpointing)."""
        for trunk in (self.image.trunk, self.text.trunk):
            for name in ("gradient_checkpointing_enable", "set_grad_checkpointing"):
                if hasattr(trunk, name):
                    getattr(trunk, name)()
                    break

    def groups(self) -> list[tuple[int, list[nn.Parameter]]]:
        """Parameters by depth, for layer-wise rates: heads and temperature at 0, the towers' last layers at 1, ..."""
        heads = [*self.image_head.parameters(), *self.text_head.parameters(), self.logit_scale]
        layers = _aligned(self.image.layers(), self.text.layers())
        return [(0, heads), *((depth, layer) for depth, layer in enumerate(reversed(layers), 1))]


def _open_clip(settings: Mapping[str, Any]) -> nn.Module:
    """An open_clip model of this configuration with random weights; both towers are modules of it."""
    import copy

    from open_clip import CustomTextCLIP

    wanted = copy.deepcopy({k: v for k, v in settings.items() if k not in ("custom_text", "multimodal_cfg")})
    if "timm_model_name" in wanted["vision_cfg"]:
        wanted["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in wanted["text_cfg"]:
        wanted["text_cfg"]["hf_model_pretrained"] = False
    model: nn.Module = CustomTextCLIP(**wanted)
    return model


def _parameters(part: Any) -> list[nn.Parameter]:
    modules = [part] if isinstance(part, nn.Module) else part
    return [p for module in modules for p in module.parameters()]


def _aligned(a: list[list[nn.Parameter]], b: list[list[nn.Parameter]]) -> list[list[nn.Parameter]]:
    """Layers of two towers side by side, so that their tops are in one."""
    long, short = (a, b) if len(a) >= len(b) else (b, a)
    offset = len(long) - len(short)
    return [layer if i < offset else [*layer, *short[i - offset]] for i, layer in enumerate(long)]


def _timm_layers(trunk: nn.Module) -> list[list[nn.Parameter]]:
    from timm.models import group_parameters

    named = dict(trunk.named_parameters())
    groups = group_parameters(trunk, cast(Any, trunk).group_matcher(coarse=False))
    return [[named[n] for n in groups[key] if n in named] for key in sorted(groups)]


def _layers(trunk: nn.Module) -> list[list[nn.Parameter]]:
    """Layers of a transformer: what comes before its blocks, each block, what comes after; else its children."""
    stacks = {n: m for n, m in trunk.named_modules() if isinstance(m, nn.ModuleList) and len(m) > 1}
    if not stacks:
        own = list(trunk.parameters(recurse=False))
        children = [list(child.parameters()) for child in trunk.children()]
        return [layer for layer in (own, *children) if layer]
    name = max(stacks, key=lambda n: sum(p.numel() for p in stacks[n].parameters()))
    before: list[nn.Parameter] = []
    after: list[nn.Parameter] = []
    reached = False
    for path, parameter in trunk.named_parameters():
        if path.startswith(f"{name}."):
            reached = True
        elif reached or path in _TOP:
            after.append(parameter)
        else:
            before.append(parameter)
    return [layer for layer in (before, *map(_parameters, stacks[name]), after) if layer]
