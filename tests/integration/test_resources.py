"""What steps reserve, in real runs: GPUs are handed out, pools and labels are obeyed, and too much is refused."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from podium.errors import ConfigurationError
from tests.execution_world import ONE_STEP, FlowProject, attempts

SEEN = """
@step(gpu={gpus})
def {name}() -> list[str]:
    return [os.environ.get("CUDA_VISIBLE_DEVICES", "unset"), str(os.getpid())]
"""


def flow_of(tmp_path: Path, settings: str = "") -> FlowProject:
    return FlowProject(tmp_path / "flows", settings)


def refused_before_it_is_on_record(flow: FlowProject, words: str) -> None:
    run = flow.start()
    with flow.project.database.write() as connection:
        connection.execute(sa.text("DELETE FROM event"))
    with pytest.raises(ConfigurationError, match=words):
        flow.execute(run)
    with flow.project.database.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM event")) == 0


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("gpu=1", "it of flow reserves 1 GPU > 0 there are"),
        ("cpu=3", "it of flow reserves 3 cores > 2 there are"),
        ("memory='3GiB'", r"it of flow reserves 3\.0 GiB > 2\.0 GiB there are"),
        ("labels=['licensed']", "it of flow wants a worker with the label licensed"),
    ],
)
def test_a_step_that_this_machine_can_never_execute_is_refused(tmp_path: Path, option: str, words: str) -> None:
    flow = flow_of(tmp_path, "cpu = 2\nmemory_gib = 2\ngpu = 0\n")
    flow.write(f"@step({option})\ndef it() -> int:\n    return 1\n" + ONE_STEP)
    refused_before_it_is_on_record(flow, words)


def test_each_attempt_sees_the_gpus_that_it_reserved_and_no_others(tmp_path: Path) -> None:
    flow = flow_of(tmp_path, "cpu = 8\ngpu = 3\n")
    source = "".join(SEEN.format(name=name, gpus=gpus) for name, gpus in (("none", 0), ("one", 1), ("two", 2)))
    document = flow.run(source + "\n---\ndef flow(day: Interval) -> None:\n    none()\n    one()\n    two()\n")
    seen = {name: flow.value(document, name) for name in ("none", "one", "two")}
    assert [len(list(filter(None, devices.split(",")))) for devices, _ in seen.values()] == [0, 1, 2]
    assert all(set(devices.split(",")) <= {"", "0", "1", "2"} for devices, _ in seen.values())
    assert seen["one"][1] != seen["two"][1]  # a process that may have used a GPU executes nothing else


def test_steps_of_a_pool_of_one_run_one_after_the_other(tmp_path: Path) -> None:
    flow = flow_of(tmp_path, "cpu = 4\n[pools]\nwarehouse = 1\n")
    document = flow.run(
        """
@step(pool="warehouse")
def first() -> None:
    pass

@step(pool="warehouse")
def second() -> None:
    pass

---
def flow(day: Interval) -> None:
    first()
    second()
"""
    )
    (one,), (other,) = attempts(document, "first"), attempts(document, "second")
    assert one["ended_at"] <= other["started_at"] or other["ended_at"] <= one["started_at"]


def test_a_pool_that_is_not_defined_is_named(tmp_path: Path) -> None:
    flow = flow_of(tmp_path)
    flow.write("@step(pool='warehouse')\ndef it() -> int:\n    return 1\n" + ONE_STEP)
    with pytest.raises(ConfigurationError, match=r"The pool 'warehouse' is not in podium\.toml \(there is none\)"):
        flow.execute(flow.start())
