"""Acts on runs as a person gives them, and what they say."""

from podium.settings import load
from tests.unit.cli.conftest import InProcess

ASKING = """
from pathlib import Path
from podium import Interval, pipeline, step, wait_for_approval, when

@step
def numbers(month: Interval, count: int) -> int:
    return count

@step
def publish(number: int) -> int:
    if not Path("ready").exists():
        raise RuntimeError("not ready")
    return number

@pipeline(model="asking", team="research", environment="dev", grain="month")
def asking(month: Interval, count: int = 3) -> None:
    number = numbers(month, count)
    asked = wait_for_approval(number, message="Is it good?")
    with when(asked.approved):
        publish(number)
"""


def held(podium: InProcess) -> str:
    podium.pipeline(ASKING, "asking")
    answer = podium("run", "asking", "--for", "2013-03", "--json")
    assert (answer.code, answer.document["state"], answer.document["held"]) == (0, "running", ["approval"])
    return str(answer.document["run_id"])


def test_a_held_run_says_so_and_goes_on_with_what_a_person_decides(podium: InProcess) -> None:
    run_id = held(podium)
    assert "held" in podium("runs", "list").out
    shown = podium("runs", "show", run_id).out
    assert "for a decision on approval" in shown
    assert "Is it good?" in shown
    answer = podium("runs", "reject", run_id, "--step", "approval", "--reason", "incomplete")
    assert (answer.code, answer.out) == (0, f"approval of run {run_id} is rejected.\n")
    again = podium("runs", "approve", run_id, "--step", "approval", "--reason", "after all")
    assert (again.code, "is succeeded, so there is nothing to decide" in again.complaint) == (1, True)
    document = podium("runs", "show", run_id, "--json").document
    assert (document["state"], document["outcome"]) == ("succeeded", "none")
    assert {step["name"]: step["state"] for step in document["steps"]} == {
        "numbers": "succeeded",
        "approval": "succeeded",
        "publish": "skipped",
    }


def test_a_failed_run_is_resumed_without_a_step_retried_from_one_and_rerun_with_others(podium: InProcess) -> None:
    run_id = held(podium)
    podium("runs", "approve", run_id, "--step", "approval", "--reason", "fine")
    assert podium("runs", "resume", run_id).code == 1  # `publish` is not ready

    plan = podium("runs", "resume", run_id, "--dry-run", "--json").document["steps"]
    assert [(step["name"], step["action"], step["reason"]) for step in plan] == [
        ("numbers", "keep", "it succeeded"),
        ("approval", "keep", "it succeeded"),
        ("publish", "run", "it failed"),
    ]
    skipped = podium("runs", "skip", run_id, "--step", "publish", "--reason", "not this month")
    assert (skipped.code, skipped.out) == (0, f"The step publish of run {run_id} is skipped.\n")
    assert f"podium runs resume {run_id}` goes on without it" in " ".join(skipped.err.split())
    assert podium("runs", "resume", run_id).code == 0
    assert "not this month" in podium("runs", "show", run_id).out

    answer = podium("runs", "retry", run_id, "--from", "nothing", "--reason", "why not")
    assert (answer.code, "has no step 'nothing'" in answer.complaint) == (2, True)
    (podium.project / "ready").touch()
    shown = podium("runs", "retry", run_id, "--from", "publish", "--reason", "ready now", "--dry-run").out
    assert "it is where the rerun begins" in " ".join(shown.split())
    retried = podium("runs", "retry", run_id, "--from", "publish", "--reason", "ready now", "--json")
    (publish,) = [step for step in retried.document["steps"] if step["name"] == "publish"]
    assert (retried.code, publish["state"], len(publish["attempts"])) == (0, "succeeded", 2)

    rerun = podium("runs", "rerun", run_id, "--param", "count=5", "--detach", "--json").document
    assert (rerun["rerun_of"], rerun["parameters"]) == (run_id, {"count": 5})
    assert f"rerun of    {run_id}" in podium("runs", "show", rerun["run_id"]).out
    wrong = podium("runs", "rerun", run_id, "--param", "cuont=5")
    assert (wrong.code, "has no parameter 'cuont'; did you mean count" in wrong.complaint) == (2, True)


def test_code_that_changed_is_told_with_both_digests_and_refused_where_that_is_the_policy(podium: InProcess) -> None:
    run_id = held(podium)
    podium("runs", "approve", run_id, "--step", "approval", "--reason", "fine")
    podium.pipeline(ASKING + "\n# changed\n", "asking")
    (podium.project / "ready").touch()
    toml = podium.project / "podium.toml"
    toml.write_text(toml.read_text() + 'on_code_change = "refuse"\n')
    assert load(podium.project).on_code_change == "refuse"
    refused = podium("runs", "resume", run_id)
    assert (refused.code, "--allow-changed-code" in refused.complaint) == (3, True)
    allowed = podium("runs", "resume", run_id, "--allow-changed-code")
    assert allowed.code == 0
    assert f"The code changed since run {run_id} was planned (" in " ".join(allowed.err.split())


def test_a_run_that_is_cancelled_now_is_cancelled_when_the_command_ends(podium: InProcess) -> None:
    run_id = held(podium)
    answer = podium("runs", "cancel", run_id, "--reason", "enough", "--now")
    assert (answer.code, answer.out) == (0, f"The run {run_id} of asking is cancelled.\n")
