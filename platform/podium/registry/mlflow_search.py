"""How MLflow is asked for many things: page by page, with the filter language's literals."""

from collections.abc import Callable, Iterator
from typing import Any

from podium.errors import UsageError


def all_pages(search: Callable[..., Any], filter_string: str | None = None) -> Iterator[Any]:
    """Yield everything that a search of MLflow's client finds."""
    token = None
    while True:
        page = search(filter_string=filter_string, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def literal(text: str) -> str:
    """Return `text` as a literal of MLflow's filter language; raises UsageError where it has none.

    >>> literal("flight_delay"), literal("it's")
    ("'flight_delay'", '"it\\'s"')
    """
    for quote in ("'", '"'):
        if quote not in text:
            return f"{quote}{text}{quote}"
    raise UsageError(f"{text!r} holds both kinds of quotation marks, which no name in MLflow may.")
