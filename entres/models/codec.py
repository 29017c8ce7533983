"""What the codecs share: the differentiable path, real bitstreams, and tables kept fresh."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from torch import Tensor, nn

from entres.bitstream import Bitstream, BitstreamError, CodecId
from entres.coding import Coder, IntArray, as_array, tables_fingerprint
from entres.errors import EntresError
from entres.functional import bits_from_likelihoods
from entres.models import layers
from entres.models.quantization import MixedQuantization, Quantization, Randomness, quantize

MIN_IMAGE_SIDE = 32
"""Smallest side of an image, in px."""


class StaleTablesError(EntresError, RuntimeError):
    """The coding tables do not belong to the entropy model's parameters."""


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


class Symbols(NamedTuple):
    """What the entropy coder gets for one image: per string, the symbols and their tables."""

    values: list[IntArray]
    tables: list[IntArray]
    latent_shape: tuple[int, int]


class CodingPlan(NamedTuple):
    """A batch on its way to the coder, and what the receiver will make of it.

    Attributes:
        symbols: one entry per image.
        features: what the receiver decodes, bit for bit: the features of the ``round`` path.
        bits: the estimated rate of the ``round`` path, shape (N,).
    """

    symbols: list[Symbols]
    features: Tensor
    bits: Tensor


def full_precision(x: Tensor) -> torch.autocast:
    """Leave autocast: likelihoods of half precision are wrong by more than what is measured."""
    return torch.autocast(x.device.type, enabled=False)


