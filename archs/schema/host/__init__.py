"""What stands around a GPU: CPUs with their memory, drives, and the ports that links share."""
