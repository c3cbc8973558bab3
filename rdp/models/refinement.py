"""Latents of one image, refined at encoding time against the network's own Lagrangian.

A network's encoder is one function, trained to be good for all images at once. The latents of one image can be improved
on: J = bit/pixel + lmbda * MSE (0..255) descends by gradient, and the decoder need not know, for weights and format
stay. Sources: Campos, Meierhans, Djelouah and Schroers, "Content adaptive optimization for neural image compression",
CVPR workshops 2019; Yang, Bamler and Mandt, "Improving inference for neural image compression", NeurIPS 2020, who draw
every element between its two neighbouring integers, at a temperature that falls (stochastic Gumbel annealing). So it is
done here where there are many steps. In few, the noise of the draws costs more than it finds: an element is then
a mean of its neighbours, and nothing is drawn.

What is promised: the result has a J that is not above the start's, both rounded as in a file and taken by the network's
own estimate of its rate. It depends on the image, the weights and the settings alone; on another machine, or with
another number of threads, sums end in other digits, and a few elements may be rounded to the other side. Such a file
is another one and decodes as any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rdp.errors import SpecError
from rdp.models.base import CompressionModel
from rdp.models.checkerboard import anchor_mask
from rdp.models.densities import gaussian_likelihood, laplace_likelihood

VERSION = 1
"""Goes up with any change of what the same settings make of an image: files of another version are other files."""

DRAWS_FROM = 80
"""Steps from which on elements are drawn."""
DRAWN_RATE = 0.04
"""Of Adam for y, in units of the latent, where elements are drawn; it falls to 0 along half a cosine."""
SOFT_RATE = 0.1
"""The same where they are not, at most."""
SOFT_TRAVEL = 3.2
"""And that rate times the number of steps, at most. Soft rounding does not see the error of rounding: elements that go
further fit what no file can hold, and more steps then make a worse file."""
HYPER_SHARE = 0.1
"""Of these rates for z, each element of which moves the law of many of y."""
EPSILON = 6.0
"""Of Adam, in bits: elements whose gradient is smaller move by less than the rate, and not by noise."""
DRAWN_HEAT, SOFT_HEAT = (0.5, 0.05), (1.0, 0.1)
"""The temperature at the start and at the end."""
HOLD = 0.3
"""Share of the steps at the first temperature; from there it falls geometrically."""

_EDGE = 1e-4
"""Fractions of an integer keep this distance from 0 and 1, where the logits are infinite."""

Rounding = Callable[[Tensor], Tensor]
"""From multiples of the step, of any value, to integers, or to what stands for them during descent."""


@dataclass(frozen=True)
class Settings:
    """How latents are refined: `steps` of descent (1 or more), `lmbda` above 0 (for an MSE on the scale 0..255), the
    quantisation `step` of the latent, and the `tables` of a shrinkage network ("trained" or "fixed")."""

    steps: int
    lmbda: float
    step: float = 1.0
    tables: str = "trained"


@dataclass(frozen=True)
class Refined:
    """Latents of one image on the quantiser's grid, y (1, M, h, w) and z (1, C, h / 4, w / 4; None without a
    hyperprior), float32, and J in bit/pixel of the start and of these."""

    y: Tensor
    z: Tensor | None
    before: float
    after: float


@dataclass(frozen=True)
class Coded:
    """Latents after a rounding, and the bits of the image, a scalar, by the network's estimate."""

    y_hat: Tensor
    z_hat: Tensor | None
    bits: Tensor


