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
    before = migrate.revision(database)
    migrate.upgrade(database)
    output.print_lines([f"The database went from revision {before or 'none'} to {migrate.HEAD}."])


@app.command()
def check(*, as_json: Json = False) -> None:
    """Check that the database is at the schema Podium needs.

    Exits 1 if it is not.

    Example: podium db check
    """
    from podium.cli import output
    from podium.db import migrate
    from podium.wiring.project import open_project

    found = migrate.revision(open_project().unchecked_database)
    ok = found == migrate.HEAD
    if as_json:
        output.print_json({"ok": ok, "revision": found, "needed": migrate.HEAD})
    else:
        remedy = "" if ok else "; run `podium db upgrade`"
        output.print_lines([f"The database is at revision {found or 'none'}, {migrate.HEAD} is needed{remedy}."])
    if not ok:
        raise typer.Exit(1)
