"""Mapped steps moved along in the database, by hand: what an item's end sets in motion, and what it never does."""

import json
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.dag.plan import Constant, Plan, Reference, StepNode
from podium.db.engine import Database
from podium.db.schema import run as run_table
from podium.execution import assignments, queries, tally
from podium.execution.entities import AttemptEndState, Run
from podium.execution.items import WHOLE
from podium.execution.reads import Read
from tests.execution_world import HandWorker, check_books, days, node, plan_of

ENDS = tuple(state for state in get_args(AttemptEndState) if state != "snoozed")


@pytest.fixture
def hand(database: Database, tmp_path: Path) -> HandWorker:
    worker = HandWorker(database, tmp_path)
    worker.worker("w")
    return worker


FIT = node("fit", over=Reference("load"))
FAN = plan_of(node("load"), FIT, node("choose", reads={"fitted": Reference("fit")}))


def fanned_out(hand: HandWorker, plan: Plan = FAN, items: str = "[1, 2, 3]") -> Run:
    """Start a run and end `load` with these items."""
    started = hand.start(plan)
    hand.end(hand.claim(started)[0], result=items)
    return started


def labels(hand: HandWorker, started: Run, limit: int = 100) -> list[str]:
    return [f"{claim.step}[{claim.map_index}]" for claim in hand.claim(started, limit=limit)]


def waiting_on(hand: HandWorker, started: Run, step: str) -> int:
    with hand.database.read() as connection:
        rows = queries.step_rows(connection, started.run_id)
    (found,) = [row.waiting_on for row in rows if (row.name, row.map_index) == (step, WHOLE)]
    return int(found)


