"""Tables for people: what names a thing is never cut, prose wraps, and a narrow screen loses what it can spare.

Where that is not enough, words of prose that are longer than their column go on in the next line.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from podium.cli import output

_GAP = 2
_LEAST_PROSE = 20


@dataclass(frozen=True)
class Column:
    """A column: `wraps` if it holds prose, `spare` if a screen too narrow for all columns may do without it."""

    name: str
    right: bool = False
    wraps: bool = False
    spare: bool = False


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, total: Sequence[str] | None = None
) -> None:
    """Print rows of markup under their columns, and `total` below a gap.

    Where stdout is no terminal every column is printed, however wide that becomes.
    """
    console = output.console()
    body = [*rows, *([total] if total else [])]
    texts = [[column.name, *(row[index] for row in body)] for index, column in enumerate(columns)]
    widest = [max(map(_width, cells)) for cells in texts]
    least = [
        min(widest[index], max(_LEAST_PROSE, _longest_word(texts[index]))) if column.wraps else widest[index]
        for index, column in enumerate(columns)
    ]
    shown = _fitting(columns, least, console.width if console.is_terminal else sys.maxsize)
    if console.is_terminal and sum(least[index] for index in shown) + _GAP * (len(shown) - 1) > console.width:
        least = [min(width, _LEAST_PROSE) if columns[index].wraps else width for index, width in enumerate(least)]
    room = console.width - _GAP * (len(shown) - 1) - sum(least[index] for index in shown)
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for index in shown:
        column = columns[index]
        more = max(0, min(widest[index] - least[index], room))
        room -= more
        align: JustifyMethod = "right" if column.right else "left"
        made.add_column(
            column.name, justify=align, width=least[index] + more, no_wrap=not column.wraps, overflow="fold"
        )
    made.width = sum(column.width or 0 for column in made.columns) + _GAP * (len(shown) - 1)
    for row in body:
        if row is total:
            made.add_section()
        made.add_row(*(row[index] for index in shown))
    _print(made)


def print_reasons(reasons: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print paragraphs side by side with what each group of them is about; nothing for an empty group."""
    made = Table.grid(padding=(0, _GAP, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column()
    for label, paragraphs in reasons:
        for number, paragraph in enumerate(paragraphs):
            made.add_row("" if number else label, Text(paragraph))
    if made.row_count:
        _print(made)


def _fitting(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """Return the columns that fit: all, or as few spare ones less as it takes, the last of them first."""
    shown = list(range(len(columns)))
    for index in [index for index in reversed(shown) if columns[index].spare]:
        if sum(widths[each] for each in shown) + _GAP * (len(shown) - 1) <= room:
            break
        shown.remove(index)
    return shown


def _width(markup: str) -> int:
    return max(map(cell_len, Text.from_markup(markup).plain.splitlines()), default=0)


def _longest_word(markups: Sequence[str]) -> int:
    return max(cell_len(word) for markup in markups for word in [*Text.from_markup(markup).plain.split(), ""])


def _print(renderable: RenderableType) -> None:
    """Print without the spaces that a table fills its lines with."""
    console = output.console()
    with console.capture() as captured:
        console.print(renderable, crop=False, soft_wrap=False)
    output.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
