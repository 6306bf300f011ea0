"""The promotion service: the one way the alias `champion` moves.

What is asked for is proposed, signed off where somebody has to, and applied; `moving` does the last.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import NotFound, UsageError
from podium.ids import new_id
from podium.registry import history, store, transitions
from podium.registry.approval import ApprovalRule, Decision
from podium.registry.entities import CHAMPION, HistoryEntry, ModelVersion, Promotion, RecordedEvidence
from podium.registry.environments import Entrance, ModelBefore
from podium.registry.evidence import Evidence
from podium.registry.history import Fact
from podium.registry.in_force import InForce, outdated
from podium.registry.moving import Ended, Mover, nobody_waits
from podium.registry.port import ModelRegistry
from podium.registry.signing import SignOff
from podium.registry.targets import Targets
from podium.registry.transitions import Objection, Situation


class AnyChampion(Enum):
    """The type of `ANY`."""

    ANY = "any"


ANY: Final = AnyChampion.ANY
"""Expect whichever champion there is."""

Expected = str | None | AnyChampion


@dataclass(frozen=True)
class _Request:
    """What was asked for; `version` None leaves the choice of a rollback's target to the history."""

    action: Literal["promote", "rollback"]
    model: str
    version: str | None
    expect_champion: Expected
    idempotency_key: str
    actor: str
    actor_verified: bool
    reason: str
    run_id: str | None

    def belongs_to(self, known: Promotion) -> bool:
        """Whether `known` is an answer to this request."""
        same_act = (known.action, known.model) == (self.action, self.model)
        return same_act and self.version in (None, known.to_version)


