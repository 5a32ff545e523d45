"""Decoder-only language models: their shape, what it counts, and their graphs."""
