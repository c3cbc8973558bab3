"""Analysis and synthesis transforms at inference, fast: the same numbers as the module's, sooner and in less memory.

What makes the difference on a CPU, in the order of what it gains: channels_last, in which convolutions run at the rate
of matrix products; blocks of rows that go through a layer and its normalisation while they are in the cache, instead
of tensors of 50 MB a layer that go through memory (and are paged in anew each time); normalisations as a 1x1
convolution with everything else in place; the last transposed convolution as a convolution and a pixel shuffle; and
bfloat16 where the processor has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from rdp.errors import SpecError, suggest
from rdp.models.fast_layers import layers, stage
from rdp.models.fast_stages import Pointwise, Setting, Shape, Stage, Whole, chain

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CPU_BLOCK_BYTES = 2 << 20
"""On a CPU: blocks that stay in the second-level caches of two cores; half and twice as much are as good."""
DEVICE_BLOCK_BYTES = 512 << 20
"""On other devices: large enough to keep them busy; most images go through in one block."""
PICTURE_CHANNELS = 4
"""What ends in at most so many channels is a picture, whose last layers run in float32 whatever the dtype."""
LIBRARY_BYTES = 1 << 20
"""What convolutions may take for themselves on top."""


class FastTransform:
    """A transform made ready for inference: float32 (N, C, H, W) to float32 (N, C', H', W').

    Computes under inference mode, without gradients. Images go through in blocks of rows, whose number follows from
    the shape alone; the result is that of the whole image up to rounding. A module that is not known is given the
    whole image.

    On a CPU the images of a batch are computed one by one, so that the result of an image does not depend on the
    others. On other devices the batch is computed together, and libraries may choose other algorithms for other batch
    sizes; float32 follows the process's settings for TensorFloat-32 there.
    """

    def __init__(self, stages: list[Stage], setting: Setting) -> None:
        """`setting`: of the first stage. `fast_transform` makes these."""
        self._stages = stages
        self._setting = setting

    @property
    def streams(self) -> bool:
        """Whether memory is bounded by rows: no module among the layers that waits for the whole image."""
        return not any(isinstance(part, Whole) for part in self._stages)

    def __call__(self, x: Tensor) -> Tensor:
        """The output of the transform, on the transform's device."""
        with torch.inference_mode():
            batch, channels, height, width = x.shape
            shape: Shape = (batch, channels, height, width)
            for part in self._stages:
                shape = part.shape(shape)
            result = torch.empty(shape, dtype=torch.float32, device=self._setting.device)
            at_once = 1 if self._setting.device.type == "cpu" else max(1, len(x))
            for first in range(0, len(x), at_once):
                self._fill(result[first : first + at_once], x[first : first + at_once])
            return result

    def _fill(self, result: Tensor, x: Tensor) -> None:
        row = 0
        for block in chain(self._stages, self._source(x)):
            rows = result[:, :, row : row + block.shape[2]]
            rows.copy_(block)
            row += block.shape[2]

    def _source(self, x: Tensor) -> Iterator[Tensor]:
        """The rows of the input as blocks."""
        batch, channels, height, width = x.shape
        rows = self._setting.rows((batch, channels, height, width))
        for row in range(0, height, rows):
            block = x[:, :, row : row + rows].to(self._setting.device, self._setting.dtype)
            yield block.contiguous(memory_format=torch.channels_last)

    def peak_bytes(self, height: int, width: int, channels: int = 3, batch: int = 1) -> int:
        """About how much memory a call takes for an input of that size, beyond weights and the input itself.

        Output included. An estimate from above: on a CPU what is measured is 0.6 to 0.9 of it, for transforms whose
        layers are all known. For others, as close as what their submodules give tells.
        """
        together = 1 if self._setting.device.type == "cpu" else batch
        shape: Shape = (together, channels, height, width)
        rows = self._setting.rows(shape)
        held = LIBRARY_BYTES + 2 * self._setting.nbytes(shape, rows)
        for part in self._stages:
            nbytes, rows = part.memory(shape, rows)
            shape = part.shape(shape)
            held += nbytes
        result = batch * shape[1] * shape[2] * shape[3] * torch.float32.itemsize
        return held + result


def fast_transform(module: nn.Module, *, device: str = "cpu", dtype: str = "float32") -> FastTransform:
    """A transform's layers, prepared for inference on a device, in "float32", "bfloat16" or "float16".

    The weights are copied; the module is not changed, and later changes to it are not seen. float32 results are those
    of the module within 1e-5 of the size of the output. Raises `SpecError` for another dtype.
    """
    if dtype not in DTYPES:
        raise SpecError(f"transforms do not run in {dtype!r}.{suggest(dtype, list(DTYPES))} Known: {', '.join(DTYPES)}")
    place = torch.device(device)
    block_bytes = CPU_BLOCK_BYTES if place.type == "cpu" else DEVICE_BLOCK_BYTES
    setting = Setting(place, DTYPES[dtype], block_bytes)
    parts = list(layers(module))
    end = len(parts) if dtype == "float32" else _begin_of_picture(parts)
    stages = [stage(layer, setting) for layer in parts[:end]]
    if end < len(parts):
        full = Setting(place, torch.float32, block_bytes)
        stages += [Pointwise(Tensor.float, full, 1), *(stage(layer, full) for layer in parts[end:])]
    return FastTransform(stages, setting)


def _begin_of_picture(parts: Sequence[nn.Module]) -> int:
    """The place of the layer from which on half precision is too coarse for a picture.

    A sample of a picture in bfloat16 is off by up to half a level of 255, which costs hundredths of a dB. That the last
    convolution makes it in float32 costs little, next to those before. What ends in more than `PICTURE_CHANNELS`
    channels is no picture: half precision does for a latent, which is rounded to integers.
    """
    convolutions = [
        (place, part.out_channels)
        for place, part in enumerate(parts)
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
    ]
    if not convolutions:
        return len(parts)
    last, channels = convolutions[-1]
    for part in parts[last:]:
        if isinstance(part, nn.PixelShuffle):
            channels //= part.upscale_factor**2
    if channels > PICTURE_CHANNELS:
        return len(parts)
    return last
