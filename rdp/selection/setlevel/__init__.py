"""Selections for set-level values (FID, KID, sliced Wasserstein): optimised or bounded, with a proven bound."""
