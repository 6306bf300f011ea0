"""A backend by itself, without a worker or a database behind it, and what it was heard to say."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from podium.dag.plan import Resources
from podium.execution import assignments
from podium.execution.backend import Backend, Seat, SeatEnded, SeatLost, SeatMessage, SeatNews
from podium.execution.channel import Message
from podium.execution.entities import Assignment, Run
from podium.execution.items import WHOLE
from podium.execution.ray_backend import RayBackend
from podium.execution.slots import Slots
from podium.ids import digest_bytes
from podium.wiring.stage_services import slot_configuration
from tests.execution_world import ACTOR, DAY, ONE_STEP, FlowProject, node, plan_of

PATIENCE_SECONDS = 30.0


@dataclass
class BackendWorld:
    """A backend, and the project whose steps it executes."""

    backend: Backend
    flow: FlowProject
    logs: Path
    numbers: int = 0
    heard: list[SeatNews] = field(default_factory=list)

    def place(self, source: str, resources: Resources | None = None) -> Seat:
        """Have the step `it` of `source` executed, with these resources or those that it reserves."""
        self.flow.write(source + ONE_STEP)
        file = self.flow.root / "pipelines" / "flow.py"
        plan = plan_of(node("it"), code=digest_bytes(file.read_bytes()))
        self.numbers += 1
        run = Run(
            "run", "flow", plan.digest, DAY, {}, "key", "running", None, None, ACTOR, plan.team, plan.model, "dev"
        )
        assignment = Assignment(
            attempt_id=f"attempt-{self.numbers}",
            number=self.numbers,
            run=run,
            plan=plan,
            step_run_id="step-run",
            node=plan.step("it"),
            map_index=WHOLE,
            failures=0,
            started_at=run.interval.end,
            stored={},
            log=f"{self.numbers}.log",
        )
        message = assignments.to_message(assignment, self.logs)
        return self.backend.place(message, resources or assignment.node.resources, plan.code_digest, complete=False)

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Hear the backend until something has happened."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happened():
            assert time.monotonic() < deadline, f"heard only {self.heard}"
            self.heard += self.backend.wait(0.1)

    def next_message(self, seat: Seat, kind: str) -> Message:
        """Wait for a message of a seat and return it."""

        def found() -> list[Message]:
            said = [each for each in self.heard if isinstance(each, SeatMessage) and each.seat is seat]
            return [each.message for each in said if each.message["type"] == kind]

        self.wait_until(lambda: bool(found()))
        return found()[0]

    def end_of(self, seat: Seat) -> SeatEnded | SeatLost:
        """Wait for the end of a seat's process and return it."""

        def found() -> list[SeatEnded | SeatLost]:
            return [each for each in self.heard if isinstance(each, SeatEnded | SeatLost) and each.seat is seat]

        self.wait_until(lambda: bool(found()))
        return found()[0]

    def begun(self) -> list[int]:
        """Wait until the step has written which processes it consists of."""
        file = self.flow.root / "begun"
        self.wait_until(lambda: file.exists() and bool(file.read_text()))
        return [int(number) for number in file.read_text().split()]

    def log(self, number: int = 1) -> str:
        """What an attempt has printed."""
        return (self.logs / f"{number}.log").read_text()


def in_local_slots(configuration: Message, logs: Path) -> Backend:
    """Two slots on this machine."""
    return Slots(configuration, (), logs / "slot-host.log", count=2)


def on_ray(address: str, configuration: Message, logs: Path) -> Backend:
    """Two attempts at once on a Ray cluster."""
    return RayBackend(configuration, address, 2, 30.0, logs / "ray-driver.log")


@contextmanager
def backend_world(folder: Path, make: Callable[[Message, Path], Backend]) -> Iterator[BackendWorld]:
    """Start a backend with a project; its services are what the steps ask for."""
    flow, logs = FlowProject(folder / "flows"), folder / "logs"
    (flow.root / "services.py").write_text("class Services:\n    def __init__(self, _, ask):\n        self.ask = ask\n")
    backend = make({**slot_configuration(flow.project), "services": "services:Services"}, logs)
    backend.start()
    try:
        yield BackendWorld(backend, flow, logs)
    finally:
        backend.stop()
