import io
import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import podium.checks
from podium.checks import (
    CategoryDrift,
    Check,
    CheckResult,
    DataReport,
    Example,
    Finding,
    Freshness,
    NullRate,
    Volume,
    check_data,
)
from podium.checks.running import examine
from podium.errors import DataCheckFailed, UsageError
from podium.execution.codecs import Codecs, decode_json

FRAME = pd.DataFrame({"delay": [1.0, None, 3.0, 4.0], "carrier": ["UA", "DL", "UA", "UA"]})


@dataclass(frozen=True)
class Answers:
    """A check that answers what it is told to."""

    outcome: Any
    severity: Any = "stop"
    name: str = "oracle"

    def look(self, frame: pd.DataFrame) -> Finding:
        return Finding(self.outcome, f"{len(frame)} rows say so", (Example(1, {"delay": None}),))


def test_a_report_of_passed_checks_is_printed_and_returned(capsys: pytest.CaptureFixture[str]) -> None:
    report = check_data(FRAME, [Volume(at_least=2), NullRate("delay", at_most=0.5)], called="history of demand")
    assert report.passed
    assert (report.failed, report.warnings) == ((), ())
    assert capsys.readouterr().out == (
        "history of demand: 4 rows, 2 columns; 2 of 2 checks passed\n"
        "  passed: volume: 4 rows ≥ 2 required\n"
        "  passed: null rate of delay: null rate 0.250 ≤ 0.500 allowed (1 of 4 rows of delay)\n"
    )


def test_what_stops_raises_one_paragraph_and_carries_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    checks: list[Check] = [
        Volume(at_least=10, severity="warn"),
        NullRate("delay", at_most=0.2),
        CategoryDrift("carrier", reference=None),
    ]
    with pytest.raises(DataCheckFailed) as caught:
        check_data(FRAME, checks, called="history of demand")
    assert str(caught.value) == (
        "The history of demand did not pass 2 of 3 data checks: null rate of delay: null rate 0.250 > 0.200 allowed "
        "(1 of 4 rows of delay); category drift of carrier: unknown, which stops as a failure does: there is no "
        "reference to compare the 4 rows of carrier with. Example: row 1: delay = null, carrier = 'DL'. Correct the "
        "data where they come from, or give a check severity='warn' if the run should go on."
    )
    report = caught.value.report
    assert [result.name for result in report.failed] == ["null rate of delay", "category drift of carrier"]
    assert [result.name for result in report.warnings] == ["volume"]
    assert capsys.readouterr().out == (
        "history of demand: 4 rows, 2 columns; 0 of 3 checks passed, 2 stop, 1 warn\n"
        "  warning, failed: volume: 4 rows < 10 required\n"
        "  failed: null rate of delay: null rate 0.250 > 0.200 allowed (1 of 4 rows of delay)\n"
        "      row 1: delay = null, carrier = 'DL'\n"
        "  unknown: category drift of carrier: there is no reference to compare the 4 rows of carrier with\n"
    )
    assert (caught.value.exit_code, caught.value.retryable) == (1, False)


@pytest.mark.parametrize("severity", ["stop", "warn"])
@pytest.mark.parametrize("outcome", ["passed", "failed", "unknown"])
def test_only_what_is_to_stop_and_did_not_pass_stops(outcome: str, severity: str) -> None:
    report = examine(FRAME, [Answers(outcome, severity)])
    [result] = report.results
    bad = outcome != "passed"
    assert report.passed is not (bad and severity == "stop")
    assert report.failed == ((result,) if bad and severity == "stop" else ())
    assert report.warnings == ((result,) if bad and severity == "warn" else ())


def test_a_check_of_one_s_own_stands_beside_podium_s() -> None:
    report = examine(FRAME, [Answers("failed", "warn"), Volume()])
    assert [result.outcome for result in report.results] == ["failed", "passed"]


