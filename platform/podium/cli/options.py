"""Options that several commands share."""

from typing import Annotated

import typer

from podium.errors import UsageError


def _not_blank(reason: str) -> str:
    if not reason.strip():
        raise UsageError("The reason is empty; say why with --reason, it is kept with what was done.")
    return reason


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with what was done.", callback=_not_blank)]
