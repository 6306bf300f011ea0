"""A model with candidates to promote: what tests of promotion, its races and its crashes start from."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pandas as pd
from sklearn.dummy import DummyClassifier

from podium.clock import Clock
from podium.db.engine import Database
from podium.registry import history, versions
from podium.registry.approval import ApprovalRule
from podium.registry.entities import CHAMPION, HistoryEntry, Lineage, LoggedModel, ModelVersion, Promotion
from podium.registry.evidence import Evidence
from podium.registry.in_force import InForce
from podium.registry.metrics import Kind, Metric
from podium.registry.policy import GatePolicy
from podium.registry.port import ModelRegistry
from podium.registry.promotion import ANY, Expected, PromotionService
from podium.registry.report import Circumstances
from podium.registry.verification import Verification, verify

SAMPLE = pd.DataFrame({"distance": [100.0, 900.0], "hour": [6.0, 21.0]})


@cache
def estimator() -> DummyClassifier:
    """The smallest model there is."""
    return DummyClassifier(strategy="most_frequent").fit(SAMPLE, [0, 1])


def evidence(model: str, **changes: Any) -> Evidence:
    """Evidence that passed, with whatever a test wants different."""
    policy = GatePolicy()
    facts: dict[str, Any] = {
        "model": model,
        "kind": Kind.BINARY,
        "label": "late",
        "candidate_digest": "c" * 64,
        "champion_version": None,
        "rows": 4000,
        "rarer_class_rows": 900,
        "holdout_digest": "a" * 64,
        "holdout_uses": 0,
        "policy": policy,
        "policy_digest": policy.digest,
        "seed": 7,
        "primary_metric": Metric.AUC,
        "primary": None,
        "guards": (),
        "slices": (),
        "slices_not_checked": 0,
        "measurements": (),
        "discordant": None,
        "verdict": "passed",
        "reasons": ("AUC 0.612 >= 0.580 required.",),
    }
    return Evidence(**(facts | changes))


@dataclass
class World:
    """One model, its registry and its promotion service, with short ways to say what a test is about."""

    database: Database
    registry: ModelRegistry
    clock: Clock
    model: str = "flight_delay"
    approval_rule: Callable[[str], ApprovalRule | None] = field(default=lambda _: None)
    in_force: InForce = field(default=lambda _: None)
    run_is_open: Callable[[str], bool] = field(default=lambda _: True)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def service(self) -> PromotionService:
        return PromotionService(
            self.database,
            self.registry,
            self.clock,
            approval_rule=self.approval_rule,
            in_force=self.in_force,
            run_is_open=self.run_is_open,
        )

    def candidate(self, *, champion: str | None = None, month: int = 1, key: str | None = None, **changes: Any) -> str:
        """Judge, upload and register a candidate of that month of 2013; return its version."""
        return self.register(champion=champion, month=month, key=key, **changes).version

    def upload(self, key: str) -> LoggedModel:
        """Upload the smallest model there is, once per key."""
        return versions.upload(
            self.registry, estimator(), SAMPLE, model=self.model, step_key=f"{key}/register", tags={}
        )

    def register(
        self,
        *,
        champion: str | None = None,
        month: int = 1,
        key: str | None = None,
        logged: LoggedModel | None = None,
        **changes: Any,
    ) -> ModelVersion:
        """Like `candidate`, returning all that is on record; `logged` is an upload that many versions may share."""
        key = key or f"{self.model}/run-{next(self._numbers)}"
        judged = evidence(self.model, champion_version=champion, candidate_digest=f"{key:x<64}", **changes)
        if logged is None:
            logged = self.upload(key)
            versions.attach_report(self.registry, logged, judged, Circumstances(run_id=key))
        with self.database.write() as connection:
            versions.record_evidence(connection, judged, run_id=key, step_key=f"{key}/evaluate", at=self.clock.now())
        return versions.register(
            self.database,
            self.registry,
            self.clock,
            model=self.model,
            logged=logged,
            lineage=Lineage(
                run_id=key,
                interval_start=datetime(2013, month, 1, tzinfo=UTC),
                interval_end=datetime(2013, month + 1, 1, tzinfo=UTC),
                data_digest="d" * 64,
                code_digest="e" * 64,
                evidence_digest=judged.digest,
            ),
            step_key=f"{key}/register",
        )

    def promote(
        self,
        version: str,
        *,
        expect: Expected = ANY,
        key: str | None = None,
        run_id: str | None = None,
        actor: str = "ada",
    ) -> Promotion:
        """Promote as a person, or as a run."""
        return self.service.promote(
            self.model,
            version,
            expect_champion=expect,
            idempotency_key=key or f"{self.model}/promotion-{next(self._numbers)}",
            actor=actor,
            actor_verified=False,
            reason="monthly retraining",
            run_id=run_id,
        )

    def rollback(self, *, to: str | None = None, expect: Expected = ANY, key: str | None = None) -> Promotion:
        """Roll back as grace."""
        return self.service.rollback(
            self.model,
            to=to,
            expect_champion=expect,
            idempotency_key=key or f"{self.model}/rollback-{next(self._numbers)}",
            actor="grace",
            actor_verified=False,
            reason="complaints from the desk",
        )

    def approved_by(self, promotion_id: str | None, actor: str) -> Promotion:
        """Approve as somebody."""
        return self.service.approve(
            promotion_id or "none", actor=actor, actor_verified=False, reason="looked at the report"
        )

    def rejected_by(self, promotion_id: str | None, actor: str) -> Promotion:
        """Reject as somebody."""
        return self.service.reject(promotion_id or "none", actor=actor, actor_verified=False, reason="worse at JFK")

    def unblock(self, version: str) -> HistoryEntry:
        """Unblock as grace."""
        return self.service.unblock(self.model, version, actor="grace", actor_verified=False, reason="it was the feed")

    def champions(self, count: int) -> list[str]:
        """Let `count` versions become champion, one after the other; return them."""
        made: list[str] = []
        for _ in range(count):
            version = self.candidate(champion=made[-1] if made else None)
            assert self.promote(version).applied
            made.append(version)
        return made

    @property
    def champion(self) -> str | None:
        return self.registry.alias(self.model, CHAMPION)

    @property
    def history(self) -> list[HistoryEntry]:
        with self.database.read() as connection:
            return history.entries(connection, self.model)

    @property
    def told(self) -> list[tuple[str, str, str | None]]:
        """What the history says, short: action, state, target."""
        return [(entry.action, entry.state, entry.to_version) for entry in self.history]

    def verify(self) -> Verification:
        with self.database.read() as connection:
            return verify(connection, self.model)
