"""`podium artifacts`: what steps stored, who made it and who read it."""

from typing import Annotated, Any

import typer

from podium.cli.options import Json

app = typer.Typer(
    help="Artifacts: what steps stored.\n\nExample: podium artifacts list 0j9x3k",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or the beginning or end of it.")],
    *,
    as_json: Json = False,
) -> None:
    """List what the steps of a run stored.

    Example: podium artifacts list 0j9x3k
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.execution import queries
    from podium.wiring.artifact_documents import artifacts_of_run
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        documents = artifacts_of_run(connection, queries.get_run(connection, run_id).run_id)
    if as_json:
        output.print_json(documents)
        return
    if not documents:
        output.note("No step of this run has stored anything.")
        return
    print_table(
        [
            Column("step"),
            Column("output"),
            Column("digest"),
            Column("codec"),
            Column("bytes", right=True),
            Column("kept", spare=True),
        ],
        [
            (
                output.safe(each["step"]),
                output.safe(each["output"]),
                each["digest"][:12],
                each["codec"],
                f"{each['size_bytes']:,}",
                each["kept"],
            )
            for each in documents
        ],
    )


@app.command()
def show(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="The digest, or the beginning of it.")],
    *,
    as_json: Json = False,
) -> None:
    """Show where an artifact lies, who made it and who read it.

    Example: podium artifacts show 3f7a9c21
    """
    from podium.cli import output
    from podium.wiring.artifact_documents import artifact_document
    from podium.wiring.project import open_project

    project = open_project()
    with project.database.read() as connection:
        document = artifact_document(connection, digest, where=project.blobs.shown)
    if as_json:
        output.print_json(document)
    else:
        output.print_lines(_lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from podium.cli.output import when

    if document["removed_at"] is not None:
        where = f"removed by `podium gc` at {when(document['removed_at'])}"
    else:
        where = f"in {document['where']}"
    lines = [
        f"{document['digest']}",
        f"{document['codec']}, {document['size_bytes']:,} bytes, stored {when(document['stored_at'])}, {where}",
    ]
    for verb, names, attempts in (("made", "outputs", "made_by"), ("read", "parameters", "read_by")):
        lines += [
            f"{verb} by attempt {each['attempt']} of {each['step']} in run {each['run_id']} of {each['pipeline']} "
            f"({each['state']}), as {', '.join(each[names])}"
            for each in document[attempts]
        ]
    lines += [
        f"taken over by {each['step']} in run {each['run_id']}, as {each['output']}"
        for each in document["taken_over_by"]
    ]
    if not document["read_by"]:
        lines.append("read by no attempt on record")
    return lines
