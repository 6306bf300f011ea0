"""Steps hand values on through a URL as through a folder."""

from pathlib import Path

import pytest

from tests.execution_world import FlowProject


def test_a_run_keeps_its_artifacts_at_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_ARTIFACT_URL", f"local://{tmp_path}/bucket")
    flow = FlowProject(tmp_path / "flows")
    document = flow.run(
        """
import pandas as pd

@step
def make(day: Interval) -> pd.DataFrame:
    return pd.DataFrame({"a": range(200_000)})

@step
def use(frame: pd.DataFrame) -> int:
    frame.loc[0, "a"] = 1  # a step may change what it reads
    frame["twice"] = frame["a"] * 2
    return int(frame["twice"].sum())
---
def flow(day: Interval) -> None:
    use(make(day))
"""
    )
    assert flow.value(document, "use") == 2 + sum(range(0, 400_000, 2))
    assert flow.value(document, "make")["a"].tolist() == list(range(200_000))
    (stored,) = flow.project.blobs.stored()
    assert (tmp_path / "bucket" / stored.digest[:2] / stored.digest).stat().st_size == stored.size_bytes
    assert not (flow.root / ".podium" / "artifacts").exists()
