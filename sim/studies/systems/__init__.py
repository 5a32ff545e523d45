"""Papers about what is around a GPU."""
