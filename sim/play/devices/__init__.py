"""How devices play demands: what they share, kernels on SMs, and everything that waits and then shares resources."""
