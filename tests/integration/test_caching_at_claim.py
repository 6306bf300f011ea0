"""Equal steps at once, how old a result may be, `--no-cache`, the declared environment, and what was saved."""

import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from podium.dag.plan import RESULT, Constant, Plan, Reference, StepNode
from podium.db.engine import Database
from podium.db.schema import artifact, saving, step_run
from podium.execution import claims, outputs, queries
from podium.execution.artifacts import Artifact
from podium.execution.claims import Claim
from podium.execution.entities import AttemptEnd, Run
from podium.execution.reads import Read
from podium.finops import savings
from podium.finops.costs import run_cost
from podium.finops.reconciliation import reconcile
from podium.finops.reports import report
from podium.wiring.documents import run_document
from podium.wiring.runs import serving
from tests.execution_world import (
    ACTOR,
    USED,
    FlowProject,
    HandWorker,
    check_books,
    days,
    everything,
    json_artifact,
    node,
    plan_of,
)

DAYS = days(4)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> HandWorker:
    made = HandWorker(database, tmp_path)
    made.worker("w")
    made.worker("v")
    return made


def cached(name: str = "train", *after: str, **options: Any) -> StepNode:
    return replace(node(name, *after), cache=True, **options)


TRAIN = plan_of(cached(), node("report", "train"))


def started(world: HandWorker, plan: Plan = TRAIN, day: int = 0, **options: Any) -> Run:
    return world.start(plan, DAYS[day], again=True, **options)


def computed(world: HandWorker, plan: Plan = TRAIN, day: int = 0, **options: Any) -> Run:
    """A run of `plan` whose steps were all executed or taken over."""
    run = started(world, plan, day, **options)
    while claims := world.claim(run):
        for claim in claims:
            world.end(claim)
    return run


def names(claims: list[Claim]) -> list[str]:
    return [claim.step for claim in claims]


def steps(world: HandWorker, run: Run) -> dict[str, dict[str, Any]]:
    with world.database.read() as connection:
        document = run_document(connection, run.run_id, world.clock.now())
    return {step["name"]: step for step in document["steps"] if step["map_index"] is None}


