"""How long `podium --help` takes beside the same of a bare Typer app; exits 1 above 1.5 times.

    python benchmarks/bench_help.py

The bare app goes without rich, which makes it the faster kind. Both start a new interpreter; their runs alternate, so
that whatever else the machine does falls on both, and the ratio is the median of the pairs' ratios.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIRS = 30
ALLOWED = 1.5
PODIUM = Path(sys.executable).with_name("podium")

BARE = """
import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def first() -> None:
    "Do the first thing."


@app.command()
def second() -> None:
    "Do the second thing."


app()
"""


def seconds_of(command: list[str]) -> float:
    """Return how long a command takes."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure, print, and exit 1 where the bar is missed."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "bare.py")
        script.write_text(BARE, encoding="utf-8")
        bare, podium = [sys.executable, str(script), "--help"], [str(PODIUM), "--help"]
        for command in (bare, podium):  # compiles what is not compiled yet
            seconds_of(command)
        pairs = [(seconds_of(bare), seconds_of(podium)) for _ in range(PAIRS)]
    ratio = statistics.median(ours / theirs for theirs, ours in pairs)
    floor, measured = (statistics.median(times) for times in zip(*pairs, strict=True))
    verdict = "≤" if ratio <= ALLOWED else ">"
    print(f"podium --help: {measured:.3f} s, a bare Typer app: {floor:.3f} s, median of {PAIRS} pairs")
    print(f"ratio {ratio:.2f} {verdict} {ALLOWED} allowed")
    sys.exit(ratio > ALLOWED)


if __name__ == "__main__":
    main()
