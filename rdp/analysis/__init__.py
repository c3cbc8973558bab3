"""Analysis of numbers, whatever they came from: NumPy arrays in, frozen results out.

from rdp.analysis import bd_rate
bd_rate(anchor_bpp, anchor_psnr, test_bpp, test_psnr).value  # percent of rate, negative where it is saved
"""

from rdp.analysis.bjontegaard import Bjontegaard, BjontegaardError, bd_metric, bd_rate

__all__ = ["Bjontegaard", "BjontegaardError", "bd_metric", "bd_rate"]
