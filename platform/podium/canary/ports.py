"""What a canary wants from outside: traffic, aliases, promotions, and whether a run goes on."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import sqlalchemy as sa

from podium.stats.cells import Cells


class Traffic(Protocol):
    """Requests that are answered by champion or challenger, each by a recorded probability."""

    @property
    def available(self) -> int:
        """How many requests there can be at most."""

    def cells(self, until: int) -> Cells:
        """Return the counts of the first `until` requests, one cell for each phase of the plan, in order."""


class Aliases(Protocol):
    """The aliases of registered models; a model registry has them. Any method may raise ServiceUnavailable."""

    def alias(self, model: str, alias: str) -> str | None:
        """Return the version `alias` points at; None where it points at none."""

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point `alias` at `version`; raises NotFound where there is no such version."""

    def delete_alias(self, model: str, alias: str) -> None:
        """Let `alias` point at nothing, as it may already."""


class PromotionAnswer(Protocol):
    """What became of a promotion."""

    @property
    def promotion_id(self) -> str:
        """Its identifier."""

    @property
    def applied(self) -> bool:
        """Whether `champion` moved."""

    @property
    def awaits_approval(self) -> bool:
        """Whether it is not decided yet, because people have to sign it off."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it did not."""


class Promoter(Protocol):
    """The one way `champion` moves; the promotion service is one."""

    def reconcile(self, model: str) -> PromotionAnswer | None:
        """Bring a move that a dead process left open to its end."""

    def objection(self, model: str, version: str) -> str | None:
        """Return why a run could not make a version champion as things stand, None where it could."""

    def block(self, model: str, version: str, *, actor: str, actor_verified: bool, reason: str) -> None:
        """Keep a version from becoming champion until a person unblocks it; blocking it again adds nothing."""

    def answer_to(self, idempotency_key: str) -> PromotionAnswer | None:
        """Return what became of the promotion asked for under a key; None where nobody asked."""

    def promote(
        self,
        model: str,
        version: str,
        *,
        expect_champion: str | None,
        idempotency_key: str,
        actor: str,
        actor_verified: bool,
        reason: str,
        run_id: str | None,
    ) -> PromotionAnswer:
        """Ask for `champion` to move from the expected version; the same key gets the same one, as it is by now.

        Raises PromotionOpen while another promotion of the model awaits approval.
        """

    def withdraw(self, idempotency_key: str, *, reason: str) -> PromotionAnswer | None:
        """Void the promotion asked for under a key if it still awaits approval; return what became of it."""


class RunIsOpen(Protocol):
    """Tells whether a run may still go on."""

    def __call__(self, run_id: str) -> bool:
        """Return whether the run has not ended; False for one that nobody knows."""


Ended = Callable[[sa.Connection, str, datetime], None]
"""Is told that a model's canary ended, and when, inside the transaction that ends it: whoever waited may go on."""


def nobody_waits(_: sa.Connection, __: str, ___: datetime) -> None:
    """Take no note of a canary that ended."""
