"""`podium models scan`: what loading a version would import, read without loading it."""

from typing import Annotated

import typer

from podium.cli.options import Json


def scan(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version's number.")],
    *,
    as_json: Json = False,
) -> None:
    """Show what loading a version would import, without loading it.

    Exits 1 if its pickle is dangerous, or if the settings keep it from being loaded.

    Example: podium models scan flight_delay 3
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.wiring.model_scan import scanned
    from podium.wiring.project import open_project

    document = scanned(open_project(), model, version)
    if as_json:
        output.print_json(document)
    else:
        output.print_lines(
            [f"Version {version} of {model} is stored by {document['serialization']}: {_MEANING[document['verdict']]}"]
        )
        if document["imports"]:
            print_table(
                [Column("judgement"), Column("import", wraps=True)],
                [(output.safe(each["judgement"]), output.safe(each["name"])) for each in document["imports"]],
            )
        problems = [f"Problem: {problem}." for problem in document["problems"]]
        refusal = [] if document["objection"] is None else [f"Not loaded: {document['objection']}"]
        output.print_lines([*problems, *refusal])
    if document["verdict"] == "dangerous" or not document["loads"]:
        raise typer.Exit(1)


_MEANING = {
    "clean": "all that it is made of was reviewed.",
    "own_code": "it holds code of its own, which a scan cannot judge.",
    "unreviewed": "it is made of what nobody reviewed.",
    "dangerous": "it is dangerous.",
}
