"""Studies of whole systems: a GPU with what stands around it, or several machines together."""
