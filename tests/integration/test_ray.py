"""A worker whose steps are executed on a real Ray cluster: nodes are lost, steps wait for nodes, workers are killed."""

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from podium.dag.plan import Resources
from podium.errors import ConfigurationError, ServiceUnavailable
from podium.execution.entities import Happening
from podium.execution.ray_backend import RayBackend
from podium.execution.ray_driver import last_line, waits_for
from tests.backend_world import backend_world, on_ray
from tests.execution_world import ONE_STEP, FlowProject, attempts, is_gone, only
from tests.ray_cluster import RayCluster, ray_cluster

GIB = 2**30
HOLDING = """
HANGING = "hanging"

@step
def it() -> int:
    if not Path("begun").exists():
        print("begins", flush=True)
        child = subprocess.Popen(["sleep", "1000"])
        Path("begun").write_text(f"{os.getpid()} {child.pid}")
        open(HANGING, "w").close()  # waits for the test to open it
        signal.pause()
    print("again", flush=True)
    return 42
"""


BURN = """
        until = time.process_time() + 1.2
        while time.process_time() < until:
            pass
"""
BURNING = HOLDING.replace("        open(HANGING", f"{BURN}        open(HANGING")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster() as cluster:
        cluster.add_node(cpu=1)
        yield cluster


@pytest.fixture
def flow(tmp_path: Path, cluster: RayCluster) -> FlowProject:
    return flow_on_ray(tmp_path, cluster.address)


def flow_on_ray(folder: Path, address: str, settings: str = "") -> FlowProject:
    """A project whose workers execute on a Ray cluster."""
    return FlowProject(folder / "flows", f'backend = "ray"\nray_address = "{address}"\n{settings}\n')


def begun(flow: FlowProject) -> list[int]:
    """The processes that the step consists of."""
    return [int(number) for number in (flow.root / "begun").read_text().split()]


def when_it_has_begun(flow: FlowProject, act: Callable[[list[int]], object]) -> threading.Thread:
    """Do something as soon as the step has begun, in a thread: the worker goes on meanwhile."""
    os.mkfifo(flow.root / "hanging")

    def wait_and_act() -> None:
        (flow.root / "hanging").read_text()
        act(begun(flow))

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


@pytest.mark.parametrize("victim", ["node", "worker of the node"])
def test_a_lost_node_is_a_lost_attempt_and_the_step_is_tried_again_on_another(
    flow: FlowProject, cluster: RayCluster, victim: str
) -> None:
    flow.write(BURNING + ONE_STEP)
    run = flow.start()
    if victim == "node":
        cluster.add_node(cpu=1)
    kill = cluster.kill_node_of if victim == "node" else cluster.kill_worker_of
    killer = when_it_has_begun(flow, lambda processes: kill(processes[0]))
    document = flow.execute(run)  # with one bill per attempt, which this checks
    killer.join()
    assert document["state"] == "succeeded"
    lost, succeeded = attempts(document, "it")
    assert (lost["state"], succeeded["state"]) == ("lost", "succeeded")
    assert lost["error"].startswith("the Ray worker that executed it on ")
    assert (lost["meter_quality"], succeeded["meter_quality"]) == ("estimated", "measured")
    assert 0.1 < lost["cpu_seconds"] < 5.0
    assert flow.value(document, "it") == 42
    assert (flow.log(document, "it"), flow.log(document, "it", 2)) == ("begins\n", "again\n")
    assert all(is_gone(each) for each in begun(flow))


def test_a_node_that_hears_nothing_ends_what_it_executes_and_the_step_is_tried_again(
    tmp_path: Path, cluster: RayCluster
) -> None:
    flow = flow_on_ray(tmp_path, cluster.address, "lease_seconds = 3.0")
    flow.write(HOLDING + ONE_STEP)
    run = flow.start()
    ended: list[bool] = []

    def freeze_the_driver(processes: list[int]) -> None:
        (driver,) = [each for each in psutil.Process().children() if "podium.execution.ray_driver" in each.cmdline()]
        driver.suspend()
        gone, _ = psutil.wait_procs([psutil.Process(each) for each in processes], timeout=20.0)
        ended.append(len(gone) == len(processes))
        driver.resume()

    freezer = when_it_has_begun(flow, freeze_the_driver)
    document = flow.execute(run)
    freezer.join()
    assert ended == [True]
    assert [each["state"] for each in attempts(document, "it")] == ["lost", "succeeded"]


def test_a_step_that_fits_no_node_says_so_and_can_be_cancelled(tmp_path: Path, cluster: RayCluster) -> None:
    cluster.add_node(cpu=1)  # together they have enough, and none has it alone
    flow = flow_on_ray(tmp_path, cluster.address)
    flow.write("@step(cpu=2, memory='1GiB')\ndef it() -> None: ...\n" + ONE_STEP)
    run = flow.start()
    told: list[Happening] = []

    def cancel_once_it_waits(happening: Happening) -> None:
        told.append(happening)
        if happening.kind == "attempt.waiting":
            flow.project.execution.cancel(run.run_id, reason="too large")

    document = flow.execute(run, cancel_once_it_waits)
    (waits,) = [each for each in told if each.kind == "attempt.waiting"]
    assert waits.reason is not None
    assert waits.reason.startswith(
        "no node of the Ray cluster has cpu=2, memory=1.0GiB, gpu=0, the most that one has is"
    )
    assert (document["state"], only(document)["state"]) == ("cancelled", "cancelled")


