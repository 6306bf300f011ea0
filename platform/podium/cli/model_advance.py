"""`podium models advance` and `podium models path`: how a version goes from one environment to the next."""

from typing import Annotated

import typer

from podium.cli.options import Json, Reason

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name, as dev.flight_delay.")]
AnyName = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name, with or without its environment.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to `podium models`."""
    for command in (advance, path):
        app.command()(command)


def advance(
    model: Model,
    version: Annotated[str, typer.Option(help="The version; it was champion where it is.")],
    reason: Reason,
    *,
    as_json: Json = False,
) -> None:
    """Bring a version to the next environment, through its gate.

    It is judged there against the champion on the rows that judged it before, by that environment's policy, copied
    without a new upload, its digest compared, and promoted. The same command again completes what was begun. Exits 3
    where the gate keeps it out, or people have to approve it first.

    Example: podium models advance dev.flight_delay --version 3 --reason "a week without complaints"
    """
    from podium.cli import output
    from podium.cli.promotions import print_awaiting
    from podium.wiring.advance import advances
    from podium.wiring.project import open_project

    project = open_project()
    actor = project.actor
    made = advances(project).advance(model, version, actor=actor.name, actor_verified=actor.verified, reason=reason)
    if as_json:
        output.print_json(made.to_document())
        if not made.applied:
            raise typer.Exit(3)
        return
    if made.promotion is not None and made.promotion.awaits_approval:
        print_awaiting(project, made.promotion)
        raise typer.Exit(3)
    made.raise_unless_applied()
    number = made.copy.version if made.copy else version
    same = f"the same files as version {version} of {model} ({made.origin.digest[:12]}…)"
    output.print_lines([f"{made.to_model}: champion {number}, {same}"])


def path(model: AnyName, *, as_json: Json = False) -> None:
    """Show what serves in each environment.

    Also whether it is the same files as in the one before, and what could go on. The registry is asked for the
    champions, so a move made outside Podium shows.

    Example: podium models path flight_delay
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.wiring.model_path import path_document
    from podium.wiring.project import open_project

    document = path_document(open_project(), model)
    if as_json:
        output.print_json(document)
        return
    print_table(
        [
            Column("environment"),
            Column("model"),
            Column("champion"),
            Column("since"),
            Column("files as before"),
            Column("policy", spare=True),
            Column("digest", spare=True),
        ],
        [
            (
                each["environment"],
                output.safe(each["model"]),
                output.safe(each["champion"]),
                output.when(each["since"]),
                _compared(each["equal_to_before"]),
                output.safe(each["policy"] or ("as before" if number else "the pipeline's")),
                output.safe(each["digest"])[:12],
            )
            for number, each in enumerate(document["environments"])
        ],
    )
    for each in document["environments"]:
        if each["blocked_before"]:
            origin = f"version {each['copied_from']['version']} of {each['copied_from']['model']}"
            serving = f"Version {each['champion']} of {each['model']}"
            output.note(f"{serving} serves; its original, {origin}, is blocked there.")
    for each in document["next"]:
        output.print_lines([f"Version {each['version']} of {each['model']} could go on: {each['command']}"])
    if not document["next"]:
        output.note("No champion could go on that is not there already.")


def _compared(equal: bool | None) -> str:  # noqa: FBT001 - one value of a document
    return "–" if equal is None else "equal" if equal else "other"
