"""`podium costs`: what was spent, by whom, and whether the books agree."""

from datetime import date
from typing import Annotated, Any

import typer

from podium.cli.options import Json

_KEYS = "team, model, environment, kind, resource, sku, outcome, day, run, step, backfill"

app = typer.Typer(help="Costs: reports and reconciliation.\n\nExample: podium costs report", no_args_is_help=True)


@app.command()
def report(
    by: Annotated[
        str,
        typer.Option(help=f"Group by these, separated by commas: {_KEYS}."),
    ] = "team,model",
    from_: Annotated[str | None, typer.Option("--from", metavar="DAY", help="First UTC day, as 2026-03-01.")] = None,
    to: Annotated[str | None, typer.Option(metavar="DAY", help="UTC day after the last one.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Report what was spent.

    Example: podium costs report --by team,model
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.finops.reports import report as make_report
    from podium.wiring.project import open_project

    keys = tuple(key.strip() for key in by.split(",") if key.strip())
    with open_project().database.read() as connection:
        document = make_report(connection, keys, _day(from_), _day(to)).document()
    if as_json:
        output.print_json(document)
        return
    currency = document["currency"]
    print_table(
        [*map(Column, keys), Column("cost", right=True)],
        [(*(output.safe(row[key]) for key in keys), output.money(row["amount"], currency)) for row in document["rows"]],
        total=("total", *[""] * (len(keys) - 1), output.money(document["total"], currency)) if keys else None,
    )
    _print_saved(document["saved"], currency)
    _note_unpriced(document)


@app.command()
def run(run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")], *, as_json: Json = False) -> None:
    """Show what one run cost, by attempt and resource.

    "used" is the share of the reservation that was used; the reservation is what is paid.

    Example: podium costs run 0j9x3k
    """
    from podium.cli import output
    from podium.cli.labels import label_of
    from podium.cli.tables import Column, print_table
    from podium.execution import queries
    from podium.finops.costs import run_cost
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        document = run_cost(connection, queries.get_run(connection, run_id).run_id).document()
    if as_json:
        output.print_json(document)
        return
    print_table(
        [
            Column("step"),
            Column("attempt", right=True),
            Column("ended"),
            Column("resource"),
            Column("used", right=True),
            Column("cost", right=True),
        ],
        [
            (
                label_of({**attempt, "name": step["name"]}),
                str(attempt["number"]),
                output.state(attempt["outcome"]),
                resource["resource"],
                output.share(attempt.get(f"{resource['resource']}_efficiency")),
                output.money(resource["amount"], document["currency"]),
            )
            for step in document["steps"]
            for attempt in step["attempts"]
            for resource in attempt["resources"]
        ],
        total=("total", *[""] * 4, output.money(document["total"], document["currency"])),
    )
    _print_saved(document["saved"], document["currency"])
    _note_unpriced(document)


@app.command()
def version(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    *,
    as_json: Json = False,
) -> None:
    """Show what a model version cost.

    Every attempt of the run that made it counts, failed ones included.

    Example: podium costs version flight_delay 1
    """
    from podium.cli import output
    from podium.finops.costs import version_cost
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        document = version_cost(connection, model, version).document()
    if as_json:
        output.print_json(document)
    else:
        cost = output.money(document["total"], document["currency"])
        output.print_lines([f"{model} version {version} cost {cost} in {document['attempts']} attempts."])
        _note_unpriced(document)


@app.command()
def reconcile(*, as_json: Json = False) -> None:
    """Check that attempts, ledger, prices and rollups agree.

    They must to the last decimal; exits 1 if they do not.

    Example: podium costs reconcile
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.finops.reconciliation import reconcile as compare
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        document = compare(connection).document()
    if as_json:
        output.print_json(document)
    else:
        print_table(
            [
                Column("check", wraps=True),
                Column("left", right=True),
                Column("right", right=True),
                Column("difference", right=True),
            ],
            [
                (
                    check["name"],
                    check["left"],
                    check["right"],
                    check["difference"] if check["difference"] == "0" else f"[red]{check['difference']}[/]",
                )
                for check in document["checks"]
            ],
        )
    if not document["ok"]:
        raise typer.Exit(1)


def _print_saved(saved: dict[str, Any], currency: str) -> None:
    """Print what was not computed again; nothing where all was."""
    from podium.cli import output

    if saved["step_runs"]:
        steps = f"{saved['step_runs']:,} step{'' if saved['step_runs'] == 1 else 's'}"
        unpriced = f", {saved['unpriced']} of them without a price" if saved["unpriced"] and saved["amount"] else ""
        output.print_lines([f"saved by cache: {output.money(saved['amount'], currency)} ({steps}{unpriced})"])


def _note_unpriced(document: dict[str, Any]) -> None:
    from podium.cli import output

    if document["unpriced"]:
        output.note(
            f"{document['unpriced']} entries have no price and are in no sum; add their price to prices.yaml, "
            "and the next run prices them."
        )


def _day(text: str | None) -> date | None:
    from podium.errors import UsageError

    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day; write it as 2026-03-01.") from None