class TestEqualStepsAtOnce:
    def test_one_computes_and_the_other_takes_over_what_it_made(self, world: HandWorker) -> None:
        first, second = started(world), started(world, day=1)
        (train,) = world.claim(first, "w")
        assert world.claim(second, "v") == []
        assert steps(world, second)["train"]["reason"] == f"waits for the equal step train of run {first.run_id}"
        with world.database.read() as connection:
            assert claims.open_runs(connection, world.clock.now(), 10) == []  # nobody is handed a slot to wait in
        world.end(train)
        assert names(world.claim(second, "v")) == ["report"]  # at once: in the claim that takes over
        assert steps(world, second)["train"]["cached"]
        assert "step.cached train" in world.events(second)
        check_books(world.database)

    @pytest.mark.parametrize("end", ["failed", "lost"])
    def test_the_next_computes_where_the_first_failed(self, world: HandWorker, end: Any) -> None:
        first, second = started(world), started(world, day=1)
        (train,) = world.claim(first, "w")
        if end == "failed":
            world.end(train, "failed")
        else:
            world.clock.advance(60)
            world.rescue(besides="v")
        (train,) = world.claim(second, "v")
        assert world.claim(first, "w") == []
        world.end(train)
        if end == "lost":
            assert names(world.claim(first, "w")) == ["report"]
            assert steps(world, first)["train"]["cached"]
        check_books(world.database)

    def test_a_run_that_waits_for_nothing_else_ends_with_the_other(self, world: HandWorker) -> None:
        alone = plan_of(cached())
        first, second = started(world, alone), started(world, alone, 1)
        (train,) = world.claim(first)
        assert world.claim(second) == []
        world.end(train)
        assert world.claim(second) == []
        assert (world.run(second).state, world.states(second)) == ("succeeded", {"train": "succeeded"})
        check_books(world.database)

    def test_equal_items_of_one_step_are_computed_once(self, world: HandWorker) -> None:
        items = [1, 2, 1, 1, 2]
        plan = plan_of(replace(node("fit", over=Constant(items)), cache=True), node("choose", "fit"))
        run = started(world, plan)
        claims = world.claim(run, limit=4)
        assert [claim.map_index for claim in claims] == [0, 1]
        world.end(claims[0], result='"one"')
        assert world.claim(run, limit=4) == []
        assert {f"step.cached fit[{n}]" for n in (2, 3)} <= set(world.events(run))
        world.end(claims[1], result='"two"')
        assert names(world.claim(run, limit=4)) == ["choose"]
        assert world.states(run)["fit"] == "succeeded"
        with world.database.read() as connection:
            read = Read("fit", RESULT, None)
            found = outputs.stored(connection, run.run_id, plan, [read])[read]
        assert isinstance(found, tuple)
        assert found == tuple(json_artifact('"one"' if item == 1 else '"two"') for item in items)
        check_books(world.database)

    def test_a_slot_is_not_left_idle_for_equal_items(self, world: HandWorker) -> None:
        plan = plan_of(replace(node("fit", over=Constant([1, 1, 1, 2])), cache=True), node("other"))
        assert [(claim.step, claim.map_index) for claim in world.claim(started(world, plan), limit=3)] == [
            ("fit", 0),
            ("fit", 3),
            ("other", -1),
        ]

    def test_two_workers_that_claim_equal_steps_at_once_execute_one(self, world: HandWorker) -> None:
        for day in range(3):
            plan = plan_of(cached(), code=f"c{day}")
            runs = [started(world, plan, n) for n in (0, 1)]
            at_once, found = threading.Barrier(2), dict[str, list[Claim]]()

            def claim(run: Run, worker: str, at_once: Any = at_once, found: Any = found) -> None:
                at_once.wait(10)
                found[worker] = world.claim(run, worker)

            threads = [threading.Thread(target=claim, args=pair) for pair in zip(runs, "wv", strict=True)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            (train,) = [claim for claims in found.values() for claim in claims]
            world.end(train)
            assert [world.claim(run) for run in runs] == [[], []]
            assert [world.run(run).state for run in runs] == ["succeeded", "succeeded"]
        check_books(world.database)

    def test_whoever_is_being_claimed_this_instant_is_left_alone(self, world: HandWorker) -> None:
        first, second = started(world), started(world, day=1)
        if world.database.is_sqlite:  # where a claim waits for the other's commit
            return
        with world.database.write() as connection:
            plan = world.plan(connection, first)
            (wanted,) = claims.candidates(connection, first.run_id, world.clock.now(), 1)
            assert world.progress.settle_claimable(connection, plan, wanted, world.clock.now()) == "execute"
            assert world.claim(second, "v") == []
        assert names(world.claim(second, "v")) == ["train"]


class TestHowOldAResultMayBe:
    PLAN = plan_of(cached(cache_ttl_seconds=3600.0))

    def test_a_result_is_taken_over_up_to_its_age_by_when_it_was_made(self, world: HandWorker) -> None:
        first = computed(world, self.PLAN)
        world.clock.advance(3600)
        second = computed(world, self.PLAN, 1)
        assert steps(world, second)["train"]["cached"]
        world.clock.advance(1)  # the take-over made it no younger
        third = computed(world, self.PLAN, 2)
        assert not steps(world, third)["train"]["cached"]
        assert steps(world, third)["train"]["cache_miss"] == {"compared_with": second.run_id, "differs": ["age"]}
        assert first.run_id != third.run_id
        world.clock.advance(3600)
        assert steps(world, computed(world, self.PLAN, 3))["train"]["cached"]

    def test_a_result_whose_artifact_was_removed_is_computed(self, world: HandWorker) -> None:
        computed(world)
        with world.database.write() as connection:
            connection.execute(artifact.update().values(removed_at=world.clock.now()))
        assert not steps(world, computed(world))["train"]["cached"]


class TestWithoutCache:
    def test_a_run_without_cache_computes_and_later_ones_take_over_what_it_made(self, world: HandWorker) -> None:
        computed(world)
        world.clock.advance(1)
        anew = computed(world, uses_cache=False)
        assert not steps(world, anew)["train"]["cached"]
        assert steps(world, anew)["train"]["cache_miss"]["differs"] == ["no cache"]
        later = computed(world)
        assert steps(world, later)["train"]["cached"]
        with world.database.read() as connection:
            (cached_event,) = [e for e in queries.event_rows(connection, later.run_id) if e.kind == "step.cached"]
        assert cached_event.reason == f"the same as in run {anew.run_id}"

    def test_its_own_equal_items_are_computed_once(self, world: HandWorker) -> None:
        plan = plan_of(replace(node("fit", over=Constant([1, 1])), cache=True))
        computed(world, plan)
        run = started(world, plan, uses_cache=False)
        (fit,) = world.claim(run)
        world.end(fit)
        assert world.claim(run) == []
        assert world.run(run).state == "succeeded"

    def test_an_open_run_that_is_asked_for_again_without_cache_computes(self, world: HandWorker) -> None:
        plan = plan_of(node("load"), cached("train", "load"))
        computed(world, plan)
        world.clock.advance(1)
        run = started(world, plan)
        world.start(plan, DAYS[0], uses_cache=False)
        world.end(world.claim(run)[0])
        assert names(world.claim(run)) == ["train"]

    def test_a_resumed_run_may_leave_the_cache(self, world: HandWorker) -> None:
        plan = plan_of(node("load"), cached("train", "load"))
        computed(world, plan)
        run = started(world, plan)
        world.end(world.claim(run)[0], "failed")
        world.service.resume(run.run_id, plan, reason="again", uses_cache=False)
        world.end(world.claim(run)[0])
        assert names(world.claim(run)) == ["train"]


class TestTheDeclaredEnvironment:
    PLAN = plan_of(cached(cache_environment=("pytest", "$REGION")))

    def test_another_environment_computes_and_the_same_takes_over(
        self, world: HandWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REGION", "north")
        computed(world, self.PLAN)
        assert steps(world, computed(world, self.PLAN))["train"]["cached"]
        monkeypatch.setenv("REGION", "south")
        south = computed(world, self.PLAN)
        assert steps(world, south)["train"]["cache_miss"]["differs"] == ["environment"]

    def test_the_worker_that_executes_says_what_it_is(self, world: HandWorker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REGION", "of the command")
        left_to_a_worker = started(world, self.PLAN)
        monkeypatch.setenv("REGION", "of the worker")
        world.end(world.claim(left_to_a_worker)[0])
        assert steps(world, computed(world, self.PLAN))["train"]["cached"]
        monkeypatch.setenv("REGION", "of the command")
        assert not steps(world, computed(world, self.PLAN))["train"]["cached"]

    def test_items_are_taken_over_by_whoever_claims_them_however_many(
        self, world: HandWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REGION", "north")
        monkeypatch.setattr("podium.execution.caching._TOGETHER", 5)
        fit = replace(node("fit", over=Constant([*range(12)])), cache=True, cache_environment=("$REGION",))
        plan = plan_of(fit)
        first = started(world, plan)
        for claim in world.claim(first, limit=1000):
            world.end(claim)
        second = started(world, plan, 1)
        assert world.claim(second, limit=2) == []
        assert world.run(second).state == "succeeded"


class TestTheCode:
    def test_the_steps_own_code_decides_not_the_projects(self, world: HandWorker) -> None:
        computed(world, plan_of(cached(code_digest="own"), code="c0"))
        again = computed(world, plan_of(cached(code_digest="own"), code="c1"))
        assert steps(world, again)["train"]["cached"]
        other = computed(world, plan_of(cached(code_digest="other"), code="c1"))
        assert steps(world, other)["train"]["cache_miss"]["differs"] == ["code"]

    @pytest.mark.parametrize(
        ("result", "brings_code"),
        [
            (json_artifact("[1, 2]"), False),
            (Artifact("a" * 64, "arrow", 10_000), False),
            (Artifact("b" * 64, "numpy", 10_000), False),
            (json_artifact('{"$": "dataclass", "type": "flow:Row", "fields": {}}'), True),
            (Artifact("c" * 64, "cloudpickle", 10_000), True),
            (Artifact("d" * 64, "json", 10_000), True),  # nobody reads it to tell
        ],
    )
    def test_an_input_with_a_class_counts_with_the_code_of_the_steps_before(
        self, world: HandWorker, result: Artifact, *, brings_code: bool
    ) -> None:
        def plan(upstream: str | None, code: str) -> Plan:
            train = cached(inputs={"rows": Reference("load")}, code_digest="own", upstream_code_digest=upstream)
            return plan_of(node("load"), train, code=code)

        def run(plan: Plan) -> bool:
            begun = started(world, plan)
            (load,) = world.claim(begun)
            with world.database.write() as connection:
                row = queries.running_attempt(connection, load.attempt_id)
                assert row is not None
                made = AttemptEnd("succeeded", USED, {RESULT: result})
                world.progress.end(connection, row, plan, made, world.clock.now())
            for claim in world.claim(begun):
                world.end(claim)
            return bool(steps(world, begun)["train"]["cached"])

        assert not run(plan("loads", "c0"))
        assert run(plan("loads", "c1"))
        assert run(plan("loads otherwise", "c1")) is not brings_code
        run(plan(None, "c1"))
        assert run(plan(None, "c2")) is not brings_code


class TestWhatWasSaved:
    def test_it_is_what_the_attempt_cost_that_made_the_result(self, world: HandWorker) -> None:
        first = computed(world)
        second, third = computed(world), computed(world)
        with world.database.read() as connection:
            cost = run_cost(connection, first.run_id)
            saved = run_cost(connection, second.run_id).saved
            all_saved = report(connection).saved
            rows = connection.execute(sa.select(saving)).all()
            by_owner = savings.saved_by_owner(connection)
        train = cost.steps["train"].complete
        assert train is not None
        assert train > 0
        assert (saved.cost.complete, saved.step_runs, saved.wall_seconds) == (train, 1, USED.wall_seconds)
        assert all_saved.cost.complete == 2 * train
        assert by_owner == {("research", "model", "dev", "cache"): 2 * train}
        assert {row.source_attempt_id for row in rows} == {cost.attempts[0].attempt_id}
        assert Decimal(steps(world, third)["train"]["saved_usd"]) == train
        assert steps(world, first)["train"]["saved_usd"] is None
        check_books(world.database)

    def test_a_cached_step_without_a_saving_is_told(self, world: HandWorker) -> None:
        computed(world)
        computed(world)
        with world.database.write() as connection:
            connection.execute(saving.delete())
        with world.database.read() as connection:
            (check,) = [check for check in reconcile(connection).checks if not check.ok]
        assert (check.name, int(check.left), int(check.right)) == ("cached steps with a saving", 1, 0)

    def test_a_period_counts_what_was_saved_in_it(self, world: HandWorker) -> None:
        computed(world)
        computed(world)
        today = world.clock.now().date()
        with world.database.read() as connection:
            assert report(connection, start=today, end=today + timedelta(days=1)).saved.step_runs == 1
            assert report(connection, start=today + timedelta(days=1)).saved.step_runs == 0


def test_a_miss_names_the_inputs_that_differ(world: HandWorker) -> None:
    def plan(depth: int) -> Plan:
        return plan_of(node("load"), cached(inputs={"rows": Reference("load"), "depth": Constant(depth)}))

    first = computed(world, plan(1))
    assert steps(world, first)["train"]["cache_miss"] == {"compared_with": None, "differs": []}
    second = computed(world, plan(2))
    assert steps(world, second)["train"]["cache_miss"] == {
        "compared_with": first.run_id,
        "differs": ["input depth"],
    }
    hit = computed(world, plan(2))
    assert steps(world, hit)["train"]["cache_miss"] is None
    assert steps(world, hit)["train"]["cache_key"] == steps(world, second)["train"]["cache_key"]


def test_a_database_refuses_two_equal_steps_that_run(world: HandWorker) -> None:
    first, second = started(world), started(world, day=1)
    world.claim(first)
    of_second = step_run.update().where(step_run.c.run_id == second.run_id, step_run.c.name == "train")
    with pytest.raises(sa.exc.IntegrityError), world.database.write() as connection:
        connection.execute(of_second.values(state="running"))


def test_a_claim_that_is_cut_short_took_nothing_over(world: HandWorker) -> None:
    first, second = started(world), started(world, day=1)
    (train,) = world.claim(first)
    assert world.claim(second) == []
    world.end(train)
    before = everything(world.database)
    with world.database.engine.connect() as connection:
        (wanted,) = claims.candidates(connection, second.run_id, world.clock.now(), 1)
        plan = world.plan(connection, second)
        assert world.progress.settle_claimable(connection, plan, wanted, world.clock.now()) == "taken over"
        connection.rollback()
    assert everything(world.database) == before
    assert names(world.claim(second)) == ["report"]
    check_books(world.database)


FLOW = """
import helpers
LIMIT = 3

@step(cache=True)
def train(rows: list[int]) -> list[int]:
    Path("computed").open("a").write("train ")
    return [helpers.scale(row) for row in rows if row < LIMIT]

@step
def report(rows: list[int]) -> str:
    return f"{len(rows)} rows"
---
def flow(day: Interval) -> None:
    report(train([1, 2, 3]))
"""


def test_a_step_is_computed_again_when_its_code_changed_and_not_when_another_did(tmp_path: Path) -> None:
    flow = FlowProject(tmp_path)

    def cached_then(source: str, helper: str = "def scale(row): return 2 * row") -> tuple[bool, Any]:
        (tmp_path / "pipelines" / "helpers.py").write_text(f"{helper}\n")
        flow.write(source)
        run = flow.project.execution.start(flow.plan(), DAYS[0], parameters={}, actor=ACTOR, again=True)
        document = flow.execute(run)
        assert document["state"] == "succeeded"
        return document["steps"][0]["cached"], flow.value(document, "train")

    assert cached_then(FLOW) == (False, [2, 4])
    assert cached_then(FLOW) == (True, [2, 4])
    assert cached_then(FLOW.replace('rows"', 'of them"')) == (True, [2, 4])
    assert cached_then(FLOW, "def scale(row): return 2 * row  # doubled") == (True, [2, 4])
    assert cached_then(FLOW, "def scale(row): return 3 * row") == (False, [3, 6])
    assert cached_then(FLOW.replace("LIMIT = 3", "LIMIT = 2")) == (False, [2])
    assert (tmp_path / "computed").read_text() == "train " * 3


def test_a_worker_goes_on_with_a_waiting_run_at_once_and_computes_equal_items_once(tmp_path: Path) -> None:
    flow = FlowProject(tmp_path)
    flow.write("""
@step(cache=True)
def fit(item: int) -> int:
    with Path("computed").open("a") as file:
        file.write(f"{item} ")
    return 10 * item

@step
def total(fitted: list[int]) -> int:
    return sum(fitted)
---
def flow(day: Interval) -> None:
    total(fit.map([1, 2, 1, 2, 2]))
""")
    runs = [flow.project.execution.start(flow.plan(), day, parameters={}, actor=ACTOR) for day in DAYS[:3]]
    with serving(flow.project, lambda _: None) as worker:
        worker.serve(lambda: all(is_ended(flow, run) for run in runs))
    documents = [flow.document(run) for run in runs]
    assert [document["state"] for document in documents] == ["succeeded"] * 3
    assert [flow.value(document, "total") for document in documents] == [80] * 3
    assert sorted((tmp_path / "computed").read_text().split()) == ["1", "2"]


def is_ended(flow: FlowProject, run: Run) -> bool:
    with flow.project.database.read() as connection:
        return not queries.is_open(connection, run.run_id)
