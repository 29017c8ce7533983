"""Any timm classifier: split where its features say, and the tail is what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from entres.models import EntropicStudent, FactorizedPrior, WeightsError, build_backbone
from entres.models.splitting import Backbone, find_split, split_classifier

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
    torch.manual_seed(0)
    split_classifier(Shortcut(0.0), "first", ["second"])
    with pytest.raises(ValueError, match=r"Shortcut cannot be split at first: .*logits"):
        split_classifier(Shortcut(1.0), "first", ["second"])


# --- axes, and the size of the image that tries a network -----------------------------------------


def assert_tail_gives_what_the_teacher_gives(backbone: Backbone, size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = backbone.teacher(x)
        tail = backbone.tail(whole.features[0].contiguous())
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.mean, backbone.std))
        plain = backbone.teacher.model((x - mean) / std)
    torch.testing.assert_close(whole.logits, plain)
    torch.testing.assert_close(tail.logits, whole.logits)
    assert whole.features[0].shape[1] == backbone.split.channels
    for deep, same in zip(tail.features, whole.features[1:], strict=True):
        torch.testing.assert_close(deep, same)
        assert deep.shape[1] > deep.shape[2]  # channels, then positions


def test_maps_with_channels_last_are_turned_for_codec_and_tail() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("test_mambaout", 10)
    assert backbone.split == ("stages.0", 16, ("stages.1", "stages.2", "stages.3"))
    assert_tail_gives_what_the_teacher_gives(backbone, (96, 64))
    # 64 px is where height, width and channels are all 16.
    assert_tail_gives_what_the_teacher_gives(backbone, (64, 64))
    x = torch.rand(1, 3, 64, 96)
    inside = backbone.teacher.model.get_submodule("stages.0")
    handle = inside.register_forward_hook(lambda *args: maps.append(args[-1]))
    maps: list[torch.Tensor] = []
    features = backbone.teacher(x).features
    handle.remove()
    assert maps[0].shape == (1, 16, 24, 16)
    assert torch.equal(features[0], maps[0].permute(0, 3, 1, 2))
    student = EntropicStudent.from_backbone(backbone, FactorizedPrior).eval()
    assert [f.shape for f in student(x).features] == [f.shape for f in features]


@pytest.mark.parametrize("name", ["test_coatnet", "test_maxvit"])
def test_a_network_of_one_size_is_tried_at_that_size(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, 5)
    with pytest.raises((AssertionError, RuntimeError)):
        backbone.teacher(torch.rand(1, 3, 64, 64))
    assert_tail_gives_what_the_teacher_gives(backbone, (160, 160))


class Maps(nn.Module):
    """A network whose maps have any order of axes."""

    def __init__(self, channels: int = 8, last: bool = False, side: int | None = None) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, channels, 4, stride=4), Turn(last, side))
        self.second = nn.Sequential(nn.Linear(channels, 16))
        self.fc = nn.Linear(16, 5)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        if not self.last:
            y = y.movedim(1, 3)
        logits: torch.Tensor = self.fc(self.second(y).mean((1, 2)))
        return logits


class Turn(nn.Module):
    def __init__(self, last: bool, side: int | None) -> None:
        super().__init__()
        self.last = last
        self.side = side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.side is not None and x.shape[-2:] != (self.side // 4, self.side // 4):
            raise ValueError(f"images have {self.side} px")
        return x.movedim(1, 3) if self.last else x


@pytest.mark.parametrize("channels", [8, 56, 64])  # 56 and 64 are sides of the map that is tried
@pytest.mark.parametrize("last", [False, True])
def test_ones_own_network_is_split_whatever_its_axes(channels: int, last: bool) -> None:
    torch.manual_seed(0)
    backbone = split_classifier(Maps(channels, last), "first", ["second"], std=(0.5, 0.5, 0.5))
    assert backbone.split == ("first", channels, ("second",))
    assert backbone.teacher.num_classes == backbone.tail.num_classes == 5
    assert (backbone.mean, backbone.std) == ((0, 0, 0), (0.5, 0.5, 0.5))
    x = torch.rand(2, 3, 64, 96)
    whole = backbone.teacher(x)
    assert [tuple(f.shape) for f in whole.features] == [(2, channels, 16, 24), (2, 16, 16, 24)]
    assert torch.equal(whole.features[0], backbone.teacher.model.first[0](x * 2))  # type: ignore[index, operator]
    torch.testing.assert_close(backbone.tail(whole.features[0]).logits, whole.logits)
    student = EntropicStudent.from_backbone(backbone, FactorizedPrior).eval()
    assert student.decode(student.encode(x)).shape == (2, 5)


def test_a_square_that_does_not_tell_its_axes_apart_is_refused() -> None:
    for channels in (8, 16):
        network = Maps(channels, last=True, side=64)
        if channels == 8:
            assert split_classifier(network, "first", input_size=(64, 64)).split.channels == 8
            continue
        with pytest.raises(ValueError, match=r"\(1, 16, 16, 16\) there does not tell its axes"):
            split_classifier(network, "first", input_size=(64, 64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "frist"}, r"Maps has no module 'frist': its modules are first, second, fc"),
        ({"split": "first", "points": ["third"]}, r"has no module 'third'"),
        ({"split": "second"}, r"wanted are 56 x 64 positions with channels|gives other logits"),
        ({"split": "fc"}, r"cannot be split at fc: .* becomes \(1, 5\) there, wanted are 56 x 64"),
        ({"split": "first", "std": (0, 1, 1)}, r"those of std > 0, got .* and \(0, 1, 1\)"),
        ({"split": "first", "mean": (0.5,)}, r"a value for each of three channels"),
    ],
)
def test_what_ones_own_network_lacks_is_said(arguments: dict[str, Any], message: str) -> None:
    torch.manual_seed(0)
    network = Maps()
    if arguments["split"] == "second":
        network.second = nn.Sequential(nn.Linear(8, 16), nn.Flatten(1, 2))
        network.fc = nn.Linear(16, 5)
        network.forward = lambda x: network.fc(  # type: ignore[method-assign]
            network.second(network.first(x).movedim(1, 3)).mean(1)
        )
    with pytest.raises(ValueError, match=message):
        split_classifier(network, **arguments)


def test_logits_that_are_none_are_said() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 4, stride=4)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": self.first(x).mean((2, 3))}

    with pytest.raises(ValueError, match=r"logits of shape \(N, classes\), got dict: wrap it"):
        split_classifier(Words(), "first")
    torch.manual_seed(0)
    diverged = Maps()
    with torch.no_grad():
        diverged.second[0].weight.mul_(1e30)  # type: ignore[operator, union-attr]
        diverged.fc.weight.mul_(1e30)
    with pytest.raises(ValueError, match=r"logits that are not finite .* training diverged"):
        split_classifier(diverged, "first")


# --- weights --------------------------------------------------------------------------------------


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
    torch.save({**state, "layer1.0.conv1.weight": torch.zeros(9)}, tmp_path / "wider.pt")
    with pytest.raises(WeightsError, match=r"does not fit ResNet: of another shape: layer1"):
        build_backbone("test_resnet", 4, str(tmp_path / "wider.pt"))
    with pytest.raises(WeightsError, match=r"does not fit .*missing: .*not of this model: "):
        build_backbone("test_efficientnet", 4, str(path))


@pytest.mark.parametrize(("name", "last"), [("test_resnet", "fc"), ("test_mambaout", "head.fc")])
def test_weights_for_another_number_of_classes_give_all_but_the_last_layer(
    name: str, last: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    path = tmp_path / "teacher.pt"
    state = timm.create_model(name, num_classes=1000).state_dict()
    torch.save(state, path)
    torch.manual_seed(2)
    with pytest.warns(UserWarning, match=rf"has 1000 classes, .* 7: .* \({last}\)") as warned:
        backbone = build_backbone(name, 7, str(path))
    assert len(warned) == 1
    loaded = backbone.teacher.model.state_dict()
    for key, value in state.items():
        if key.startswith(f"{last}."):
            assert len(loaded[key]) == 7
        else:
            assert torch.equal(loaded[key], value), key
    torch.manual_seed(2)
    fresh = timm.create_model(name, num_classes=7).state_dict()
    assert torch.equal(loaded[f"{last}.weight"], fresh[f"{last}.weight"])
    with pytest.raises(WeightsError, match=r"has 1000 classes, wanted are 7: give the weights"):
        build_backbone(name, 7, str(path), whole=True)
    assert build_backbone(name, 1000, str(path), whole=True).teacher.num_classes == 1000


def test_the_hubs_weights_for_another_number_of_classes_are_said_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return create(name, pretrained=False, **kwargs)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.warns(UserWarning, match=r"from timm's hub has 1000 classes, the data have 3"):
        build_backbone("test_resnet", 3, "hub")
    with pytest.raises(WeightsError, match=r"has 1000 classes, wanted are 3"):
        build_backbone("test_resnet", 3, "hub", whole=True)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet", num_classes=4).state_dict()
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    state["layer3.0.conv1.weight"][0, 0, 0, 0] = torch.inf
    torch.save(state, tmp_path / "teacher.pt")
    with pytest.raises(WeightsError, match=r"not finite, first in layer2\.0\.conv1\.weight"):
        build_backbone("test_resnet", 4, str(tmp_path / "teacher.pt"))


def test_random_weights_depend_on_torchs_seed_alone() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_backbone("test_resnet").teacher.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_splitting_leaves_the_networks_state_alone() -> None:
    model = timm.create_model("test_resnet").train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    backbone = split_classifier(model, "layer1", ["layer2"])
    assert backbone.teacher.model is model
    assert not any(m.training for part in backbone[:2] for m in part.modules())  # type: ignore[union-attr]
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
