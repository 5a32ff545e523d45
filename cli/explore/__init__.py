"""Commands around sweeps."""
