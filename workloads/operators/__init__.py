"""Operator records, one file a domain."""
