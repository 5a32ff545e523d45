"""What a run holds in the memory of each place: while it runs, over time, and as an allocator would have it."""
