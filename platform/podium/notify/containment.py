"""One row that is odd on record keeps nothing else from being told."""

from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

import sqlalchemy as sa

from podium.errors import ServiceUnavailable
from podium.notify.entities import Untold

Given = ParamSpec("Given")
Made = TypeVar("Made")


def contained(
    untold: Untold, make: Callable[Given, Made], *arguments: Given.args, **named: Given.kwargs
) -> Made | Untold:
    """Return what `make` returns, or `untold` with what it raised; an error of the database is raised.

    After such an error PostgreSQL refuses whatever else the transaction would read, so that nothing could be gone on
    with; and it is seldom of one row.
    """
    try:
        return make(*arguments, **named)
    except (ServiceUnavailable, sa.exc.SQLAlchemyError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a row holds, the others are to be told
        return replace(untold, fact=f"{type(error).__name__}: {error}")
