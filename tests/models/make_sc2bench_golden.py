"""Make ``golden/sc2bench.safetensors``: streams and features of sc2bench's own bottlenecks.

To make it anew, in an environment that has sc2bench 0.1.1 beside entres::

    python tests/models/make_sc2bench_golden.py

The file holds, for both codecs, a small bottleneck's state, images, the strings that sc2bench codes
them to and the features that it decodes. Other machines add up floats in another order, so nothing
in the file may hang on the last bits: weights lie on a grid of 1/256, and images are drawn until no
latent lies near the middle between two integers and no scale near a bound of the scale table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from codec_samples import images, spread_bottleneck
from compressai.models import get_scale_table
from safetensors.torch import save_file
from sc2bench_oracle import bottleneck_config
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden" / "sc2bench.safetensors"
WIDTHS: dict[str, Any] = {"target": 6, "analysis": [3, 8, 6, 4], "synthesis": [4, 12, 6, 6]}
SIDES = (64, 96)
MARGIN = 2e-4
"""Least distance of a latent from the middle between two integers, and relative distance of a scale
from a bound: ten times what another order of summation was seen to change, or more."""


def make_bottleneck(codec: str) -> nn.Module:
    """A small bottleneck with weights on a coarse grid and its tables made."""
    from sc2bench.models.layer import get_layer

    torch.manual_seed(1)
    config = bottleneck_config(codec, **WIDTHS)
    bottleneck: nn.Module = get_layer(config["key"], **config["kwargs"])
    spread_bottleneck(bottleneck, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, parameter in bottleneck.named_parameters():
            if parameter.ndim == 4 and "reparam" not in name:
                parameter.copy_((parameter * 256).round() / 256)
    bottleneck.eval()
    if codec == "mshp":
        # The published table of 64 scales would make the file ten times as large.
        bottleneck.update(scale_table=get_scale_table(levels=16, max=8))  # type: ignore[operator]
    else:
        bottleneck.update()  # type: ignore[operator]
    return bottleneck


@torch.no_grad()
def margin(bottleneck: Any, x: Tensor) -> float:
    """How near the coding of these images comes to a decision that rounding could turn."""

    def to_middle(t: Tensor) -> float:
        return float((0.5 - (t - t.round()).abs()).min())

    entropy = bottleneck.entropy_bottleneck
    medians = entropy.quantiles[:, 0, 1][:, None, None]
    if hasattr(bottleneck, "encoder"):
        return to_middle(bottleneck.encoder(x) - medians)
    y = bottleneck.g_a(x)
    z = bottleneck.h_a(y)
    scales, means = bottleneck.h_s((z - medians).round() + medians).chunk(2, 1)
    bounds = bottleneck.gaussian_conditional.scale_table[:-1]
    to_bound = float((scales[..., None] / bounds - 1).abs().min())
    return min(to_middle(z - medians), to_middle(y - means), to_bound)


def compact(tensor: Tensor) -> Tensor:
    """Half precision where that loses nothing, as on the weights' grid."""
    half = tensor.half()
    exact = tensor.ndim == 4 and torch.equal(half.float(), tensor)
    return half if exact else tensor


def as_tensor(string: bytes) -> Tensor:
    """A string as a tensor of bytes, for the file."""
    return torch.frombuffer(bytearray(string), dtype=torch.uint8)


@torch.no_grad()
def main() -> None:
    """Draw the images, code them with sc2bench, and write the file."""
    torch.set_num_threads(1)
    content: dict[str, Tensor] = {}
    about: dict[str, Any] = {"widths": WIDTHS, "margin": MARGIN}
    for codec in ("fp", "mshp"):
        bottleneck: Any = make_bottleneck(codec)
        content |= {f"{codec}.state.{k}": compact(v) for k, v in bottleneck.state_dict().items()}
        for side in SIDES:
            for seed in range(1000):
                pixels = (images(1, side, side, seed) * 255).round().to(torch.uint8)
                x = (pixels.float() / 255 - 0.5) / 0.25
                if margin(bottleneck, x) > MARGIN:
                    break
            else:
                sys.exit(f"no image of {side} px keeps the margin for {codec}")
            coded = bottleneck.encode(x)
            about[f"{codec}.{side}"] = {"seed": seed, "margin": margin(bottleneck, x)}
            content[f"{codec}.{side}.image"] = pixels
            content[f"{codec}.{side}.features"] = bottleneck.decode(**coded)
            for name, strings in zip(("y", "z"), coded["strings"], strict=False):
                content[f"{codec}.{side}.{name}"] = as_tensor(strings[0])
    GOLDEN.parent.mkdir(exist_ok=True)
    save_file(content, GOLDEN, {"golden": json.dumps(about)})
    GOLDEN.chmod(0o644)
    print(f"{GOLDEN}: {GOLDEN.stat().st_size / 1024:.0f} KiB, {about}")


if __name__ == "__main__":
    main()
