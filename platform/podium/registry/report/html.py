"""The report as one file of HTML: nothing is loaded from anywhere, all text is escaped, plots are part of it."""

from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template

from podium.registry.report import drawing
from podium.registry.report.blocks import (
    Block,
    Bullets,
    Code,
    Commands,
    Facts,
    Page,
    Paragraph,
    Plot,
    Section,
    Table,
    Text,
)
from podium.registry.report.words import visible


def written(page: Page) -> str:
    """Return the page as HTML."""
    template = resources.files("podium.registry.report") / "page.html"
    return Template(template.read_text(encoding="utf-8")).substitute(
        title=_escaped(page.title),
        verdict=_escaped(page.verdict),
        sentence=_escaped(page.sentence),
        plots=drawing.style(),
        sections="\n".join(_section(section) for section in page.sections),
    )


def _escaped(text: str) -> str:
    return escape(visible(text))


def _section(section: Section) -> str:
    return f"<section><h2>{_escaped(section.title)}</h2>{''.join(_block(block) for block in section.blocks)}</section>"


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            kind = ' class="warns"' if block.warns else ""
            return f"<p{kind}>{_escaped(block.text)}</p>"
        case Bullets():
            return f"<ul>{''.join(f'<li>{_escaped(item)}</li>' for item in block.items)}</ul>"
        case Facts():
            pairs = (f"<div><dt>{_escaped(name)}</dt><dd>{_text(fact)}</dd></div>" for name, fact in block.pairs)
            return f"<dl>{''.join(pairs)}</dl>"
        case Table():
            return _table(block)
        case Commands():
            lines = "\n".join(_escaped(line) for line in block.lines)
            return f"<pre><code>{lines}</code></pre>"
        case Plot():
            return f"<figure>{block.svg}<figcaption>{_escaped(block.title)}</figcaption></figure>"


def _table(table: Table) -> str:
    heading = _cells(table.heading, table.numbers_from, "th", ' scope="col"')
    rows = "".join(f"<tr>{_cells(row, table.numbers_from, 'td')}</tr>" for row in table.rows)
    # What is wider than the screen scrolls by itself, also for who has a keyboard only.
    return (
        '<div class="scroll" role="region" aria-label="table" tabindex="0">'
        f"<table><thead><tr>{heading}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cells(texts: Sequence[str], numbers_from: int, name: str, attributes: str = "") -> str:
    kinds = ["", ' class="number"']
    return "".join(
        f"<{name}{attributes}{kinds[index >= numbers_from]}>{_escaped(text)}</{name}>"
        for index, text in enumerate(texts)
    )


def _text(text: Text) -> str:
    return f"<code>{_escaped(text.text)}</code>" if isinstance(text, Code) else _escaped(text)
