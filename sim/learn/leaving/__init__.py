"""What leaving rows out tells: of kinds that were never seen, and of how little a few rows say."""
