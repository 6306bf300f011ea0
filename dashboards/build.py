"""Write Grafana's dashboards from their definition: `python -m dashboards.build`."""

import json
from pathlib import Path

from dashboards.definition.costs import COSTS
from dashboards.definition.grafana_json import grafana_json
from dashboards.definition.operations import OPERATIONS

DASHBOARDS = (COSTS, OPERATIONS)
FOLDER = Path(__file__).parent / "grafana"


def documents() -> dict[str, str]:
    """Return each dashboard's JSON by the name of its file."""
    return {
        f"{each.uid}.json": json.dumps(grafana_json(each, DASHBOARDS), indent=2, ensure_ascii=False) + "\n"
        for each in DASHBOARDS
    }


def main() -> None:
    """Write the files."""
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
