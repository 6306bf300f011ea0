"""What the doctor says of a model that somebody damaged: each damage is found, located, and has its command."""

import pickle
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import promotion_history
from podium.errors import ArtifactError, ServiceUnavailable
from podium.faults import FaultRaised
from podium.registry.approval import ApprovalRule
from podium.registry.doctor import CanaryFacts, Finding, ModelFacts, examine
from podium.registry.entities import CHALLENGER, CHAMPION, ModelVersion, RegisteredVersion, Removal
from podium.registry.examination import Examiner
from podium.registry.guard import Guard
from podium.registry.memory_registry import MemoryRegistry
from podium.registry.trust import Trust
from tests.promotion_world import World

pytestmark = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)


class Registry(MemoryRegistry):
    """Counts the files that were read; can lose versions and aliases, and be away."""

    def __init__(self) -> None:
        super().__init__()
        self.digested: list[str] = []
        self.deleted: dict[str, Removal] = {}
        self.away = False

    def alias(self, model: str, alias: str) -> str | None:
        if self.away:
            raise ServiceUnavailable("MLflow did not answer. Check that it runs and try again.")
        return super().alias(model, alias)

    def check_files(self, source: str, *, digest: str) -> None:
        self.digested.append(source)
        super().check_files(source, digest=digest)

    def removals(self, model: str, version: str) -> list[Removal]:
        return [*super().removals(model, version), *filter(None, [self.deleted.get(version)])]

    def drop(self, model: str, version: str) -> None:
        """Remove a version and leave the aliases that point at it."""
        self._versions[model] = [known for known in self._versions[model] if known.version != version]

    def flip(self, model: str, version: str) -> None:
        """Change one byte of a version's files."""
        files = self.stored[self.get_version(model, version).source]
        name = next(iter(files))
        files[name] = bytes([files[name][0] ^ 1]) + files[name][1:]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def world(database: Database, clock: FakeClock, registry: Registry) -> World:
    return World(database, registry, clock)


def examiner(world: World, **changes: Any) -> Examiner:
    registry = world.registry

    def loads(source: str, version: ModelVersion | None) -> None:
        if version is None:
            Trust().require(registry.scan(source), source, own_code=False)
        else:
            registry.load_model(source, digest=version.digest)

    facts: dict[str, Any] = {
        "database": world.database,
        "registry": registry,
        "clock": world.clock,
        "keep": 3,
        "loads": loads,
        "canary_of": lambda *_: None,
        "say": lambda _: None,
    }
    return Examiner(**(facts | changes))


def findings(world: World, *, every: bool = False, **changes: Any) -> list[Finding]:
    return examine(examiner(world, **changes).gather(world.model, every=every))


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    assert finding.model is not None
    assert not finding.problem.endswith(".")
    assert finding.repair.endswith(".")
    return finding


def test_a_model_that_is_well_has_no_finding(world: World) -> None:
    world.champions(2)
    assert world.rollback().applied
    assert findings(world, every=True) == []


