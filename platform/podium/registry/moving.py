"""Moves `champion`: an intent row, the alias, a confirmation.

All of it happens under the model's lock, so an intent that somebody else finds there belongs to a dead process, and
whoever holds the lock brings it to its end first.
"""

from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa

from podium import faults
from podium.clock import Clock
from podium.db.engine import Database
from podium.errors import Conflict, NotFound, ServiceUnavailable
from podium.registry import history, store, told, transitions
from podium.registry.entities import CHAMPION, Promotion
from podium.registry.port import ModelRegistry
from podium.registry.transitions import Objection

Ended = Callable[[sa.Connection, Promotion], None]
"""Is told of a promotion that ended, inside the transaction that ends it: whoever waited for it may go on."""


SecondThoughts = Callable[[Promotion], str | None]
"""Returns why a move that a dead process left before it had begun is not made after all; None where it is."""


def nobody_waits(_: sa.Connection, __: Promotion) -> None:
    """Take no note of a promotion that ended."""


class Mover:
    """Brings promotions to their end and tells the history; every method wants the model's lock held."""

    def __init__(
        self,
        database: Database,
        registry: ModelRegistry,
        clock: Clock,
        ended: Ended,
        second_thoughts: SecondThoughts,
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._ended = ended
        self._second_thoughts = second_thoughts

    def begin(self, proposal: Promotion) -> Promotion:
        """Store a proposal that every rule has let pass, and move the alias."""
        applying = replace(proposal, state="applying")
        with self._database.write() as connection:
            store.add_promotion(connection, applying)
        faults.reach("promotion.after_intent")
        return self.settle(applying)

    def refuse(self, proposal: Promotion, objection: Objection) -> Promotion:
        """Put a proposal on record as what the objection makes of it."""
        ended = replace(proposal, state=objection.state, reasons=(objection.text,), ended_at=proposal.proposed_at)
        with self._database.write() as connection:
            store.add_promotion(connection, ended)
            tell(connection, ended)
        return ended

    def reconcile(self, model: str, *, give_up: Callable[[Promotion], str] | None = None) -> Promotion | None:
        """Bring the move that a dead process left open to its end; return it, None if there was none.

        That may be long after it was let pass: what has not begun to move is looked at once more. With `give_up`, which
        says why, a promotion of which nothing has moved is ended instead.
        """
        with self._database.read() as connection:
            left = store.open_promotion(connection, model)
        if left is None or left.state != "applying":
            return None
        if self._registry.alias(model, CHAMPION) == left.from_version:
            ask = self._second_thoughts if give_up is None or left.action != "promote" else give_up
            why = ask(left)
            if why is not None:
                return self.end(left, "void", (why,))
        return self.settle(left)

    def end(self, promotion: Promotion, state: str, reasons: tuple[str, ...] = ()) -> Promotion:
        """End a stored promotion from the state it is in; Conflict where another process has."""
        at = self._clock.now()
        ended = replace(promotion, state=state, reasons=reasons, ended_at=at)
        with self._database.write() as connection:
            if not store.move_promotion(connection, ended, before=promotion.state):
                raise Conflict(
                    f"Promotion {ended.promotion_id} of {ended.model} was ended by another process; "
                    f"`podium models history {ended.model}` shows how."
                )
            tell(connection, ended)
            self._ended(connection, ended)
        return ended

    def settle(self, promotion: Promotion) -> Promotion:
        """Bring an `applying` promotion to its end, from wherever its process, dead or this one, got to."""
        model, target = promotion.model, promotion.to_version
        found = self._registry.alias(model, CHAMPION)
        move = transitions.next_move(promotion, found)
        if move == "set_alias":
            try:
                self._registry.set_alias(model, CHAMPION, target)
            except NotFound:
                return self.end(promotion, "void", (transitions.target_gone(promotion),))
            faults.reach("promotion.after_alias")
            found = self._registry.alias(model, CHAMPION)
            move = transitions.next_move(promotion, found)
        if move == "set_alias":
            raise ServiceUnavailable(
                f"The registry accepted version {target} as champion of {model} but still shows "
                f"{found or 'none'}. The next promotion of {model} completes the move; look at the registry."
            )
        if move == "confirm":
            ended = self.end(promotion, "applied")
            faults.reach("promotion.after_applied")
            return ended
        return self.end(promotion, "void", (transitions.overtaken(promotion, found),))


def tell(connection: sa.Connection, promotion: Promotion) -> None:
    """Write the history's entries of what a promotion has come to: its own, and the block that a rollback brings."""
    words = store.approvals_of(connection, promotion.promotion_id) if promotion.approvals_required else []
    facts = [told.ended(promotion, words), told.blocked(promotion, words)]
    for fact in facts:
        if fact is not None:
            history.append(connection, promotion.model, fact)
