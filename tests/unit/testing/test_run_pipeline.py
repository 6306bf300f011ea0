"""`run_pipeline`: fakes, parameters, time, values and stages, as a test of a user's meets them."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, run_after, sensor, step, wait_for_approval, when
from podium.canary.plan import CanaryPlan, Phase
from podium.errors import DefinitionError, InvalidInterval, NotFound, UsageError
from podium.execution.context import Snooze
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, promote_version, register_version, run_canary
from podium.testing import FakeClock, FakeRegistry, run_pipeline


class Parts(NamedTuple):
    left: list[int]
    right: str


@step
def split(day: Interval, count: int) -> Parts:
    raise ConnectionError("there is no warehouse in a test")


@step
def add(item: int, more: int = 1) -> int:
    return item + more


@step
def total(numbers: list[int]) -> int:
    numbers.append(0)
    return sum(numbers)


@step(retries=20)
def publish(text: str, number: int) -> str:
    return f"{text}: {number}"


@pipeline(model="demand", team="research", environment="dev", timezone="America/New_York")
def demand(day: Interval, count: int = 2, more: float | None = None) -> None:
    parts = split(day, count)
    publish(parts.right, total(add.map(parts.left)))


def parts(day: Interval, count: int) -> Parts:
    return Parts(list(range(count)), day.name)


def test_fakes_stand_in_for_steps_and_the_rest_is_run() -> None:
    result = run_pipeline(demand, "2013-03-01", fakes={"split": parts}, parameters={"count": 3})
    assert (result.state, result.outcome, result.reason) == ("succeeded", "none", None)
    assert result.value("publish") == "2013-03-01: 6"
    assert result.value("add") == [1, 2, 3]
    assert result.value("add[2]") == 3
    assert result.value("split", "left") == [0, 1, 2]
    assert result.parameters == {"count": 3, "more": None}


def test_a_step_called_as_a_function_is_one() -> None:
    assert publish("sum", 3) == "sum: 3"


def test_a_mock_and_a_step_are_fakes_too() -> None:
    told = Mock(return_value="said")

    @step
    def other(day: Interval, count: int) -> Parts:
        return parts(day, count)

    run_pipeline(demand, "2013-03-01", fakes={"split": other, "publish": told})
    told.assert_called_once_with(text="2013-03-01", number=3)


@pytest.mark.parametrize(
    ("fakes", "said"),
    [
        ({"splitt": parts}, "has no such step; did you mean split. Its steps are split, add, total, publish."),
        ({"split": add}, r"takes \(item: int, more: int = 1\) -> int, but the step is called with \(day, count\)"),
        ({"split": 7}, "give a function, as lambda: 7"),
    ],
)
def test_a_fake_that_does_not_fit_is_refused(fakes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_pipeline(demand, "2013-03-01", fakes=fakes)  # type: ignore[arg-type]


def test_what_a_run_could_not_be_asked_for_is_refused() -> None:
    with pytest.raises(InvalidInterval, match="retrains by day; 2013-03 is a month"):
        run_pipeline(demand, "2013-03")
    with pytest.raises(UsageError, match="has no parameter 'cuont'; did you mean count"):
        run_pipeline(demand, "2013-03-01", parameters={"cuont": 1})
    with pytest.raises(UsageError, match=r"Parameter count of pipeline demand is int, and '2\.5' is none"):
        run_pipeline(demand, "2013-03-01", parameters={"count": 2.5})
    with pytest.raises(UsageError, match="which no run can be given as JSON"):
        run_pipeline(demand, "2013-03-01", parameters={"count": object()})


def test_a_pipeline_that_no_run_could_follow_is_refused() -> None:
    @pipeline(model="demand", team="research", environment="dev")
    def mistaken(day: Interval) -> None:
        total(publish("a", 1))  # type: ignore[arg-type]

    with pytest.raises(DefinitionError, match=r"parameter numbers of step total takes list\[int\], but"):
        run_pipeline(mistaken, "2013-03-01")


def test_the_interval_is_one_of_the_pipelines_time_zone() -> None:
    told = Mock(side_effect=parts)
    run_pipeline(demand, "2013-03-01", fakes={"split": told})
    told.assert_called_once_with(day=Interval.parse("2013-03-01", "America/New_York"), count=2)


def test_hours_of_back_off_are_waited_for_on_the_clock_alone() -> None:
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))

    def hopeless(text: str, number: int) -> str:
        raise TimeoutError("nobody answers")

    result = run_pipeline(demand, "2013-03-01", fakes={"split": parts, "publish": hopeless}, clock=clock)
    published = result.steps["publish"]
    assert result.state == "failed"
    assert (
        result.reason
        == "publish: TimeoutError: nobody answers (tests/unit/testing/test_run_pipeline.py:"
        + str(hopeless.__code__.co_firstlineno + 1)
        + ")"
    )
    assert (published.state, len(published.attempts)) == ("failed", 21)
    assert published.error is not None
    assert published.error.type == "TimeoutError"
    with pytest.raises(TimeoutError):
        raise published.exception or AssertionError
    assert result.waited_seconds > 3_600
    assert clock.now() == result.ended_at == datetime(2026, 1, 1, tzinfo=UTC) + (result.ended_at - result.started_at)


def test_a_step_that_waits_for_what_never_comes_is_named() -> None:
    def wait(text: str, number: int) -> str:
        raise Snooze(3_600, "the feed")

    with pytest.raises(UsageError, match=r"publish of demand was tried 1,000 times .*the feed.*; fake it"):
        run_pipeline(demand, "2013-03-01", fakes={"split": parts, "publish": wait})


@sensor(every="1m", timeout="2h")
def delivered(day: Interval) -> str | None:
    return None


@step(run_if="always")
def tidy(file: str | None) -> str:
    return f"tidied {file}"


@pipeline(model="demand", team="research", environment="dev")
def delivery(day: Interval) -> None:
    file = delivered(day)
    tidy(file)
    approval = wait_for_approval(file, message="Is the tariff in it?", within="3d", otherwise="approve", name="tariff")
    with when(approval.approved):
        publish(file, 1)


def test_a_sensor_looks_until_its_time_is_over_and_clean_up_runs_all_the_same() -> None:
    result = run_pipeline(delivery, "2013-03-01")
    assert result.states == {"delivered": "failed", "tidy": "succeeded", "tariff": "skipped", "publish": "skipped"}
    assert result.reason == "delivered: nothing came within 2h, looked for every 1m"
    assert (len(result.steps["delivered"].attempts), result.waited_seconds) == (121, 7_200)
    assert result.value("tidy") == "tidied None"


def test_an_approval_is_answered_by_the_test() -> None:
    came = {"delivered": Mock(side_effect=[None, "tariff.csv"])}
    result = run_pipeline(delivery, "2013-03-01", fakes=came, approvals={"tariff": True})
    assert (result.value("publish"), result.value("tariff", "approved")) == ("tariff.csv: 1", True)
    assert result.waited_seconds == 60
    came = {"delivered": Mock(return_value="tariff.csv")}
    result = run_pipeline(delivery, "2013-03-01", fakes=came, approvals={"tariff": False})
    assert (result.state, result.states["publish"]) == ("succeeded", "skipped")
    result = run_pipeline(delivery, "2013-03-01", fakes=came, approvals={"tariff": None})
    assert (result.states["publish"], result.waited_seconds) == ("succeeded", 3 * 86_400)
    assert result.steps["tariff"].reason == "nobody decided within 3d"


def test_an_approval_that_nothing_is_said_about_is_named() -> None:
    came = {"delivered": Mock(return_value="tariff.csv")}
    with pytest.raises(UsageError, match=r"held by tariff: Is the tariff in it\? Say .* approvals=\{'tariff': True\}"):
        run_pipeline(delivery, "2013-03-01", fakes=came)
    with pytest.raises(UsageError, match=r"has no such approval; did you mean tariff\. Its approvals are tariff"):
        run_pipeline(delivery, "2013-03-01", approvals={"tarif": True})
    with pytest.raises(UsageError, match="has no such step"):
        run_pipeline(delivery, "2013-03-01", fakes={"tariff": Mock()})


@pytest.mark.parametrize("stop", [KeyboardInterrupt, pytest.fail.Exception])
def test_what_ends_the_test_itself_is_no_failure_of_a_step(stop: type[BaseException]) -> None:
    def interrupted(text: str, number: int) -> str:
        raise stop("enough")

    with pytest.raises(stop):
        run_pipeline(demand, "2013-03-01", fakes={"split": parts, "publish": interrupted})


def test_each_reader_gets_a_value_of_its_own_unless_objects_are_handed_on() -> None:
    @step
    def numbers(day: Interval) -> list[int]:
        return [1, 2]

    @pipeline(model="demand", team="research", environment="dev")
    def shared(day: Interval) -> None:
        found = numbers(day)
        run_after(total(found), total.named("first")(found))

    result = run_pipeline(shared, "2013-03-01")
    assert result.value("numbers") == [1, 2]
    result = run_pipeline(shared, "2013-03-01", stored=False)
    assert result.value("numbers") == [1, 2, 0, 0]


def test_a_value_that_a_run_could_not_store_fails_its_step() -> None:
    unstorable: dict[str, Callable[..., object]] = {"split": parts, "publish": Mock(return_value={"2013-03-01"})}
    result = run_pipeline(demand, "2013-03-01", fakes=unstorable)
    assert result.states["publish"] == "failed"
    assert str(result.reason).startswith("publish: The output publish.result cannot be stored. A builtins.set has no")
    assert run_pipeline(demand, "2013-03-01", fakes=unstorable, stored=False).value("publish") == {"2013-03-01"}


def test_frames_and_arrays_come_back_as_they_were() -> None:
    frame = pd.DataFrame({"a": [1, 2], "at": pd.to_datetime(["2013-03-01", "NaT"])}, index=pd.Index([5, 7], name="n"))

    @step
    def read(day: Interval) -> pd.DataFrame:
        return frame

    @step
    def values(rows: pd.DataFrame) -> np.ndarray:
        rows["a"] = 0
        return np.asarray([[1.5, 2.5]])

    @pipeline(model="demand", team="research", environment="dev")
    def frames(day: Interval) -> None:
        values(read(day))

    result = run_pipeline(frames, "2013-03-01")
    assert result.state == "succeeded", result.reason
    pd.testing.assert_frame_equal(result.value("read"), frame)
    assert result.value("values").tolist() == [[1.5, 2.5]]


def test_asking_for_what_there_is_not_says_what_there_is() -> None:
    result = run_pipeline(demand, "2013-03-01")
    with pytest.raises(NotFound, match="has no step 'publsh'; its steps are split, add, total, publish"):
        result.value("publsh")
    with pytest.raises(UsageError, match="publish returned nothing: it was skipped: split failed"):
        result.value("publish")
    with pytest.raises(UsageError, match="split returned nothing: it failed: ConnectionError: there is no warehouse"):
        result.value("split")
    result = run_pipeline(demand, "2013-03-01", fakes={"split": parts})
    with pytest.raises(NotFound, match="split stores no 'result'; its outputs are left, right"):
        result.value("split")


RANDOM = np.random.default_rng(7)
ROWS = pd.DataFrame({"x": RANDOM.normal(size=1_500), "noise": RANDOM.normal(size=1_500)})
ROWS["y"] = (ROWS["x"] + RANDOM.normal(size=1_500) > 0).astype("int64")


class Rows(NamedTuple):
    history: pd.DataFrame
    holdout: pd.DataFrame
    replay: pd.DataFrame


@step
def rows(day: Interval) -> Rows:
    return Rows(ROWS[:300], ROWS[300:700], ROWS[700:])


@step
def train(history: pd.DataFrame) -> LogisticRegression:
    return LogisticRegression().fit(history[["x", "noise"]], history["y"])


@pipeline(model="tried", team="research", environment="dev")
def tried(day: Interval) -> None:
    data = rows(day)
    candidate = train(data.history)
    policy = GatePolicy(primary="auc", floors={"auc": 0.6}, mode="refresh")
    evidence = evaluate_candidate(candidate, data.holdout, label="y", policy=policy)
    with when(evidence.passed):
        version = register_version(candidate, evidence)
        plan = CanaryPlan(phases=(Phase(weight_percent=50, requests=800),), margin=0.2, look_every=100)
        run_canary(version, replay=data.replay, plan=plan)


@pipeline(model="tried", team="research", environment="dev")
def promoted(day: Interval) -> None:
    data = rows(day)
    candidate = train(data.history)
    evidence = evaluate_candidate(candidate, data.holdout, label="y", policy=GatePolicy(floors={"auc": 0.6}))
    with when(evidence.passed):
        promote_version(register_version(candidate, evidence))


def test_stages_run_against_a_registry_that_one_run_leaves_to_the_next() -> None:
    registry = FakeRegistry()
    first = run_pipeline(promoted, "2013-03-01", registry=registry)
    assert (first.state, first.outcome) == ("succeeded", "promoted"), first.reason
    (version,) = registry.versions("tried")
    assert first.value("register_version") == version
    assert version.run_id == first.run_id
    beside = registry.registry.attached[version.source]
    assert hashlib.sha256(beside["podium/gate/evidence.json"]).hexdigest() == version.evidence_digest
    page = beside["podium/gate/report.html"].decode()
    assert version.lineage is not None
    for fact in (first.run_id, "promoted", "2013-03-01", version.lineage.data_digest, version.lineage.code_digest):
        assert fact in page
    described = registry.registry.get_version("tried", "1").description
    assert described.startswith("**passed**: The candidate passed the gate: it may become the first champion of tried.")
    assert f"[The report]({version.source}/podium/gate/report.html)" in described

    def other_rows(day: Interval) -> Rows:
        return Rows(ROWS[:250], ROWS[300:700], ROWS[700:])

    second = run_pipeline(tried, "2013-03-02", registry=registry, fakes={"rows": other_rows})
    assert second.state == "succeeded", second.reason
    assert second.outcome == "promoted", second.value("run_canary")
    assert second.value("evaluate_candidate").champion_version == "1"
    assert second.value("run_canary").state == "promoted"
    assert registry.champion("tried") == "2"
    assert [entry.to_version for entry in registry.history("tried")] == ["1", "2"]


@pipeline(model="tried", team="research", environment="dev")
def ruled(day: Interval) -> None:
    """Judge by the project's own gate."""
    data = rows(day)
    evaluate_candidate(train(data.history), data.holdout, label="y")


