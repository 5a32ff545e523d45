"""Machines: what a GPU, its memories and its links are, in YAML with units and sources."""
