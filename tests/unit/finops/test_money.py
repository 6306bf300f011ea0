import doctest
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.finops import money, pricing, usage

amounts = st.decimals(min_value=-(10**20), max_value=10**20, places=18, allow_nan=False)


@pytest.mark.parametrize("module", [money, pricing, usage])
def test_the_examples_run(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]  # a module, which object covers


@given(st.lists(amounts, max_size=20))
def test_a_total_is_exact_where_the_default_context_would_round(summands: list[Decimal]) -> None:
    assert Fraction(money.total(summands)) == sum(map(Fraction, summands))


@given(amounts)
def test_json_text_has_no_exponent_and_reads_back_equal(amount: Decimal) -> None:
    text = money.decimal_text(amount)
    assert "E" not in text
    assert Decimal(text) == amount


@given(amounts)
def test_an_amount_and_its_negative_are_nothing(amount: Decimal) -> None:
    assert money.total((amount, money.negative(amount))) == 0


@given(amounts.filter(bool))
def test_money_that_is_not_zero_never_shows_as_zero(amount: Decimal) -> None:
    assert any(digit in money.format_money(amount, "USD") for digit in "123456789")
