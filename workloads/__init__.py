"""Work: operators, graphs of operators, and the catalogue of models."""
