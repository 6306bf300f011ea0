"""What a canary is made of: the request for it, its row, its looks, and what it came to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from podium.canary.plan import CanaryPlan
from podium.stats.cells import Cell

CHAMPION = "champion"
CHALLENGER = "challenger"

State = Literal["pending", "shadowing", "ramping", "promoted", "rolled_back", "inconclusive", "aborted", "invalid"]
Verdict = Literal["continue", "promote", "roll_back", "inconclusive", "invalid"]
TrafficKind = Literal["replay", "live"]

Counts = tuple[Cell, ...]
"""One cell for each phase of the plan, in order; phases that have not begun are there with zeros."""


@dataclass(frozen=True)
class CanaryRequest:
    """What a canary is asked for with.

    `judged_against` is the champion that the challenger's offline evidence compares it with, None where it says
    that there was none. `available` requests can be had; `traffic_digest` names the rows of a replay.
    `baseline_error_rate` is the champion's error rate as it was known before the canary, between 0 and 1; it
    serves the sensitivity of the test alone and need not be right. One `step_key`, one canary. Equal `draw_key`s
    draw a replay's assignments alike; without one the step key draws.
    """

    model: str
    challenger: str
    judged_against: str | None
    plan: CanaryPlan
    available: int
    baseline_error_rate: float
    run_id: str
    step_key: str
    actor: str
    actor_verified: bool
    traffic: TrafficKind = "replay"
    traffic_digest: str | None = None
    draw_key: str = ""


@dataclass(frozen=True)
class Canary:
    """One canary as it is stored; `position` requests of it are counted in `counts`.

    `reasons` are those of its last look, and in the end what it was ended for. While it is open, a `promotion_id` is
    that of a promotion which its verdict asked for and people have yet to approve: nothing more is looked at.
    """

    canary_id: str
    model: str
    challenger_version: str
    champion_version: str
    traffic: TrafficKind
    traffic_digest: str | None
    plan: CanaryPlan
    seed: str
    horizon: int
    baseline_error_rate: float
    state: State
    position: int
    counts: Counts
    reasons: tuple[str, ...]
    promotion_id: str | None
    run_id: str
    step_key: str
    actor: str
    actor_verified: bool
    opened_at: datetime
    paused_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.ended_at is not None

    @property
    def awaits_approval(self) -> bool:
        """Whether it is decided, and its end waits until people have signed the promotion off."""
        return not self.ended and self.promotion_id is not None


@dataclass(frozen=True)
class GuardrailEvidence:
    """What one guardrail shows at one look; None is unknown.

    `e_value` acts at `threshold`. It is the exponential of `log_e_value` up to 1e300, and 1e300 from there on, so
    that it has a JSON. `estimate` lies between `low` and `high`; what it estimates is the guardrail's affair:
    `error_rate`: the relative risk of the challenger's errors; `error_rate_margin`: the difference of the error
    rates, challenger − champion, within phases; `sample_ratio`: the challenger's exposures for each that the recorded
    weights lead to expect.
    """

    guardrail: str
    e_value: float | None
    log_e_value: float | None
    threshold: float
    estimate: float | None
    low: float | None
    high: float | None

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "GuardrailEvidence":
        """Return what `to_document` gave; a database may have written a float as an integer."""
        guardrail, threshold = str(document["guardrail"]), float(document["threshold"])
        numbers = {
            name: None if document[name] is None else float(document[name])
            for name in ("e_value", "log_e_value", "estimate", "low", "high")
        }
        return cls(guardrail=guardrail, threshold=threshold, **numbers)


@dataclass(frozen=True)
class Assessment:
    """What the counts of one look mean."""

    verdict: Verdict
    reasons: tuple[str, ...]
    evidence: tuple[GuardrailEvidence, ...]


@dataclass(frozen=True)
class Look:
    """One look as it is stored."""

    position: int
    at: datetime
    counts: Counts
    verdict: Verdict
    evidence: tuple[GuardrailEvidence, ...]


@dataclass(frozen=True)
class CanaryResult:
    """How far a canary got, and what it came to.

    Without a champion there is nothing to compare with: the challenger is promoted at once, and `canary_id` is
    None. `plan` and `horizon` are those declared when it opened; `seed` (hexadecimal) is what routes a replay.
    Exposures and errors are of all phases together, so their rates may mislead; `reasons` compare within phases.
    `promotion_id` is the promotion that its verdict asked for, None where there is none (yet).
    """

    canary_id: str | None
    model: str
    challenger: str
    champion: str | None
    state: State
    reasons: tuple[str, ...]
    plan: CanaryPlan
    position: int
    horizon: int
    seed: str
    challenger_exposures: int
    challenger_errors: int
    champion_exposures: int
    champion_errors: int
    promotion_id: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state not in ("pending", "shadowing", "ramping")

    @property
    def awaits_approval(self) -> bool:
        """Whether its end waits until people have approved the promotion."""
        return not self.ended and self.promotion_id is not None

    @property
    def promoted(self) -> bool:
        """Whether the challenger became champion."""
        return self.state == "promoted"

    @classmethod
    def of(cls, canary: Canary) -> "CanaryResult":
        """Return what a stored canary has come to."""
        return cls(
            canary_id=canary.canary_id,
            model=canary.model,
            challenger=canary.challenger_version,
            champion=canary.champion_version,
            state=canary.state,
            reasons=canary.reasons,
            plan=canary.plan,
            position=canary.position,
            horizon=canary.horizon,
            seed=canary.seed,
            promotion_id=canary.promotion_id,
            **totals(canary.counts),
        )


def totals(counts: Sequence[Cell]) -> dict[str, int]:
    """Return exposures and errors of both variants over all phases."""
    names = ("challenger_exposures", "challenger_errors", "champion_exposures", "champion_errors")
    return {name: sum(getattr(cell, name) for cell in counts) for name in names}


def requests_of(counts: Sequence[Cell]) -> int:
    """Return how many requests are counted."""
    return sum(cell.challenger_exposures + cell.champion_exposures for cell in counts)
