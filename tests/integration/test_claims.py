"""Claims on both databases: whose step runs may start, how many at once, and who is told when there are more."""

import select
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from podium.dag.plan import Plan, Resources, StepNode
from podium.db.engine import Database, Session, try_lock, wake_workers
from podium.db.schema import attempt, run
from podium.execution import claiming, claims
from podium.execution.capacity import Capacity
from podium.execution.claiming import Claimer, ClaimFailed
from podium.execution.claims import Limits
from podium.execution.entities import Assignment, Happening, Run
from podium.execution.setbacks import Setbacks
from tests.execution_world import CHAIN, HandWorker, days, node, plan_of

PATIENCE_SECONDS = 30.0
WIDE = Capacity(cpu=64.0, memory_bytes=2**40, gpu=0, slots=64)


@pytest.fixture
def hand(database: Database, tmp_path: Path) -> HandWorker:
    return HandWorker(database, tmp_path)


class OneClaimer:
    """A worker that claims and does not execute."""

    def __init__(
        self,
        hand: HandWorker,
        *,
        capacity: Capacity = WIDE,
        limits: Limits | None = None,
        labels: Sequence[str] = (),
        name: str = "w",
    ) -> None:
        self.hand = hand
        self.told: list[Happening] = []
        self.running: list[Assignment] = []
        self._claimer = Claimer(
            hand.worker(name),
            30.0,
            limits or Limits(),
            frozenset(labels),
            lambda: capacity,
            hand.progress.settle_claimable,
            hand.clock,
            Setbacks(hand.clock, self.told.append),
            {},
        )

    def claim(self) -> list[str]:
        """Look and claim; return `day step` of what was claimed."""
        with self.hand.database.read() as connection:
            self._claimer.look(connection)
        try:
            with self.hand.database.write() as connection:
                claimed = self._claimer.claim(connection, self.running)
        except ClaimFailed as error:
            self._claimer.failed(error)
            return self.claim()
        self.running += claimed
        return [f"{each.run.interval.start.day} {each.label}" for each in claimed]

    def close(self) -> None:
        """Claim nothing more."""
        self._claimer.close()

    def end(self, label: str) -> None:
        """End what was claimed as `day step`."""
        (ended,) = [each for each in self.running if f"{each.run.interval.start.day} {each.label}" == label]
        self.running.remove(ended)
        with self.hand.database.write() as connection:
            row = self.hand.attempt(connection, ended.attempt_id)
            self.hand.end_row(connection, row)


def in_pool(name: str, pool: str) -> StepNode:
    return replace(node(name), pool=pool)


def reserving(name: str, *, cpu: float = 1.0, memory_bytes: int = 1) -> StepNode:
    return replace(node(name), resources=Resources(cpu, memory_bytes, 0))


def started(hand: HandWorker, plan: Plan, count: int) -> list[Run]:
    """Start a run a day, each a second after the one before."""
    found = []
    for day in days(count):
        found.append(hand.start(plan, day))
        hand.clock.advance(1)
    return found


class TestLimits:
    def test_no_more_attempts_of_a_pool_run_than_it_has_places_over_all_workers(self, hand: HandWorker) -> None:
        started(hand, plan_of(*(in_pool(f"s{n}", "warehouse") for n in range(4)), node("free")), 1)
        limits = Limits(pools={"warehouse": 2})
        one, other = OneClaimer(hand, limits=limits), OneClaimer(hand, limits=limits, name="other")
        assert one.claim() == ["2 s0", "2 s1", "2 free"]
        assert other.claim() == []
        one.end("2 s0")
        assert other.claim() == ["2 s2"]
        with hand.database.read() as connection:
            pools = connection.scalars(sa.select(attempt.c.pool).where(attempt.c.state == "running")).all()
        assert sorted(map(str, pools)) == ["None", "warehouse", "warehouse"]

    def test_a_pool_that_nobody_defined_is_told_and_holds_up_no_other_run(self, hand: HandWorker) -> None:
        hand.start(plan_of(in_pool("it", "warehose")), days(1)[0])
        hand.start(plan_of(node("it")), days(2)[1])
        claimer = OneClaimer(hand, limits=Limits(pools={"warehouse": 2}))
        assert claimer.claim() == ["3 it"]
        (told,) = claimer.told
        assert told.kind == "claim.failed"
        assert "The pool 'warehose' is not in podium.toml (it has warehouse)" in str(told.reason)

    def test_only_so_many_runs_of_a_pipeline_go_on_and_the_next_begins_when_one_has_ended(
        self, hand: HandWorker
    ) -> None:
        runs = started(hand, plan_of(node("a"), node("b", "a")), 3)
        claimer = OneClaimer(hand, limits=Limits(pipelines={"flow": 1}))
        assert claimer.claim() == ["2 a"]
        claimer.end("2 a")
        assert claimer.claim() == ["2 b"]
        assert [hand.run(each).state for each in runs] == ["running", "queued", "queued"]
        claimer.end("2 b")
        assert claimer.claim() == ["3 a"]

    def test_a_limit_of_a_model_counts_the_runs_of_all_its_pipelines(self, hand: HandWorker) -> None:
        one, two = days(2)
        hand.start(plan_of(node("a")), one)
        hand.clock.advance(1)
        hand.start(replace(plan_of(node("b")), pipeline="another"), two)
        claimer = OneClaimer(hand, limits=Limits(models={"model": 1}))
        assert claimer.claim() == ["2 a"]
        claimer.end("2 a")
        assert claimer.claim() == ["3 b"]


