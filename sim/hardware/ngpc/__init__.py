"""The neural-graphics cluster: addresses, one processor clock by clock, the cluster beside its GPU, area and power."""
