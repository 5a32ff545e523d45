"""Requests over time: an engine that serves a language model, step by step, and what its users see."""
