"""Operators on arrays beside products, norms and elementwise functions: windows, rows, indices, other convolutions."""
