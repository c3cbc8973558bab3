"""Learned codecs: networks with weights, whose files are range-coded in exact arithmetic."""
