"""`podium models provenance`: where a version comes from and what became of it, in one document."""

from pathlib import Path
from typing import Annotated

import typer

from podium.cli.options import Json


def provenance(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version.")],
    output_file: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the JSON document to a file, all or nothing.")
    ] = None,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the registry: leaves out files, environment and signature.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a version's provenance.

    Data, code, run, evidence, sign-off, canary, aliases and cost. The document has a schema
    (docs/provenance.schema.json) and carries its own digest.

    Example: podium models provenance flight_delay 3 --output flight_delay-3.json
    """
    import json

    from podium.cli import output
    from podium.wiring import provenance as wired
    from podium.wiring.project import open_project

    project = open_project()
    registry = None if offline else project.registry
    document = wired.provenance(project.database, registry, project.clock, model, version)
    if output_file is not None:
        _write(output_file, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if as_json:
        output.print_json(document)
    elif output_file is not None:
        output.print_lines([f"{output_file}: provenance of {model} version {version}, {document['document_digest']}"])
    else:
        from podium.cli.provenance_tree import lines

        output.print_lines(lines(document))


def _write(file: Path, text: str) -> None:
    """Write a file that is there complete or not at all."""
    scratch = file.with_name(f".{file.name}.new")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)
