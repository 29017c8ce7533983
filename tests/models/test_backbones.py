"""Any timm classifier: split where its features say, and the tail is what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from entres.models import WeightsError, build_backbone
from entres.models.backbones import find_split, make_tail

FAMILIES = {
    "test_resnet": ("layer1", 32),
    "resnet18": ("layer1", 64),
    "regnety_002": ("s1", 24),
    "test_efficientnet": ("blocks.1", 24),
    "convnext_atto": ("stages.0", 40),
    "mobilenetv3_small_050": ("blocks.0", 8),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_tail_gives_what_the_teacher_gives(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, num_classes=7)
    assert (backbone.split.module, backbone.split.channels) == FAMILIES[name]
    x = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = backbone.teacher(x)
        at_split, *deeper = whole.features
        tail = backbone.tail(at_split)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.mean, backbone.std))
        plain = backbone.teacher.model((x - mean) / std)
    assert at_split.shape == (2, backbone.split.channels, 24, 16)
    assert whole.logits.shape == (2, 7)
    torch.testing.assert_close(whole.logits, plain)
    torch.testing.assert_close(tail.logits, whole.logits)
    assert len(tail.features) == len(backbone.split.points) >= 2
    for a, b in zip(tail.features, deeper, strict=True):
        torch.testing.assert_close(a, b)


def test_the_tail_holds_no_part_of_the_head_and_none_of_the_teacher() -> None:
    backbone = build_backbone("test_resnet")
    tail, teacher = backbone.tail.state_dict(), backbone.teacher.state_dict()
    assert set(tail) < set(teacher)
    assert not any(key.startswith(("model.conv1", "model.bn1", "model.layer1")) for key in tail)
    with torch.no_grad():
        for parameter in backbone.tail.parameters():
            parameter.zero_()
    assert any(p.any() for p in backbone.teacher.model.layer4.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "module", "channels", "points"),
    [
        ("resnet50.tv_in1k", "layer1", 256, ("layer2", "layer3", "layer4")),
        ("resnet101.tv_in1k", "layer1", 256, ("layer2", "layer3", "layer4")),
        ("regnety_064.pycls_in1k", "s1", 144, ("s2", "s3", "s4")),
    ],
)
def test_splits_of_the_paper(
    name: str, module: str, channels: int, points: tuple[str, ...]
) -> None:
    with torch.device("meta"):  # the structure alone
        model = timm.create_model(name)
    assert find_split(model) == (module, channels, points)
    assert model.pretrained_cfg["mean"] == (0.485, 0.456, 0.406)
    assert model.pretrained_cfg["std"] == (0.229, 0.224, 0.225)


def test_a_model_without_a_stage_at_a_quarter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"VisionTransformer cannot be split: .* such as resnet50"):
        build_backbone("vit_tiny_patch16_224")


class Shortcut(nn.Module):
    """A network whose forward adds something to the split outside of its modules."""

    def __init__(self, shortcut: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 4, stride=4)
        self.second = nn.Conv2d(8, 16, 2, stride=2)
        self.fc = nn.Linear(16, 5)
        self.shortcut = shortcut
        self.feature_info = [
            {"module": "first", "reduction": 4, "num_chs": 8},
            {"module": "second", "reduction": 8, "num_chs": 16},
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x) + self.shortcut
        logits: torch.Tensor = self.fc(self.second(y).mean((2, 3)) + x.mean() * self.shortcut)
        return logits


def test_a_cut_that_would_change_the_result_is_refused() -> None:
    from entres.models import Classifier

    for shortcut in (0.0, 1.0):
        torch.manual_seed(0)
        model = Shortcut(shortcut)
        split = find_split(model)
        teacher = Classifier(model, (split.module, *split.points)).eval()
        if shortcut:
            with pytest.raises(ValueError, match=r"Shortcut cannot be split at first: .*logits"):
                make_tail(teacher, split)
        else:
            make_tail(teacher, split)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown backbone 'resnet5o'"):
        build_backbone("resnet5o")


def test_without_a_network_the_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
        if pretrained:
            raise ConnectionError("no route to host")
        return create(name, pretrained=False, **kwargs)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(WeightsError, match=r"ConnectionError.*weights=/path/to/model"):
        build_backbone("test_resnet", weights="hub")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_from_a_file_are_in_the_teacher_and_in_the_tail(
    tmp_path: Path, suffix: str
) -> None:
    torch.manual_seed(1)
    state = timm.create_model("test_resnet", num_classes=4).state_dict()
    path = tmp_path / f"teacher{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    backbone = build_backbone("test_resnet", 4, str(path))
    for key, value in backbone.teacher.model.state_dict().items():
        assert torch.equal(value, state[key]), key
    for key, value in backbone.tail.model.state_dict().items():
        assert torch.equal(value, state[key]), key
    with pytest.raises(WeightsError, match=r"does not fit ResNet: of another shape: fc\.weight"):
        build_backbone("test_resnet", 5, str(path))
    with pytest.raises(WeightsError, match=r"does not fit .*missing: .*not of this model: "):
        build_backbone("test_efficientnet", 4, str(path))


def test_random_weights_hang_on_torchs_seed_alone() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_backbone("test_resnet").teacher.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_splitting_leaves_the_teachers_mode_and_statistics_alone() -> None:
    backbone = build_backbone("test_resnet")
    before = {k: v.clone() for k, v in backbone.teacher.state_dict().items()}
    backbone.teacher.train()
    make_tail(backbone.teacher, backbone.split)
    assert backbone.teacher.training
    assert backbone.teacher.model.training
    for key, value in backbone.teacher.state_dict().items():
        assert torch.equal(value, before[key]), key
