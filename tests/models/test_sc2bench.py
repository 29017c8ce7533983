"""Published students: the same bytes and the same logits as sc2bench computes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import sc2bench_oracle
import torch
from codec_samples import images
from safetensors.torch import load_file
from torch import Tensor

from entres.bitstream import Bitstream
from entres.models import (
    Codec,
    EntropicStudent,
    FactorizedPrior,
    MeanScaleHyperprior,
    WeightsError,
    build_backbone,
    import_sc2bench,
)
from entres.models.sc2bench import import_codec

GOLDEN = Path(__file__).parent / "golden" / "sc2bench.safetensors"
NAMES = {"resnet50": "resnet50", "resnet101": "resnet101", "regnety_064": "regnety6.4gf"}


def published_name(backbone: str, codec: str, beta: float = 0.08) -> str:
    name = NAMES[backbone]
    return f"ilsvrc2012-splittable_{name}-{codec}-beta{beta:g}_from_{name}.pt"


# --- against sc2bench itself ---------------------------------------------------------------------


@pytest.mark.sc2bench
@pytest.mark.parametrize("codec", ["fp", "mshp"])
@pytest.mark.parametrize("backbone", ["resnet50", "regnety_064"])
def test_bytes_and_logits_are_those_of_sc2bench(
    backbone: str, codec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sc2bench")
    oracle: Any = sc2bench_oracle.build_student(backbone, codec, seed=0)
    torch.save(oracle.state_dict(), tmp_path / published_name(backbone, codec))
    student, card = import_sc2bench(tmp_path / published_name(backbone, codec))
    assert (card.backbone.partition(".")[0], card.codec, card.beta) == (backbone, codec, 0.08)
    lengths, worst = [], 0.0
    for count, height, width in ((1, 224, 224), (1, 224, 224), (2, 224, 224), (1, 256, 192)):
        x = images(count, height, width, seed=len(lengths))
        normalized = student.normalize(x)
        with torch.no_grad():
            expected = list(
                zip(*oracle.bottleneck_layer.encode(normalized)["strings"], strict=True)
            )
            expected_logits = oracle(normalized)
        streams = student.encode(x)
        assert [stream.strings for stream in streams] == expected
        logits = student.decode([Bitstream.from_bytes(s.to_bytes()) for s in streams])
        worst = max(worst, float((logits - expected_logits).abs().max()))
        lengths += [tuple(map(len, strings)) for strings in expected]
        plan = student.codec.plan(normalized)
        for symbols in map(plan.symbols, range(count)):
            # Else the comparison would be one of zeros.
            assert all(len(set(values.ravel().tolist())) > 5 for values in symbols.values)
            assert all(len(set(tables.ravel().tolist())) > 5 for tables in symbols.tables)
    with capsys.disabled():
        print(f"\n{backbone} {codec}: string lengths {lengths}, logits differ by {worst:.2g}")
    assert worst < 1e-4


@pytest.mark.sc2bench
@pytest.mark.parametrize("form", ["old names", "torchdistill", "before update"])
@pytest.mark.parametrize("codec", ["fp", "mshp"])
def test_other_forms_of_a_checkpoint_give_the_same_bytes(
    codec: str, form: str, tmp_path: Path
) -> None:
    pytest.importorskip("sc2bench")
    oracle: Any = sc2bench_oracle.build_student("resnet50", codec, seed=1)
    content: dict[str, Any] = oracle.state_dict()
    if form == "old names":
        content = sc2bench_oracle.legacy_names(content)
        assert any("_matrix0" in key for key in content)
    elif form == "torchdistill":
        optimizer = torch.optim.SGD(oracle.fc.parameters(), 0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 8])
        content = {
            "model": content,
            "optimizer": optimizer.state_dict(),
            "lr_scheduler": schedule.state_dict(),
            "best_value": 0.0,
            "args": argparse.Namespace(config="a.yaml", seed=None, test_only=False),
        }
    else:
        tables = ("_offset", "_quantized_cdf", "_cdf_length", "scale_table")
        content = {k: v[:0] if k.endswith(tables) else v for k, v in content.items()}
    torch.save(content, tmp_path / "student.pt")
    student, card = import_sc2bench(tmp_path / "student.pt", beta=1.28)
    assert (card.backbone, card.codec, card.beta) == ("resnet50.tv_in1k", codec, 1.28)
    x = images(1, 64, 64, seed=2)
    with torch.no_grad():
        expected = oracle.bottleneck_layer.encode(student.normalize(x))["strings"]
    assert student.encode(x)[0].strings == tuple(strings[0] for strings in expected)


@pytest.mark.sc2bench
def test_resnet101_is_told_from_resnet50(tmp_path: Path) -> None:
    pytest.importorskip("sc2bench")
    oracle: Any = sc2bench_oracle.build_student("resnet101", "fp", seed=0)
    torch.save(oracle.state_dict(), tmp_path / "student.pt")
    student, card = import_sc2bench(tmp_path / "student.pt", beta=5.12)
    assert card.backbone == "resnet101.tv_in1k"
    x = images(1, 64, 64, seed=0)
    with torch.no_grad():
        expected = oracle(student.normalize(x))
    torch.testing.assert_close(student.decode(student.encode(x)), expected, rtol=1e-4, atol=1e-4)


# --- against what sc2bench once computed ---------------------------------------------------------


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN)


def golden_codec(golden: dict[str, Tensor], name: str, old_names: bool = False) -> Codec:
    prefix = f"{name}.state."
    state = {
        k.removeprefix(prefix): v.float() if v.is_floating_point() else v
        for k, v in golden.items()
        if k.startswith(prefix)
    }
    if old_names:
        state = sc2bench_oracle.legacy_names(state)
        assert "entropy_bottleneck._matrix0" in state
    return import_codec(state, GOLDEN).eval()


@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize("side", [64, 96])
@pytest.mark.parametrize("name", ["fp", "mshp"])
def test_golden_strings_and_features(
    golden: dict[str, Tensor], name: str, side: int, old_names: bool
) -> None:
    codec = golden_codec(golden, name, old_names)
    x = (golden[f"{name}.{side}.image"].float() / 255 - 0.5) / 0.25
    strings = tuple(
        bytes(golden[key].tolist())
        for key in (f"{name}.{side}.y", f"{name}.{side}.z")
        if key in golden
    )
    (stream,) = codec.compress(x)
    assert stream.strings == strings
    torch.testing.assert_close(
        codec.decompress([stream]), golden[f"{name}.{side}.features"], rtol=1e-4, atol=1e-4
    )


def test_tables_of_the_file_are_taken_as_they_are(golden: dict[str, Tensor]) -> None:
    codec = golden_codec(golden, "mshp")
    assert not codec.tables_are_stale()
    # Sixteen scales where a fresh codec has 64.
    assert len(codec.coders()[0].cdfs) == 16
    tables = codec.entropy_bottleneck.quantized_cdf
    assert torch.equal(tables, golden["mshp.state.entropy_bottleneck._quantized_cdf"])


# --- what a file may say, and be -----------------------------------------------------------------


def published_state(codec: Codec, tail: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state under the published names, from parts of ours."""
    state = {}
    for key, value in codec.state_dict().items():
        if isinstance(codec, FactorizedPrior):
            key = key.replace("g_a.", "encoder.").replace("g_s.", "decoder.")
        if not key.startswith("output_"):
            state[f"bottleneck_layer.{key}"] = value
    return state | tail


