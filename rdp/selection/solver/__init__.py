"""The solver of this problem: prices, then the exact search of what they leave open."""
