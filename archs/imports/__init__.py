"""Machines from public tables of GPUs."""