@pytest.fixture(scope="module")
def resnet50_tail() -> dict[str, Tensor]:
    return build_backbone("resnet50").tail.model.state_dict()


@pytest.fixture(scope="module")
def small_tail() -> dict[str, Tensor]:
    return build_backbone("test_resnet").tail.model.state_dict()


def small_codec(cls: type[FactorizedPrior] | type[MeanScaleHyperprior]) -> Codec:
    codec = cls(32, (3, 8, 8, 4), (4, 8, 8, 32))
    codec.update()
    return codec


def write(path: Path, state: dict[str, Any]) -> Path:
    torch.save(state, path)
    return path


def test_the_name_of_the_file_fills_the_card(
    tmp_path: Path, resnet50_tail: dict[str, Tensor]
) -> None:
    codec = FactorizedPrior(256)
    codec.update()
    path = write(
        tmp_path / published_name("resnet50", "fp", 5.12), published_state(codec, resnet50_tail)
    )
    student, card = import_sc2bench(path)
    assert card.name == "resnet50-fp-beta5.12-frozen-encoder"
    assert card.backbone == "resnet50.tv_in1k"
    assert card.dataset == "ImageNet-1k"
    assert card.num_classes == 1000
    assert card.analysis_widths == (3, 96, 48, 24)
    assert card.synthesis_widths == (24, 512, 256, 256)
    assert not student.training
    torch.testing.assert_close(student.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(student.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))
    with pytest.raises(WeightsError, match=r"named after beta 5\.12, got beta 0\.08"):
        import_sc2bench(path, beta=0.08)
    for name, message in (
        (published_name("resnet101", "fp"), "backbone resnet101, its tensors are of resnet50"),
        (published_name("resnet50", "mshp"), "codec mshp, its tensors are of fp"),
    ):
        path = path.rename(tmp_path / name)
        with pytest.raises(WeightsError, match=message):
            import_sc2bench(path)


