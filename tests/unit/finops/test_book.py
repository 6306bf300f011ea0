from decimal import Decimal
from pathlib import Path

import pytest

from podium.errors import ConfigurationError
from podium.finops.book import PriceBook, load_book

ENTRY = {
    "sku": "cpu.standard",
    "unit": "core-hours",
    "unit_price": "0.04048",
    "currency": "USD",
    "valid_from": "2026-01-01",
    "source": "our contract",
}


def written(folder: Path, *entries: dict[str, str]) -> Path:
    path = folder / "prices.yaml"
    lines = ["prices:"]
    for entry in entries:
        lines.append("  -")
        lines.extend(f"    {field}: {value}" for field, value in entry.items())
    path.write_text("\n".join(lines))
    return path


def load(folder: Path, **changes: str) -> PriceBook:
    return load_book(written(folder, {**ENTRY, **changes}))


def test_the_seed_book_prices_every_resource() -> None:
    by_sku = {entry.sku: entry for entry in load_book(None).entries}
    assert set(by_sku) == {"cpu.standard", "memory.standard", "gpu.standard"}
    assert by_sku["cpu.standard"].unit_price == Decimal("0.000011244444")
    assert by_sku["cpu.standard"].unit == "core-seconds"


def test_an_hourly_price_is_divided_and_rounded_once(tmp_path: Path) -> None:
    (entry,) = load(tmp_path, unit_price="1").entries
    assert entry.unit_price == Decimal("0.000277777778")


def test_a_price_per_second_is_kept_as_written(tmp_path: Path) -> None:
    # As a float this would come back as 0.000011244444000000001 or so.
    (entry,) = load(tmp_path, unit="core-seconds", unit_price="0.000011244443").entries
    assert entry.unit_price == Decimal("0.000011244443")


def test_a_day_is_midnight_utc_and_an_instant_keeps_its_moment(tmp_path: Path) -> None:
    (entry,) = load(tmp_path, valid_from="2026-01-01", valid_to="2026-02-01T00:00:00+01:00").entries
    assert entry.valid_from.isoformat() == "2026-01-01T00:00:00+00:00"
    assert entry.valid_to is not None
    assert entry.valid_to.isoformat() == "2026-01-31T23:00:00+00:00"


def test_csv_and_yaml_say_the_same(tmp_path: Path) -> None:
    csv = tmp_path / "prices.csv"
    csv.write_text(f"{','.join([*ENTRY, 'valid_to'])}\n{','.join(ENTRY.values())},\n")
    assert load_book(csv).digest == load(tmp_path).digest


def test_comments_and_order_do_not_change_the_digest(tmp_path: Path) -> None:
    memory = {**ENTRY, "sku": "memory.standard", "unit": "GiB-hours"}
    one = load_book(written(tmp_path, ENTRY, memory))
    other = written(tmp_path, memory, ENTRY)
    other.write_text(f"# ours\n{other.read_text()}")
    assert load_book(other).digest == one.digest
    assert load(tmp_path, unit_price="0.05").digest != one.digest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit_price": "-0.04"}, "unit_price is '-0.04'"),
        ({"unit_price": "nan"}, "unit_price is 'nan'"),
        ({"unit_price": "cheap"}, "unit_price is 'cheap'"),
        ({"unit_price": "0.0000000001"}, "unit_price 1E-10 is 0 in 12 decimals"),
        ({"unit_price": ""}, "unit_price is missing"),
        ({"currency": "EUR"}, "currency is 'EUR': input should be 'USD'"),
        ({"valid_from": ""}, "valid_from is missing"),
        ({"valid_from": "soon"}, "valid_from is 'soon': must be a day like"),
        ({"valid_from": "2026-01-01T06:00:00"}, "has no time zone"),
        ({"valid_to": "2025-01-01"}, "valid_to 2025-01-01 00:00 UTC must be later"),
        ({"unit": "core-fortnights"}, "unit is 'core-fortnights': must be one of core, GiB, GPU"),
        ({"unit": "GiB-hours"}, "unit is GiB-hours, but cpu.standard is billed in core-seconds"),
        ({"discount": "0.5"}, "'discount' is no field of a price; the fields are sku,"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_entry(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    path = written(tmp_path, {**ENTRY, "valid_from": "2020-01-01", "valid_to": "2021-01-01"}, {**ENTRY, **changes})
    with pytest.raises(ConfigurationError) as raised:
        load_book(path)
    assert f"{path}, entry 2" in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize("valid_to", ["", "2026-01-01"])
def test_prices_that_follow_each_other_do_not_overlap(tmp_path: Path, valid_to: str) -> None:
    earlier = {**ENTRY, "valid_from": "2025-01-01", "valid_to": valid_to}
    assert len(load_book(written(tmp_path, ENTRY, earlier)).entries) == 2


@pytest.mark.parametrize("valid_from", ["2025-01-01", "2026-01-01"])
def test_prices_that_overlap_are_refused_naming_both_entries(tmp_path: Path, valid_from: str) -> None:
    earlier = {**ENTRY, "valid_from": valid_from, "valid_to": "2026-01-02"}
    with pytest.raises(ConfigurationError, match=r"entries .*: both price cpu.standard at 2026-01-01"):
        load_book(written(tmp_path, earlier, ENTRY))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("prices.yaml", "prices: [", "not valid YAML"),
        ("prices.yaml", "- sku: cpu.standard", "one list named `prices`"),
        ("prices.yaml", "prices: []", "has no entries"),
        ("prices.yaml", "prices: [cpu]", "entry 1: 'cpu' is no entry"),
        ("prices.csv", "sku,unit\ncpu.standard,core-hours,0.1\n", "entry 1: more values than the header"),
        ("prices.json", "{}", "neither .yaml nor .csv"),
        ("prices.yaml", None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_price_book_is_named(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        load_book(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)
