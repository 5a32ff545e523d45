"""Physics around a GPU: CPUs, drives, and copies over a path of links."""
