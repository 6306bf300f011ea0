"""`podium gc` removes what nothing needs, and nothing else; on both databases."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from podium.dag.plan import IntervalInput, Reference
from podium.db.engine import Database
from podium.db.schema import attempt, output
from podium.errors import ArtifactError, Conflict
from podium.execution import lineage, outputs, queries, remains, retention
from podium.execution.artifacts import Artifact
from podium.execution.collection import Collected
from podium.execution.entities import Run
from podium.execution.liveness import WorkerLock
from tests.collection_world import RETENTION, CollectionWorld
from tests.execution_world import DAY, HandWorker, days, node, plan_of

CHAIN = plan_of(node("make"), node("use", "make"))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> CollectionWorld:
    return CollectionWorld(HandWorker(database, tmp_path), tmp_path)


def succeeded(world: CollectionWorld, day: int, *texts: str) -> tuple[Run, list[Artifact]]:
    """A run of a day whose two steps made these."""
    run = world.hand.start(CHAIN, days(day + 1)[day])
    made = []
    for text in texts:
        (claim,) = world.hand.claim(run)
        made.append(world.store(text))
        world.end(claim, made[-1])
    return run, made


def digests(*artifacts: Artifact) -> set[str]:
    return {each.digest for each in artifacts}


def removed_by(found: Collected) -> set[str]:
    return {blob.digest for blob in found.removed}


class TestWhatGoes:
    def test_what_an_ended_run_made_goes_when_the_retention_is_over(self, world: CollectionWorld) -> None:
        _, made = succeeded(world, 0, "a", "b")
        world.later(90)
        assert removed_by(world.collect()) == set()
        world.later(0.1)
        assert removed_by(world.collect(dry_run=True)) == digests(*made)
        assert (world.files(), world.removed()) == (digests(*made), set())
        assert removed_by(world.collect()) == digests(*made)
        assert (world.files(), world.removed()) == (set(), digests(*made))
        assert removed_by(world.collect()) == set()

    def test_a_file_that_no_attempt_has_on_record_goes_after_a_day(self, world: CollectionWorld) -> None:
        lost = world.store("lost")
        world.later(0.9)
        assert world.collect().unrecorded == []
        world.later(0.2)
        assert [blob.digest for blob in world.collect().unrecorded] == [lost.digest]
        assert world.files() == set()

    def test_what_was_marked_when_a_collection_was_killed_goes_with_the_next(self, world: CollectionWorld) -> None:
        _, (made, _) = succeeded(world, 0, "a", "b")
        world.later(91)
        path, kept = world.path(made.digest), world.path(made.digest).read_bytes()
        world.collect()
        path.write_bytes(kept)
        world.later(100 * 365)  # the file is of today
        assert removed_by(world.collect()) == {made.digest}
        assert world.files() == set()

    def test_values_in_rows_stay(self, world: CollectionWorld) -> None:
        run = world.hand.start(plan_of(node("make")))
        (claim,) = world.hand.claim(run)
        world.hand.end(claim, result="7")
        world.later(1000)
        assert world.collect().kept == {}
        assert world.removed() == set()


class TestWhatStays:
    def test_what_an_open_run_made(self, world: CollectionWorld) -> None:
        run = world.hand.start(CHAIN)
        (claim,) = world.hand.claim(run)
        made = world.store("a")
        world.end(claim, made)
        world.later(1000)
        found = world.collect()
        assert (found.kept, found.kept_bytes) == (
            {retention.IN_AN_OPEN_RUN: 1},
            {retention.IN_AN_OPEN_RUN: made.size_bytes},
        )
        assert world.files() == {made.digest}

    def test_what_an_open_run_reads_of_another(self, world: CollectionWorld) -> None:
        _, made = succeeded(world, 0, "a", "b")
        world.later(91)
        run = world.hand.start(CHAIN, days(2)[1])
        world.hand.claim(run)
        with world.database.write() as connection:
            reads = {"rows": made[0].digest}
            connection.execute(attempt.update().where(attempt.c.state == "running").values(reads=reads))
        assert removed_by(world.collect()) == {made[1].digest}

    def test_what_a_failed_run_made_that_may_be_resumed(self, world: CollectionWorld) -> None:
        run = world.hand.start(CHAIN)
        (claim,) = world.hand.claim(run)
        made = world.store("a")
        world.end(claim, made)
        world.later(91)
        (claim,) = world.hand.claim(run)
        world.end(claim, fails=True)
        assert world.hand.run(run).state == "failed"
        world.later(89)
        assert world.collect().kept == {retention.OF_A_RECENT_RUN: 1}
        world.hand.service.resume(run.run_id, CHAIN, reason="repaired")
        world.later(91)
        assert world.collect().kept == {retention.IN_AN_OPEN_RUN: 1}

    def test_what_others_refer_to(self, world: CollectionWorld) -> None:
        _, made = succeeded(world, 0, "a", "b")
        world.named = {"a champion rests on it": {made[0].digest}}
        world.later(1000)
        found = world.collect()
        assert found.kept == {"a champion rests on it": 1}
        assert world.files() == {made[0].digest}

    def test_what_an_old_and_a_recent_run_both_made(self, world: CollectionWorld) -> None:
        succeeded(world, 0, "a", "b")
        world.later(91)
        _, made = succeeded(world, 1, "a", "c")
        assert len(removed_by(world.collect())) == 1
        assert world.files() == digests(*made)

    def test_a_file_that_an_attempt_wrote_again_and_has_not_on_record_yet(self, world: CollectionWorld) -> None:
        succeeded(world, 0, "a", "b")
        world.later(91)
        run = world.hand.start(CHAIN, days(2)[1])
        (claim,) = world.hand.claim(run)
        again = world.store("a")
        world.collect()
        assert again.digest in world.files()
        assert again.digest in world.removed()
        world.end(claim, again)
        assert again.digest not in world.removed()
        assert world.artifacts.get(again) == "a" * 5000


class TestAfterwards:
    def test_who_reads_what_was_removed_is_told_when_and_by_what(self, world: CollectionWorld) -> None:
        _, made = succeeded(world, 0, "a", "b")
        world.later(91)
        world.collect()
        with world.database.read() as connection:
            found = queries.artifact_of(connection, made[0].digest)
        with pytest.raises(ArtifactError, match=r"was removed by `podium gc` on 2027-02-20 .*Z.*artifact_retention"):
            world.artifacts.get(found)

    def test_the_same_bytes_stored_again_are_back(self, world: CollectionWorld) -> None:
        succeeded(world, 0, "a", "b")
        world.later(91)
        world.collect()
        _, made = succeeded(world, 1, "a", "b")
        assert (world.removed(), world.files()) == (set(), digests(*made))
        world.later(89)
        assert removed_by(world.collect()) == set()

    def test_a_run_whose_outputs_were_removed_is_not_resumed(self, world: CollectionWorld) -> None:
        run = world.hand.start(CHAIN)
        (claim,) = world.hand.claim(run)
        world.end(claim, world.store("a"))
        (claim,) = world.hand.claim(run)
        world.end(claim, fails=True)
        world.later(91)
        world.collect()
        with pytest.raises(Conflict, match=r"cannot go on: `podium gc` removed what its steps made \(make\).*--again"):
            world.hand.service.resume(run.run_id, CHAIN, reason="repaired")
        assert world.hand.run(run).state == "failed"

    def test_a_cache_does_not_hand_over_what_was_removed(self, world: CollectionWorld) -> None:
        plan = plan_of(replace(node("make"), inputs={"day": IntervalInput()}, cache=True), node("use", "make"))

        def run_it() -> str:
            run = world.hand.start(plan, DAY, again=True)
            while claims := world.hand.claim(run):
                for claim in claims:
                    world.end(claim, world.store("a"))
            with world.database.read() as connection:
                return "cached" if queries.step_rows(connection, run.run_id)[0].cached else "computed"

        assert [run_it(), run_it()] == ["computed", "cached"]
        world.later(91)
        world.collect()
        assert [run_it(), run_it()] == ["computed", "cached"]

    def test_whoever_relies_on_an_artifact_first_keeps_it(self, world: CollectionWorld) -> None:
        """A collection that waits for a transaction finds what that one made of the artifact."""
        run, (made, _) = succeeded(world, 0, "a", "b")
        world.later(91)
        collecting = threading.Thread(target=world.collect)
        with world.database.read() as connection:
            ids = [row.step_run_id for row in queries.step_rows(connection, run.run_id)]
        with world.database.write() as connection:
            assert outputs.kept(connection, ids) == set(ids)
            collecting.start()
            if not world.database.is_sqlite:
                wait_for_a_waiting_session(world.database)
            connection.execute(
                sa.text("UPDATE run SET state = 'running', ended_at = NULL, outcome = NULL WHERE run_id = :run_id"),
                {"run_id": run.run_id},
            )
        collecting.join()
        assert world.removed() == set()
        assert made.digest in world.files()


def wait_for_a_waiting_session(database: Database) -> None:
    """Wait until some session of a PostgreSQL database waits for another one's lock."""
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'"
    )
    while True:
        with database.read() as connection:
            if connection.scalar(waiting):
                return
        assert datetime.now(UTC) < deadline


