"""Why work takes as long as it does: where the time goes, what limits it, what would help, what numbers it is on."""
