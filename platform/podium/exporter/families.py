"""Metric families from values by labels; a series that is not among the values is absent, never 0."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Labels = tuple[str, ...]
Value = Decimal | float
Key = TypeVar("Key", bound=Labels)


def counter(name: str, help_text: str, labels: Sequence[str], values: Mapping[Key, Value]) -> Metric:
    """Return a counter; money becomes a float here, after it was added up exactly."""
    family = CounterMetricFamily(name, help_text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, float(value))
    return family


def gauge(name: str, help_text: str, labels: Sequence[str], values: Mapping[Key, Value]) -> Metric:
    """Return a gauge."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, float(value))
    return family


def born_at_zero(known: Iterable[Key], counted: Mapping[Key, Value]) -> dict[Key, Value]:
    """Return `counted` with 0 for each of the `known` labels that nothing was counted for.

    A series that is born at 3.20 has grown by nothing in Prometheus' eyes: `increase()` needs to see the 0 first.

    >>> born_at_zero([("a",), ("b",)], {("b",): 3})
    {('a',): 0, ('b',): 3}
    """
    return {**dict.fromkeys(known, 0), **counted}
