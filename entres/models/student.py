"""The entropic student: a codec for the head, and what remains of the teacher for the tail."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from entres.bitstream import MAX_IMAGE_SIDE, Bitstream
from entres.card import StudentCard, read_card, read_metadata
from entres.errors import WeightsError
from entres.functional import bits_from_likelihoods
from entres.images import Images, check_batch, checked_images
from entres.models.arithmetic import full_precision
from entres.models.backbones import build_backbone
from entres.models.budget import check_budget, within_budget
from entres.models.checkpoints import check_finite, read_state, write_state
from entres.models.classifier import Classifier
from entres.models.codec import Codec, Limit
from entres.models.codecs import MeanScaleHyperprior
from entres.models.plans import CodingPlan
from entres.models.quantization import Quantization
from entres.models.randomness import Randomness
from entres.models.splitting import Backbone

CodecCallable = Callable[[int], Codec]
"""Makes a codec for a number of target channels."""


class StudentOutput(NamedTuple):
    """What a student makes of a batch of N images.

    Attributes:
        logits: shape (N, classes).
        features: at the distillation points, the codec's output first.
        likelihoods: of everything that travels, by name; see :class:`CodecOutput`.
    """

    logits: Tensor
    features: list[Tensor]
    likelihoods: dict[str, Tensor]

    @property
    def bits(self) -> Tensor:
        """The rate: estimated bits per image, shape (N,)."""
        return bits_from_likelihoods(self.likelihoods.values())


class EntropicStudent(nn.Module):
    """Images to logits through a bitstream.

    ::

                     device (head)          link            server (tail)
        x ──► normalize ──► codec.compress ──► bytes ──► codec.decompress ──► tail ──► logits

    Images are float tensors in [0, 1], shape (N, 3, H, W), sides of 32 px or more.

    Args:
        codec: the codec, whose features the tail takes.
        tail: what follows the split.
        mean: per-channel mean of the normalization.
        std: per-channel deviation of the normalization.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, codec: Codec, tail: Classifier, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.codec = codec
        self.tail = tail
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    @classmethod
    def from_backbone(
        cls, backbone: Backbone, codec: CodecCallable = MeanScaleHyperprior
    ) -> EntropicStudent:
        """A fresh codec in front of a teacher's tail."""
        return cls(codec(backbone.split.channels), backbone.tail, backbone.mean, backbone.std)

    def normalize(self, x: Tensor) -> Tensor:
        """Images in [0, 1] as the codec wants them, in the type of the student's own numbers.

        Their values are not looked at, which would wait for the device at every step of a training
        or an attack; :meth:`encode` and whoever attacks or defends does.

        Raises:
            ValueError: if they are no floating-point tensor of shape (N, 3, H, W).
        """
        check_batch(x)
        return (x.to(self.mean.dtype) - self.mean) / self.std

    def forward(
        self,
        x: Tensor,
        quantization: Quantization = "straight_through",
        generator: Randomness = None,
    ) -> StudentOutput:
        """Logits, features and likelihoods without entropy coding.

        Args:
            x: images in [0, 1], floating point, shape (N, 3, H, W).
            quantization: ``straight_through`` gives what travels, and a gradient as if nothing had
                been rounded, so that who attacks or trains a student as it stands sees one.
                ``round`` gives the same values and no gradient; ``noise`` is the relaxation of
                training. It does not depend on train() or eval().
            generator: source of the noise.

        Raises:
            ValueError: if the images are no such batch, or smaller than 32 px.
        """
        coded = self.codec(self.normalize(x), quantization, generator, self.limit)
        logits, deeper = self.tail(coded.features)
        return StudentOutput(logits, [coded.features, *deeper], coded.likelihoods)

    @property
    def limit(self) -> Limit | None:
        """What changes the symbols before they are sent: nothing, unless overridden."""
        return None

    @torch.no_grad()
    def encode(self, x: Images, budget: int | None = None) -> list[Bitstream]:
        """The head's work: images to one bitstream each; none for no images.

        Args:
            x: images in [0, 1] or of 8 bits, see :func:`entres.images.checked_images`.
            budget: bytes that no stream may pass, whatever the image; None for any size. See
                :func:`entres.models.budget.within_budget`; :class:`entres.defenses.Budget`
                denoises what is too large before.

        Raises:
            ValueError: if they are no such images, or the budget is no number.
            BudgetError: if no stream of an image fits.
            StaleTablesError: see :meth:`entres.models.codec.Codec.compress`.
        """
        check_budget(budget)
        images = checked_images(x).to(self.mean.device)
        if not len(images):
            return []
        self.codec.coders()  # stale tables are told before anything is computed
        with full_precision(images):
            plan = self.plan(self.normalize(images))
        if budget is not None:
            plan = within_budget(self.codec, plan, budget)
        return self.codec.encode_plan(plan)

    def plan(self, normalized: Tensor) -> CodingPlan:
        """What the head sends of normalized images, before it is coded."""
        plan = self.codec.plan(normalized)
        return plan if self.limit is None else self.limit(plan)

    @torch.no_grad()
    def decode(self, streams: Sequence[Bitstream], max_side: int = MAX_IMAGE_SIDE) -> Tensor:
        """The server's work: bitstreams of one latent shape to logits, shape (N, classes).

        Args:
            streams: at least one.
            max_side: largest side, in px, of an image that the server expects: a few bytes may
                announce any size, and memory is in proportion to it.

        Raises:
            BitstreamError: if a stream is not of this student, or announces a larger image; see
                :meth:`Codec.decode_latents`.
        """
        logits: Tensor = self.tail(self.codec.decompress(streams, max_side)).logits
        return logits

    def update(self) -> None:
        """Make the coding tables of the current parameters."""
        self.codec.update()

    # --- files -----------------------------------------------------------------------------------

    def save(
        self,
        path: str | Path,
        card: StudentCard,
        half: bool = False,
        teacher: nn.Module | None = None,
    ) -> None:
        """Write weights and card into one safetensors file.

        Args:
            path: ends in ``.safetensors``.
            card: what this student is.
            half: store the weights of convolutions and classifier in half precision, for sharing.
                What makes and chooses the coding tables stays as it is.
            teacher: the teacher's tail; what of the student's is the same is left out, and comes
                from the teacher's weights when the file is loaded.
        """
        if self.codec.tables_are_stale():
            self.update()
        of_teacher = {} if teacher is None else teacher.state_dict(prefix="tail.")
        state = {
            name: value.half() if half and _may_be_halved(name, value) else value
            for name, value in self.state_dict().items()
            if not (name in of_teacher and torch.equal(value.cpu(), of_teacher[name].cpu()))
        }
        metadata = {"entres": json.dumps(asdict(card)), "tail": "teacher" if of_teacher else "own"}
        write_state(path, state, metadata)


