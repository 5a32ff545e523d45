"""What a board does beside running work: pauses between pieces of it."""
