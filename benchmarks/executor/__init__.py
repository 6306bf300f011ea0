"""The executor's benchmark, run with `python -m benchmarks.executor`: Podium beside hand-written floors and peers."""