class TestFanOut:
    def test_events_tell_of_the_whole_and_of_each_item_by_its_number(self, hand: HandWorker) -> None:
        started = fanned_out(hand, items="[1, 2]")
        first, second = hand.claim(started)
        hand.end(second)
        hand.end(first, "cancelled")
        hand.end(hand.claim(started)[0])
        assert hand.events(started)[6:] == [
            "step.mapped fit",
            "attempt.started fit[0]",
            "attempt.started fit[1]",
            "attempt.succeeded fit[1]",
            "step.succeeded fit[1]",
            "attempt.cancelled fit[0]",
            "step.ready fit[0]",
            "attempt.started fit[0]",
            "attempt.succeeded fit[0]",
            "step.succeeded fit[0]",
            "step.succeeded fit",
            "step.ready choose",
        ]

    def test_items_are_claimed_in_order_and_the_whole_never_is(self, hand: HandWorker) -> None:
        started = fanned_out(hand, items=json.dumps(list(range(12))))
        assert labels(hand, started, limit=5) == [f"fit[{n}]" for n in range(5)]
        assert labels(hand, started) == [f"fit[{n}]" for n in range(5, 12)]
        assert hand.states(started)["fit"] == "waiting"
        assert waiting_on(hand, started, "fit") == 12

    def test_a_run_counts_a_mapped_step_once(self, hand: HandWorker) -> None:
        started = fanned_out(hand)
        with hand.database.read() as connection:
            assert queries.run_rows(connection, [started.run_id])[started.run_id].open_steps == 2

    def test_open_work_is_the_items_once_there_are_any(self, hand: HandWorker) -> None:
        def counted() -> dict[str, int]:
            with hand.database.read() as connection:
                return {state: found.count for (_, state), found in tally.open_steps(connection).items()}

        started = hand.start(plan_of(node("load"), FIT))
        assert counted() == {"ready": 1, "waiting": 1}
        hand.end(hand.claim(started)[0], result="[1, 2, 3]")
        assert counted() == {"ready": 3}

    def test_a_claim_reads_its_own_inputs_and_not_all_that_came_before(self, hand: HandWorker) -> None:
        plan = plan_of(
            node("load"),
            FIT,
            node("mean", reads={"all": Reference("load")}),
            node("scale", over=Reference("fit"), reads={"mean": Reference("mean")}),
        )
        started = fanned_out(hand, plan)
        for claim in hand.claim(started):
            hand.end(claim)
        (claim,) = hand.claim(started, limit=1)
        assignment = assignments.of_claim(started, plan, claim, hand.clock.now())
        assert set(assignment.stored) == {Read("fit", "result", 0), Read("mean", "result")}

    def test_many_items_take_no_more_statements_than_few_to_make_or_to_take_over(self, hand: HandWorker) -> None:
        plan = plan_of(node("load"), replace(FIT, cache=True))
        statements = Counter[str]()

        def fan_out(name: str, items: list[int]) -> Run:
            def note(*_: object) -> None:
                statements[name] += 1

            started = hand.start(plan, again=True)
            (load,) = hand.claim(started)
            sa.event.listen(hand.database.engine, "before_cursor_execute", note)
            hand.end(load, result=json.dumps(items))
            sa.event.remove(hand.database.engine, "before_cursor_execute", note)
            return started

        for name, items in (("few", [1, 2]), ("many", [*range(10, 210)])):
            made = fan_out(f"{name} made", items)
            for claim in hand.claim(made, limit=1000):
                hand.end(claim)
            assert fan_out(f"{name} taken over", items).run_id != made.run_id
        assert statements["many made"] == statements["few made"]
        assert statements["many taken over"] == statements["few taken over"]

    def test_no_items_are_an_empty_list(self, hand: HandWorker) -> None:
        started = fanned_out(hand, items="[]")
        assert hand.states(started) == {"load": "succeeded", "fit": "succeeded", "choose": "ready"}
        hand.end(hand.claim(started)[0])
        assert hand.run(started).state == "succeeded"

    def test_a_run_of_empty_lists_alone_ends_when_it_is_made(self, hand: HandWorker) -> None:
        plan = plan_of(node("a", over=Constant([])), node("b", over=Reference("a")))
        assert hand.start(plan).state == "succeeded"

    def test_a_mapped_step_that_is_skipped_has_no_items(self, hand: HandWorker) -> None:
        started = hand.start(FAN)
        hand.end(hand.claim(started)[0], "failed")
        assert hand.states(started) == {"load": "failed", "fit": "skipped", "choose": "skipped"}

    def test_a_step_mapped_over_a_mapped_step_has_an_item_for_each_item(self, hand: HandWorker) -> None:
        plan = plan_of(node("a", over=Constant([1, 2, 3])), node("b", over=Reference("a")))
        started = hand.start(plan)
        for claim in hand.claim(started):
            assert "b[0]" not in hand.states(started)
            hand.end(claim)
        assert labels(hand, started) == ["b[0]", "b[1]", "b[2]"]


class TestEnds:
    def test_a_failed_item_waits_for_the_others_and_then_fails_the_whole(self, hand: HandWorker) -> None:
        started = fanned_out(hand)
        one, two, three = hand.claim(started)
        hand.end(two, "failed")
        hand.end(three, "failed")
        assert hand.states(started)["fit"] == "waiting"
        assert hand.run(started).state == "running"
        hand.end(one)
        assert hand.reasons(started)["fit"] == "2 of 3 items failed: [1]: fit went wrong"
        assert hand.states(started)["choose"] == "skipped"
        assert hand.run(started).reason == "fit: 2 of 3 items failed: [1]: fit went wrong"
        check_books(hand.database)

    def test_an_item_is_tried_again_alone(self, hand: HandWorker) -> None:
        started = fanned_out(hand, plan_of(node("load"), replace(FIT, retries=1)))
        one, two, three = hand.claim(started)
        hand.end(one)
        hand.end(two, "failed")
        hand.end(three)
        assert hand.claim(started) == []
        hand.clock.advance(1)
        (again,) = hand.claim(started)
        assert (again.map_index, again.number) == (1, 2)
        hand.end(again)
        assert hand.run(started).state == "succeeded"

    def test_a_lost_item_is_tried_again_and_a_late_end_of_it_writes_nothing(self, hand: HandWorker) -> None:
        started = fanned_out(hand)
        late = hand.claim(started)[0]
        hand.clock.advance(31)
        assert [lost.label for lost in hand.rescue()] == [
            "fit[0]",
            "fit[1]",
            "fit[2]",
        ]
        assert hand.end(late) is None
        assert waiting_on(hand, started, "fit") == 3
        for claim in hand.claim(started):
            assert claim.number == 2
            hand.end(claim)
        assert hand.states(started)["fit"] == "succeeded"
        check_books(hand.database)

    def test_cancel_ends_all_and_resume_keeps_the_items_that_succeeded(self, hand: HandWorker) -> None:
        started = fanned_out(hand)
        one, two, three = hand.claim(started)
        hand.end(one)
        hand.end(two, "cancelled")
        hand.end(three, "failed")
        hand.service.cancel(started.run_id, reason="enough")
        assert hand.states(started) == {
            "load": "succeeded",
            "fit": "cancelled",
            "fit[0]": "succeeded",
            "fit[1]": "cancelled",
            "fit[2]": "failed",
            "choose": "cancelled",
        }
        hand.service.resume(started.run_id, FAN, reason="go on")
        assert waiting_on(hand, started, "fit") == 2
        for claim in hand.claim(started):
            assert claim.number == 2
            hand.end(claim)
        hand.end(hand.claim(started)[0])
        assert hand.run(started).state == "succeeded"
        check_books(hand.database)


