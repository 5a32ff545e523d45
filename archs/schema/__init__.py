"""What machines are: the records that arch files fill, a file for each kind."""
