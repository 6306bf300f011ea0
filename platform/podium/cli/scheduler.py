"""`podium scheduler`: a process that makes the runs that nobody asks for by hand."""

import typer


def scheduler() -> None:
    """Make runs by schedules and triggers, send alerts, and care for runs whose worker died, until told to stop.

    It takes up what the pipelines say, and what is edited in them within seconds; runs are executed by a `podium
    worker`. Any number of schedulers share a database: each tick becomes one run. It may be killed at any moment; the
    next one goes on, and treats what was missed as each schedule says. SIGTERM ends it with exit code 0, Ctrl-C with
    130.

    Example: podium scheduler
    """
    from podium.cli import output
    from podium.cli.signals import stoppable
    from podium.wiring.project import open_project
    from podium.wiring.scheduler import scheduling

    project = open_project()

    def say(text: str) -> None:
        output.note(f"{project.clock.now():%Y-%m-%dT%H:%M:%SZ} {text}")

    with stoppable() as told, scheduling(project, say) as loop:
        say(f"scheduler started on {project.database.shown}")
        loop.run(told.wait)
        say(f"{told.signal_name}: scheduler stopped")
    if told.signal_name == "SIGINT":
        raise typer.Exit(130)
