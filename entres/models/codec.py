"""What the codecs share: the differentiable path, and the way to real bitstreams and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor

from entres.bitstream import (
    MAX_IMAGE_SIDE,
    Bitstream,
    BitstreamError,
    check_expected,
    check_types,
)
from entres.coding import Coder, IntArray
from entres.functional import at_least, bits_from_likelihoods
from entres.image_faults import size_fault
from entres.models import layers
from entres.models.arithmetic import full_precision
from entres.models.entropy_coded import EntropyCoded
from entres.models.plans import CodingPlan
from entres.models.quantization import MixedQuantization, Quantization, quantize, replaced
from entres.models.randomness import Randomness

T = TypeVar("T")

LEAST_LIKELIHOOD = 1e-9
"""What is less likely counts as this in the estimate of the rate: 30 bits, as in compressai."""
Limit = Callable[[CodingPlan], CodingPlan]
"""Changes what is sent, such as :meth:`entres.defenses.Defense.limit` of a codec."""


class CodecOutput(NamedTuple):
    """What a codec makes of a batch of N images.

    Attributes:
        features: input of the tail, shape (N, t, ceil(H / 4), ceil(W / 4)).
        likelihoods: probabilities of everything that travels, by name ("y", and "z" for the
            hyperprior), each of shape (N, channels, height, width).
    """

    features: Tensor
    likelihoods: dict[str, Tensor]

    @property
    def bits(self) -> Tensor:
        """The rate: estimated bits per image, shape (N,)."""
        return bits_from_likelihoods(self.likelihoods.values())


class Codec(EntropyCoded, ABC):
    """What the two codecs share. Images in [0, 1] are normalized by the student before.

    Attributes:
        short_name: what stands in the name of its students.

    Args:
        target_channels: channels of the features that the tail wants.
        analysis_widths: four channel counts of ``g_a``, from 3 to the latent's.
        synthesis_widths: four channel counts of ``g_s``, from the latent's to the target's.
        entropy_channels: channels of the entropy bottleneck: those of y, or of z.

    Raises:
        ValueError: if the widths do not fit together.
    """

    short_name: str
    output_scale: Tensor
    output_shift: Tensor

    def __init__(
        self,
        target_channels: int,
        analysis_widths: Sequence[int] | None,
        synthesis_widths: Sequence[int] | None,
        entropy_channels: int | None,
    ) -> None:
        super().__init__()
        self.analysis_widths = layers.check_widths(
            "analysis_widths", analysis_widths or layers.default_analysis_widths()
        )
        self.synthesis_widths = layers.check_widths(
            "synthesis_widths",
            synthesis_widths
            or layers.default_synthesis_widths(self.analysis_widths[-1], target_channels),
        )
        ends = (self.analysis_widths[0], self.analysis_widths[-1], self.synthesis_widths[-1])
        if ends != (3, self.synthesis_widths[0], target_channels):
            raise ValueError(
                f"widths do not fit: g_a {list(self.analysis_widths)} must begin with 3 and end "
                f"with what g_s {list(self.synthesis_widths)} begins with, and g_s must end with "
                f"the {target_channels} channels of the split"
            )
        # The memory layout of the weights decides which kernels run, and so how they round: it is
        # always this one, the faster.
        layout = torch.channels_last
        self.g_a = layers.analysis(self.analysis_widths).to(memory_format=layout)
        self.g_s = layers.synthesis(self.synthesis_widths).to(memory_format=layout)
        self.entropy_bottleneck = EntropyBottleneck(entropy_channels or self.latent_channels)
        # Identity for the published students; see set_output_statistics.
        self.register_buffer("output_scale", torch.ones(target_channels))
        self.register_buffer("output_shift", torch.zeros(target_channels))

    @property
    def latent_channels(self) -> int:
        """Channels of the latent y."""
        return self.analysis_widths[-1]

    # --- the differentiable path ---------------------------------------------------------------

    def forward(
        self,
        x: Tensor,
        quantization: Quantization,
        generator: Randomness = None,
        limit: Limit | None = None,
    ) -> CodecOutput:
        """Features and likelihoods, differentiable but for ``round``.

        Args:
            x: normalized images, shape (N, 3, H, W), sides of 32 px or more.
            quantization: see :data:`Quantization`. Nothing depends on train() or eval().
            generator: source of the noise.
            limit: see :meth:`latents`.

        Raises:
            ValueError: if the images are no such batch.
        """
        y_hat, likelihoods = self.latents(self.analyse(x), quantization, generator, limit=limit)
        return CodecOutput(self.synthesise(y_hat), likelihoods)

    def analyse(self, x: Tensor) -> Tensor:
        """The latent y of normalized images: what the head's convolutions compute."""
        if fault := size_fault(x.shape):
            raise ValueError(fault)
        # In the layout of the weights, whatever that of the images is.
        y: Tensor = self.g_a(x.contiguous(memory_format=torch.channels_last))
        return y

    @abstractmethod
    def latents(
        self,
        y: Tensor,
        quantization: Quantization | MixedQuantization,
        generator: Randomness = None,
        batched: bool = False,
        limit: Limit | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The quantized latent and the likelihoods of everything that travels.

        Args:
            y: the latent, differentiable but for ``round``.
            quantization: see :data:`Quantization`.
            generator: source of the noise.
            batched: compute even what a receiver has to agree on for all images at once, not for
                one after the other. It may round otherwise in the last digit: for attacks, which
                send nothing.
            limit: changes the symbols that are sent; a gradient passes as if it did not.
        """

    @abstractmethod
    def ways(self, quantization: Quantization | MixedQuantization) -> dict[str, Quantization]:
        """How each latent, by name, is quantized."""

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Features for the tail from the quantized latent."""
        # In the layout of the weights: what a receiver decodes has none of its own.
        features: Tensor = self.g_s(y_hat.contiguous(memory_format=torch.channels_last))
        return features * self.output_scale[:, None, None] + self.output_shift[:, None, None]

    def set_output_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix scale and shift of the output to the teacher's channel statistics, each (t,).

        The synthesis then learns features of mean 0 and deviation 1, which starts far faster where
        the teacher's features are large. The published students do without.
        """
        self.output_shift.copy_(mean)
        self.output_scale.copy_(std)

    def _bottleneck(
        self,
        x: Tensor,
        quantization: Quantization,
        generator: Randomness,
        sent: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Quantize and judge a latent by the factorized distribution: (x_hat, likelihoods).

        Args:
            sent: what of it travels, where that is not its rounded values.
        """
        with full_precision(x):
            medians = self._medians()
            x_hat = quantize(x.float(), quantization, medians, generator)
            if sent is not None:
                x_hat = replaced(x_hat, x.float(), sent, medians)
        return x_hat, self._bottleneck_likelihoods(x_hat)

    def _bottleneck_likelihoods(self, x_hat: Tensor) -> Tensor:
        """Likelihoods of a quantized latent under the factorized distribution, the same shape."""
        with full_precision(x_hat):
            channels_first = x_hat.transpose(0, 1)
            values = channels_first.flatten(1)[:, None]
            lower, upper = (
                self.entropy_bottleneck._logits_cumulative(values + shift, stop_gradient=False)
                for shift in (-0.5, 0.5)
            )
            # Beyond the median both sigmoids are nearly 1 and their difference is lost in rounding,
            # its gradient with it: there the distribution is taken from its other end.
            side = torch.where(lower + upper > 0, -1.0, 1.0)
            likelihoods = (torch.sigmoid(side * upper) - torch.sigmoid(side * lower)).abs()
            likelihoods = at_least(likelihoods, LEAST_LIKELIHOOD)
        return likelihoods.reshape(channels_first.shape).transpose(0, 1)

    def _medians(self) -> Tensor:
        medians: Tensor = self.entropy_bottleneck.quantiles[:, 0, 1].detach()
        return medians[:, None, None]

    def auxiliary_loss(self) -> Tensor:
        """Distance of the bottleneck's quantiles from where the tails have their mass; scalar.

        Its gradient reaches the quantiles only, so that it may simply be added to any loss.
        """
        loss: Tensor = self.entropy_bottleneck.loss()
        return loss

    # --- real bitstreams -----------------------------------------------------------------------

    @torch.no_grad()
    def plan(self, x: Tensor) -> CodingPlan:
        """Everything of ``compress`` but the entropy coding: the head's network, nothing else.

        In float32, whatever autocast says: a stream of half a precision would be another one.

        Raises:
            ValueError: if the images are no batch, or their latents not finite.
        """
        with full_precision(x):
            return self.plan_latent(self.analyse(x.float()))

    @abstractmethod
    def plan_latent(self, y: Tensor) -> CodingPlan:
        """The same from the latent y, float32; no gradient passes it."""

    def _sent(self, y: Tensor, limit: Limit | None) -> CodingPlan | None:
        """What is sent in place of the rounded latents; None where these are, or are none."""
        if limit is None or not len(y):
            return None
        return limit(self.plan_latent(y.detach().float()))

    def with_likeliest_hyper_latent(self, plan: CodingPlan) -> CodingPlan:
        """The plan with the cheapest hyper-latent that there is; itself, without one."""
        return plan

    @abstractmethod
    def centres(self, plan: CodingPlan) -> Tensor:
        """What a receiver adds to the symbols of y: y is the sum; broadcastable to it."""

    @abstractmethod
    def likelihoods(self, plan: CodingPlan) -> dict[str, Tensor]:
        """Likelihoods of what a plan sends: those of the ``round`` path, as in the forward."""

    def compress(self, x: Tensor) -> list[Bitstream]:
        """Code a batch of normalized images, one stream per image.

        Raises:
            StaleTablesError: if the tables do not belong to the parameters: call ``update()``.
            ValueError: if the images are no such batch, or their latents are not finite.
        """
        self.coders()  # before anything is computed
        return self.encode_plan(self.plan(x))

    @abstractmethod
    def _counts(self, stream: Bitstream) -> dict[int, int]:
        """Symbols per table of the strings, by number, in which every channel has its table."""

    @abstractmethod
    def _decode(self, stream: Bitstream) -> Tensor:
        """The quantized latent of one stream, shape (1, c, h, w)."""

    @torch.no_grad()
    def decode_latents(
        self, streams: Sequence[Bitstream], max_side: int = MAX_IMAGE_SIDE
    ) -> Tensor:
        """The quantized latents of a batch of streams, bit for bit those of the ``round`` path.

        Args:
            streams: at least one; all with latents of the same shape.
            max_side: largest side, in px, of an image that the receiver expects. A stream of a few
                bytes may announce any size, and memory is in proportion to it.

        Returns:
            Shape (N, c, h, w).

        Raises:
            ValueError: if the streams are no such batch.
            BitstreamError: if a stream was made by another codec or student, announces too large an
                image, or was made by nobody; the message says which.
            StaleTablesError: see :meth:`compress`.
        """
        check_types(streams)
        if not streams:
            raise ValueError("decompress needs at least one stream, got none")
        shapes = {stream.latent_shape for stream in streams}
        if len(shapes) > 1:
            raise ValueError(f"streams of one batch must have one latent shape, got {shapes}")
        coders = self.coders()
        for stream in streams:
            # In this order: nothing of the announced size is built before it is seen to be small.
            check_expected(stream, self.id, max_side)
            for number, count in self._counts(stream).items():
                counts = np.full(len(coders[number].cdfs), count)
                self._checked(coders[number].check_length, len(stream.strings[number]), counts)
        return torch.cat([self._decode(stream) for stream in streams])

    def decompress(self, streams: Sequence[Bitstream], max_side: int = MAX_IMAGE_SIDE) -> Tensor:
        """Features of a batch of streams.

        Args:
            streams: at least one; all with latents of the same shape.
            max_side: see :meth:`decode_latents`.

        Returns:
            Shape (N, t, h + 1, w + 1), finite: bit for bit the features of the ``round`` path, for
            batches of the same size on the same machine with as many threads.

        Raises:
            ValueError: if the streams are no such batch.
            BitstreamError: see :meth:`decode_latents`; also if the features overflow.
            StaleTablesError: see :meth:`compress`.
        """
        with torch.no_grad():
            features: Tensor = self.synthesise(self.decode_latents(streams, max_side))
            if not torch.isfinite(features).all():
                raise BitstreamError("the stream's symbols are no image's: its features overflow")
        return features

    @staticmethod
    def _checked(function: Callable[..., T], *arguments: object) -> T:
        """What the coder refuses is a fault of the stream."""
        try:
            return function(*arguments)
        except ValueError as error:
            raise BitstreamError(str(error)) from error

    def _decode_string(self, coder: Coder, string: bytes, tables: IntArray) -> Tensor:
        """Symbols of one string as a batch of one image, float32, shape (1, c, h, w)."""
        values = self._checked(coder.decode, string, tables)
        return torch.from_numpy(values).to(self.output_scale.device, torch.float32)[None]

    @staticmethod
    def _channel_tables(channels: int, height: int, width: int) -> IntArray:
        """The bottleneck's tables of one image, each channel its own: a view, of no size."""
        return np.broadcast_to(
            np.arange(channels, dtype=np.int32)[:, None, None], (channels, height, width)
        )

    def _channel_numbers(self) -> Tensor:
        """The same for a batch of any size, shape (channels, 1, 1)."""
        medians = self._medians()
        return torch.arange(len(medians), dtype=torch.int32, device=medians.device)[:, None, None]
