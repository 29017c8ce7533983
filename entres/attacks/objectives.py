"""What an attack makes as large as it can, per image."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from entres.attacks.victim import Response
from entres.functional import bits_from_likelihoods


class Objective(ABC):
    """Something per image that an attack wants to rise.

    Attributes:
        needs_labels: whether it asks for the images' labels.
        needs_reference: whether it asks for the response to the clean images.
        recompute: whether that is the response to the images as they are at every step instead.
        in_bits: whether it counts bits, of which one student has more than another.
        of_accuracy: which of a preset's relaxations and step rules are used: those of the accuracy
            or of the rate.
        can_be_reached: whether an image can be lost for good, see :meth:`reached`.
    """

    needs_labels = False
    needs_reference = False
    recompute = False
    in_bits = False
    of_accuracy = False
    can_be_reached = False

    @abstractmethod
    def __call__(
        self, response: Response, labels: Tensor | None, reference: Response | None
    ) -> Tensor:
        """Its value per image, shape (N,).

        Args:
            response: to the images as they are now.
            labels: true classes, shape (N,), where ``needs_labels``.
            reference: response to the clean images on the ``round`` path, where
                ``needs_reference``.
        """

    def reached(self, response: Response, labels: Tensor | None) -> Tensor:
        """Which images are lost already, shape (N,); asked on the ``round`` path."""
        raise NotImplementedError(f"{type(self).__name__} is never reached")


class _Accuracy(Objective):
    """What is reached when the label is lost."""

    needs_labels = True
    of_accuracy = True
    can_be_reached = True

    def reached(self, response: Response, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return response.logits.argmax(1) != labels


class CrossEntropy(_Accuracy):
    """Cross-entropy of the logits with the labels, in nats: the objective of PGD-Acc."""

    def __call__(
        self, response: Response, labels: Tensor | None, reference: Response | None
    ) -> Tensor:
        assert labels is not None
        return F.cross_entropy(response.logits.float(), labels, reduction="none")


class Margin(_Accuracy):
    """The difference of logits ratio (DLR): how far the best other class is ahead of the label's.

    ::

        (max over other classes of z - z of the label) / (largest z - third largest z)

    Negative while the image is right. Unlike the cross-entropy it does not change when all logits
    are shifted or scaled, so that its gradient does not vanish where a network is very sure
    [Croce2020]. It does where the label has fallen to third place: it is 1 there whatever moves.

    [Croce2020] Croce, Hein: Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, ICML.
    """

    def __call__(
        self, response: Response, labels: Tensor | None, reference: Response | None
    ) -> Tensor:
        assert labels is not None
        logits = response.logits.float()
        if logits.shape[1] < 3:
            raise ValueError(
                f"{type(self).__name__} compares three classes, got logits of {logits.shape[1]}: "
                "take CrossEntropy"
            )
        first, second, third = logits.topk(3, dim=1).values.unbind(1)
        at_label = logits.gather(1, labels[:, None])[:, 0]
        other = torch.where(logits.argmax(1) == labels, second, first)
        return (other - at_label) / (first - third).clamp(min=torch.finfo(logits.dtype).tiny)


class TargetedMargin(_Accuracy):
    """The margin towards one other class: the targeted difference of logits ratio [Croce2020].

    ::

        (z of the target - z of the label) / (largest z - mean of third and fourth largest z)

    Each image's target is the other class that stood at place ``rank`` on the clean image. Unlike
    the way to the best other class, that to a given one does not turn round while an attack walks.

    [Croce2020] Croce, Hein: Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, ICML.

    Args:
        rank: 1 for the most likely other class, 2 for the next, and so on.
    """

    needs_reference = True

    def __init__(self, rank: int = 1) -> None:
        if rank < 1:
            raise ValueError(f"rank counts the other classes from 1, got {rank}")
        self.rank = rank

    def __call__(
        self, response: Response, labels: Tensor | None, reference: Response | None
    ) -> Tensor:
        assert labels is not None
        assert reference is not None
        logits = response.logits.float()
        classes = logits.shape[1]
        if classes < max(4, self.rank + 1):
            raise ValueError(
                f"{type(self).__name__} compares four classes and wants {self.rank} other than the "
                f"label's, got logits of {classes}: take a lower rank, or Margin"
            )
        others = reference.logits.detach().scatter(1, labels[:, None], -torch.inf)
        target = others.argsort(dim=1, descending=True, stable=True)[:, self.rank - 1]
        first, _, third, fourth = logits.topk(4, dim=1).values.unbind(1)
        at_label, at_target = (logits.gather(1, c[:, None])[:, 0] for c in (labels, target))
        span = first - (third + fourth) / 2
        return (at_target - at_label) / span.clamp(min=torch.finfo(logits.dtype).tiny)


class Rate(Objective):
    """Bits of everything that travels (Eq. 7): the objective of PGD-E."""

    in_bits = True

    def __call__(
        self, response: Response, labels: Tensor | None, reference: Response | None
    ) -> Tensor:
        return response.bits


class MaskedRate(Objective):
    """Bits, weighted by 1 - P where P is the likelihood, averaged over channels (section 5.4).

    Each latent has its own mask, on its own grid, from its own likelihoods on the ``round`` path:
    places that cost many bits count for more.

    Args:
        recompute: take the mask from the images as they are at every step, instead of once from
            the clean ones.
    """

    needs_reference = True
    in_bits = True

    def __init__(self, recompute: bool = False) -> None:
        self.recompute = recompute

    def __call__(
        self, response: Response, labels: Tensor | None, reference: Response | None
    ) -> Tensor:
        assert reference is not None
        terms = []
        for name, likelihoods in response.likelihoods.items():
            mask = 1 - reference.likelihoods[name].detach().mean(1, keepdim=True)
            terms.append((-likelihoods.log2() * mask).flatten(1).sum(1))
        return torch.stack(terms).sum(0)


class CrossEntropyAndRate(Objective):
    """Accuracy and rate at once: cross-entropy + ``rate_weight`` * bits / clean bits.

    Args:
        rate_weight: nats that doubling the bits is worth.
    """

    needs_labels = True
    needs_reference = True

    def __init__(self, rate_weight: float = 4.0) -> None:
        if rate_weight < 0:
            raise ValueError(f"rate_weight must be >= 0, got {rate_weight}")
        self.rate_weight = rate_weight

    def __call__(
        self, response: Response, labels: Tensor | None, reference: Response | None
    ) -> Tensor:
        assert labels is not None
        assert reference is not None
        # Of the same latents: a preset may count only some.
        clean = bits_from_likelihoods(reference.likelihoods[n] for n in response.likelihoods)
        cross_entropy = F.cross_entropy(response.logits.float(), labels, reduction="none")
        return cross_entropy + self.rate_weight * response.bits / clean.detach().clamp(min=1)
