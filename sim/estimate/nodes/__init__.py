"""Work that spans the nodes of a system."""
