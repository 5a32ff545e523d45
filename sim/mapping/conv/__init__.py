"""Convolutions, by the algorithms that a library has."""
