"""What every backend keeps to: local slots, and a real Ray cluster."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from podium.dag import values
from podium.execution import wire
from podium.execution.backend import SeatEnded
from podium.execution.ray_backend import RayBackend
from tests.backend_world import BackendWorld, backend_world, in_local_slots, on_ray
from tests.execution_world import is_gone
from tests.ray_cluster import ray_cluster

HANGING = """
@step
def it() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    print("began", flush=True)
    Path("begun").write_text(f"{os.getpid()} {child.pid}")
    signal.pause()
"""


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    with ray_cluster() as cluster:
        cluster.add_node(cpu=4)
        yield cluster.address


@pytest.fixture(params=["local", "ray"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackendWorld]:
    make = partial(on_ray, request.getfixturevalue("ray_address")) if request.param == "ray" else in_local_slots
    with backend_world(tmp_path, make) as world:
        yield world


def test_a_result_comes_with_its_outputs_its_usage_and_its_log(world: BackendWorld) -> None:
    seat = world.place(
        "@step\ndef it() -> dict[str, int]:\n    os.system('echo native; echo wrong >&2')\n    return {'a': 1}\n"
    )
    assert seat.attempt_id == "attempt-1"
    result = world.next_message(seat, "result")
    assert (result["attempt_id"], result["state"]) == ("attempt-1", "succeeded")
    made = wire.artifact_from_document(result["outputs"]["result"])
    assert world.flow.project.artifacts.get(made) == {"a": 1}
    usage = wire.usage_from_document(result["usage"])
    assert usage.quality == "measured"
    assert usage.wall_seconds > 0.0
    assert usage.peak_memory_bytes
    assert world.log() == "native\nwrong\n"
    seat.release()
    assert seat.attempt_id is None


def test_an_error_comes_with_its_type_and_place(world: BackendWorld) -> None:
    seat = world.place("@step\ndef it() -> int:\n    return 1 // 0\n")
    result = world.next_message(seat, "result")
    assert result["state"] == "failed"
    assert result["error"]["type"] == "ZeroDivisionError"
    assert "flow.py:" in result["error"]["message"]
    assert "Traceback" in world.log()


def test_a_long_log_arrives_whole_before_the_result(world: BackendWorld) -> None:
    seat = world.place("@step\ndef it() -> None:\n    for number in range(40_000):\n        print(number, '.' * 80)\n")
    world.next_message(seat, "result")
    assert [line.split()[0] for line in world.log().splitlines()] == [str(number) for number in range(40_000)]


def test_a_log_grows_while_the_step_runs(world: BackendWorld) -> None:
    world.place(HANGING)
    world.wait_until(lambda: (world.logs / "1.log").exists() and world.log() == "began\n")


def test_a_stage_is_answered(world: BackendWorld) -> None:
    seat = world.place("""
from podium.execution.context import current

@step
def it() -> int:
    return current().services.ask("double", {"number": 21})
""")
    question = world.next_message(seat, "service")
    assert (question["service"], values.decode(question["arguments"])) == ("double", {"number": 21})
    seat.answer({"type": "answer", "value": 42})
    result = world.next_message(seat, "result")
    assert wire.artifact_from_document(result["outputs"]["result"]).inline == b"42"


def test_what_an_attempt_uses_is_seen_while_it_runs(world: BackendWorld) -> None:
    seat = world.place("""
@step
def it() -> None:
    block = bytearray(os.urandom(2**20)) * 150
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    Path("begun").write_text(str(os.getpid()))
    signal.pause()
""")
    world.begun()

    def seen() -> bool:
        sample = seat.sample()
        return sample is not None and sample.cpu_seconds >= 0.2 and sample.memory_bytes > 150 * 2**20

    world.wait_until(seen)
    assert seat.begun


def test_a_seat_that_is_ended_is_killed_with_all_it_started(world: BackendWorld) -> None:
    seat = world.place(HANGING)
    processes = world.begun()
    world.wait_until(lambda: seat.begun)
    seat.end()
    seat.end()
    assert world.end_of(seat) == SeatEnded(seat, -9)
    assert all(is_gone(each) for each in processes)
    assert world.log() == "began\n"
    seat.release()


@pytest.mark.parametrize(("death", "status"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)])
def test_a_process_that_dies_by_itself_is_told_with_its_status(world: BackendWorld, death: str, status: int) -> None:
    seat = world.place(f"@step\ndef it() -> None:\n    print('last words', flush=True)\n    {death}\n")
    assert world.end_of(seat) == SeatEnded(seat, status)
    assert world.log() == "last words\n"


def test_attempts_are_executed_beside_each_other(world: BackendWorld) -> None:
    wait_for_the_other = """
@step
def it() -> None:
    Path(f"here {os.getpid()}").touch()
    while len(list(Path.cwd().glob("here *"))) < 2:
        time.sleep(0.01)
"""
    seats = [world.place(wait_for_the_other) for _ in range(2)]
    for seat in seats:
        assert world.next_message(seat, "result")["state"] == "succeeded"


def test_nothing_outlives_the_backend(world: BackendWorld) -> None:
    world.place(HANGING.replace("signal.pause()", "import ctypes; ctypes.PyDLL(None).sleep(1000)"))  # holds the GIL
    processes = world.begun()
    world.backend.stop()
    assert all(is_gone(each) for each in processes)


def test_an_answer_to_an_attempt_that_has_ended_harms_nobody(world: BackendWorld) -> None:
    first = world.place("@step\ndef it() -> int:\n    return 1\n")
    world.next_message(first, "result")
    first.release()
    first.answer({"type": "answer", "value": 1})
    second = world.place("@step\ndef it() -> int:\n    return 2\n")
    assert world.next_message(second, "result")["state"] == "succeeded"


def test_the_capacity_is_what_the_backend_has(world: BackendWorld) -> None:
    capacity = world.backend.capacity
    cores = 4.0 if isinstance(world.backend, RayBackend) else len(os.sched_getaffinity(0))
    assert (capacity.cpu, capacity.slots) == (cores, 2)
    assert capacity.memory_bytes > 2**30