class Refiner:
    """Refines latents on one device with a network that it takes for itself: its parameters are frozen."""

    def __init__(self, model: CompressionModel, device: str = "cpu") -> None:
        """Raises `SpecError` for an architecture whose rate this module cannot take."""
        if model.architecture not in _CODERS:
            raise SpecError(
                f"latents of a {model.architecture!r} network cannot be refined; those of {', '.join(_CODERS)} can: "
                "leave refine out"
            )
        self.device = torch.device(device)
        frozen = model.eval().requires_grad_(False).to(self.device)
        self._model: Any = frozen.to(memory_format=torch.channels_last)
        self._code = _CODERS[model.architecture]
        self._bytes: float | None = None

    def peak_bytes(self, pixels: int) -> int:
        """Memory, from above, that refining an image of so many pixels, margin included, takes.

        Twice what the backward pass of a small image keeps, by pixel: gradients and work space take less than that.
        """
        if self._bytes is None:
            self._bytes = _kept_bytes(self._model, self._code, self.device)
        return math.ceil(2 * self._bytes * pixels)

    def refine(self, y: Tensor, image: Tensor, settings: Settings) -> Refined | None:
        """Better latents than y, (1, M, h, w), of an image uint8 (1, 3, H, W); None where none are found.

        The latents may reach over the image, at the bottom and on the right (by a margin that the decoder cuts off):
        distortion and rate are over the image's own pixels. Gradients are taken whatever the caller's mode.
        """
        with torch.inference_mode(False), torch.enable_grad():
            return self._descend(y.detach().clone().float().to(self.device), image.to(self.device).float(), settings)

    def _descend(self, y: Tensor, image: Tensor, settings: Settings) -> Refined | None:
        latents = [y.contiguous(memory_format=torch.channels_last)]
        with torch.no_grad():
            if hasattr(self._model, "hyper_analyse"):
                latents.append(self._model.hyper_analyse(y))
            start = self._lagrangian(self._coded(latents, torch.round, settings), image, settings, exact=True)
        latents = [latent.requires_grad_() for latent in latents]
        drawn = settings.steps >= DRAWS_FROM
        rate = DRAWN_RATE if drawn else min(SOFT_RATE, SOFT_TRAVEL / settings.steps)
        rates = (rate, rate * HYPER_SHARE)
        generator = torch.Generator(self.device).manual_seed(settings.steps)
        groups = [{"params": [latent], "lr": rate} for latent, rate in zip(latents, rates, strict=False)]
        optimizer = torch.optim.Adam(groups, eps=EPSILON)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
        # Of the bits of the whole image, so that what an element feels does not shrink as the image grows.
        pixels = image.shape[-2] * image.shape[-1]
        for step in range(settings.steps):
            temperature = temperature_at(step / settings.steps, *(DRAWN_HEAT if drawn else SOFT_HEAT))
            rounding = drawn_rounding(temperature, generator) if drawn else soft_rounding(temperature)
            cost = self._lagrangian(self._coded(latents, rounding, settings), image, settings) * pixels
            for latent, gradient in zip(latents, torch.autograd.grad(cost, latents), strict=True):
                latent.grad = gradient
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            coded = self._coded(latents, torch.round, settings)
            end = self._lagrangian(coded, image, settings, exact=True)
        if not float(end) < float(start):  # nor for what is no number
            return None
        return Refined(coded.y_hat, coded.z_hat, float(start), float(end))

    def _coded(self, latents: list[Tensor], rounding: Rounding, settings: Settings) -> Coded:
        return self._code(self._model, latents, rounding, settings)

    def _lagrangian(self, coded: Coded, image: Tensor, settings: Settings, exact: bool = False) -> Tensor:
        """J, a scalar, in bit/pixel; `exact`: of the 8-bit picture that the decoder would show."""
        height, width = image.shape[-2:]
        picture = self._model.synthesise(coded.y_hat)[..., :height, :width] * 255
        if exact:
            picture = picture.round().clamp(0, 255)
        cost: Tensor = coded.bits / (height * width) + settings.lmbda * (picture - image).square().mean()
        return cost


def temperature_at(done: float, hot: float, cold: float) -> float:
    """The temperature when a share of the steps, 0 to 1, is done."""
    return hot * math.pow(cold / hot, max(0.0, done - HOLD) / (1 - HOLD))


def drawn_rounding(temperature: float, generator: torch.Generator) -> Rounding:
    """What stands for rounding at a temperature above 0: stochastic Gumbel annealing (Yang et al. 2020, section 3.2).

    An element v between floor(v) and floor(v) + 1 goes to either with the probabilities that softmax makes of
    -atanh(distance) / temperature, by a Gumbel-softmax draw of that temperature. There are two classes, for which the
    difference of the Gumbel variables is one logistic variable.
    """

    def draw(v: Tensor) -> Tensor:
        below = torch.floor(v.detach())
        up = (v - below).clamp(_EDGE, 1 - _EDGE)
        logits = (torch.atanh(up) - torch.atanh(1 - up)) / temperature
        uniform = torch.rand(v.shape, generator=generator, device=v.device).clamp(1e-7, 1 - 1e-7)
        return below + torch.sigmoid((logits + torch.logit(uniform)) / temperature)

    return draw


def soft_rounding(temperature: float) -> Rounding:
    """What stands for rounding at a temperature above 0: the identity at 1, rounding towards 0.

    The mean of an element that lies at floor(v) + 1 with odds of (f / (1 - f))^(1 / temperature), f = v - floor(v),
    and else at floor(v).
    """

    def soften(v: Tensor) -> Tensor:
        below = torch.floor(v.detach())
        up = (v - below).clamp(_EDGE, 1 - _EDGE)
        return below + torch.sigmoid(torch.logit(up) / temperature)

    return soften


# ---- latents to what the decoder gets, and their bits, as files have them


def _code_factorized(model: Any, latents: list[Tensor], rounding: Rounding, settings: Settings) -> Coded:
    (y,), centres = latents, _centres(model)
    y_hat = rounding((y - centres) / settings.step) * settings.step + centres
    return Coded(y_hat, None, _bits(model.prior.likelihood(y_hat, settings.step)))


