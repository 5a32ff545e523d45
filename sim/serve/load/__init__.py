"""Requests: drawn from a process, read from a trace, or sent by users who wait for answers."""
