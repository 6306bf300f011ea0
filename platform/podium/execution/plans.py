"""Stored plans: every run names one, and readers take them from here instead of importing pipeline code."""

from datetime import datetime

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.db.engine import insert_unless_present
from podium.db.prepared import Prepared
from podium.db.schema import plan as plan_table
from podium.errors import DefinitionError, NotFound


def store(connection: sa.Connection, plan: Plan, now: datetime) -> None:
    """Store `plan` under its digest and make it the pipeline's newest; a plan known before is kept as it is."""
    if _SEEN_AGAIN.run(connection, {"of_plan": plan.digest, "now": now}):
        return
    row = {
        "digest": plan.digest,
        "pipeline": plan.pipeline,
        "file": plan.file,
        "code_digest": plan.code_digest,
        "document": plan.to_document(),
        "stored_at": now,
    }
    insert_unless_present(connection, plan_table, row)


def load(connection: sa.Connection, digest: str) -> Plan:
    """Return the plan stored under `digest`; NotFound without one."""
    row = _DOCUMENT.first(connection, {"of_plan": digest})
    if row is None:
        raise NotFound(f"No plan is stored under {digest}.")
    return Plan.from_document(row[0])


def newest_of_files(connection: sa.Connection) -> dict[str, list[Plan]]:
    """Return, for each pipeline file, the plans of its newest stored code.

    A plan that another version of Podium stored in a form of its own counts as not stored: its file is traced again.
    """
    rows = connection.execute(sa.select(plan_table).order_by(plan_table.c.stored_at.desc(), plan_table.c.pipeline))
    newest: dict[str, str] = {}
    found: dict[str, list[Plan]] = {}
    unreadable: set[str] = set()
    for row in rows:
        if newest.setdefault(row.file, row.code_digest) == row.code_digest:
            try:
                found.setdefault(row.file, []).append(Plan.from_document(row.document))
            except DefinitionError:
                unreadable.add(row.file)
    return {file: plans for file, plans in found.items() if file not in unreadable}


_SEEN_AGAIN = Prepared(
    plan_table.update().where(plan_table.c.digest == sa.bindparam("of_plan")).values(stored_at=sa.bindparam("now"))
)
_DOCUMENT = Prepared(sa.select(plan_table.c.document).where(plan_table.c.digest == sa.bindparam("of_plan")))
