"""How pipelines say that steps join, wait and ask: what their plans hold, and what is refused."""

from typing import NamedTuple

import pytest

from podium import Interval, pipeline, sensor, step, wait_for_approval, when
from podium.dag.plan import Plan, Reference
from podium.dag.tracing import trace
from podium.errors import DefinitionError


class Split(NamedTuple):
    train: list[float]
    test: list[float]


@step
def load(day: Interval) -> list[float]:
    return [1.0]


@step
def split(day: Interval) -> Split:
    return Split([1.0], [2.0])


@step(run_if="always")
def tidy(rows: list[float] | None) -> None:
    pass


@step(run_if="none_failed")
def careless(rows: list[float]) -> None:
    pass


@step
def publish(by: str | None, why: str) -> None:
    pass


@sensor(every="1m", timeout="6h", retries=2)
def delivered(day: Interval) -> list[float] | None:
    return None


@sensor(every="1m", timeout="6h")
def never_none(day: Interval) -> list[float]:
    return [1.0]


@step
def train(rows: list[float]) -> None:
    pass


def traced(function: object) -> Plan:
    return trace(pipeline(model="m", team="t", environment="dev")(function))  # type: ignore[arg-type]


def test_a_step_that_may_run_without_what_it_reads_must_take_none() -> None:
    def joined(day: Interval) -> None:
        tidy(load(day))

    assert traced(joined).step("tidy").run_if == "always"

    def wrong(day: Interval) -> None:
        careless(load(day))

    with pytest.raises(
        DefinitionError,
        match=r"parameter rows of step careless, which has run_if='none_failed', takes list\[float\], but is None "
        r"where load did not succeed; annotate it as list\[float\] \| None",
    ):
        traced(wrong)


def test_what_only_orders_a_join_asks_nothing_of_its_parameters() -> None:
    @step(run_if="always")
    def last() -> None:
        pass

    from podium import run_after

    def ordered(day: Interval) -> None:
        run_after(last(), load(day))

    assert traced(ordered).step("last").after == ("load",)


def test_a_sensor_hands_on_what_it_returns_instead_of_none() -> None:
    def waiting(day: Interval) -> None:
        train(delivered(day))

    node = traced(waiting).step("delivered")
    assert (node.every_seconds, node.timeout_seconds, node.retries) == (60.0, 21_600.0, 2)


def test_a_sensor_that_never_returns_none_is_none() -> None:
    def waiting(day: Interval) -> None:
        train(never_none(day))

    with pytest.raises(DefinitionError, match=r"annotate its return as list\[float\] \| None"):
        traced(waiting)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"every": "now", "timeout": "6h"}, "every='now' is no duration"),
        ({"every": "1m", "timeout": None}, "timeout=None lets it wait for ever"),
    ],
)
def test_a_sensor_that_cannot_wait_so_is_refused(options: dict[str, str], complaint: str) -> None:
    def look(day: Interval) -> int | None:
        return None

    with pytest.raises(DefinitionError, match=complaint):
        sensor(**options)(look)  # type: ignore[arg-type]


def test_an_approval_is_a_step_without_a_function_whose_decision_is_read_by_name() -> None:
    def asking(day: Interval) -> None:
        parts = split(day)
        asked = wait_for_approval(load(day), parts.test, message="Good?", within="2d", otherwise="approve", name="sign")
        with when(asked.approved):
            publish(asked.by, asked.reason)

    plan = traced(asking)
    node = plan.step("sign")
    assert (node.kind, node.message, node.timeout_seconds, node.default) == ("approval", "Good?", 172_800.0, "approve")
    assert node.inputs == {"load.result": Reference("load"), "split.test": Reference("split", "test")}
    assert node.outputs == ("approved", "by", "reason")
    assert plan.step("publish").conditions == (Reference("sign", "approved"),)
    assert Plan.from_document(plan.to_document()) == plan


def whole(day: Interval) -> None:
    wait_for_approval(split(day), message="Good?")


def twice(day: Interval) -> None:
    wait_for_approval(message="Good?")
    wait_for_approval(message="Sure?")


def shows_text(day: Interval) -> None:
    wait_for_approval("the data", message="Good?")


def silent(day: Interval) -> None:
    wait_for_approval(message=" ")


def undecided(day: Interval) -> None:
    wait_for_approval(message="Good?", otherwise="maybe")  # type: ignore[arg-type]


def endless(day: Interval) -> None:
    wait_for_approval(message="Good?", within="never")


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (whole, r"approval approval gets the result of step split whole"),
        (twice, r'give this call its own name: wait_for_approval\(…, name="approval_2"\)'),
        (shows_text, "approval approval shows 'the data'; show what steps returned"),
        (silent, "approval approval has no message"),
        (undecided, "otherwise='maybe' is not one of approve, reject"),
        (endless, "within='never' is no duration"),
    ],
)
def test_an_approval_that_cannot_be_asked_for_is_refused(function: object, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        traced(function)


def test_nothing_waits_for_longer_than_the_whole_run_may_take() -> None:
    def asking(day: Interval) -> None:
        wait_for_approval(message="Good?", within="3d")

    def waiting(day: Interval) -> None:
        train(delivered(day))

    for function, complaint in ((asking, "approval may wait for 3d"), (waiting, "delivered may wait for 6h")):
        late = pipeline(model="m", team="t", environment="dev", deadline="2h")(function)
        with pytest.raises(DefinitionError, match=f"{complaint}, but the deadline of the pipeline is 2h"):
            trace(late)


def test_outside_a_pipeline_nobody_is_asked() -> None:
    with pytest.raises(DefinitionError, match="is for pipelines; outside of one, ask the person"):
        wait_for_approval(message="Good?")
