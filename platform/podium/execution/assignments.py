"""From a claim to what its slot is told: inputs by digest, context, log."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from podium.dag import values
from podium.dag.plan import Constant, IntervalInput, ParameterInput, Plan
from podium.execution import wire
from podium.execution.artifacts import Artifact
from podium.execution.attempt_store import log_name
from podium.execution.channel import Message
from podium.execution.claims import Claim
from podium.execution.entities import Assignment, Run
from podium.execution.items import item_name
from podium.execution.reads import Read, digest_of, read_by


def of_claim(run: Run, plan: Plan, claim: Claim, now: datetime) -> Assignment:
    """Return the assignment of a step run that was claimed at `now`."""
    return Assignment(
        attempt_id=claim.attempt_id,
        number=claim.number,
        run=run,
        plan=plan,
        step_run_id=claim.step_run_id,
        node=plan.step(claim.step),
        map_index=claim.map_index,
        failures=claim.failures,
        started_at=now,
        stored=claim.stored,
        log=log_name(run.run_id, item_name(claim.step, claim.map_index), claim.number),
        generation=claim.generation,
    )


def to_message(assignment: Assignment, log_folder: Path) -> Message:
    """Return what the slot is sent to execute an assignment."""
    node, plan, run, stored = assignment.node, assignment.plan, assignment.run, assignment.stored
    reads = read_by(plan, node, assignment.map_index)
    return {
        "type": "execute",
        "attempt_id": assignment.attempt_id,
        "step": assignment.label,
        "log": str(log_folder / assignment.log),
        "file": plan.file,
        "module": node.module,
        "qualname": node.qualname,
        "modules": dict(plan.modules),
        "cpu": node.resources.cpu,
        "every": node.every_seconds,
        "outputs": list(node.outputs),
        "conditions": sorted(
            {each.output for other in plan.steps for each in other.conditions if each.step == node.name}
        ),
        "split": sorted(plan.split_outputs(node.name)),
        "inputs": {name: _source(name, source, reads, assignment) for name, source in node.inputs.items()},
        "context": {
            "run_id": run.run_id,
            "step_key": assignment.step_key,
            "number": assignment.number,
            "pipeline": run.pipeline,
            "model": plan.model,
            "team": plan.team,
            "environment": plan.environment,
            "interval": values.encode(run.interval),
            "code_digest": plan.code_digest,
            "input_digests": {name: digest_of(stored[read]) for name, read in reads.items() if read in stored},
        },
    }


def _source(name: str, source: Any, reads: Mapping[str, Read], assignment: Assignment) -> Message:
    if name in reads:
        found = assignment.stored.get(reads[name])
        if found is None:  # of a step that did not succeed
            return {"value": None}
        if isinstance(found, Artifact):
            return {"artifact": wire.artifact_to_document(found)}
        return {"artifacts": [wire.artifact_to_document(item) for item in found]}
    if isinstance(source, IntervalInput):
        return {"value": values.encode(assignment.run.interval)}
    if isinstance(source, ParameterInput):
        value = assignment.run.parameters[source.name]
    elif isinstance(source, Constant):
        value = source.value
    else:
        raise TypeError(f"unknown input {source!r}")
    return {"value": value[assignment.map_index] if name == assignment.node.over else value}
