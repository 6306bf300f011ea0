"""From a claim to what its slot is told: inputs by digest, context, log."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium.dag import values
from podium.dag.plan import Constant, IntervalInput, ParameterInput, Plan, Reference, StepNode
from podium.execution import queries, wire
from podium.execution.artifacts import Artifact
from podium.execution.channel import Message
from podium.execution.entities import Assignment, Run
from podium.execution.store import Claim, log_name

Outputs = Mapping[tuple[str, str], Artifact]


def of_claims(
    connection: sa.Connection, run: Run, plan: Plan, claims: Sequence[Claim], now: datetime
) -> list[Assignment]:
    """Return the assignments of claimed step runs of one run."""
    if not claims:
        return []
    outputs = queries.outputs_of(connection, run.run_id)
    return [
        Assignment(
            attempt_id=claim.attempt_id,
            number=claim.number,
            run=run,
            plan=plan,
            step_run_id=claim.step_run_id,
            node=plan.step(claim.step),
            started_at=now,
            outputs=outputs,
            log=log_name(run.run_id, claim.step, claim.number),
        )
        for claim in claims
    ]


def to_message(assignment: Assignment, log_folder: Path) -> Message:
    """Return what the slot is sent to execute an assignment."""
    node, plan, run = assignment.node, assignment.plan, assignment.run
    return {
        "type": "execute",
        "attempt_id": assignment.attempt_id,
        "step": node.name,
        "log": str(log_folder / assignment.log),
        "file": plan.file,
        "module": node.module,
        "qualname": node.qualname,
        "modules": dict(plan.modules),
        "cpu": node.resources.cpu,
        "outputs": list(node.outputs),
        "conditions": sorted(
            {each.output for other in plan.steps for each in other.conditions if each.step == node.name}
        ),
        "inputs": {name: _source(source, assignment) for name, source in node.inputs.items()},
        "context": {
            "run_id": run.run_id,
            "step_key": assignment.step_key,
            "pipeline": run.pipeline,
            "model": plan.model,
            "team": plan.team,
            "environment": plan.environment,
            "interval": values.encode(run.interval),
            "code_digest": plan.code_digest,
            "input_digests": _input_digests(node, assignment.outputs),
            "trained_on": _trained_on(node, plan, assignment.outputs),
        },
    }


def _source(source: Any, assignment: Assignment) -> Message:
    if isinstance(source, Reference):
        return {"artifact": wire.artifact_to_document(assignment.outputs[source.step, source.output])}
    if isinstance(source, IntervalInput):
        return {"value": values.encode(assignment.run.interval)}
    if isinstance(source, ParameterInput):
        return {"value": assignment.run.parameters[source.name]}
    if isinstance(source, Constant):
        return {"value": source.value}
    raise TypeError(f"unknown input {source!r}")


def _input_digests(node: StepNode, outputs: Outputs) -> dict[str, str]:
    return {
        name: outputs[source.step, source.output].digest
        for name, source in node.inputs.items()
        if isinstance(source, Reference)
    }


def _trained_on(node: StepNode, plan: Plan, outputs: Outputs) -> dict[str, list[str]]:
    """For each input, what the step that made it had read, and what the steps before that had read."""
    found = {}
    for name, source in node.inputs.items():
        if isinstance(source, Reference):
            found[name] = read_for(plan, source.step, outputs)
    return found


def read_for(plan: Plan, step: str, outputs: Outputs) -> list[str]:
    """Return the digests of all that a step and every step before it had read."""
    makers = [plan.step(name) for name in (*plan.upstream(step), step)]
    return sorted({digest for maker in makers for digest in _input_digests(maker, outputs).values()})
