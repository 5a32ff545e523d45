"""Operators of linear attention: short convolutions, delta rules and state-space scans, over prompts and by steps."""
