"""A model on its path through environments: what tests of advances, and of their crashes, start from."""

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from podium.clock import Clock
from podium.db.engine import Database
from podium.registry import history, store, versions
from podium.registry.advance import Advance, AdvanceService
from podium.registry.approval import ApprovalRule
from podium.registry.entities import CHAMPION, Lineage, ModelVersion, Promotion, RecordedEvidence
from podium.registry.environments import EnvironmentPath
from podium.registry.in_force import PolicyInForce
from podium.registry.policy import GatePolicy
from podium.registry.port import ModelRegistry
from podium.registry.promotion import ANY, PromotionService
from podium.registry.verification import verify
from tests.promotion_world import evidence

PATH = EnvironmentPath(("dev", "staging", "prod"))
HOLDOUT = "a" * 64
POLICY = GatePolicy(mode="refresh", minimum_rows=100, margin=0.05)
"""The policy of the pipeline in dev; refresh lets an equal or slightly better model through."""


@cache
def rows() -> pd.DataFrame:
    """Rows whose label follows the first feature, and not the second."""
    random = np.random.default_rng(5)
    features = pd.DataFrame(random.normal(size=(600, 2)), columns=["hour", "distance"])
    return features.assign(late=(features["hour"] + 0.5 * random.normal(size=600) > 0).astype(int))


def model_of(quality: float) -> LogisticRegression:
    """A fitted model that looks at the right feature as far as its quality goes, and else at the wrong one."""
    fitted = LogisticRegression().fit(rows()[["hour", "distance"]], rows()["late"])
    fitted.coef_ = np.array([[quality, 1 - quality]])
    return fitted


@dataclass
class KnownGrounds:
    """Grounds that a test sets: rows by digest, what trained which version, policies; and what it was told."""

    rows: dict[str, pd.DataFrame] = field(default_factory=lambda: {HOLDOUT: rows()})
    trained: dict[tuple[str, str], Collection[str]] = field(default_factory=dict)
    policies: dict[str, GatePolicy] = field(default_factory=dict)
    costs: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    copies: list[ModelVersion] = field(default_factory=list)
    asked: int = 0

    def holdout(self, version: ModelVersion, evidence: RecordedEvidence) -> pd.DataFrame:
        del version
        self.asked += 1
        return self.rows[evidence.holdout_digest]

    def trained_on(self, version: ModelVersion) -> Collection[str]:
        return self.trained.get((version.model, version.version), ())

    def policy(self, environment: str) -> GatePolicy | None:
        return self.policies.get(environment)

    def cost_usd(self, version: ModelVersion) -> Decimal | None:
        return self.costs.get((version.model, version.version))

    def copied(self, version: ModelVersion) -> None:
        self.copies.append(version)


@dataclass
class Environments:
    """One model in dev, staging and prod, with short ways to say what a test is about."""

    database: Database
    registry: ModelRegistry
    clock: Clock
    base: str = "flight_delay"
    rule: ApprovalRule | None = field(default=None)
    grounds: KnownGrounds = field(default_factory=KnownGrounds)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def promotions(self) -> PromotionService:
        return PromotionService(
            self.database,
            self.registry,
            self.clock,
            approval_rule=lambda _: self.rule,
            in_force=self.in_force,
            model_before=PATH.before,
        )

    def in_force(self, model: str) -> PolicyInForce | None:
        environment = PATH.require(model).environment
        policy = self.grounds.policies.get(environment)
        return None if policy is None else PolicyInForce(f"gates/{environment}.yaml", policy)

    @property
    def service(self) -> AdvanceService:
        return AdvanceService(
            self.database, self.registry, self.clock, path=PATH, promotions=self.promotions, grounds=self.grounds
        )

    def name(self, environment: str) -> str:
        return PATH.name_in(environment, self.base)

    def register(
        self, quality: float = 1.0, *, environment: str = "dev", month: int = 1, key: str | None = None, **changes: Any
    ) -> str:
        """Register a version as a pipeline does; return it."""
        model, key = self.name(environment), key or f"{self.base}/run-{next(self._numbers)}"
        fitted = model_of(quality)
        facts = {
            "champion_version": self.champion(environment),
            "candidate_digest": f"{key:x<64}",
            "holdout_digest": HOLDOUT,
            "policy": POLICY,
            "policy_digest": POLICY.digest,
        }
        judged = evidence(model, **(facts | changes))
        sample = rows()[["hour", "distance"]].head(4)
        logged = versions.upload(self.registry, fitted, sample, model=model, step_key=f"{key}/register", tags={})
        with self.database.write() as connection:
            versions.record_evidence(connection, judged, run_id=key, step_key=f"{key}/evaluate", at=self.clock.now())
        lineage = Lineage(
            run_id=key,
            interval_start=datetime(2013, month, 1, tzinfo=UTC),
            interval_end=datetime(2013, month + 1, 1, tzinfo=UTC),
            data_digest="d" * 64,
            code_digest="e" * 64,
            evidence_digest=judged.digest,
        )
        return versions.register(
            self.database,
            self.registry,
            self.clock,
            model=model,
            logged=logged,
            lineage=lineage,
            step_key=f"{key}/register",
        ).version

    def serve(self, quality: float = 1.0, **changes: Any) -> str:
        """Register a version in dev and make it champion there; return it."""
        version = self.register(quality, **changes)
        assert self.promote("dev", version).applied
        return version

    def promote(self, environment: str, version: str) -> Promotion:
        return self.promotions.promote(
            self.name(environment),
            version,
            expect_champion=ANY,
            idempotency_key=f"{self.base}/person-{next(self._numbers)}",
            actor="ada",
            actor_verified=False,
            reason="monthly retraining",
        )

    def rollback(self, environment: str) -> Promotion:
        return self.promotions.rollback(
            self.name(environment),
            expect_champion=ANY,
            idempotency_key=f"{self.base}/rollback-{next(self._numbers)}",
            actor="grace",
            actor_verified=False,
            reason="complaints from the desk",
        )

    def advance(self, environment: str, version: str) -> Advance:
        """Advance from an environment as ada."""
        return self.service.advance(
            self.name(environment), version, actor="ada", actor_verified=False, reason="a week without complaints"
        )

    def champion(self, environment: str) -> str | None:
        return self.registry.alias(self.name(environment), CHAMPION)

    def version(self, environment: str, number: str) -> ModelVersion:
        with self.database.read() as connection:
            found = store.find_version(connection, self.name(environment), number)
        assert found is not None
        return found

    def told(self, environment: str) -> list[tuple[str, str, str | None]]:
        """What the history says, short: action, state, target."""
        with self.database.read() as connection:
            entries = history.entries(connection, self.name(environment))
            assert verify(connection, self.name(environment)).ok
        return [(entry.action, entry.state, entry.to_version) for entry in entries]
