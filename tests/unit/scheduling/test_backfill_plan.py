"""What a backfill would do: whole grains over every change of the clocks, an action for each, and an honest bill."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.dag.interval import GRAINS, Grain, Interval, check_grain
from podium.dag.plan import Plan
from podium.errors import InvalidInterval, UsageError
from podium.scheduling.backfill_plan import (
    INTERVAL_LIMIT,
    KnownRun,
    StepHistory,
    decide,
    estimate,
    grains,
    in_order,
    intervals_of,
)
from tests.execution_world import node, plan_of

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
FLOW = plan_of(node("a"), node("b", "a"))
MARCH = [Interval.parse(f"2026-03-0{day}") for day in range(1, 6)]


def plan(grain: Grain = "day", timezone: str = "UTC") -> Plan:
    return replace(FLOW, grain=grain, timezone=timezone)


def known(interval: Interval, state: str, run_id: str = "r", parameters: Mapping[str, Any] | None = None) -> KnownRun:
    return KnownRun(run_id, interval, parameters or {}, state, None)


def actions(runs: dict[Interval, list[KnownRun]], **options: Any) -> list[str]:
    given: dict[str, Any] = {"failed_only": False, "reprocess": False, **options}
    return [f"{each.interval.start.day} {each.action}" for each in decide(MARCH, runs, {}, **given)]


class TestRange:
    @given(
        st.sampled_from(ZONES),
        st.sampled_from(GRAINS),
        st.integers(
            int(datetime(1995, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
        ),
        st.integers(1, 120),
    )
    def test_its_intervals_are_whole_grains_that_follow_each_other_and_cover_it(
        self, zone: str, grain: Grain, seconds: int, count: int
    ) -> None:
        if zone == "Australia/Lord_Howe" and grain == "hour":
            return  # its clocks change by half an hour
        first = last = Interval.around(datetime.fromtimestamp(seconds, ZoneInfo(zone)), grain)
        for _ in range(count - 1):
            last = Interval.around(last.end, grain)
        found = list(grains(first.start, last.end, grain, 1000))
        assert len(found) == count
        assert found[0].start == first.start
        assert found[-1].end.astimezone(UTC) == last.end.astimezone(UTC)
        for before, after in pairwise(found):
            assert before.end.astimezone(UTC) == after.start.astimezone(UTC)
        for each in found:
            check_grain(each, grain, "flow")

    @pytest.mark.parametrize(("zone", "hours"), [("America/New_York", [23, 25]), ("UTC", [24, 24])])
    def test_a_day_on_which_the_clocks_change_is_one_interval(self, zone: str, hours: list[int]) -> None:
        for day, expected in zip(("2026-03-08", "2026-11-01"), hours, strict=True):
            after = datetime.fromisoformat(day) + timedelta(days=1)
            (found,) = intervals_of(day, f"{after:%Y-%m-%d}", plan(timezone=zone), NOW)
            assert (found.end.astimezone(UTC) - found.start.astimezone(UTC)) == timedelta(hours=expected)

    def test_hours_where_the_clocks_change_by_half_of_one_are_refused(self) -> None:
        with pytest.raises(InvalidInterval, match="change by a part of an hour"):
            intervals_of("2026-04-04", "2026-04-07", plan("hour", "Australia/Lord_Howe"), NOW)

    def test_it_ends_before_the_moment_that_to_begins_at(self) -> None:
        found = intervals_of("2026", "2026-04", plan("month"), NOW)
        assert [each.name for each in found] == ["2026-01", "2026-02", "2026-03"]

    @pytest.mark.parametrize(
        ("start", "end", "grain", "words"),
        [
            ("2026-03", "2026-03", "day", "is empty: --to is exclusive"),
            ("2026-04", "2026-03", "day", "is empty"),
            (
                "2026-03-15",
                "2026-05",
                "month",
                "--from 2026-03-15 in UTC; the nearest ones begin at 2026-03 and 2026-04",
            ),
            (
                "2026-03",
                "2026-04-02",
                "week",
                "--from 2026-03 in UTC; the nearest ones begin at 2026-02-23 and 2026-03-02",
            ),
            ("2026-03", "2026-04-02T05", "day", "--to 2026-04-02T05 in UTC; the nearest ones begin at 2026-04-02 and"),
            ("2026-11", "2026-12", "month", "not over yet, .* give --to 2026-11 at most"),
            ("2026-11-01", "2026-11-22", "day", "give --to 2026-11-21 at most"),
            ("2026-03-41", "2026-04", "day", "names no interval"),
        ],
    )
    def test_what_is_no_range_of_the_past_is_refused(self, start: str, end: str, grain: Grain, words: str) -> None:
        with pytest.raises(InvalidInterval, match=words):
            intervals_of(start, end, plan(grain), NOW)

    def test_two_moments_are_not_taken_for_one(self) -> None:
        with pytest.raises(
            UsageError, match=r"--from 2026-01\.\.2026-03 names two moments; give one, as --from 2026-01"
        ):
            intervals_of("2026-01..2026-03", "2026-04", plan(), NOW)

    def test_more_intervals_than_one_transaction_may_hold_are_refused_with_where_to_cut(self) -> None:
        most = intervals_of("2025-01-01", "2026-02-21T16", plan("hour"), NOW)
        assert len(most) == INTERVAL_LIMIT
        with pytest.raises(InvalidInterval, match=r"more than 10,000 hours, .* with --to 2026-02-21T16"):
            intervals_of("2025-01-01", "2026-11", plan("hour"), NOW)

    def test_an_interval_that_has_just_ended_is_in_the_past(self) -> None:
        assert len(intervals_of("2026-11-20", "2026-11-21", plan(), datetime(2026, 11, 21, tzinfo=UTC))) == 1


class TestActions:
    def test_open_runs_are_joined_successes_kept_and_the_rest_made(self) -> None:
        states = ["running", "succeeded", "failed", "cancelled"]
        runs = {day: [known(day, state)] for day, state in zip(MARCH, states, strict=False)}
        assert actions(runs) == ["1 join", "2 keep", "3 run", "4 run", "5 run"]
        assert actions(runs, reprocess=True) == ["1 join", "2 rerun", "3 run", "4 run", "5 run"]
        assert actions(runs, failed_only=True) == ["3 run", "4 run"]

    def test_the_newest_run_with_the_same_parameters_decides_and_an_open_one_with_any(self) -> None:
        first, second, third, *_ = MARCH
        runs = {
            first: [known(first, "failed", "new"), known(first, "succeeded", "old")],
            second: [known(second, "failed", "other", {"depth": 5}), known(second, "succeeded", "same")],
            third: [known(third, "succeeded", "same"), known(third, "queued", "other", {"depth": 5})],
        }
        assert actions(runs)[:3] == ["1 run", "2 keep", "3 join"]
        found = decide(MARCH, runs, {}, failed_only=False, reprocess=False)
        assert [each.known.run_id if each.known else None for each in found[:3]] == ["new", "same", "other"]
        assert actions(runs, failed_only=True) == ["1 run"]

    def test_the_newest_may_have_their_turn_first(self) -> None:
        planned = decide(MARCH, {}, {}, failed_only=False, reprocess=False)
        assert [each.interval.start.day for each in in_order(planned, "newest")] == [5, 4, 3, 2, 1]
        assert in_order(planned[::-1], "oldest") == planned


class TestEstimate:
    def test_it_is_runs_times_mean_costs_and_rounds_of_lanes_times_mean_seconds(self) -> None:
        history = {"a": StepHistory(3, 6.0, Fraction(1)), "b": StepHistory(20, 20.0, Fraction(2, 100))}
        found = estimate(FLOW, 10, 4, history)
        assert found.seconds == 3 * (2.0 + 1.0)
        assert found.cost == Decimal("3.343333333333")  # 10 × (1/3 + 1/1000), rounded once
        assert [(step.name, step.runs, step.wall_seconds) for step in found.steps] == [("a", 3, 2.0), ("b", 20, 1.0)]
        assert found.unknown == []

    def test_a_step_without_history_makes_it_unknown_and_not_smaller(self) -> None:
        found = estimate(FLOW, 10, 4, {"a": StepHistory(3, 6.0, Fraction(1))})
        assert (found.seconds, found.cost, found.unknown) == (None, None, ["b"])

    def test_a_history_without_a_price_leaves_the_time_known(self) -> None:
        history = {"a": StepHistory(3, 6.0, Fraction(1)), "b": StepHistory(2, 2.0, None)}
        found = estimate(FLOW, 1, 4, history)
        assert (found.seconds, found.cost, found.unknown) == (3.0, None, [])

    def test_steps_that_backfilled_runs_skip_are_left_out(self) -> None:
        skipping = plan_of(node("a"), replace(node("b", "a"), backfill=False))
        found = estimate(skipping, 2, 1, {"a": StepHistory(1, 6.0, Fraction(1))})
        assert (found.seconds, found.cost) == (12.0, Decimal(2))

    def test_nothing_to_do_takes_nothing(self) -> None:
        found = estimate(FLOW, 0, 4, {"a": StepHistory(1, 6.0, Fraction(1)), "b": StepHistory(1, 6.0, Fraction(1))})
        assert (found.seconds, found.cost) == (0.0, Decimal(0))
