"""Layers of experts: who gets which token, and the record of one."""
