"""Where to denoise: masks from the head's own entropy model, known before anything travels."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from entres.functional import bit_rate_map
from entres.images import Images, checked_images
from entres.models import EntropicStudent, Quantization


class Mask(ABC):
    """Student and images to a mask in [0, 1], shape (N, 1, H, W); 1 = denoise fully.

    ::

        x ──► (blur) ──► g_a, entropy model ──► likelihoods of y ──► ease ──► (smooth) ──► (rank)
                                                                       ──► interpolate to the image

    Args:
        blur: deviation in px of a Gaussian over the image first, so that what an attack put in the
            background does not protect itself; 0 for none.
        smooth: deviation in latent positions of a Gaussian over the map; 0 for none.
        spared: share of positions, those with the least ease, at which the mask is 0, in [0, 1).
        full: share of positions, those with the most ease, at which it is 1, in [0, 1). Between
            the two the map is scaled linearly, for each image. With ``spared`` and ``full`` None it
            stays as it is.
        interpolation: from the latent's grid to the image's.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(
        self,
        blur: float = 0.0,
        smooth: float = 0.0,
        spared: float | None = None,
        full: float | None = None,
        interpolation: str = "nearest",
    ) -> None:
        if blur < 0 or smooth < 0:
            raise ValueError(f"blur and smooth must be >= 0, got {blur} and {smooth}")
        if (spared is None) != (full is None):
            raise ValueError(f"give both or none of spared and full, got {spared} and {full}")
        if spared is not None and full is not None and not _shares(spared, full):
            raise ValueError(
                f"spared and full are shares >= 0 with a sum below 1, got {spared} and {full}"
            )
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"interpolation must be nearest or bilinear, got {interpolation!r}")
        self.blur = blur
        self.smooth = smooth
        self.spared = spared
        self.full = full
        self.interpolation = interpolation

    @abstractmethod
    def ease(self, likelihoods: Tensor) -> Tensor:
        """How easy each position is to code, rising: (N, channels, h, w) to (N, 1, h, w)."""

    def __call__(
        self, student: EntropicStudent, images: Images, quantization: Quantization = "round"
    ) -> Tensor | None:
        """The mask of every image; None is 1 everywhere.

        Args:
            student: whose entropy model decides.
            images: in [0, 1] or of 8 bits, see :func:`entres.images.checked_images`; N may be 0.
            quantization: of the latents; only ``straight_through`` passes a gradient.

        Raises:
            ValueError: if the images are no such batch.
        """
        return self.make(student, checked_images(images), quantization)

    def make(
        self, student: EntropicStudent, images: Tensor, quantization: Quantization = "round"
    ) -> Tensor | None:
        """The mask of images that are checked."""
        if not len(images):
            return torch.ones_like(images[:, :1])
        # Rounding has a gradient of 0: there is no need to take it.
        with torch.set_grad_enabled(torch.is_grad_enabled() and quantization != "round"):
            return self._make(student, images, quantization)

    def _make(self, student: EntropicStudent, images: Tensor, quantization: Quantization) -> Tensor:
        seen = gaussian_blur(images, self.blur)
        latent = student.codec.analyse(student.normalize(seen))
        _, likelihoods = student.codec.latents(latent, quantization)
        ease = gaussian_blur(self.ease(likelihoods["y"]), self.smooth)
        if self.spared is not None and self.full is not None:
            # Not detached: an attack through the mask moves what it is scaled by, too.
            flat = ease.flatten(1)
            low = torch.quantile(flat, self.spared, dim=1)[:, None, None, None]
            high = torch.quantile(flat, 1 - self.full, dim=1)[:, None, None, None]
            ease = (ease - low) / (high - low).clamp(min=torch.finfo(ease.dtype).eps)
        mask = F.interpolate(ease, size=images.shape[-2:], mode=self.interpolation)
        return mask.clamp(0, 1)


class Everywhere(Mask):
    """No mask: every pixel is denoised alike, and nothing has to be computed for it."""

    def __init__(self) -> None:
        super().__init__()

    def ease(self, likelihoods: Tensor) -> Tensor:
        return torch.ones_like(likelihoods[:, :1])

    def make(
        self, student: EntropicStudent, images: Tensor, quantization: Quantization = "round"
    ) -> None:
        return None


class LikelihoodMask(Mask):
    """The mean likelihood over channels: as it stands the paper's mask (Eq. 11), nearest pixels."""

    def ease(self, likelihoods: Tensor) -> Tensor:
        return likelihoods.mean(1, keepdim=True)


class BitsMask(Mask):
    """Few bits, large mask; a share of the positions is spared and a share denoised fully.

    Args:
        blur, smooth, spared, full, interpolation: see :class:`Mask`.
    """

    def __init__(
        self,
        blur: float = 0.0,
        smooth: float = 1.0,
        spared: float = 0.1,
        full: float = 0.1,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__(blur, smooth, spared, full, interpolation)

    def ease(self, likelihoods: Tensor) -> Tensor:
        return -bit_rate_map(likelihoods)[:, None]


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian of deviation ``sigma`` px over the last two axes, cut at three; 0 does nothing."""
    if not sigma:
        return x
    # The reflected edge must not be wider than the image.
    reach = min(max(1, round(3 * sigma)), *(side - 1 for side in x.shape[-2:]))
    blurred: Tensor = TF.gaussian_blur(x, [2 * reach + 1] * 2, [sigma] * 2)
    return blurred


def _shares(spared: float, full: float) -> bool:
    return spared >= 0 and full >= 0 and spared + full < 1
