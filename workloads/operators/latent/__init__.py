"""Attention over a compressed cache."""
