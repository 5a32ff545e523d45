"""How work runs on a machine: demands, closed form, events, comparison."""
