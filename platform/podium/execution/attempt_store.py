"""Attempts as rows: the writes that carry an attempt's id and take effect only while its worker holds it."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from podium.db.prepared import Prepared
from podium.db.schema import artifact, attempt, output
from podium.execution.artifacts import Artifact
from podium.execution.entities import AttemptEnd


def log_name(run_id: str, step: str, number: int) -> str:
    """Return where an attempt's log lies, relative to the folder of logs; `step` is `fit[2]` for an item."""
    return f"{run_id}/{step}-{number}.log"


def heartbeat(
    connection: sa.Connection,
    worker_id: str,
    attempt_ids: Collection[str],
    lease_seconds: float,
    now: datetime,
) -> set[str]:
    """Renew the leases of a worker's running attempts; return those it still holds.

    An attempt that is missing from the answer was rescued by another worker: nothing more may be written for it.
    """
    of_these = attempt.c.attempt_id.in_(attempt_ids)
    in_order = sa.select(attempt.c.attempt_id).where(of_these).order_by(attempt.c.attempt_id).with_for_update()
    connection.execute(in_order).all()  # as whoever ends several does, so that no two wait crosswise
    held = connection.execute(
        attempt.update()
        .where(
            of_these,
            attempt.c.worker_id == worker_id,
            attempt.c.state == "running",
        )
        .values(heartbeat_at=now, lease_expires_at=now + timedelta(seconds=lease_seconds))
        .returning(attempt.c.attempt_id)
    )
    return set(held.scalars())


def holds(connection: sa.Connection, worker_id: str, attempt_id: str) -> bool:
    """Tell whether a worker still holds an attempt; on PostgreSQL, keep it so until the transaction ends."""
    found = connection.scalar(
        sa.select(attempt.c.attempt_id)
        .where(attempt.c.attempt_id == attempt_id, attempt.c.worker_id == worker_id, attempt.c.state == "running")
        .with_for_update()
    )
    return found is not None


def end_attempt(connection: sa.Connection, attempt_id: str, worker_id: str, end: AttemptEnd, now: datetime) -> bool:
    """End a running attempt; False if the worker no longer holds it, and then nothing was written."""
    usage, error = end.usage, end.error
    ended = _END_ATTEMPT.run(
        connection,
        {
            "of_attempt": attempt_id,
            "of_worker": worker_id,
            "end_state": end.state,
            "now": now,
            "wall": usage.wall_seconds,
            "cpu": usage.cpu_seconds,
            "peak": usage.peak_memory_bytes,
            "source": usage.source,
            "quality": usage.quality,
            "kind_of_error": error.type if error else None,
            "message": error.message if error else None,
            "outputs": {name: each.digest for name, each in end.outputs.items()} or None,
        },
    )
    return ended == 1


def store_outputs(
    connection: sa.Connection,
    step_run_id: str,
    attempt_id: str | None,
    outputs: Mapping[str, Artifact],
    now: datetime,
) -> None:
    """Record what a step run produced, by an attempt or (None) a person; artifacts that are known stay as they are."""
    made = {each.digest: each for each in outputs.values()}
    _ADD_ARTIFACT[connection.dialect.name].run_all(
        connection,
        [
            {
                "digest": digest,
                "codec": made[digest].codec,
                "size_bytes": made[digest].size_bytes,
                "inline": made[digest].inline,
                "stored_at": now,
            }
            for digest in sorted(made)  # two runs lock in one order
        ],
    )
    _ADD_OUTPUT.run_all(
        connection,
        [
            {"step_run_id": step_run_id, "name": name, "digest": each.digest, "attempt_id": attempt_id}
            for name, each in outputs.items()
        ],
    )


_END_ATTEMPT = Prepared(
    attempt.update()
    .where(
        attempt.c.attempt_id == sa.bindparam("of_attempt"),
        attempt.c.worker_id == sa.bindparam("of_worker"),
        attempt.c.state == "running",
    )
    .values(
        state=sa.bindparam("end_state"),
        ended_at=sa.bindparam("now"),
        wall_seconds=sa.bindparam("wall"),
        cpu_seconds=sa.bindparam("cpu"),
        peak_memory_bytes=sa.bindparam("peak"),
        meter_source=sa.bindparam("source"),
        meter_quality=sa.bindparam("quality"),
        error_type=sa.bindparam("kind_of_error"),
        error=sa.bindparam("message"),
        made=sa.bindparam("outputs"),
    )
)
_ADD_ARTIFACT = {
    "sqlite": Prepared(
        sqlite.insert(artifact)
        .values({name: sa.bindparam(name) for name in ("digest", "codec", "size_bytes", "inline", "stored_at")})
        .on_conflict_do_nothing()
    ),
    "postgresql": Prepared(
        postgresql.insert(artifact)
        .values({name: sa.bindparam(name) for name in ("digest", "codec", "size_bytes", "inline", "stored_at")})
        .on_conflict_do_nothing()
    ),
}
_ADD_OUTPUT = Prepared(
    output.insert().values({name: sa.bindparam(name) for name in ("step_run_id", "name", "digest", "attempt_id")})
)