def _may_be_halved(name: str, value: Tensor) -> bool:
    """Weights of convolutions and of the classifier, which are nearly all of a file.

    Not the hyper-synthesis and the entropy models: they choose and make the coding tables. Nor what
    half precision cannot hold.
    """
    if value.numel() and value.abs().max() > torch.finfo(torch.float16).max:
        return False
    convolution = value.ndim == 4 and not name.startswith("codec.h_s")
    classifier = value.ndim == 2 and name.startswith("tail.")
    return value.is_floating_point() and (convolution or classifier)


def codec_class(short_name: str) -> type[Codec]:
    """The codec of that short name; one of your own is found once its module is imported.

    Raises:
        ValueError: if there is none; the message lists those there are.
    """
    # A subclass that only inherits its short name must not stand in for its parent.
    classes = _subclasses(Codec)  # type: ignore[type-abstract]
    found = {cls.short_name: cls for cls in classes if "short_name" in vars(cls)}
    if short_name not in found:
        raise ValueError(f"unknown codec {short_name!r}; known: {', '.join(sorted(found))}")
    return found[short_name]


def _subclasses(cls: type[Codec]) -> list[type[Codec]]:
    return [s for c in cls.__subclasses__() for s in (c, *_subclasses(c))]


def load_student(
    path: str | Path, teacher_weights: str | None = None
) -> tuple[EntropicStudent, StudentCard]:
    """A trained student, ready to code, in evaluation mode.

    Args:
        path: a file written by :meth:`EntropicStudent.save`.
        teacher_weights: for a file without a tail of its own, where the teacher's weights are (see
            :func:`build_backbone`); what the card says if None.

    Raises:
        WeightsError: if it is no student, its weights are not finite, or the teacher's cannot be
            had.
    """
    card = read_card(path)
    state = read_state(path)
    own_tail = read_metadata(path).get("tail") == "own"
    backbone = build_backbone(
        card.backbone,
        card.num_classes,
        None if own_tail else teacher_weights or card.teacher_weights,
        whole=True,
    )
    codec = codec_class(card.codec)(
        backbone.split.channels,
        analysis_widths=card.analysis_widths,  # type: ignore[call-arg]
        synthesis_widths=card.synthesis_widths,
    )
    student = EntropicStudent(codec, backbone.tail, backbone.mean, backbone.std)
    load_into(student, state, path)
    return student.eval(), card


def load_into(student: EntropicStudent, state: dict[str, Tensor], source: str | Path) -> None:
    """Load a state, with a tail of its own or with what it has other than its teacher's.

    The tables are accepted; what is left out of the tail stays as it is.

    Raises:
        WeightsError: if it does not fit, or is not finite.
    """
    check_finite(state, source)
    try:
        result = student.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{source} does not fit this student: {error}") from error
    of_teacher = not any(name.startswith("tail.") for name in state)
    of_teacher |= read_metadata(source).get("tail") == "teacher"
    missing = [k for k in result.missing_keys if not (of_teacher and k.startswith("tail."))]
    if missing or result.unexpected_keys:
        raise WeightsError(
            f"{source} does not fit this student; missing: {missing[:3]}, "
            f"not of this student: {result.unexpected_keys[:3]}"
        )
    student.codec.accept_tables()
