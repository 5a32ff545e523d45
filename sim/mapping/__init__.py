"""Operator physics: one module a family, from operator to kernel demands."""
