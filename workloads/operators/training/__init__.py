"""Operators that only training has."""
