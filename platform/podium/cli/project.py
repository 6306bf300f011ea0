"""`podium init`: a new project."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; made if it is not there.")] = Path(),
) -> None:
    """Make a project with a small pipeline that runs at once.

    Writes podium.toml, prices.yaml and pipelines/digits.py; what is there already is not overwritten.

    Example: podium init my-project
    """
    from podium.cli import output
    from podium.cli.template import create_project

    made = create_project(folder)
    output.print_lines([f"Made {path}" for path in made])
    step_in = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    output.print_lines(["Run it:", f"  {step_in}podium run digits --for 2026-10"])
