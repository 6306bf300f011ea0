"""How a version goes on to the next environment: judged there anew, copied, promoted, each step once.

Nothing is uploaded: the copy in the next environment's registered model points at the files that were tried in the one
before, and their digest is compared before and after. Each step is found again by its key, so that the same command
completes what a dead process began.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import EvaluationError, InternalError, NotFound, Refused
from podium.ids import digest_json
from podium.registry import environments, history, store, versions
from podium.registry.doubt import doubt_about
from podium.registry.entities import (
    CHAMPION,
    Lineage,
    LoggedModel,
    ModelVersion,
    Promotion,
    RecordedEvidence,
)
from podium.registry.environments import EnvironmentPath
from podium.registry.evidence import Evidence, Feature, PolicySource
from podium.registry.policy import GatePolicy
from podium.registry.port import SERIALIZATION_TAG, ModelRegistry
from podium.registry.promotion import ANY, PromotionService
from podium.registry.transitions import blocked_versions

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd


class Grounds(Protocol):
    """What an advance rests on besides models: the rows that judge, what trained a version, policies, costs."""

    def holdout(self, version: ModelVersion, evidence: RecordedEvidence) -> "pd.DataFrame":
        """Return the rows that judged a version; raises ArtifactError where they are gone, saying what makes them."""

    def trained_on(self, version: ModelVersion) -> Collection[str]:
        """Return the digests of all that was read on the way to a version's model."""

    def policy(self, environment: str) -> GatePolicy | None:
        """Return the gate's policy of an environment, whose rules can be imported; None where none was given."""

    def cost_usd(self, version: ModelVersion) -> Decimal | None:
        """Return what the run that made a version has cost; None where nobody knows all of it."""

    def copied(self, version: ModelVersion) -> None:
        """Note that a version is on record as a copy; told again after a crash."""


@dataclass(frozen=True)
class Advance:
    """What became of an advance.

    `evidence` is None where the version was champion in the next environment before anybody asked; without `copy` and
    `promotion` the gate did not let it in.
    """

    origin: ModelVersion
    environment: str
    to_model: str
    evidence: RecordedEvidence | None
    copy: ModelVersion | None
    promotion: Promotion | None

    @property
    def state(self) -> str:
        """The verdict where the gate did not let it in, else the promotion's state."""
        if self.copy is None:
            return "insufficient" if self.evidence is None else self.evidence.verdict
        return "applied" if self.promotion is None else self.promotion.state

    @property
    def applied(self) -> bool:
        """Whether the version is champion of the next environment."""
        return self.state == "applied"

    def raise_unless_applied(self) -> "Advance":
        """Return itself when it applied; raise Refused with the reasons otherwise."""
        if self.copy is None:
            reasons = () if self.evidence is None else self.evidence.reasons
            raise Refused(
                f"Version {self.origin.version} of {self.origin.model} does not enter {self.environment}: the gate's "
                f"verdict there is {self.state}. {' '.join(reasons)} `podium models report {self.to_model} --run "
                f"{self.origin.run_id}` shows what it was judged on. The same command judges it again once the "
                f"champion of {self.to_model} or the policy of {self.environment} has changed; until then, advance "
                "another version."
            )
        if self.promotion is not None:
            self.promotion.raise_unless_applied()
        return self

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {
            "model": self.origin.model,
            "version": self.origin.version,
            "environment": self.environment,
            "to_model": self.to_model,
            "to_version": None if self.copy is None else self.copy.version,
            "state": self.state,
            "digest": self.origin.digest,
            "verdict": None
            if self.evidence is None
            else {"result": self.evidence.verdict, "reasons": list(self.evidence.reasons)},
            "evidence_digest": None if self.evidence is None else self.evidence.digest,
            "promotion": None if self.promotion is None else self.promotion.to_document(),
        }