def _code_gaussian(model: Any, latents: list[Tensor], rounding: Rounding, settings: Settings) -> Coded:
    y, z = latents
    z_hat, bits = _code_hyper(model, z, rounding)
    law = model.gaussian_parameters(model.hyper_synthesis(z_hat))
    y_hat, of_y = _rounded(y, law.scale, law.mean, rounding, settings)
    return Coded(y_hat, z_hat, bits + of_y)


def _code_two_syntheses(model: Any, latents: list[Tensor], rounding: Rounding, settings: Settings) -> Coded:
    y, z = latents
    z_hat, bits = _code_hyper(model, z, rounding)
    y_hat, of_y = _rounded(y, model.hyper_synthesis_scale(z_hat), model.hyper_synthesis_mean(z_hat), rounding, settings)
    return Coded(y_hat, z_hat, bits + of_y)


def _code_checkerboard(model: Any, latents: list[Tensor], rounding: Rounding, settings: Settings) -> Coded:
    y, z = latents
    z_hat, bits = _code_hyper(model, z, rounding)
    hyper = model.hyper_synthesis(z_hat)
    anchors = anchor_mask(y.shape[-2], y.shape[-1], y.device)
    outputs = model.anchor_outputs(hyper)
    seen = _values(y, model.gaussian_parameters(outputs).mean, rounding, settings.step)
    law = model.gaussian_parameters(torch.where(anchors, outputs, model.outputs_beside(hyper, seen)))
    # The anchors keep what the context has seen of them: another draw would be another picture.
    y_hat = torch.where(anchors, seen, _values(y, law.mean, rounding, settings.step))
    return Coded(y_hat, z_hat, bits + _bits(gaussian_likelihood(y_hat, law.scale, law.mean, settings.step)))


def _code_shrinkage(model: Any, latents: list[Tensor], rounding: Rounding, settings: Settings) -> Coded:
    y, z = latents
    z_hat, bits = _code_hyper(model, z, rounding)
    law = model.latent_law(model.hyper_synthesis(z_hat))
    normalised = rounding((y - law.mean) / law.scale / settings.step) * settings.step
    trained = settings.tables == "trained"
    likelihood = (model.trained_likelihood if trained else laplace_likelihood)(normalised, settings.step)
    return Coded(normalised * law.scale + law.mean, z_hat, bits + _bits(likelihood))


_CODERS: dict[str, Callable[[Any, list[Tensor], Rounding, Settings], Coded]] = {
    "factorized": _code_factorized,
    "scale_hyperprior": _code_gaussian,
    "hyperprior": _code_gaussian,
    "checkerboard": _code_checkerboard,
    "shrinkage": _code_shrinkage,
    "hific": _code_two_syntheses,
}


def _code_hyper(model: Any, z: Tensor, rounding: Rounding) -> tuple[Tensor, Tensor]:
    """The hyper-latent, whose step is 1, and its bits."""
    centres = _centres(model)
    z_hat = rounding(z - centres) + centres
    return z_hat, _bits(model.prior.likelihood(z_hat))


def _centres(model: Any) -> Tensor:
    centres: Tensor = model.prior.medians().reshape(1, -1, 1, 1)
    return centres


def _rounded(
    y: Tensor, scale: Tensor, mean: Tensor | None, rounding: Rounding, settings: Settings
) -> tuple[Tensor, Tensor]:
    """The latent under a Gaussian law, and its bits."""
    y_hat = _values(y, mean, rounding, settings.step)
    return y_hat, _bits(gaussian_likelihood(y_hat, scale, mean, settings.step))


def _values(y: Tensor, mean: Tensor | None, rounding: Rounding, step: float) -> Tensor:
    if mean is None:
        return rounding(y / step) * step
    return rounding((y - mean) / step) * step + mean


def _bits(likelihood: Tensor) -> Tensor:
    return -likelihood.log2().sum()


def _kept_bytes(model: Any, code: Callable[..., Coded], device: torch.device) -> float:
    """What a forward pass keeps for its backward pass, in bytes by pixel: taken at one small image."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    parameters = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    side = 2 * model.stride
    with torch.inference_mode(False), torch.enable_grad():
        x = torch.full((1, 3, side, side), 0.5, device=device).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            latents = [model.analyse(x)]
            if hasattr(model, "hyper_analyse"):
                latents.append(model.hyper_analyse(latents[0]))
        latents = [latent.requires_grad_() for latent in latents]
        tables = "trained" if getattr(model, "trained_law", None) is not None else "fixed"
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            coded = code(model, latents, soft_rounding(0.5), Settings(1, 1.0, tables=tables))
            cost = (model.synthesise(coded.y_hat) - x).square().sum() + coded.bits
        del cost, coded
    total = sum(nbytes for place, nbytes in kept.items() if place not in parameters)
    return float(total / side**2)
