"""Why a stored artifact is still needed; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

IN_AN_OPEN_RUN = "an open run made or reads it"
OF_A_RECENT_RUN = "a run that may be resumed, or whose steps a cache may take over, made it"
YOUNG = "it was stored within the retention"

SETTLING = timedelta(days=1)
"""A younger file is never touched: the attempt that wrote it may not be on record yet."""


@dataclass(frozen=True)
class Facts:
    """What the database knows of an artifact: when its bytes were recorded, and the runs that have it as an output."""

    digest: str
    size_bytes: int
    stored_at: datetime
    in_open_run: bool
    last_run_ended_at: datetime | None


def need(facts: Facts, named: Mapping[str, str], *, since: datetime) -> str | None:
    """Return why an artifact must stay, None if nothing needs it; `since` is where the retention begins.

    `named` holds what others refer to for ever, with the reason, by digest.
    """
    if facts.in_open_run:
        return IN_AN_OPEN_RUN
    if facts.digest in named:
        return named[facts.digest]
    if facts.last_run_ended_at is not None and facts.last_run_ended_at >= since:
        return OF_A_RECENT_RUN
    if facts.stored_at >= since:
        return YOUNG
    return None
