"""Operators that are a whole module of an engine: several kernels that a model has no name for one by one."""
