"""What long runs keep: folders that one command writes to at a time, and the versions that results follow from."""