@pytest.mark.parametrize(
    ("frame", "checks", "told"),
    [
        ({"delay": []}, [Volume()], "The history is a dict; a pandas DataFrame is needed"),
        (FRAME["delay"], [Volume()], "is a Series"),
        (FRAME, [], "No check is given for the history"),
        (FRAME, ["volume"], "'volume' is no check of data"),
        (FRAME, [Volume], "is no check of data"),
        (FRAME, [Answers("failed", "fatal")], "is no check of data"),
        (FRAME, [Answers("fine")], "answered 'fine'"),
        (FRAME, [Volume(), Volume(at_least=3)], "Two checks of the history are named 'volume'"),
    ],
)
def test_what_cannot_be_checked_is_refused(frame: Any, checks: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_data(frame, checks, called="history")


def test_a_single_check_need_not_be_in_a_list_of_one_by_mistake() -> None:
    with pytest.raises(UsageError, match="give a list"):
        check_data(FRAME, cast("Any", Volume()))


def test_checks_of_one_kind_are_told_apart_by_name() -> None:
    report = examine(FRAME, [Volume(name="some"), Volume(at_least=3, name="enough")])
    assert [result.name for result in report.results] == ["some", "enough"]


def test_the_frame_stays_as_it_is() -> None:
    before = FRAME.copy()
    checks: list[Check] = [
        Volume(),
        NullRate("delay", at_most=1),
        CategoryDrift("carrier", reference=["UA"], severity="warn"),
    ]
    examine(FRAME, checks)
    pd.testing.assert_frame_equal(FRAME, before)


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
results = st.builds(
    CheckResult,
    name=st.text(),
    severity=st.sampled_from(["stop", "warn"]),
    outcome=st.sampled_from(["passed", "failed", "unknown"]),
    reason=st.text(),
    examples=st.lists(st.builds(Example, row=plain | st.lists(plain), values=st.dictionaries(st.text(), plain))).map(
        tuple
    ),
)
reports = st.builds(
    DataReport, called=st.text(), rows=st.integers(0), columns=st.integers(0), results=st.lists(results).map(tuple)
)


@settings(max_examples=25, deadline=None)
@given(reports)
def test_a_document_reads_back_as_the_report(report: DataReport) -> None:
    document = json.loads(json.dumps(report.to_document(), allow_nan=False))
    assert DataReport.from_document(document) == report
    assert document["passed"] is report.passed


@pytest.mark.parametrize("change", [{"results": None}, {"rows": "many"}, {"results": [{}]}, {"results": ["x"]}])
def test_a_document_that_is_none_is_refused(change: dict[str, Any]) -> None:
    document = examine(FRAME, [Volume()]).to_document()
    with pytest.raises(UsageError, match="no report of data checks"):
        DataReport.from_document({**document, **change})


def test_an_unknown_outcome_in_a_document_is_refused() -> None:
    document = examine(FRAME, [Volume()]).to_document()
    document["results"][0]["outcome"] = "fine"
    with pytest.raises(UsageError, match="outcome 'fine'"):
        DataReport.from_document(document)


def hostile() -> pd.DataFrame:
    """A frame whose values are whatever a column of objects can hold."""
    values: list[Any] = [None, "\ud800", float("inf"), 10**30, b"\xff", ["x"], datetime(2013, 3, 5, tzinfo=UTC)]
    frame = pd.DataFrame({"gone": [None] * len(values), "any": pd.Series(values, dtype="object"), 3: 1.5})
    return frame.set_index(pd.Index([f"{value}\ud800" for value in values], dtype="object"))


def test_a_step_may_return_a_report_and_gets_it_back() -> None:
    report = examine(hostile(), [NullRate("gone", at_most=0), Freshness("any", within="1d", at=datetime.now(UTC))])
    assert len(report.results[0].examples) == 5
    file = io.BytesIO()
    assert Codecs(trusted_types=()).write(report, file) == "json"
    assert decode_json(file.getvalue()) == report
    assert DataReport.from_document(json.loads(json.dumps(report.to_document(), allow_nan=False))) == report


def test_the_error_travels_between_processes_with_its_report() -> None:
    with pytest.raises(DataCheckFailed) as caught:
        check_data(FRAME, [Volume(at_least=9)])
    back = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made in the line itself
    assert (str(back), back.report) == (str(caught.value), caught.value.report)


def test_a_log_in_ascii_makes_no_error_of_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    check_data(FRAME, [Volume(at_least=2)], called="Zürich")
    assert written.getvalue().splitlines()[0].startswith(b"Z\\xfcrich: 4 rows")


def test_reading_a_report_imports_nothing_heavy() -> None:
    code = (
        "import sys; from podium.checks import DataReport, Example; "
        "print(*sorted({'pandas', 'numpy', 'scipy', 'pandera'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_public_names_are_all_there() -> None:
    for name in podium.checks.__all__:
        assert getattr(podium.checks, name) is not None
    with pytest.raises(AttributeError, match="it has CategoryDrift"):
        _ = podium.checks.Drift  # type: ignore[attr-defined]


def parts_of_flight_delay(rows: int, carrier: str, temp: float | None = 50.0) -> Any:
    flights = pytest.importorskip("pipelines.flight_delay")
    history = pd.DataFrame({"carrier": "UA", "origin": "EWR", "dest": "SFO"}, index=range(rows))
    history = history.assign(temp=temp, wind_speed=5.0, precip=0.0, visib=10.0)
    return flights.Months(history, history.assign(carrier=carrier), history)


def test_the_demo_s_validate_stops_on_missing_data_and_warns_of_moved_carriers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flights = pytest.importorskip("pipelines.flight_delay")
    flights.check_parts(parts_of_flight_delay(10_000, "UA"))
    assert "warning" not in capsys.readouterr().out
    flights.check_parts(parts_of_flight_delay(10_000, "DL"))
    assert "warning, failed: category drift of carrier: drift 1.000 > 0.050 allowed" in capsys.readouterr().out
    with pytest.raises(DataCheckFailed, match="9,999 rows < 10,000 required"):
        flights.check_parts(parts_of_flight_delay(9_999, "UA"))
    with pytest.raises(DataCheckFailed, match=r"history of flight_delay .*10,000 of 10,000 rows of temp"):
        flights.check_parts(parts_of_flight_delay(10_000, "UA", temp=None))


def test_real_flights_are_checked() -> None:
    flights = pytest.importorskip("pipelines._flights")
    frame = flights.read(flights.WEATHER_TABLE)
    newyear = datetime(2014, 1, 1, tzinfo=UTC)
    checks: list[Check] = [
        Volume(at_least=20_000),
        Freshness("time_hour", within="36h", at=newyear),
        NullRate(flights.WEATHER, at_most=0.01),
        CategoryDrift("origin", reference=frame["origin"].head(10_000), at_most=0.1, severity="warn"),
    ]
    report = examine(frame, checks)
    assert [result.outcome for result in report.results] == ["passed", "passed", "passed", "failed"]
