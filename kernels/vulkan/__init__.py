"""Kernels on Vulkan devices: GLSL beside its SPIR-V, run through the PyPI package `vulkan`."""
