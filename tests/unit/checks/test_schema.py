import sys
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest
from pandera.config import config_context

from podium.checks import SchemaCheck
from podium.errors import ConfigurationError, UsageError

FLIGHTS = pa.DataFrameSchema(
    {
        "carrier": pa.Column(str, pa.Check.isin(["UA", "DL"])),
        "distance": pa.Column(float, pa.Check.gt(0)),
    }
)


def flights(carrier: list[Any], distance: list[Any], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"carrier": carrier, "distance": distance, **columns}, index=[7, 8, 9])


FITTING = flights(["UA", "DL", "UA"], [1.0, 2.0, 3.0])


def test_a_frame_that_fits_passes() -> None:
    finding = SchemaCheck(FLIGHTS).look(FITTING)
    assert (finding.outcome, finding.reason) == ("passed", "3 rows fit the schema")


def test_all_failures_are_told_with_failing_values_and_row_labels() -> None:
    finding = SchemaCheck(FLIGHTS).look(flights(["UA", "ZZ", None], [-1.0, 2.0, -3.0]))
    assert finding.outcome == "failed"
    assert "distance: greater_than(0) does not hold in 2 of 3 rows, as for -1.0" in finding.reason
    assert "carrier: not_nullable does not hold in 1 of 3 rows, as for null" in finding.reason
    assert "carrier: isin(['UA', 'DL']) does not hold in 1 of 3 rows, as for 'ZZ'" in finding.reason
    told = [(each.row, dict(each.values)) for each in finding.examples]
    assert len(told) == 4
    assert {"carrier", "distance"} == {next(iter(values)) for _, values in told[:2]}
    for expected in ((7, {"distance": -1.0}), (9, {"distance": -3.0}), (8, {"carrier": "ZZ"}), (9, {"carrier": None})):
        assert expected in told


def test_a_model_is_taken_as_a_schema_is() -> None:
    class Flights(pa.DataFrameModel):
        distance: float = pa.Field(gt=2.5)

    finding = SchemaCheck(Flights).look(FITTING)
    assert (finding.outcome, [each.row for each in finding.examples]) == ("failed", [7, 8])


def test_columns_and_types_are_told() -> None:
    schema = pa.DataFrameSchema({"carrier": pa.Column(int), "origin": pa.Column(str)}, strict=True)
    reason = SchemaCheck(schema).look(FITTING).reason
    assert "there is no column 'origin'" in reason
    assert "the column 'distance' is not in the schema" in reason
    assert "carrier" in reason
    assert "int64" in reason


def test_what_concerns_several_columns_or_the_index_is_told() -> None:
    schema = pa.DataFrameSchema(
        unique=["carrier"],
        index=pa.Index(int, pa.Check.lt(9)),
        checks=pa.Check(lambda rows: rows["distance"] < 3, name="near"),
    )
    finding = SchemaCheck(schema).look(FITTING)
    assert "carrier: multiple_fields_uniqueness does not hold in 2 of 3 rows" in finding.reason
    assert "index: less_than(9) does not hold in 1 of 3 rows, as for 9" in finding.reason
    assert "near does not hold in 1 of 3 rows" in finding.reason


def test_a_check_of_the_whole_column_has_no_example() -> None:
    schema = pa.DataFrameSchema({"distance": pa.Column(float, pa.Check(lambda column: column.mean() > 9, error="far"))})
    finding = SchemaCheck(schema).look(FITTING)
    assert (finding.outcome, finding.examples) == ("failed", ())
    assert "far" in finding.reason


def test_many_failures_are_counted_beyond_the_first() -> None:
    schema = pa.DataFrameSchema({name: pa.Column(int) for name in "abcdefgh"})
    assert SchemaCheck(schema).look(FITTING).reason.endswith("no column 'e'; and 3 more")


def test_a_check_that_raises_is_unknown_and_hides_no_failure() -> None:
    raising = pa.Check(lambda column: 1 / len(column[:0]), name="ratio")
    finding = SchemaCheck(pa.DataFrameSchema({"distance": pa.Column(float, raising)})).look(FITTING)
    assert finding.outcome == "unknown"
    assert finding.reason == 'distance: ratio could not be asked: ZeroDivisionError("division by zero")'
    both = pa.DataFrameSchema({"distance": pa.Column(float, [raising, pa.Check.gt(2)])})
    assert SchemaCheck(both).look(FITTING).outcome == "failed"


def test_no_rows_fit_without_anybody_having_looked() -> None:
    assert SchemaCheck(FLIGHTS).look(FITTING.head(0)).outcome == "unknown"
    assert SchemaCheck(FLIGHTS).look(FITTING.head(0)[["carrier"]]).outcome == "failed"


@pytest.mark.parametrize("options", [{"validation_enabled": False}, {"validation_depth": "SCHEMA_ONLY"}])
def test_pandera_set_to_look_at_less_is_unknown(options: dict[str, Any]) -> None:
    with config_context(**options):
        finding = SchemaCheck(FLIGHTS).look(flights(["ZZ"] * 3, [-1.0] * 3))
    assert finding.outcome == "unknown"
    assert "PANDERA_VALIDATION_ENABLED" in finding.reason


def test_rows_that_a_schema_would_drop_are_a_failure() -> None:
    schema = pa.DataFrameSchema({"distance": pa.Column(float, pa.Check.gt(2))}, drop_invalid_rows=True)
    finding = SchemaCheck(schema).look(FITTING)
    assert (finding.outcome, finding.reason) == ("failed", "the schema would drop 2 of 3 rows that do not fit")


def test_the_frame_stays_as_it_is() -> None:
    frame = flights(["UA"] * 3, ["1", "2", "3"])
    before = frame.copy()
    schema = pa.DataFrameSchema({"distance": pa.Column(float)}, coerce=True)
    assert SchemaCheck(schema).look(frame).outcome == "passed"
    pd.testing.assert_frame_equal(frame, before)


def test_without_pandera_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check = SchemaCheck(FLIGHTS)
    monkeypatch.setitem(sys.modules, "pandera", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'podium\[checks\]'"):
        check.look(FITTING)


@pytest.mark.parametrize("schema", [None, {"distance": float}, pd.DataFrame, "flights"])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(UsageError, match="give a pandera DataFrameSchema or DataFrameModel"):
        SchemaCheck(schema)
