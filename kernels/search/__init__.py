"""Search among attention's keys as it really runs on a CPU, with FAISS; `tools/measure_search.py` measures it."""