class TestCaching:
    PLAN = plan_of(node("load"), replace(FIT, cache=True), node("choose", reads={"fitted": Reference("fit")}))

    def test_items_that_are_known_are_taken_over_wherever_they_stood(self, hand: HandWorker) -> None:
        started = fanned_out(hand, self.PLAN, items="[1, 2]")
        for claim in hand.claim(started):
            hand.end(claim, result=str(claim.map_index))
        hand.end(hand.claim(started)[0])
        again = hand.start(self.PLAN, again=True)
        hand.end(hand.claim(again)[0], result="[7, 2, 1]")
        assert labels(hand, again) == ["fit[0]"]
        assert waiting_on(hand, again, "fit") == 1
        assert hand.states(again)["fit[1]"] == hand.states(again)["fit[2]"] == "succeeded"
        assert "step.cached fit[2]" in hand.events(again)

    def test_a_step_whose_items_are_all_known_ends_at_once(self, hand: HandWorker) -> None:
        started = fanned_out(hand, self.PLAN, items="[1, 2]")
        for claim in hand.claim(started):
            hand.end(claim)
        hand.end(hand.claim(started)[0])
        again = hand.start(self.PLAN, again=True)
        hand.end(hand.claim(again)[0], result="[2, 1]")
        assert hand.states(again)["fit"] == "succeeded"
        assert [claim.step for claim in hand.claim(again)] == ["choose"]

    def test_an_item_that_failed_is_computed(self, hand: HandWorker) -> None:
        started = fanned_out(hand, self.PLAN, items="[1, 2]")
        for claim in hand.claim(started):
            hand.end(claim, "succeeded" if claim.map_index else "failed")
        hand.service.resume(started.run_id, self.PLAN, reason="again")
        assert labels(hand, started) == ["fit[0]"]

    def test_a_list_mapped_over_is_not_taken_over_by_a_step_that_stored_it_whole(self, hand: HandWorker) -> None:
        load = replace(node("load"), cache=True)
        hand.end(hand.claim(hand.start(plan_of(load)))[0], result="[1]")
        started = hand.start(replace(plan_of(load, FIT), pipeline="other"))
        assert [claim.step for claim in hand.claim(started)] == ["load"]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Two to five steps, some of them mapped: over constants, over an earlier step's list, over a mapped step."""
    nodes: list[StepNode] = []
    for number in range(draw(st.integers(2, 5))):
        names = [each.name for each in nodes]
        kinds = ["plain", "constants", *(["step", "step"] if names else [])]
        kind = draw(st.sampled_from(kinds))
        over: Any = None
        if kind == "constants":
            over = Constant(list(range(draw(st.integers(0, 3)))))
        elif kind == "step":
            over = Reference(draw(st.sampled_from(names)))
        after = draw(st.lists(st.sampled_from(names), unique=True, max_size=2)) if names else []
        nodes.append(node(f"s{number}", *after, over=over, retries=draw(st.integers(0, 1))))
    return plan_of(*nodes)