class PromotionService:
    """Moves `champion` by compare-and-swap and keeps its history; threads and processes may share a model.

    The guarantee covers Podium's own writers: MLflow has no compare-and-swap. A move made outside Podium is
    noticed at the next decision, because the champion is always read from the registry. `approval_rule` and `in_force`
    say what holds for a model now: who signs off, and which gate policy. `model_before` names the model of the
    environment before, from which alone a model's versions may come.
    """

    def __init__(
        self,
        database: Database,
        registry: ModelRegistry,
        clock: Clock,
        *,
        lock: Callable[[str], AbstractContextManager[None]] | None = None,
        approval_rule: Callable[[str], ApprovalRule | None] = lambda _: None,
        in_force: InForce = lambda _: None,
        run_is_open: Callable[[str], bool] = lambda _: True,
        ended: Ended = nobody_waits,
        model_before: ModelBefore = lambda _: None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._lock = lock or database.lock
        self._run_is_open = run_is_open
        self._in_force = in_force
        self._model_before = model_before
        self._mover = Mover(database, registry, clock, ended, self._second_thoughts)
        self._sign_off = SignOff(database, clock, self._mover, approval_rule, self._examine)
        self._targets = Targets(database, registry)

    def promote(
        self,
        model: str,
        version: str,
        *,
        expect_champion: Expected,
        idempotency_key: str,
        actor: str,
        actor_verified: bool,
        reason: str,
        run_id: str | None = None,
    ) -> Promotion:
        """Make `version` champion if the gate lets it; the same key returns the same promotion.

        `run_id` names the run that asks; a person's promotion has none. The result is `applied`, `refused`, `void`,
        or `awaiting_approval` where somebody has to sign it off, and on record in every case. Raises NotFound for a
        version that exists nowhere, and PromotionOpen for a run while another promotion of the model awaits approval.
        """
        request = _Request(
            "promote", model, version, expect_champion, idempotency_key, actor, actor_verified, reason, run_id
        )
        return self._act(request)

    def rollback(
        self,
        model: str,
        *,
        to: str | None = None,
        expect_champion: Expected,
        idempotency_key: str,
        actor: str,
        actor_verified: bool,
        reason: str,
    ) -> Promotion:
        """Make an earlier champion champion again, and block the version rolled back from.

        `to` defaults to the most recent champion before the present version's first time that is not blocked.
        The target must exist, be the bytes on record, load, and take the requests of the present champion; one that
        does not is refused, and the next that does is offered. It waits for no approval, and voids a promotion that
        does. Raises NotFound when there is no such champion.
        """
        request = _Request("rollback", model, to, expect_champion, idempotency_key, actor, actor_verified, reason, None)
        return self._act(request)

    def approve(self, promotion_id: str, *, actor: str, actor_verified: bool, reason: str) -> Promotion:
        """Agree to a promotion; the last approval that it needs applies it.

        Returns the promotion as it is then: `void` where it had expired or what it is about had changed. Raises Refused
        where `actor` has no say in it, and NotFound for an unknown one.
        """
        return self._decide(promotion_id, "approve", actor, reason, actor_verified=actor_verified)

    def reject(self, promotion_id: str, *, actor: str, actor_verified: bool, reason: str) -> Promotion:
        """End a promotion that awaits approval; raises as `approve` does. Who asked for it may take it back so."""
        return self._decide(promotion_id, "reject", actor, reason, actor_verified=actor_verified)

    def withdraw(self, idempotency_key: str, *, reason: str) -> Promotion | None:
        """Void the promotion asked for under a key if it still awaits approval; return it as it is then."""
        asked = self.answer_to(idempotency_key)
        if asked is None:
            return None
        with self._lock(f"model-{asked.model}"):
            self._reconcile(asked.model)
            waiting = self._sign_off.waiting(asked.model)
            if waiting is not None and waiting.awaits_approval and waiting.promotion_id == asked.promotion_id:
                return self._mover.end(waiting, "void", (reason,))
            return self.answer_to(idempotency_key)

    def look_at(self, model: str) -> Promotion | None:
        """End the promotion of a model that awaits approval in vain; return it as it ended, None where none did."""
        with self._lock(f"model-{model}"):
            self._reconcile(model)
            found = self._sign_off.waiting(model)
        return None if found is None or found.ended_at is None else found

    def unblock(self, model: str, version: str, *, actor: str, actor_verified: bool, reason: str) -> HistoryEntry:
        """Let a blocked version be promoted again; raises NotFound when it is not blocked."""
        with self._lock(f"model-{model}"):
            self._reconcile(model)
            blocked = self.blocked(model)
            if version not in blocked:
                raise NotFound(
                    f"Version {version} of {model} is not blocked; the blocked versions are: "
                    f"{', '.join(sorted(blocked)) or 'none'}."
                )
            fact = self._word_on(version, "unblock", "unblocked", actor, reason, actor_verified=actor_verified)
            with self._database.write() as connection:
                return history.append(connection, model, fact)

    def block(self, model: str, version: str, *, actor: str, actor_verified: bool, reason: str) -> None:
        """Keep a version from becoming champion until it is unblocked; one that is blocked stays as it is."""
        with self._lock(f"model-{model}"):
            if version in self.blocked(model):
                return
            fact = self._word_on(version, "block", "blocked", actor, reason, actor_verified=actor_verified)
            with self._database.write() as connection:
                history.append(connection, model, fact)

    def _word_on(self, version: str, action: str, state: str, actor: str, reason: str, *, actor_verified: bool) -> Fact:
        return Fact(
            at=self._clock.now(),
            action=action,
            state=state,
            from_version=None,
            to_version=version,
            actor=actor,
            actor_verified=actor_verified,
            reason=reason,
        )

    def blocked(self, model: str) -> set[str]:
        """Return the versions that may not become champion until they are unblocked."""
        with self._database.read() as connection:
            return transitions.blocked_versions(history.entries(connection, model))

    def objection(self, model: str, version: str) -> str | None:
        """Return why a run could not make `version` champion as things stand, None where it could."""
        candidate, evidence = self._on_record(model, version)
        ruled = self._promotion_objection(self._situation(model), version, candidate, evidence, by_run=True)
        return None if ruled is None else ruled.text

    def doubt(self, waiting: Promotion) -> str | None:
        """Return why a promotion that awaits approval would be void if anybody decided now; None where it would not."""
        return self._sign_off.doubt(waiting)

    def answer_to(self, idempotency_key: str) -> Promotion | None:
        """Return the promotion asked for under a key, None if nobody asked."""
        with self._database.read() as connection:
            return store.promotion_with_key(connection, idempotency_key)

    def reconcile(self, model: str) -> Promotion | None:
        """Bring the promotion that a dead process left open to its end; return it, None if there was none."""
        with self._lock(f"model-{model}"):
            return self._reconcile(model)

    def _act(self, request: _Request) -> Promotion:
        faults.reach("promotion.before_compare")
        with self._lock(f"model-{request.model}"):
            going_back = request.action == "rollback"  # and so not first forth
            give_up = (lambda left: transitions.not_completed(left, request.actor)) if going_back else None
            self._mover.reconcile(request.model, give_up=give_up)
            known = self._known(request)
            if known is not None and known.awaits_approval:
                return self._sign_off.waiting(known.model) or known
            if known is not None:
                return known
            situation = self._situation(request.model)
            version = request.version or transitions.rollback_target(situation)
            if version is None:
                raise NotFound(transitions.no_rollback_target(situation))
            candidate, evidence = self._on_record(request.model, version)
            if candidate is None:
                self._registry.get_version(request.model, version)
            expected = request.expect_champion
            proposal = self._proposal(
                request,
                expected=situation.champion if isinstance(expected, AnyChampion) else expected,
                found=situation.champion,
                version=version,
                candidate=candidate,
            )
            waiting = self._sign_off.waiting(request.model, look_again=request.action == "promote")
            objection = self._objection(proposal, situation, candidate, evidence)
            if objection is None and waiting is not None and waiting.ended_at is None:
                objection = self._sign_off.make_way(waiting, proposal)
            if objection is not None:
                return self._mover.refuse(*self._targets.with_offer(proposal, situation, objection))
            asked = self._sign_off.propose(proposal, candidate, evidence)
            return self._mover.begin(proposal) if asked is None else asked

    def _decide(
        self, promotion_id: str, decision: Decision, actor: str, reason: str, *, actor_verified: bool
    ) -> Promotion:
        with self._database.read() as connection:
            found = store.get_promotion(connection, promotion_id)
        faults.reach("promotion.before_decision")
        with self._lock(f"model-{found.model}"):
            self._reconcile(found.model)
            return self._sign_off.decide(found, decision, actor, reason, actor_verified=actor_verified)

    def _examine(
        self, waiting: Promotion, candidate: ModelVersion | None, evidence: RecordedEvidence | None
    ) -> Objection | None:
        """Ask everything that was asked when a promotion was proposed once more, and whether anybody still wants it."""
        if waiting.run_id is not None and not self._run_is_open(waiting.run_id):
            return Objection("void", transitions.run_gone(waiting))
        return self._objection(waiting, self._situation(waiting.model), candidate, evidence)

    def _second_thoughts(self, left: Promotion) -> str | None:
        objection = self._examine(left, *self._on_record(left.model, left.to_version))
        return None if objection is None else objection.text

    def _on_record(self, model: str, version: str) -> tuple[ModelVersion | None, RecordedEvidence | None]:
        with self._database.read() as connection:
            return store.judged_version(connection, model, version)

    def _reconcile(self, model: str) -> Promotion | None:
        return self._mover.reconcile(model)

    def _known(self, request: _Request) -> Promotion | None:
        with self._database.read() as connection:
            known = store.promotion_with_key(connection, request.idempotency_key)
        if known is not None and not request.belongs_to(known):
            raise UsageError(
                f"The idempotency key {request.idempotency_key!r} belongs to the {known.action} of "
                f"{known.model} to version {known.to_version}; use a new key for another act."
            )
        return known

    def _situation(self, model: str) -> Situation:
        champion = self._registry.alias(model, CHAMPION)
        with self._database.read() as connection:
            return Situation(
                model=model,
                champion=champion,
                champion_version=None if champion is None else store.find_version(connection, model, champion),
                history=history.entries(connection, model),
            )

    def _proposal(
        self,
        request: _Request,
        *,
        expected: str | None,
        found: str | None,
        version: str,
        candidate: ModelVersion | None,
    ) -> Promotion:
        now = self._clock.now()
        return Promotion(
            promotion_id=new_id(now),
            model=request.model,
            action=request.action,
            expected_version=expected,
            from_version=found,
            to_version=version,
            state="proposed",
            reasons=(),
            idempotency_key=request.idempotency_key,
            evidence_digest=None if candidate is None else candidate.evidence_digest,
            run_id=request.run_id,
            actor=request.actor,
            actor_verified=request.actor_verified,
            reason=request.reason,
            proposed_at=now,
            ended_at=None,
        )

    def _objection(
        self,
        proposal: Promotion,
        situation: Situation,
        candidate: ModelVersion | None,
        evidence: RecordedEvidence | None,
    ) -> Objection | None:
        """Ask every rule, the cheap ones first."""
        moved = transitions.swap_objection(situation, proposal.expected_version)
        if moved is not None:
            return moved
        if proposal.action == "rollback":
            ruled = transitions.rollback_objection(situation, proposal.to_version)
        else:
            by_run = proposal.run_id is not None
            ruled = self._promotion_objection(situation, proposal.to_version, candidate, evidence, by_run=by_run)
        damage = None if ruled else self._targets.damage(situation, proposal.action, proposal.to_version, candidate)
        return ruled or (Objection("refused", damage) if damage else None)

    def _promotion_objection(
        self,
        situation: Situation,
        version: str,
        candidate: ModelVersion | None,
        evidence: RecordedEvidence | None,
        *,
        by_run: bool,
    ) -> Objection | None:
        entrance = self._entrance(situation.model, candidate)
        ruled = transitions.promotion_objection(
            situation, version, candidate, evidence, by_run=by_run, entrance=entrance
        )
        if ruled is not None or candidate is None or evidence is None:
            return ruled
        old = outdated(situation.model, version, Evidence.model_validate(evidence.document), self._in_force)
        return None if old is None else Objection("void", old)

    def _entrance(self, model: str, candidate: ModelVersion | None) -> Entrance | None:
        before = self._model_before(model)
        if before is None:
            return None
        copied_from = None if candidate is None else candidate.copied_from
        with self._database.read() as connection:
            original = None if copied_from is None else store.find_version(connection, *copied_from)
            blocked = transitions.blocked_versions(history.entries(connection, before))
        return Entrance(before, original, blocked)
