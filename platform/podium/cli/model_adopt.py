"""`podium models adopt`: take over a model that was in the registry before Podium."""

from typing import Annotated, Any

import typer

from podium.cli.options import Json, Reason


def adopt(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name in the registry.")],
    reason: Reason,
    version: Annotated[
        list[str] | None, typer.Option(metavar="VERSION", help="A version besides champion and challenger; repeatable.")
    ] = None,
    champion_alias: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The alias whose version becomes champion where the registry has none."),
    ] = None,
    champion_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The version that becomes champion where there is none.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Take over every version.")] = False,
    as_json: Json = False,
) -> None:
    """Put versions on record that Podium did not register.

    Accepts the champion that the registry has. Without options the versions named champion and challenger. No alias is
    moved; champion is set only where there is none and an option says which version it is. Champion and challenger are
    scanned, not loaded. Exits 1 if a version could not be taken over, 3 if a rule of the project refused it.

    Example: podium models adopt flight_delay --champion-alias production --reason "served before Podium"
    """
    from podium.cli import output
    from podium.errors import UsageError
    from podium.registry.adoption import AdoptionService, Choice
    from podium.settings.approvals import of_model
    from podium.wiring.environments import environment_path
    from podium.wiring.model_scan import trust_of
    from podium.wiring.project import open_project

    if champion_alias is not None and champion_version is not None:
        raise UsageError("Give --champion-alias or --champion-version, not both: one version becomes champion.")
    project = open_project()
    service = AdoptionService(
        project.database,
        project.registry,
        project.clock,
        project.promotions,
        trust=trust_of(project),
        is_governed=lambda name: of_model(project.settings.approvals, name) is not None,
        model_before=environment_path(project.settings).before,
    )
    adoption = service.adopt(
        model,
        Choice(tuple(version or ()), everything, champion_alias, champion_version),
        actor=project.actor.name,
        actor_verified=project.actor.verified,
        reason=reason,
    )
    document = adoption.to_document()
    if as_json:
        output.print_json(document)
    else:
        _print(document)
    if not adoption.complete:
        raise typer.Exit(3 if adoption.refused_by_policy else 1)


def _print(document: dict[str, Any]) -> None:
    from podium.cli import output
    from podium.cli.tables import Column, print_table

    if document["versions"]:
        print_table(
            [Column("version"), Column("outcome"), Column("digest"), Column("notes", wraps=True)],
            [
                (
                    each["version"],
                    output.state(each["outcome"]),
                    output.safe(each["digest"] and each["digest"][:12]),
                    output.safe(" ".join(each["notes"])),
                )
                for each in document["versions"]
            ],
        )
    entry, champion = document["entry"], document["champion"]
    refused = [each["version"] for each in document["versions"] if each["outcome"] == "refused"]
    if document["alias_set"]:
        output.print_lines([f"{document['model']}: the alias champion was set to version {champion}; it had none."])
    if entry is not None:
        before = entry["from_version"] or "none"
        output.print_lines([f"{document['model']}: champion on record {before} → {champion or 'none'}"])
    elif champion is not None and champion not in refused:
        output.print_lines([f"{document['model']}: champion {champion}, nothing new about it for the history"])
    for note in document["notes"]:
        output.note(note)
