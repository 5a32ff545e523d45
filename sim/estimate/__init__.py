"""Closed form: operators, graphs, and what was learned on top of the physics."""