@pytest.mark.parametrize(
    ("cost", "verdict"), [(None, "insufficient"), (Decimal("0.25"), "passed"), (Decimal("0.26"), "failed")]
)
def test_a_run_in_process_is_judged_by_the_gate_that_podium_toml_names(
    cost: Decimal | None, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "podium.toml").write_text('[gates]\n"tri*" = "gate.yaml"\n')
    (tmp_path / "gate.yaml").write_text("name: own\nfloors: {auc: 0.6}\nlimits: {cost_usd: 0.25}\n")
    monkeypatch.setattr("podium.testing.run._root_of", lambda _: tmp_path)
    result = run_pipeline(ruled, "2013-03-01", registry=FakeRegistry(cost_usd=cost))
    assert result.state == "succeeded", result.reason
    evidence = result.value("evaluate_candidate")
    assert evidence.verdict == verdict, evidence.reasons
    assert evidence.policy == GatePolicy.from_file(tmp_path / "gate.yaml")
    assert evidence.policy_digest == evidence.policy.digest
    assert evidence.policy_source == "file"


def test_what_the_columns_of_the_champion_held_is_asked_of_its_evidence() -> None:
    registry, above = FakeRegistry(), ROWS.assign(x=ROWS["x"] > 0)
    fakes = {"rows": Mock(return_value=Rows(above[:300], above[300:700], above[700:]))}
    first = run_pipeline(promoted, "2013-03-01", registry=registry, fakes=fakes)
    assert first.outcome == "promoted"
    fakes = {"rows": Mock(return_value=Rows(ROWS[:250], ROWS[300:600], ROWS[700:]))}
    second = run_pipeline(promoted, "2013-03-02", registry=registry, fakes=fakes)
    assert (second.state, second.outcome) == ("succeeded", "rejected")
    reasons = second.value("evaluate_candidate").reasons
    assert any("The column x is number for the candidate and boolean for the champion" in each for each in reasons)


