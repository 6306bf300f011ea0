"""`podium server`: metrics over HTTP."""

from typing import Annotated

import typer


def server(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")] = 8080,
) -> None:
    """Serve `/metrics` for Prometheus, and `/healthz`.

    Everything is read from the database when it is asked for; a database that cannot be used at the start ends the
    command, one that fails later makes answers of 503 until it is back. SIGTERM ends it.

    Example: podium server --port 8080
    """
    from podium.api.app import create_app
    from podium.api.serving import listen, serve
    from podium.cli import output
    from podium.db import migrate
    from podium.wiring.project import open_project

    project = open_project()
    migrate.ensure(project.unchecked_database)
    app = create_app(project)
    serve(app, listen(host, port), ready=lambda url: output.note(f"Serving on {url}"))
