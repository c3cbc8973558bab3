"""How sure the numbers are: the bootstrap, choosing on one half, and paired tests of two selections."""