def test_rows_that_trained_the_champion_may_not_judge_it_in_a_test_either() -> None:
    registry = FakeRegistry()
    run_pipeline(promoted, "2013-03-01", registry=registry)
    again = {"rows": Mock(return_value=Rows(ROWS[700:900], ROWS[:300], ROWS[900:]))}
    result = run_pipeline(promoted, "2013-03-02", registry=registry, fakes=again)
    assert result.states["evaluate_candidate"] == "failed"
    assert "were read on the way to the champion (version 1), so they cannot judge it" in str(result.reason)


def test_a_candidate_without_merit_is_an_outcome_and_no_failure() -> None:
    unlearned = {"train": lambda history: LogisticRegression().fit(history[["noise"]], history["y"])}
    result = run_pipeline(promoted, "2013-03-01", fakes=unlearned)
    assert (result.state, result.outcome) == ("succeeded", "rejected"), result.reason
    assert result.states["register_version"] == "skipped"


def test_a_run_and_its_registry_have_one_clock() -> None:
    with pytest.raises(UsageError, match="two clocks"):
        run_pipeline(demand, "2013-03-01", clock=FakeClock(), registry=FakeRegistry())
    clock = FakeClock()
    assert run_pipeline(demand, "2013-03-01", clock=clock, registry=FakeRegistry(clock)).state == "failed"


def test_no_test_of_a_user_pays_for_mlflow() -> None:
    import subprocess
    import sys

    code = "import sys, podium.testing; print(*{'mlflow', 'pandas', 'sklearn', 'scipy', 'alembic'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
