"""Runs that ask for a promotion which people have to approve, with real stages, a real registry and a real worker."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from podium.clock import FakeClock
from podium.dag.interval import Interval
from podium.errors import Conflict, ServiceUnavailable
from podium.execution.entities import Actor
from podium.registry import store
from podium.registry.entities import Promotion
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.promotion import ANY
from podium.wiring import project as wiring
from podium.wiring.documents import run_document
from podium.wiring.plans import load_plans
from podium.wiring.project import Project, open_project
from podium.wiring.promotions import PromotionCare
from podium.wiring.runs import foreground
from tests.promotion_world import World

SETTINGS = """
project = "approved"
slots = 1
[approvals.delays]
approvers = ["ana", "bo"]
expires_after = "1d"
"""
PIPELINE = """
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium import Interval, pipeline, step
from podium.registry.entities import Promotion
from podium.registry.policy import GatePolicy
from podium.stages import evaluate_candidate, promote_version, register_version


def generated(seed: int, size: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    features = pd.DataFrame(random.normal(size=(size, 2)), columns=list("ab"))
    return features.assign(late=(features["a"] + random.normal(size=size) > 0).astype(int))


@step
def train(month: Interval) -> LogisticRegression:
    rows = generated(10 * month.start.month, 800)
    return LogisticRegression().fit(rows[["a", "b"]], rows["late"])


@step
def holdout(month: Interval) -> pd.DataFrame:
    return generated(10 * month.start.month + 1, 400)


@step
def celebrate(promotion: Promotion) -> str:
    return promotion.state


@pipeline(model="delays", team="research", environment="dev", grain="month")
def delays(month: Interval) -> None:
    candidate = train(month)
    policy = GatePolicy(primary="auc", mode="refresh", margin=0.2, floors={"auc": 0.6})
    evidence = evaluate_candidate(candidate, holdout(month), label="late", policy=policy)
    celebrate(promote_version(register_version(candidate, evidence)))
"""


class Runs:
    """A project, and runs of its pipeline that ana asks for, executed in the foreground."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.plan = load_plans(project).plan("delays")

    def started(self, month: str) -> str:
        run = self.project.execution.start(self.plan, Interval.parse(month), parameters={}, actor=Actor("ana"))
        return run.run_id

    def document(self, run_id: str) -> dict[str, Any]:
        with self.project.database.read() as connection:
            return run_document(connection, run_id, self.project.clock.now())

    def promotion(self, run_id: str) -> Promotion:
        with self.project.database.read() as connection:
            return store.promotions_of_run(connection, run_id)[-1]

    @property
    def champion(self) -> str | None:
        return self.project.registry.alias("delays", "champion")


def test_a_run_waits_for_people_without_a_worker_and_goes_on_with_what_they_decide(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "podium.toml").write_text(SETTINGS)
    (tmp_path / "pipelines" / "delays.py").write_text(PIPELINE)
    project = open_project(tmp_path)
    runs = Runs(project)
    with foreground(project, runs.plan, lambda _: None) as worker:
        first = runs.started("2026-01")
        assert worker.execute(first).state == "running", "in the foreground nobody waits for people"
        shown = runs.document(first)
        asked = runs.promotion(first)
        assert (shown["awaits_approval"], shown["model"]["champion_after"]) == ([asked.promotion_id], None)
        (waiting,) = [each for each in shown["waiting"] if each["step"] == "promote_version"]
        assert (
            f"version 1 of delays awaits approval; `podium promotions show {asked.promotion_id}`" in waiting["reason"]
        )
        assert worker.execute(first).state == "running", "nor when it is resumed too early"

        project.promotions.approve(asked.promotion_id, actor="bo", actor_verified=False, reason="looked at it")
        assert worker.execute(first).state == "succeeded", "it was due at once, not after its snooze"
        shown = runs.document(first)
        assert (shown["outcome"], runs.champion, shown["awaits_approval"]) == ("promoted", "1", [])
        (promoted,) = [each for each in shown["steps"] if each["name"] == "promote_version"]
        assert [each["state"] for each in promoted["attempts"]] == ["snoozed", "succeeded"]

        # One that is cancelled meanwhile takes back what it asked for, and is not approved after that.
        second = runs.started("2026-02")
        worker.execute(second)
        assert len(runs.document(second)["awaits_approval"]) == 1
        project.execution.cancel(second, reason="enough")
        PromotionCare(project, print).advance()
        gone = runs.promotion(second)
        assert gone.state == "void"
        assert f"Run {second}, which asked for it, has ended without it." in gone.reasons[0]
        assert runs.champion == "1"

        # While a person's promotion is open, a run waits for its end, and for no worker.
        by_person = project.promotions.promote(
            "delays", "2", expect_champion=ANY, idempotency_key="p", actor="ana", actor_verified=False, reason="by hand"
        )
        assert by_person.awaits_approval
        third = runs.started("2026-03")
        assert worker.execute(third).state == "running", "in the foreground nobody waits for that either"
        assert runs.document(third)["awaits_approval"] == [by_person.promotion_id]
        project.promotions.reject(by_person.promotion_id, actor="bo", actor_verified=False, reason="let the run do it")
        assert worker.execute(third).state == "running", "it was due at once, and asked itself"
        own = runs.promotion(third)
        assert runs.document(third)["awaits_approval"] == [own.promotion_id]
        project.promotions.approve(own.promotion_id, actor="bo", actor_verified=False, reason="looked at it")
        assert (worker.execute(third).state, runs.champion) == ("succeeded", "3")
    project.close()


# What the scheduler does about promotions that nobody touches


@pytest.fixture
def cared(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Project, World]]:
    """A project with a fake clock and a registry in memory, and the model `delays` in it."""
    (tmp_path / "podium.toml").write_text(SETTINGS)
    registry = MemoryRegistry()
    monkeypatch.setattr(wiring, "build_registry", lambda *_: registry)
    project = open_project(tmp_path, clock)
    yield project, World(project.database, registry, clock, "delays", approval_rule=project.approval_rule)
    project.close()


