"""What a way of running kernels must offer, and the records that all of them share.

A backend is one folder with a `Backend`, and one line in `registry.BACKENDS`. It is imported when it is asked for, and
imports its runtime (vulkan, cuda, torch) only inside its functions, so that asking what is missing always works.
"""
