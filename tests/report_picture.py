"""Draw the report of August's candidate of the demo: `python -m tests.report_picture` renews docs/images/report.png.

It judges with a guard and slices, which the demo itself does without. Needs Chromium.
"""

import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

from pipelines._flights import TIME_ZONE
from pipelines.flight_delay import LABEL, Months, train, validate
from podium import Interval
from podium.ids import digest_bytes
from podium.registry.evaluation import evaluate
from podium.registry.metrics import Metric
from podium.registry.policy import GatePolicy, Guard
from podium.registry.report import Circumstances, Report, render

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "report.png"
SIZE = "1020,1800"


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(august().html, encoding="utf-8")
        browser = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}"]
        subprocess.run([browser, *options, f"--screenshot={PICTURE}", page.as_uri()], check=True)


def august() -> Report:
    """Return the report of the model of August against that of July."""
    champion, _ = fitted(7)
    candidate, data = fitted(8)
    policy = GatePolicy(
        primary=Metric.AUC,
        floors={Metric.AUC: 0.58},
        guards=(Guard(metric=Metric.LOG_LOSS, margin=0.01), Guard(metric=Metric.ACCURACY)),
        slices=("carrier", "origin"),
    )
    holdout_digest = digest_of(data.holdout)
    evidence = evaluate(
        candidate,
        champion,
        data.holdout,
        label=LABEL,
        model="flight_delay",
        policy=policy,
        candidate_digest=digest_of(data.history),
        champion_version="1",
        holdout_digest=holdout_digest,
        holdout_uses=0,
        seed=int(holdout_digest[:8], 16),
    )
    return render(
        evidence,
        Circumstances(
            run_id="01kd8v3tdtmg18hxa8",
            pipeline="flight_delay",
            interval="2013-08",
            version="2",
            data_digest=digest_of(data.history),
            recorded_at=datetime(2013, 9, 1, 10, 0, tzinfo=UTC),
        ),
    )


def fitted(month: int) -> tuple[object, Months]:
    """Return the model of a month of 2013, and what it was made of."""
    zone = ZoneInfo(TIME_ZONE)
    data = validate(Interval(datetime(2013, month, 1, tzinfo=zone), datetime(2013, month + 1, 1, tzinfo=zone)))
    return train(data.history), data


def digest_of(frame: pd.DataFrame) -> str:
    """Return a digest of the rows."""
    return digest_bytes(pd.util.hash_pandas_object(frame).to_numpy().tobytes())


if __name__ == "__main__":
    main()
