import pandas as pd
import pytest

from podium.checks import Volume
from podium.errors import UsageError


def rows(count: int) -> pd.DataFrame:
    return pd.DataFrame({"x": range(count)})


@pytest.mark.parametrize(
    ("check", "count", "outcome", "reason"),
    [
        (Volume(at_least=1_000), 1_000, "passed", "1,000 rows ≥ 1,000 required"),
        (Volume(at_least=1_000), 999, "failed", "999 rows < 1,000 required"),
        (Volume(at_least=2, at_most=3), 3, "passed", "3 rows ≥ 2 required and ≤ 3 allowed"),
        (Volume(at_most=3), 4, "failed", "4 rows > 3 allowed"),
        (Volume(), 0, "failed", "0 rows < 1 required"),
        (Volume(at_least=0), 0, "passed", "0 rows ≥ 0 required"),
    ],
)
def test_rows_are_held_to_their_limits(check: Volume, count: int, outcome: str, reason: str) -> None:
    finding = check.look(rows(count))
    assert (finding.outcome, finding.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("count", "outcome", "change"),
    [
        (120, "passed", "0.200 ≤ 0.200 allowed (120 rows, 20 more than the 100 of the reference)"),
        (121, "failed", "0.210 > 0.200 allowed (121 rows, 21 more than the 100 of the reference)"),
        (79, "failed", "0.210 > 0.200 allowed (79 rows, 21 fewer than the 100 of the reference)"),
        (100, "passed", "0.000 ≤ 0.200 allowed (100 rows, as many as the 100 of the reference)"),
    ],
)
@pytest.mark.parametrize("reference", [100, rows(100)["x"].count(), rows(100)], ids=["count", "numpy", "frame"])
def test_a_change_is_a_share_of_the_reference(count: int, outcome: str, change: str, reference: int) -> None:
    finding = Volume(reference=reference, change_at_most=0.2).look(rows(count))
    assert (finding.outcome, finding.reason) == (outcome, f"share of change {change}")


@pytest.mark.parametrize("reference", [None, 0])
def test_without_a_reference_the_change_is_unknown(reference: int | None) -> None:
    finding = Volume(reference=reference, change_at_most=0.2).look(rows(5))
    assert finding.outcome == "unknown"
    assert "reference" in finding.reason


def test_a_limit_that_fails_is_told_before_an_unknown_change() -> None:
    assert Volume(at_least=10, reference=None, change_at_most=0.2).look(rows(5)).outcome == "failed"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"at_least": -1}, "at_least=-1"),
        ({"at_least": "many"}, "at_least='many'"),
        ({"at_least": 5, "at_most": 4}, "at_most=4"),
        ({"reference": 100}, "change_at_most=0.2 to allow"),
        ({"reference": 100, "change_at_most": float("nan")}, "change_at_most=nan"),
        ({"reference": object(), "change_at_most": 0.1}, "reference=<object"),
        ({"reference": -1, "change_at_most": 0.1}, "reference=-1"),
        ({"severity": "fatal"}, "'fatal'; write 'stop' or 'warn'"),
        ({"name": 3}, "named 3"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Volume(**options)  # type: ignore[arg-type]
