"""Studies of training: one module a paper."""