def test_a_foreign_move_that_no_guard_noticed(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    finding = only(findings(world))
    assert (finding.check, finding.object) == ("champion", "alias champion")
    assert f"it is at version {first} in the registry, and by the history at version {second}" in finding.problem
    assert f"`podium rollback {world.model} --to {second} --reason …` undoes it" in finding.repair
    assert f"`podium models adopt {world.model} --reason …` accepts it" in finding.repair


def test_a_foreign_move_that_a_guard_noticed_and_nobody_accepted(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    Guard(world.database, registry, world.clock, "alert", reconcile=world.service.reconcile, trust=Trust()).look()
    finding = only(findings(world))
    assert finding.check == "champion"
    assert f"from version {second} to version {first} outside Podium" in finding.problem
    assert "nobody accepted" in finding.problem
    # The command it names does repair it.
    assert world.rollback(to=second).applied
    assert findings(world) == []


def test_a_restored_champion_is_no_finding(world: World, registry: Registry) -> None:
    first, _ = world.champions(2)
    registry.set_alias(world.model, CHAMPION, first)
    Guard(world.database, registry, world.clock, "restore", reconcile=world.service.reconcile, trust=Trust()).look()
    assert findings(world) == []


def test_a_champion_without_a_record(world: World, registry: Registry) -> None:
    (version,) = world.champions(1)
    registry.stored["memory:/elsewhere"] = registry.stored[registry.get_version(world.model, version).source]
    registry._versions[world.model].append(RegisteredVersion(world.model, "2", "memory:/elsewhere", {}))
    registry.set_alias(world.model, CHAMPION, "2")
    found = findings(world)
    assert [finding.object for finding in found] == ["version 2", "alias champion"]
    assert "no record" in found[0].problem
    assert f"--to {version}" in found[0].repair


def test_a_removed_alias(world: World, registry: Registry) -> None:
    (version,) = world.champions(1)
    registry.delete_alias(world.model, CHAMPION)
    finding = only(findings(world))
    assert "it is at no version in the registry" in finding.problem
    assert finding.repair == f"`podium rollback {world.model} --to {version} --reason …` undoes it."
    assert world.rollback(to=version).applied
    assert findings(world) == []


def test_a_dangling_champion(world: World, registry: Registry) -> None:
    first, second = world.champions(2)
    registry.drop(world.model, second)
    finding = only(findings(world))
    assert (finding.check, finding.object) == ("alias", "alias champion")
    assert f"version {second}, which the registry does not have" in finding.problem
    assert f"`podium rollback {world.model} --to {first} --reason …`" in finding.repair
    assert world.rollback(to=first).applied
    # What is left is that the version is gone, which nobody can take back.
    assert only(findings(world)).check == "version"


def test_a_dangling_challenger(world: World, registry: Registry) -> None:
    world.champions(1)
    second = world.candidate(champion="1", month=2)
    registry.set_alias(world.model, CHALLENGER, second)
    registry.drop(world.model, second)
    found = findings(world)
    assert [finding.check for finding in found] == ["alias", "version"]
    assert "delete_registered_model_alias" in found[0].repair


def test_a_challenger_without_a_canary(world: World, registry: Registry) -> None:
    world.champions(1)
    registry.set_alias(world.model, CHALLENGER, world.candidate(champion="1", month=2))
    finding = only(findings(world))
    assert (finding.check, finding.object) == ("alias", "alias challenger")
    assert "no canary of the model is open" in finding.problem


@pytest.mark.parametrize("served", ["champion", "former champion"])
def test_one_flipped_byte(world: World, registry: Registry, served: str) -> None:
    first, second = world.champions(2)
    version = second if served == "champion" else first
    registry.flip(world.model, version)
    finding = only(findings(world))
    assert (finding.check, finding.object) == ("files", f"version {version}")
    assert "recorded is" in finding.problem
    if served == "champion":
        assert f"`podium rollback {world.model} --to {first} --reason …`" in finding.repair
        assert world.rollback(to=first).applied
    else:
        assert f"`podium runs rerun {world.model}/run-1 --reason …` makes it again" in finding.repair


def test_files_that_are_gone_and_no_other_champion(world: World, registry: Registry) -> None:
    (version,) = world.champions(1)
    registry.stored.clear()
    finding = only(findings(world))
    assert finding.check == "files"
    assert "No model files are stored" in finding.problem
    assert "No former champion" in finding.repair
    assert f"podium runs rerun {world.model}/run-1" in finding.repair
    assert version == "1"


def test_a_former_champion_that_is_damaged_is_not_offered(world: World, registry: Registry) -> None:
    first, second, third = world.champions(3)
    registry.flip(world.model, second)
    registry.flip(world.model, third)
    found = {finding.object: finding.repair for finding in findings(world)}
    assert f"--to {first} " in found[f"version {third}"]


def test_a_champion_that_does_not_load(world: World) -> None:
    world.champions(2)

    def loads(source: str, version: ModelVersion) -> None:
        if version.version == "2":
            raise ArtifactError("The model does not load: No module named 'lightgbm'.")

    finding = only(findings(world, loads=loads))
    assert (finding.check, finding.object) == ("loads", "version 2")
    assert "No module named 'lightgbm'" in finding.problem
    assert "--to 1 " in finding.repair


def test_a_champion_that_the_project_would_not_load_is_not_to_be_adopted(world: World, registry: Registry) -> None:
    (first,) = world.champions(1)
    registry.stored["memory:/elsewhere"] = {"model.cloudpickle": pickle.dumps(eval)}
    for version in ("2", "3"):
        registry._versions[world.model].append(RegisteredVersion(world.model, version, "memory:/elsewhere", {}))
    registry.set_alias(world.model, CHAMPION, "2")
    found = findings(world, every=True)
    (finding,) = (each for each in found if each.check == "loads")
    assert finding.object == "version 2", "and not of version 3, which serves nobody"
    assert "its pickle is dangerous: it imports builtins.eval" in finding.problem
    assert f"`podium rollback {world.model} --to {first} --reason …`" in finding.repair
    assert not any("models adopt" in each.repair for each in found)


def test_what_the_registry_marked_as_deleted(world: World, registry: Registry) -> None:
    world.champions(1)
    registry.deleted["1"] = Removal("its MLflow run r1 is deleted", "`mlflow runs restore --run-id r1` brings it back.")
    finding = only(findings(world))
    assert (finding.check, finding.object, finding.repair) == (
        "deleted",
        "version 1",
        "`mlflow runs restore --run-id r1` brings it back.",
    )


def test_an_edited_history_is_located(world: World) -> None:
    world.champions(3)
    with world.database.write() as connection:
        connection.execute(
            promotion_history.update().where(promotion_history.c.id == 2).values(reason="nothing to see here")
        )
    finding = only(findings(world))
    assert (finding.check, finding.object) == ("history", "entry 2 of its history")
    assert "was changed" in finding.problem


def test_a_move_that_a_dead_process_left(world: World, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    version = world.candidate()
    monkeypatch.setattr("podium.faults._armed", {"promotion.after_intent": "raise"})
    with pytest.raises(FaultRaised):
        world.promote(version)
    monkeypatch.setattr("podium.faults._armed", {})
    assert findings(world) == []  # it may go on at this moment
    clock.advance(301)
    finding = only(findings(world))
    assert finding.check == "promotion"
    assert f"`podium promote {world.model} --version {version} --reason …` completes it" in finding.repair
    world.promote(version)
    assert findings(world) == []


def test_an_approval_that_expired(world: World, clock: FakeClock) -> None:
    world.champions(1)
    second = world.candidate(champion="1", month=2)
    world.approval_rule = lambda _: ApprovalRule(1, (), timedelta(days=7))
    waiting = world.promote(second)
    assert waiting.awaits_approval
    assert findings(world) == []
    clock.advance(7 * 86400)
    finding = only(findings(world))
    assert finding.object == f"promotion {waiting.promotion_id}"
    assert f"`podium reject {waiting.promotion_id} --reason …`" in finding.repair
    world.service.look_at(world.model)
    assert findings(world) == []


CANARY = CanaryFacts(challenger="2", run_id="r2", has_begun=True, run_is_open=True)


@pytest.mark.parametrize(
    ("canary", "alias", "words"),
    [
        (CANARY, "2", None),
        (replace(CANARY, has_begun=False), None, None),
        (CANARY, None, ("alias challenger", "it is at no version, and the open canary tries version 2")),
        (CANARY, "1", ("alias challenger", "it is at version 1")),
        (replace(CANARY, run_is_open=False), "2", ("the canary of version 2", "its run r2 has ended")),
    ],
)
def test_a_canary_that_goes_on_without_its_alias_or_its_run(
    world: World, registry: Registry, canary: CanaryFacts, alias: str | None, words: tuple[str, str] | None
) -> None:
    world.champions(1)
    world.candidate(champion="1", month=2)
    if alias is not None:
        registry.set_alias(world.model, CHALLENGER, alias)
    found = findings(world, canary_of=lambda *_: canary)
    if words is None:
        assert found == []
        return
    finding = only(found)
    assert (finding.check, finding.object) == ("canary", words[0])
    assert words[1] in finding.problem
    assert f"`podium canary abort {world.model} --reason …`" in finding.repair


def test_a_registry_that_is_away_leaves_what_the_record_shows(world: World, registry: Registry) -> None:
    world.champions(1)
    registry.away = True
    facts = examiner(world).gather(world.model)
    assert facts.unanswered is not None
    assert "did not answer" in facts.unanswered
    assert examine(facts) == []
    assert facts.verification.ok


def gathered(world: World, **arguments: Any) -> ModelFacts:
    return examiner(world).gather(world.model, **arguments)


def test_only_what_serves_or_may_serve_again_is_read(world: World, registry: Registry) -> None:
    made = world.champions(6)
    for month in range(1, 5):
        world.candidate(champion=made[-1], month=month)
    registry.digested.clear()
    assert list(gathered(world).versions) == made[:1:-1]
    assert len(set(registry.digested)) == 4
    assert len(gathered(world, every=True).versions) == 10


def test_every_version_of_the_registry_is_looked_at_and_none_of_unknown_bytes_loaded(
    world: World, registry: Registry
) -> None:
    world.champions(1)
    registry._versions[world.model].append(RegisteredVersion(world.model, "2", "memory:/elsewhere", {}))
    loaded: list[str] = []
    said: list[str] = []
    finding = only(
        findings(world, every=True, loads=lambda _, version: loaded.append(version.version), say=said.append)
    )
    assert (finding.check, finding.object) == ("files", "version 2")
    assert loaded == ["1"]
    assert said == [f"{world.model}: version 1 (1 of 2)", f"{world.model}: version 2 (2 of 2)"]
