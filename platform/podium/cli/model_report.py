"""`podium models report`: what a candidate was judged on, as a page to read, to keep and to show."""

from pathlib import Path
from typing import Annotated

import typer

from podium.cli.options import Json


def report(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="A version that Podium registered.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Instead of a version: the candidate of a run, also a rejected one."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with plots that needs no network.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write Markdown, and the plots beside it as SVG.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show what a version or a rejected candidate was judged on.

    Of a version that another environment's gate kept out: that environment's MODEL, and the run that made the version.

    Without a file it prints Markdown. Only Podium's database is read; the same report lies in MLflow, with the run that
    holds the model, under podium/gate.

    Example: podium models report flight_delay 3 --html report.html
    """
    from podium.cli import output
    from podium.errors import UsageError
    from podium.registry.report import render
    from podium.wiring.judgements import judgement_of_run, judgement_of_version
    from podium.wiring.project import open_project

    if (version is None) == (run is None):
        raise UsageError(f"Say which candidate for {model} you mean: a VERSION, or the run that judged it with --run.")
    with open_project().database.read() as connection:
        if version is not None:
            found = judgement_of_version(connection, model, version)
        else:
            found = judgement_of_run(connection, model, run or "")
    if as_json:
        output.print_json(found.to_document())
    rendered = render(found.evidence, found.about, name=markdown.stem if markdown is not None else "report")
    if html is not None:
        _write(html, rendered.html)
    if markdown is not None:
        _write(markdown, rendered.markdown)
        for name, svg in rendered.plots.items():
            _write(markdown.with_name(name), svg)
    if html is None and markdown is None and not as_json:
        output.write(rendered.text)


def _write(path: Path, text: str) -> None:
    from podium.cli import output
    from podium.errors import UsageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The report cannot be written to {path}: {error.strerror}. Name another file.") from None
    output.note(f"Written: {path}")
