"""Model families, one file each, their configurations as data."""
