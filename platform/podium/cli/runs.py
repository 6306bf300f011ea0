"""`podium runs`: what ran, why it failed, what it printed, and how to go on."""

import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from podium.cli.options import Json, Reason

app = typer.Typer(
    help="Runs: what ran, why it failed, how to go on.\n\nExample: podium runs list", no_args_is_help=True
)

_CANCEL_SECONDS = 10.0
_POLL_SECONDS = 0.2

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or the beginning or end of it.")]


@app.command("list")
def list_(
    pipeline: Annotated[str | None, typer.Option(help="Only this pipeline's.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    *,
    as_json: Json = False,
) -> None:
    """List runs, the newest first.

    Example: podium runs list --pipeline flight_delay --state failed
    """
    from podium.cli import output
    from podium.cli.run_report import print_list
    from podium.db.schema.execution import RUN_STATES
    from podium.errors import UsageError
    from podium.execution import queries
    from podium.wiring.documents import run_documents
    from podium.wiring.project import open_project

    if state not in (None, *RUN_STATES):
        raise UsageError(f"There is no run state {state!r}; the states are {', '.join(RUN_STATES)}.")
    with open_project().database.read() as connection:
        documents = run_documents(
            connection, queries.list_runs(connection, pipeline=pipeline, state=state, limit=limit)
        )
    if as_json:
        output.print_json(documents)
        return
    if documents:
        print_list(documents)
    else:
        output.note("No run matches.")


@app.command()
def show(run_id: RunId, *, as_json: Json = False) -> None:
    """Show one run: verdict, steps, attempts, costs.

    Example: podium runs show 0j9x3k
    """
    from podium.cli import output
    from podium.cli.run_report import print_run

    document = _document(run_id)
    if as_json:
        output.print_json(document)
    else:
        print_run(document)


@app.command()
def logs(
    run_id: RunId,
    step: Annotated[str | None, typer.Option(help="Only this step's; 'fit[2]' is one item of a mapped step.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,  # noqa: FBT002
) -> None:
    """Print what the attempts of a run printed.

    Example: podium runs logs 0j9x3k --step train
    """
    from podium.cli.log_reader import follow_logs, print_logs

    document = _document(run_id)
    _require_step(document, step)
    if follow:
        follow_logs(_log_folder(), lambda: _document(document["run_id"]), step)
    else:
        print_logs(_log_folder(), document, step)


@app.command()
def graph(run_id: RunId, *, as_json: Json = False) -> None:
    """Draw a run's graph, each step under what it waits for.

    Of a mapped step it says how many of its items succeeded.

    Example: podium runs graph 0j9x3k
    """
    from podium.cli import output
    from podium.cli.graph import draw
    from podium.execution import plans, queries
    from podium.wiring.project import open_project

    project = open_project()
    document = _document(run_id)
    with project.database.read() as connection:
        plan = plans.load(connection, queries.get_run(connection, document["run_id"]).plan_digest)
    states = {step["name"]: step["state"] for step in document["steps"] if step["map_index"] is None}
    items: dict[str, list[str]] = {}
    for step in document["steps"]:
        if step["map_index"] is not None:
            items.setdefault(step["name"], []).append(step["state"])
    if as_json:
        output.print_json(
            {
                "run_id": document["run_id"],
                "steps": [
                    {
                        "name": node.name,
                        "state": states[node.name],
                        "waits_for": list(node.dependencies),
                        "items": dict(Counter(items.get(node.name, []))),
                    }
                    for node in plan.steps
                ],
            }
        )
        return
    for line in draw(plan, states, items):
        output.console().print(line, soft_wrap=True)


@app.command()
def resume(
    run_id: RunId,
    reason: Reason = "resumed by a person",
    *,
    as_json: Json = False,
) -> None:
    """Go on with a run where it stopped.

    What succeeded is kept; the rest is done with today's code.

    Example: podium runs resume 0j9x3k
    """
    from podium.cli import execution
    from podium.execution import queries
    from podium.wiring.plans import load_plans
    from podium.wiring.project import open_project
    from podium.wiring.runs import preparation

    project = open_project()
    with project.database.read() as connection:
        found = queries.get_run(connection, run_id)
    with preparation(project) as prepared:
        plan = load_plans(project, before_tracing=prepared.backend).plan(found.pipeline)
        start = execution.Start(
            found.interval.name, lambda: project.execution.resume(found.run_id, plan, reason=reason).run_id
        )
        documents = execution.execute(project, plan, [start], prepared)
    execution.report(plan, documents, many=False, as_json=as_json)


@app.command()
def cancel(
    run_id: RunId,
    reason: Reason,
    *,
    as_json: Json = False,
) -> None:
    """Give up a run.

    Steps that run are ended by their workers, within a second or two, and billed; this waits for that, 10 s at most.
    What succeeded is kept, and `podium runs resume` takes it up again.

    Example: podium runs cancel 0j9x3k --reason "the data were wrong"
    """
    from podium.cli import output
    from podium.errors import Conflict
    from podium.execution import queries
    from podium.wiring.project import open_project

    project = open_project()
    found = project.execution.cancel(run_id, reason=reason)
    deadline = project.clock.monotonic() + _CANCEL_SECONDS
    while found.state in ("queued", "running") and project.clock.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        with project.database.read() as connection:
            found = queries.get_run(connection, found.run_id)
    if found.state in ("succeeded", "failed"):
        raise Conflict(f"The run {found.run_id} {found.state} before it could be cancelled; nothing was left to do.")
    if as_json:
        output.print_json(_document(found.run_id))
    elif found.state == "cancelled":
        output.print_lines([f"The run {found.run_id} of {found.pipeline} is cancelled."])
    else:
        with project.database.read() as connection:
            workers = queries.workers_with_attempts(connection, run_id=found.run_id)
        named = " and ".join(f"process {each.process_id} on {each.host}" for each in workers) or "its worker"
        said = f"The cancel of run {found.run_id} is on record, and nothing more of it begins"
        output.print_lines([f"{said}; {named} ends what runs: `podium runs show {found.run_id}`."])


def _document(run_id: str) -> dict[str, Any]:
    from podium.execution import queries
    from podium.wiring.documents import run_document
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        return run_document(connection, queries.get_run(connection, run_id).run_id)


def _log_folder() -> Path:
    from podium.wiring.project import open_project

    return open_project().log_folder


def _require_step(document: dict[str, Any], step: str | None) -> None:
    from podium.cli.log_reader import name_of
    from podium.errors import NotFound
    from podium.execution.items import parse_item

    names = [each["name"] for each in document["steps"] if each["map_index"] is None]
    if step is None or step in names or step in map(name_of, document["steps"]):
        return
    name, index = parse_item(step)
    if name in names:
        items = [name_of(each) for each in document["steps"] if each["name"] == name and each["map_index"] is not None]
        there_are = " to ".join(dict.fromkeys((items[0], items[-1]))) if items else "no items"
        raise NotFound(f"The step {name} of run {document['run_id']} has no item {index}; it has {there_are}.")
    raise NotFound(f"The run {document['run_id']} has no step {step!r}; its steps are {', '.join(names)}.")
