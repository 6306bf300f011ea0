"""Whatever people do in whatever order: what moved was approved, what was approved is told, and the chain is whole."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from podium.clock import FakeClock
from podium.db.engine import Database
from podium.db.schema import metadata, promotion
from podium.errors import NotFound, Refused
from podium.registry.approval import ApprovalRule
from podium.registry.entities import Promotion
from podium.registry.memory_registry import MemoryRegistry
from tests.promotion_world import World

PEOPLE = st.sampled_from(["ana", "bo", "cy", "Ana "])
DAY = 86_400.0


class Approvals(RuleBasedStateMachine):
    """One model, four people, two approvals of three for a promotion."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(f"sqlite:///{self.folder.name}/podium.db", Path(self.folder.name) / "locks")
        metadata.create_all(self.database.engine)
        self.clock = FakeClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.expires_after = timedelta(days=7)
        self.world = World(self.database, MemoryRegistry(), self.clock)
        self.asked: list[Promotion] = []
        self.moves = 0

    @initialize()
    def champion(self) -> None:
        self.world.champions(2)
        self.moves = 2
        self.world.approval_rule = lambda _: ApprovalRule(2, ("ana", "bo", "cy"), self.expires_after)

    @rule(actor=PEOPLE)
    def propose(self, actor: str) -> None:
        was_open = self.waiting is not None
        version = self.world.candidate(champion=self.world.champion)
        asked = self.world.promote(version, actor=actor)
        self.asked.append(asked)
        assert asked.awaits_approval or was_open
        assert self.waiting is not None, "it, or the one that was in its way; a stale one is not"

    @precondition(lambda self: self.asked)
    @rule(actor=PEOPLE, data=st.data(), agrees=st.booleans())
    def decide(self, actor: str, data: st.DataObject, *, agrees: bool) -> None:
        asked = data.draw(st.sampled_from(self.asked))
        try:
            decided = (self.world.approved_by if agrees else self.world.rejected_by)(asked.promotion_id, actor)
        except Refused:
            return
        self.moves += decided.applied
        assert agrees or not decided.applied
        assert not decided.applied or actor.strip().casefold() != asked.actor.strip().casefold()

    @rule()
    def roll_back(self) -> None:
        try:
            moved = self.world.rollback()
        except NotFound:
            return
        self.moves += moved.applied
        assert self.waiting is None or not moved.applied

    @rule(days=st.sampled_from([1, 8]))
    def wait(self, days: int) -> None:
        self.clock.advance(days * DAY)
        self.world.service.look_at(self.world.model)

    @precondition(lambda self: self.waiting is not None)
    @rule()
    def change_the_rule(self) -> None:
        self.expires_after += timedelta(hours=1)

    @invariant()
    def what_moved_was_approved_and_told(self) -> None:
        applied = [entry for entry in self.world.history if entry.state == "applied"]
        assert len(applied) == self.moves
        for entry in applied[2:]:
            if entry.action == "promote":
                people = {name.strip().casefold() for name in entry.approvers}
                assert len(people) == 2
                assert entry.actor.strip().casefold() not in people
        assert not applied or self.world.champion == applied[-1].to_version
        assert self.world.verify().ok

    @property
    def waiting(self) -> Promotion | None:
        with self.database.read() as connection:
            query = sa.select(promotion.c.promotion_id).where(promotion.c.state == "awaiting_approval")
            found = connection.scalars(query).all()
        assert len(found) <= 1
        return None if not found else self.world.service.answer_to(self._key(found[0]))

    def _key(self, promotion_id: str) -> str:
        with self.database.read() as connection:
            key = sa.select(promotion.c.idempotency_key).where(promotion.c.promotion_id == promotion_id)
            return str(connection.scalar(key))

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()


Approvals.TestCase.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)
TestApprovals = Approvals.TestCase
