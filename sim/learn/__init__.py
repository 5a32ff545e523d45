"""What measurements teach: parameters of the physics, and a correction of what remains."""
