"""Luigi: five tasks, each of which requires the one before, built by the local scheduler in this process.

A task's output is a file that it writes: that is how Luigi knows what is done. One by one alone: with two workers it
forks a process for each task.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import luigi

RUNS = 200
LENGTH = 5


class AddOne(luigi.Task):
    """Do nothing."""

    folder = luigi.Parameter()
    run_number = luigi.IntParameter()
    number = luigi.IntParameter()

    def requires(self) -> list[luigi.Task]:
        """Name the task before."""
        if self.number == 1:
            return []
        return [AddOne(folder=self.folder, run_number=self.run_number, number=self.number - 1)]

    def output(self) -> luigi.LocalTarget:
        """Name the file of the result."""
        return luigi.LocalTarget(f"{self.folder}/{self.run_number}-{self.number}")

    def run(self) -> None:
        """Write the result."""
        value = 0
        for target in self.input():
            with target.open() as file:
                value = int(file.read())
        with self.output().open("w") as file:
            file.write(str(value + 1))


def build(folder: Path, number: int) -> None:
    """Build the chain of one run."""
    last = AddOne(folder=str(folder), run_number=number, number=LENGTH)
    assert luigi.build([last], local_scheduler=True, log_level="ERROR")
    assert Path(last.output().path).read_text() == str(LENGTH)


def main(folder: Path) -> None:
    """Time `RUNS` runs after a warm one."""
    build(folder, 0)
    start = time.perf_counter()
    for number in range(1, RUNS + 1):
        build(folder, number)
    seconds = time.perf_counter() - start
    json.dump({"runs": RUNS, "milliseconds_per_step": {"one by one": 1000 * seconds / RUNS / LENGTH}}, sys.stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="luigi-") as temporary:
        main(Path(temporary))
