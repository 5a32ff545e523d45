"""LivePortrait: the networks that animate a face."""
