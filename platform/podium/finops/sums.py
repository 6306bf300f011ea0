"""Adding up entries, some of which may have no price."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from podium.db.schema import price
from podium.db.schema.finops import NO_CURRENCY
from podium.errors import UsageError
from podium.finops.money import decimal_text, total


@dataclass(frozen=True)
class Cost:
    """The sum of some entries: `amount`, and how many entries had no price and are not in it.

    `amount` is None where there are entries but none has a price: unknown is not zero.
    """

    amount: Decimal | None
    unpriced: int

    @property
    def complete(self) -> Decimal | None:
        """The amount of all entries; None while any of them has no price, because a part is not the whole."""
        return None if self.unpriced else self.amount


class Sum:
    """Adds up entries, keeping apart those without a price."""

    def __init__(self) -> None:
        self.currencies: set[str] = set()
        self._amount = Decimal(0)
        self._priced = 0
        self._unpriced = 0

    def add(self, amount: Decimal | None, currency: str | None, kind: str, entries: int) -> None:
        """Add `entries` entries of one kind that come to `amount`."""
        if amount is None or currency is None:
            # The reversal of an unpriced entry takes it away.
            self._unpriced += -entries if kind == "reversal" else entries
            return
        self.currencies.add(currency)
        self._amount = total((self._amount, amount))
        self._priced += entries

    @property
    def cost(self) -> Cost:
        """What was added so far; the amount is None where there are entries but none with a price."""
        unknown = self._unpriced != 0 and self._priced == 0
        # A group of reversals alone (by kind) counts below zero: they, too, are entries without a price.
        return Cost(None if unknown else self._amount, abs(self._unpriced))


def cost_document(cost: Cost, name: str) -> dict[str, Any]:
    """Return `cost` as JSON: the amount, or null, under `name`, and `unpriced`."""
    return {name: None if cost.amount is None else decimal_text(cost.amount), "unpriced": cost.unpriced}


def currency_of(connection: sa.Connection, added: Sum) -> str:
    """Return the one currency of what was added up; of nothing, that of the recorded prices."""
    priced = added.currencies - {NO_CURRENCY}
    found = sorted(priced or connection.scalars(sa.select(price.c.currency).distinct()))
    if len(found) > 1:
        raise UsageError(
            f"The costs asked for are in {' and '.join(found)}, which cannot be added up; "
            "choose a period with one currency."
        )
    return found[0] if found else NO_CURRENCY
