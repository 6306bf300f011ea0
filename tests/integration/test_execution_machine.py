"""Whatever two workers and a person do to runs, in whatever order: every invariant holds after every move.

Hypothesis chooses the moves: start, claim, end in every way, die and be rescued, wake up as a zombie, cancel, resume.
What must hold is what `podium db check` checks, and nothing else is asked.
"""

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from podium.dag.plan import Constant, Plan, Reference
from podium.db import migrate
from podium.db.engine import Database
from podium.db.schema import attempt
from podium.errors import Conflict, UsageError
from podium.execution import inspection, queries
from podium.execution.claims import Claim
from podium.execution.entities import AttemptEndState, AttemptError, Run
from podium.execution.queries import AttemptRow
from podium.finops import audit
from tests.execution_world import HandWorker, days, node, plan_of

# A diamond behind a condition, and a fan-out over a list and over items of it, with retries here and there.
FLOW = plan_of(
    node("a", retries=1),
    node("b", "a", when=["a.result"]),
    node("c", "a", retries=2),
    node("d", "b", "c"),
    node("each", "a", over=Constant([1, 2])),
    node("listed"),
    node("mapped", over=Reference("listed"), retries=1),
    node("last", "mapped", "each"),
)
LINE = plan_of(node("a", retries=1), node("b", "a"), node("c", "b"))
ENDS: list[AttemptEndState] = ["succeeded", "succeeded", "succeeded", "failed", "timed_out", "cancelled"]


@dataclass
class Held:
    """An attempt as the worker that claimed it remembers it, whether it is still its own or not."""

    claim: Claim
    row: AttemptRow


class Executions(RuleBasedStateMachine):
    """Two workers and a person on one database."""

    fresh: ClassVar[Callable[[], Database]]

    @initialize()
    def begin(self) -> None:
        self.database = type(self).fresh()
        self.hand = HandWorker(self.database, Path(tempfile.gettempdir()))
        self.workers = [self.hand.worker(f"worker {next(_numbers)}") for _ in range(2)]
        self.runs: list[Run] = []
        self.plans: list[Plan] = []
        self.held: list[list[Held]] = [[], []]

    @precondition(lambda self: len(self.runs) < 3)
    @rule(plan=st.sampled_from([FLOW, LINE]))
    def start(self, plan: Plan) -> None:
        with self.database.read() as connection:
            before = len(queries.list_runs(connection, limit=1_000))
        self.runs.append(self.hand.start(plan, days(before + 1)[-1]))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), who=st.integers(0, 1), limit=st.integers(1, 3))
    def claim(self, data: st.DataObject, who: int, limit: int) -> None:
        run = data.draw(st.sampled_from(self.runs))
        for claim in self.hand.claim(run, self.workers[who], limit):
            with self.database.read() as connection:
                row = queries.running_attempt(connection, claim.attempt_id)
            assert row is not None
            self.held[who].append(Held(claim, row))

    @precondition(lambda self: any(self.held))
    @rule(data=st.data(), state=st.sampled_from(ENDS), items=st.integers(0, 3), retryable=st.booleans())
    def end(self, data: st.DataObject, state: AttemptEndState, items: int, retryable: bool) -> None:
        who = data.draw(st.sampled_from([who for who in (0, 1) if self.held[who]]))
        mine = self.held[who].pop(data.draw(st.integers(0, len(self.held[who]) - 1)))
        error = None if state == "succeeded" else AttemptError("Boom", "it went wrong", retryable=retryable)
        with self.database.write() as connection:
            own = connection.scalar(sa.select(attempt.c.state).where(attempt.c.attempt_id == mine.claim.attempt_id))
            moved = self.hand.end_row(connection, mine.row, state, json.dumps(list(range(items))), error)
        assert (moved is not None) == (own == "running")  # a zombie writes nothing

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), ends=st.lists(st.sampled_from(ENDS), min_size=1, max_size=6), items=st.integers(0, 3))
    def work_off(self, data: st.DataObject, ends: list[AttemptEndState], items: int) -> None:
        """A worker goes on with a run until nothing of it may start; its attempts end like this in turn."""
        run, end = data.draw(st.sampled_from(self.runs)), itertools.cycle(ends)
        for _ in range(20):
            claims = self.hand.claim(run, self.workers[0])
            for claim in claims:
                self.hand.end(claim, next(end), json.dumps(list(range(items))))
            if not claims:
                return
            self.hand.clock.advance(400)

    @precondition(lambda self: any(self.held))
    @rule(who=st.integers(0, 1))
    def freeze_past_the_lease(self, who: int) -> None:
        """The other worker rescues what this one had; this one does not know, and will try to end it."""
        if not self.held[who]:
            return
        self.hand.clock.advance(self.hand.lease_seconds + 1)
        self.hand.rescue(besides=self.workers[1 - who])

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        with _refused():
            self.hand.service.cancel(data.draw(st.sampled_from(self.runs)).run_id, reason="enough")

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.runs))
        with self.database.read() as connection:
            plan = self.hand.plan(connection, run)
        with _refused():
            self.hand.service.resume(run.run_id, plan, reason="again")

    @rule(seconds=st.sampled_from([1.5, 400.0, -3600.0, 3600.0]))
    def move_the_clock(self, seconds: float) -> None:
        """Back-off ends; or somebody sets the clock."""
        self.hand.clock.advance(seconds)

    @invariant()
    def everything_is_as_it_must_be(self) -> None:
        with self.database.read() as connection:
            found: list[Any] = [*inspection.violations(connection), *audit.violations(connection)]
        assert found == [], "\n".join(map(str, found))


_numbers = itertools.count(1)


@contextmanager
def _refused() -> Iterator[None]:
    """A person may ask for what cannot be done just now."""
    with suppress(UsageError, Conflict):
        yield


def _play(fresh: Callable[[], Database], examples: int) -> None:
    machine: Any = type("Played", (Executions,), {"fresh": staticmethod(fresh)})
    play = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],  # the moves are told as they were found: to shorten them takes longer than a test may
    )
    run_state_machine_as_test(machine, settings=play)


def test_every_invariant_holds_after_every_move(tmp_path: Path) -> None:
    template = Database(f"sqlite:///{tmp_path / 'template.db'}", tmp_path / "locks")
    migrate.ensure(template)
    template.close()
    opened: list[Database] = []

    def fresh() -> Database:
        path = tmp_path / f"{len(opened)}.db"
        shutil.copy(tmp_path / "template.db", path)
        opened.append(Database(f"sqlite:///{path}", tmp_path / "locks"))
        # Nobody pulls the plug: that bytes reach the disk is not what is asked here.
        sa.event.listen(opened[-1].engine, "connect", lambda it, _: it.execute("PRAGMA synchronous = OFF"))
        return opened[-1]

    _play(fresh, examples=40)
    for database in opened:
        database.close()


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
def test_every_invariant_holds_after_every_move_on_postgresql(database: Database) -> None:
    _play(lambda: database, examples=4)  # each with the runs of those before
