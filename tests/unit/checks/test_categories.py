from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.checks import CategoryDrift
from podium.checks.distance import chance_distance, rows_needed, total_variation
from podium.errors import UsageError

REFERENCE = ["UA"] * 6_000 + ["DL"] * 3_000 + ["B6"] * 1_000
categories = st.one_of(st.none(), st.integers(0, 2), st.sampled_from(["UA", "DL", "missing"]), st.just(float("nan")))


def carriers(**counts: int) -> pd.DataFrame:
    return pd.DataFrame({"carrier": [name for name, count in counts.items() for _ in range(count)]})


def test_equal_shares_pass_with_what_chance_alone_could_do() -> None:
    finding = CategoryDrift("carrier", reference=REFERENCE).look(carriers(UA=3_000, DL=1_500, B6=500))
    assert (finding.outcome, finding.examples) == ("passed", ())
    assert finding.reason == (
        "drift 0.000 ≤ 0.100 allowed (5,000 rows against 10,000 of the reference; chance alone stays below 0.037)"
    )


def test_moved_shares_fail_with_the_categories_that_moved_most() -> None:
    finding = CategoryDrift("carrier", reference=REFERENCE).look(carriers(UA=2_000, DL=2_500, B6=500))
    assert finding.outcome == "failed"
    assert finding.reason.startswith("drift 0.200 > 0.100 allowed (5,000 rows against 10,000")
    assert finding.reason.endswith("moved most: 'DL' from 0.300 to 0.500, 'UA' from 0.600 to 0.400")


def test_the_limit_itself_is_allowed() -> None:
    finding = CategoryDrift("carrier", reference=REFERENCE, at_most=0.25).look(carriers(UA=1_750, DL=2_750, B6=500))
    assert (finding.outcome, finding.reason[:27]) == ("passed", "drift 0.250 ≤ 0.250 allowed")


