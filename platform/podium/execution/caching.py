"""Steps with `cache=True`: an equal step that succeeded before is not executed again, its outputs are taken over.

Equal means: the same code of the project (the plan's code digest), the same function, and the same inputs by
digest, interval and parameters included. A change of an installed package is not noticed. An item of a mapped step
equals whatever got the same item, under whichever number. Outputs that `podium gc` removed are not taken over.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium import ids
from podium.dag.plan import Constant, IntervalInput, ParameterInput, Plan, StepNode
from podium.db.schema import output, step_run
from podium.execution import outputs
from podium.execution.artifacts import Artifact
from podium.execution.entities import Run
from podium.execution.reads import Stored, digest_of, items_of, read_by


def keys_of(run: Run, plan: Plan, node: StepNode, stored: Stored) -> list[str]:
    """Return what equal step runs have in common: one key, or of a mapped step one for each item.

    `stored` holds all that the step reads.
    """
    reads = read_by(plan, node, None)

    def identity(name: str, source: Any) -> dict[str, Any]:
        if isinstance(source, Constant):
            return {"constant": source.value}
        if isinstance(source, IntervalInput):
            return {"interval": run.interval.to_document()}
        if isinstance(source, ParameterInput):
            return {"parameter": run.parameters[source.name]}
        return {"digest": digest_of(stored[reads[name]])}

    alike = {name: identity(name, source) for name, source in node.inputs.items() if name != node.over}
    if node.over is None:
        return [_key(plan, node, alike)]
    kind = "constant" if isinstance(node.inputs[node.over], Constant) else "parameter"
    return [
        _key(plan, node, {**alike, node.over: {"digest": item.digest} if isinstance(item, Artifact) else {kind: item}})
        for item in items_of(node, run.parameters, stored)
    ]


def take_over(connection: sa.Connection, keys: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Note the keys of waiting step runs, and let those that have an equal one succeed with its outputs.

    `keys` are by step run. Returns, by step run, the run that its outputs are from; one that is missing there waits
    as before. The statements are as many for ten thousand as for one.
    """
    if not keys:
        return {}
    newest = (
        sa.select(step_run.c.cache_key, sa.func.max(step_run.c.step_run_id).label("step_run_id"))
        .where(step_run.c.cache_key.in_(set(keys.values())), step_run.c.state == "succeeded")
        .group_by(step_run.c.cache_key)
        .subquery("newest")
    )
    rows = connection.execute(
        sa.select(newest, step_run.c.run_id).join(step_run, step_run.c.step_run_id == newest.c.step_run_id)
    )
    found = {row.cache_key: row for row in rows}
    still_there = outputs.kept(connection, [row.step_run_id for row in found.values()])
    equal = {key: row for key, row in found.items() if row.step_run_id in still_there}
    noted = [{"mine": mine, "key": key} for mine, key in keys.items()]
    taken = [{**each, "theirs": equal[each["key"]].step_run_id} for each in noted if each["key"] in equal]
    of_mine = step_run.update().where(step_run.c.step_run_id == sa.bindparam("mine"))
    connection.execute(of_mine.values(cache_key=sa.bindparam("key")), noted)
    if taken:
        columns = (sa.bindparam("mine", type_=sa.String), output.c.name, output.c.digest, output.c.attempt_id)
        theirs = sa.select(*columns).where(output.c.step_run_id == sa.bindparam("theirs"))
        connection.execute(output.insert().from_select(["step_run_id", "name", "digest", "attempt_id"], theirs), taken)
        succeeded = {"state": "succeeded", "cached": True, "ready_at": now, "ended_at": now}
        connection.execute(of_mine.values(succeeded), taken)
    return {each["mine"]: equal[each["key"]].run_id for each in taken}


def _key(plan: Plan, node: StepNode, inputs: Mapping[str, Any]) -> str:
    split = plan.split_outputs(node.name)
    return ids.digest_json(
        {
            "code": plan.code_digest,
            "function": [node.module, node.qualname],
            "outputs": sorted(f"{name}[]" if name in split else name for name in node.outputs),
            "inputs": dict(inputs),
        }
    )
