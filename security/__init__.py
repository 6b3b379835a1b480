"""Randomness, digests, keys and clocks. This room imports no other."""
