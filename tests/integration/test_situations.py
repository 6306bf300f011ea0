"""What an open run waits for, read from the database: its steps, and which workers live and are free."""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from podium.dag.plan import Reference
from podium.db.engine import Database
from podium.db.schema import step_run, worker
from podium.execution import workers
from podium.execution.claims import Limits
from podium.execution.entities import Run
from podium.execution.items import item_name
from podium.execution.liveness import host_name
from podium.execution.situations import open_workers, waits_of_run
from tests.execution_world import CHAIN, HandWorker, days, node, plan_of


@pytest.fixture
def world(database: Database, tmp_path: Path) -> HandWorker:
    return HandWorker(database, tmp_path)


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Path]:
    """A lock file that a living process holds: this one."""
    path = tmp_path / "w.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield path
    os.close(descriptor)


def waits(world: HandWorker, run: Run) -> dict[str, str]:
    with world.database.read() as connection:
        found = waits_of_run(connection, run.run_id, world.clock.now())
    return {item_name(each.step, each.map_index): each.reason for each in found}


def update_worker(world: HandWorker, **values: object) -> None:
    with world.database.write() as connection:
        connection.execute(worker.update().values(**values))


def test_a_run_that_nobody_executes_waits_for_a_worker(world: HandWorker) -> None:
    assert waits(world, world.start(CHAIN)) == {
        "a": "no worker is running; `podium worker` starts one",
        "b": "waits for a (ready)",
        "c": "waits for b (waiting)",
    }


def test_what_ended_waits_for_nothing(world: HandWorker) -> None:
    run = world.start(CHAIN)
    world.worker("w")
    (claim,) = world.claim(run)
    world.end(claim)
    assert list(waits(world, run)) == ["b", "c"]
    world.service.cancel(run.run_id, reason="enough")
    assert waits(world, run) == {}


def test_it_tells_who_executes_an_attempt_and_when_a_failed_one_is_tried_again(world: HandWorker) -> None:
    run = world.start(plan_of(node("a", retries=3)))
    world.worker("w")
    (claim,) = world.claim(run)
    assert waits(world, run) == {"a": "attempt 1 is executed by process 4242 on elsewhere"}
    world.end(claim, "failed")
    assert waits(world, run) == {"a": "waits until 2026-11-21 00:00:01 UTC, then is tried again (attempt 2 of 4)"}
    world.clock.advance(1)
    assert waits(world, run) == {"a": "a worker takes it next"}


def test_a_worker_elsewhere_counts_as_dead_when_its_lease_is_over_or_it_was_silent_for_a_minute(
    world: HandWorker,
) -> None:
    run = world.start(CHAIN)
    world.worker("w")
    assert waits(world, run)["a"] == "a worker takes it next"
    world.clock.advance(61)
    assert waits(world, run)["a"] == "no worker is running; `podium worker` starts one"
    update_worker(world, heartbeat_at=world.clock.now())
    assert waits(world, run)["a"] == "a worker takes it next"
    world.claim(run)
    world.clock.advance(61)
    assert waits(world, run)["a"].startswith("attempt 1 is lost: its worker, process 4242 on elsewhere, died")


def test_a_worker_of_this_host_lives_as_long_as_it_holds_its_lock(world: HandWorker, lock: Path) -> None:
    run = world.start(CHAIN)
    with world.database.write() as connection:
        workers.start_worker(connection, "w", host_name(), 4242, str(lock), world.clock.now() - timedelta(days=9))
    assert waits(world, run)["a"] == "a worker takes it next"
    free = lock.with_name("free.lock")
    free.touch()
    update_worker(world, lock_path=str(free))
    assert waits(world, run)["a"] == "no worker is running; `podium worker` starts one"


def test_a_worker_that_ended_is_none_and_one_that_drains_takes_nothing(world: HandWorker) -> None:
    run = world.start(CHAIN)
    world.worker("w")
    update_worker(world, draining_at=world.clock.now())
    assert waits(world, run)["a"] == "process 4242 on elsewhere is ending; `podium worker` starts another"
    update_worker(world, ended_at=world.clock.now())
    assert waits(world, run)["a"] == "no worker is running; `podium worker` starts one"


def test_a_slot_that_another_run_has_is_named_and_a_command_s_worker_takes_its_own_runs_only(
    world: HandWorker,
) -> None:
    first, second = (world.start(CHAIN, day) for day in days(2))
    world.worker("w")
    update_worker(world, slots=1)
    world.claim(first)
    assert waits(world, second)["a"] == f"the one slot is busy with a of run {first.run_id}"
    update_worker(world, for_any_run=False)
    assert waits(world, second)["a"] == "no worker is running; `podium worker` starts one"


def test_what_limits_keep_waiting_is_told_with_who_has_reached_them(world: HandWorker) -> None:
    pooled = plan_of(replace(node("it"), pool="gpus"))
    first, second = (world.start(pooled, day) for day in days(2))
    world.worker("w")
    world.claim(first)

    def reason(limits: Limits) -> str:
        with world.database.read() as connection:
            (found,) = waits_of_run(connection, second.run_id, world.clock.now(), limits)
        return found.reason

    assert reason(Limits(pools={"gpus": 2}, pipelines={"flow": 2})) == "a worker takes it next"
    assert reason(Limits(pools={"gpus": 1})) == f"the pool gpus is full: it of run {first.run_id} (1 at once)"
    behind = f"its run is queued behind run {first.run_id} (limit 1 of"
    assert reason(Limits(pipelines={"flow": 1})) == f"{behind} pipeline flow)"
    assert reason(Limits(models={"model": 1})) == f"{behind} model model)"


def test_of_a_mapped_step_the_whole_waits_for_its_items(world: HandWorker) -> None:
    run = world.start(plan_of(node("load"), node("fit", over=Reference("load"))))
    world.worker("w")
    (claim,) = world.claim(run)
    world.end(claim, result="[1, 2, 3]")
    first, *_ = world.claim(run, limit=1)
    world.end(first)
    found = waits(world, run)
    assert found["fit"] == "waits for 2 items of it"
    assert [name for name in found if name.startswith("fit[")] == ["fit[1]", "fit[2]"]


def test_a_cancel_that_is_on_record_is_what_keeps_the_rest(world: HandWorker) -> None:
    run = world.start(CHAIN)
    world.worker("w")
    world.claim(run)
    world.service.cancel(run.run_id, reason="enough")
    assert waits(world, run) == {
        "a": "attempt 1 is being ended by process 4242 on elsewhere: the run is being cancelled (enough)",
    }


def test_a_held_step_waits_for_a_person(world: HandWorker) -> None:
    run = world.start(CHAIN)
    until = world.clock.now() + timedelta(hours=1)
    with world.database.write() as connection:
        connection.execute(step_run.update().where(step_run.c.name == "a").values(state="held", decide_by=until))
    assert waits(world, run)["a"].startswith("held for approval until 2026-11-21 01:00:00 UTC, then rejected: `podium")
    assert waits(world, run)["b"] == "waits for a (held)"


def test_a_worker_is_seen_with_what_it_has_and_does(world: HandWorker) -> None:
    run = world.start(CHAIN)
    world.worker("w")
    update_worker(world, slots=4, cpu=2.0, memory_bytes=2**32, gpu=0)
    world.claim(run)
    with world.database.read() as connection:
        (seen,) = open_workers(connection, world.clock.now())
    assert (seen.alive, seen.slots, seen.cpu, seen.memory_bytes, seen.gpu) == (True, 4, 2.0, 2**32, 0)
    assert seen.busy == ((run.run_id, "a"),)
