"""What really ran: measured kernel times and the adaptors that read them."""
