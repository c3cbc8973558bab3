"""What the choice of decoders of shared files costs in a delivery, by the definition of `rdp.selection.decoder_cost`.

Each file of a delivery has the number D of decoders among which its image's was chosen; naming it takes log2 D bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdp.selection.problem import FloatArray, IntArray, weighted_mean
from rdp.selection.statement import Weighting


@dataclass(frozen=True)
class DecoderInformation:
    """The bits that name the decoders, charged in the solve.

    `images_that_need_it` counts files with more than one decoder, `total_bits` is the sum of log2 D. `bpp` is the
    average of an image's bits over its pixels, `bpp_files` the average rate of the files alone and `bpp_total` their
    sum, all as means over images or by pixels, as `weighting` says.
    """

    images_that_need_it: int
    total_bits: float
    weighting: Weighting
    bpp: float
    bpp_files: float
    bpp_total: float

    @property
    def sentence(self) -> str:
        """The numbers in one line."""
        images = f"{self.images_that_need_it} image{'' if self.images_that_need_it == 1 else 's'}"
        return (
            f"{self.total_bits:.6g} bits in all for {images} whose file has several, {self.bpp:.3g} bit/pixel: "
            f"{self.bpp_total:.7g} bit/pixel with the files, charged in the solve"
        )


def decoder_information(
    decoders: IntArray, bits: FloatArray, pixels: FloatArray, weighting: Weighting
) -> DecoderInformation:
    """Of images whose files have `bits` (N,) and each one of `decoders` (N,), and which have `pixels` (N,)."""
    naming = np.log2(decoders)
    weights = pixels if weighting == "pixels" else np.ones(len(pixels))
    files, own = weighted_mean(bits / pixels, weights), weighted_mean(naming / pixels, weights)
    return DecoderInformation(int((decoders > 1).sum()), float(naming.sum()), weighting, own, files, files + own)
