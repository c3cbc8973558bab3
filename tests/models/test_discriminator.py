"""The conditional discriminator: layout, spectral norm, and that it learns to tell images apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rdp.errors import SpecError
from rdp.models.discriminator import ConditionalDiscriminator


def _small(**options: object) -> ConditionalDiscriminator:
    torch.manual_seed(6)
    return ConditionalDiscriminator(latent_channels=6, width=0.1, **options)


@pytest.mark.parametrize(("last_stride", "factor"), [(1, 8), (2, 16)])
def test_every_patch_has_a_logit(last_stride: int, factor: int) -> None:
    model = _small(last_stride=last_stride)
    assert model(torch.rand(2, 3, 64, 96), torch.randn(2, 6, 4, 6)).shape == (2, 1, 64 // factor, 96 // factor)


def test_the_number_of_parameters_at_full_width_is_the_sum_over_the_layers() -> None:
    with torch.device("meta"):
        model = ConditionalDiscriminator()
    pairs = [(15, 64), (64, 128), (128, 256), (256, 512)]
    expected = 220 * 12 * 9 + 12 + sum(a * b * 16 + b for a, b in pairs) + 512 + 1
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == 2_793_117


def test_the_latent_is_repeated_16_times_beside_the_image() -> None:
    model = _small()
    latents = torch.randn(1, 6, 4, 4)
    context = model.context(latents)
    assert context.shape == (1, 8, 64, 64)
    assert torch.equal(context, context[:, :, ::16, ::16].repeat_interleave(16, 2).repeat_interleave(16, 3))
    images = torch.rand(1, 3, 64, 64)
    assert not torch.allclose(model(images, latents), model(images, latents + 1))


def test_convolutions_have_a_spectral_norm_of_1() -> None:
    model = _small().train()
    for _ in range(100):  # every pass in training mode takes one step of the power iteration
        model(torch.rand(1, 3, 64, 64), torch.randn(1, 6, 4, 4))
    model.eval()
    normalised = [layer for layer in model.patches if isinstance(layer, nn.Conv2d) and layer.kernel_size == (4, 4)]
    assert len(normalised) == 4
    for layer in normalised:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.02)


def test_signed_images_are_those_in_minus_1_to_1() -> None:
    plain, signed = _small().eval(), _small(signed=True).eval()
    signed.load_state_dict(plain.state_dict())
    images, latents = torch.rand(1, 3, 64, 64), torch.randn(1, 6, 4, 4)
    torch.testing.assert_close(signed(images, latents), plain(2 * images - 1, latents))


def test_it_learns_to_tell_noise_from_smooth_images() -> None:
    model = _small().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    latents = torch.zeros(4, 6, 4, 4)
    for _ in range(40):
        real = torch.rand(4, 3, 1, 1, generator=generator).expand(4, 3, 64, 64)
        fake = torch.rand(4, 3, 64, 64, generator=generator)
        loss = (
            nn.functional.softplus(-model(real, latents)).mean() + nn.functional.softplus(model(fake, latents)).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(real, latents).mean() - model(fake, latents).mean()).item() > 1


def test_what_does_not_belong_together_is_refused() -> None:
    model = _small()
    for images, latents in [
        ((1, 3, 64, 64), (1, 6, 4, 5)),
        ((1, 3, 60, 64), (1, 6, 3, 4)),
        ((2, 3, 64, 64), (1, 6, 4, 4)),
    ]:
        with pytest.raises(SpecError, match="do not belong together"):
            model(torch.zeros(images), torch.zeros(latents))
    with pytest.raises(SpecError, match="stride of 1 or 2, not 3"):
        _small(last_stride=3)
