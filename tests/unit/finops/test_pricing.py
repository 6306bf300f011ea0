from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from podium.finops.pricing import Price, apportioned, charges

START = datetime(2026, 11, 1, tzinfo=UTC)
quantities = st.decimals(min_value=0, max_value=10**9, places=6, allow_nan=False)
unit_prices = st.decimals(min_value=0, max_value=10**4, places=12, allow_nan=False)
seconds = st.integers(min_value=1, max_value=10**6)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def price(unit_price: str | Decimal, since: float, until: float | None) -> Price:
    return Price(
        price_id=f"price-{since}",
        sku="cpu.standard",
        region="local",
        purchase_option="on-demand",
        unit="core-seconds",
        unit_price=Decimal(unit_price),
        currency="USD",
        valid_from=at(since),
        valid_to=None if until is None else at(until),
    )


@st.composite
def price_lists(draw: st.DrawFn) -> list[Price]:
    """Prices that do not overlap, some with gaps between them."""
    bounds = sorted(draw(st.sets(st.integers(-1000, 2000), max_size=8)))
    spans = [(since, until) for since, until in pairwise(bounds) if draw(st.booleans())]
    return [price(draw(unit_prices), since, until) for since, until in spans]


@given(quantities, unit_prices)
def test_an_amount_is_quantity_times_unit_price_exactly(quantity: Decimal, unit_price: Decimal) -> None:
    (charge,) = charges(quantity, at(0), at(60), [price(unit_price, 0, None)])
    assert charge.amount is not None
    assert Fraction(charge.amount) == Fraction(quantity) * Fraction(unit_price)


@given(quantities, st.integers(0, 1000), price_lists())
def test_charges_cover_the_period_and_sum_to_the_quantity(quantity: Decimal, length: int, prices: list[Price]) -> None:
    parts = charges(quantity, at(0), at(length), prices)
    assert sum(Fraction(part.quantity) for part in parts) == Fraction(quantity)
    assert [parts[0].start, *(part.end for part in parts)] == [*(part.start for part in parts), at(length)]
    for part in parts:
        holding = [known for known in prices if known.holds_at(part.start)]
        assert holding == ([part.price] if part.price else [])
        # Nothing changes within a part.
        assert not any(part.start < known.valid_from < part.end for known in prices)


def test_a_charge_over_a_price_change_is_split_there() -> None:
    before, after = charges(Decimal(90), at(0), at(90), [price("1", -5, 30), price("2", 30, None)])
    assert (before.quantity, before.end, before.amount) == (Decimal(30), at(30), Decimal(30))
    assert (after.quantity, after.start, after.amount) == (Decimal(60), at(30), Decimal(120))


def test_a_price_ends_just_before_its_valid_to() -> None:
    (charge,) = charges(Decimal(1), at(30), at(31), [price("1", 0, 30), price("2", 30, None)])
    assert charge.amount == 2


def test_a_period_without_a_price_is_unknown_not_free() -> None:
    priced, unpriced = charges(Decimal(10), at(0), at(10), [price("1", 0, 5)])
    assert priced.amount == 5
    assert unpriced.amount is None
    assert unpriced.quantity == 5


def test_a_period_without_length_is_one_charge_at_the_price_of_that_moment() -> None:
    (charge,) = charges(Decimal(3), at(30), at(30), [price("1", 0, 30), price("2", 30, None)])
    assert charge.amount == 6


@given(quantities, st.lists(st.integers(0, 10**9), min_size=1, max_size=12))
def test_parts_sum_to_the_whole_and_are_within_a_unit_of_their_share(whole: Decimal, weights: list[int]) -> None:
    parts = apportioned(whole, weights, scale=6)
    assert sum(map(Fraction, parts)) == Fraction(whole)
    if any(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(Fraction(part) - Fraction(whole) * Fraction(weight, sum(weights))) < Fraction(1, 10**6)
