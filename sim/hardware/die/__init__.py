"""The die of a GPU: its area by part, and what the packaged GPU costs."""