class TestOrder:
    def test_a_run_of_higher_priority_goes_first(self, hand: HandWorker) -> None:
        low, high = plan_of(node("it")), replace(plan_of(node("it")), priority=3, pipeline="urgent")
        for plan, day in zip((low, high), days(2), strict=True):
            hand.start(plan, day)
        claimer = OneClaimer(hand, capacity=replace(WIDE, slots=1))
        assert claimer.claim() == ["3 it"]
        claimer.end("3 it")
        assert claimer.claim() == ["2 it"]

    def test_however_many_runs_wait_the_first_of_them_are_known_in_rank(self, hand: HandWorker) -> None:
        plan = plan_of(node("it"))
        started(hand, plan, 5)
        hand.start(replace(plan, priority=1, pipeline="urgent"), days(1)[0])
        with hand.database.read() as connection:
            first = claims.open_runs(connection, hand.clock.now(), 3)
        assert [(each.pipeline, each.priority) for each in first] == [("urgent", 1), ("flow", 0), ("flow", 0)]

    def test_a_wide_run_and_a_later_one_share_the_slots(self, hand: HandWorker) -> None:
        wide, later = plan_of(*(node(f"w{n}") for n in range(5))), replace(plan_of(node("it")), pipeline="later")
        hand.start(wide, days(1)[0])
        hand.clock.advance(1)
        hand.start(later, days(2)[1])
        assert OneClaimer(hand, capacity=replace(WIDE, slots=3)).claim() == ["2 w0", "3 it", "2 w1"]


class TestResources:
    def test_attempts_reserve_together_no_more_than_there_is(self, hand: HandWorker) -> None:
        steps = [reserving("a", cpu=1.5), reserving("b", cpu=1.0), reserving("c", cpu=0.5)]
        started(hand, plan_of(*steps), 1)
        claimer = OneClaimer(hand, capacity=replace(WIDE, cpu=2.0))
        assert claimer.claim() == ["2 a", "2 c"]  # a small one does not wait for a large one
        claimer.end("2 a")
        assert claimer.claim() == ["2 b"]

    def test_memory_is_held_to_as_cores_are(self, hand: HandWorker) -> None:
        started(hand, plan_of(reserving("a", memory_bytes=600), reserving("b", memory_bytes=600)), 1)
        claimer = OneClaimer(hand, capacity=replace(WIDE, memory_bytes=1000))
        assert claimer.claim() == ["2 a"]
        assert claimer.claim() == []

    def test_what_has_waited_long_for_much_is_not_overtaken_for_ever(self, hand: HandWorker) -> None:
        first, second, third = days(3)
        claimer = OneClaimer(hand, capacity=replace(WIDE, cpu=2.0))
        hand.start(plan_of(reserving("small")), first)
        assert claimer.claim() == ["2 small"]
        hand.start(replace(plan_of(reserving("large", cpu=2.0)), pipeline="demanding"), second)
        hand.clock.advance(1)
        hand.start(plan_of(reserving("small")), third)
        assert claimer.claim() == ["4 small"]  # it fits in beside, and the large one does not yet
        claimer.end("4 small")
        hand.clock.advance(601)
        hand.start(plan_of(reserving("small")), days(4)[3])
        assert claimer.claim() == []  # what is free is kept for the large one
        claimer.end("2 small")
        assert claimer.claim() == ["3 large"]

    def test_a_step_is_claimed_by_a_worker_that_has_its_labels(self, hand: HandWorker) -> None:
        started(hand, plan_of(replace(node("it"), labels=("licensed", "near-data"))), 1)
        assert OneClaimer(hand, labels=["licensed"], name="one").claim() == []
        assert OneClaimer(hand, labels=["near-data", "licensed", "big"], name="two").claim() == ["2 it"]


