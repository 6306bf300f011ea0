"""What it costs to hand a 256 MiB frame from step to step, beside writing and mapping it by hand; exits 1 above 1.5.

    python benchmarks/bench_frame.py [FOLDER]

The floor is one process that writes the frame as an Arrow file, flushes it to the disk, maps it and makes a frame of
the mapping without a copy. Podium does the same between two processes, through its database, and checks the digest:
measured from the last line of the step that makes the frame to the first line of the step that reads it. Runs
alternate, both in FOLDER (default: the system's for temporary files), and the ratio is that of the fastest of each.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from podium.dag.interval import Interval
from podium.execution.entities import Actor
from podium.wiring.documents import run_document
from podium.wiring.plans import load_plans
from podium.wiring.project import Project, open_project
from podium.wiring.runs import foreground

PAIRS = 7
ALLOWED = 1.5
COLUMNS = 16
ROWS = (256 << 20) // (8 * COLUMNS)
DAY = Interval.parse("2026-11-02", "UTC")

PIPELINE = f"""\
import time
from typing import NamedTuple

import numpy as np
import pandas as pd

from podium import Interval, pipeline, step


class Made(NamedTuple):
    frame: pd.DataFrame
    at: float


@step(memory="4GiB")
def make(day: Interval) -> Made:
    random = np.random.default_rng(day.start.day)
    frame = pd.DataFrame({{f"c{{n}}": random.normal(size={ROWS}) for n in range({COLUMNS})}})
    return Made(frame, time.monotonic())


@step(memory="4GiB")
def use(frame: pd.DataFrame, at: float) -> float:
    arrived = time.monotonic()
    assert frame.shape == ({ROWS}, {COLUMNS})
    return arrived - at


@pipeline(model="frame", team="bench", environment="dev")
def frame(day: Interval) -> None:
    made = make(day)
    use(made.frame, made.at)
"""


def by_hand(frame: pd.DataFrame, path: Path) -> float:
    """Return how many seconds it takes to write a frame, flush it and map it again."""
    started = time.monotonic()
    table = pa.Table.from_pandas(frame)
    with path.open("wb") as file:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        file.flush()
        os.fsync(file.fileno())
    with pa.memory_map(str(path)) as source:
        back = pa.ipc.open_file(source).read_all().to_pandas(split_blocks=True)
    seconds = time.monotonic() - started
    assert back.shape == frame.shape
    path.unlink()
    return seconds


def by_podium(project: Project, days: Sequence[Interval]) -> list[float]:
    """Return how many seconds the frame takes from step to step, in one run for each day."""
    plan = load_plans(project).plan("frame")
    found = []
    with foreground(project, plan, lambda _: None) as worker:
        for day in days:
            run = project.execution.start(plan, day, parameters={}, actor=Actor("bench"))
            worker.execute(run.run_id)
            found.append(_handed_over(project, run.run_id))
    return found


def _handed_over(project: Project, run_id: str) -> float:
    import sqlalchemy as sa

    from podium.db.schema import output, step_run
    from podium.execution import queries

    with project.database.read() as connection:
        assert run_document(connection, run_id, project.clock.now())["state"] == "succeeded"
        of_use = sa.select(output.c.digest).join(step_run, step_run.c.step_run_id == output.c.step_run_id)
        digest = connection.execute(of_use.where(step_run.c.run_id == run_id, step_run.c.name == "use")).scalar_one()
        return float(project.artifacts.get(queries.artifact_of(connection, digest)))


def main() -> None:
    """Measure, print, and exit 1 where the bar is missed."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        root = Path(folder)
        (root / "pipelines").mkdir()
        (root / "podium.toml").write_text('project = "bench"\nslots = 2\n')
        (root / "pipelines" / "frame.py").write_text(PIPELINE)
        random = np.random.default_rng(7)
        frame = pd.DataFrame({f"c{n}": random.normal(size=ROWS) for n in range(COLUMNS)})
        project = open_project(root)
        floors, ours = [], []
        for number in range(PAIRS):
            floors.append(by_hand(frame, root / "by-hand.arrow"))
            ours += by_podium(project, [Interval(*(at + timedelta(days=number) for at in (DAY.start, DAY.end)))])
        project.close()
    print(f"a frame of {COLUMNS} columns, {ROWS * COLUMNS * 8 >> 20} MiB, {PAIRS} times each")
    for name, seconds in (("by hand", floors), ("from step to step", ours)):
        print(f"{name:18} fastest {min(seconds):.3f} s, median {float(np.median(seconds)):.3f} s")
    ratio = min(ours) / min(floors)
    print(f"ratio {ratio:.2f} {'≤' if ratio <= ALLOWED else '>'} {ALLOWED} allowed")
    sys.exit(ratio > ALLOWED)


if __name__ == "__main__":
    main()
