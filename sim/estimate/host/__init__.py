"""What CPUs, drives and copies over a path are asked for, and what that costs alone."""
