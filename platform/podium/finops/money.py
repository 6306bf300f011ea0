"""Exact decimal arithmetic: nothing here rounds, except `format_money`, which says so."""

from collections.abc import Iterable
from decimal import Clamped, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, Underflow
from fractions import Fraction

# Enough digits for any sum of NUMERIC(38, 18) amounts. A result that would not fit raises; the 28 digits of
# Python's default context would round it silently.
_EXACT = Context(prec=76, traps=[Clamped, DivisionByZero, Inexact, InvalidOperation, Overflow, Underflow])

USD = "USD"
"""The currency of price books, reports and metrics."""

_SYMBOLS = {USD: "$"}
_SHOWN_DIGITS = 3


def product(quantity: Decimal, unit_price: Decimal) -> Decimal:
    """Return `quantity` * `unit_price`, every digit of it.

    >>> product(Decimal("0.000001"), Decimal("0.000011244444"))
    Decimal('1.1244444E-11')
    """
    return _EXACT.multiply(quantity, unit_price)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return the sum of `amounts`, every digit of it; of none, 0.

    >>> total([Decimal("0.0001")] * 1000)
    Decimal('0.1000')
    """
    result = Decimal(0)
    for amount in amounts:
        result = _EXACT.add(result, amount)
    return result


def difference(left: Decimal, right: Decimal) -> Decimal:
    """Return `left` - `right`, every digit of it."""
    return _EXACT.subtract(left, right)


def negative(amount: Decimal) -> Decimal:
    """Return `amount` negated, every digit of it; unlike unary minus, which rounds to Python's 28 digits."""
    return amount.copy_negate() if amount else amount


def quantised(value: Fraction, scale: int) -> Decimal:
    """Return `value` with `scale` decimals, rounded half to even: the one place where a factor is rounded.

    >>> quantised(Fraction(4048, 100_000) / 3600, 12)
    Decimal('0.000011244444')
    """
    return from_units(round(value * 10**scale), scale)


def in_units(value: Decimal, scale: int) -> int:
    """Return how many units of 10^-`scale` `value` is.

    >>> in_units(Decimal("1.25"), 6)
    1250000
    """
    return int(value.scaleb(scale, _EXACT))


def from_units(units: int, scale: int) -> Decimal:
    """Return `units` of 10^-`scale`.

    >>> from_units(1250000, 6)
    Decimal('1.250000')
    """
    return Decimal(units).scaleb(-scale, _EXACT)


def decimal_text(value: Decimal) -> str:
    """Return `value` in full for JSON: without an exponent and without idle zeros.

    >>> decimal_text(Decimal("1.1244444E-11")), decimal_text(Decimal("12.500")), decimal_text(Decimal("100"))
    ('0.000000000011244444', '12.5', '100')
    """
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_money(amount: Decimal | None, currency: str) -> str:
    """Return `amount` for a table, rounded half to even: two decimals, or as many as show three digits.

    None, an amount that is not known, is `unpriced`.

    >>> [format_money(Decimal(text), "USD") for text in ("1234.5678", "0.5", "0.0123", "-0.0000112444")]
    ['$1,234.57', '$0.50', '$0.0123', '-$0.0000112']
    >>> format_money(Decimal("0.1"), "EUR"), format_money(None, "USD")
    ('0.10 EUR', 'unpriced')
    """
    if amount is None:
        return "unpriced"
    magnitude = abs(amount)
    decimals = 2
    if 0 < magnitude < 1:
        decimals = max(2, _SHOWN_DIGITS - 1 - magnitude.adjusted())
    text = f"{magnitude:,.{decimals}f}"
    while len(text.partition(".")[2]) > 2 and text.endswith("0"):
        text = text[:-1]
    sign = "-" if amount < 0 else ""
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{text}" if symbol else f"{sign}{text} {currency}"
