"""Steps with `cache=True`: an equal step that succeeded before is not executed again, its outputs are taken over.

Equal means: the same code of the project (the plan's code digest), the same function, and the same inputs by
digest, interval and parameters included. A change of an installed package is not noticed.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium import ids
from podium.dag.plan import Constant, IntervalInput, ParameterInput, Plan, StepNode
from podium.db.schema import output, step_run
from podium.execution import queries


def key_of(connection: sa.Connection, run_id: str, plan: Plan, node: StepNode) -> str:
    """Return what two equal step runs have in common; every step that `node` reads from has succeeded."""
    run = queries.get_run(connection, run_id)
    outputs = queries.outputs_of(connection, run_id)

    def identity(source: Any) -> Any:
        if isinstance(source, Constant):
            return {"constant": source.value}
        if isinstance(source, IntervalInput):
            return {"interval": run.interval.to_document()}
        if isinstance(source, ParameterInput):
            return {"parameter": run.parameters[source.name]}
        return {"digest": outputs[source.step, source.output].digest}

    return ids.digest_json(
        {
            "code": plan.code_digest,
            "function": [node.module, node.qualname],
            "outputs": sorted(node.outputs),
            "inputs": {name: identity(source) for name, source in node.inputs.items()},
        }
    )


def take_over(connection: sa.Connection, run_id: str, step: str, key: str, now: datetime) -> str | None:
    """Note a waiting step run's key and let it succeed with the outputs of an equal one.

    Returns the run those are from; None if there is none, and then the step run waits as before.
    """
    mine = sa.and_(step_run.c.run_id == run_id, step_run.c.name == step)
    earlier = connection.execute(
        sa.select(step_run.c.step_run_id, step_run.c.run_id)
        .where(step_run.c.cache_key == key, step_run.c.state == "succeeded")
        .order_by(step_run.c.ended_at.desc())
        .limit(1)
    ).first()
    connection.execute(step_run.update().where(mine).values(cache_key=key))
    if earlier is None:
        return None
    step_run_id = connection.scalar(sa.select(step_run.c.step_run_id).where(mine))
    connection.execute(
        output.insert().from_select(
            ["step_run_id", "name", "digest", "attempt_id"],
            sa.select(sa.literal(step_run_id), output.c.name, output.c.digest, output.c.attempt_id).where(
                output.c.step_run_id == earlier.step_run_id
            ),
        )
    )
    connection.execute(step_run.update().where(mine).values(state="succeeded", cached=True, ready_at=now, ended_at=now))
    found: str = earlier.run_id
    return found