@pytest.mark.parametrize("cls", [FactorizedPrior, MeanScaleHyperprior])
def test_a_student_without_a_telling_name(
    cls: type[FactorizedPrior] | type[MeanScaleHyperprior],
    tmp_path: Path,
    small_tail: dict[str, Tensor],
) -> None:
    codec = small_codec(cls).eval()
    path = write(tmp_path / "mine.pt", published_state(codec, small_tail))
    student, card = import_sc2bench(path, beta=0.5, backbone="test_resnet", dataset="mine")
    assert (card.backbone, card.codec, card.beta) == ("test_resnet", cls.short_name, 0.5)
    assert (card.dataset, card.recipe) == ("mine", "frozen-encoder")
    for key, value in student.tail.model.state_dict().items():
        assert torch.equal(value, small_tail[key]), key
    x = images(1, 64, 64, seed=0)
    assert student.encode(x) == codec.compress(student.normalize(x))
    # An imported student is one of ours: it can be saved and read again.
    student.save(tmp_path / "ours.safetensors", card)
    with pytest.raises(WeightsError, match="give it as beta="):
        import_sc2bench(path, backbone="test_resnet")
    with pytest.raises(WeightsError, match="beta must be > 0, got -1"):
        import_sc2bench(path, beta=-1, backbone="test_resnet")
    with pytest.raises(WeightsError, match="give the timm name of its backbone"):
        import_sc2bench(path, beta=0.5)
    with pytest.raises(WeightsError, match="32 channels, resnet18 takes 64 after layer1"):
        import_sc2bench(path, beta=0.5, backbone="resnet18")


def test_empty_tables_are_made_without_moving_the_quantiles(
    tmp_path: Path, small_tail: dict[str, Tensor]
) -> None:
    codec = MeanScaleHyperprior(32, (3, 8, 8, 4), (4, 8, 8, 32))  # never updated
    assert codec.entropy_bottleneck.quantized_cdf.numel() == 0
    path = write(tmp_path / "mine.pt", published_state(codec, small_tail))
    student, _ = import_sc2bench(path, beta=1, backbone="test_resnet")
    imported = student.codec
    assert isinstance(imported, MeanScaleHyperprior)
    assert torch.equal(imported.entropy_bottleneck.quantiles, codec.entropy_bottleneck.quantiles)
    assert len(imported.gaussian_conditional.quantized_cdf) == 64
    x = images(1, 64, 64, seed=0)
    assert student.decode(student.encode(x)).shape == (1, 1000)


def _drop(state: dict[str, Any], part: str) -> dict[str, Any]:
    return {k: v for k, v in state.items() if part not in k}


def _replace(state: dict[str, Any], key: str, value: Tensor) -> dict[str, Any]:
    assert key in state
    return state | {key: value}