def test_a_mapped_step_keeps_its_items_while_its_run_is_open(world: CollectionWorld) -> None:
    plan = plan_of(node("make"), node("each", over=Reference("make")))
    run = world.hand.start(plan)
    (claim,) = world.hand.claim(run)
    world.hand.end(claim, result="[1, 2]")
    first, second = world.hand.claim(run)
    made = world.store("item")
    world.end(first, made)
    world.later(1000)
    world.collect()
    assert world.files() == {made.digest}
    world.end(second, made)
    world.later(91)
    world.collect()
    assert world.files() == set()


def test_lock_files_of_dead_workers_go_unless_their_attempts_are_to_be_rescued(world: CollectionWorld) -> None:
    folder = world.folder / "workers"
    locks = {name: WorkerLock(folder, name) for name in ("dead", "alive", "w", "schema")}
    for name in ("dead", "alive"):
        world.hand.worker(name)
    world.hand.claim(world.hand.start(CHAIN))  # by w
    for name in ("dead", "w", "schema"):
        locks[name].release(left_attempts=True)

    def clear(*, dry_run: bool, days: float = 1.0) -> int:
        with world.database.read() as connection:
            before = datetime.now(UTC) + timedelta(days=days)
            return remains.clear_locks(connection, folder, before, dry_run=dry_run)

    assert clear(dry_run=False, days=-1.0) == 0
    assert clear(dry_run=True) == 1
    assert (folder / "dead.lock").exists()
    assert clear(dry_run=False) == 1
    assert {path.stem for path in folder.glob("*.lock")} == {"alive", "w", "schema"}
    locks["alive"].release(left_attempts=False)


