"""`podium scheduler`: a process that makes the runs that nobody asks for by hand."""

import typer


def scheduler() -> None:
    """Make runs by schedules and triggers, and send alerts.

    It goes on until it is told to stop, and also ends attempts whose worker died and what is past its deadline. What
    the pipelines say, and what is edited in them, is taken up within seconds; a `podium worker` executes the runs. Any
    number of schedulers share a database: each tick becomes one run. It may be killed at any moment; the next one goes
    on, and treats what was missed as each schedule says. SIGTERM and a closed
    terminal (SIGHUP) end it with exit code 0, Ctrl-C with 130.

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
