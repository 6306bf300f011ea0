"""What the registry costs: a rollback beside bare calls of MLflow, the gate on a million rows, ten thousand versions.

- A rollback in a warm process, on a real MLflow (SQLite), with all its checks, its commits and its history, against
  two bare calls of MLflow that set one: held to `ROLLBACK_RATIO`.
- The gate on 250,000 and 1,000,000 rows: two cheap models, AUC with three guards and two columns of slices. A million
  rows may take `GATE_SECONDS` and `GATE_RATIO` times a quarter of them.
- Commands in a warm process, a promotion and a rollback with 10 and with 10,000 versions, each of which was champion.
  `models list`, `models show` and the end of `models history` are held to `SHOWN_RATIO`.

Exits 1 above any of these limits.
"""

import argparse
import contextlib
import io
import itertools
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier

from podium import ids
from podium.cli.main import main as podium
from podium.db.schema import model_version, promotion, promotion_history
from podium.registry import history, versions
from podium.registry.entities import CHALLENGER, CHAMPION, Lineage, LoggedModel
from podium.registry.evaluation import evaluate
from podium.registry.evidence import Evidence
from podium.registry.metrics import Kind, Metric
from podium.registry.policy import GatePolicy, Guard
from podium.registry.promotion import ANY
from podium.wiring.project import Project, open_project

ROLLBACK_RATIO = 2.0
ROWS, GATE_SECONDS, GATE_RATIO = (250_000, 1_000_000), 2.0, 4.6
SIZES, SHOWN_RATIO = (10, 10_000), 1.5
HELD = ("models list", "models show", "models history")
MODEL = "flight_delay"
AT = datetime(2026, 11, 1, tzinfo=UTC)
SAMPLE = pd.DataFrame({"distance": [100.0, 900.0], "hour": [6.0, 21.0]})
POLICY = GatePolicy(
    primary=Metric.AUC,
    guards=(Guard(metric=Metric.ACCURACY), Guard(metric=Metric.ERROR_RATE), Guard(metric=Metric.LOG_LOSS)),
    slices=("carrier", "month"),
)


