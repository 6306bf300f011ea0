"""The canary controller: opens a trial, looks at its counts, and brings a verdict to its end.

Everything happens under the model's lock, so what somebody else finds half done belongs to a dead process, and
whoever comes next completes it. The order makes that possible: the intent row before the alias `challenger`; the
look before what follows from it; the promotion, which is idempotent, and the alias before the terminal row. An ended
canary therefore has nothing left to do.
"""

from collections.abc import Sequence
from dataclasses import replace

from podium import faults
from podium.canary import analysis, store, transitions
from podium.canary.entities import (
    CHALLENGER,
    CHAMPION,
    Canary,
    CanaryRequest,
    CanaryResult,
    Look,
    State,
    requests_of,
)
from podium.canary.ports import Aliases, Ended, Promoter, PromotionAnswer, RunIsOpen, nobody_waits
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import CanaryOpen, Conflict, InternalError, NotFound
from podium.ids import digest_bytes, new_id
from podium.stats.cells import Cell, Cells


class CanaryController:
    """Keeps one open canary per model; threads and processes may share a model."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        aliases: Aliases,
        promoter: Promoter,
        run_is_open: RunIsOpen,
        ended: Ended = nobody_waits,
    ) -> None:
        self._database = database
        self._clock = clock
        self._aliases = aliases
        self._promoter = promoter
        self._run_is_open = run_is_open
        self._ended = ended

    def open(self, request: CanaryRequest) -> CanaryResult:
        """Begin a trial and point `challenger` at the version; the same step key gets the same canary.

        Without a champion the version is promoted at once. One that may not become champion whatever a trial shows
        (blocked, failed the gate, judged against another champion, of older data) gets no traffic but an `aborted`
        canary that says so. Raises CanaryOpen while another run's canary of the model goes on; one whose run has ended
        is aborted.
        """
        transitions.check_request(request)
        faults.reach("canary.before_open")
        with self._database.lock(_lock_of(request.model)):
            with self._database.read() as connection:
                known = store.of_step(connection, request.step_key)
            if known is not None:
                transitions.check_same_request(known, request)
                return CanaryResult.of(self._taken_up(known))
            self._make_room(request.model)
            champion = self._champion(request.model)
            if champion is None:
                return self._first_model(request)
            if self._promoter.answer_to(request.step_key) is not None:
                return self._first_model(request)  # an attempt before this one found no champion
            return CanaryResult.of(self._try(request, champion))

    def resume(self, model: str, step_key: str, challenger: str, traffic_digest: str) -> CanaryResult | None:
        """Return the canary that a step opened before if nothing is left to look at: it ended, or awaits approval.

        None where there is none, or it goes on; so too where it was of another version or other traffic. Where there is
        none, raises CanaryOpen as `open` does, before anybody has loaded a model in vain.
        """
        with self._database.read() as connection:
            known = store.of_step(connection, step_key)
        if known is None:
            with self._database.lock(_lock_of(model)):
                self._make_room(model)
            return None
        if (known.challenger_version, known.traffic_digest) != (challenger, traffic_digest):
            return None
        with self._database.lock(_lock_of(known.model)):
            with self._database.read() as connection:
                known = self._found(store.find(connection, known.canary_id), known.canary_id)
            known = self._completed(known)
        return CanaryResult.of(known) if known.ended or known.awaits_approval else None

    def advance(self, canary_id: str, cells: Cells) -> CanaryResult:
        """Look at the counts so far, act on the verdict, and return where the canary stands.

        A position that was looked at before adds nothing, nor does one beyond a verdict that awaits approval. Raises
        EvaluationError for counts that contradict those stored, and NotFound for an unknown canary.
        """
        with self._database.read() as connection:
            model = self._found(store.find(connection, canary_id), canary_id).model
        with self._database.lock(_lock_of(model)):
            with self._database.read() as connection:
                canary = self._found(store.find(connection, canary_id), canary_id)
            canary = self._taken_up(canary, trust_alias=True)
            over = canary.ended or canary.awaits_approval
            return CanaryResult.of(canary if over else self._look(canary, tuple(cells)))

    def abort(self, model: str, *, reason: str, actor: str) -> CanaryResult:
        """End the open canary of a model; the champion stays. A promotion that awaits approval is withdrawn with it.

        So is put away what its evidence has decided for, as long as nobody has asked for the promotion. Raises NotFound
        where none is open, and Conflict where what was decided had been begun: that is completed instead.
        """
        with self._database.lock(_lock_of(model)):
            with self._database.read() as connection:
                canary = store.open_of(connection, model)
            if canary is None:
                raise NotFound(f"Model {model} has no open canary; `podium canary show {model}` shows its last one.")
            if self._may_still_be_stopped(canary):
                return CanaryResult.of(self._end(canary, "aborted", (transitions.aborted_by(canary, actor, reason),)))
            completed = self._completed(canary)
            if not completed.ended:
                aborted = self._put_away(completed, transitions.aborted_by(completed, actor, reason))
                if aborted.state == "aborted":
                    return CanaryResult.of(aborted)
                completed = aborted  # the last approval came first
            raise Conflict(
                f"Canary {canary.canary_id} of {model} could not be aborted: its evidence had decided, and it "
                f"ended {completed.state}. `podium canary show {model}` shows why."
            )

    def _may_still_be_stopped(self, canary: Canary) -> bool:
        look = self._last_look(canary)
        return look is not None and look.verdict == "promote" and self._promoter.answer_to(canary.step_key) is None

    def _first_model(self, request: CanaryRequest) -> CanaryResult:
        answer = self._promoter.promote(
            request.model,
            request.challenger,
            expect_champion=None,
            idempotency_key=request.step_key,
            actor=request.actor,
            actor_verified=request.actor_verified,
            reason=transitions.FIRST_MODEL,
            run_id=request.run_id,
        )
        faults.reach("canary.after_promotion")
        return _without_canary(request, answer)

    def _try(self, request: CanaryRequest, champion: str) -> Canary:
        canary = self._pending(request, champion)
        in_vain = self._promoter.objection(request.model, request.challenger) or transitions.outdated(request, champion)
        if in_vain is not None:
            canary = replace(canary, state="aborted", reasons=(in_vain,), ended_at=canary.opened_at)
        with self._database.write() as connection:
            store.add(connection, canary)
        faults.reach("canary.after_open")
        return canary if canary.ended else self._pointed_at(canary)

    def _pending(self, request: CanaryRequest, champion: str) -> Canary:
        now = self._clock.now()
        return Canary(
            canary_id=new_id(now),
            model=request.model,
            challenger_version=request.challenger,
            champion_version=champion,
            traffic=request.traffic,
            traffic_digest=request.traffic_digest,
            plan=request.plan,
            seed=_seed_of(request),
            horizon=request.plan.horizon(request.available),
            baseline_error_rate=request.baseline_error_rate,
            state="pending",
            position=0,
            counts=tuple(Cell(phase.weight, 0, 0, 0, 0) for phase in request.plan.phases),
            reasons=(),
            promotion_id=None,
            run_id=request.run_id,
            step_key=request.step_key,
            actor=request.actor,
            actor_verified=request.actor_verified,
            opened_at=now,
            paused_at=None,
            ended_at=None,
        )

    def _make_room(self, model: str) -> None:
        with self._database.read() as connection:
            other = store.open_of(connection, model)
        if other is None:
            return
        other = self._completed(other)
        if other.ended:
            return
        if self._run_is_open(other.run_id):
            raise CanaryOpen(transitions.occupied(other))
        self._put_away(other, transitions.abandoned(other))

    def _put_away(self, canary: Canary, reason: str) -> Canary:
        """End a canary that its evidence did not end; one that awaits approval through the end of its promotion."""
        if not canary.awaits_approval:
            return self._end(canary, "aborted", (reason,))
        self._promoter.withdraw(canary.step_key, reason=reason)
        return self._completed(canary)

    def _champion(self, model: str) -> str | None:
        self._promoter.reconcile(model)
        return self._aliases.alias(model, CHAMPION)

    def _taken_up(self, canary: Canary, *, trust_alias: bool = False) -> Canary:
        """Return a stored canary with all done that a dead process left undone.

        `trust_alias` spares a look at the registry where the row says that the alias was set.
        """
        canary = self._completed(canary)
        if canary.ended or (trust_alias and canary.state != "pending"):
            return canary
        return self._pointed_at(canary)

    def _pointed_at(self, canary: Canary) -> Canary:
        """Make the alias `challenger` agree with an open canary, and let it begin."""
        if self._aliases.alias(canary.model, CHALLENGER) != canary.challenger_version:
            try:
                self._aliases.set_alias(canary.model, CHALLENGER, canary.challenger_version)
            except NotFound:
                return self._end(canary, "aborted", (transitions.version_gone(canary),))
        faults.reach("canary.after_alias")
        if canary.state != "pending":
            return canary
        begun = replace(canary, state=transitions.begun(canary.traffic))
        with self._database.write() as connection:
            _require(canary, won=store.begin(connection, canary.canary_id, begun.state))
        return begun

    def _look(self, canary: Canary, counts: tuple[Cell, ...]) -> Canary:
        transitions.check_counts(canary, counts)
        position = requests_of(counts)
        if position < canary.position or (position == canary.position and self._last_look(canary) is not None):
            return canary
        found = analysis.assess(canary.plan, canary.horizon, canary.baseline_error_rate, counts)
        look = Look(position, self._clock.now(), counts, found.verdict, found.evidence)
        with self._database.write() as connection:
            _require(canary, won=store.add_look(connection, canary, look, found.reasons))
        faults.reach("canary.after_look")
        looked = replace(canary, position=position, counts=counts, reasons=found.reasons)
        return looked if look.verdict == "continue" else self._decided(looked, look)

    def _completed(self, canary: Canary) -> Canary:
        """Return a canary whose last look, if that decided, has had its consequences."""
        if canary.ended:
            return canary
        look = self._last_look(canary)
        return canary if look is None or look.verdict == "continue" else self._decided(canary, look)

    def _last_look(self, canary: Canary) -> Look | None:
        with self._database.read() as connection:
            return store.last_look(connection, canary.canary_id)

    def _decided(self, canary: Canary, look: Look) -> Canary:
        """Do what follows from a deciding look; every part of it may have been done before."""
        promotion: PromotionAnswer | None = None
        if look.verdict == "promote":
            promotion = self._promoter.promote(
                canary.model,
                canary.challenger_version,
                expect_champion=canary.champion_version,
                idempotency_key=canary.step_key,
                actor=canary.actor,
                actor_verified=canary.actor_verified,
                reason=transitions.decision_reason(canary),
                run_id=canary.run_id,
            )
            faults.reach("canary.after_promotion")
            if promotion.awaits_approval:
                return self._awaiting(canary, promotion.promotion_id)
        if look.verdict == "roll_back":
            self._promoter.block(
                canary.model,
                canary.challenger_version,
                actor=canary.actor,
                actor_verified=canary.actor_verified,
                reason=transitions.decision_reason(canary),
            )
        state = transitions.ended_by(look.verdict, promotion)
        promotion_id = None if promotion is None else promotion.promotion_id
        return self._end(canary, state, transitions.end_reasons(canary.reasons, promotion), promotion_id)

    def _awaiting(self, canary: Canary, promotion_id: str) -> Canary:
        """Let a decided canary wait for its promotion; traffic and alias stay as they are."""
        if canary.promotion_id != promotion_id:
            with self._database.write() as connection:
                _require(canary, won=store.await_approval(connection, canary, promotion_id))
        return replace(canary, promotion_id=promotion_id)

    def _end(self, canary: Canary, state: State, reasons: Sequence[str], promotion_id: str | None = None) -> Canary:
        if not transitions.may_move(canary.state, state):
            raise InternalError(f"Canary {canary.canary_id} cannot go from {canary.state} to {state}.")
        # Before the terminal row, after which nobody would come to do it. An alias that somebody moved on stays.
        if self._aliases.alias(canary.model, CHALLENGER) == canary.challenger_version:
            self._aliases.delete_alias(canary.model, CHALLENGER)
        faults.reach("canary.before_end")
        at = self._clock.now()
        with self._database.write() as connection:
            won = store.end(connection, canary, state=state, reasons=reasons, promotion_id=promotion_id, at=at)
            _require(canary, won=won)
            self._ended(connection, canary.model, at)
        faults.reach("canary.after_end")
        return replace(canary, state=state, reasons=tuple(reasons), promotion_id=promotion_id, ended_at=at)

    def _found(self, canary: Canary | None, canary_id: str) -> Canary:
        if canary is None:
            raise NotFound(f"There is no canary {canary_id}; `podium canary show MODEL` shows a model's last one.")
        return canary


def _require(canary: Canary, *, won: bool) -> None:
    if not won:
        raise Conflict(
            f"Canary {canary.canary_id} of {canary.model} was moved on by another process; "
            f"`podium canary show {canary.model}` shows where to."
        )


def _lock_of(model: str) -> str:
    return f"canary-{model}"


def _seed_of(request: CanaryRequest) -> str:
    return digest_bytes((request.draw_key or request.step_key).encode())


def _without_canary(request: CanaryRequest, answer: PromotionAnswer) -> CanaryResult:
    """Return what a first model came to: there was nothing to compare it with."""
    ended: State = "promoted" if answer.applied else "aborted"
    return CanaryResult(
        canary_id=None,
        model=request.model,
        challenger=request.challenger,
        champion=None,
        state="pending" if answer.awaits_approval else ended,
        reasons=(transitions.FIRST_MODEL,) if answer.applied or answer.awaits_approval else answer.reasons,
        plan=request.plan,
        position=0,
        horizon=0,
        seed=_seed_of(request),
        challenger_exposures=0,
        challenger_errors=0,
        champion_exposures=0,
        champion_errors=0,
        promotion_id=answer.promotion_id,
    )
