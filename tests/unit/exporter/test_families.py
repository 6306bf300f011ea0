from decimal import Decimal

from prometheus_client.core import Metric

from podium.exporter.families import born_at_zero, counter, gauge


def samples(metric: Metric) -> list[tuple[str, dict[str, str], float]]:
    return [(sample.name, dict(sample.labels), float(sample.value)) for sample in metric.samples]


def test_a_counter_is_named_by_its_kind_and_labelled_in_order() -> None:
    family = counter("podium_moves", "Moves.", ("model", "state"), {("b", "applied"): 2, ("a", "void"): 1})
    assert family.type == "counter"
    assert samples(family) == [
        ("podium_moves_total", {"model": "a", "state": "void"}, 1.0),
        ("podium_moves_total", {"model": "b", "state": "applied"}, 2.0),
    ]


def test_a_gauge_of_nothing_known_has_no_series() -> None:
    family = gauge("podium_last_posting_timestamp_seconds", "When.", (), {})
    assert samples(family) == []


def test_money_becomes_a_float_only_after_it_was_added_up() -> None:
    million = sum([Decimal("0.0001")] * 1_000_000, Decimal(0))
    ((_, _, value),) = samples(counter("podium_cost_usd", "Cost.", (), {(): million}))
    assert value == 100.0  # floats would come to 100.00000000219612


def test_what_was_counted_wins_over_zero() -> None:
    assert born_at_zero([("a",), ("b",)], {("b",): 3, ("c",): 4}) == {("a",): 0, ("b",): 3, ("c",): 4}
