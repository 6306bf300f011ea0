"""`podium doctor` and `podium models doctor`: what is wrong, and the command that repairs it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.options import Json

if TYPE_CHECKING:
    from podium.registry.doctor import Finding


def doctor(*, as_json: Json = False) -> None:
    """Look for whatever is wrong with the project.

    Database, prices, pipelines, schedules, gates, models: each finding names the object and the repair. Nothing is
    repaired. Exits 1 if something was found.

    Example: podium doctor
    """
    from podium.cli import output
    from podium.wiring.doctor import project_findings
    from podium.wiring.project import open_project

    _report(project_findings(open_project(), output.note), as_json=as_json, well="Nothing is wrong with the project.")


def of_models(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="The model's name; all, without one.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Look at every version; that reads all their files.")] = False,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with models.

    Aliases that point nowhere, moves made outside Podium, versions, files and runs that are gone, files that were
    changed, models that do not load, a history that was changed, promotions and canaries left open. Looked at are the
    champion, the challenger and the last champions; with --all, every version. Exits 1 if something was found.

    Example: podium models doctor flight_delay
    """
    from podium.cli import output
    from podium.wiring.doctor import model_findings
    from podium.wiring.project import open_project

    found = model_findings(open_project(), model, every=every, say=output.note)
    _report(found, as_json=as_json, well=f"Nothing is wrong with {model or 'the models'}.")


def _report(findings: Iterable["Finding"], *, as_json: bool, well: str) -> None:
    from podium.cli import output

    found = list(findings)
    if as_json:
        output.print_json({"ok": not found, "findings": [finding.to_document() for finding in found]})
    else:
        output.print_lines([f"{finding.check}: {finding}" for finding in found] or [well])
    if found:
        raise typer.Exit(1)
