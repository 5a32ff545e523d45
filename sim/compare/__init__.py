"""Errors against measurements, and predictors side by side."""
