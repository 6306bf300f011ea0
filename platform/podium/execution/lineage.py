"""Where an artifact comes from and where it went: the attempts that made it, and those that read it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from podium import ids
from podium.db.schema import artifact, attempt, output, run, step_run
from podium.errors import NotFound
from podium.execution.items import WHOLE, item_name, parse_item

_SHORTEST = 6


def find(connection: sa.Connection, digest: str) -> sa.Row[Any]:
    """Return an artifact's row by its digest, or by a beginning of it that only one has; NotFound otherwise."""
    exact = connection.execute(sa.select(artifact).where(artifact.c.digest == digest)).first()
    if exact is not None:
        return exact
    if len(digest) < _SHORTEST or not digest.isalnum():
        raise NotFound(f"There is no artifact {digest!r}; give its digest, or {_SHORTEST} characters of it or more.")
    found = connection.execute(sa.select(artifact).where(artifact.c.digest.startswith(digest)).limit(2)).all()
    if len(found) != 1:
        fact = "More than one digest begins" if found else "No digest of an artifact begins"
        raise NotFound(f"{fact} with {digest!r}; `podium artifacts list RUN` shows those of a run.")
    return found[0]


def of_run(connection: sa.Connection, run_id: str) -> list[sa.Row[Any]]:
    """Return the artifacts that are outputs of a run's steps, in the plan's order, with step, item and output."""
    return list(
        connection.execute(
            sa.select(
                step_run.c.name.label("step"), step_run.c.map_index, step_run.c.cached, output.c.name, *artifact.columns
            )
            .join(output, output.c.step_run_id == step_run.c.step_run_id)
            .join(artifact, artifact.c.digest == output.c.digest)
            .where(step_run.c.run_id == run_id)
            .order_by(step_run.c.position, step_run.c.map_index, output.c.name)
        )
    )


def makers(connection: sa.Connection, digest: str) -> list[dict[str, Any]]:
    """Return the attempts that made an artifact, the first one first, each with the names of its outputs.

    Also those whose output is another by now, because their step was executed again.
    """
    now = sa.select(output.c.attempt_id).where(output.c.digest == digest)
    rows = _attempts(connection, sa.or_(attempt.c.attempt_id.in_(now), _names(attempt.c.made, [digest])))
    named = {row.attempt_id: [] for row in rows}  # type: dict[str, list[str]]
    for row in connection.execute(sa.select(output.c.attempt_id, output.c.name).where(output.c.digest == digest)):
        named[row.attempt_id].append(row.name)
    return [_document(row, outputs=sorted({*named[row.attempt_id], *_keys(row.made, [digest])})) for row in rows]


def readers(connection: sa.Connection, digest: str) -> list[dict[str, Any]]:
    """Return the attempts that read an artifact, the first one first, each with the parameters that it came by.

    Alone, or in the list of what all items of a step made.
    """
    digests = [digest, *_lists_with(connection, digest)]
    rows = _attempts(connection, _names(attempt.c.reads, digests))
    return [_document(row, parameters=_keys(row.reads, digests)) for row in rows]


def taken_over(connection: sa.Connection, digest: str) -> list[dict[str, str]]:
    """Return the steps that took an artifact over from an equal one, which no attempt of theirs made."""
    rows = connection.execute(
        sa.select(step_run.c.run_id, step_run.c.name, step_run.c.map_index, output.c.name.label("output"))
        .join(output, output.c.step_run_id == step_run.c.step_run_id)
        .where(output.c.digest == digest, step_run.c.cached)
        .order_by(step_run.c.step_run_id)
    )
    return [{"run_id": row.run_id, "step": item_name(row.name, row.map_index), "output": row.output} for row in rows]


def _attempts(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[sa.Row[Any]]:
    return list(
        connection.execute(
            sa.select(attempt, step_run.c.name.label("step"), step_run.c.map_index, step_run.c.run_id, run.c.pipeline)
            .join(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
            .join(run, run.c.run_id == step_run.c.run_id)
            .where(condition)
            .order_by(attempt.c.started_at, attempt.c.attempt_id)
        )
    )


def _names(column: sa.Column[Any], digests: Collection[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a document of digests holds one of these: hexadecimal digits are found as text."""
    return sa.or_(*(sa.cast(column, sa.String).contains(digest) for digest in digests))


def _keys(document: Mapping[str, str] | None, digests: Collection[str]) -> list[str]:
    return sorted(name for name, digest in (document or {}).items() if digest in digests)


def _lists_with(connection: sa.Connection, digest: str) -> Iterator[str]:
    """Yield the digests of the lists of which an artifact is an item."""
    rows = connection.execute(
        sa.select(step_run.c.run_id, step_run.c.name.label("step"), step_run.c.map_index, output.c.name)
        .join(output, output.c.step_run_id == step_run.c.step_run_id)
        .where(output.c.digest == digest)
        .distinct()
    )
    lists = set()
    for row in rows:
        name, index = parse_item(row.name)
        if row.map_index != WHOLE or index != WHOLE:
            lists.add((row.run_id, row.step, name))
    for run_id, step, name in sorted(lists):
        items = connection.execute(
            sa.select(step_run.c.map_index, output.c.name, output.c.digest)
            .join(output, output.c.step_run_id == step_run.c.step_run_id)
            .where(step_run.c.run_id == run_id, step_run.c.name == step)
        )
        by_index = {}
        for item in items:
            item_of, index = parse_item(item.name)
            if item_of == name:
                by_index[max(index, item.map_index)] = item.digest
        yield ids.digest_json([by_index[index] for index in sorted(by_index)])


def _document(row: sa.Row[Any], **more: list[str]) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "pipeline": row.pipeline,
        "step": item_name(row.step, row.map_index),
        "attempt": row.number,
        "attempt_id": row.attempt_id,
        "state": row.state,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        **more,
    }
