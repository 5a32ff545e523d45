"""`python -m simexplore.kernels.vulkan.shaders` compiles the shaders whose source has changed."""

from simexplore.kernels.vulkan.shaders import compile_changed

if __name__ == "__main__":
    compile_changed()
