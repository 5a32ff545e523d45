"""PyTorch's operators on a CPU or a CUDA GPU, as a framework's user gets them: cuBLAS, cuDNN and flash attention."""
