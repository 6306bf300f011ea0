"""Triggers in the interface's JSON: what each looks at, what it saw, and when it fires."""

from typing import Any

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.scheduling import trigger_store
from podium.scheduling.documents import instant
from podium.scheduling.trigger_rules import state_of


def trigger_documents(connection: sa.Connection) -> list[dict[str, Any]]:
    """Return every trigger in force."""
    return [_trigger(connection, row) for row in trigger_store.every(connection)]


def trigger_document(connection: sa.Connection, trigger_id: str) -> dict[str, Any]:
    """Return one trigger; NotFound without it."""
    return _trigger(connection, trigger_store.get(connection, trigger_id))


def _trigger(connection: sa.Connection, row: sa.Row[Any]) -> dict[str, Any]:
    trigger = trigger_store.trigger_of(Plan.from_document(row.document), row.trigger_id)
    sources = trigger_store.sources(connection, row.trigger_id)
    return {
        "trigger": row.trigger_id,
        "pipeline": row.pipeline,
        "needs": trigger.needs,
        "debounce_seconds": trigger.debounce_seconds,
        "state": state_of(row.problem, row.fires_at, (each.result for each in sources)),
        "news_since": instant(row.news_since),
        "fires_at": instant(row.fires_at),
        "fired_at": instant(row.fired_at),
        "run_id": row.fired_run_id,
        "run_state": row.run_state,
        "firings": row.firings,
        "problem": row.problem,
        "sources": [
            {
                "kind": planned.kind,
                "described": state.described,
                "result": state.result,
                "detail": state.detail,
                "has_news": state.has_news,
                "looked_at": instant(state.looked_at),
                "next_look_at": instant(state.next_look_at),
                "failures": state.failures,
            }
            for planned, state in zip(trigger.sources, sources, strict=True)
        ],
    }
