"""Diffusion models of images: their networks, and the pipelines that run them on streams of frames."""
