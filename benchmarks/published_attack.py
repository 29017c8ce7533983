"""The attack as the paper's code goes about it, written plainly: the reference of speed and tests.

One image, repeated for every draw of the noise through the whole network; gradients of the weights
are taken too; the Gaussians are in evaluation mode, so the latent is rounded (what that costs in
strength is in docs/attacks.md). On compressai's forward passes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from entres.models import EntropicStudent


def published_attack(
    student: EntropicStudent,
    image: Tensor,
    label: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    epsilon_255: float,
    steps: int = 20,
    samples: int = 16,
    step_size: float = 0.1,
) -> Tensor:
    """Attack one image.

    Args:
        student: the victim; its weights have no gradients afterwards.
        image: in [0, 1], shape (1, 3, H, W).
        label: shape (1,); the accuracy is attacked if given, else the rate.
        mask: weights of the latent's bits, shape (h, w).
        epsilon_255: radius of the l_inf ball in units of 1/255.
        steps: gradient steps.
        samples: draws of the noise.
        step_size: of every step, in units of pixel values in [0, 1].

    Returns:
        The attacked image, shape (1, 3, H, W).
    """
    codec = student.codec
    epsilon = epsilon_255 / 255
    x = image
    for _ in range(steps):
        copies = x.repeat(samples, 1, 1, 1).requires_grad_()
        y = codec.g_a(student.normalize(copies))
        if codec.short_name == "fp":
            y_hat, likelihoods = codec.entropy_bottleneck(y, training=True)
        else:
            z_hat, _ = codec.entropy_bottleneck(codec.h_a(y), training=True)
            scales, means = codec.h_s(z_hat).chunk(2, 1)
            y_hat, likelihoods = codec.gaussian_conditional(y, scales, means, training=False)
        if label is None:
            weights = 1.0 if mask is None else mask
            loss = (-likelihoods.log2() * weights).mean()
        else:
            features = codec.g_s(y_hat) * codec.output_scale[:, None, None]
            logits = student.tail(features + codec.output_shift[:, None, None]).logits
            loss = torch.nn.functional.cross_entropy(logits, label.expand(samples))
        loss.backward()
        assert copies.grad is not None
        x = (copies.detach() + step_size * copies.grad.sign()).mean(0, keepdim=True)
        x = x.clamp(0, 1).clamp(image - epsilon, image + epsilon)
    student.zero_grad(set_to_none=True)
    return x
