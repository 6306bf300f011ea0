"""`podium models live`: which version was champion at a moment, since when, and by which fact."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from podium.cli.options import Json


def live(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The moment, as 2026-03-01 or 2026-03-01T06:00; in UTC unless it says more."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show which version was champion at a moment, and why.

    Without one it is now. The answer is Podium's own history's; `podium models show` asks the registry.

    Example: podium models live flight_delay --at 2026-03-01T06:00
    """
    from podium.cli import output
    from podium.registry import history, records, timeline
    from podium.wiring.project import open_project

    project = open_project()
    moment = None if at is None else _moment(at, project.clock.now())
    with project.database.read() as connection:
        entries = history.entries(connection, model)
        if not entries:
            records.require_model(connection, model)
    document = timeline.live_document(model, entries, moment)
    if as_json:
        output.print_json(document)
        return
    asked = "now" if at is None else f"at {document['at']}"
    if document["since"] is None:
        output.print_lines([f"{model}: no version was champion {asked}; the history knows of none that early."])
        return
    until = "" if document["until"] is None else f" until {document['until']}"
    version = "no version" if document["version"] is None else f"version {document['version']}"
    by_which = f"{document['fact']} by {document['actor']} (entry {document['entry_id']}, {document['action']})"
    output.print_lines(
        [
            f"{model}: {version} {asked}",
            f"  champion since {document['since']}{until}",
            f"  {by_which}: {document['reason']}",
        ]
    )
    if document["approvers"]:
        output.print_lines([f"  approved by {', '.join(document['approvers'])}"])
    if document["fact"] == "noticed":
        output.note(f"Nobody accepted that move; `podium models adopt {model} --reason …` does, a rollback undoes it.")


def _moment(text: str, now: datetime) -> datetime:
    from podium.errors import UsageError

    try:
        read = datetime.fromisoformat(text)
        moment = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no moment; write it as 2026-03-01 or 2026-03-01T06:00.") from None
    if moment > now:
        raise UsageError(f"{text} is still to come, and nobody knows which version is champion then; leave out --at.")
    return moment