def test_logs_of_runs_that_ended_before_the_retention_go(world: CollectionWorld) -> None:
    ended, _ = succeeded(world, 0, "a", "b")
    running = world.hand.start(CHAIN, days(2)[1])
    folder = world.folder / "logs"
    for name in (ended.run_id, running.run_id, "nobody knows"):
        (folder / name).mkdir(parents=True)
        (folder / name / "make-1.log").write_text("said")
    (folder / "slot-host.log").write_text("said")

    def clear(*, dry_run: bool) -> tuple[int, int]:
        with world.database.read() as connection:
            return remains.clear_logs(connection, folder, world.now() - RETENTION, dry_run=dry_run)

    assert clear(dry_run=False) == (0, 0)
    world.later(91)
    assert [clear(dry_run=True), clear(dry_run=False), clear(dry_run=False)] == [(1, 4), (1, 4), (0, 0)]
    assert {path.name for path in folder.iterdir()} == {running.run_id, "nobody knows", "slot-host.log"}


def test_an_item_is_traced_to_who_read_the_list_of_all_items(world: CollectionWorld) -> None:
    plan = plan_of(node("make"), node("each", over=Reference("make")), node("use", reads={"all": Reference("each")}))
    run = world.hand.start(plan)
    (claim,) = world.hand.claim(run)
    world.hand.end(claim, result="[1, 2]")
    made = [world.store("first"), world.store("second")]
    for claim, item in zip(world.hand.claim(run), made, strict=True):
        world.end(claim, item)
    world.hand.claim(run)
    with world.database.read() as connection:
        (reader,) = lineage.readers(connection, made[1].digest)
        (maker,) = lineage.makers(connection, made[1].digest)
    assert (reader["step"], reader["parameters"]) == ("use", ["all"])
    assert (maker["step"], maker["outputs"]) == ("each[1]", ["result"])


def test_who_made_an_artifact_is_known_after_its_step_made_another(world: CollectionWorld) -> None:
    _, (made, _) = succeeded(world, 0, "a", "b")
    with world.database.write() as connection:  # as a step that is executed again leaves it
        first = connection.scalar(sa.select(output.c.attempt_id).where(output.c.digest == made.digest))
        connection.execute(output.delete().where(output.c.digest == made.digest))
        once = {"rows": made.digest}
        connection.execute(attempt.update().where(attempt.c.attempt_id == first).values(made=once))
    with world.database.read() as connection:
        (maker,) = lineage.makers(connection, made.digest)
    assert (maker["step"], maker["outputs"]) == ("make", ["rows"])
