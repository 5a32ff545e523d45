"""CUDA kernels on NVIDIA GPUs: CUDA C++ compiled at run time, run through the driver API."""
