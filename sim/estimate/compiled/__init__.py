"""Closed forms of one operator at a time, recorded from the physics itself and compiled where llvmlite is."""
