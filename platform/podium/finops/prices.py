"""Recorded prices: taking in a price book, and finding the prices that hold.

A recorded price never changes. A later price of the same offer (sku, region, purchase option) ends it, once,
by setting its `valid_to`, which may not be before charges that are already posted at it. So the price book
never contradicts the ledger, and history never re-prices.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from podium.clock import Clock
from podium.db.engine import Database
from podium.db.prepared import Prepared
from podium.db.schema import ledger_entry, price
from podium.errors import ConfigurationError
from podium.finops.book import LOCAL, ON_DEMAND, BookEntry, PriceBook, moment
from podium.finops.money import decimal_text
from podium.finops.pricing import Price
from podium.finops.usage import Resource
from podium.ids import new_id

_PRICE_COLUMNS = tuple(price.c[name] for name in Price.__dataclass_fields__)

_HOLDING = Prepared(
    sa.select(*_PRICE_COLUMNS)
    .where(
        price.c.sku == sa.bindparam("of_sku"),
        price.c.region == LOCAL,
        price.c.purchase_option == ON_DEMAND,
        price.c.valid_from <= sa.bindparam("end"),
        sa.or_(price.c.valid_to.is_(None), price.c.valid_to > sa.bindparam("start")),
    )
    .order_by(price.c.valid_from)
)


def prices_between(
    connection: sa.Connection, skus: Iterable[str], start: datetime, end: datetime
) -> dict[str, list[Price]]:
    """Return, for each of `skus`, the local on-demand prices that hold at some time from `start` to `end`.

    They are read anew each time: another process may have ended a price since the last look.
    """
    period = {"start": start, "end": end}
    return {sku: [Price(*row) for row in _HOLDING.rows(connection, {"of_sku": sku, **period})] for sku in skus}


def check_priced(connection: sa.Connection, resources: Iterable[Resource], at: datetime) -> None:
    """Raise ConfigurationError unless each of `resources` has a price at `at`; asked before a run starts."""
    wanted = {resource.sku: resource for resource in resources}
    holding = prices_between(connection, wanted, at, at)
    missing = [sku for sku, prices in holding.items() if not any(known.holds_at(at) for known in prices)]
    if missing:
        units = ", ".join(wanted[sku].unit for sku in missing)
        raise ConfigurationError(
            f"No price of {', '.join(missing)} holds at {moment(at)}, so the cost of a run would be unknown; "
            f"add an entry (unit: {units}, or hours) that is valid by then to prices.yaml beside podium.toml."
        )


def import_book(
    database: Database,
    book: PriceBook,
    clock: Clock,
    once_added: Callable[[sa.Connection], object] = lambda _: None,
) -> int:
    """Record what `book` adds and return how many prices that is; a book that adds nothing writes nothing.

    `once_added` is called in the transaction that adds prices, so that what they make possible is done with them.
    Raises ConfigurationError where the book contradicts a recorded price or charges posted at one.
    """
    with database.read() as connection:
        if not news_in(book, _recorded(connection)).changes:
            return 0
    with database.lock("prices"), database.write() as connection:
        news = news_in(book, _recorded(connection))
        for ending in news.endings:
            _end(connection, book, ending)
        if news.additions:
            imported_at = clock.now()
            connection.execute(
                price.insert(),
                [
                    {
                        **vars(entry),
                        "price_id": new_id(imported_at),
                        "digest": book.digest,
                        "imported_at": imported_at,
                    }
                    for entry in news.additions
                ],
            )
            once_added(connection)
    return len(news.additions)


@dataclass(frozen=True)
class Ending:
    """A recorded price that still holds, and when it is to end."""

    recorded: Price
    at: datetime


@dataclass(frozen=True)
class BookNews:
    """What a book adds to the recorded prices."""

    additions: tuple[BookEntry, ...]
    endings: tuple[Ending, ...]

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.additions or self.endings)


def news_in(book: PriceBook, recorded: Sequence[Price]) -> BookNews:
    """Return what `book` adds to `recorded`; pure.

    Raises ConfigurationError where an entry contradicts a recorded price, or overlaps one that has ended.
    """
    additions: list[BookEntry] = []
    endings: dict[str, Ending] = {}
    for entry, successor in _with_successors(book):
        rows = sorted((row for row in recorded if row.offer == entry.offer), key=lambda row: row.valid_from)
        same = next((row for row in rows if row.valid_from == entry.valid_from), None)
        if same is not None:
            _refuse_contradiction(book, entry, same)
            if same.valid_to is None and entry.valid_to is not None:
                endings[same.price_id] = Ending(same, entry.valid_to)
            continue
        before = next((row for row in reversed(rows) if row.valid_from < entry.valid_from), None)
        after = next((row for row in rows if row.valid_from > entry.valid_from), None)
        _refuse_overlap(book, entry, before, after)
        if before is not None and before.valid_to is None:
            # Several entries may follow an open price: the first of them ends it.
            endings.setdefault(before.price_id, Ending(before, entry.valid_from))
        next_starts = [start for start in (successor, after.valid_from if after else None) if start is not None]
        additions.append(replace(entry, valid_to=entry.valid_to or min(next_starts, default=None)))
    return BookNews(tuple(additions), tuple(endings.values()))


def _with_successors(book: PriceBook) -> list[tuple[BookEntry, datetime | None]]:
    """Return the entries in order, each with the start of the next one for the same offer."""
    ordered = sorted(book.entries, key=lambda entry: (entry.offer, entry.valid_from))
    return [
        (entry, after.valid_from if after is not None and after.offer == entry.offer else None)
        for entry, after in zip(ordered, [*ordered[1:], None], strict=True)
    ]


def _refuse_contradiction(book: PriceBook, entry: BookEntry, same: Price) -> None:
    since = f"The price book {book.name} prices {entry.sku} from {moment(entry.valid_from)} on"
    if (entry.unit_price, entry.unit, entry.currency) != (same.unit_price, same.unit, same.currency):
        raise ConfigurationError(
            f"{since} at {_shown(entry)}, but {_shown(same)} is recorded for then, and a recorded price "
            "never changes; restore that entry and give the new price an entry with a later valid_from."
        )
    if entry.valid_to is not None and same.valid_to is not None and entry.valid_to != same.valid_to:
        raise ConfigurationError(
            f"{since} until {moment(entry.valid_to)}, but it is recorded to end at {moment(same.valid_to)}, "
            "and an end is set once; restore that valid_to."
        )


def _refuse_overlap(book: PriceBook, entry: BookEntry, before: Price | None, after: Price | None) -> None:
    overlapped = None
    if before is not None and before.valid_to is not None and before.valid_to > entry.valid_from:
        overlapped = before
    if after is not None and entry.valid_to is not None and entry.valid_to > after.valid_from:
        overlapped = after
    if overlapped is not None:
        until = moment(overlapped.valid_to) if overlapped.valid_to else "a later price"
        raise ConfigurationError(
            f"The price book {book.name} prices {entry.sku} from {moment(entry.valid_from)} on, but the price "
            f"recorded from {moment(overlapped.valid_from)} until {until} overlaps that; choose a free period."
        )


def _shown(priced: BookEntry | Price) -> str:
    return f"{decimal_text(priced.unit_price)} {priced.currency} for one of {priced.unit}"


def _recorded(connection: sa.Connection) -> list[Price]:
    return [Price(*row) for row in connection.execute(sa.select(*_PRICE_COLUMNS))]


def _end(connection: sa.Connection, book: PriceBook, ending: Ending) -> None:
    posted_until = connection.scalar(
        sa.select(sa.func.max(ledger_entry.c.charge_end)).where(ledger_entry.c.price_id == ending.recorded.price_id)
    )
    if posted_until is not None and posted_until > ending.at:
        raise ConfigurationError(
            f"The price book {book.name} ends the price of {ending.recorded.sku} at {moment(ending.at)}, but "
            f"charges until {moment(posted_until)} are posted at it, and history is never priced again; "
            "let the new price start later than that."
        )
    connection.execute(
        price.update()
        .where(price.c.price_id == ending.recorded.price_id, price.c.valid_to.is_(None))
        .values(valid_to=ending.at)
    )
