"""Training steps of models that no GPU holds: states on drives or in host memory, streamed through a GPU."""
