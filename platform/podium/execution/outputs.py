"""What the steps of a run stored: rows under `result`, or under `result[0]`, `result[1]` … where others are mapped
over it, or under the items of a mapped step; read by address, so that nobody pays for what others made."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from podium.dag.plan import Plan
from podium.db.prepared import Prepared
from podium.db.schema import artifact, output, step_run
from podium.errors import InternalError
from podium.execution import queries
from podium.execution.artifacts import Artifact
from podium.execution.items import WHOLE, item_name, parse_item
from podium.execution.reads import Read, Stored, digests_of, maker_of, on_the_way_to


def stored(connection: sa.Connection, run_id: str, plan: Plan, reads: Collection[Read]) -> Stored:
    """Return what these reads of a run find; the steps they name must have succeeded."""
    ones = [(read.step, read.output, read.index) for read in reads if read.index is not None]
    if len(ones) <= _ONE_BY_ONE:
        found = {(step, name): dict[int, Artifact]() for step, name, _ in ones}
        for step, name, index in ones:
            artifact_ = _one(connection, run_id, plan, step, name, index)
            if artifact_ is not None:
                found[step, name][index] = artifact_
    else:
        found = _found(connection, run_id, [_exactly(plan, ones)])
    lists = _found(connection, run_id, [_every_item(plan, read) for read in reads if read.index is None])
    answer: dict[Read, Artifact | tuple[Artifact, ...]] = {}
    for read in reads:
        if read.index is None:
            items = lists.get((read.step, read.output), {})
            if items and max(items) != len(items) - 1:
                raise InternalError(f"The run {run_id} lacks items of {read.output} of its step {read.step}.")
            answer[read] = tuple(items[index] for index in sorted(items))
            continue
        try:
            answer[read] = found[read.step, read.output][read.index]
        except KeyError:
            name = item_name(read.output, read.index)
            raise InternalError(f"The run {run_id} has no output {name} of its step {read.step}.") from None
    return answer


def restore(connection: sa.Connection, made: Collection[Artifact], now: datetime) -> None:
    """Keep a collection from taking for waste what was just recorded as made: its mark is undone, or it waits."""
    digests = {each.digest for each in made if each.inline is None}
    if not digests:
        return
    rows = connection.execute(
        sa.select(artifact.c.digest, artifact.c.removed_at)
        .where(artifact.c.digest.in_(digests))
        .order_by(artifact.c.digest)
        .with_for_update(key_share=True)
    )
    removed = [row.digest for row in rows if row.removed_at is not None]
    if removed:
        back = artifact.update().where(artifact.c.digest.in_(removed))
        connection.execute(back.values(removed_at=None, stored_at=now))


def kept(connection: sa.Connection, step_run_ids: Collection[str]) -> set[str]:
    """Return those step runs of which no output was removed, and keep it so until the transaction ends.

    Whoever goes on from outputs of an ended run, as a cache or a resume does, asks this in the transaction that does.
    """
    rows = connection.execute(
        sa.select(output.c.step_run_id, artifact.c.removed_at)
        .join(artifact, artifact.c.digest == output.c.digest)
        .where(output.c.step_run_id.in_(step_run_ids), artifact.c.inline.is_(None))
        .order_by(artifact.c.digest)
        .with_for_update(read=True, of=artifact)
    )
    return set(step_run_ids) - {row.step_run_id for row in rows if row.removed_at is not None}


def there(connection: sa.Connection, run_id: str, reads: Collection[Read]) -> set[Read]:
    """Return those of the reads whose step succeeded; the others find nothing."""
    states = queries.step_states(connection, run_id, {read.step for read in reads})
    return {read for read in reads if states[read.step] == "succeeded"}


def read_before(connection: sa.Connection, run_id: str, plan: Plan, read: Read) -> list[str]:
    """Return the digests of all that was read by the step run that made what a step reads, and by those before it."""
    reads = there(connection, run_id, on_the_way_to(plan, *maker_of(plan, read)))
    return digests_of(stored(connection, run_id, plan, reads).values())


def read_for(connection: sa.Connection, run_id: str, plan: Plan, digest: str) -> list[str]:
    """Return the digests of all that was read by the step runs that made an artifact, and by those before them."""
    rows = connection.execute(
        sa.select(step_run.c.name, step_run.c.map_index)
        .distinct()
        .join(output, output.c.step_run_id == step_run.c.step_run_id)
        .where(step_run.c.run_id == run_id, output.c.digest == digest)
    )
    reads = {read for row in rows for read in on_the_way_to(plan, row.name, row.map_index)}
    return digests_of(stored(connection, run_id, plan, there(connection, run_id, reads)).values())


def _one(connection: sa.Connection, run_id: str, plan: Plan, step: str, name: str, index: int) -> Artifact | None:
    """Return one output or one item of an output; None if it is not there."""
    is_mapped = plan.step(step).over is not None
    place = {"of_run": run_id, "of_step": step, "of_index": index if is_mapped else WHOLE}
    row = _ONE.first(connection, {**place, "of_name": name if is_mapped else item_name(name, index)})
    return None if row is None else Artifact(*row)


def _exactly(plan: Plan, ones: Collection[tuple[str, str, int]]) -> sa.ColumnElement[bool]:
    """Return the condition of the step runs and names under which these outputs or items of outputs lie."""
    mapped = {step for step, _, _ in ones if plan.step(step).over is not None}
    step_runs = {(step, index if step in mapped else WHOLE) for step, _, index in ones}
    names = {output_name if step in mapped else item_name(output_name, index) for step, output_name, index in ones}
    return sa.and_(sa.tuple_(step_run.c.name, step_run.c.map_index).in_(step_runs), output.c.name.in_(names))


def _every_item(plan: Plan, read: Read) -> sa.ColumnElement[bool]:
    if plan.step(read.step).over is not None:
        place = sa.and_(step_run.c.map_index > WHOLE, output.c.name == read.output)
    else:
        place = sa.and_(step_run.c.map_index == WHOLE, output.c.name.startswith(f"{read.output}[", autoescape=True))
    return sa.and_(step_run.c.name == read.step, place)


def _found(
    connection: sa.Connection, run_id: str, conditions: Collection[sa.ColumnElement[bool]]
) -> dict[tuple[str, str], dict[int, Artifact]]:
    """Return artifacts by step and output, and by item; one query for each condition, so that an index serves each."""
    found: dict[tuple[str, str], dict[int, Artifact]] = {}
    for condition in conditions:
        query = (
            sa.select(step_run.c.name.label("step"), step_run.c.map_index, output.c.name, artifact)
            .select_from(step_run)
            .join(output, output.c.step_run_id == step_run.c.step_run_id)
            .join(artifact, artifact.c.digest == output.c.digest)
            .where(step_run.c.run_id == run_id, condition)
        )
        for row in connection.execute(query):
            name, index = parse_item(row.name)
            made = Artifact(row.digest, row.codec, row.size_bytes, row.inline, row.removed_at)
            found.setdefault((row.step, name), {})[max(index, row.map_index)] = made
    return found


_ONE_BY_ONE = 16
"""Up to so many reads are made each by a prepared statement; more of them by one that is built for them."""
_ONE = Prepared(
    sa.select(artifact.c.digest, artifact.c.codec, artifact.c.size_bytes, artifact.c.inline, artifact.c.removed_at)
    .select_from(step_run)
    .join(output, output.c.step_run_id == step_run.c.step_run_id)
    .join(artifact, artifact.c.digest == output.c.digest)
    .where(
        step_run.c.run_id == sa.bindparam("of_run"),
        step_run.c.name == sa.bindparam("of_step"),
        step_run.c.map_index == sa.bindparam("of_index"),
        output.c.name == sa.bindparam("of_name"),
    )
)
