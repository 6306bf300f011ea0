"""Runs that fail, channels that are looked into, and notifiers: what tests of alerts start from.

Run as a program it lets one notifier advance once, in a process that a fault may kill: what its channel takes is
appended to a file.
"""

import sys
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from podium.clock import Clock, FakeClock
from podium.dag.interval import Interval
from podium.dag.plan import Plan, Reference, Resources, StepNode
from podium.db import migrate
from podium.db.engine import Database
from podium.execution.entities import Run
from podium.notify.documents import alert_documents
from podium.notify.entities import Notice
from podium.notify.loop import Notifier
from podium.notify.port import Channel
from podium.notify.rules import Limit, Rule, Rules
from tests.execution_world import DAY, HandWorker, node, plan_of

ON_EVERYTHING = Rules(
    (Rule(("run_failed", "deadline_missed", "held", "promotion", "rollback", "champion_moved"), ("oncall",)),)
)
ONE_STEP = plan_of(node("a"))
ASKED = plan_of(
    node("a"),
    replace(
        node("asked", reads={"a.result": Reference("a")}, outputs=("approved", "by", "reason")),
        kind="approval",
        message="Is it good?",
        timeout_seconds=3 * 86_400.0,
        resources=Resources(0.0, 0, 0),
    ),
)


@dataclass
class Recorder:
    """A channel that keeps what it is sent, unless it is `down`."""

    taken: list[tuple[str, str]] = field(default_factory=list)
    down: str | None = None
    asked: int = 0
    scheme: str = "recorder"

    def send(self, title: str, body: str) -> str | None:
        """Take a message, or say why not."""
        self.asked += 1
        if self.down is None:
            self.taken.append((title, body))
        return self.down

    @property
    def titles(self) -> list[str]:
        """What it took, short."""
        return [title for title, _ in self.taken]


@dataclass(frozen=True)
class FileChannel:
    """A channel that is a file."""

    path: Path
    scheme: str = "file"

    def send(self, title: str, body: str) -> str | None:
        """Append the title."""
        del body
        with self.path.open("a") as file:
            file.write(f"{title}\n")
        return None


class AlertingWorld:
    """Runs moved by hand, one channel `oncall`, and a notifier that has looked once: what follows is news."""

    def __init__(self, database: Database, folder: Path, rules: Rules = ON_EVERYTHING) -> None:
        self.database = database
        self.hand = HandWorker(database, folder)
        self.hand.worker("w")
        self.clock: FakeClock = self.hand.clock
        self.channel = Recorder()
        self.notices: list[Notice] = []
        self.rules = rules
        self.notifier = self.another()
        self.notifier.advance()

    def another(self, rules: Rules | None = None, **channels: Channel) -> Notifier:
        """One more notifier, to the same channel unless told otherwise."""
        made = {"oncall": self.channel, **channels}
        return Notifier(
            self.database, made, rules or self.rules, self.clock, self.notices.append, patience_seconds=20.0
        )

    def fails(self, plan: Plan = ONE_STEP, interval: Interval = DAY) -> Run:
        """A run whose first step fails, a second ago."""
        started = self.hand.start(plan, interval)
        self.hand.end(self.hand.claim(started)[0], "failed")
        assert self.hand.run(started).state == "failed"
        self.clock.advance(1)  # so that what fails later is later
        return started

    def alerts(self, state: str | None = None) -> list[dict[str, Any]]:
        """What `podium alerts list` shows."""
        with self.database.read() as connection:
            return alert_documents(connection, 1000, state)

    def states(self) -> dict[str, int]:
        """How many deliveries are in which state."""
        found: dict[str, int] = {}
        for each in self.alerts():
            for delivery in each["deliveries"]:
                found[delivery["state"]] = found.get(delivery["state"], 0) + 1
        return found


@cache
def empty_sqlite() -> bytes:
    """A migrated SQLite database without a row, as a file: to copy it is faster than to migrate another."""
    with tempfile.TemporaryDirectory() as folder:
        made = Database(f"sqlite:///{folder}/podium.db", Path(folder))
        migrate.ensure(made)
        made.close()
        return (Path(folder) / "podium.db").read_bytes()


def fresh_sqlite(folder: Path) -> Database:
    """A fresh SQLite database in a folder."""
    (folder / "podium.db").write_bytes(empty_sqlite())
    return Database(f"sqlite:///{folder / 'podium.db'}", folder / "locks")


def named_plan(pipeline: str, *steps: StepNode) -> Plan:
    """A plan of another pipeline."""
    return replace(plan_of(*(steps or (node("a"),))), pipeline=pipeline)


def limited(text: str) -> Rules:
    """Rules that tell everything, to `oncall`, so often at most."""
    return replace(ON_EVERYTHING, limits={"oncall": (Limit.parse(text),)})


@dataclass(frozen=True)
class _At:
    """A clock that stands still."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


def main(url: str, folder: str, at: str) -> None:
    """Advance once at that time, as the process that a fault kills."""
    database = Database(url, Path(folder))
    clock: Clock = _At(datetime.fromisoformat(at).astimezone(UTC))
    channels: dict[str, Channel] = {"oncall": FileChannel(Path(folder) / "taken")}
    seen: list[Notice] = []
    Notifier(database, channels, ON_EVERYTHING, clock, seen.append, patience_seconds=20.0).advance()
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
