"""Machine physics and dynamics: occupancy, waves, caches, the SM array."""
