"""From evidence to files: the page in HTML and Markdown, its plots, and the evidence itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from podium.ids import canonical_json
from podium.registry.evidence import Evidence
from podium.registry.report import drawing, html, markdown
from podium.registry.report.blocks import Plot
from podium.registry.report.circumstances import Circumstances
from podium.registry.report.content import page_of

FOLDER = "podium/gate"
"""Where among a run's artifacts the report of its candidate lies."""


@dataclass(frozen=True)
class Report:
    """The report of one judgement.

    `markdown` shows the plots as the files `plots`, which lie beside it; `text` is Markdown without them. `evidence` is
    the evidence in canonical JSON: the SHA-256 of these bytes is its digest.
    """

    html: str
    markdown: str
    text: str
    plots: Mapping[str, str]
    evidence: bytes

    @property
    def files(self) -> dict[str, bytes]:
        """All of it as files of one folder, by name."""
        return {
            "report.html": self.html.encode(),
            "report.md": self.markdown.encode(),
            **{name: svg.encode() for name, svg in self.plots.items()},
            "evidence.json": self.evidence,
        }


def render(evidence: Evidence, about: Circumstances, *, name: str = "report") -> Report:
    """Return the report of a judgement; the plots' files begin with `name`. The same facts give the same bytes."""
    page = page_of(evidence, about)
    plots = {block.name: block for section in page.sections for block in section.blocks if isinstance(block, Plot)}
    files = {each: f"{name}-{each}.svg" for each in plots}
    return Report(
        html=html.written(page),
        markdown=markdown.written(page, {each: quote(file) for each, file in files.items()}),
        text=markdown.written(page, {}),
        plots={files[each]: _alone(plot) for each, plot in plots.items()},
        evidence=canonical_json(evidence.model_dump(mode="json")).encode(),
    )


def _alone(plot: Plot) -> str:
    """Return a plot as a file of its own, with the style that the page gives it otherwise."""
    opening, _, rest = plot.svg.partition(">")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}><style>{drawing.style()}</style>{rest}\n'
