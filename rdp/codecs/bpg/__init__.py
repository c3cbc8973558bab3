"""BPG: HEVC intra in a small container, written and read with PyAV (libx265, FFmpeg) or with the reference programs."""
