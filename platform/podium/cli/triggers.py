"""`podium triggers`: what beside schedules makes pipelines retrain."""

from typing import Annotated, Any

import typer

from podium.cli.options import Json, Reason

app = typer.Typer(
    help="Triggers: what beside schedules makes pipelines retrain.\n\nExample: podium triggers list",
    no_args_is_help=True,
)

TriggerId = Annotated[str, typer.Argument(metavar="TRIGGER", help="The trigger, as PIPELINE.TRIGGER.")]


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """List triggers: how each stands, and the run it made last.

    Example: podium triggers list
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.scheduling.documents import is_any_scheduler_alive
    from podium.scheduling.trigger_documents import trigger_documents
    from podium.wiring.project import open_project

    project = open_project()
    with project.database.read() as connection:
        found = trigger_documents(connection)
        is_alive = is_any_scheduler_alive(connection, project.clock.now())
    if as_json:
        output.print_json(found)
        return
    if found:
        columns = [Column("trigger"), Column("stands"), Column("last look"), Column("next look", spare=True)]
        columns += [Column("saw", wraps=True), Column("last run")]
        print_table(columns, [_row(each) for each in found])
    else:
        output.note("No trigger is known. `podium scheduler` takes up what the pipelines say.")
    if not is_alive:
        output.note("No scheduler is running, so nobody looks; `podium scheduler` starts one.")


@app.command()
def show(trigger: TriggerId, *, as_json: Json = False) -> None:
    """Show what a trigger's sources showed, and what it waits for.

    Example: podium triggers show flight_delay.new_month
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_reasons, print_table
    from podium.scheduling.trigger_documents import trigger_document
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        found = trigger_document(connection, trigger)
    if as_json:
        output.print_json(found)
        return
    ran = "never" if found["fired_at"] is None else f"{output.when(found['fired_at'])}, run {found['run_id']}"
    debounce = f", {output.seconds(found['debounce_seconds'])} after the last news" if found["debounce_seconds"] else ""
    print_reasons(
        [
            ("trigger", [found["trigger"]]),
            ("fires", [f"upon news of {found['needs']} of its sources{debounce}"]),
            ("stands", [_stands(found)]),
            ("fired", [f"{ran} ({found['firings']} in all)"]),
        ]
    )
    output.print_lines([""])
    columns = [Column("source", wraps=True), Column("result"), Column("last look"), Column("next look")]
    print_table(
        [*columns, Column("saw", wraps=True)],
        [
            (
                output.safe(source["described"]),
                _result(source),
                output.when(source["looked_at"]),
                output.when(source["next_look_at"]),
                output.safe(source["detail"]),
            )
            for source in found["sources"]
        ],
    )


@app.command()
def fire(trigger: TriggerId, reason: Reason) -> None:
    """Make the run that a trigger would make now.

    Whatever its sources show: what they have shown is used up.

    Example: podium triggers fire flight_delay.new_month --reason "the file was replaced by hand"
    """
    from podium.cli import output
    from podium.wiring.project import open_project
    from podium.wiring.scheduler import triggers_of

    project = open_project()
    run_id = triggers_of(project).fire_by_hand(trigger, reason=reason, actor=project.actor.name)
    output.print_lines([run_id])
    output.note(f"A `podium worker` executes it; `podium runs show {run_id}` tells how far it is.")


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    from podium.cli import output

    sources = found["sources"]
    looked = max((each["looked_at"] for each in sources if each["looked_at"]), default=None)
    saw = "; ".join(each["detail"] for each in sources if each["detail"] and each["result"] != "nothing")
    ran = "–" if found["run_id"] is None else f"{found['run_id']}, {output.state(found['run_state'])}"
    return (
        found["trigger"],
        found["state"],
        output.when(looked),
        output.when(min(each["next_look_at"] for each in sources)),
        output.safe(found["problem"] or saw or "nothing new"),
        ran,
    )


def _stands(found: dict[str, Any]) -> str:
    from podium.cli import output

    if found["problem"] is not None:
        return str(found["problem"])
    if found["fires_at"] is not None:
        return f"fires at {output.when(found['fires_at'])}, has news since {output.when(found['news_since'])}"
    lacking = [each["described"] for each in found["sources"] if not each["has_news"]]
    return f"waits for {' and '.join(lacking) if found['needs'] == 'all' else ' or '.join(lacking)}"


def _result(source: dict[str, Any]) -> str:
    return "not looked yet" if source["result"] is None else str(source["result"])
