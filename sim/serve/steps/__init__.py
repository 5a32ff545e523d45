"""How long a step of an engine takes: exactly, and by a table that remembers."""
