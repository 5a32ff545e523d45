"""Search among attention's keys, measured: `tools/measure_search.py` runs it."""
