"""The price book as people write it: YAML or CSV, checked entry by entry."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from podium.db.schema.finops import PRICE_SCALE
from podium.errors import ConfigurationError
from podium.finops.money import decimal_text, quantised
from podium.finops.usage import RESOURCES
from podium.ids import digest_json

SEED = Path(__file__).parent / "prices.yaml"
"""The book that ships with Podium."""

LOCAL = "local"
ON_DEMAND = "on-demand"

_SECONDS_OF = {"seconds": 1, "hours": 3600}


@dataclass(frozen=True)
class BookEntry:
    """One price of a book, per second: `unit` is `core-seconds` or the like, `unit_price` has 12 decimals.

    It holds from `valid_from` until `valid_to` (exclusive); without one, until a later entry of its offer.
    """

    sku: str
    region: str
    purchase_option: str
    unit: str
    unit_price: Decimal
    currency: str
    valid_from: datetime
    valid_to: datetime | None
    source: str

    @property
    def offer(self) -> tuple[str, str, str]:
        """What is priced: at any time it has one price at most."""
        return self.sku, self.region, self.purchase_option


@dataclass(frozen=True)
class PriceBook:
    """A dated collection of prices; `name` says where it came from, `digest` identifies its content."""

    name: str
    entries: tuple[BookEntry, ...]
    digest: str


def load_book(path: Path | None) -> PriceBook:
    """Return the price book in `path` (`.yaml`, `.yml` or `.csv`); None is the seed book.

    Raises ConfigurationError that names the file, the entry's number and the field.
    """
    path = path or SEED
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The price book {path} cannot be read: {error}.") from None
    if path.suffix == ".csv":
        return parse_book(str(path), _csv_rows(path, text))
    if path.suffix in (".yaml", ".yml"):
        return parse_book(str(path), _yaml_rows(path, text))
    raise ConfigurationError(f"The price book {path} is neither .yaml nor .csv; rename it after its format.")


def parse_book(name: str, rows: list[Any]) -> PriceBook:
    """Return the book of `rows`, mappings of text; ConfigurationError names the entry and the field."""
    if not rows:
        raise ConfigurationError(f"The price book {name} has no entries; give at least one price.")
    entries = tuple(_parse_entry(name, number, row) for number, row in enumerate(rows, 1))
    _refuse_overlaps(name, entries)
    document = sorted(
        [
            *entry.offer,
            entry.unit,
            decimal_text(entry.unit_price),
            entry.currency,
            entry.valid_from.isoformat(),
            entry.valid_to.isoformat() if entry.valid_to else "",
            entry.source,
        ]
        for entry in entries
    )
    return PriceBook(name, entries, digest_json(document))


def moment(at: datetime) -> str:
    """Return `at` as messages show it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC".replace(":00 UTC", " UTC")


def _instant(text: Any) -> Any:
    """Read a day (midnight UTC) or an instant with its zone."""
    if not isinstance(text, str):
        return text
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a day like 2026-11-01 or an instant like 2026-11-01T06:00:00+00:00") from None
    if parsed.tzinfo is None:
        if "T" in text or " " in text:
            raise ValueError("has no time zone; end it with Z or an offset like +01:00")
        parsed = parsed.replace(tzinfo=UTC)
    return parsed.astimezone(UTC)


def _known_unit(unit: str) -> str:
    quantity, _, period = unit.rpartition("-")
    if f"{quantity}-seconds" not in {resource.unit for resource in RESOURCES} or period not in _SECONDS_OF:
        units = ", ".join(resource.unit.removesuffix("-seconds") for resource in RESOURCES)
        raise ValueError(f"must be one of {units}, then -hours or -seconds")
    return unit


_Instant = Annotated[datetime, BeforeValidator(_instant)]
_Text = Annotated[str, Field(min_length=1, max_length=100)]


