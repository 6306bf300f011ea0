"""`podium alerts`: what was told to whom, and whether the channels work."""

from typing import Annotated, Any

import typer

from podium.cli.options import Json

_STATES = "pending, sent, withheld, given_up"

app = typer.Typer(help="Alerts: what was told to whom.\n\nExample: podium alerts list", no_args_is_help=True)


@app.command("list")
def list_alerts(
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help=f"Only deliveries in this state: {_STATES}.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many alerts.")] = 20,
    *,
    as_json: Json = False,
) -> None:
    """List alerts, the newest first, and what became of them.

    Example: podium alerts list --state given_up
    """
    from podium.cli import output
    from podium.notify.documents import alert_documents
    from podium.wiring.project import open_project

    _check(state)
    with open_project().database.read() as connection:
        documents = alert_documents(connection, limit, state)
    if as_json:
        output.print_json(documents)
    elif documents:
        _print(documents)
    else:
        output.note(f"No alerts{f' that are {state}' if state else ''}.")


@app.command("test")
def send_test(
    channels: Annotated[list[str] | None, typer.Argument(metavar="CHANNEL", help="Which; all without any.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Send a test message to channels now.

    Exits 1 if one of them does not take it.

    Example: podium alerts test oncall
    """
    from podium.cli import output
    from podium.notify.trial import try_channels
    from podium.wiring.notify import channels_of
    from podium.wiring.project import open_project

    project = open_project()
    answers = try_channels(channels_of(project, channels or ()), project.settings.project, project.actor.name)
    if as_json:
        output.print_json([answer.document() for answer in answers])
    elif answers:
        output.print_lines(
            [
                f"{answer.channel} ({answer.scheme}): {f'failed: {answer.error}' if answer.error else 'taken'}"
                for answer in answers
            ]
        )
    else:
        output.note("No alert channel is set; name one in podium.toml under [alerts.channels].")
    if any(answer.error for answer in answers):
        raise typer.Exit(1)


def _check(state: str | None) -> None:
    from podium.db.schema.notify import DELIVERY_STATES
    from podium.errors import UsageError

    if state is not None and state not in DELIVERY_STATES:
        raise UsageError(f"--state {state!r} is no state of a delivery; they are {', '.join(DELIVERY_STATES)}.")


def _print(documents: list[dict[str, Any]]) -> None:
    from podium.cli import output
    from podium.cli.tables import Column, print_table

    print_table(
        [
            Column("happened"),
            Column("alert", wraps=True),
            Column("channel"),
            Column("state"),
            Column("tries", right=True, spare=True),
            Column("next try", spare=True),
            Column("why", wraps=True),
        ],
        [
            (
                output.when(document["happened_at"]),
                output.safe(document["title"]),
                output.safe(delivery["channel"]),
                output.state(delivery["state"]),
                str(delivery["tries"]),
                output.when(delivery["next_try_at"]),
                output.safe(delivery["error"]),
            )
            for document in documents
            for delivery in document["deliveries"]
        ],
    )
