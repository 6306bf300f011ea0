"""`podium db`: the database's schema."""

import typer

from podium.cli.options import Json

app = typer.Typer(help="The database's schema.\n\nExample: podium db check", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the database to the schema Podium needs.

    Example: podium db upgrade
    """
    from podium.cli import output
    from podium.db import migrate
    from podium.wiring.project import open_project

    database = open_project().unchecked_database
    before = migrate.upgrade(database)
    if before == migrate.HEAD:
        output.print_lines([f"The database {database.shown} is at revision {before} already; nothing to do."])
    else:
        came_from = f"from revision {before}" if before else "from empty"
        output.print_lines([f"The database {database.shown} went {came_from} to revision {migrate.HEAD}."])


@app.command()
def check(*, as_json: Json = False) -> None:
    """Check that the database is at the schema Podium needs.

    Exits 1 if it is not.

    Example: podium db check
    """
    from podium.cli import output
    from podium.db import migrate
    from podium.wiring.project import open_project

    database = open_project().unchecked_database
    found = migrate.revision(database)
    fault = migrate.problem(database, found)
    if as_json:
        output.print_json({"ok": fault is None, "revision": found, "needed": migrate.HEAD, "problem": fault})
    else:
        output.print_lines([fault or f"The database {database.shown} is at revision {found}, as it must be."])
    if fault:
        raise typer.Exit(1)