class _Row(BaseModel):
    """One entry as written: every value is text, so that no decimal passes through a float."""

    model_config = ConfigDict(extra="forbid")

    sku: _Text
    region: _Text = LOCAL
    purchase_option: _Text = ON_DEMAND
    unit: Annotated[str, AfterValidator(_known_unit)]
    unit_price: Annotated[Decimal, Field(ge=0, allow_inf_nan=False, max_digits=26)]
    # One currency in the whole ledger: the reports, JSON names and metrics all say USD.
    currency: Literal["USD"]
    valid_from: _Instant
    valid_to: _Instant | None = None
    source: Annotated[str, Field(min_length=1, max_length=500)]


def _parse_entry(name: str, number: int, row: Any) -> BookEntry:
    where = f"The price book {name}, entry {number}"
    if not isinstance(row, dict):
        raise ConfigurationError(
            f"{where}: {row!r} is no entry; write sku, unit, unit_price, currency, valid_from, source."
        )
    try:
        # An empty cell or value is a field that is not given.
        written = _Row.model_validate({field: value for field, value in row.items() if value not in ("", None)})
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {' '.join(_explain(problem) for problem in error.errors())}") from None
    quantity, _, period = written.unit.rpartition("-")
    unit = f"{quantity}-seconds"
    for resource in RESOURCES:
        if resource.sku == written.sku and resource.unit != unit:
            raise ConfigurationError(
                f"{where}: unit is {written.unit}, but {written.sku} is billed in {resource.unit}."
            )
    if written.valid_to is not None and written.valid_to <= written.valid_from:
        raise ConfigurationError(f"{where}: valid_to {moment(written.valid_to)} must be later than valid_from.")
    unit_price = quantised(Fraction(written.unit_price) / _SECONDS_OF[period], PRICE_SCALE)
    if written.unit_price > 0 and unit_price == 0:
        raise ConfigurationError(
            f"{where}: unit_price {written.unit_price} is 0 in {PRICE_SCALE} decimals per second; "
            "give 0 or a higher price."
        )
    return BookEntry(
        sku=written.sku,
        region=written.region,
        purchase_option=written.purchase_option,
        unit=unit,
        unit_price=unit_price,
        currency=written.currency,
        valid_from=written.valid_from,
        valid_to=written.valid_to,
        source=written.source,
    )


def _explain(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{field} is missing."
    if problem["type"] == "extra_forbidden":
        return f"{field!r} is no field of a price; the fields are {', '.join(_Row.model_fields)}."
    message = problem["msg"].removeprefix("Value error, ")
    return f"{field} is {problem['input']!r}: {message[0].lower()}{message[1:]}."


def _refuse_overlaps(name: str, entries: tuple[BookEntry, ...]) -> None:
    numbered = sorted(enumerate(entries, 1), key=lambda pair: (pair[1].offer, pair[1].valid_from))
    for (earlier_number, earlier), (later_number, later) in pairwise(numbered):
        if earlier.offer != later.offer:
            continue
        same_start = earlier.valid_from == later.valid_from
        if same_start or (earlier.valid_to is not None and earlier.valid_to > later.valid_from):
            raise ConfigurationError(
                f"The price book {name}, entries {earlier_number} and {later_number}: both price {later.sku} "
                f"at {moment(later.valid_from)}; a price's valid_to must not be after the next valid_from."
            )


def _yaml_rows(path: Path, text: str) -> list[Any]:
    import yaml

    try:
        # BaseLoader keeps every scalar as written: 0.04048 stays text until Decimal reads it.
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader builds strings, lists and dicts only
    except yaml.YAMLError as error:
        raise ConfigurationError(f"The price book {path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(document, dict) or set(document) != {"prices"} or not isinstance(document["prices"], list):
        raise ConfigurationError(
            f"The price book {path} must be one list named `prices`, and nothing else at its top level."
        )
    return list(document["prices"])


def _csv_rows(path: Path, text: str) -> list[Any]:
    def checked() -> Iterator[dict[str, str]]:
        for number, row in enumerate(csv.DictReader(io.StringIO(text), strict=True), 1):
            if None in row:
                raise ConfigurationError(
                    f"The price book {path}, entry {number}: more values than the header has names."
                )
            yield row

    try:
        return list(checked())
    except csv.Error as error:
        raise ConfigurationError(f"The price book {path} is not valid CSV: {error}.") from None
