"""rdp: rate-distortion-perception studies in image compression."""

__version__ = "0.1.0"
