"""What a page of the report consists of, whatever it is written in."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """Text that a person copies: a digest, a command's word."""

    text: str


Text = str | Code


@dataclass(frozen=True)
class Paragraph:
    """A sentence or more; one that warns is set apart."""

    text: str
    warns: bool = False


@dataclass(frozen=True)
class Bullets:
    """Sentences one below the other."""

    items: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    pairs: Sequence[tuple[str, Text]]


@dataclass(frozen=True)
class Table:
    """Rows below a heading; from the column numbered `numbers_from` on they are numbers, set to the right."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers_from: int = 1


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Plot:
    """A picture as SVG; who cannot see it reads `description`."""

    name: str
    title: str
    description: str
    svg: str


Block = Paragraph | Bullets | Facts | Table | Commands | Plot


@dataclass(frozen=True)
class Section:
    """Blocks below a title."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """The whole report: the verdict in one sentence comes before everything."""

    title: str
    verdict: str
    sentence: str
    sections: Sequence[Section]
