"""What becomes of promotions that nobody touches: the scheduler ends them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from podium.errors import Conflict, PodiumError
from podium.execution import queries
from podium.registry import store, transitions
from podium.registry.entities import Promotion
from podium.wiring.project import Project

_LOOK_SECONDS = 5.0


@dataclass
class PromotionCare:
    """Ends promotions that nobody approved in time or wants any more, and moves that a dead process began.

    What it ends it tells.
    """

    project: Project
    tell: Callable[[str], None]
    _moving: set[str] = field(default_factory=set)

    def advance(self) -> float:
        """Do what is due; return after how many seconds to look again.

        The database alone is asked what there is, so a project that promotes nothing opens no registry. What keeps one
        promotion from its end keeps no other: Conflict, once all have been looked at.
        """
        with self.project.database.read() as connection:
            found = store.open_promotions(connection)
            gone = {each.run_id for each in found if each.run_id and not queries.is_open(connection, each.run_id)}
            rejected = {each.promotion_id for each in found if store.is_rejected(connection, each.promotion_id)}
        moving = {each.promotion_id for each in found if not each.awaits_approval}
        problems = []
        for each in found:
            try:
                self._care_for(each, gone, rejected)
            except PodiumError as error:
                problems.append(f"Promotion {each.promotion_id} of {each.model}: {error}")
        self._moving = moving
        if problems:
            raise Conflict(" ".join(problems))
        return _LOOK_SECONDS

    def _care_for(self, promotion: Promotion, gone: set[str], rejected: set[str]) -> None:
        promotions, ended = self.project.promotions, None
        if not promotion.awaits_approval:
            if promotion.promotion_id in self._moving:  # not of a process that is just at it
                ended = promotions.reconcile(promotion.model)
        elif promotion.run_id in gone:
            ended = promotions.withdraw(promotion.idempotency_key, reason=transitions.run_gone(promotion))
        elif promotion.promotion_id in rejected or promotion.is_due(self.project.clock.now()):
            ended = promotions.look_at(promotion.model)
        if ended is not None and ended.ended_at is not None:
            what = f"{ended.action} {ended.promotion_id} of {ended.model} to version {ended.to_version}"
            self.tell(f"{what}: {' '.join((ended.state, *ended.reasons))}")
