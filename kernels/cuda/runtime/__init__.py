"""What CUDA itself offers: driver, compiler, launches, tensor maps, power readings."""
