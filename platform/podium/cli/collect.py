"""`podium gc`: free what nothing needs any more."""

from typing import Annotated, Any

import typer

from podium.cli.options import Json


def collect(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why the rest stays.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what nothing needs any more.

    Artifacts that a model version, a canary, the history or an open run refers to stay; the others, and logs, stay as
    long as the setting artifact_retention says. Nothing younger than a day is touched, and no row is deleted.

    Example: podium gc --dry-run
    """
    from podium.cli import output
    from podium.wiring.collection import collect as collect_all
    from podium.wiring.project import open_project

    document = collect_all(open_project(), dry_run=dry_run)
    if as_json:
        output.print_json(document)
        return
    output.print_lines(_lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from podium.cli.output import memory

    verb = "Would remove" if document["dry_run"] else "Removed"
    gone = [
        (document["removed"], "artifacts that nothing needs"),
        (document["unrecorded"], "artifacts of attempts that did not end well"),
        ({"count": document["left_behind"]["files"], **document["left_behind"]}, "scratch files and old copies"),
        ({"count": document["logs"]["files"], **document["logs"]}, "logs of runs that ended before that"),
    ]
    lines = [f"{document['artifacts']}: what no run needed for {document['retention']} goes."]
    lines += [f"{verb} {each['count']:,} {what}, {memory(each['size_bytes'])}" for each, what in gone]
    lines.append(f"{verb} {document['lock_files']:,} lock files of dead workers")
    lines += [
        f"Kept {each['count']:,} artifacts, {memory(each['size_bytes'])}: {each['reason']}" for each in document["kept"]
    ]
    return lines
