"""How far a prediction is from what was measured, and how wide its interval is for that."""
