"""A sweep's folder on a disk: who writes to it, what its database holds, and how damage is told."""
