"""`podium schedule`: when pipelines retrain by themselves."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.cli.options import Json, Reason

if TYPE_CHECKING:
    from datetime import datetime

app = typer.Typer(
    help="Schedules: when pipelines retrain by themselves.\n\nExample: podium schedule preview flight_delay",
    no_args_is_help=True,
)

Pipeline = Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's name.")]


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """List schedules: when each fires next, and what it did last.

    One that is paused says by whom and why.

    Example: podium schedule list
    """
    from podium.cli import output
    from podium.scheduling import documents
    from podium.wiring.project import open_project

    project = open_project()
    now = project.clock.now()
    with project.database.read() as connection:
        found = documents.schedule_documents(connection, now)
        is_alive = documents.is_any_scheduler_alive(connection, now)
    if as_json:
        output.print_json(found)
        return
    if found:
        _print_list(found)
    else:
        output.note("No schedule is known. `podium scheduler` takes up what the pipelines say.")
    if not is_alive:
        output.note("No scheduler is running, so nothing fires; `podium scheduler` starts one.")


@app.command()
def preview(
    pipeline: Pipeline,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many fires.")] = 10,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="From when on, inclusive: a date, or a date and time; now."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show when a schedule fires next, and about which interval.

    A note says what changes of the clocks do to a fire. It is read from the pipeline as it is now, also before a
    scheduler has taken it up.

    Example: podium schedule preview flight_delay --count 12 --from 2026-03-01
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.scheduling import documents
    from podium.wiring.plans import load_plans
    from podium.wiring.project import open_project

    project = open_project()
    plan = load_plans(project).plan(pipeline)
    since = project.clock.now() if from_ is None else _moment(from_, plan.timezone)
    found = documents.preview(plan, since, count)
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.note(f"The schedule of {pipeline} does not fire from then on.")
        return
    print_table(
        [Column(f"fires ({plan.timezone})"), Column("UTC"), Column("about"), Column("note", wraps=True)],
        [
            (
                each["fires_at_local"][:16].replace("T", " ") + each["fires_at_local"][-6:],
                output.when(each["fires_at"]),
                each["interval_name"],
                each["note"] or "",
            )
            for each in found
        ],
    )


@app.command()
def show(
    pipeline: Pipeline,
    limit: Annotated[int, typer.Option(min=1, help="How many ticks, the newest first.")] = 20,
    *,
    as_json: Json = False,
) -> None:
    """Show what became of a schedule's ticks.

    Example: podium schedule show flight_delay
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.scheduling import documents
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        found = documents.tick_documents(connection, pipeline, limit)
    if as_json:
        output.print_json(found)
    elif not found:
        output.note(
            f"No tick of {pipeline} was due so far; `podium schedule preview {pipeline}` shows what is to come."
        )
    else:
        columns = [Column("tick"), Column("fate"), Column("run"), Column("run's state"), Column("why", wraps=True)]
        print_table(columns, [_tick_row(each) for each in found])


@app.command()
def pause(pipeline: Pipeline, reason: Reason) -> None:
    """Pause a schedule: nothing fires until it is resumed.

    Nothing of that time counts as missed.

    Example: podium schedule pause flight_delay --reason "the source is being migrated"
    """
    from podium.cli import output
    from podium.scheduling.schedules import Schedules
    from podium.wiring.project import open_project

    project = open_project()
    Schedules(project.database, project.clock).pause(pipeline, reason=reason, actor=project.actor.name)
    output.print_lines([f"The schedule of {pipeline} is paused; `podium schedule resume {pipeline}` lets it go on."])


@app.command()
def resume(pipeline: Pipeline, reason: Reason) -> None:
    """Let a paused schedule go on with what is due from now on.

    What was not run meanwhile is for `podium backfill`.

    Example: podium schedule resume flight_delay --reason "the source is back"
    """
    from podium.cli import output
    from podium.scheduling.schedules import Schedules
    from podium.wiring.project import open_project

    project = open_project()
    tick = Schedules(project.database, project.clock).resume(pipeline, reason=reason, actor=project.actor.name)
    following = "has no tick to come" if tick is None else f"fires next at {tick.due_at:%Y-%m-%d %H:%MZ}"
    output.print_lines([f"The schedule of {pipeline} goes on; it {following}."])


def _moment(text: str, timezone: str) -> "datetime":
    from podium.dag.interval import Interval
    from podium.errors import InvalidInterval, UsageError
    from podium.scheduling.documents import PREVIEWED_YEARS

    try:
        return Interval.parse(f"{text}..9999", timezone).start
    except InvalidInterval:
        if text.startswith(("0001", "9999")):  # a time, maybe, with nothing behind or before it on the calendar
            raise UsageError(
                f"--from {text} is too far away; give a time of the years {PREVIEWED_YEARS[0]} to "
                f"{PREVIEWED_YEARS[-1]}."
            ) from None
        raise UsageError(
            f"--from {text!r} is no time in {timezone}; write 2026-03-01, 2026-03-01T06 or 2026-03-01T06:30+01:00."
        ) from None


def _print_list(found: list[dict[str, Any]]) -> None:
    from podium.cli import output
    from podium.cli.tables import Column, print_table

    print_table(
        [
            Column("pipeline"),
            Column("schedule", wraps=True),
            Column("fires next"),
            Column("last tick"),
            Column("became", wraps=True),
            Column("if missed", spare=True),
        ],
        [
            (
                each["pipeline"],
                "–" if each["schedule"] is None else f"{each['schedule']} ({each['timezone']})",
                _next(each),
                output.when(each["last"] and each["last"]["due_at"]),
                _fate(each["last"]),
                each["missed"] or "–",
            )
            for each in found
        ],
    )
    for each in found:
        if each["problem"] is not None:
            output.note(f"{each['pipeline']} cannot fire: {each['problem']}")


def _next(each: dict[str, Any]) -> str:
    from podium.cli import output

    if each["paused"] is not None:
        return f"paused by {output.safe(each['paused']['by'])}: {output.safe(each['paused']['reason'])}"
    if each["overdue_seconds"] is not None:
        return f"{output.when(each['next_fires_at'])}, overdue"
    return output.when(each["next_fires_at"])


def _fate(tick: dict[str, Any] | None) -> str:
    if tick is None:
        return "–"
    if tick["run_id"] is None:
        return "missed"
    return f"run {tick['run_id']}, {_state(tick)}"


def _state(tick: dict[str, Any]) -> str:
    from podium.cli import output

    return output.state(tick["run_state"] if tick["run_outcome"] in (None, "none") else tick["run_outcome"])


def _tick_row(tick: dict[str, Any]) -> tuple[str, ...]:
    from podium.cli import output

    missed = "" if tick["until"] is None else f" to {output.when(tick['until'])}"
    ran = "–" if tick["run_id"] is None else _state(tick)
    late = "late; " if tick["late"] and tick["run_id"] else ""
    why = f"{late}{output.safe(tick['reason'] or '')}".rstrip("; ")
    return output.when(tick["tick_at"]) + missed, tick["fate"], tick["run_id"] or "–", ran, why
