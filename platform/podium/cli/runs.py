"""`podium runs`: what ran, why it failed, what it printed, and how to go on."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from podium.cli.options import Json

app = typer.Typer(
    help="Runs: what ran, why it failed, how to go on.\n\nExample: podium runs list", no_args_is_help=True
)

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

    document = document_of(run_id)
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

    Following, lines of attempts that run side by side are told apart by the name in front of them.

    Example: podium runs logs 0j9x3k --step train
    """
    from podium.cli.log_reader import AttemptLog, attempt_logs, follow_logs, print_logs
    from podium.execution import plans, queries
    from podium.wiring.project import open_project

    document = document_of(run_id)
    _require_step(document, step)
    project = open_project()
    with project.database.read() as connection:
        found = queries.get_run(connection, document["run_id"])
        mapped = {node.name for node in plans.load(connection, found.plan_digest).steps if node.over is not None}

    def look() -> tuple[list[AttemptLog], bool]:
        with project.database.read() as connection:
            rows = queries.attempt_rows(connection, found.run_id)
            ended = not queries.is_open(connection, found.run_id)
        return attempt_logs(rows, project.log_folder, step), ended

    if follow:
        follow_logs(look, together=step is None or step in mapped)
    else:
        print_logs(look()[0])


@app.command()
def events(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,  # noqa: FBT002
    *,
    as_json: Json = False,
) -> None:
    """Print what happened in a run, in order.

    With both --follow and --json each line is one event.

    Example: podium runs events 0j9x3k --follow
    """
    from podium.cli.event_reader import Event, print_events
    from podium.execution import queries
    from podium.wiring.documents import event_documents
    from podium.wiring.project import open_project

    database = open_project().database
    with database.read() as connection:
        found = queries.get_run(connection, run_id).run_id

    def look(after: int) -> tuple[list[Event], bool]:
        with database.read() as connection:
            return event_documents(connection, found, after), not queries.is_open(connection, found)

    print_events(look, follow=follow, as_json=as_json)


@app.command()
def graph(
    run_id: RunId,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the graph and the attempts over time.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Draw a run's graph, each step under what it waits for.

    Of a mapped step it says how many of its items succeeded. The page is one file that needs no network.

    Example: podium runs graph 0j9x3k --html run.html
    """
    from podium.cli import output
    from podium.cli.graph import draw
    from podium.cli.run_page import page_of, write_page
    from podium.execution import plans, queries
    from podium.wiring.documents import event_documents
    from podium.wiring.project import open_project

    project = open_project()
    document = document_of(run_id)
    with project.database.read() as connection:
        plan = plans.load(connection, queries.get_run(connection, document["run_id"]).plan_digest)
        events = event_documents(connection, document["run_id"])
    if html is not None:
        write_page(html, page_of(document, plan, events, project.clock.now()))
        output.note(f"The page is {html}.")
        return
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


def document_of(run_id: str) -> dict[str, Any]:
    """Return the document of a run of the project here."""
    from podium.execution import queries
    from podium.wiring.documents import run_document
    from podium.wiring.project import open_project

    project = open_project()
    with project.database.read() as connection:
        found = queries.get_run(connection, run_id).run_id
        return run_document(connection, found, project.clock.now(), project.limits)


def _require_step(document: dict[str, Any], step: str | None) -> None:
    from podium.cli.labels import label_of
    from podium.errors import NotFound
    from podium.execution.items import parse_item

    names = [each["name"] for each in document["steps"] if each["map_index"] is None]
    if step is None or step in names or step in map(label_of, document["steps"]):
        return
    name, index = parse_item(step)
    if name in names:
        items = [label_of(each) for each in document["steps"] if each["name"] == name and each["map_index"] is not None]
        there_are = " to ".join(dict.fromkeys((items[0], items[-1]))) if items else "no items"
        raise NotFound(f"The step {name} of run {document['run_id']} has no item {index}; it has {there_are}.")
    raise NotFound(f"The run {document['run_id']} has no step {step!r}; its steps are {', '.join(names)}.")