@pytest.mark.parametrize("tenths", [1, 2, 3, 6, 7])
def test_a_limit_of_whole_tenths_is_met_exactly(tenths: int) -> None:
    moved = carriers(UA=5_000 + 1_000 * tenths // 2, DL=5_000 - 1_000 * tenths // 2)
    reference = ["UA"] * (5_000 - 1_000 * tenths // 2) + ["DL"] * (5_000 + 1_000 * tenths // 2)
    check = CategoryDrift("carrier", reference=reference, at_most=tenths / 10)
    assert check.look(moved).outcome == "passed"


def test_few_rows_are_unknown_with_how_many_would_do() -> None:
    check = CategoryDrift("carrier", reference=REFERENCE)
    finding = check.look(carriers(UA=60, DL=30, B6=10))
    assert finding.outcome == "unknown"
    assert "moved most" not in finding.reason
    assert "drift 0.000 is too blurred to compare with 0.100 allowed (100 rows" in finding.reason
    needed = int(finding.reason.partition(" rows would do")[0].rpartition(" ")[2].replace(",", ""))
    assert check.look(carriers(UA=6 * needed // 10 + 6, DL=3 * needed // 10 + 3, B6=needed // 10)).outcome == "passed"


def test_few_rows_that_could_not_be_chance_fail_all_the_same() -> None:
    finding = CategoryDrift("carrier", reference=REFERENCE).look(carriers(B6=200))
    assert finding.outcome == "failed"
    assert finding.reason.startswith("drift 0.900 > 0.100 allowed (200 rows")


def test_a_reference_that_is_too_small_is_named() -> None:
    finding = CategoryDrift("carrier", reference=REFERENCE[:50]).look(carriers(UA=5_000))
    assert finding.outcome == "unknown"
    assert "the reference is too small for any number of rows" in finding.reason


def test_a_new_category_is_told_with_its_rows_and_fails_only_where_a_limit_is_set() -> None:
    frame = carriers(UA=3_000, DL=1_500, B6=498, ZZ=2)
    finding = CategoryDrift("carrier", reference=REFERENCE).look(frame)
    assert finding.outcome == "passed"
    assert finding.reason.endswith("; never seen before: 'ZZ' in 2 rows")
    assert [(each.row, dict(each.values)) for each in finding.examples] == [
        (4_998, {"carrier": "ZZ"}),
        (4_999, {"carrier": "ZZ"}),
    ]
    strict = CategoryDrift("carrier", reference=REFERENCE, new_at_most=0).look(frame)
    assert strict.outcome == "failed"
    assert "never seen before: 'ZZ' in 2 rows (0.0004 > 0.0000 of the rows allowed)" in strict.reason
    assert CategoryDrift("carrier", reference=REFERENCE, new_at_most=0.0004).look(frame).outcome == "passed"


def test_a_new_category_fails_though_the_drift_is_unknown() -> None:
    finding = CategoryDrift("carrier", reference=REFERENCE, new_at_most=0).look(carriers(UA=60, ZZ=1))
    assert finding.outcome == "failed"


def test_null_is_a_category_of_its_own_that_no_text_can_be() -> None:
    reference = pd.Series([None] * 5_000 + ["missing"] * 5_000, dtype="object")
    nulls: list[Any] = [None, np.nan, pd.NA, pd.NaT]
    frame = pd.DataFrame({"carrier": pd.Series(nulls * 1_000 + ["missing"] * 1_000, dtype="object")})
    finding = CategoryDrift("carrier", reference=reference).look(frame)
    assert finding.outcome == "failed"
    assert finding.reason.endswith("moved most: missing from 0.500 to 0.800, 'missing' from 0.500 to 0.200")


def test_nulls_where_none_were_are_a_new_category() -> None:
    frame = pd.DataFrame({"carrier": [*REFERENCE, None]})
    finding = CategoryDrift("carrier", reference=REFERENCE).look(frame)
    assert finding.reason.endswith("never seen before: missing in 1 row")
    assert [each.row for each in finding.examples] == [10_000]


def test_categories_that_are_declared_but_have_no_rows_count_for_nothing() -> None:
    dtype = pd.CategoricalDtype(["UA", "DL", "B6", "XX"])
    reference = pd.Series(REFERENCE, dtype=dtype)
    frame = carriers(UA=3_000, DL=1_500, B6=500).astype({"carrier": pd.CategoricalDtype(["YY", "UA", "DL", "B6"])})
    plain = CategoryDrift("carrier", reference=REFERENCE).look(carriers(UA=3_000, DL=1_500, B6=500))
    finding = CategoryDrift("carrier", reference=reference).look(frame)
    assert (finding.outcome, finding.reason) == (plain.outcome, plain.reason)


def test_numbers_and_texts_are_different_categories() -> None:
    frame = pd.DataFrame({"carrier": [1, 2] * 2_500})
    finding = CategoryDrift("carrier", reference=["1", "2"] * 2_500).look(frame)
    assert finding.outcome == "failed"
    assert "never seen before: 1 in 2,500 rows, 2 in 2,500 rows" in finding.reason


def test_values_of_every_type_in_one_column_are_compared() -> None:
    values: list[Any] = [1, "1", "\ud800", b"x", 2.5, True, pd.Timestamp("2013-03-05"), (1, 2), None]
    series = pd.Series(values * 1_000, dtype="object")
    finding = CategoryDrift("carrier", reference=series).look(pd.DataFrame({"carrier": series.iloc[::-1]}))
    assert (finding.outcome, finding.reason[:11]) == ("passed", "drift 0.000")
    finding = CategoryDrift("carrier", reference=REFERENCE).look(pd.DataFrame({"carrier": series}))
    assert finding.outcome == "failed"
    assert {"carrier": "\\ud800"} in [dict(each.values) for each in finding.examples]


def test_an_integer_that_a_null_made_a_float_is_the_same_category() -> None:
    frame = pd.DataFrame({"carrier": [1.0, 2.0] * 2_500})
    assert CategoryDrift("carrier", reference=[1, 2] * 2_500).look(frame).outcome == "passed"


@pytest.mark.parametrize(
    ("frame", "reference", "told"),
    [
        (carriers(UA=5), None, "there is no reference to compare the 5 rows of carrier with"),
        (carriers(UA=5), [], "the reference of carrier has 0 rows"),
        (pd.DataFrame({"airline": ["UA"]}), REFERENCE, "no column 'carrier'"),
        (carriers(UA=5).head(0), REFERENCE, "0 rows have no shares of carrier"),
        (pd.DataFrame({"carrier": [["UA"], ["DL"]]}), REFERENCE, "values that are no categories: unhashable"),
        (carriers(UA=5), pd.Series([{}, {}]), "values that are no categories: unhashable"),
        (pd.DataFrame([["UA", "UA"]], columns=["carrier"] * 2), REFERENCE, "2 columns are called 'carrier'"),
    ],
)
def test_what_cannot_be_compared_is_unknown(frame: pd.DataFrame, reference: Any, told: str) -> None:
    finding = CategoryDrift("carrier", reference=reference).look(frame)
    assert finding.outcome == "unknown"
    assert told in finding.reason


def test_many_categories_are_counted_beyond_the_first() -> None:
    frame = pd.DataFrame({"carrier": np.arange(20_000).astype(str)})
    finding = CategoryDrift("carrier", reference=REFERENCE).look(frame)
    assert "and 19,995 more" in finding.reason
    assert len(finding.reason) < 700
    assert len(finding.examples) == 5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(categories, min_size=1, max_size=40),
    st.lists(categories, min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_the_drift_is_the_plain_sum_in_whatever_order(current: list[Any], reference: list[Any], random: Any) -> None:
    def series(values: list[Any]) -> "pd.Series[Any]":
        return pd.Series(values, dtype="object")

    def shares(values: list[Any]) -> Counter[Any]:
        return Counter("null" if value is None or value != value else (value,) for value in values)

    one, other = shares(current), shares(reference)
    drift = sum(abs(one[key] / len(current) - other[key] / len(reference)) for key in one | other) / 2
    check = CategoryDrift("x", reference=series(reference), at_most=1)
    finding = check.look(pd.DataFrame({"x": series(current)}))
    assert abs(float(finding.reason.split()[1]) - drift) < 0.001
    shuffled = random.sample(current, len(current))
    again = CategoryDrift("x", reference=series(random.sample(reference, len(reference))), at_most=1)
    assert again.look(pd.DataFrame({"x": series(shuffled)})).reason == finding.reason


@pytest.mark.parametrize(
    "shares",
    [np.full(2, 1 / 2), np.full(16, 1 / 16), 1 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum()],
    ids=["two", "sixteen", "hundred"],
)
@pytest.mark.parametrize(("rows", "reference_rows"), [(200, 200), (500, 5_000), (5_000, 50_000)])
def test_samples_of_one_population_rarely_lie_further_apart_than_chance_is_said_to(
    shares: Any, rows: int, reference_rows: int
) -> None:
    draws = np.random.default_rng(0)
    samples = (
        draws.multinomial(rows, shares, 500),
        draws.multinomial(reference_rows, shares, 500),
    )
    further = [
        total_variation(one, other) > chance_distance(one / rows, other / reference_rows, rows, reference_rows, 0.01)
        for one, other in zip(*samples, strict=True)
    ]
    assert np.mean(further) <= 0.01


def test_alike_never_fails_and_twice_the_limit_always_does() -> None:
    draws = np.random.default_rng(0)
    reference = draws.choice(8, 20_000)
    check = CategoryDrift("x", reference=reference, at_most=0.1)
    moved = np.full(8, 1 / 8) + np.repeat([0.05, -0.05], 4)  # a distance of 0.2
    alike = [check.look(pd.DataFrame({"x": draws.choice(8, 2_000)})).outcome for _ in range(100)]
    drifted = [check.look(pd.DataFrame({"x": draws.choice(8, 2_000, p=moved)})).outcome for _ in range(100)]
    assert (set(alike), set(drifted)) == ({"passed"}, {"failed"})


def test_rows_needed_are_the_fewest_that_do() -> None:
    shares = np.full(16, 1 / 16)
    rows = rows_needed(shares, shares, 50_000, 0.1, alpha=0.01)
    assert rows is not None
    assert (
        chance_distance(shares, shares, rows, 50_000, 0.01)
        <= 0.1
        < chance_distance(shares, shares, rows - 1, 50_000, 0.01)
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"at_most": 0}, "at_most=0 is not possible; give a number of more than 0 and at most 1"),
        ({"at_most": 1.5}, "at_most=1.5"),
        ({"new_at_most": -0.1}, "new_at_most=-0.1"),
        ({"alpha": 0}, "alpha=0"),
        ({"alpha": 0.9}, "alpha=0.9"),
        ({"reference": carriers(UA=1)}, r"is a DataFrame; give the values of that column, as in history\['carrier'\]"),
        ({"reference": "UA"}, "is a str"),
        ({"reference": {"UA": 0.5}}, "is a dict"),
        ({"reference": np.ones((2, 2))}, "is no column"),
        ({"reference": 5}, "is a int"),
        ({"severity": "warning"}, "'warning'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        CategoryDrift("carrier", **{"reference": REFERENCE, **options})
