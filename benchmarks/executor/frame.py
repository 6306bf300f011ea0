"""A frame of 256 MiB from one step to the next, against writing its Arrow file and mapping it into memory by hand.

Timed from the moment the frame is there to the moment the reader has summed two of its columns. By hand that is:
write the file, fsync it, map it, make it a frame without copying. Podium also digests it, commits two attempts, hands
over to another process and checks the digest. Each frame is another one, as Podium stores what is equal once.
"""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.executor.chain import PODIUM
from benchmarks.executor.figures import Bar, Figure, Part, fastest
from benchmarks.executor.options import Options
from benchmarks.executor.projects import PIPELINE, BenchProject, executing

COLUMNS = 32
ROWS = 2**20
ROUNDS = 4
"""In each round of the others: writing so much takes as long as the disk has other work."""
LIMIT = 1.5

SOURCE = f"""

@step
def make(day: Interval) -> pd.DataFrame:
    generator = np.random.default_rng(day.start.toordinal())
    columns = {{f"c{{n}}": generator.random({ROWS}) for n in range({COLUMNS})}}
    frame = pd.DataFrame(columns, copy=False)
    Path("made").write_text(str(time.time_ns()))
    return frame


@step
def take(frame: pd.DataFrame) -> float:
    total = float(frame["c0"].sum() + frame["c{COLUMNS - 1}"].sum())
    Path("taken").write_text(str(time.time_ns()))
    return total
{PIPELINE}def hand_over(day: Interval) -> None:
    take(make(day))
"""


def measure(options: Options) -> Part:
    """Time both, in turn."""
    path = options.folder / "by-hand.arrow"
    bench = BenchProject(options.folder, SOURCE, options.new_database())

    def by_podium() -> float:
        bench.check([execute(bench.start("hand_over"))], 2)
        for path in (options.folder / ".podium" / "artifacts").glob("??/*"):
            path.unlink()  # as by hand: else one of the two always writes to memory that the kernel must first find
        made, taken = (int((options.folder / name).read_text()) for name in ("made", "taken"))
        return (taken - made) / 1e9

    with executing(bench, "hand_over") as execute:
        _by_hand(path), by_podium()  # warm
        rounds = [(_by_hand(path), by_podium()) for _ in range(ROUNDS * options.rounds)]
    hand, podium = (1000 * fastest(each[who] for each in rounds) for who in (0, 1))
    return Part(
        f"A frame of {COLUMNS * ROWS * 8 // 2**20} MiB from step to step",
        [Figure("Arrow by hand", hand, "ms", 1.0), Figure(PODIUM, podium, "ms", podium / hand)],
        [Bar(f"{PODIUM} ÷ Arrow by hand", LIMIT, podium / hand)],
        [f"fastest of {ROUNDS * options.rounds} rounds each"],
    )


def _by_hand(path: Path) -> float:
    """Return the seconds it takes by hand."""
    generator = np.random.default_rng()
    frame = pd.DataFrame({f"c{n}": generator.random(ROWS) for n in range(COLUMNS)}, copy=False)
    start = time.perf_counter()
    table = pa.Table.from_pandas(frame)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with path.open("rb") as written:
        os.fsync(written.fileno())
    with pa.memory_map(str(path)) as source:
        read = pa.ipc.open_file(source).read_all().to_pandas(split_blocks=True)
        total = float(read["c0"].sum() + read[f"c{COLUMNS - 1}"].sum())
    seconds = time.perf_counter() - start
    assert np.isclose(total, frame["c0"].sum() + frame[f"c{COLUMNS - 1}"].sum())
    path.unlink()
    return seconds
