"""A machine as it is seen without what measurements taught it, or without what its own did."""