def problems(hand: HandWorker, started: Run) -> list[str]:
    """What is wrong with the rows of a run, at whatever moment."""
    with hand.database.read() as connection:
        rows = queries.step_rows(connection, started.run_id)
        told = connection.execute(sa.select(run_table).where(run_table.c.run_id == started.run_id)).one()
    found = []
    wholes = {row.name: row for row in rows if row.map_index == WHOLE}
    open_steps = sum(row.ended_at is None for row in wholes.values())
    if told.open_steps != open_steps or (told.ended_at is None) != (open_steps > 0):
        found.append(f"the run is {told.state} with {told.open_steps} open steps, of its steps {open_steps} are open")
    for name, whole in wholes.items():
        items = [row for row in rows if row.name == name and row.map_index != WHOLE]
        states = Counter(row.state for row in items)
        left = sum(row.ended_at is None for row in items)
        if [row.map_index for row in items] != list(range(len(items))):
            found.append(f"{name} has items {[row.map_index for row in items]}")
        if told.state == "cancelled":
            if "running" in (whole.state, *states):
                found.append(f"{name} runs in a cancelled run")
            if left or (items and whole.state not in ("cancelled", "succeeded", "failed")):
                found.append(f"{name} of a cancelled run is {whole.state}, its items {states}")
        elif left and (whole.state, whole.waiting_on) != ("waiting", left):
            found.append(f"{name} is {whole.state} and waits on {whole.waiting_on}, its items are {states}")
        elif (
            items
            and not left
            and whole.state != next((state for state in ("cancelled", "failed") if states[state]), "succeeded")
        ):
            found.append(f"{name} is {whole.state}, its items are {states}")
    return found


def test_whatever_becomes_of_items_the_rows_of_a_run_agree_and_it_ends(hand: HandWorker) -> None:
    numbers = count()

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(plans(), st.data())
    def check(plan: Plan, data: st.DataObject) -> None:
        started = hand.start(plan, days(next(numbers) + 1)[-1])
        running: list[Any] = []
        cancelling = False
        for _ in range(200):
            assert problems(hand, started) == []
            state = hand.run(started).state
            if state == "succeeded":
                break
            if state in ("failed", "cancelled"):
                if not data.draw(st.booleans(), "resume"):
                    break
                hand.service.resume(started.run_id, plan, reason="again")
                cancelling = False
                continue
            claims = hand.claim(started, limit=data.draw(st.integers(1, 4), "claims"))
            assert not (claims and cancelling)
            running += claims
            if not running:
                assert not cancelling
                hand.clock.advance(400)  # whatever waits in back-off may start
            elif not cancelling and data.draw(st.integers(0, 9), "cancel") == 0:
                hand.service.cancel(started.run_id, reason="enough")
                cancelling = True
            else:
                claim = running.pop(data.draw(st.integers(0, len(running) - 1), "which"))
                items = json.dumps(list(range(data.draw(st.integers(0, 3), "items"))))
                end = data.draw(st.sampled_from(["succeeded", "succeeded", "succeeded", *ENDS]), "end")
                hand.end(claim, end, result=items)
        else:
            raise AssertionError(f"the run goes on and on: {hand.states(started)}")
        states = hand.states(started)
        needed = {each.name: [states[name] for name in each.dependencies] for each in plan.steps}
        for name, before in needed.items():
            if hand.run(started).state != "cancelled":
                assert (states[name] == "skipped") == any(state != "succeeded" for state in before)

    check()
    check_books(hand.database)


def test_a_claim_of_an_item_and_its_end_cost_the_same_however_many_there_are(hand: HandWorker) -> None:
    def counted(size: int) -> int:
        started = hand.start(plan_of(node("fit", over=Constant(list(range(size))))), days(size)[-1])
        seen = 0

        def count_one(*_: object) -> None:
            nonlocal seen
            seen += 1

        sa.event.listen(hand.database.engine, "before_cursor_execute", count_one)
        hand.end(hand.claim(started, limit=1)[0])
        sa.event.remove(hand.database.engine, "before_cursor_execute", count_one)
        return seen

    assert counted(2) == counted(50)
