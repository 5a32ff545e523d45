"""Traces of the PyTorch profiler: events read one by one, linked to the calls that launched them, tallied."""
