"""No device at all: numpy computes and a formula says how long it took. For tests of what surrounds a backend."""
