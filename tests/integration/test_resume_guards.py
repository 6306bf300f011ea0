"""What a run may go on with, and what a worker does not pretend to have."""

import pytest
import sqlalchemy as sa

from podium.db.schema import plan as plan_table
from podium.errors import Refused
from tests.execution_world import ONE_STEP, FlowProject, states

TWO_SOURCES = """
@step
def first() -> int:
    return 1

@step
def second() -> int:
    return 2

@step
def total(number: int) -> int:
    raise ValueError("not today")
---
def flow(day: Interval) -> None:
    one, two = first(), second()
    total({source})
"""


@pytest.fixture
def flow(tmp_path: object) -> FlowProject:
    from pathlib import Path

    return FlowProject(Path(str(tmp_path)) / "project")


def test_a_run_does_not_go_on_where_a_step_reads_something_else_now(flow: FlowProject) -> None:
    document = flow.run(TWO_SOURCES.format(source="one"))
    assert document["state"] == "failed"
    flow.write(TWO_SOURCES.format(source="two"))
    with pytest.raises(Refused, match="graph of flow changed"):
        flow.resume(document["run_id"])


def test_a_run_does_not_go_on_under_another_parameter(flow: FlowProject) -> None:
    source = """
@step
def it(n: int) -> int:
    raise ValueError(n)
---
def flow(day: Interval, {name}: int = 1) -> None:
    it({name})
"""
    document = flow.run(source.format(name="n"))
    flow.write(source.format(name="m"))
    with pytest.raises(Refused, match="graph of flow changed"):
        flow.resume(document["run_id"])


def test_a_stored_plan_of_another_form_is_traced_again(flow: FlowProject) -> None:
    flow.write("@step\ndef it() -> int:\n    return 1\n" + ONE_STEP)
    before = flow.plan()
    with flow.project.database.write() as connection:
        document = {key: value for key, value in before.to_document().items() if key != "grain"}
        connection.execute(sa.update(plan_table).values(document=document, digest="0" * 64))
    assert flow.plan() == before


def test_a_thread_that_a_step_leaves_behind_does_not_live_on_in_the_next_one(flow: FlowProject) -> None:
    document = flow.run(
        """
@step
def leaves() -> int:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()

@step
def next_one(before: int) -> bool:
    return os.getpid() == before
---
def flow(day: Interval) -> None:
    next_one(leaves())
"""
    )
    assert states(document) == {"leaves": "succeeded", "next_one": "succeeded"}
    assert "1 threads were left" in flow.log(document, "leaves")
    assert flow.value(document, "next_one") is False