def test_what_nobody_approves_in_time_is_void(cared: tuple[Project, World], clock: FakeClock) -> None:
    project, world = cared
    told: list[str] = []
    asked, care = world.promote(world.candidate()), PromotionCare(project, told.append)
    assert asked.expires_at == clock.now() + timedelta(days=1)
    clock.advance(86_399)
    care.advance()
    assert world.told == [("promote", "proposed", "1")]
    clock.advance(1)
    care.advance()
    assert world.told[1:] == [("promote", "void", "1")]
    (line,) = told
    assert line.startswith(f"promote {asked.promotion_id} of delays to version 1: void It was not approved by ")
    assert world.verify().ok


def test_a_rejection_whose_process_died_is_completed(
    cared: tuple[Project, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, world = cared
    told: list[str] = []
    asked, care = world.promote(world.candidate()), PromotionCare(project, told.append)
    with monkeypatch.context() as patch:
        patch.setattr("podium.registry.signing.faults.reach", _die)
        with pytest.raises(KeyboardInterrupt):
            world.rejected_by(asked.promotion_id, "bo")
    care.advance()
    assert world.told[-1] == ("promote", "refused", "1")
    assert told == [f"promote {asked.promotion_id} of delays to version 1: refused bo rejected it: worse at JFK"]
    care.advance()
    assert len(told) == 1


def _die(point: str) -> None:
    if point == "promotion.after_decision":
        raise KeyboardInterrupt


def test_another_policy_in_the_gate_s_file_makes_what_awaits_approval_void(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "podium.toml").write_text(f'{SETTINGS}[gates]\ndelays = "gate.yaml"\n')
    gate = tmp_path / "gate.yaml"
    gate.write_text("mode: superiority\n")
    registry = MemoryRegistry()
    monkeypatch.setattr(wiring, "build_registry", lambda *_: registry)
    project = open_project(tmp_path, clock)
    world = World(project.database, registry, clock, "delays")
    version = world.candidate(policy_source="file")
    asked = project.promotions.promote(
        "delays", version, expect_champion=ANY, idempotency_key="a", actor="ada", actor_verified=False, reason="march"
    )
    gate.write_text("mode:   superiority  # said otherwise\n")
    assert project.promotions.doubt(asked) is None
    gate.write_text("mode: refresh\n")
    void = project.promotions.approve(asked.promotion_id, actor="bo", actor_verified=False, reason="looks right")
    assert (void.state, world.champion) == ("void", None)
    assert "judged by gate.yaml as it was, and mode changed there since" in void.reasons[0]
    project.close()


def test_a_move_that_its_process_left_is_completed_but_not_one_that_is_just_made(
    cared: tuple[Project, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, world = cared
    asked, care = world.promote(world.candidate()), PromotionCare(project, print)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryRegistry, "set_alias", _away)
        with pytest.raises(ServiceUnavailable):
            world.approved_by(asked.promotion_id, "bo")
    care.advance()
    assert world.champion is None, "its process may be at it"
    with monkeypatch.context() as patch:
        patch.setattr(MemoryRegistry, "set_alias", _away)
        with pytest.raises(Conflict, match="The registry is away"):  # not ServiceUnavailable: the database is there
            care.advance()
    care.advance()
    assert world.champion == "1"
    assert world.verify().ok


def test_a_project_that_promotes_nothing_opens_no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "podium.toml").write_text(SETTINGS)
    monkeypatch.setattr(wiring, "build_registry", _away)
    project = open_project(tmp_path)
    assert PromotionCare(project, print).advance() > 0
    project.close()


def _away(*_: object) -> None:
    raise ServiceUnavailable("The registry is away.")
