"""How a framework lays its kernels on arrays out: reductions, running sums, sorting, selection."""
