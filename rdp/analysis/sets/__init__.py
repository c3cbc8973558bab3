"""Distances between sets of images, and of any mixture of operating points, from cached features (NumPy)."""
