"""The non-saturating adversarial terms, from logits, and how well a discriminator tells.

Source: Goodfellow et al., "Generative adversarial nets", 2014, section 3, as in Mentzer et al., "High-fidelity
generative image compression", NeurIPS 2020. With a = sigmoid(logit) the share of reality that the
discriminator sees, -log a = softplus(-logit) and -log(1 - a) = softplus(logit), which neither overflow nor end in
log 0. All are means over patches and images, in nats and float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake: Tensor) -> Tensor:
    """-log D(x'), a scalar: log 2 = 0.693 for an undecided discriminator, 0 for one that takes all for real."""
    return F.softplus(-fake.float()).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(x')), a scalar: 2 log 2 = 1.386 for an undecided discriminator, 0 for a perfect one."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


@dataclass(frozen=True)
class Accuracy:
    """The share of real patches taken for real, that of the others taken for fake, and the mean of the two."""

    real: Tensor
    fake: Tensor
    both: Tensor


def accuracy(real: Tensor, fake: Tensor) -> Accuracy:
    """Of the logits of real and reconstructed patches; 0 is half in half and counts for neither."""
    right_real, right_fake = (real > 0).float().mean(), (fake < 0).float().mean()
    return Accuracy(right_real, right_fake, (right_real + right_fake) / 2)
