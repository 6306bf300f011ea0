"""`podium worker`: a process that executes every run of the project, and says what it does."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:  # what they import costs more than `--help` may
    from podium.execution.entities import Happening
    from podium.wiring.project import Project


def worker() -> None:
    """Execute every run of the project, until it is told to stop.

    It takes up runs that `podium run --detach` made, helps those that run in the foreground, and goes on with those
    that were interrupted or whose worker died. Any number of workers share a PostgreSQL; each attempt is executed by
    one of them. At SIGTERM or Ctrl-C it claims nothing more, lets the steps that run go on for `drain_seconds` (0
    unless podium.toml says more) and ends what is left: these attempts are recorded as interrupted and billed, no
    retry is spent, and the next worker begins those steps again. A closed terminal (SIGHUP) is like
    SIGTERM. It exits 0 after either and 130 after Ctrl-C; where the database does not answer any more it exits 1, and
    wants to be started again. Slots and lease are set in
    podium.toml; code that is edited is used from the next run on.

    Example: podium worker
    """
    from podium.cli.signals import stoppable
    from podium.wiring.project import open_project
    from podium.wiring.runs import serving

    project = open_project()
    with stoppable() as told:
        with serving(project, lambda happening: _say(project, happening)) as serves:
            _log(project, f"worker started with {project.settings.slots} slots on {project.database.shown}")
            serves.serve(lambda: _is_told(project, told.signal_name))
            _log(project, f"{told.signal_name}: claims nothing more and ends what runs")
        _log(project, "worker stopped; what it did not finish is claimable again")
        if told.signal_name == "SIGINT":
            raise typer.Exit(130)


def _is_told(project: "Project", signal_name: str | None) -> bool:
    if signal_name is not None and project.settings.drain_seconds > 0:
        _log(project, f"{signal_name}: claims nothing more; what runs has {project.settings.drain_seconds:g} s to end")
    return signal_name is not None


def _say(project: "Project", happening: "Happening") -> None:
    """Log what happens in runs that this worker has a part in."""
    reason = f": {happening.reason}" if happening.reason else ""
    if happening.kind.startswith("database."):
        back = happening.kind == "database.back"
        _log(project, "the database answers again" if back else f"waits for the database, as long as a lease{reason}")
        return
    match happening.kind.split("."):
        case "run", "started":
            text = f"of {_label(project, happening.run_id)} started"
        case "run", "succeeded":
            text = "succeeded" if happening.reason == "none" else f"succeeded, {happening.reason}"
        case "run", what:
            text = f"{what.replace('_', ' ')}{reason}"
        case "claim" | "rescue" | "deadline", "failed":
            text = happening.reason or "failed"
        case "attempt", "cancelled":
            text = f"{happening.step} attempt {happening.attempt} interrupted{reason}"
        case "attempt", what:
            text = f"{happening.step} attempt {happening.attempt} {what.replace('_', ' ')}{reason}"
        case "step", "held" | "approved" | "rejected" as what:
            text = f"{happening.step} {what}{reason}"
        case "step", "snoozed":
            text = f"{happening.step} {happening.reason}"
        case _:
            return
    _log(project, f"run {happening.run_id} {text}")


def _label(project: "Project", run_id: str) -> str:
    from podium.execution import queries

    with project.database.read() as connection:
        run = queries.get_run(connection, run_id)
    return f"{run.pipeline} {run.interval.name}"


def _log(project: "Project", text: str) -> None:
    from podium.cli import output

    output.note(f"{project.clock.now():%Y-%m-%dT%H:%M:%SZ} {text}")
