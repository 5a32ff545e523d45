"""What one machine's measurements teach of another."""
