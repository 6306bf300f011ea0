"""Draw the dashboards over the known history: `python -m tests.dashboard_pictures` renews docs/images."""

import tempfile
from pathlib import Path

from dashboards.evaluation import Prometheus
from dashboards.plot import draw
from tests.known_history import known_history
from tests.prometheus_process import prometheus_on

IMAGES = Path(__file__).parent.parent / "docs" / "images"


def main() -> None:
    """Write costs.png and operations.png."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with known_history(folder) as history, prometheus_on(history.openmetrics, folder) as url:
            draw(Prometheus(url), history.page, IMAGES)


if __name__ == "__main__":
    main()
