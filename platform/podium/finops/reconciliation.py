"""Whether the books agree: the ledger with its rollups, its prices, the attempts and runs it bills, and itself."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from podium.db.schema import attempt, cost_rollup, ledger_entry, price, run, run_cost, run_rollup
from podium.db.schema.finops import QUANTITY_SCALE
from podium.finops import rollup, savings
from podium.finops.entries import PRICED_LATER
from podium.finops.money import decimal_text, difference, product, quantised, total
from podium.finops.usage import BYTES_PER_GIB, CPU, GPU, MEMORY

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Check:
    """Two figures that must agree; `difference` is 0 exactly if they do part by part, not only in sum."""

    name: str
    left: Decimal
    right: Decimal
    difference: Decimal

    @property
    def ok(self) -> bool:
        """Whether the figures agree."""
        return self.difference == 0


@dataclass(frozen=True)
class Reconciliation:
    """Every check of the books."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Return the outcome in the interface's JSON shape."""
        return {
            "ok": self.ok,
            "checks": [
                {
                    "name": check.name,
                    "left": decimal_text(check.left),
                    "right": decimal_text(check.right),
                    "difference": decimal_text(check.difference),
                }
                for check in self.checks
            ],
        }


def reconcile(connection: sa.Connection) -> Reconciliation:
    """Compare every ledger entry with what it was made from and what was made from it.

    `connection` must see one consistent state, as `Database.read` gives.
    """
    books = _Books()
    # A thousand at a time: PostgreSQL's driver would else hold the whole ledger in memory.
    for entry in connection.execute(_ENTRIES, execution_options={"yield_per": 1_000}).mappings():
        books.add(entry)
    return Reconciliation(
        (
            *_rollup_checks(connection, books),
            Check("amount = quantity * unit price", books.amount, books.recomputed, books.mispriced),
            _checked("unit price = recorded price", books.entries, books.at_recorded_price),
            *_attempt_checks(connection, books),
            *_run_checks(connection, books),
            Check("reversals net to zero", books.reversed, books.reversals, books.reversal_difference),
            _checked("cached steps with a saving", *savings.uncounted(connection)),
            _checked("entries with a price", books.live, books.live - books.unpriced),
        )
    )


_reversed = ledger_entry.alias("reversed")
_ENTRIES = (
    sa.select(
        ledger_entry,
        price.c.unit_price.label("recorded_price"),
        price.c.sku.label("recorded_sku"),
        _reversed.c.amount.label("reversed_amount"),
        _reversed.c.quantity.label("reversed_quantity"),
    )
    .outerjoin(price, price.c.price_id == ledger_entry.c.price_id)
    .outerjoin(_reversed, _reversed.c.entry_id == ledger_entry.c.reverses_entry_id)
)


class _Books:
    """What one pass over the ledger adds up."""

    def __init__(self) -> None:
        self.rollups: dict[rollup.Key, rollup.Sums] = {}
        self.quantities: dict[tuple[str, str], Decimal] = {}
        self.amount = self.recomputed = self.mispriced = _ZERO
        self.entries = self.at_recorded_price = 0
        self.reversed = self.reversals = self.reversal_difference = _ZERO
        self.live = self.unpriced = 0
        self.runs: dict[str, Decimal] = {}
        self.once_unpriced_runs: set[str] = set()
        self.currencies: dict[str, set[str]] = defaultdict(set)

    def add(self, entry: Any) -> None:
        rollup.include(self.rollups, entry)
        # What was posted when the attempt ended; a later correction is checked as a reversal.
        if entry["kind"] == "direct" and PRICED_LATER not in entry["idempotency_key"]:
            subject = entry["attempt_id"], entry["resource"]
            self.quantities[subject] = total((self.quantities.get(subject, _ZERO), entry["quantity"]))
        # An entry that is reversed no longer counts, and neither does its reversal.
        sign = -1 if entry["kind"] == "reversal" else 1
        self.live += sign
        if entry["amount"] is None:
            self.unpriced += sign
            self.once_unpriced_runs.add(entry["run_id"])
        else:
            self._add_priced(entry)
        if entry["kind"] == "reversal":
            self._add_reversal(entry)
        elif entry["amount"] is not None:
            self.currencies[entry["run_id"]].add(entry["currency"])
            self.runs[entry["run_id"]] = total((self.runs.get(entry["run_id"], _ZERO), entry["amount"]))

    def _add_priced(self, entry: Any) -> None:
        exact = product(entry["quantity"], entry["unit_price"])
        self.amount = total((self.amount, entry["amount"]))
        self.recomputed = total((self.recomputed, exact))
        self.mispriced = total((self.mispriced, difference(entry["amount"], exact).copy_abs()))
        self.entries += 1
        self.at_recorded_price += (entry["recorded_price"], entry["recorded_sku"]) == (
            entry["unit_price"],
            entry["sku"],
        )

    def _add_reversal(self, entry: Any) -> None:
        for name in ("amount", "quantity"):
            left_over = total((entry[f"reversed_{name}"] or _ZERO, entry[name] or _ZERO))
            self.reversal_difference = total((self.reversal_difference, left_over.copy_abs()))
        self.reversed = total((self.reversed, entry["reversed_amount"] or _ZERO))
        self.reversals = difference(self.reversals, entry["amount"] or _ZERO)