class AdvanceService:
    """Brings versions from one environment of a path to the next; threads and processes may ask for the same."""

    def __init__(
        self,
        database: Database,
        registry: ModelRegistry,
        clock: Clock,
        *,
        path: EnvironmentPath,
        promotions: PromotionService,
        grounds: Grounds,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._path = path
        self._promotions = promotions
        self._grounds = grounds

    def advance(self, model: str, version: str, *, actor: str, actor_verified: bool, reason: str) -> Advance:
        """Judge a version for the next environment, copy it there and promote it, as far as the gate lets it.

        What was done before is found, not done again. Raises UsageError where the path leads nowhere, NotFound for a
        version that is not on record, Refused for one that may not leave or whose files changed, and EvaluationError
        for rows that cannot judge it.
        """
        to_model = self._path.after(model)
        environment = self._path.require(to_model).environment
        for each in (model, to_model):
            self._promotions.reconcile(each)
        origin, measured = self._departing(model, version)
        champion = versions.champion_to_judge_by(self._database, self._registry, to_model, judged="version")
        if champion is not None and champion.copied_from == (model, version):
            return self._there_already(origin, environment, to_model, champion)
        self._refuse_twin(origin, to_model)
        self._check_files(origin, "registered")
        policy, source = self._policy(environment, measured)
        policy = self._bound(policy)
        key = _key(origin, environment, champion, policy)
        evidence = self._evidence(key) or self._judge(key, origin, measured, to_model, champion, policy, source)
        faults.reach("advance.after_evidence")
        if evidence.verdict != "passed":
            return Advance(origin, environment, to_model, evidence, None, None)
        copy = self._copy(key, origin, evidence, to_model)
        faults.reach("advance.after_copy")
        promotion = self._promote(key, copy, actor=actor, actor_verified=actor_verified, reason=reason)
        return Advance(origin, environment, to_model, evidence, copy, promotion)

    def _departing(self, model: str, version: str) -> tuple[ModelVersion, RecordedEvidence]:
        with self._database.read() as connection:
            origin = store.find_version(connection, model, version)
            if origin is None:
                raise NotFound(
                    f"Podium registered no version {version} of {model}; `podium models show {model}` lists them."
                )
            told = history.entries(connection, model)
            evidence = store.find_evidence(connection, origin.evidence_digest)
        objection = environments.departure_objection(origin, told, blocked_versions(told))
        if objection is not None:
            raise Refused(objection)
        if evidence is None:
            raise InternalError(f"The evidence of version {version} of {model} is not stored.")
        if evidence.altered is not None:
            raise Refused(evidence.altered)
        return origin, evidence

    def _there_already(self, origin: ModelVersion, environment: str, to_model: str, champion: ModelVersion) -> Advance:
        with self._database.read() as connection:
            evidence = store.find_evidence(connection, champion.evidence_digest)
            moves = [each for each in store.promotions_to(connection, to_model, champion.version) if each.applied]
        return Advance(origin, environment, to_model, evidence, champion, moves[-1] if moves else None)

    def _refuse_twin(self, origin: ModelVersion, to_model: str) -> None:
        with self._database.read() as connection:
            twins = store.versions_of_model(connection, to_model)
        objection = environments.twin_objection(origin, twins, self._promotions.blocked(to_model))
        if objection is not None:
            raise Refused(objection)

    def _check_files(self, version: ModelVersion, past: str) -> None:
        """Raise Refused unless the registry has the files on record; `past` says what became of them then."""
        source = self._registry.get_version(version.model, version.version).source
        found = self._registry.digest_of(source)
        if found != version.digest:
            raise Refused(
                f"The files of version {version.version} of {version.model} at {source} have the digest {found[:12]}…, "
                f"on record is {version.digest[:12]}…: they were changed after they were {past}, so the champion stays "
                "as it is. Restore them from a backup, or train again."
            )

    def _policy(self, environment: str, measured: RecordedEvidence) -> tuple[GatePolicy, PolicySource]:
        """Return the rules of the environment; without any, those that the version passed in the one before."""
        own = self._grounds.policy(environment)
        if own is not None:
            return own, "file"
        before = Evidence.model_validate(measured.document)
        if before.policy.digest != before.policy_digest:
            raise Refused(
                f"The policy of evidence {measured.digest[:12]}…, by which {measured.model} was judged, cannot be read "
                f"back as it was, so it cannot be asked again for {environment}; name one in [environments.policies] "
                "of podium.toml."
            )
        return before.policy, "default"

    def _bound(self, policy: GatePolicy) -> GatePolicy:
        """Return the policy with the digests of its rules' sources as they are now: other code, another question."""
        return policy.model_copy(update={"rules": tuple(rule.bound()[0] for rule in policy.rules)})

    def _evidence(self, key: str) -> RecordedEvidence | None:
        with self._database.read() as connection:
            return store.evidence_of_step(connection, key)

    def _judge(
        self,
        key: str,
        origin: ModelVersion,
        measured: RecordedEvidence,
        to_model: str,
        champion: ModelVersion | None,
        policy: GatePolicy,
        source: PolicySource,
    ) -> RecordedEvidence:
        """Compare a version with the next environment's champion on the rows that judged it, and keep the answer."""
        from podium.registry.evaluation import evaluate  # scipy and sklearn: only who judges pays for them

        for who in (origin, champion):
            if who is not None and measured.holdout_digest in self._grounds.trained_on(who):
                raise EvaluationError(
                    f"The rows that judged version {origin.version} of {origin.model} were read on the way to version "
                    f"{who.version} of {who.model}, so they cannot judge the two; advance a version that was held "
                    "against newer rows."
                )
        lineage = _lineage(origin)
        holdout = self._grounds.holdout(origin, measured)
        before = Evidence.model_validate(measured.document)
        found = evaluate(
            self._load(origin),
            None if champion is None else self._load(champion),
            holdout,
            label=before.label,
            model=to_model,
            policy=policy,
            candidate_digest=measured.candidate_digest,
            champion_version=None if champion is None else champion.version,
            holdout_digest=measured.holdout_digest,
            holdout_uses=self._holdout_uses(key, to_model, measured.holdout_digest),
            seed=int(measured.holdout_digest[:8], 16),
            checks=before.data_checks,  # what was checked of these rows then
            cost_usd=None if policy.limits.cost_usd is None else self._grounds.cost_usd(origin),
            champion_features=None if policy.signature == "any" else self._features(champion),
            doubt=None
            if champion is None
            else doubt_about(champion, start=lineage.interval_start, judged=f"version {origin.version}'s"),
            policy_source=source,
        )
        with self._database.write() as connection:
            return versions.record_evidence(
                connection, found, run_id=lineage.run_id, step_key=key, at=self._clock.now()
            )

    def _load(self, version: ModelVersion) -> Any:
        return self._registry.load_model(version.source, digest=version.digest, own_code=version.made_by_run)

    def _features(self, champion: ModelVersion | None) -> Sequence[Feature] | None:
        """Return what the champion's columns held when it was judged; None where nobody wrote that down."""
        with self._database.read() as connection:
            recorded = None if champion is None else store.find_evidence(connection, champion.evidence_digest)
        signature = None if recorded is None else Evidence.model_validate(recorded.document).signature
        return None if signature is None else signature.features

    def _holdout_uses(self, key: str, to_model: str, holdout_digest: str) -> int:
        """Return how often the rows judged before, in any environment: a version is chosen in each of them."""
        models = self._path.models_of(self._path.require(to_model).model)
        with self._database.read() as connection:
            return sum(versions.holdout_uses(connection, model, holdout_digest, step_key=key) for model in models)

    def _copy(self, key: str, origin: ModelVersion, evidence: RecordedEvidence, to_model: str) -> ModelVersion:
        stored = self._registry.get_version(origin.model, origin.version)
        copy = versions.register(
            self._database,
            self._registry,
            self._clock,
            model=to_model,
            logged=LoggedModel(
                source=stored.source,
                digest=origin.digest,
                serialization=stored.tags.get(SERIALIZATION_TAG, ""),
                mlflow_run_id=stored.mlflow_run_id,
                mlflow_model_id=stored.mlflow_model_id,
            ),
            lineage=replace(_lineage(origin), evidence_digest=evidence.digest),
            step_key=key,
            copied_from=(origin.model, origin.version),
        )
        self._check_files(copy, "copied")
        self._grounds.copied(copy)
        return copy

    def _promote(self, key: str, copy: ModelVersion, *, actor: str, actor_verified: bool, reason: str) -> Promotion:
        """Ask for the copy to become champion: by the promotion that goes on, else by a new one.

        One that ended without a move may be asked for anew; one that another process has just made is the answer.
        """
        with self._database.read() as connection:
            asked = store.promotions_to(connection, copy.model, copy.version)
        last = asked[-1] if asked else None
        if last is not None and last.applied and self._registry.alias(copy.model, CHAMPION) == copy.version:
            return last
        waits = last is not None and last.action == "promote" and last.ended_at is None
        return self._promotions.promote(
            copy.model,
            copy.version,
            expect_champion=ANY,  # the evidence names the champion it was measured against; another one makes it void
            idempotency_key=last.idempotency_key if last is not None and waits else f"{key}:{len(asked) + 1}",
            actor=actor,
            actor_verified=actor_verified,
            reason=reason,
        )


def _lineage(version: ModelVersion) -> Lineage:
    if version.lineage is None:
        raise InternalError(f"Version {version.version} of {version.model} goes on and has no lineage.")
    return version.lineage


def _key(origin: ModelVersion, environment: str, champion: ModelVersion | None, policy: GatePolicy) -> str:
    """Return the key under which a version is judged once against a champion by a policy, and then copied once."""
    asked = digest_json([None if champion is None else champion.version, policy.digest])[:16]
    return f"{store.ADVANCE}{origin.model}:{origin.version}:{environment}:{asked}"
