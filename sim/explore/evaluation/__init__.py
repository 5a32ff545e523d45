"""From points to results: many machines and operators in one call."""