def _rollup_checks(connection: sa.Connection, books: _Books) -> Iterable[Check]:
    stored = {
        tuple(row[: len(rollup.KEY)]): rollup.Sums(row.amount, row.quantity, row.entries)
        for row in connection.execute(sa.select(cost_rollup))
    }
    nothing = rollup.Sums(_ZERO, _ZERO, 0)
    keys = sorted(books.rollups.keys() | stored.keys())
    for name in ("amount", "quantity", "entries"):
        pairs = [
            tuple(Decimal(getattr(sums.get(key, nothing), name) or 0) for sums in (books.rollups, stored))
            for key in keys
        ]
        yield _compared(f"ledger {name} = rollup {name}", pairs)


def _attempt_checks(connection: sa.Connection, books: _Books) -> Iterable[Check]:
    query = sa.select(
        attempt.c.attempt_id,
        attempt.c.wall_seconds,
        attempt.c.reserved_cpu,
        attempt.c.reserved_memory_bytes,
        attempt.c.reserved_gpu,
    ).where(attempt.c.ended_at.is_not(None))
    owed: dict[tuple[str, str], Decimal] = {}
    ended = set()
    for attempt_id, wall_seconds, cpu, memory_bytes, gpu in connection.execute(query):
        ended.add(attempt_id)
        reserved = (
            (CPU, Fraction(str(cpu))),
            (MEMORY, Fraction(memory_bytes, BYTES_PER_GIB)),
            (GPU, Fraction(gpu)),
        )
        for resource, reservation in reserved:
            if reservation:
                quantity = quantised(reservation * Fraction(str(wall_seconds)), QUANTITY_SCALE)
                owed[attempt_id, resource.name] = quantity
    billed = {attempt_id for attempt_id, _ in books.quantities}
    yield _checked("ended attempts in the ledger", len(ended), len(ended & billed))
    yield _checked("billed attempts that ended", len(billed), len(billed & ended))
    yield _compared(
        "reservation * wall time = billed quantity",
        [
            (owed.get(key, _ZERO), books.quantities.get(key, _ZERO))
            for key in sorted(owed.keys() | books.quantities.keys())
        ],
    )


def _run_checks(connection: sa.Connection, books: _Books) -> Iterable[Check]:
    """Compare what ended runs cost with what the rollups of runs count.

    Left out are runs that were resumed and have not ended again; runs that once had an entry without a price, of
    which what became known only after their end is not counted before they end again; and runs that were charged in
    several currencies, whose cost is no number.
    """
    owner = run.c.pipeline, run.c.team, run.c.model, run.c.environment
    counted = connection.execute(
        sa.select(run.c.run_id, run.c.ended_at, run_cost.c.amount, *owner).join(run_cost)
    ).all()
    yield _compared(
        "ledger of ended runs = counted cost",
        [
            (books.runs.get(row.run_id, _ZERO), row.amount)
            for row in counted
            if row.ended_at is not None
            and row.run_id not in books.once_unpriced_runs
            and len(books.currencies[row.run_id]) <= 1
        ],
    )
    of_runs, of_rollups = _by_owner(counted), _by_owner(connection.execute(sa.select(run_rollup)))
    owners = sorted(of_runs.keys() | of_rollups.keys())
    pairs = [(of_runs.get(each, _ZERO), of_rollups.get(each, _ZERO)) for each in owners]
    yield _compared("counted cost = run rollup amount", pairs)
    ended = (
        sa.select(sa.func.count(), sa.func.count(run_cost.c.run_id))
        .select_from(run.outerjoin(run_cost))
        .where(run.c.state.in_(("succeeded", "failed", "cancelled")))
    )
    yield _checked("ended runs in the rollups of runs", *connection.execute(ended).one())


def _by_owner(rows: Iterable[Any]) -> dict[tuple[str, ...], Decimal]:
    sums: dict[tuple[str, ...], Decimal] = {}
    for row in rows:
        owner = row.pipeline, row.team, row.model, row.environment
        sums[owner] = total((sums.get(owner, _ZERO), row.amount or _ZERO))
    return sums


def _compared(name: str, pairs: Sequence[tuple[Decimal, ...]]) -> Check:
    return Check(
        name,
        total(left for left, _ in pairs),
        total(right for _, right in pairs),
        total(difference(left, right).copy_abs() for left, right in pairs),
    )


def _checked(name: str, expected: int, found: int) -> Check:
    return Check(name, Decimal(expected), Decimal(found), Decimal(expected - found))
