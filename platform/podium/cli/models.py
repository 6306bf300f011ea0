"""`podium models`: who serves, since when, and why."""

from typing import Annotated, Any

import typer

from podium.cli.options import Json, Reason

app = typer.Typer(help="Models: versions, aliases, history.\n\nExample: podium models list", no_args_is_help=True)

SHOWN_VERSIONS = 20
"""So many of a model's versions are shown unless more are asked for."""

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """List the models that Podium registered versions of.

    The champion is that of Podium's own history; `podium models show` asks the registry.

    Example: podium models list
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.registry import store
    from podium.registry.model_page import model_document
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        limit = SHOWN_VERSIONS if as_json else 1
        documents = [model_document(connection, name, limit=limit) for name in store.model_names(connection)]
    if as_json:
        output.print_json(documents)
        return
    if not documents:
        output.note("No version of any model was registered yet.")
        return
    print_table(
        [Column("model"), Column("champion"), Column("challenger"), Column("versions", right=True), Column("newest")],
        [
            (
                document["name"],
                output.safe(document["aliases"]["champion"]),
                output.safe(document["aliases"]["challenger"]),
                str(document["versions_total"]),
                output.when(document["versions"][0]["registered_at"]),
            )
            for document in documents
        ],
    )


@app.command()
def show(
    model: Model,
    *,
    limit: Annotated[
        int, typer.Option(min=1, help="So many of the newest; what has an alias or is blocked is shown in any case.")
    ] = SHOWN_VERSIONS,
    every: Annotated[bool, typer.Option("--all", help="Show every version.")] = False,
    as_json: Json = False,
) -> None:
    """Show a model's newest versions and its aliases.

    The registry is asked for the aliases, so a move made outside Podium shows.

    Example: podium models show flight_delay --limit 50
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.registry.entities import CHALLENGER, CHAMPION
    from podium.registry.model_page import model_document
    from podium.wiring.project import open_project

    project = open_project()
    with project.database.read() as connection:
        _require_known(connection, model)
    aliases = {alias: project.registry.alias(model, alias) for alias in (CHAMPION, CHALLENGER)}
    with project.database.read() as connection:
        document = model_document(connection, model, aliases=aliases, limit=None if every else limit)
    if as_json:
        output.print_json(document)
        return
    output.print_lines([f"{model}: champion {aliases[CHAMPION] or 'none'}, challenger {aliases[CHALLENGER] or 'none'}"])
    print_table(
        [
            Column("version"),
            Column("state"),
            Column("verdict"),
            Column("interval"),
            Column("run"),
            Column("registered", spare=True),
            Column("digest", spare=True),
        ],
        [
            (
                version["version"],
                output.state(version["state"]),
                output.state(version["verdict"]),
                output.safe(version["interval"] and version["interval"]["start"][:10]),
                output.safe(version["run_id"] or (None if version["origin"] == "run" else version["origin"])),
                output.when(version["registered_at"]),
                version["digest"][:12],
            )
            for version in document["versions"]
        ],
    )
    left_out = document["versions_total"] - len(document["versions"])
    if left_out:
        output.note(f"{left_out:,} of {document['versions_total']:,} versions are not shown; `--all` shows every one.")


@app.command()
def history(
    model: Model,
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="So many of the newest facts alone.")] = None,
    as_json: Json = False,
) -> None:
    """Show every fact about a model's champion, oldest first.

    Facts are moves, refusals, blocks and what lifted them.

    Example: podium models history flight_delay --limit 20
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.registry import history as registry_history
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        told = (
            registry_history.entries(connection, model)
            if limit is None
            else registry_history.newest_entries(connection, model, limit)
        )
        entries = [entry.to_document() for entry in told]
        if not entries:
            _require_known(connection, model)
    if as_json:
        output.print_json(entries)
        return
    if not entries:
        output.note(f"Nothing was decided about {model} yet.")
        return
    print_table(
        [
            Column("id", right=True, spare=True),
            Column("at"),
            Column("action"),
            Column("state"),
            Column("from"),
            Column("to"),
            Column("actor", wraps=True),
            Column("reason", wraps=True),
            Column("hash", spare=True),
        ],
        [
            (
                str(entry["id"]),
                output.when(entry["at"]),
                entry["action"],
                output.state(entry["state"]),
                output.safe(entry["from_version"]),
                output.safe(entry["to_version"]),
                output.safe(entry["actor"]),
                output.safe(entry["reason"]),
                entry["hash"][:12],
            )
            for entry in entries
        ],
    )
    if not all(entry["actor_verified"] for entry in entries):
        output.note("Nobody verified who the actors are; `--json` says of which.")


@app.command()
def verify(
    model: Model,
    expect_head: Annotated[
        str | None,
        typer.Option(metavar="HEAD", help="What this printed earlier: the history up to there must be the same."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Check that a model's history is whole and unchanged.

    Exits 1 and names the first bad entry if it is not. Note the head that it prints where nobody can change it, and
    give it back with --expect-head: that also shows a history that was rewritten whole.

    Example: podium models verify flight_delay
    """
    from podium.cli import output
    from podium.registry.verification import Head, verify
    from podium.wiring.project import open_project

    noted = None if expect_head is None else Head.parse(expect_head)
    with open_project().database.read() as connection:
        verification = verify(connection, model, noted)
        if verification.ok and not verification.entries:
            _require_known(connection, model)
    document = verification.to_document()
    if as_json:
        output.print_json(document)
    elif verification.ok:
        output.print_lines(
            [
                f"The history of {model} is whole: {document['entries']} entries, each hash as it must be.",
                *([f"head {document['head']}"] if document["head"] else []),
            ]
        )
    else:
        output.print_lines([f"The history of {model} was changed: {verification.problem}"])
    if not verification.ok:
        raise typer.Exit(1)


@app.command()
def unblock(
    model: Model,
    version: Annotated[str, typer.Option(help="The blocked version.")],
    reason: Reason,
    *,
    as_json: Json = False,
) -> None:
    """Let a version that was rolled back be promoted again.

    Example: podium models unblock flight_delay --version 2 --reason "the outage was the network's"
    """
    from podium.cli import output
    from podium.cli.promotions import said_by
    from podium.wiring.project import open_project

    project = open_project()
    entry = project.promotions.unblock(model, version, **said_by(project, reason)).to_document()
    if as_json:
        output.print_json(entry)
    else:
        output.print_lines([f"Version {version} of {model} may be promoted again."])


def _require_known(connection: Any, model: str) -> None:
    from podium.errors import NotFound
    from podium.registry import store

    if store.is_known(connection, model):
        return
    names = store.model_names(connection)
    known = f"the models are {', '.join(names)}" if names else "no version of any model was registered yet"
    raise NotFound(f"There is no model {model!r}; {known}.")
