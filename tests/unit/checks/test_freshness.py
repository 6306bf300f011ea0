import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from podium.checks import Freshness
from podium.errors import UsageError

AT = datetime(2013, 4, 1, tzinfo=UTC)


def seen(*times: str | None, zone: str | None = "UTC") -> pd.DataFrame:
    values = pd.to_datetime(pd.Series(times, dtype="object"), format="ISO8601")
    return pd.DataFrame({"seen": values.dt.tz_localize(zone), "flight": range(len(times))})


@pytest.mark.parametrize(("newest", "outcome"), [("2013-03-25", "passed"), ("2013-03-24 23:59:59", "failed")])
def test_the_newest_time_decides_and_the_limit_is_allowed(newest: str, outcome: str) -> None:
    finding = Freshness("seen", within="7d", at=AT).look(seen("2013-01-01", newest, None))
    assert finding.outcome == outcome


def test_a_stale_frame_is_told_with_its_age_and_newest_rows() -> None:
    finding = Freshness("seen", within="7d", at=AT).look(seen("2013-01-01", "2013-03-20", "2013-03-20"))
    assert finding.reason == (
        "the newest time of seen is 12d old > 7d allowed "
        "(2013-03-20T00:00:00+00:00, asked at 2013-04-01T00:00:00+00:00)"
    )
    assert [dict(each.values) for each in finding.examples] == [
        {"seen": "2013-03-20T00:00:00+00:00", "flight": 1},
        {"seen": "2013-03-20T00:00:00+00:00", "flight": 2},
    ]


def test_an_age_barely_above_the_limit_is_told_apart_from_it() -> None:
    finding = Freshness("seen", within="7d", at=AT).look(seen("2013-03-24 23:59:59"))
    assert "7d 1s old > 7d allowed" in finding.reason


def test_a_time_after_the_moment_makes_nothing_fresh() -> None:
    finding = Freshness("seen", within="7d", at=AT).look(seen("2013-01-01", "2099-01-01"))
    assert finding.outcome == "failed"
    assert "1 of 2 rows lie after that moment and count for nothing" in finding.reason
    assert [each.row for each in finding.examples] == [0]


def test_only_times_after_the_moment_leave_the_age_unknown() -> None:
    finding = Freshness("seen", within="7d", at=AT).look(seen("2099-01-01"))
    assert finding.outcome == "unknown"
    assert "no time of seen lies at or before" in finding.reason


def test_a_time_at_the_moment_itself_counts() -> None:
    finding = Freshness("seen", within="7d", at=AT).look(seen("2013-04-01"))
    assert (finding.outcome, finding.reason[:38]) == ("passed", "the newest time of seen is 0s old ≤ 7d")


def test_age_is_elapsed_time_across_a_change_of_the_clocks() -> None:
    new_york = ZoneInfo("America/New_York")
    frame = seen("2013-03-09 12:00", zone="America/New_York")
    check = Freshness("seen", within="23h", at=datetime(2013, 3, 10, 12, tzinfo=new_york))
    assert check.look(frame).outcome == "passed"  # the night was an hour short


@pytest.mark.parametrize("dtype", ["datetime64[ns, UTC]", "datetime64[s, UTC]", "timestamp[us, tz=UTC][pyarrow]"])
def test_every_unit_and_arrow_s_times_are_taken(dtype: str) -> None:
    frame = seen("2013-03-20", None, "2013-03-30").astype({"seen": dtype})
    assert Freshness("seen", within="7d", at=AT).look(frame).outcome == "passed"
    stale = Freshness("seen", within="1d", at=AT).look(frame)
    assert stale.outcome == "failed"
    assert [each.row for each in stale.examples] == [2]


def test_the_index_is_looked_at_where_no_column_is_named() -> None:
    check = Freshness(within="7d", at=AT)
    assert check.name == "freshness of the index"
    frame = seen("2013-03-20", "2013-03-30").set_index("seen")
    assert check.look(frame).outcome == "passed"
    [example] = Freshness(within="1d", at=AT).look(frame).examples
    assert (example.row, dict(example.values)) == ("2013-03-30T00:00:00+00:00", {"flight": 1})
    assert check.look(frame.reset_index()).outcome == "unknown"
    assert check.look(frame.set_index("flight", append=True)).outcome == "unknown"


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (seen("2013-03-30", zone=None), "have no time zone"),
        (seen(None, None), "all 2 times of seen are null"),
        (seen(), "0 rows have no newest time"),
        (pd.DataFrame({"seen": ["2013-03-30"]}), "holds (str|object), not times"),
        (pd.DataFrame({"seen": [AT, "soon"]}, dtype="object"), "holds object, not times"),
        (pd.DataFrame({"seen": [1.0]}), "holds float64, not times"),
        (pd.DataFrame({"sen": [1.0]}), r"no column 'seen' \(did you mean 'sen'\?\)"),
        (pd.DataFrame([[AT, AT]], columns=["seen", "seen"]), "2 columns are called 'seen'"),
    ],
)
def test_what_is_no_instant_leaves_the_age_unknown(frame: pd.DataFrame, told: str) -> None:
    finding = Freshness("seen", within="7d", at=AT).look(frame)
    assert finding.outcome == "unknown"
    assert re.search(told, finding.reason)


@pytest.mark.parametrize("within", ["35d", timedelta(days=35), 35 * 86_400, "840h", "50400m"])
def test_a_duration_may_be_text_seconds_or_a_timedelta(within: Any) -> None:
    assert Freshness("seen", within=within, at=AT).within == timedelta(days=35)


@pytest.mark.parametrize(
    "within", ["", "35", "-1d", "0s", "35 days", 0, -5, timedelta(0), True, None, float("nan"), float("inf"), 1e300]
)
def test_what_is_no_duration_is_refused(within: Any) -> None:
    with pytest.raises(UsageError, match="is no duration above zero"):
        Freshness("seen", within=within, at=AT)


@pytest.mark.parametrize("at", [datetime(2013, 4, 1), "2013-04-01", None])  # noqa: DTZ001 - naive on purpose
def test_a_moment_without_a_zone_is_refused(at: Any) -> None:
    with pytest.raises(UsageError, match="is no moment"):
        Freshness("seen", within="1d", at=at)


@pytest.mark.parametrize("column", ["", 3, ["seen"]])
def test_what_names_no_column_is_refused(column: Any) -> None:
    with pytest.raises(UsageError, match="for a column"):
        Freshness(column, within="1d", at=AT)
