"""Steps with `cache=True`, on both databases."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from podium.dag.interval import Interval
from podium.dag.plan import Constant, Input, IntervalInput, Plan, Reference
from podium.db.engine import Database
from podium.execution import queries
from podium.wiring.documents import run_document
from tests.execution_world import DAY, HandWorker, node, plan_of

NEXT_DAY = Interval.parse("2026-11-03", "UTC")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> HandWorker:
    made = HandWorker(database, tmp_path)
    made.worker("w")
    return made


def cached(name: str, inputs: Mapping[str, Input]) -> Plan:
    return plan_of(node("load"), replace(node(name), inputs=inputs, cache=True))


READS_LOAD = {"rows": Reference("load")}


def execute(world: HandWorker, plan: Plan, interval: Interval = DAY, result: str = "1") -> dict[str, str]:
    """Run a plan once more; return how each step ended."""
    run = world.start(plan, interval, again=True)
    while claims := world.claim(run):
        for claim in claims:
            world.end(claim, result=result)
    with world.database.read() as connection:
        document = run_document(connection, run.run_id, world.clock.now())
    assert document["state"] == "succeeded"
    return {
        step["name"]: "cached" if step["cached"] else f"{len(step['attempts'])} attempt" for step in document["steps"]
    }


def test_an_equal_step_is_taken_over_and_costs_nothing(world: HandWorker) -> None:
    plan = cached("train", READS_LOAD)
    assert execute(world, plan) == {"load": "1 attempt", "train": "1 attempt"}
    assert execute(world, plan) == {"load": "1 attempt", "train": "cached"}
    assert execute(world, plan, NEXT_DAY) == {"load": "1 attempt", "train": "cached"}


def test_a_run_of_cached_steps_alone_ends_at_once(world: HandWorker) -> None:
    plan = plan_of(replace(node("load"), cache=True))
    execute(world, plan)
    run = world.start(plan, again=True)
    assert run.state == "succeeded"
    assert run.outcome == "none"


def test_other_input_is_computed(world: HandWorker) -> None:
    plan = cached("train", READS_LOAD)
    execute(world, plan, result="1")
    assert execute(world, plan, result="2")["train"] == "1 attempt"


def test_another_constant_is_computed(world: HandWorker) -> None:
    execute(world, cached("train", {**READS_LOAD, "depth": Constant(3)}))
    assert execute(world, cached("train", {**READS_LOAD, "depth": Constant(4)}))["train"] == "1 attempt"
    assert execute(world, cached("train", {**READS_LOAD, "depth": Constant(3)}))["train"] == "cached"


def test_another_interval_is_computed_by_a_step_that_reads_it(world: HandWorker) -> None:
    plan = cached("train", {**READS_LOAD, "day": IntervalInput()})
    execute(world, plan)
    assert execute(world, plan, NEXT_DAY)["train"] == "1 attempt"
    assert execute(world, plan)["train"] == "cached"


def test_other_code_is_computed(world: HandWorker) -> None:
    plan = cached("train", READS_LOAD)
    execute(world, plan)
    assert execute(world, replace(plan, code_digest="f" * 64))["train"] == "1 attempt"


def test_what_became_ready_while_the_code_changed_is_known_by_the_new_code(world: HandWorker) -> None:
    old = cached("train", READS_LOAD)
    new = replace(old, modules={"pipelines/flow.py": "new"}, code_digest="new")
    run = world.start(old)
    (load,) = world.claim(run)
    with world.database.read() as connection:
        row = queries.running_attempt(connection, load.attempt_id)
    assert row is not None
    world.start(new)  # somebody else asks for the run, with other code
    with world.database.write() as connection:
        world.end_row(connection, row)
    (train,) = world.claim(run)
    world.end(train)
    assert execute(world, old) == {"load": "1 attempt", "train": "1 attempt"}
    assert execute(world, new) == {"load": "1 attempt", "train": "cached"}


def test_what_was_resumed_as_an_uncached_step_is_not_taken_over(world: HandWorker) -> None:
    old = cached("train", READS_LOAD)
    new = replace(
        old, steps=(old.steps[0], replace(old.steps[1], cache=False)), modules={"x": "new"}, code_digest="new"
    )
    run = world.start(old)
    world.end(world.claim(run)[0])
    world.end(world.claim(run)[0], "failed")
    world.service.resume(run.run_id, new, reason="repaired")
    world.end(world.claim(run)[0])
    assert execute(world, old) == {"load": "1 attempt", "train": "1 attempt"}


def test_a_failed_step_is_never_taken_over(world: HandWorker) -> None:
    plan = plan_of(replace(node("load"), cache=True))
    run = world.start(plan)
    (claim,) = world.claim(run)
    world.end(claim, "failed")
    assert execute(world, plan) == {"load": "1 attempt"}


def test_what_reads_a_cached_step_gets_its_output(world: HandWorker) -> None:
    plan = plan_of(
        replace(node("load"), cache=True),
        replace(node("train", when=("load.result",)), inputs=READS_LOAD),
    )
    execute(world, plan, result="true")
    assert execute(world, plan, result="true") == {"load": "cached", "train": "1 attempt"}
