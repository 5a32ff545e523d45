"""Operators on arrays → kernel demands: windows, rows, indices, groups of channels."""
