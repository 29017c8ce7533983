"""From a plan to real bitstreams: coding, sizes without coding, and tables kept fresh."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from torch import Tensor, nn

from entres.bitstream import Bitstream, CodecId, published_size, stream_size
from entres.coding import Coder, encode_image, tables_fingerprint
from entres.coding_cost import coded_bits, doubtful_bytes, string_bytes
from entres.errors import EntresError
from entres.models.plans import CodingPlan, StreamSizes, Symbols

REACH = 63
"""Magnitude up to which the cost of every symbol is kept in a table; what lies beyond is rare."""


class StaleTablesError(EntresError, RuntimeError):
    """The coding tables do not belong to the entropy model's parameters."""


class EntropyCoded(nn.Module):
    """What codes and sizes a plan, whatever network made it.

    ::

        plan ──► coders (one per string, their tables those of the parameters) ──► streams
          └────► what every symbol costs ──► sizes

    Attributes:
        id: what stands in the header of its streams.
        entropy_bottleneck: the entropy model of its last string; the others depend on it.
    """

    id: CodecId
    entropy_bottleneck: EntropyBottleneck

    def __init__(self) -> None:
        super().__init__()
        self._coders: tuple[Coder, ...] | None = None
        self._costs: tuple[Tensor, ...] | None = None
        self._tables_of: int | None = None

    # --- coding -----------------------------------------------------------------------------------

    def encode_plan(self, plan: CodingPlan) -> list[Bitstream]:
        """Code what a plan sends, one stream per image.

        Raises:
            StaleTablesError: see :meth:`coders`.
        """
        coders = self.coders()
        streams = []
        for symbols in map(plan.symbols, range(len(plan))):
            strings = encode_image(coders, symbols.values, symbols.tables)
            streams.append(self.bitstream(symbols, strings))
        return streams

    def bitstream(self, symbols: Symbols, strings: Sequence[bytes]) -> Bitstream:
        """Put the coded strings of one image in their container."""
        fingerprint = tables_fingerprint(self.coders(), symbols.tables[0])
        return Bitstream(self.id, symbols.latent_shape, fingerprint, tuple(strings))

    # --- sizes ------------------------------------------------------------------------------------

    def symbol_bits(self, plan: CodingPlan, number: int) -> Tensor:
        """Bits of every symbol of one string of a plan's images, float64, flat.

        The cost of a symbol within REACH is looked up; the few beyond are counted one by one.
        """
        values, tables = plan.values[number], plan.tables[number]
        coder, costs = self.coders()[number], self.costs_on(values.device)[number]
        width = costs.shape[1]
        # Few passes and little new memory: most of the time of a pass goes into that.
        least, most = values.aminmax() if values.numel() else (values.new_zeros(()),) * 2
        any_far = bool(torch.maximum(-least, most) > REACH)
        far = values.abs() > REACH if any_far else None
        near = values if far is None else values.masked_fill(far, 0)
        places = torch.add(near.int(), tables, alpha=width).add_(REACH)
        bits = costs.flatten().index_select(0, places.flatten())
        if far is not None:
            # In numpy, with the coder's own tables: they are few, also on a GPU.
            chosen = tables.expand_as(values)[far].cpu().long().numpy()
            beyond = coded_bits(coder.law, values[far].cpu().long().numpy(), chosen)
            bits[far.flatten()] = torch.from_numpy(beyond).to(bits.device)
        return bits

    @torch.no_grad()
    def string_sizes(self, plan: CodingPlan) -> Tensor:
        """The exact length of every string that a plan will be coded to, without coding it.

        A look-up of what every symbol costs, escapes included
        (:func:`entres.coding_cost.coded_bits`), on the device of the plan. The coder's own rounding
        can move a length by a word only where the bits nearly fill the last one; such a string, one
        in five hundred, is coded to see.

        Args:
            plan: of a batch of N images.

        Returns:
            Bytes, int64, shape (N, strings), on the CPU.

        Raises:
            StaleTablesError: see :meth:`coders`.
        """
        sizes = []
        for number, coder in enumerate(self.coders()):
            totals = self.symbol_bits(plan, number).view(len(plan), -1).sum(1).tolist()
            lengths = [string_bytes(total) for total in totals]
            for index in (i for i, total in enumerate(totals) if doubtful_bytes(total)):
                symbols = plan.symbols(index)
                lengths[index] = len(coder.encode(symbols.values[number], symbols.tables[number]))
            sizes.append(torch.tensor(lengths, dtype=torch.int64))
        return torch.stack(sizes, 1)

    def stream_sizes(self, plan: CodingPlan) -> StreamSizes:
        """The exact sizes of a plan's streams, without coding them: see :meth:`string_sizes`."""
        strings = self.string_sizes(plan)
        payloads = strings.sum(1)
        published = [published_size(self.id, plan.latent_shape, s) for s in strings.tolist()]
        streams = [stream_size(self.id, payload) for payload in payloads.tolist()]
        return StreamSizes(torch.tensor(streams), payloads, torch.tensor(published))

    def costs_on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Bits of every symbol within REACH under every table of each coder, on a device."""
        coders = self.coders()
        if self._costs is None or self._costs[0].device != device:
            self._costs = tuple(torch.from_numpy(c.costs(REACH)).to(device) for c in coders)
        return self._costs

    # --- tables -----------------------------------------------------------------------------------

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
        self._coders = self._costs = None
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

    def train(self, mode: bool = True) -> EntropyCoded:
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
        self._coders = self._costs = self._tables_of = None
        for name, module in self.named_modules(prefix=prefix.rstrip(".")):
            if isinstance(module, EntropyBottleneck | GaussianConditional):
                for buffer in ("_offset", "_quantized_cdf", "_cdf_length", "scale_table"):
                    saved = state_dict.get(f"{name}.{buffer}")
                    current = getattr(module, buffer, None)
                    if saved is not None and current is not None and saved.shape != current.shape:
                        setattr(module, buffer, current.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
