"""The report of a study of serving."""
