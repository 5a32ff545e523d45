"""Fused attention: prefill and decode."""
