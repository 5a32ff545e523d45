"""Operations on arrays of PyTorch and ONNX, beside products, norms and elementwise functions."""
