"""What schedules and triggers want from the executor: a run made inside their own transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from podium.dag.interval import Interval
from podium.dag.plan import Plan


@dataclass(frozen=True)
class RunRequest:
    """A run that is asked for: why (`trigger`, and `cause` in words), for what, and under which key it is the same.

    Of several that are asked for at once, each has its turn by its `place`.
    """

    interval: Interval
    trigger: str
    key: str
    cause: str
    asked_by: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    place: int = 0


class Admitted(NamedTuple):
    """The run that answers a request, and whether it was made for it."""

    run_id: str
    created: bool


class Admission(Protocol):
    """Makes runs."""

    def admit(self, connection: sa.Connection, plan: Plan, request: RunRequest) -> Admitted:
        """Make the run in the caller's transaction; an open run of its interval, or of its key, stands for it.

        Raises Conflict where another transaction makes a run of the interval at the same time.
        """
