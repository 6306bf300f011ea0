"""Processes that register and promote on a real MLflow, started fast: one parent warms up, children fork.

Run as a program it reads one JSON order a line, does each of its acts in a child process of its own, all at once,
and answers with a JSON line of what became of them.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium import faults
from podium.clock import SystemClock
from podium.db.engine import Database
from podium.errors import Refused
from podium.registry.adoption import AdoptionService, Choice
from podium.registry.approval import ApprovalRule
from podium.registry.entities import CHAMPION, Promotion
from podium.registry.guard import Guard
from podium.registry.mlflow_registry import MlflowRegistry
from podium.registry.packaging import requirements_of
from podium.registry.trust import Trust
from podium.settings import REVIEWED_TYPES
from tests.environments_world import Environments
from tests.promotion_world import SAMPLE, World, estimator

ROOT = Path(__file__).parent.parent
TRUST = Trust(REVIEWED_TYPES)


class Processes:
    """The parent process, and what it is asked for."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder

    def run(self, database: Database, model: str, *acts: tuple[str, dict[str, Any]], faults: str = "") -> list[Any]:
        """Do the acts, each in its own process at the same time; return results, or -9 for a killed process."""
        order = {
            "database": database.engine.url.render_as_string(hide_password=False),
            "folder": str(self._folder),
            "model": model,
            "faults": faults,
            "acts": acts,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answers: list[Any] = json.loads(self._process.stdout.readline())
        for answer in answers:
            assert not isinstance(answer, str), answer
        return answers

    def one(self, database: Database, model: str, act: str, *, faults: str = "", **arguments: Any) -> Any:
        """Do one act."""
        (answer,) = self.run(database, model, (act, arguments), faults=faults)
        return answer


@contextmanager
def started(folder: Path) -> Iterator[Processes]:
    """Start the parent process; its MLflow lives in `folder`."""
    command = [sys.executable, "-m", "tests.registry_processes", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Processes(process, folder)
        finally:
            process.communicate()


def journey(world: World, *, key: str) -> dict[str, Any]:
    """Do what a first run does at its end: upload, register, promote; return that and what is on record then."""
    version = world.candidate(key=key)
    return {"promotion": promote(world, version=version, expect=None, key=f"{key}/promote"), **inspect(world)}


def candidates(world: World, *, count: int) -> list[str]:
    """Register candidates, all judged against the present champion."""
    return [world.candidate(champion=world.champion, key=f"{world.model}/{number}") for number in range(count)]


def promote(world: World, *, version: str, expect: str | None, key: str) -> dict[str, Any]:
    """Promote a version that is expected to replace `expect`."""
    return _heard(world.promote(version, expect=expect, key=key))


def champions(world: World, *, count: int, found: str) -> list[str]:
    """Let versions become champion, one after the other, and then `found` as somebody does it outside Podium."""
    made = world.champions(count)
    world.registry.set_alias(world.model, CHAMPION, found)
    return made


def look(world: World) -> list[str]:
    """Look as a guard that restores; return what it saw."""
    guard = Guard(
        world.database, world.registry, world.clock, "restore", reconcile=world.service.reconcile, trust=TRUST
    )
    faults.reach("promotion.before_compare")  # where a barrier lines up those that are to look at once
    return [sight.kind for sight in guard.look()]


def foreign(world: World, *, alias: str, count: int) -> list[str]:
    """Register versions that Podium has no record of, and point an alias at the last; return them."""
    made = []
    for number in range(count):
        key = f"{world.model}/foreign-{number}"
        logged = world.registry.log_model(
            estimator(), SAMPLE, model=world.model, key=key, requirements=requirements_of(estimator()), tags={}
        )
        made.append(world.registry.create_version(world.model, logged, key=key, tags={}))
    world.registry.set_alias(world.model, alias, made[-1])
    return made


def adopt(world: World, *, alias: str) -> dict[str, Any]:
    """Adopt every version, the one that an alias of another name points at as champion."""
    service = AdoptionService(world.database, world.registry, world.clock, world.service, trust=TRUST)
    choice = Choice(everything=True, champion_alias=alias)
    return service.adopt(world.model, choice, actor="grace", actor_verified=False, reason="was there").to_document()


def inspect(world: World) -> dict[str, Any]:
    """Return what is on record."""
    return {
        "versions": [version.version for version in world.registry.versions(world.model)],
        "champion": world.champion,
        "told": world.told,
        "verify": world.verify().to_document(),
    }


def serve_in_dev(world: World) -> list[str]:
    """Register a model and make it champion in dev."""
    return [Environments(world.database, world.registry, world.clock, world.model).serve(key=f"{world.model}/run")]


def advance(world: World) -> dict[str, Any]:
    """Bring the champion of dev to staging; return what became of it and what is on record then."""
    path = Environments(world.database, world.registry, world.clock, world.model)
    made = path.advance("dev", "1")
    return {
        "state": made.state,
        "versions": [each.version for each in world.registry.versions(path.name("staging"))],
        "champion": path.champion("staging"),
        "told": path.told("staging"),
        "uses": made.evidence and made.evidence.document["holdout_uses"],
        "same_files": path.version("dev", "1").source == path.version("staging", "1").source,
        "digests": sorted({path.version(each, "1").digest for each in ("dev", "staging")}),
    }


def share_an_upload(world: World) -> None:
    """Upload the model that the versions of races have in common, and count from now on what moves aliases."""
    world.upload(world.model)
    registry = world.registry
    assert isinstance(registry, MlflowRegistry)
    engine = sa.create_engine(registry.tracking_uri)
    with engine.begin() as connection:
        for statement in _COUNTED_MOVES:
            connection.exec_driver_sql(statement)
    engine.dispose()


def race(world: World, *, who: int, rounds: list[int], promoters: int, meeting: str, dies_after: float | None) -> None:
    """Register a candidate and promote it, round after round, each at once with all other promoters.

    In the last round it is killed so many seconds after all have met.
    """
    folder, logged = Path(meeting), world.upload(world.model)
    for number in rounds:
        champion = world.champion
        key = f"{world.model}/{number}/{who}"
        version = world.register(champion=champion, key=key, logged=logged).version
        faults.configure(folder / f"round-{number}")  # there they wait for each other at promotion.before_compare
        if dies_after is not None and number == rounds[-1]:
            threading.Thread(target=_die, args=(folder / f"round-{number}", promoters, dies_after), daemon=True).start()
        promotion = world.promote(version, expect=champion, key=key, actor=f"promoter {who}")
        (folder / f"round-{number}" / f"{who}.json").write_text(json.dumps(_heard(promotion)))
        if dies_after is not None and number == rounds[-1]:
            time.sleep(_PATIENCE_SECONDS)  # whoever was through by then dies as well
        if number != rounds[-1]:  # the next round begins when this one has ended for everybody
            _wait_for(promoters, folder / f"round-{number}", "*.json")


def _heard(promotion: Promotion) -> dict[str, Any]:
    return {**promotion.to_document(), "lost_the_swap": promotion.lost_the_swap}


def _die(folder: Path, promoters: int, seconds: float) -> None:
    _wait_for(promoters, folder, "faults/*/*")
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for(count: int, folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while sum(1 for _ in folder.glob(pattern)) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Fewer than {count} of {pattern} came to {folder} within {_PATIENCE_SECONDS} s.")
        time.sleep(0.002)


def settle(world: World) -> dict[str, Any]:
    """Bring to its end what a dead process left open; return what is on record then."""
    world.service.reconcile(world.model)
    registry = world.registry
    assert isinstance(registry, MlflowRegistry)
    engine = sa.create_engine(registry.tracking_uri)
    with engine.connect() as connection:
        moves = connection.exec_driver_sql("SELECT version FROM alias_moves WHERE name = ?", (world.model,)).all()
    engine.dispose()
    return {**inspect(world), "moves": [str(row[0]) for row in moves]}


def propose(world: World, *, key: str) -> dict[str, Any]:
    """Register a version and ask for its promotion, which two people have to approve."""
    world.approval_rule = lambda _: _TWO_OF_THREE
    return world.promote(world.candidate(key=key), key=f"{key}/promote").to_document()


def decide(world: World, *, promotion_id: str, decision: str, actor: str) -> dict[str, Any]:
    """Approve or reject a promotion; return what became of it, or of the attempt, and what is on record then."""
    world.approval_rule = lambda _: _TWO_OF_THREE
    try:
        said = (world.approved_by if decision == "approve" else world.rejected_by)(promotion_id, actor).state
    except Refused as error:
        said = str(error)
    return {"said": said, "approvers": [entry.approvers for entry in world.history][-1], **inspect(world)}


_TWO_OF_THREE = ApprovalRule(2, ("bo", "cy", "dee"), timedelta(days=7))


# The registry's own log of where an alias went: whoever moves it, and however the mover ends.
_NOTED = "BEGIN INSERT INTO alias_moves (name, version) VALUES (NEW.name, NEW.version); END"
_COUNTED_MOVES = (
    "CREATE TABLE IF NOT EXISTS alias_moves (number INTEGER PRIMARY KEY, name TEXT, version TEXT)",
    f"CREATE TRIGGER IF NOT EXISTS alias_made AFTER INSERT ON registered_model_aliases {_NOTED}",
    f"CREATE TRIGGER IF NOT EXISTS alias_moved AFTER UPDATE ON registered_model_aliases {_NOTED}",
)
_PATIENCE_SECONDS = 120.0
ACTS: dict[str, Callable[..., Any]] = {
    act.__name__: act
    for act in (
        *(journey, candidates, promote, champions, look, foreign, adopt, inspect),
        *(propose, decide, share_an_upload, race, settle, serve_in_dev, advance),
    )
}


def _serve(folder: Path) -> None:
    _warm_up(folder)
    for line in sys.stdin:
        order = json.loads(line)
        children = [_fork(order, name, arguments) for name, arguments in order["acts"]]
        sys.stdout.write(json.dumps([_outcome(child, pipe) for child, pipe in children]) + "\n")
        sys.stdout.flush()


def _warm_up(folder: Path) -> None:
    """Import and cache everything once, on a store that no child opens: SQLite must not be carried over a fork."""
    registry = _registry(folder, folder / "template.db")
    registry.log_model(
        estimator(), SAMPLE, model="warm", key="warm", requirements=requirements_of(estimator()), tags={}
    )
    shutil.copy(folder / "template.db", folder / "mlflow.db")


def _registry(folder: Path, file: Path, database: Database | None = None) -> MlflowRegistry:
    return MlflowRegistry(
        f"sqlite:///{file}",
        (folder / "models").as_uri(),
        trusted_types=(),
        first_use=lambda: database.lock("mlflow-store") if database else nullcontext(),
    )


def _fork(order: dict[str, Any], name: str, arguments: dict[str, Any]) -> tuple[int, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        answer = json.dumps(_do(order, name, arguments))
    except BaseException:  # noqa: BLE001 - the parent tells it to the test, which fails
        answer = json.dumps(traceback.format_exc())
    os.write(writing, answer.encode())
    os._exit(0)


def _do(order: dict[str, Any], name: str, arguments: dict[str, Any]) -> Any:
    folder = Path(order["folder"])
    os.environ["PODIUM_FAULTS"] = order["faults"]
    faults.configure(folder / order["model"])
    database = Database(order["database"], folder / "locks")
    registry = _registry(folder, folder / "mlflow.db", database)
    return ACTS[name](World(database, registry, SystemClock(), order["model"]), **arguments)


def _outcome(child: int, pipe: int) -> Any:
    with os.fdopen(pipe) as answer:
        said = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code else json.loads(said)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
