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

from collections.abc import Sequence

import torch
from compressai.entropy_models import GaussianConditional
from compressai.models import get_scale_table
from torch import Tensor

from entres.bitstream import Bitstream, CodecId, hyper_latent_side
from entres.coding import Coder, as_array
from entres.functional import bits_from_likelihoods
from entres.models import layers
from entres.models.codec import Codec, CodingPlan, Symbols, full_precision
from entres.models.quantization import (
    MixedQuantization,
    Quantization,
    Randomness,
    mixed,
    quantize,
)


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
    ) -> tuple[Tensor, dict[str, Tensor]]:
        y_hat, likelihoods = self._bottleneck(y, self.ways(quantization)["y"], generator)
        return y_hat, {"y": likelihoods}

    def ways(self, quantization: Quantization | MixedQuantization) -> dict[str, Quantization]:
        return {"y": mixed(quantization).bottleneck}

    @torch.no_grad()
    def plan(self, x: Tensor) -> CodingPlan:
        y = self.analyse(x).float()
        y_hat, likelihoods = self.latents(y, "round")
        symbols = as_array(torch.round(y - self._medians()))
        height, width = y.shape[-2:]
        tables = self._tables_per_channel(self.latent_channels, height, width)
        return CodingPlan(
            [Symbols([s], [tables], (height, width)) for s in symbols],
            self.synthesise(y_hat),
            bits_from_likelihoods(likelihoods.values()),
        )

    def _decode(self, stream: Bitstream) -> Tensor:
        tables = self._tables_per_channel(self.latent_channels, *stream.latent_shape)
        self._check_fingerprint(stream, tables)
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

    def _gaussians_per_image(self, z_hat: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The same, one image at a time.

        A convolution may round differently in a batch of another size, and the sender's batch is
        not the receiver's: one scale on the other side of a table's bound and the string decodes to
        noise. A batch of one is the same on both sides.
        """
        pairs = [self._gaussians(z[None].contiguous(), shape) for z in z_hat]
        return torch.cat([s for s, _ in pairs]), torch.cat([m for _, m in pairs])

    def _hyperprior(
        self, y: Tensor, quantization: Quantization, generator: Randomness
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What z says of y: (z, its likelihoods, scales, means)."""
        z = self._hyper_latent(y)
        z_hat, likelihoods = self._bottleneck(z, quantization, generator)
        # Under noise nothing is coded, and of no images there is nothing to agree on.
        plain = quantization == "noise" or not len(z_hat)
        gaussians = self._gaussians if plain else self._gaussians_per_image
        scales, means = gaussians(z_hat, y.shape[-2:])
        return z, likelihoods, scales, means

    def _y_likelihoods(self, y_hat: Tensor, scales: Tensor, means: Tensor) -> Tensor:
        with full_precision(y_hat):
            likelihoods = self.gaussian_conditional._likelihood(y_hat, scales, means)
            bounded: Tensor = self.gaussian_conditional.likelihood_lower_bound(likelihoods)
        return bounded

    def latents(
        self,
        y: Tensor,
        quantization: Quantization | MixedQuantization,
        generator: Randomness = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        ways = self.ways(quantization)
        _, z_likelihoods, scales, means = self._hyperprior(y, ways["z"], generator)
        y_hat = quantize(y.float(), ways["y"], means, generator)
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
    def plan(self, x: Tensor) -> CodingPlan:
        y = self.analyse(x)
        z, z_likelihoods, scales, means = self._hyperprior(y, "round", None)
        y_symbols = torch.round(y.float() - means)
        z_symbols = torch.round(z.float() - self._medians())
        y_hat = y_symbols + means
        height, width = y.shape[-2:]
        z_tables = self._tables_per_channel(self.hyper_channels, *z.shape[-2:])
        per_image = zip(
            as_array(y_symbols), as_array(z_symbols), as_array(self._y_tables(scales)), strict=True
        )
        return CodingPlan(
            [
                Symbols([ys, zs], [tables, z_tables], (height, width))
                for ys, zs, tables in per_image
            ],
            self.synthesise(y_hat),
            bits_from_likelihoods([self._y_likelihoods(y_hat, scales, means), z_likelihoods]),
        )

    def _decode(self, stream: Bitstream) -> Tensor:
        y_coder, z_coder = self.coders()
        y_string, z_string = stream.strings
        height, width = stream.latent_shape
        z_tables = self._tables_per_channel(
            self.hyper_channels, hyper_latent_side(height), hyper_latent_side(width)
        )
        z_hat = self._decode_string(z_coder, z_string, z_tables) + self._medians()
        scales, means = self._gaussians(z_hat, (height, width))
        tables = as_array(self._y_tables(scales)[0])
        self._check_fingerprint(stream, tables)
        return self._decode_string(y_coder, y_string, tables) + means

    def update(self) -> None:
        if self.gaussian_conditional.quantized_cdf.numel() == 0:
            # These tables hang on no parameter: once is enough.
            with torch.inference_mode(False), torch.no_grad():
                self.gaussian_conditional.update_scale_table(get_scale_table().tolist())
        super().update()

    def _make_coders(self) -> tuple[Coder, ...]:
        return (Coder.from_model(self.gaussian_conditional), *super()._make_coders())
