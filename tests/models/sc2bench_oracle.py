"""Students built by sc2bench itself, with random weights: the oracle of the import.

sc2bench is no dependency; whoever calls these functions has it.
"""

from __future__ import annotations

from typing import Any

import torch
from codec_samples import spread_bottleneck, spread_norms
from torch import Tensor, nn

WIDTHS: dict[str, dict[str, Any]] = {
    "resnet50": {"target": 256, "analysis": [3, 96, 48, 24], "synthesis": [24, 512, 256, 256]},
    "resnet101": {"target": 256, "analysis": [3, 96, 48, 24], "synthesis": [24, 512, 256, 256]},
    "regnety_064": {"target": 144, "analysis": [3, 64, 64, 64], "synthesis": [64, 288, 144, 144]},
}


def bottleneck_config(
    codec: str, target: int, analysis: list[int], synthesis: list[int]
) -> dict[str, Any]:
    """The configuration of a bottleneck, in the form that sc2bench's builders take."""
    names = ("encoder", "decoder") if codec == "fp" else ("g_a", "g_s")
    return {
        "key": f"{codec.upper()}BasedResNetBottleneck",
        "kwargs": {
            "num_bottleneck_channels": analysis[-1],
            "num_target_channels": target,
            f"{names[0]}_channel_sizes": analysis,
            f"{names[1]}_channel_sizes": synthesis,
        },
    }


def build_student(backbone: str, codec: str, seed: int) -> nn.Module:
    """sc2bench's model of a published combination, in evaluation mode, its tables made."""
    from sc2bench.models.backbone import splittable_regnet, splittable_resnet

    torch.manual_seed(seed)
    config = bottleneck_config(codec, **WIDTHS[backbone])
    model: nn.Module
    if backbone.startswith("resnet"):
        model = splittable_resnet(
            config, resnet_name=backbone, skips_avgpool=False, skips_fc=False, weights=None
        )
    else:
        model = splittable_regnet(config, regnet_name=backbone, skips_head=False)
    generator = torch.Generator().manual_seed(seed)
    spread_bottleneck(model.bottleneck_layer, generator)  # type: ignore[arg-type]
    spread_norms(model, generator)
    model.eval()
    model.update()  # type: ignore[operator]
    return model


def legacy_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state under the names that compressai's entropy bottleneck had when they published."""
    renamed = {}
    for key, value in state.items():
        for plural, singular in (
            ("matrices", "matrix"),
            ("biases", "bias"),
            ("factors", "factor"),
        ):
            before, found, number = key.partition(f"entropy_bottleneck.{plural}.")
            if found:
                key = f"{before}entropy_bottleneck._{singular}{number}"
        renamed[key] = value
    return renamed