def main() -> None:
    """Measure all three, print the tables and exit 1 above a limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rollbacks", type=int, default=20, help="rollbacks, each beside its floor (default 20)")
    parser.add_argument("--evaluations", type=int, default=5, help="evaluations of each size (default 5)")
    parser.add_argument("--commands", type=int, default=10, help="commands of each kind and size (default 10)")
    options = parser.parse_args()
    os.environ.setdefault("PODIUM_USER", "bench")
    with tempfile.TemporaryDirectory(prefix="registry-") as folder:
        missed = gate(options.evaluations)
        missed |= rollbacks(Path(folder, "rollbacks"), options.rollbacks)
        missed |= many_versions(Path(folder), options.commands)
    sys.exit(1 if missed else 0)


# The gate


class Cheap(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A fitted classifier whose probability is a column of the rows: what it takes to ask it is next to nothing."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.classes_ = np.array([0, 1])
        self.feature_names_in_ = np.array(["candidate", "champion"], dtype=object)  # callers of both send the same

    def predict(self, rows: pd.DataFrame) -> Any:
        """Return the likelier class."""
        return (rows[self.column].to_numpy() > 0.5).astype(np.int64)

    def predict_proba(self, rows: pd.DataFrame) -> Any:
        """Return both probabilities."""
        late = rows[self.column].to_numpy()
        return np.column_stack([1 - late, late])


def gate(count: int) -> bool:
    """Time the gate on few and many rows, in turn; return whether a limit is missed."""
    holdouts = {rows: holdout(rows) for rows in ROWS}
    took = dict.fromkeys(ROWS, float("inf"))
    for _ in range(count):
        for rows, frame in holdouts.items():
            took[rows] = min(took[rows], seconds(partial(judge, frame)))
    few, many = (took[rows] for rows in ROWS)
    print("the gate: AUC, three guards, two columns of slices (28 slices)")
    for rows in ROWS:
        print(f"{rows:>11,} rows {took[rows]:>8.2f} s")
    ratio = many / few
    print(f"{ROWS[1]:,} rows: {many:.2f} s {sign(many, GATE_SECONDS)} {GATE_SECONDS:g} s allowed; ", end="")
    print(f"ratio {ratio:.1f} {sign(ratio, GATE_RATIO)} {GATE_RATIO} allowed\n")
    return many > GATE_SECONDS or ratio > GATE_RATIO


def holdout(rows: int) -> pd.DataFrame:
    """Return rows with the probabilities of two models that see the same signal, each with noise of its own."""
    generator = np.random.default_rng(rows)
    late = (generator.random(rows) < 0.2).astype(np.int64)
    signal = generator.normal(size=rows) + late
    scores = {
        name: 1 / (1 + np.exp(1 - signal - noise * generator.normal(size=rows)))
        for name, noise in (("candidate", 0.5), ("champion", 0.6))
    }
    slices = {
        "carrier": generator.choice([f"C{number}" for number in range(16)], size=rows),
        "month": generator.integers(1, 13, size=rows),
    }
    return pd.DataFrame({**scores, **slices, "late": late})


def judge(frame: pd.DataFrame) -> None:
    """Judge the candidate."""
    evidence = evaluate(
        Cheap("candidate"),
        Cheap("champion"),
        frame,
        label="late",
        model=MODEL,
        policy=POLICY,
        candidate_digest="c" * 64,
        champion_version="1",
        holdout_digest="a" * 64,
        holdout_uses=0,
        seed=1,
    )
    assert evidence.verdict == "passed", evidence.reasons


# Rollbacks


def rollbacks(folder: Path, count: int) -> bool:
    """Time rollbacks and bare moves of an alias in turn; return whether the limit is missed."""
    with project_in(folder) as project:
        made = Versions(project)
        for _ in range(count + 2):
            made.promote(made.candidate())
        bare, version = client_of(project), itertools.cycle(("1", "2"))

        def read_and_set() -> None:
            bare.get_model_version_by_alias(MODEL, CHALLENGER)
            bare.set_registered_model_alias(MODEL, CHALLENGER, next(version))

        def set_twice() -> None:
            for _ in range(2):
                bare.set_registered_model_alias(MODEL, CHALLENGER, next(version))

        set_twice()
        made.rollback()  # what is done once in a process is not what a warm one does
        acts = {"a rollback": made.rollback, "two aliases set": set_twice, "an alias read and set": read_and_set}
        took: dict[str, list[float]] = {name: [] for name in acts}
        for _ in range(count):
            for name, act in acts.items():
                took[name].append(passed_seconds(act))
    print(f"a rollback in a warm process beside bare calls of MLflow, the fastest of {count}")
    for name, found in took.items():
        print(f"{name:<24} {min(found) * 1000:>8.1f} ms")
    ratio = min(took["a rollback"]) / min(took["two aliases set"])
    print(f"ratio {ratio:.2f} {sign(ratio, ROLLBACK_RATIO)} {ROLLBACK_RATIO:g} allowed, to two aliases set\n")
    return ratio > ROLLBACK_RATIO


# Many versions


def many_versions(folder: Path, count: int) -> bool:
    """Time commands on models with few and many versions, in turn; return whether a limit is missed."""
    took: dict[tuple[str, int], float] = {}
    with contextlib.ExitStack() as stack:
        acts = {}
        for size in SIZES:
            project = stack.enter_context(project_in(folder / str(size)))
            made = Versions(project)
            made.fill(size)
            acts[size] = acts_on(made)
        for name, size in itertools.product(acts[SIZES[0]], SIZES):
            took[name, size] = min(acts[size][name]() for _ in range(count))
    few, many = SIZES
    missed = False
    print(f"a model with {few} and with {many:,} versions, each of which was champion; the fastest of {count}")
    for name in acts[few]:
        ratio = took[name, many] / took[name, few]
        held = f" {sign(ratio, SHOWN_RATIO)} {SHOWN_RATIO} allowed" if name in HELD else ""
        missed |= bool(held) and ratio > SHOWN_RATIO
        print(
            f"{name:<16} {took[name, few] * 1000:>8.1f} ms {took[name, many] * 1000:>9.1f} ms  ratio {ratio:.2f}{held}"
        )
    return missed


@dataclass
class Versions:
    """Makes the versions of one project; they share what was uploaded once."""

    project: Project
    made: int = 0

    def __post_init__(self) -> None:
        estimator = DummyClassifier(strategy="most_frequent").fit(SAMPLE, [0, 1])
        self._logged: LoggedModel = versions.upload(
            self.project.registry, estimator, SAMPLE, model=MODEL, step_key="upload", tags={}
        )

    def candidate(self) -> str:
        """Register a version that was judged against the present champion."""
        self.made += 1
        key = f"run-{self.made}"
        judged = passed(self.project.registry.alias(MODEL, CHAMPION), key)
        with self.project.database.write() as connection:
            versions.record_evidence(connection, judged, run_id=key, step_key=f"{key}/evaluate", at=AT)
        lineage = Lineage(key, AT, AT, "d" * 64, "e" * 64, judged.digest)
        return versions.register(
            self.project.database,
            self.project.registry,
            self.project.clock,
            model=MODEL,
            logged=self._logged,
            lineage=lineage,
            step_key=f"{key}/register",
        ).version

    def promote(self, version: str) -> None:
        """Make a version champion."""
        promoted = self.project.promotions.promote(
            MODEL,
            version,
            expect_champion=ANY,
            idempotency_key=ids.new_id(self.project.clock.now()),
            actor="bench",
            actor_verified=False,
            reason="it passed",
        )
        assert promoted.applied, promoted.reasons

    def rollback(self) -> None:
        """Make the champion before this one champion again."""
        rolled_back = self.project.promotions.rollback(
            MODEL,
            expect_champion=ANY,
            idempotency_key=ids.new_id(self.project.clock.now()),
            actor="bench",
            actor_verified=False,
            reason="it is slow",
        )
        assert rolled_back.applied, rolled_back.reasons

    def fill(self, size: int) -> None:
        """Put so many versions on record, in MLflow and in Podium, that were champion one after the other."""
        first = self.candidate()
        self.promote(first)
        _fill_mlflow(Path(self.project.settings.effective_tracking_uri.removeprefix("sqlite:///")), size)
        with self.project.database.write() as connection:
            _fill_podium(connection, size)
        self.project.registry.set_alias(MODEL, CHAMPION, str(size))
        self.made = size

    def command(self, *arguments: str) -> None:
        """Run one command in this process."""
        sys.argv = ["podium", *arguments]
        said = io.StringIO()
        with (
            contextlib.chdir(self.project.settings.root),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            code = _exit_code(podium)
        assert code in (None, 0), said.getvalue()


def _exit_code(command: Callable[[], object]) -> object:
    try:
        command()
    except SystemExit as ended:
        return ended.code
    return None


def acts_on(made: Versions) -> dict[str, Callable[[], float]]:
    """Return what is timed, by its name; each returns how long it took."""

    def timed(*command: str) -> Callable[[], float]:
        return lambda: seconds(lambda: made.command(*command))

    def promotion() -> float:
        version = made.candidate()
        return seconds(lambda: made.promote(version))

    commands = {"models list": ("models", "list")} | {
        f"models {name}": ("models", name, MODEL, *options)
        for name, *options in (("show",), ("history", "--limit", "20"), ("verify",))
    }
    return {
        **{name: timed(*command) for name, command in commands.items()},
        "promote": promotion,
        "rollback": lambda: seconds(made.rollback),
    }


def passed(champion: str | None, key: str) -> Evidence:
    """Return evidence that a candidate passed against that champion."""
    policy = GatePolicy()
    return Evidence(
        model=MODEL,
        kind=Kind.BINARY,
        label="late",
        candidate_digest=f"{key:x<64}",
        champion_version=champion,
        rows=4000,
        rarer_class_rows=900,
        holdout_digest="a" * 64,
        holdout_uses=0,
        policy=policy,
        policy_digest=policy.digest,
        seed=7,
        primary_metric=Metric.AUC,
        primary=None,
        guards=(),
        slices=(),
        slices_not_checked=0,
        measurements=(),
        discordant=None,
        verdict="passed",
        reasons=("AUC 0.612 >= 0.580 required.",),
    )


def _fill_mlflow(file: Path, size: int) -> None:
    """Copy version 1 and its tags until there are so many: by MLflow itself that takes minutes."""
    store = sqlite3.connect(file)
    for table in ("model_versions", "model_version_tags"):
        columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})") if row[1] != "version"]
        names = ", ".join(columns)
        store.execute(
            f"WITH RECURSIVE number(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < {size}) "  # noqa: S608
            f"INSERT INTO {table} (version, {names}) SELECT n, {names} FROM number, (SELECT * FROM {table})"
        )
    store.commit()
    store.close()


def _fill_podium(connection: sa.Connection, size: int) -> None:
    """Put versions 2 and further on record, and that each became champion after the one before it."""
    version = dict(connection.execute(sa.select(model_version)).mappings().one())
    moved = dict(connection.execute(sa.select(promotion)).mappings().one())
    (last,) = history.entries(connection, MODEL)
    rows: dict[sa.Table, list[dict[str, Any]]] = {model_version: [], promotion: [], promotion_history: []}
    for number in range(2, size + 1):
        before, now = str(number - 1), str(number)
        asked = f"{moved['promotion_id']}-{number}"
        registered = version["registered_at"] + timedelta(seconds=number)
        rows[model_version].append(
            {**version, "version": now, "step_key": f"filled-{number}", "registered_at": registered}
        )
        rows[promotion].append(
            {
                **moved,
                "promotion_id": asked,
                "expected_version": before,
                "from_version": before,
                "to_version": now,
                "idempotency_key": asked,
            }
        )
        unsealed = replace(
            last, id=number, from_version=before, to_version=now, promotion_id=asked, previous_hash=last.hash
        )
        last = replace(unsealed, hash=history.hash_of(unsealed))
        rows[promotion_history].append({**vars(last), "approvers": []})
    for table, found in rows.items():
        connection.execute(sa.insert(table), found)


@contextlib.contextmanager
def project_in(folder: Path) -> Iterator[Project]:
    """Make a project with a registry of its own."""
    folder.mkdir(parents=True)
    (folder / "podium.toml").write_text("")
    project = open_project(folder)
    try:
        yield project
    finally:
        project.close()


def client_of(project: Project) -> Any:
    """Return MLflow's own client of the project's registry."""
    from mlflow import MlflowClient

    uri = project.settings.effective_tracking_uri
    return MlflowClient(uri, uri)


def seconds(call: Callable[[], object]) -> float:
    """Return how much processor time a call takes: all of it is in this thread, and other work adds nothing to it."""
    start = time.process_time()
    call()
    return time.process_time() - start


def passed_seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes by the clock: what waits for the disk or for another process counts."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def sign(found: float, limit: float) -> str:
    """Return how a figure stands to its limit."""
    return "≤" if found <= limit else ">"


if __name__ == "__main__":
    main()
