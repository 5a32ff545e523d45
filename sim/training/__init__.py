"""Training over many GPUs: pipelines of stages, put together from the times of their parts."""
