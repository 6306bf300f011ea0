"""Sign-off: promotions that wait until so many people have agreed, each to the very same thing.

Every method wants the model's lock held, and what a dead process had begun to move brought to its end.
"""

from collections.abc import Callable
from dataclasses import replace

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import Conflict, PromotionOpen, Refused
from podium.ids import digest_json
from podium.registry import approval, history, store, told, transitions
from podium.registry.approval import Approval, ApprovalRule, Decision
from podium.registry.entities import ModelVersion, Promotion, RecordedEvidence
from podium.registry.moving import Mover
from podium.registry.transitions import Objection

Examine = Callable[[Promotion, ModelVersion, RecordedEvidence], Objection | None]
"""Asks all the rules of a promotion again, as things stand."""


class SignOff:
    """Keeps promotions that await approval, and counts what people say about them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        mover: Mover,
        rule_of: Callable[[str], ApprovalRule | None],
        examine: Examine,
    ) -> None:
        self._database = database
        self._clock = clock
        self._mover = mover
        self._rule_of = rule_of
        self._examine = examine

    def propose(
        self, proposal: Promotion, candidate: ModelVersion | None, evidence: RecordedEvidence | None
    ) -> Promotion | None:
        """Store a proposal that somebody has to sign off, as awaiting that; None where nobody has to.

        It is refused where so many never could.
        """
        if proposal.action == "rollback" or candidate is None or evidence is None:
            return None
        rule = approval.needed(self._rule_of(proposal.model), by_run=proposal.run_id is not None)
        if rule is None:
            return None
        why = approval.out_of_reach(proposal, rule)
        if why is not None:
            return self._mover.refuse(proposal, Objection("refused", why))
        binding = approval.binding(candidate, evidence, rule, expected_version=proposal.expected_version)
        waiting = replace(
            proposal,
            state="awaiting_approval",
            approvals_required=rule.required,
            binding_digest=digest_json(binding),
            binding=binding,
            expires_at=proposal.proposed_at + rule.expires_after,
        )
        with self._database.write() as connection:
            store.add_promotion(connection, waiting)
            history.append(connection, waiting.model, told.proposed(waiting))
        faults.reach("promotion.after_proposal")
        return waiting

    def waiting(self, model: str, *, look_again: bool = True) -> Promotion | None:
        """Return the promotion of a model that awaits approval; one that proved stale just now is returned as it ended.

        It is stale when it has expired, when what it is about has changed, or when a rule objects by now. Who makes it
        void anyway need not `look_again`.
        """
        with self._database.read() as connection:
            waiting = store.open_promotion(connection, model)
            if waiting is None or waiting.state != "awaiting_approval":
                return None
            if not look_again:
                return waiting
            given = store.approvals_of(connection, waiting.promotion_id)
        rejected = next((each for each in given if each.decision == "reject"), None)
        if rejected is not None:  # by a process that died before it could end it
            return self._rejected(waiting, rejected)
        why = self.doubt(waiting)
        return waiting if why is None else self._mover.end(waiting, "void", (why,))

    def doubt(self, waiting: Promotion) -> str | None:
        """Return why a promotion that awaits approval would be void if anybody decided now; None where it would not.

        This one method reads alone, and may do so without the lock.
        """
        with self._database.read() as connection:
            candidate, evidence = store.judged_version(connection, waiting.model, waiting.to_version)
        if candidate is None or evidence is None:
            return approval.stale(waiting, self._clock.now(), None)
        rule = self._rule_of(waiting.model)
        bound = approval.binding(candidate, evidence, rule, expected_version=waiting.expected_version)
        why = approval.stale(waiting, self._clock.now(), bound)
        if why is not None:
            return why
        objection = self._examine(waiting, candidate, evidence)
        return None if objection is None else objection.text

    def make_way(self, waiting: Promotion, proposal: Promotion) -> Objection | None:
        """Object to another promotion while one waits; a rollback is not held up, but makes the one that waits void.

        A run is not refused for it, as what waits says nothing about its candidate: PromotionOpen, for it to ask later.
        """
        if proposal.action == "rollback":
            self._mover.end(waiting, "void", (transitions.rolled_back_meanwhile(proposal),))
            return None
        with self._database.read() as connection:
            given = store.approvals_of(connection, waiting.promotion_id)
        text = approval.in_the_way(waiting, given)
        if proposal.run_id is not None:
            raise PromotionOpen(text)
        return Objection("refused", text)

    def decide(
        self, asked: Promotion, decision: Decision, actor: str, reason: str, *, actor_verified: bool
    ) -> Promotion:
        """Count what `actor` says, and do what follows; return the promotion as it is then.

        Raises Refused where the actor has no say. A promotion that proved stale is returned as it ended, uncounted.
        A rejection looks at nothing else: it ends the promotion whatever has become of what it is about.
        """
        waiting = self.waiting(asked.model, look_again=decision == "approve")
        if waiting is not None and waiting.ended_at is not None and waiting.promotion_id == asked.promotion_id:
            return waiting
        with self._database.read() as connection:
            present = store.get_promotion(connection, asked.promotion_id)
            given = store.approvals_of(connection, asked.promotion_id)
        objection = approval.objection_to(present, given, self._rule_of(asked.model), decision, actor)
        if objection is not None:
            raise Refused(objection)
        word = Approval(
            promotion_id=present.promotion_id,
            actor=actor,
            actor_verified=actor_verified,
            decision=decision,
            binding_digest=present.binding_digest or "",
            reason=reason,
            at=self._clock.now(),
        )
        applies = decision == "approve" and approval.missing(present, [*given, word]) == 0
        with self._database.write() as connection:
            store.add_approval(connection, word)
            history.append(connection, present.model, told.said(present, word))
            applying = replace(present, state="applying")
            if applies and not store.move_promotion(connection, applying, before="awaiting_approval"):
                raise Conflict(f"Promotion {present.promotion_id} was ended by another process; look at it again.")
        faults.reach("promotion.after_decision")
        if decision == "reject":
            return self._rejected(present, word)
        return self._mover.settle(applying) if applies else present

    def _rejected(self, waiting: Promotion, word: Approval) -> Promotion:
        return self._mover.end(waiting, "refused", (f"{word.actor} rejected it: {word.reason}",))
