"""The report as Markdown. Text of the data is escaped where it could be markup, and left readable where it is not."""

import re
from collections.abc import Iterator, Mapping, Sequence

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

_MARKUP = re.compile(
    r"[\\`*|\[\]~$]"
    r"|<(?=[A-Za-z/!?])"  # "0.571 < 0.580" opens no tag
    r"|&(?=#?\w+;)"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # log_loss is no emphasis
)
_BEGINS_A_BLOCK = re.compile(r"^(?:>|[#+=-]+(?= |$)|(\d+)(?=[.)](?: |$)))")


def written(page: Page, pictures: Mapping[str, str]) -> str:
    """Return the page as Markdown; `pictures` is where each plot's file lies, and one that is absent is left out."""
    parts = [f"# {escaped(page.title)}", f"**{page.verdict}**: {escaped(page.sentence)}"]
    for section in page.sections:
        parts.extend(_section(section, pictures))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    r"""Return text that Markdown shows as it is.

    >>> print(escaped("AUC 0.571 < 0.580, not <script>"), escaped("[x](y) of log_loss"))
    AUC 0.571 < 0.580, not \<script> \[x\](y) of log_loss
    """
    safe = _MARKUP.sub(lambda found: f"\\{found[0]}", visible(text))
    return _BEGINS_A_BLOCK.sub(lambda found: f"{found[1]}\\" if found[1] else f"\\{found[0]}", safe)


def _section(section: Section, pictures: Mapping[str, str]) -> Iterator[str]:
    yield f"## {escaped(section.title)}"
    for block in section.blocks:
        if text := _block(block, pictures):
            yield text


def _block(block: Block, pictures: Mapping[str, str]) -> str:
    match block:
        case Paragraph():
            return f"> {escaped(block.text)}" if block.warns else escaped(block.text)
        case Bullets():
            return "\n".join(f"- {escaped(item)}" for item in block.items)
        case Facts():
            return "\n".join(f"- {escaped(name)}: {_text(fact)}" for name, fact in block.pairs)
        case Table():
            return "\n".join(_table(block))
        case Commands():
            return "\n".join(["```sh", *(visible(line) for line in block.lines), "```"])
        case Plot():
            where = pictures.get(block.name)
            return "" if where is None else f"![{escaped(block.title)}. {escaped(block.description)}]({where})"


def _table(table: Table) -> Iterator[str]:
    yield _cells([escaped(name) for name in table.heading])
    yield _cells(["--:" if index >= table.numbers_from else "---" for index in range(len(table.heading))])
    for row in table.rows:
        yield _cells([escaped(cell) for cell in row])


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: Text) -> str:
    if not isinstance(text, Code):
        return escaped(text)
    inside = visible(text.text)
    fence = "`" * (max((len(ticks) for ticks in re.findall("`+", inside)), default=0) + 1)
    return f"{fence} {inside} {fence}" if inside.startswith("`") or inside.endswith("`") else f"{fence}{inside}{fence}"
