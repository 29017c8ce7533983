"""The transforms of the codecs, with the layers and widths of the published students."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import compressai.layers
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LATENT_CHANNELS = 24
"""Channels of the latent y where no width is given (method of the published ResNet students)."""
HYPER_CHANNELS = 16
"""Channels of the hyper-latent z."""


class GDN1(compressai.layers.GDN1):
    """compressai's GDN1 [Johnston2019], x / (beta + gamma |x|) or its inverse, in less memory.

    The same products and quotients to the last bit. Most of the time of the plain operations goes
    into new memory: without gradients this works in that of the norm, and its gradient is written
    out, since automatic differentiation would keep and fill one more image-sized tensor for each
    operation. The gradient cannot be differentiated again.

    [Johnston2019] Johnston, Eban, Gordon, Balle: Computationally efficient neural image
    compression, https://arxiv.org/abs/1912.08771
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            plain: Tensor = super().forward(x)
            return plain
        beta = self.beta_reparam(self.beta)
        gamma = self.gamma_reparam(self.gamma)
        output: Tensor = _Normalization.apply(x, beta, gamma, bool(self.inverse))
        return output


class _Normalization(torch.autograd.Function):
    """x * m, where m is the norm beta + gamma |x| (inverse GDN1) or one over it (GDN1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: Tensor, gamma: Tensor, inverse: bool) -> Tensor:
        multiplier = F.conv2d(x.abs(), gamma[..., None, None], beta)
        if not inverse:
            multiplier.reciprocal_()
        ctx.inverse = inverse
        if not any(ctx.needs_input_grad):
            return multiplier.mul_(x)
        ctx.save_for_backward(x, gamma, multiplier)
        return multiplier * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, multiplier = ctx.saved_tensors
        straight = gradient * multiplier
        # d(1 / n) = -m^2 dn
        at_norm = gradient * x if ctx.inverse else (straight * x).mul_(multiplier).neg_()
        wanted = list(ctx.needs_input_grad[:3])
        # |x| is only read for the gradient of gamma.
        at_magnitude, at_gamma, at_beta = torch.ops.aten.convolution_backward(
            at_norm,
            x.abs() if wanted[2] else x,
            gamma[..., None, None],
            [len(gamma)],
            *([1, 1], [0, 0], [1, 1], False, [0, 0], 1),
            [wanted[0], wanted[2], wanted[1]],
        )
        at_x = straight.addcmul_(at_magnitude, x.sign()) if wanted[0] else None
        at_gamma = at_gamma[..., 0, 0] if wanted[2] else None
        return at_x, at_beta, at_gamma, None


def default_analysis_widths(channels: int = LATENT_CHANNELS) -> tuple[int, int, int, int]:
    """Widths of ``g_a`` from the image to a latent of ``channels`` channels."""
    return (3, 4 * channels, 2 * channels, channels)


def default_synthesis_widths(latent: int, target: int) -> tuple[int, int, int, int]:
    """Widths of ``g_s`` from the latent to features of ``target`` channels."""
    return (latent, 2 * target, target, target)


def check_widths(name: str, widths: Sequence[int]) -> tuple[int, int, int, int]:
    """Four positive widths, or a clear error."""
    if len(widths) != 4 or any(w < 1 for w in widths):
        raise ValueError(f"{name} must be four positive channel counts, got {list(widths)}")
    return (widths[0], widths[1], widths[2], widths[3])


def analysis(widths: Sequence[int]) -> nn.Sequential:
    """The analysis transform ``g_a``: (N, 3, H, W) to (N, c, ceil(H / 4) - 1, ceil(W / 4) - 1)."""
    a, b, c, d = check_widths("analysis_widths", widths)
    return nn.Sequential(
        nn.Conv2d(a, b, 5, stride=2, padding=2, bias=False),
        GDN1(b),
        nn.Conv2d(b, c, 5, stride=2, padding=2, bias=False),
        GDN1(c),
        nn.Conv2d(c, d, 2, bias=False),
    )


def synthesis(widths: Sequence[int]) -> nn.Sequential:
    """The synthesis transform ``g_s``: (N, c, h, w) to (N, t, h + 1, w + 1)."""
    a, b, c, d = check_widths("synthesis_widths", widths)
    return nn.Sequential(
        nn.Conv2d(a, b, 2, padding=1, bias=False),
        GDN1(b, inverse=True),
        nn.Conv2d(b, c, 2, bias=False),
        GDN1(c, inverse=True),
        nn.Conv2d(c, d, 2, padding=1, bias=False),
    )


def hyper_analysis(latent: int, hyper: int = HYPER_CHANNELS) -> nn.Sequential:
    """The hyper-analysis ``h_a``: sides 4m - 1 to m."""
    return nn.Sequential(
        nn.Conv2d(latent, hyper, 5, stride=2, padding=1, bias=False),
        nn.LeakyReLU(inplace=True),
        nn.Conv2d(hyper, hyper, 5, stride=2, padding=2, bias=False),
    )


def hyper_synthesis(latent: int, hyper: int = HYPER_CHANNELS) -> nn.Sequential:
    """The hyper-synthesis ``h_s``: sides m to 4m - 1, scales and means in 2 * latent channels."""
    return nn.Sequential(
        nn.ConvTranspose2d(hyper, hyper, 5, stride=2, padding=1, bias=False),
        nn.LeakyReLU(inplace=True),
        nn.ConvTranspose2d(hyper, hyper * 3 // 2, 5, stride=2, padding=1, bias=False),
        nn.LeakyReLU(inplace=True),
        nn.Conv2d(hyper * 3 // 2, 2 * latent, 5, bias=False),
    )


def pad_to_hyper_grid(y: Tensor) -> Tensor:
    """Extend a latent at its right and bottom edge to sides of the form 4m - 1.

    These are the sides that the published hyper-synthesis gives back, so that its output covers y
    and can be cropped to it. A latent of an image whose sides are multiples of 16 is returned as it
    is.
    """
    height, width = y.shape[-2:]
    right, bottom = (3 - width) % 4, (3 - height) % 4
    if not (right or bottom):
        return y
    return F.pad(y, (0, right, 0, bottom), mode="replicate")
