"""Measure the executor, print a table of ratios and bars, and exit 1 where a bar is missed."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.executor import chain, fan_out, frame, history, idle, long_chain, memory
from benchmarks.executor.databases import DATABASES
from benchmarks.executor.figures import Part, print_part
from benchmarks.executor.machine import this_machine
from benchmarks.executor.options import Options
from benchmarks.executor.peer_environments import PEERS, VENVS_VARIABLE

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
    asked = _arguments()
    for name in list(os.environ):
        if name.startswith("PODIUM_") and name != VENVS_VARIABLE:
            del os.environ[name]  # nobody's own project is measured, or written to
    machine = this_machine()
    if not asked.json:
        print(machine.text, flush=True)  # before processes are forked, which would print it again
    parts = {}
    with DATABASES[asked.database]() as new_database:
        for name in asked.only or PARTS:
            with tempfile.TemporaryDirectory(prefix="executor-") as folder:
                options = Options(
                    Path(folder),
                    rounds=asked.rounds,
                    full=asked.full,
                    with_peers=not asked.without_peers,
                    new_database=new_database,
                )
                parts[name] = PARTS[name](options)
            if not asked.json:
                print_part(parts[name])
                sys.stdout.flush()
    missed = sum(not bar.is_met for part in parts.values() for bar in part.bars)
    if asked.json:
        document = {name: part.to_document() for name, part in parts.items()}
        print(json.dumps({"machine": asdict(machine), "database": asked.database, "parts": document}, indent=2))
    else:
        print(f"\n{missed or 'No'} bar{'' if missed == 1 else 's'} missed")
    sys.exit(1 if missed else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executor", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the fastest counts (default 3)")
    parser.add_argument("--full", action="store_true", help="memory: 10,000 runs")
    parser.add_argument("--without-peers", action="store_true", help=f"chain: leave {', '.join(PEERS)} out")
    parser.add_argument("--database", choices=DATABASES, default="sqlite", help="Podium's; history is SQLite always")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


if __name__ == "__main__":
    main()
