"""Matrix products: tiled, matrix-vector, and as a textbook writes them."""
