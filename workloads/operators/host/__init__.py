"""Work around a GPU: copies between devices, and what a CPU does."""