BROKEN = {
    "no bottleneck": (
        lambda s: _drop(s, "bottleneck_layer"),
        r"none of its tensors is named bottleneck_layer\.",
    ),
    "no classifier": (lambda s: _drop(s, "fc."), "neither fc.weight nor head.fc.weight"),
    "a part of a codec": (lambda s: _drop(s, ".h_s."), "bottleneck of neither"),
    "a missing convolution": (lambda s: _drop(s, ".g_a.2."), r"layer 2 of its g_a .* got nothing"),
    "another kernel": (
        lambda s: _replace(s, "bottleneck_layer.g_s.0.weight", torch.zeros(8, 4, 3, 3)),
        r"layer 0 of its g_s must be a 2 x 2 convolution, got \(8, 4, 3, 3\)",
    ),
    "widths that do not follow": (
        lambda s: _replace(s, "bottleneck_layer.g_a.2.weight", torch.zeros(8, 9, 5, 5)),
        "convolutions of its g_a do not follow on each other",
    ),
    "a latent that g_s does not take": (
        lambda s: _replace(s, "bottleneck_layer.g_s.0.weight", torch.zeros(8, 5, 2, 2)),
        "widths do not fit",
    ),
    "a scale hyperprior": (
        lambda s: _replace(s, "bottleneck_layer.h_s.4.weight", torch.zeros(4, 24, 5, 5)),
        "scales and means, 8 channels, got 4",
    ),
    "another hyper-latent": (
        lambda s: _replace(
            s, "bottleneck_layer.entropy_bottleneck.quantiles", torch.zeros(8, 1, 3)
        ),
        "hyper-latent must have 16 channels, got 8",
    ),
    "a tensor too many": (
        lambda s: s | {"bottleneck_layer.g_a.0.bias": torch.zeros(8)},
        "g_a.0.bias",
    ),
    "a tail too short": (lambda s: _drop(s, "layer4."), "missing: .*layer4"),
    "tables that do not rise": (
        lambda s: _replace(
            s,
            "bottleneck_layer.entropy_bottleneck._quantized_cdf",
            s["bottleneck_layer.entropy_bottleneck._quantized_cdf"].flip(1),
        ),
        "table 0 does not rise from 0 to 65536",
    ),
    "tables longer than they are": (
        lambda s: _replace(
            s,
            "bottleneck_layer.gaussian_conditional._cdf_length",
            s["bottleneck_layer.gaussian_conditional._cdf_length"] * 1000,
        ),
        "table 0 announces",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_named(
    case: str, tmp_path: Path, small_tail: dict[str, Tensor]
) -> None:
    change, message = BROKEN[case]
    state = published_state(small_codec(MeanScaleHyperprior), small_tail)
    path = write(tmp_path / "mine.pt", change(state))
    with pytest.raises(WeightsError, match=message) as caught:
        import_sc2bench(path, beta=1, backbone="test_resnet")
    assert str(path) in str(caught.value)


def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, small_tail: dict[str, Tensor]
) -> None:
    state = published_state(small_codec(FactorizedPrior), small_tail)
    state["fc.bias"] = torch.full_like(state["fc.bias"], torch.nan)
    path = write(tmp_path / "student.pt", state)
    with pytest.raises(WeightsError, match=r"not finite, first in fc\.bias"):
        import_sc2bench(path, 0.08, "test_resnet")


def test_a_namespace_beside_the_model_is_read_and_other_classes_are_not(
    tmp_path: Path, small_tail: dict[str, Tensor]
) -> None:
    state = published_state(small_codec(FactorizedPrior), small_tail)
    content: dict[str, Any] = {"model": state, "args": argparse.Namespace(seed=1, log=None)}
    student, _ = import_sc2bench(write(tmp_path / "a.pt", content), beta=1, backbone="test_resnet")
    assert isinstance(student, EntropicStudent)
    content["args"].path = Path("somewhere")
    with pytest.raises(WeightsError, match="could run any code"):
        import_sc2bench(write(tmp_path / "b.pt", content), beta=1, backbone="test_resnet")
