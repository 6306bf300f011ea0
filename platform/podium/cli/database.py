"""`podium db`: the database's schema, and whether what it holds is as it must be."""

from typing import Annotated

import typer

from podium.cli.options import Json

app = typer.Typer(
    help="The database: its schema, and what it holds.\n\nExample: podium db check",
    no_args_is_help=True,
)


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
def check(
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Read the bytes of every artifact as well.")] = False,
    as_json: Json = False,
) -> None:
    """Check the database: its schema, and what it holds.

    It may be run while workers run. Each violation names the object, the fact and the repair; what a worker will put
    right by itself is a warning. Exits 1 if there is a violation, or another schema than this version needs.

    Example: podium db check --deep
    """
    from podium.cli import output
    from podium.db import migrate
    from podium.wiring.checks import violations
    from podium.wiring.project import open_project

    project = open_project()
    database = project.unchecked_database
    revision = migrate.revision(database)
    problem = migrate.problem(database, revision)
    found = [] if problem else list(violations(project, deep=deep))
    broken = [each for each in found if each.severity == "broken"]
    warnings = [each for each in found if each.severity == "warning"]
    if as_json:
        output.print_json(
            {
                "ok": problem is None and not broken,
                "revision": revision,
                "needed": migrate.HEAD,
                "problem": problem,
                "violations": [each.document() for each in broken],
                "warnings": [each.document() for each in warnings],
            }
        )
    else:
        said = problem or f"The database {database.shown} is at revision {revision}, as it must be."
        output.print_lines([said, *(f"{each.invariant}: {each}" for each in broken)])
        output.print_lines([f"warning: {each}" for each in warnings])
        if not problem and not broken:
            output.print_lines(["Runs, attempts, events, artifacts and ledger are as they must be."])
    if problem or broken:
        raise typer.Exit(1)
