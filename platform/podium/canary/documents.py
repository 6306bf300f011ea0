"""A canary in the interface's JSON, and past decisions decided again from their counters."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from podium.canary import store
from podium.canary.entities import CHALLENGER, CHAMPION, Canary, totals
from podium.errors import NotFound


def show(connection: sa.Connection, model: str, run_id: str | None = None) -> dict[str, Any]:
    """Return the open canary of a model, else its last one, or that of a run; raises NotFound where there is none."""
    canary = store.newest_of(connection, model) if run_id is None else store.of_run(connection, run_id)
    if run_id is not None and (canary is None or canary.model != model):
        raise NotFound(f"The run {run_id} opened no canary of {model}; `podium runs show {run_id}` says why.")
    if canary is None:
        raise NotFound(
            f"Model {model} never had a canary; a pipeline with the stage run_canary opens one as soon as the model "
            "has a champion."
        )
    return _document(connection, canary)


def of_challenger(connection: sa.Connection, model: str, version: str) -> list[dict[str, Any]]:
    """Return the canaries that tried a version, as `show` does, oldest first."""
    return [_document(connection, each) for each in store.of_challenger(connection, model, version)]


def _document(connection: sa.Connection, canary: Canary) -> dict[str, Any]:
    look = store.last_look(connection, canary.canary_id)
    return {
        "canary_id": canary.canary_id,
        "model": canary.model,
        "challenger": canary.challenger_version,
        "champion": canary.champion_version,
        "state": canary.state,
        "phase": canary.state,
        "weight_percent": None if canary.ended else canary.plan.phase_at(canary.position).weight_percent,
        "traffic": canary.traffic,
        "traffic_digest": canary.traffic_digest,
        "position": canary.position,
        "horizon": canary.horizon,
        "looks": store.count_looks(connection, canary.canary_id),
        **_counted(canary),
        "phases": store.counts_document(canary.counts),
        "evidence": [] if look is None else [row.to_document() for row in look.evidence],
        "verdict": None if look is None else look.verdict,
        "reasons": list(canary.reasons),
        "plan": canary.plan.model_dump(mode="json"),
        "plan_digest": canary.plan.digest,
        "seed": canary.seed,
        "baseline_error_rate": canary.baseline_error_rate,
        "promotion_id": canary.promotion_id,
        "awaits_approval": canary.awaits_approval,
        "run_id": canary.run_id,
        "actor": canary.actor,
        "actor_verified": canary.actor_verified,
        "opened_at": _instant(canary.opened_at),
        "paused_at": _instant(canary.paused_at),
        "ended_at": _instant(canary.ended_at),
    }


def of_run(connection: sa.Connection, run_id: str) -> dict[str, Any] | None:
    """Return what the last canary of a run came to, in fewer words; None where it opened none."""
    canary = store.of_run(connection, run_id)
    if canary is None:
        return None
    return {
        "canary_id": canary.canary_id,
        "challenger": canary.challenger_version,
        "champion": canary.champion_version,
        "state": canary.state,
        "position": canary.position,
        "horizon": canary.horizon,
        **_counted(canary),
        "reasons": list(canary.reasons),
    }


def _counted(canary: Canary) -> dict[str, Any]:
    counted = totals(canary.counts)
    return {
        "exposures": {variant: counted[f"{variant}_exposures"] for variant in (CHAMPION, CHALLENGER)},
        "errors": {variant: counted[f"{variant}_errors"] for variant in (CHAMPION, CHALLENGER)},
    }


@dataclass(frozen=True)
class Replayed:
    """How many looks were decided again, and the position of the first that came out otherwise."""

    looks: int
    first_difference: int | None

    @property
    def ok(self) -> bool:
        """Whether every look came out the same; a canary without looks has none that did not."""
        return self.first_difference is None


def replayed(connection: sa.Connection, canary_id: str) -> Replayed:
    """Assess every stored look of a canary again from its counters alone and compare verdict and evidence."""
    from podium.canary.analysis import assess  # brings scipy, which showing a canary does without

    canary = store.find(connection, canary_id)
    if canary is None:
        raise NotFound(f"There is no canary {canary_id}; `podium canary show MODEL` shows a model's last one.")
    looks = store.looks(connection, canary_id)
    for look in looks:
        again = assess(canary.plan, canary.horizon, canary.baseline_error_rate, look.counts)
        if (again.verdict, again.evidence) != (look.verdict, look.evidence):
            return Replayed(len(looks), look.position)
    return Replayed(len(looks), None)


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
