"""The codecs of the entropic student: an image becomes a bitstream, a bitstream becomes features.

FactorizedPrior [Balle2017]::

            head                            tail
    x ──► g_a ──► y ──► Q ──► EB ══ bits ══► EB ──► y_hat ──► g_s ──► features

MeanScaleHyperprior [Minnen2018]::

    x ──► g_a ──► y ─────────────► Q ──► GC ══ bits ══► GC ──► y_hat ──► g_s ──► features
                  │                      ▲               ▲
                  └► h_a ──► z ──► Q     │ scales,       │ scales,
                                   │     │ means         │ means
                                   EB    └── h_s ◄───────┴── h_s ◄── z_hat ◄── EB ◄══ bits

(EB: entropy bottleneck, a learned factorized distribution per channel. GC: a Gaussian whose scale
and mean come with z.)

[Balle2017] Balle, Laparra, Simoncelli: End-to-end optimized image compression, ICLR 2017.
[Minnen2018] Minnen, Balle, Toderici: Joint autoregressive and hierarchical priors for learned image
compression, NeurIPS 2018.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from compressai.entropy_models import GaussianConditional
from compressai.models import get_scale_table
from torch import Tensor

from entres.bitstream import Bitstream, BitstreamError, CodecId, hyper_latent_side
from entres.coding import Coder, IntArray, as_array, subset_with_xor, tables_fingerprint
from entres.functional import at_least
from entres.models import layers
from entres.models.arithmetic import full_precision, reference_arithmetic
from entres.models.codec import LEAST_LIKELIHOOD, Codec, Limit
from entres.models.entropy_coded import REACH
from entres.models.plans import CodingPlan
from entres.models.quantization import (
    MixedQuantization,
    Quantization,
    mixed,
    quantize,
    replaced,
)
from entres.models.randomness import Randomness

ROUNDING = 1e-4
"""Relative distance of a scale from a bound within which float32 may put it on the other side: ten
times what was seen."""
MAX_UNCERTAIN = 16
"""Most scales that may be taken on their other side: a stream of another student then passes for
one of this student in one case of 65,536."""


class FactorizedPrior(Codec):
    """The latent y under one learned distribution per channel (diagram at the top of this file).

    Args:
        target_channels: channels of the features that the tail wants.
        analysis_widths: channel counts of ``g_a``; 3, 96, 48, 24 if None.
        synthesis_widths: channel counts of ``g_s``; 24, 2t, t, t if None.
    """

    id = CodecId.FACTORIZED_PRIOR
    short_name = "fp"

    def __init__(
        self,
        target_channels: int,
        analysis_widths: Sequence[int] | None = None,
        synthesis_widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__(target_channels, analysis_widths, synthesis_widths, None)

    def latents(
        self,
        y: Tensor,
        quantization: Quantization | MixedQuantization,
        generator: Randomness = None,
        batched: bool = False,
        limit: Limit | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        sent = self._sent(y, limit)
        y_sent = None if sent is None else sent.latents["y"]
        y_hat, likelihoods = self._bottleneck(y, self.ways(quantization)["y"], generator, y_sent)
        return y_hat, {"y": likelihoods}

    def ways(self, quantization: Quantization | MixedQuantization) -> dict[str, Quantization]:
        return {"y": mixed(quantization).bottleneck}

    @torch.no_grad()
    def plan_latent(self, y: Tensor) -> CodingPlan:
        y = y.contiguous()  # what is added to it, and the coder, want the plain layout
        medians = self._medians()
        values = torch.round(y - medians)
        return CodingPlan((values,), (self._channel_numbers(),), {"y": values + medians})

    def centres(self, plan: CodingPlan) -> Tensor:
        return self._medians()

    def likelihoods(self, plan: CodingPlan) -> dict[str, Tensor]:
        return {"y": self._bottleneck_likelihoods(plan.latents["y"])}

    def _counts(self, stream: Bitstream) -> dict[int, int]:
        height, width = stream.latent_shape
        return {0: height * width}

    def _decode(self, stream: Bitstream) -> Tensor:
        tables = self._channel_tables(self.latent_channels, *stream.latent_shape)
        if stream.fingerprint != tables_fingerprint(self.coders(), tables):
            raise BitstreamError("the latent was coded with other tables: by another student")
        (coder,) = self.coders()
        return self._decode_string(coder, stream.strings[0], tables) + self._medians()


class MeanScaleHyperprior(Codec):
    """The latent y under Gaussians whose scales and means travel as z (diagram at the top).

    Any image from 32 px fits: the latent is extended to the grid of the hyper-synthesis for z, and
    what the hyper-synthesis gives is cropped to y. For sides that are multiples of 16 px both do
    nothing, which is where the published students work.

    Args:
        target_channels: channels of the features that the tail wants.
        analysis_widths: channel counts of ``g_a``; 3, 96, 48, 24 if None.
        synthesis_widths: channel counts of ``g_s``; 24, 2t, t, t if None.
        hyper_channels: channels of z.
    """

    id = CodecId.MEAN_SCALE_HYPERPRIOR
    short_name = "mshp"
    gaussian_conditional: GaussianConditional

    def __init__(
        self,
        target_channels: int,
        analysis_widths: Sequence[int] | None = None,
        synthesis_widths: Sequence[int] | None = None,
        hyper_channels: int = layers.HYPER_CHANNELS,
    ) -> None:
        super().__init__(target_channels, analysis_widths, synthesis_widths, hyper_channels)
        self.hyper_channels = hyper_channels
        self.h_a = layers.hyper_analysis(self.latent_channels, hyper_channels)
        self.h_s = layers.hyper_synthesis(self.latent_channels, hyper_channels)
        self.gaussian_conditional = GaussianConditional(None)

    def _hyper_latent(self, y: Tensor) -> Tensor:
        z: Tensor = self.h_a(layers.pad_to_hyper_grid(y))
        return z

    def _gaussians(self, z_hat: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Scales and means of y, each (N, c, h, w) for ``shape`` = (h, w)."""
        height, width = shape
        scales, means = self.h_s(z_hat)[..., :height, :width].float().chunk(2, 1)
        return scales, means

    def _reference_gaussians(
        self, z_hat: Tensor, shape: Sequence[int], batched: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The same as sender and receiver compute them, so that both choose the same tables.

        A convolution rounds otherwise for another batch, memory layout or precision, and none of
        these need be the same on both sides: one scale on the other side of a table's bound and the
        string decodes to noise. So it is done for one image at a time, in plain layout, in float32,
        as the published code does it at batch size 1 (docs/bitstream.md says why not in float64).
        Only where nobody has to agree may it be batched.
        """
        weights = {n: p.float().contiguous() for n, p in self.h_s.named_parameters()}
        height, width = shape
        outputs = []
        with reference_arithmetic(z_hat.device):
            for z in (z_hat,) if batched else z_hat[:, None]:
                plain = z.float().contiguous()
                output = torch.func.functional_call(self.h_s, weights, (plain,))
                outputs.append(output[..., :height, :width])
        scales, means = torch.cat(outputs).chunk(2, 1)
        return scales, means

    def _hyperprior(
        self,
        y: Tensor,
        quantization: Quantization,
        generator: Randomness,
        batched: bool,
        sent: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What z says of y: (likelihoods of z, scales, means)."""
        z_hat, likelihoods = self._bottleneck(self._hyper_latent(y), quantization, generator, sent)
        # Under noise nothing is coded, and of no images there is nothing to agree on.
        if quantization == "noise" or not len(z_hat):
            return likelihoods, *self._gaussians(z_hat, y.shape[-2:])
        return likelihoods, *self._reference_gaussians(z_hat, y.shape[-2:], batched)

    def _y_likelihoods(self, y_hat: Tensor, scales: Tensor, means: Tensor) -> Tensor:
        with full_precision(y_hat):
            likelihoods = self.gaussian_conditional._likelihood(y_hat, scales, means)
        return at_least(likelihoods, LEAST_LIKELIHOOD)

    def latents(
        self,
        y: Tensor,
        quantization: Quantization | MixedQuantization,
        generator: Randomness = None,
        batched: bool = False,
        limit: Limit | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        ways = self.ways(quantization)
        sent = self._sent(y, limit)
        z_sent = None if sent is None else sent.latents["z"]
        z_likelihoods, scales, means = self._hyperprior(y, ways["z"], generator, batched, z_sent)
        y_hat = quantize(y.float(), ways["y"], means, generator)
        if sent is not None:
            y_hat = replaced(y_hat, y.float(), sent.latents["y"], self.centres(sent))
        likelihoods = {"y": self._y_likelihoods(y_hat, scales, means), "z": z_likelihoods}
        return y_hat, likelihoods

    def ways(self, quantization: Quantization | MixedQuantization) -> dict[str, Quantization]:
        both = mixed(quantization)
        return {"y": both.conditional, "z": both.bottleneck}

    def _y_tables(self, scales: Tensor) -> Tensor:
        """The table of every scale: the first whose scale is not smaller, else the last."""
        bounded = scales.clamp(min=float(self.gaussian_conditional.scale_bound)).contiguous()
        return torch.bucketize(bounded, self.gaussian_conditional.scale_table[:-1], out_int32=True)

    @torch.no_grad()
    def plan_latent(self, y: Tensor) -> CodingPlan:
        y = y.contiguous()
        with full_precision(y):
            z = self._hyper_latent(y)
        medians = self._medians()
        z_values = torch.round(z - medians)
        z_hat = z_values + medians
        scales, means = self._reference_gaussians(z_hat, y.shape[-2:])
        return self._gaussian_plan(torch.round(y - means), z_values, z_hat, scales, means)

    def _gaussian_plan(
        self, y_values: Tensor, z_values: Tensor, z_hat: Tensor, scales: Tensor, means: Tensor
    ) -> CodingPlan:
        return CodingPlan(
            (y_values, z_values),
            (self._y_tables(scales), self._channel_numbers()),
            {"y": y_values + means, "z": z_hat},
            (scales, means),
        )

    def with_likeliest_hyper_latent(self, plan: CodingPlan) -> CodingPlan:
        z_values = plan.values[1]
        likeliest = (self.costs_on(z_values.device)[1].argmin(1) - REACH).to(z_values.dtype)
        z_values = likeliest[:, None, None].expand_as(z_values).contiguous()
        z_hat = z_values + self._medians()
        scales, means = self._reference_gaussians(z_hat, plan.latent_shape)
        # What y was, but for its first rounding, on the grid of the new means.
        y_values = torch.round(plan.latents["y"] - means)
        return self._gaussian_plan(y_values, z_values, z_hat, scales, means)

    def centres(self, plan: CodingPlan) -> Tensor:
        assert plan.gaussians is not None
        return plan.gaussians[1]

    def likelihoods(self, plan: CodingPlan) -> dict[str, Tensor]:
        assert plan.gaussians is not None
        return {
            "y": self._y_likelihoods(plan.latents["y"], *plan.gaussians),
            "z": self._bottleneck_likelihoods(plan.latents["z"]),
        }

    def _counts(self, stream: Bitstream) -> dict[int, int]:
        height, width = map(hyper_latent_side, stream.latent_shape)
        return {1: height * width}

    def _decode(self, stream: Bitstream) -> Tensor:
        y_coder, z_coder = self.coders()
        y_string, z_string = stream.strings
        height, width = stream.latent_shape
        z_tables = self._channel_tables(
            self.hyper_channels, hyper_latent_side(height), hyper_latent_side(width)
        )
        try:
            z_hat = self._decode_string(z_coder, z_string, z_tables) + self._medians()
        except BitstreamError as error:
            raise BitstreamError(
                f"the hyper-latent was coded with other tables, by another student, or by none: "
                f"{error}"
            ) from error
        scales, means = self._reference_gaussians(z_hat, (height, width))
        tables = as_array(self._y_tables(scales)[0])
        if stream.fingerprint != tables_fingerprint(self.coders(), tables):
            tables = self._tables_of_sender(stream, z_hat)
        return self._decode_string(y_coder, y_string, tables) + means

    def _tables_of_sender(self, stream: Bitstream, z_hat: Tensor) -> IntArray:
        """The tables of y that a sender chose whose hyper-synthesis rounds otherwise.

        Exact scales (float64) say which of them lie so near a bound that rounding decides; the
        fingerprint says which of those the sender took on the other side.

        Raises:
            BitstreamError: if no such choice has the stream's fingerprint.
        """
        exact = copy.deepcopy(self.h_s).cpu().double()
        height, width = stream.latent_shape
        with torch.autocast("cpu", enabled=False):
            scales = exact(z_hat.cpu().double().contiguous())[..., :height, :width].chunk(2, 1)[0]
        bounds = self.gaussian_conditional.scale_table[:-1].cpu().double()
        above = torch.bucketize(scales.contiguous(), bounds).clamp(max=len(bounds) - 1)
        below = (above - 1).clamp(min=0)
        to_above, to_below = ((scales / bounds[n] - 1).abs() for n in (above, below))
        nearest = torch.where(to_above < to_below, above, below).flatten()
        distance = torch.minimum(to_above, to_below).flatten()
        tables = as_array(self._y_tables(scales.float().to(z_hat.device))[0])
        flat = tables.reshape(-1)  # a view
        found = distance.argsort()[:MAX_UNCERTAIN].tolist()
        found = [place for place in found if distance[place] < ROUNDING]
        # On one side of bound n stands table n, on the other n + 1.
        others = [2 * int(nearest[place]) + 1 - int(flat[place]) for place in found]
        base = tables_fingerprint(self.coders(), tables)
        changes = []
        for place, other in zip(found, others, strict=True):
            chosen, flat[place] = int(flat[place]), other
            changes.append(base ^ tables_fingerprint(self.coders(), tables))
            flat[place] = chosen
        turned = subset_with_xor(changes, base ^ stream.fingerprint)
        if turned is None:
            raise BitstreamError(
                "the latent was coded with other tables: by a machine or in a precision that "
                "rounds the hyper-synthesis otherwise at too many places, or by another student"
            )
        for number in turned:
            flat[found[number]] = others[number]
        return tables

    def update(self) -> None:
        if self.gaussian_conditional.quantized_cdf.numel() == 0:
            # These tables depend on no parameter: once is enough.
            with torch.inference_mode(False), torch.no_grad():
                self.gaussian_conditional.update_scale_table(get_scale_table().tolist())
        super().update()

    def _make_coders(self) -> tuple[Coder, ...]:
        return (Coder.from_model(self.gaussian_conditional), *super()._make_coders())
