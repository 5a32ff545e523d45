"""Linear attention → kernels: short convolutions, scans by chunks or as one kernel, and steps of states."""