class TestManyThatCannot:
    def test_runs_behind_hundreds_of_which_nothing_can_be_claimed_have_their_turn(
        self, hand: HandWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claiming, "_RUNS_KNOWN", 4)
        started(hand, plan_of(replace(node("it"), labels=("licensed",))), 6)
        hand.start(replace(plan_of(node("plain")), pipeline="behind"), days(1)[0])
        claimer = OneClaimer(hand)
        assert [claimer.claim() for _ in range(2)] == [[], ["2 plain"]]

    def test_two_workers_that_claim_of_two_pools_never_wait_crosswise(self, hand: HandWorker) -> None:
        plan = plan_of(in_pool("a", "one"), in_pool("b", "two"))
        started(hand, plan, 1)
        claimer = OneClaimer(hand, limits=Limits(pools={"one": 1, "two": 1}))
        with hand.database.write() as connection:
            assert try_lock(connection, "pool:two")  # as another worker has it that claims just now
            if not hand.database.is_sqlite:  # where nobody else can be in a transaction
                assert claimer.claim() == ["2 a"]
        assert claimer.claim() == (["2 b"] if not hand.database.is_sqlite else ["2 a", "2 b"])

    def test_a_worker_that_drains_claims_nothing(self, hand: HandWorker) -> None:
        started(hand, plan_of(node("a"), node("b")), 1)
        claimer = OneClaimer(hand, capacity=replace(WIDE, slots=1))
        assert claimer.claim() == ["2 a"]
        claimer.close()
        assert claimer.claim() == []


class TestBeingTold:
    def test_what_others_commit_is_noticed_and_what_one_commits_oneself_is_not(self, hand: HandWorker) -> None:
        mine = Session(hand.database)
        assert mine.others_wrote()
        assert not mine.others_wrote()
        with hand.database.write() as connection:
            wake_workers(connection)
            connection.execute(run.update().values(reason=None))
            hand.worker_in(connection, "noticed")
        assert is_readable(mine, within_seconds=PATIENCE_SECONDS)
        assert mine.others_wrote()
        assert not mine.others_wrote()
        with mine.write() as connection:
            hand.worker_in(connection, "own")
        assert not mine.others_wrote()
        mine.close()

    def test_an_idle_worker_is_woken_by_what_is_committed_and_by_nothing_else(self, hand: HandWorker) -> None:
        mine = Session(hand.database)
        assert mine.others_wrote()
        assert not is_readable(mine)
        with hand.database.write() as connection:
            wake_workers(connection)
            assert not is_readable(mine)
        assert is_readable(mine, within_seconds=PATIENCE_SECONDS)
        assert mine.others_wrote() == (not hand.database.is_sqlite)  # there, only a change of the data counts
        assert not is_readable(mine)
        hand.start(CHAIN)
        assert is_readable(mine, within_seconds=PATIENCE_SECONDS)
        assert mine.others_wrote()
        mine.close()

    def test_what_is_rolled_back_wakes_nobody(self, hand: HandWorker) -> None:
        mine = Session(hand.database)
        assert mine.others_wrote()
        with hand.database.write() as connection:
            wake_workers(connection)
            connection.rollback()
        assert not is_readable(mine)
        mine.close()

    def test_other_workers_are_told_when_one_step_makes_several_ready(self, hand: HandWorker) -> None:
        run = hand.start(plan_of(node("a"), node("b", "a"), node("c", "b"), node("d", "b")))
        hand.worker("w")
        mine = Session(hand.database)
        (claim,) = hand.claim(run)
        assert mine.others_wrote()
        hand.end(claim)
        assert not is_readable(mine)
        (claim,) = hand.claim(run)
        mine.others_wrote()
        hand.end(claim)
        assert is_readable(mine, within_seconds=PATIENCE_SECONDS)
        mine.close()


def is_readable(session: Session, within_seconds: float = 0.0) -> bool:
    """Whether a worker that waits is woken; PostgreSQL tells a moment after the commit."""
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN)
    return bool(poll.poll(within_seconds * 1000))
