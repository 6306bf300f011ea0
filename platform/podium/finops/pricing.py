"""Quantity * price, exactly; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from podium.db.schema.finops import QUANTITY_SCALE
from podium.finops.money import from_units, in_units, product

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Price:
    """A recorded price: immutable, but for `valid_to`, which is set once when a later price succeeds it."""

    price_id: str
    sku: str
    region: str
    purchase_option: str
    unit: str
    unit_price: Decimal
    currency: str
    valid_from: datetime
    valid_to: datetime | None

    @property
    def offer(self) -> tuple[str, str, str]:
        """What is priced: at any time it has one price at most."""
        return self.sku, self.region, self.purchase_option

    def holds_at(self, at: datetime) -> bool:
        """Whether this is the price at `at`; validity is half-open."""
        return self.valid_from <= at and (self.valid_to is None or at < self.valid_to)


@dataclass(frozen=True)
class Charge:
    """A quantity over a period at one price; `price` is None where none is known."""

    start: datetime
    end: datetime
    quantity: Decimal
    price: Price | None

    @property
    def amount(self) -> Decimal | None:
        """Quantity * unit price, exactly; None where no price is known."""
        return None if self.price is None else product(self.quantity, self.price.unit_price)


def charges(quantity: Decimal, start: datetime, end: datetime, prices: Sequence[Price]) -> tuple[Charge, ...]:
    """Split `quantity`, used evenly over `[start, end)`, where the price changes.

    Each part has the price at its start, and the parts' quantities sum exactly to `quantity`. `prices` are of
    one sku and do not overlap.
    """
    changes = {instant for price in prices for instant in (price.valid_from, price.valid_to) if instant is not None}
    if not any(start < change < end for change in changes):
        return (Charge(start, end, quantity, next((price for price in prices if price.holds_at(start)), None)),)
    bounds = [start, *sorted(change for change in changes if start < change < end), end]
    periods = list(pairwise(bounds))
    lengths = [(later - earlier) // _MICROSECOND for earlier, later in periods]
    return tuple(
        Charge(since, until, part, next((price for price in prices if price.holds_at(since)), None))
        for (since, until), part in zip(periods, apportioned(quantity, lengths, QUANTITY_SCALE), strict=True)
    )


def apportioned(whole: Decimal, weights: Sequence[int], scale: int) -> list[Decimal]:
    """Return `whole` in parts proportional to `weights`, each with `scale` decimals, that sum exactly to it.

    Largest remainder (Hamilton's method); among equal remainders the first part gets the unit. With no
    weight at all the first part is the whole. `whole` has at most `scale` decimals.

    >>> apportioned(Decimal("1"), [1, 1, 1], scale=2)
    [Decimal('0.34'), Decimal('0.33'), Decimal('0.33')]
    """
    units = in_units(whole, scale)
    if not any(weights):
        weights = [1, *[0] * (len(weights) - 1)]
    shares = [divmod(units * weight, sum(weights)) for weight in weights]
    left = units - sum(share for share, _ in shares)
    favoured = set(_by_remainder(remainder for _, remainder in shares)[:left])
    return [from_units(share + (index in favoured), scale) for index, (share, _) in enumerate(shares)]


def _by_remainder(remainders: Iterable[int]) -> list[int]:
    return [index for index, _ in sorted(enumerate(remainders), key=lambda pair: (-pair[1], pair[0]))]