class Codec(nn.Module, ABC):
    """What the two codecs share. Images in [0, 1] are normalized by the student before.

    Attributes:
        id: what stands in the header of its streams.
        short_name: what stands in the name of its students.

    Args:
        target_channels: channels of the features that the tail wants.
        analysis_widths: four channel counts of ``g_a``, from 3 to the latent's.
        synthesis_widths: four channel counts of ``g_s``, from the latent's to the target's.
        entropy_channels: channels of the entropy bottleneck: those of y, or of z.

    Raises:
        ValueError: if the widths do not fit together.
    """

    id: CodecId
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
        self.g_a = layers.analysis(self.analysis_widths)
        self.g_s = layers.synthesis(self.synthesis_widths)
        self.entropy_bottleneck = EntropyBottleneck(entropy_channels or self.latent_channels)
        # Identity for the published students; see set_output_statistics.
        self.register_buffer("output_scale", torch.ones(target_channels))
        self.register_buffer("output_shift", torch.zeros(target_channels))
        self._coders: tuple[Coder, ...] | None = None
        self._tables_of: int | None = None

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
    ) -> CodecOutput:
        """Features and likelihoods, differentiable but for ``round``.

        Args:
            x: normalized images, shape (N, 3, H, W), sides of 32 px or more.
            quantization: see :data:`Quantization`. Nothing depends on train() or eval().
            generator: source of the noise.

        Raises:
            ValueError: if the images are no such batch.
        """
        y_hat, likelihoods = self.latents(self.analyse(x), quantization, generator)
        return CodecOutput(self.synthesise(y_hat), likelihoods)

    def analyse(self, x: Tensor) -> Tensor:
        """The latent y of normalized images: what the head's convolutions compute."""
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[-2:]) < MIN_IMAGE_SIDE:
            raise ValueError(
                f"images must have shape (N, 3, H, W) with sides of {MIN_IMAGE_SIDE} px or more, "
                f"got {tuple(x.shape)}"
            )
        y: Tensor = self.g_a(x)
        return y

    @abstractmethod
    def latents(
        self,
        y: Tensor,
        quantization: Quantization | MixedQuantization,
        generator: Randomness = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The quantized latent and the likelihoods of everything that travels."""

    @abstractmethod
    def ways(self, quantization: Quantization | MixedQuantization) -> dict[str, Quantization]:
        """How each latent, by name, is quantized."""

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Features for the tail from the quantized latent."""
        # The memory layout decides which kernel runs, and so how it rounds: sender's and receiver's
        # must be the same.
        features: Tensor = self.g_s(y_hat.contiguous())
        return features * self.output_scale[:, None, None] + self.output_shift[:, None, None]

    def set_output_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix scale and shift of the output to the teacher's channel statistics, each (t,).

        The synthesis then learns features of mean 0 and deviation 1, which starts far faster where
        the teacher's features are large. The published students do without.
        """
        self.output_shift.copy_(mean)
        self.output_scale.copy_(std)

    def _bottleneck(
        self, x: Tensor, quantization: Quantization, generator: Randomness
    ) -> tuple[Tensor, Tensor]:
        """Quantize and judge a latent by the factorized distribution: (x_hat, likelihoods)."""
        with full_precision(x):
            x_hat = quantize(x.float(), quantization, self._medians(), generator)
            channels_first = x_hat.transpose(0, 1)
            values = channels_first.flatten(1)[:, None]
            likelihoods, _, _ = self.entropy_bottleneck._likelihood(values)
            likelihoods = self.entropy_bottleneck.likelihood_lower_bound(likelihoods)
        return x_hat, likelihoods.reshape(channels_first.shape).transpose(0, 1)

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

    @abstractmethod
    def plan(self, x: Tensor) -> CodingPlan:
        """Everything of ``compress`` but the entropy coding, which may run elsewhere."""

    def compress(self, x: Tensor) -> list[Bitstream]:
        """Code a batch of normalized images, one stream per image.

        Raises:
            StaleTablesError: if the tables do not belong to the parameters: call ``update()``.
        """
        coders = self.coders()
        return [
            self.bitstream(
                symbols,
                [
                    coder.encode(values, tables)
                    for coder, values, tables in zip(
                        coders, symbols.values, symbols.tables, strict=True
                    )
                ],
            )
            for symbols in self.plan(x).symbols
        ]

    def bitstream(self, symbols: Symbols, strings: Sequence[bytes]) -> Bitstream:
        """Put the coded strings of one image in their container."""
        fingerprint = tables_fingerprint(self.coders(), symbols.tables[0])
        return Bitstream(self.id, symbols.latent_shape, fingerprint, tuple(strings))

    @abstractmethod
    def _decode(self, stream: Bitstream) -> Tensor:
        """The quantized latent of one stream, shape (1, c, h, w)."""

    @torch.no_grad()
    def decompress(self, streams: Sequence[Bitstream]) -> Tensor:
        """Features of a batch of streams.

        Args:
            streams: at least one; all with latents of the same shape.

        Returns:
            Shape (N, t, h + 1, w + 1): bit for bit the features of the ``round`` path, for batches
            of the same size on the same machine.

        Raises:
            BitstreamError: if a stream was made by another codec, by other tables, or by a machine
                that rounds differently.
            StaleTablesError: see :meth:`compress`.
        """
        if not streams:
            raise ValueError("decompress needs at least one stream, got none")
        shapes = {stream.latent_shape for stream in streams}
        if len(shapes) > 1:
            raise ValueError(f"streams of one batch must have one latent shape, got {shapes}")
        for stream in streams:
            if stream.codec is not self.id:
                raise BitstreamError(
                    f"the stream is of codec {stream.codec.name}, this student's is {self.id.name}"
                )
        return self.synthesise(torch.cat([self._decode(stream) for stream in streams]))

    def _decode_string(self, coder: Coder, string: bytes, tables: IntArray) -> Tensor:
        try:
            values = coder.decode(string, tables)
        except ValueError as error:
            raise BitstreamError(str(error)) from error
        return torch.from_numpy(values).to(self.output_scale.device, torch.float32)[None]

    def _check_fingerprint(self, stream: Bitstream, tables: IntArray) -> None:
        if stream.fingerprint != tables_fingerprint(self.coders(), tables):
            raise BitstreamError(
                "the stream was coded with other tables: by another student, or on a machine whose "
                "hyper-synthesis rounds differently"
            )

    @staticmethod
    def _tables_per_channel(channels: int, height: int, width: int) -> IntArray:
        """The bottleneck's tables of one image: each channel has its own."""
        numbers = torch.arange(channels, dtype=torch.int32)
        return as_array(numbers[:, None, None].expand(-1, height, width).contiguous())

    # --- tables --------------------------------------------------------------------------------

    def update(self) -> None:
        """Make the coding tables of the current parameters.

        The quantiles between which a table lies are found by bisection: the auxiliary loss leads
        there too, but a short run ends far from it, and every symbol beyond a table costs dearly.
        """
        # Under inference_mode the tables would become inference tensors, which cannot be saved
        # into or trained with later.
        with torch.inference_mode(False), torch.no_grad():
            self.entropy_bottleneck.update(force=True, update_quantiles=True)
        self.accept_tables()

    def accept_tables(self) -> None:
        """Take the tables that are there as those of the current parameters."""
        self._coders = None
        self._tables_of = self._parameters_fingerprint()

    def tables_are_stale(self) -> bool:
        """Whether the entropy model has changed since its tables were made."""
        return self._tables_of != self._parameters_fingerprint()

    def coders(self) -> tuple[Coder, ...]:
        """The coders of the strings of one image, in the strings' order.

        Raises:
            StaleTablesError: if the tables do not belong to the parameters.
        """
        if self.tables_are_stale():
            raise StaleTablesError(
                "the coding tables do not belong to the entropy model's parameters: call update()"
            )
        if self._coders is None:
            self._coders = self._make_coders()
        return self._coders

    def _make_coders(self) -> tuple[Coder, ...]:
        return (Coder.from_model(self.entropy_bottleneck),)

    def _parameters_fingerprint(self) -> int:
        fingerprint = 0
        for parameter in self.entropy_bottleneck.parameters():
            data = parameter.detach().cpu().contiguous().numpy().tobytes()
            fingerprint = zlib.crc32(data, fingerprint)
        return fingerprint

    def train(self, mode: bool = True) -> Codec:
        """As in torch; out of training, the tables follow the parameters."""
        super().train(mode)
        if not mode and self.tables_are_stale():
            self.update()
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        """Buffers of the tables have the size of their last update: take the checkpoint's.

        Whether these tables belong to the parameters beside them, only the loader knows.
        """
        self._coders = self._tables_of = None
        for name, module in self.named_modules(prefix=prefix.rstrip(".")):
            if isinstance(module, EntropyBottleneck | GaussianConditional):
                for buffer in ("_offset", "_quantized_cdf", "_cdf_length", "scale_table"):
                    saved = state_dict.get(f"{name}.{buffer}")
                    current = getattr(module, buffer, None)
                    if saved is not None and current is not None and saved.shape != current.shape:
                        setattr(module, buffer, current.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
