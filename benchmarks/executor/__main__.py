"""Measure the executor, print the table with its ratios and bars, and exit 1 where a bar is missed."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.executor import chain, fan_out, frame, history, idle, long_chain, memory
from benchmarks.executor.figures import Part, print_part
from benchmarks.executor.options import Options

PARTS: dict[str, Callable[[Options], Part]] = {
    "chain": chain.measure,
    "long_chain": long_chain.measure,
    "fan_out": fan_out.measure,
    "history": history.measure,
    "frame": frame.measure,
    "idle": idle.measure,
    "memory": memory.measure,
}


def main() -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executor", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", metavar="NAME", help=f"one of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each part; the fastest counts (default 3)")
    parser.add_argument("--full", action="store_true", help="the supervisor's memory over 10,000 runs")
    parser.add_argument("--without-peers", action="store_true", help="leave DBOS, Luigi, Dagster and Prefect out")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("PODIUM_") and name != "PODIUM_BENCH_VENVS"]:
        del os.environ[name]  # nobody's own project is measured, or written to
    parts = {}
    for name in asked.only or PARTS:
        with tempfile.TemporaryDirectory(prefix="executor-") as folder:
            options = Options(
                Path(folder), rounds=asked.rounds, full=asked.full, with_peers=not asked.without_peers, database_url=str
            )
            parts[name] = PARTS[name](options)
        if not asked.json:
            print_part(parts[name])
    if asked.json:
        print(json.dumps({name: part.to_document() for name, part in parts.items()}, indent=2))
    missed = [name for name, part in parts.items() if not part.is_met]
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
