"""Steps with `cache=True`: an equal step that succeeded before is not executed again, its outputs are taken over.

Equal means: the same code of the project (the plan's code digest), the same function, and the same inputs by
digest, interval and parameters included. A change of an installed package is not noticed. An item of a mapped step
equals whatever got the same item, under whichever number.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium import ids
from podium.dag.plan import Constant, IntervalInput, ParameterInput, Plan, StepNode
from podium.db.schema import output, step_run
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


def take_over(connection: sa.Connection, step_run_id: str, key: str, now: datetime) -> str | None:
    """Note a waiting step run's key and let it succeed with the outputs of an equal one.

    Returns the run those are from; None if there is none, and then the step run waits as before.
    """
    mine = step_run.c.step_run_id == step_run_id
    earlier = connection.execute(
        sa.select(step_run.c.step_run_id, step_run.c.run_id)
        .where(step_run.c.cache_key == key, step_run.c.state == "succeeded")
        .order_by(step_run.c.ended_at.desc())
        .limit(1)
    ).first()
    if earlier is None:
        connection.execute(step_run.update().where(mine).values(cache_key=key))
        return None
    connection.execute(
        output.insert().from_select(
            ["step_run_id", "name", "digest", "attempt_id"],
            sa.select(sa.literal(step_run_id), output.c.name, output.c.digest, output.c.attempt_id).where(
                output.c.step_run_id == earlier.step_run_id
            ),
        )
    )
    succeeded = {"state": "succeeded", "cache_key": key, "cached": True, "ready_at": now, "ended_at": now}
    connection.execute(step_run.update().where(mine).values(succeeded))
    found: str = earlier.run_id
    return found


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
