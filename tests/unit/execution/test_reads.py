"""What counts as read on the way to a value: the guard that rows which trained a model never judge it rests on it."""

from podium.dag.plan import Constant, Plan, Reference
from podium.execution.artifacts import Artifact
from podium.execution.items import WHOLE
from podium.execution.reads import Read, digest_of, digests_of, on_the_way_to, read_by
from podium.ids import digest_json
from tests.execution_world import node, plan_of

# Frames are split off the rows, a model is fitted on each and scored, and one of them is chosen.
PLAN = plan_of(
    node("rows"),
    node("split", reads={"rows": Reference("rows")}),
    node("fit", over=Reference("split"), reads={"features": Reference("rows", "result")}),
    node("score", over=Reference("fit")),
    node("choose", reads={"models": Reference("fit"), "scores": Reference("score")}),
)
ROWS, FRAMES, MODELS = Read("rows", "result"), Read("split", "result", None), Read("fit", "result", None)


def test_a_step_that_is_not_mapped_reads_whole_lists() -> None:
    assert read_by(PLAN, PLAN.step("choose"), WHOLE) == {"models": MODELS, "scores": Read("score", "result", None)}


def test_an_item_reads_its_own_item_and_what_is_the_same_for_all() -> None:
    assert read_by(PLAN, PLAN.step("fit"), 2) == {"item": Read("split", "result", 2), "features": ROWS}


def test_what_a_list_came_from_is_what_every_item_of_it_read() -> None:
    assert on_the_way_to(PLAN, "choose", WHOLE) == {ROWS, FRAMES, MODELS, Read("score", "result", None)}
    assert on_the_way_to(PLAN, "fit", None) == {ROWS, FRAMES}


def test_what_other_items_read_did_not_reach_an_item() -> None:
    assert on_the_way_to(PLAN, "score", 1) == {ROWS, Read("fit", "result", 1), Read("split", "result", 1)}


def test_everything_before_an_item_counts_once_it_waits_for_the_whole_step() -> None:
    plan = plan_of(
        node("split"),
        node("fit", over=Reference("split")),
        node("score", "fit", over=Reference("fit")),
    )
    assert on_the_way_to(plan, "score", 1) == {Read("fit", "result", 1), Read("split", "result", 1), FRAMES}


def test_a_list_that_is_mapped_over_elsewhere_is_read_item_by_item_by_everybody() -> None:
    plan = plan_of(
        node("split"), node("look", over=Reference("split")), node("train", reads={"frames": Reference("split")})
    )
    assert read_by(plan, plan.step("train"), WHOLE) == {"frames": FRAMES}


def test_what_a_condition_and_an_order_wait_for_counts_too() -> None:
    plan = plan_of(
        node("split"),
        node("judge", reads={"frame": Reference("split")}),
        node("first", over=Constant([1]), reads={"frame": Reference("split")}),
        node("train", "first", when=["judge.result"]),
    )
    assert on_the_way_to(plan, "train", WHOLE) == {Read("split", "result")}


def test_a_list_is_recognised_by_each_item_and_as_a_whole() -> None:
    one, two = Artifact("1" * 64, "arrow", 10), Artifact("2" * 64, "arrow", 10)
    whole = digest_json([one.digest, two.digest])
    assert digest_of((one, two)) == whole != digest_of((two, one))
    assert digests_of([(one, two), two]) == sorted({one.digest, two.digest, whole})


def test_nothing_is_followed_twice() -> None:
    layers = [node("s0")]
    for number in range(1, 60):  # each reads the one before by three ways: 3^60 walks, 60 steps
        before = Reference(f"s{number - 1}")
        layers.append(node(f"s{number}", before.step, when=[f"{before.step}.result"], reads={"x": before}))
    plan: Plan = plan_of(*layers)
    assert len(on_the_way_to(plan, "s59", WHOLE)) == 59
