"""One-line mutants of the physics, and which of them the tests notice; `tools/mutants.py` is the command."""