def test_a_step_on_ray_is_ended_when_its_time_is_over(flow: FlowProject) -> None:
    source = HOLDING.replace("@step", "@step(timeout='1s')").replace('"hanging"', '"a plain file"')
    flow.write(source + ONE_STEP)
    document = flow.execute(flow.start())
    attempt = only(document)
    assert (attempt["state"], attempt["meter_quality"]) == ("timed_out", "estimated")
    assert flow.log(document, "it") == "begins\n"
    assert all(is_gone(each) for each in begun(flow))


def test_what_runs_on_the_cluster_ends_with_a_supervisor_that_is_killed(flow: FlowProject) -> None:
    held = HOLDING.replace("signal.pause()", "import ctypes; ctypes.PyDLL(None).sleep(1000)")  # holds the GIL
    flow.write(held + ONE_STEP)
    os.mkfifo(flow.root / "hanging")
    supervisor = subprocess.Popen(
        [Path(sys.executable).with_name("podium"), "run", "flow", "--for", "2026-11-02"],
        cwd=flow.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    (flow.root / "hanging").read_text()
    (driver,) = psutil.Process(supervisor.pid).children()
    supervisor.kill()
    assert supervisor.communicate(timeout=10)[0] == b""  # what Ray has to say is in its log
    assert is_gone(driver.pid)
    assert all(is_gone(each) for each in begun(flow))
    document = flow.execute(flow.start())
    assert [each["state"] for each in attempts(document, "it")] == ["lost", "succeeded"]


def test_without_an_address_a_worker_starts_a_cluster_ends_it_and_tells_it_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_TOKEN", "secret")
    flow = flow_on_ray(tmp_path, "")
    flow.write("@step\ndef it() -> int:\n    return 42\n" + ONE_STEP)
    before = set(psutil.Process().children(recursive=True))
    started: dict[psutil.Process, dict[str, str]] = {}

    def see_what_is_started(_: Happening) -> None:
        for each in set(psutil.Process().children(recursive=True)) - before - started.keys():
            with suppress(psutil.NoSuchProcess):
                started[each] = each.environ()

    document = flow.execute(flow.start(), see_what_is_started)
    assert flow.value(document, "it") == 42
    assert "PATH" in set().union(*started.values())
    assert "PODIUM_TOKEN" not in set().union(*started.values())
    _, alive = psutil.wait_procs(list(started), timeout=10.0)
    assert alive == []


def test_a_step_is_given_the_gpus_that_it_reserves(tmp_path: Path, cluster: RayCluster) -> None:
    node = cluster.add_node(cpu=1, gpu=2)
    with backend_world(tmp_path, partial(on_ray, cluster.address)) as world:
        assert world.backend.capacity.gpu == 2
        source = "@step\ndef it() -> None:\n    print(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        seats = [world.place(source, Resources(0.5, GIB, 1)) for _ in range(2)]
        for seat in seats:
            world.next_message(seat, "result")
        assert {world.log(1), world.log(2)} == {"0\n", "1\n"}
    cluster.remove_node(node)


class TestUnusableClusters:
    def backend(self, tmp_path: Path, address: str) -> RayBackend:
        return RayBackend({}, address, 1, 30.0, tmp_path / "ray-driver.log")

    def test_one_that_does_not_answer_is_named_at_once(self, tmp_path: Path) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{closed.getsockname()[1]}"
            with pytest.raises(ServiceUnavailable, match=f"{address} does not answer.*ray start --head"):
                self.backend(tmp_path, address).start()

    def test_without_ray_it_is_said_how_to_install_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(ConfigurationError, match=r"podium\[ray\]"):
            self.backend(tmp_path, "").start()

    def test_a_driver_that_dies_is_told_with_where_its_last_words_are(
        self, tmp_path: Path, cluster: RayCluster
    ) -> None:
        backend = self.backend(tmp_path, cluster.address)
        backend.start()
        assert backend._driver is not None
        backend._driver.kill()
        with pytest.raises(ServiceUnavailable, match=r"ray-driver\.log"):
            list(backend.wait(10.0))
        backend.stop()


def test_what_an_attempt_waits_for_tells_a_full_cluster_from_a_small_one() -> None:
    asked = Resources(2.0, 4 * GIB, 1)
    assert waits_for(asked, [Resources(2.0, 8 * GIB, 1)]) == (
        "waits until a node of the Ray cluster has cpu=2, memory=4.0GiB, gpu=1 free"
    )
    assert "the most that one has is cpu=8, memory=8.0GiB, gpu=1;" in waits_for(
        asked, [Resources(8.0, 8 * GIB, 0), Resources(1.0, 2 * GIB, 1)]
    )
    assert "the most that one has is cpu=0, memory=0.0GiB, gpu=0;" in waits_for(asked, [])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("The actor died.\n\tpid: 1\nIts node was terminated\n", "Its node was terminated"),
        ("it ended. Some common causes include: (1) …", "it ended."),
        ("", "no reason is known"),
    ],
)
def test_the_cause_is_the_last_line_of_what_ray_says(text: str, line: str) -> None:
    assert last_line(text) == line
