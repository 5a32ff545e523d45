"""Training: which tensors are trained, what optimizers keep of each, and the graph of a whole step."""
