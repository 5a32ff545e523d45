"""Commands around real kernel runs."""
