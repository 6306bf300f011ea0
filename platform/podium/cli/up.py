"""`podium up`: everything of a project on one machine, until it is told to stop."""

import sys
from typing import Annotated

import typer


def up(
    host: Annotated[str, typer.Option(help="Address the server listens on; 0.0.0.0 for every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the server; 0 takes any free one.")] = 8080,
) -> None:
    """Run everything of a project on this machine.

    Scheduler, worker and server are processes of their own, and what they say is shown line by line. A part that ends
    by itself is started again, after a pause that doubles while it goes on failing; one that its configuration keeps
    from starting ends all. SIGTERM, or closing the terminal, ends all of them with exit code 0, Ctrl-C with 130: what
    runs is claimable again. The parts also end where this process is killed.

    Example: podium up --port 8080
    """
    from podium.cli import output
    from podium.cli.parts import Parts
    from podium.cli.signals import stoppable
    from podium.db import migrate
    from podium.wiring.project import open_project

    project = open_project()
    migrate.ensure(project.unchecked_database)  # once, before three processes would
    project.require_prices()
    project.close()
    commands = {
        "scheduler": ["scheduler"],
        "worker": ["worker"],
        "server": ["server", "--host", host, "--port", str(port)],
    }
    drain_seconds = project.settings.drain_seconds

    def say(text: str) -> None:
        try:
            output.note(text)
        except OSError:  # nobody can read it any more, as where the terminal is closed; the parts go on all the same
            output.silence(sys.stderr)

    with stoppable() as told, Parts(commands, say, project.clock, drain_seconds=drain_seconds) as parts:
        while not told.wait(parts.advance()) and parts.exit_code is None:
            pass
        say(f"{told.signal_name or 'a part cannot start'}: ending all parts")
    if parts.exit_code is not None:
        raise typer.Exit(parts.exit_code)
    if told.signal_name == "SIGINT":
        raise typer.Exit(130)
